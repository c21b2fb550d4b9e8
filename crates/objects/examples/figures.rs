//! Prints what the embedded store costs: `cargo run -p prunella-objects --example figures [DIR]`.
#![allow(clippy::disallowed_methods, missing_docs)]

use std::future::Future;
use std::path::PathBuf;
use std::time::Instant;

use bytes::Bytes;
use prunella_objects::{Embedded, ObjectKey, Objects, Op, SMALL_BYTES, TakeIn};
use prunella_sys::Sys;
use tokio::task::JoinSet;

fn key(text: String) -> ObjectKey {
    ObjectKey::new(text).unwrap()
}

async fn each(what: &str, n: u32, mut once: impl AsyncFnMut(u32)) {
    let mut times = Vec::new();
    for i in 0..n {
        let start = Instant::now();
        once(i).await;
        times.push(start.elapsed());
    }
    times.sort();
    let us = |q: usize| times[(times.len() - 1) * q / 100].as_secs_f64() * 1e6;
    println!("{what:44} p50 {:9.1} µs   p99 {:9.1} µs", us(50), us(99));
}

async fn per_second(what: &str, n: u32, all: impl Future<Output = ()>) {
    let start = Instant::now();
    all.await;
    println!("{what:44} {:9.0} /s", f64::from(n) / start.elapsed().as_secs_f64());
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let temp = tempfile::tempdir_in(std::env::args().nth(1).unwrap_or_else(|| ".".into())).unwrap();
    let dir: PathBuf = temp.path().into();
    let start = Instant::now();
    let store = Embedded::open(&Sys::real(), &dir).unwrap();
    println!("make a store {:?}", start.elapsed());
    let record = Bytes::from(vec![b'x'; 600]);
    let file = dir.join("probe");
    each("floor: append 4 KiB + fdatasync of a file", 500, async |_| {
        use std::io::Write;
        let mut file = std::fs::OpenOptions::new().append(true).create(true).open(&file).unwrap();
        file.write_all(&[0; 4096]).unwrap();
        file.sync_data().unwrap();
    })
    .await;
    each("one durable create, 600 bytes", 1000, async |i| {
        let _ = store.create(&key(format!("one/{i}")), record.clone()).await.unwrap();
    })
    .await;
    each("one durable batch of 4 creates", 1000, async |i| {
        let ops = (0..4).map(|j| Op::Create { key: key(format!("four/{i}/{j}")), bytes: record.clone() }).collect();
        store.batch(ops).await.unwrap();
    })
    .await;
    for width in [16, 256, 10_000] {
        let n = 50_000_u32;
        per_second(&format!("creates, {width} at once"), n, async {
            let mut tasks = JoinSet::new();
            for task in 0..width {
                let (store, record) = (store.clone(), record.clone());
                tasks.spawn(async move {
                    for i in (task..n).step_by(width as usize) {
                        let _ = store.create(&key(format!("many/{width}/{i}")), record.clone()).await.unwrap();
                    }
                });
            }
            tasks.join_all().await;
        })
        .await;
    }
    each("get", 20_000, async |i| {
        assert!(store.get(&key(format!("one/{}", i % 1000))).await.unwrap().is_some());
    })
    .await;
    each("get of what is absent", 20_000, async |i| {
        assert!(store.get(&key(format!("none/{i}"))).await.unwrap().is_none());
    })
    .await;
    each("read_prefix, 4 records", 20_000, async |i| {
        assert_eq!(store.read_prefix(&format!("four/{}/", i % 1000), 100).await.unwrap().len(), 4);
    })
    .await;
    each("list, 4 of 150,000", 20_000, async |i| {
        assert_eq!(store.list(&format!("four/{}/", i % 1000), None, 100).await.unwrap().len(), 4);
    })
    .await;
    let large = Bytes::from(vec![7; SMALL_BYTES + 1]);
    each("one durable create of 64 KiB + 1 (a file)", 300, async |i| {
        let _ = store.create(&key(format!("large/{i}")), large.clone()).await.unwrap();
    })
    .await;
    let source = dir.join("source");
    for (what, how) in [
        ("take in 1 MiB, synced, by rename", TakeIn::Move { synced: true }),
        ("take in 1 MiB, dirty, by rename", TakeIn::Move { synced: false }),
        ("take in 1 MiB by copy", TakeIn::Copy),
    ] {
        let mut n = 0;
        let mut times = Vec::new();
        for _ in 0..100 {
            n += 1;
            let _ = std::fs::remove_file(&source);
            std::fs::write(&source, vec![1; 1 << 20]).unwrap();
            if how != (TakeIn::Move { synced: false }) {
                std::fs::File::open(&source).unwrap().sync_data().unwrap();
            }
            let start = Instant::now();
            let _ = store
                .create_from_file(&key(format!("data/ab/{how:?}-{n}").replace([' ', '{', '}', ':'], "")), &source, how)
                .await
                .unwrap();
            times.push(start.elapsed());
        }
        times.sort();
        println!("{what:44} p50 {:9.1} µs", times[50].as_secs_f64() * 1e6);
    }
    let _ = std::fs::remove_file(&source);
    drop(store);
    let start = Instant::now();
    drop(Embedded::open(&Sys::real(), &dir).unwrap());
    println!("open and close again {:?}", start.elapsed());
}
