//! How a store in a bucket is used.

use std::{path::PathBuf, time::Duration};

use prunella_faults::Faults;

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
    /// What requests suffer; nothing: only what happens.
    pub faults: Option<Faults>,
}

impl Options {
    /// Returns the usual ones: 64 requests at once, a minute of patience, 20 GiB of copies.
    pub fn new(cache: PathBuf) -> Self {
        let (patience, rate) = (Duration::from_secs(60), Rate::default());
        Self { cache, cache_bytes: 20 << 30, patience, at_once: 64, rate, faults: None }
    }
}
