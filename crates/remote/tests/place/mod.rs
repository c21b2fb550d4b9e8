//! A server, and a machine that may use it.
#![allow(dead_code)]

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use prunella_bucketkit::{ACCESS_KEY, Conditions, Faults, GcsServer, Objects, S3Server, SECRET_KEY};
use prunella_remote::{Options, StoreUrl};
use prunella_sys::{MapEnv, Sys};

/// A service of ours.
pub enum Server {
    S3(S3Server),
    Gcs(GcsServer),
}

impl Server {
    pub fn faults(&self) -> &Faults {
        match self {
            Self::S3(server) => server.faults(),
            Self::Gcs(server) => server.faults(),
        }
    }

    pub fn objects(&self) -> &Objects {
        match self {
            Self::S3(server) => server.objects(),
            Self::Gcs(server) => server.objects(),
        }
    }
}

pub struct Place {
    pub server: Server,
    pub sys: Sys,
    dir: tempfile::TempDir,
}

impl Place {
    pub fn new() -> Self {
        Self::with(Conditions::Atomic)
    }

    /// One of every service.
    pub fn each() -> [Self; 2] {
        Self::each_with(Conditions::Atomic)
    }

    /// One of every service that treats conditions so.
    pub fn each_with(conditions: Conditions) -> [Self; 2] {
        let gcs = GcsServer::with("bucket", conditions, prunella_bucketkit::Access::Open);
        [Self::with(conditions), Self::of(Server::Gcs(gcs))]
    }

    pub fn gcs() -> Self {
        Self::of(Server::Gcs(GcsServer::start("bucket")))
    }

    pub fn with(conditions: Conditions) -> Self {
        Self::of(Server::S3(S3Server::with_conditions("bucket", conditions)))
    }

    fn of(server: Server) -> Self {
        let env = MapEnv::new("/").with("AWS_ACCESS_KEY_ID", ACCESS_KEY).with("AWS_SECRET_ACCESS_KEY", SECRET_KEY);
        let sys = Sys { env: Arc::new(env), ..Sys::real() };
        Self { server, sys, dir: tempfile::tempdir().unwrap() }
    }

    pub fn url(&self, prefix: &str) -> StoreUrl {
        let url = match &self.server {
            Server::S3(server) => server.url("bucket", prefix),
            // Without an identity, the library would ask this machine's metadata service for one.
            Server::Gcs(server) => format!("{}&anonymous=true", server.url("bucket", prefix)),
        };
        url.parse().unwrap()
    }

    pub fn cache(&self) -> PathBuf {
        self.dir.path().join("cache")
    }

    /// Impatient: no test waits for a store that is gone.
    pub fn options(&self) -> Options {
        Options { patience: Duration::from_secs(10), ..Options::new(self.cache()) }
    }
}
