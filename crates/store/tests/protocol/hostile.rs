//! Records that were written to do harm, or by a broken program: refused with a word, and nothing is laid out outside.

use std::panic::AssertUnwindSafe;
use std::path::Path;

use bytes::Bytes;
use prunella_model::{Artifact, ArtifactKind, Digest, Tree, TreeEntry, TreeNode, tree_digest};
use prunella_objects::{Created, ObjectKey};
use prunella_store::records::StoredArtifact;
use prunella_store::{Store, StoreError};
use serde_json::{Value, json};

use crate::bench::*;

fn name(text: &str) -> ObjectKey {
    ObjectKey::new(text).unwrap()
}

/// Plants a manifest, and a commit's word for it.
async fn planted(bench: &Bench, manifest: &str, digest: Digest, size_bytes: u64) -> StoredArtifact {
    let object = format!("data/aa/planted-{}", Digest::of(manifest.as_bytes()).hex());
    let planted = bench.objects.create(&name(&object), Bytes::copy_from_slice(manifest.as_bytes())).await.unwrap();
    assert!(matches!(planted, Created::New | Created::There(_)));
    let artifact = Artifact { kind: ArtifactKind::Tree, digest, size_bytes };
    StoredArtifact { artifact, object, executable: false, in_chunks: false }
}

/// Everything below a directory.
fn below(dir: &Path) -> Vec<String> {
    let (mut found, mut left) = (Vec::new(), vec![dir.to_owned()]);
    while let Some(dir) = left.pop() {
        for entry in std::fs::read_dir(&dir).into_iter().flatten() {
            let path = entry.unwrap().path();
            if path.is_dir() && !path.is_symlink() {
                left.push(path.clone());
            }
            found.push(path.display().to_string());
        }
    }
    found.sort();
    found
}

async fn refused(bench: &Bench, store: &Store, stored: &StoredArtifact, why: &str) {
    let scratch = tempfile::tempdir().unwrap();
    let to = scratch.path().join("workspace/inputs/tree");
    std::fs::create_dir_all(to.parent().unwrap()).unwrap();
    for outcome in [store.lay_out(stored, &to).await.map(drop), store.verify(stored).await.map(drop)] {
        match outcome {
            Err(StoreError::Damaged { .. }) => {}
            other => panic!("{}: {why}: {other:?}", bench.name),
        }
    }
    // The folder itself may have been made before an object was found to be missing.
    let within: Vec<String> = ["", "/inputs", "/inputs/tree"].map(|path| format!("workspace{path}")).into();
    let made = below(scratch.path()).into_iter().map(|path| path[scratch.path().as_os_str().len() + 1..].to_owned());
    assert!(made.into_iter().all(|path| within.contains(&path)), "{why}: nothing is laid out");
}

/// The digest that a tree of these entries has, if it is one; any other if not.
fn digest(entries: &[(&str, TreeNode)]) -> Digest {
    let entries = entries.iter().map(|(path, node)| TreeEntry { path: (*path).to_owned(), node: node.clone() });
    Tree::recorded(entries.collect()).map_or(Digest::of(b"none"), |tree| tree_digest(&tree))
}

fn file(content: &[u8]) -> TreeNode {
    TreeNode::File { digest: Digest::of(content), size_bytes: content.len() as u64, executable: false }
}

/// Each with what is wrong with it, its entries, and the bytes that are said to be in it.
fn trees() -> Vec<(&'static str, Value, Digest, u64)> {
    let hex = Digest::of(b"bytes").hex();
    let dir = TreeNode::Directory;
    let at = |path: &str| json!(["f", path, hex, 5, 0, 0]);
    let link = |path: &str, target: &str| json!(["l", path, target]);
    let linked = |path: &'static str, target: &str| {
        let node = TreeNode::Symlink { target: target.to_owned() };
        digest(&[(path, node)])
    };
    let none = Digest::of(b"none");
    let manifest = |entries: Value| json!({ "format": 2, "objects": ["data/aa/bytes"], "entries": entries });
    vec![
        ("it climbs out", manifest(json!([["d", ".."], at("../evil")])), digest(&[("..", dir.clone())]), 5),
        ("it climbs out below", manifest(json!([["d", "a"], at("a/../../evil")])), none, 5),
        ("it is absolute", manifest(json!([["d", ""], ["d", "/tmp"], at("/tmp/prunella-evil")])), none, 5),
        ("it has an empty segment", manifest(json!([["d", "a"], at("a//b")])), none, 5),
        ("it has a null byte", manifest(json!([at("a\0b")])), none, 5),
        ("a link leads out", manifest(json!([link("l", "../../..")])), linked("l", "../../.."), 0),
        ("a link is absolute", manifest(json!([link("l", "/etc/passwd")])), linked("l", "/etc/passwd"), 0),
        ("a file below a link", manifest(json!([link("l", "."), at("l/evil")])), none, 5),
        (
            "two names are one elsewhere",
            manifest(json!([at("A"), at("a")])),
            digest(&[("A", file(b"bytes")), ("a", file(b"bytes"))]),
            10,
        ),
        ("a name stands twice", manifest(json!([at("a"), at("a")])), none, 10),
        ("it is not sorted", manifest(json!([at("b"), at("a")])), none, 10),
        (
            "an offset overflows",
            manifest(json!([["f", "a", hex, 5, 0, u64::MAX]])),
            digest(&[("a", file(b"bytes"))]),
            5,
        ),
        (
            "sizes overflow",
            manifest(json!([["f", "a", hex, u64::MAX, 0, 0], ["f", "b", hex, u64::MAX, 0, 0]])),
            none,
            1,
        ),
        ("an exabyte", manifest(json!([["f", "a", hex, 1_u64 << 60, 0, 0]])), none, 5),
        ("more than was recorded", manifest(json!([at("a")])), digest(&[("a", file(b"bytes"))]), 4),
        ("bytes and no place", manifest(json!([["f", "a", hex, 5]])), digest(&[("a", file(b"bytes"))]), 5),
        (
            "an object beyond the table",
            manifest(json!([["f", "a", hex, 5, 7, 0]])),
            digest(&[("a", file(b"bytes"))]),
            5,
        ),
        (
            "an object outside of the store",
            json!({ "format": 2, "objects": ["../../etc/passwd"], "entries": [at("a")] }),
            digest(&[("a", file(b"bytes"))]),
            5,
        ),
        (
            "chunks in a format without",
            json!({ "format": 2, "objects": ["data/aa/bytes"], "entries": [at("a")], "chunks": [[9, [[hex, 5, 0, 0]]]] }),
            digest(&[("a", file(b"bytes"))]),
            5,
        ),
        ("a wrong type", manifest(json!([["f", "a", hex, "5", 0, 0]])), none, 5),
        ("an unknown kind", manifest(json!([["device", "a"]])), none, 0),
        ("a negative size", manifest(json!([["f", "a", hex, -1, 0, 0]])), none, 0),
        ("no list", json!({ "format": 2, "objects": {}, "entries": "all" }), none, 0),
    ]
}

#[tokio::test]
async fn a_hostile_tree_is_refused_and_nothing_of_it_is_laid_out() {
    for bench in Bench::each() {
        let store = bench.member();
        assert_eq!(bench.objects.create(&name("data/aa/bytes"), "bytes".into()).await.unwrap(), Created::New);
        for (why, manifest, digest, size) in trees() {
            let stored = planted(&bench, &manifest.to_string(), digest, size).await;
            refused(&bench, &store, &stored, why).await;
        }
        // The same in order is taken: it is the mistakes that are refused.
        let good = json!({ "format": 2, "objects": ["data/aa/bytes"], "entries": [["f", "a", Digest::of(b"bytes").hex(), 5, 0, 0]] });
        let stored = planted(&bench, &good.to_string(), digest(&[("a", file(b"bytes"))]), 5).await;
        let scratch = tempfile::tempdir().unwrap();
        store.lay_out(&stored, &scratch.path().join("tree")).await.unwrap();
        assert_eq!(std::fs::read(scratch.path().join("tree/a")).unwrap(), b"bytes");
    }
    assert!(!Path::new("/tmp/prunella-evil").exists());
}

#[tokio::test]
async fn text_that_is_no_manifest_is_refused_whatever_it_is() {
    let bench = Bench::memory();
    let store = bench.member();
    let nested = |open: &str, n: usize| open.repeat(n);
    let texts = [
        String::new(),
        "null".to_owned(),
        "\u{feff}{}".to_owned(),
        nested("[", 100_000),
        format!("{{\"format\":2,\"objects\":[],\"entries\":{}", nested("[", 100_000)),
        format!("{{\"format\":2,\"unknown\":{}", nested("{\"a\":", 100_000)),
        r#"{"format":2,"format":2,"objects":[],"entries":[]}"#.to_owned(),
        r#"{"format":2,"objects":[],"entries":[],"entries":[["d","a"]]}"#.to_owned(),
        r#"{"format":1e400,"objects":[],"entries":[]}"#.to_owned(),
        r#"{"format":2,"objects":["data/aa/x"],"entries":[["f","\ud800","00",1,0,0]]}"#.to_owned(),
    ];
    for text in texts {
        let stored = planted(&bench, &text, Digest::of(b"none"), 0).await;
        let why = text.chars().take(60).collect::<String>();
        refused(&bench, &store, &stored, &why).await;
    }
}

#[tokio::test]
async fn a_million_entries_of_a_few_bytes_take_time_and_memory_in_proportion() {
    let bench = Bench::memory();
    let mut entries = String::new();
    for n in 0..200_000 {
        entries.push_str(if n == 0 { "" } else { "," });
        entries.push_str(&format!("[\"d\",\"{n:07}\"]"));
    }
    let text = format!("{{\"format\":2,\"objects\":[],\"entries\":[{entries}]}}");
    let stored = planted(&bench, &text, Digest::of(b"another tree"), 0).await;
    refused(&bench, &bench.member(), &stored, "another tree").await;
}

/// Manifests that are changed at random are read, or refused; nothing else happens.
#[tokio::test]
async fn a_manifest_changed_at_random_is_read_or_refused_and_never_ends_the_program() {
    let bench = Bench::memory();
    let store = bench.member();
    assert_eq!(bench.objects.create(&name("data/aa/bytes"), "bytes".into()).await.unwrap(), Created::New);
    let seed = bench.sys.random.u64();
    println!("seed {seed}");
    let random = prunella_sys::SeededRandom::new(seed);
    let draw = |below: usize| prunella_sys::Random::u64(&random) as usize % below;
    let words: [&[u8]; 12] =
        [b"..", b"/", b"18446744073709551615", b"-1", b"[", b"{", b"\"", b"null", b"\\u0000", b"1e999", b",", b"]"];
    let originals: Vec<(String, Digest, u64)> =
        trees().into_iter().map(|(_, manifest, digest, size)| (manifest.to_string(), digest, size)).collect();
    for _ in 0..2000 {
        let (text, digest, size) = &originals[draw(originals.len())];
        let mut bytes = text.clone().into_bytes();
        for _ in 0..=draw(3) {
            let at = draw(bytes.len());
            match draw(3) {
                0 => bytes[at] = b' ' + draw(95) as u8,
                1 => drop(bytes.splice(at..at, words[draw(words.len())].iter().copied())),
                _ => drop(bytes.drain(at..(at + 1 + draw(8)).min(bytes.len()))),
            }
            if bytes.is_empty() {
                bytes.push(b'{');
            }
        }
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let stored = planted(&bench, &text, *digest, *size).await;
        let scratch = tempfile::tempdir().unwrap();
        let to = scratch.path().join("tree");
        let laid = caught(store.lay_out(&stored, &to)).await;
        assert!(
            matches!(
                laid,
                Ok(Ok(_) | Err(StoreError::Damaged { .. } | StoreError::Record { .. } | StoreError::Io { .. }))
            ),
            "{text}: {laid:?}"
        );
        assert!(below(scratch.path()).iter().all(|path| Path::new(path).starts_with(&to)), "{text}");
    }
}

/// Runs a future; a panic is a value, so that what caused it can be shown.
async fn caught<T>(future: impl Future<Output = T>) -> Result<T, String> {
    let mut future = std::pin::pin!(future);
    std::future::poll_fn(|context| {
        let polled = std::panic::catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(context)));
        match polled {
            Ok(std::task::Poll::Pending) => std::task::Poll::Pending,
            Ok(std::task::Poll::Ready(value)) => std::task::Poll::Ready(Ok(value)),
            Err(_) => std::task::Poll::Ready(Err("it panicked".to_owned())),
        }
    })
    .await
}
