//! How a store in a bucket is used.

use std::{path::PathBuf, time::Duration};

use crate::rate::Rate;

/// How a store is used.
#[derive(Debug, Clone)]
pub struct Options {
    /// The directory of copies of objects; shared by all processes of this machine.
    pub cache: PathBuf,
    /// How many bytes of copies are kept.
    pub cache_bytes: u64,
    /// How long a request is made again before it counts as failed.
    pub patience: Duration,
    /// How many requests run at once at most.
    pub at_once: usize,
    /// How many bytes may go over the network in a second, both ways together; without a number any.
    pub rate: Rate,
}

impl Options {
    /// Returns the usual ones: 64 requests at once, a minute of patience, 20 GiB of copies.
    pub fn new(cache: PathBuf) -> Self {
        Self { cache, cache_bytes: 20 << 30, patience: Duration::from_secs(60), at_once: 64, rate: Rate::default() }
    }
}
