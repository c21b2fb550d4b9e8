//! Every backend passes the one suite.
#![allow(clippy::disallowed_methods)]

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use prunella_objects::{Directory, Embedded, Memory, Objects, conformance};
use prunella_sys::Sys;

#[tokio::test]
async fn the_embedded_store_keeps_every_promise() {
    let dir = tempfile::tempdir().unwrap();
    let sys = Sys::real();
    let make = |name: &str| -> Arc<dyn Objects> { Arc::new(Embedded::open(&sys, &dir.path().join(name)).unwrap()) };
    conformance::suite(&sys, dir.path(), make).await;
}

#[tokio::test]
async fn the_store_of_plain_files_keeps_every_promise() {
    let dir = tempfile::tempdir().unwrap();
    let (sys, met) = (Sys::real(), dir.path().join("met"));
    let make =
        |name: &str| -> Arc<dyn Objects> { Arc::new(Directory::open(&sys, &dir.path().join(name), &met).unwrap()) };
    conformance::suite(&sys, dir.path(), make).await;
}

#[tokio::test]
async fn the_store_in_memory_keeps_every_promise() {
    let dir = tempfile::tempdir().unwrap();
    let sys = Sys::real();
    let stores: Mutex<HashMap<String, Memory>> = Mutex::default();
    let make = |name: &str| -> Arc<dyn Objects> {
        Arc::new(stores.lock().unwrap().entry(name.to_owned()).or_insert_with(|| Memory::new(&sys)).clone())
    };
    conformance::suite(&sys, dir.path(), make).await;
}
