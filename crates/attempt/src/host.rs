//! What all attempts of one engine share.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use prunella_model::EnvName;
use prunella_process::Guardian;
use prunella_store::{Store, records::Owner};
use prunella_sys::Sys;

use crate::{Pool, Redactor};

/// A secret's value; never printed.
#[derive(Clone)]
pub struct Secret(pub String);

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("[secret]")
    }
}

/// How a locked environment is entered.
#[derive(Debug, Clone, Default)]
pub struct EnvironmentUse {
    /// Variables such as `PATH` and `VIRTUAL_ENV`.
    pub variables: Vec<(String, String)>,
}

/// What a workspace and the variables in it are made from.
#[derive(Clone, Copy)]
pub struct Ground<'a> {
    /// The store.
    pub store: &'a Store,
    /// The machine.
    pub sys: &'a Sys,
    /// Where workspaces are made.
    pub work: &'a Path,
    /// Where digests of data are remembered.
    pub digests: &'a Path,
    /// The locked environment of steps.
    pub environment: &'a EnvironmentUse,
    /// The values of declared secrets.
    pub secrets: &'a BTreeMap<EnvName, Secret>,
    /// Variables of the caller.
    pub inherited: &'a [(OsString, OsString)],
    /// What one attempt leaves clean for the next.
    pub pool: &'a Pool,
}

/// What all attempts of one engine, or the one attempt of `exec`, share; cheap to clone.
#[derive(Clone)]
pub struct Host {
    /// The store; its writer id is that of the engine.
    pub store: Store,
    /// The machine.
    pub sys: Sys,
    /// Who spawns.
    pub guardian: Guardian,
    /// Who owns the attempts: this process and its guardian.
    pub owner: Owner,
    /// Where workspaces are made; on the store's file system outputs are taken in by rename.
    pub work: PathBuf,
    /// Where digests of data are remembered: that which is mounted is looked at again and again.
    pub digests: PathBuf,
    /// A directory with a short path for sockets.
    pub sockets: PathBuf,
    /// The locked environment of steps.
    pub environment: EnvironmentUse,
    /// The values of all declared secrets.
    pub secrets: Arc<BTreeMap<EnvName, Secret>>,
    /// What blackens them in captured output.
    pub redactor: Arc<Redactor>,
    /// Time kept back before a deadline, for storing what is there.
    pub margin: Duration,
    /// Variables of the caller, read once.
    pub inherited: Arc<Vec<(OsString, OsString)>>,
    /// What one attempt leaves clean for the next.
    pub pool: Arc<Pool>,
    /// Whether spans are told of: processes then see that of their attempt in `TRACEPARENT`.
    pub traced: bool,
}

impl Host {
    /// Returns what workspaces are made from.
    pub(crate) fn ground(&self) -> Ground<'_> {
        Ground {
            store: &self.store,
            sys: &self.sys,
            work: &self.work,
            digests: &self.digests,
            environment: &self.environment,
            secrets: &self.secrets,
            inherited: &self.inherited,
            pool: &self.pool,
        }
    }
}
