//! A bucket keeps every promise of a store.
#![allow(clippy::disallowed_methods)]

mod place;

use std::sync::Arc;

use prunella_objects::{Objects, conformance};
use prunella_remote::Remote;

use place::Place;

/// The suite on servers whose conditions are atomic by construction.
#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_of_s3_keeps_every_promise() {
    keeps_every_promise(&Place::new()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_of_google_keeps_every_promise() {
    keeps_every_promise(&Place::gcs()).await;
}

async fn keeps_every_promise(place: &Place) {
    let scratch = tempfile::tempdir().unwrap();
    let make = |name: &str| {
        let (url, options) = (place.url(name), place.options());
        let opened = Remote::open(&place.sys, &url, &options);
        let remote = tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(opened)).unwrap();
        Arc::new(remote) as Arc<dyn Objects>
    };
    conformance::suite(&place.sys, scratch.path(), make).await;
}
