//! A server, and a machine that may use it.
#![allow(dead_code)]

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use prunella_bucketkit::{ACCESS_KEY, Conditions, S3Server, SECRET_KEY};
use prunella_remote::{Options, StoreUrl};
use prunella_sys::{MapEnv, Sys};

pub struct Place {
    pub server: S3Server,
    pub sys: Sys,
    dir: tempfile::TempDir,
}

impl Place {
    pub fn new() -> Self {
        Self::with(Conditions::Atomic)
    }

    pub fn ignoring_conditions() -> Self {
        Self::with(Conditions::Ignored)
    }

    pub fn racing() -> Self {
        Self::with(Conditions::Racing)
    }

    pub fn ignoring_conditions_of_parts() -> Self {
        Self::with(Conditions::IgnoredForParts)
    }

    fn with(conditions: Conditions) -> Self {
        let env = MapEnv::new("/").with("AWS_ACCESS_KEY_ID", ACCESS_KEY).with("AWS_SECRET_ACCESS_KEY", SECRET_KEY);
        let sys = Sys { env: Arc::new(env), ..Sys::real() };
        Self { server: S3Server::with_conditions("bucket", conditions), sys, dir: tempfile::tempdir().unwrap() }
    }

    pub fn url(&self, prefix: &str) -> StoreUrl {
        self.server.url("bucket", prefix).parse().unwrap()
    }

    pub fn cache(&self) -> PathBuf {
        self.dir.path().join("cache")
    }

    /// Impatient: no test waits for a store that is gone.
    pub fn options(&self) -> Options {
        Options { patience: Duration::from_secs(10), ..Options::new(self.cache()) }
    }
}
