//! Serves S3 on loopback until it is killed: `cargo run -p prunella-bucketkit --example serve -- [BUCKET] [DELAY_MS]`.
//!
//! Prints what a client needs as lines of a shell.
#![allow(clippy::disallowed_methods)]

use std::time::Duration;

use prunella_bucketkit::{ACCESS_KEY, REGION, S3Server, SECRET_KEY};

fn main() {
    let mut words = std::env::args().skip(1);
    let bucket = words.next().unwrap_or_else(|| "bucket".to_owned());
    let delay = words.next().and_then(|text| text.parse().ok()).unwrap_or(0);
    let server = S3Server::start(&bucket);
    server.faults().delay(Duration::from_millis(delay));
    println!("export AWS_ACCESS_KEY_ID={ACCESS_KEY} AWS_SECRET_ACCESS_KEY={SECRET_KEY} AWS_REGION={REGION}");
    println!("export AWS_ENDPOINT_URL={}", server.endpoint());
    println!("export PRUNELLA_STORE=s3://{bucket}/store");
    loop {
        std::thread::park();
    }
}
