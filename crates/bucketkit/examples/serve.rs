//! Serves S3 on loopback until it is killed: `cargo run -p prunella-bucketkit --example serve -- [BUCKET] [DELAY_MS]`.
//!
//! Prints what a client needs as lines of a shell. Of its own input it takes `delay MS`, and `asked`, which is answered with
//! what was asked since then: `asked ALL GET PUT LIST OTHER`.
#![allow(clippy::disallowed_methods)]

use std::io::BufRead;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use prunella_bucketkit::{ACCESS_KEY, Asked, REGION, S3Server, SECRET_KEY};

/// How many requests there were of each kind.
#[derive(Default)]
struct Counts {
    get: AtomicU64,
    put: AtomicU64,
    list: AtomicU64,
    other: AtomicU64,
}

impl Counts {
    fn count(&self, asked: &Asked) {
        let kind = match asked.method.as_str() {
            "GET" if asked.path.contains("list-type=2") => &self.list,
            "GET" => &self.get,
            "PUT" => &self.put,
            _ => &self.other,
        };
        kind.fetch_add(1, Ordering::Relaxed);
    }

    fn told(&self) -> String {
        let each = [&self.get, &self.put, &self.list, &self.other].map(|count| count.swap(0, Ordering::Relaxed));
        let [get, put, list, other] = each;
        format!("asked {} {get} {put} {list} {other}", each.iter().sum::<u64>())
    }
}

fn main() {
    let mut words = std::env::args().skip(1);
    let bucket = words.next().unwrap_or_else(|| "bucket".to_owned());
    let delay = words.next().and_then(|text| text.parse().ok()).unwrap_or(0);
    let server = S3Server::start(&bucket);
    let counts = Arc::new(Counts::default());
    let counted = counts.clone();
    server.faults().plan(move |asked| {
        counted.count(asked);
        None
    });
    server.faults().delay(Duration::from_millis(delay));
    println!("export AWS_ACCESS_KEY_ID={ACCESS_KEY} AWS_SECRET_ACCESS_KEY={SECRET_KEY} AWS_REGION={REGION}");
    println!("export AWS_ENDPOINT_URL={}", server.endpoint());
    println!("export PRUNELLA_STORE=s3://{bucket}/store");
    for line in std::io::stdin().lock().lines().map_while(Result::ok) {
        match line.split_whitespace().collect::<Vec<_>>()[..] {
            ["delay", ms] => server.faults().delay(Duration::from_millis(ms.parse().unwrap_or(0))),
            ["asked"] => println!("{}", counts.told()),
            _ => eprintln!("`{line}` is neither `delay MS` nor `asked`"),
        }
    }
    loop {
        std::thread::park();
    }
}
