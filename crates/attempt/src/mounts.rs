//! Mounted data: read where it lies, and looked at before and after the program, since nobody else keeps its bytes.

use std::{
    io::ErrorKind,
    path::{Path, PathBuf},
};

use prunella_model::{Artifact, Digest, PortName};
use prunella_store::{StoreError, records::MountedAt};

use crate::{
    Ground, Mounted,
    looks::{Look, Wanted},
    workspace::{NoWorkspace, io},
};

/// Data that is mounted in a workspace.
#[derive(Debug)]
pub(crate) struct Mount {
    /// The input.
    pub(crate) input: PortName,
    /// `data.NAME`.
    source: String,
    /// What it is to be, and where it lies.
    mounted: Mounted,
    /// The same with every link on the way resolved.
    place: PathBuf,
    /// What tells whether a file of it was touched since the workspace was made.
    stamp: Option<Digest>,
}

impl Mount {
    /// Lets `to` lead to the data, if it is what the run is of.
    pub(crate) async fn make(
        host: &Ground<'_>,
        input: &PortName,
        source: &str,
        mounted: &Mounted,
        to: &Path,
    ) -> Result<Self, NoWorkspace> {
        let mut mount = Self {
            input: input.clone(),
            source: source.to_owned(),
            mounted: mounted.clone(),
            place: mounted.path.clone(),
            stamp: None,
        };
        mount.place = std::fs::canonicalize(&mounted.path)
            .map_err(|source| mount.unread(StoreError::Io { path: mounted.path.clone(), source }))?;
        let now = mount.look(host, Wanted::Recent).await?;
        if now.artifact != mounted.artifact {
            return Err(mount.refused(format!(
                "has changed since the run began: it is {}, the run is of {}; bring the old bytes back, or pin it as it is \
                 (`prunella pin`) and begin a new run",
                short(&now.artifact),
                short(&mounted.artifact)
            )));
        }
        mount.stamp = now.stamp;
        host.sys.fs.symlink(&mount.place, to).map_err(io(to))?;
        Ok(mount)
    }

    /// Looks whether the program read what the run is of; answers a remark if files were touched, but are the same.
    ///
    /// A file that was changed and changed back leaves no more than the remark. Writing through a mapping of a file that was
    /// written before, and setting the clock back, can leave nothing at all.
    pub(crate) async fn look_again(&self, host: &Ground<'_>) -> Result<Option<String>, NoWorkspace> {
        let now = self.look(host, Wanted::New).await?;
        if now.artifact != self.mounted.artifact {
            return Err(self.refused(format!(
                "was changed while the step ran: it is {}, the run is of {}; what the step made of it does not count. Keep \
                 others from writing there, bring the old bytes back or pin the new ones (`prunella pin`), and begin a new run",
                short(&now.artifact),
                short(&self.mounted.artifact)
            )));
        }
        let touched = now.stamp != self.stamp;
        Ok(touched.then(|| {
            format!("{}: files were touched while the step ran; their bytes at its end are the same", self.source)
        }))
    }

    /// Returns where it lies.
    pub(crate) fn place(&self) -> &Path {
        &self.place
    }

    /// Returns what is recorded of it.
    pub(crate) fn record(&self, protected: bool) -> MountedAt {
        MountedAt { path: self.place.display().to_string(), protected }
    }

    async fn look(&self, host: &Ground<'_>, wanted: Wanted) -> Result<Look, NoWorkspace> {
        let seen = host.pool.looks.look(host.sys, host.digests, &self.place, wanted).await;
        seen.map_err(|error| self.unread(error))
    }

    fn unread(&self, error: StoreError) -> NoWorkspace {
        let gone = |problem: &str| {
            self.refused(format!(
                "cannot be read: {problem}; bring it back there (a link will do), or begin a new run where it lies: what is \
                 done is reused"
            ))
        };
        match error {
            StoreError::Unfit { problem, .. } => gone(&problem),
            StoreError::Io { path, source } if source.kind() == ErrorKind::NotFound && path == self.mounted.path => {
                gone("nothing is there")
            }
            // A file that went between being listed and being read.
            StoreError::Io { path, source } if source.kind() == ErrorKind::NotFound => {
                self.refused(format!("is being changed: `{}`: {source}", path.display()))
            }
            StoreError::Io { path, source } if source.kind() == ErrorKind::PermissionDenied => {
                self.refused(format!("cannot be read: `{}`: {source}", path.display()))
            }
            StoreError::Tree { refusals, .. } => self.refused(format!("holds what no data may hold: {refusals}")),
            error => NoWorkspace::Store(error),
        }
    }

    fn refused(&self, what: String) -> NoWorkspace {
        let problem = format!("`{}`, mounted from `{}`, {what}", self.source, self.mounted.path.display());
        NoWorkspace::Changed { input: self.input.to_string(), problem }
    }
}

fn short(artifact: &Artifact) -> String {
    artifact.digest.short()
}
