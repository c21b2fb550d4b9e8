//! Checkpoints: durable snapshots of a step's checkpoint directory, and how one is restored.

use std::{collections::BTreeSet, path::Path};

use prunella_model::{ArtifactKind, CheckpointId, RunId, SlotId, StepKey, WarmStart};
use prunella_sys::{Phase, mutated};

use crate::{
    Layout, Store, StoreError,
    pins::Pinner,
    records::{CheckpointRecord, FORMAT, StoredArtifact},
    store::encode,
    take_in::For,
};

/// What came of storing a snapshot.
#[derive(Debug, Clone, PartialEq)]
pub enum Snapshot {
    /// It survives this machine, and the slot was still open after its record stood.
    Durable {
        /// Which.
        id: CheckpointId,
        /// Its size.
        bytes: u64,
    },
    /// The slot is filled: it may be there, but it is not ours to rely on (I5).
    Fenced,
}

impl Store {
    /// Stores the snapshot that lies at `staged` (a private copy: it is moved) as checkpoint `seq` of the slot.
    ///
    /// Answers `Durable` only after the record is durable **and** a later look that shows the slot still open (I4).
    ///
    /// # Errors
    /// [`StoreError`] if the store did not take it.
    pub async fn put_checkpoint(
        &self,
        slot: &SlotId,
        seq: u64,
        entry: &str,
        staged: &Path,
        progress: Option<serde_json::Value>,
    ) -> Result<Snapshot, StoreError> {
        let meta = self.sys.fs.metadata(staged).map_err(StoreError::io(staged))?;
        let directory = meta.as_ref().is_some_and(|meta| meta.kind == prunella_sys::FileKind::Dir);
        let kind = if directory { ArtifactKind::Tree } else { ArtifactKind::File };
        let executable = !directory && meta.is_some_and(|meta| meta.mode_exec);
        let taken = Phase::Upload.during(self.take_in(&For::Attempt(*slot), staged, kind, true, None)).await?;
        let id = CheckpointId { slot: *slot, seq };
        let bytes = taken.stored.artifact.size_bytes;
        let record = CheckpointRecord {
            format: FORMAT,
            shards: 1,
            entry: entry.to_owned(),
            executable,
            stored: taken.stored,
            progress,
            writer: self.writer.clone(),
        };
        // In order: the objects, then the record that names them.
        let mut objects = taken.objects;
        let key = Layout::checkpoint(&id);
        objects.push((key.clone(), encode(&key, &record)));
        if mutated(35) {
            objects.rotate_right(1);
        }
        let early = if mutated(25) { self.end_of(slot).await? } else { None };
        self.put_small(objects).await?;
        self.sync().await?;
        let end = if mutated(25) { early } else { self.end_of(slot).await?.filter(|_| !mutated(26)) };
        Ok(match end {
            None => Snapshot::Durable { id, bytes },
            Some(_) => Snapshot::Fenced,
        })
    }

    /// Returns all checkpoints of `key`, the newest first.
    ///
    /// For a restore it must be called only after the claim, when every predecessor is closed (I4).
    ///
    /// # Errors
    /// [`StoreError::Objects`] if the store did not answer.
    pub async fn checkpoints(&self, key: &StepKey) -> Result<Vec<CheckpointId>, StoreError> {
        let listed = self.objects.list(&Layout::checkpoints(key), None, usize::MAX).await?;
        Ok(listed.iter().filter_map(|entry| Layout::parse_checkpoint(*key, entry.key.as_str())).collect())
    }

    /// Returns the record of a checkpoint, if it is there.
    ///
    /// # Errors
    /// [`StoreError::Record`] if it cannot be understood.
    pub async fn checkpoint(&self, id: &CheckpointId) -> Result<Option<CheckpointRecord>, StoreError> {
        self.read(&Layout::checkpoint(id)).await
    }

    /// Restores a checkpoint into `directory` for the attempt `slot`: pinned, then read, every byte verified.
    ///
    /// Answers nothing if it cannot be relied on (missing, damaged or condemned), with what is wrong.
    ///
    /// # Errors
    /// [`StoreError`] if the store did not answer: the checkpoint may be whole.
    pub async fn restore(
        &self,
        slot: &SlotId,
        id: &CheckpointId,
        directory: &Path,
    ) -> Result<Result<(CheckpointRecord, u64), String>, StoreError> {
        let record = match self.readable(id).await? {
            Ok(record) => record,
            Err(problem) => return Ok(Err(problem)),
        };
        let laid = self.lay_entry(slot, &record.stored, &directory.join(&record.entry), record.executable).await?;
        Ok(laid.map(|bytes| (record, bytes)))
    }

    /// Restores the highest checkpoint that `wanted` allows and that can be relied on; `skip` is told of those that cannot.
    ///
    /// The list is read again after each that cannot: a collection takes what was listed if something newer stands, which a
    /// predecessor that was fenced may have added since (I4).
    ///
    /// # Errors
    /// [`StoreError`] if the store did not answer: what was not restored may be whole.
    pub async fn restore_newest(
        &self,
        slot: &SlotId,
        directory: &Path,
        wanted: impl Fn(&CheckpointId) -> bool + Send,
        mut skip: impl FnMut(CheckpointId, String) + Send,
    ) -> Result<Option<(CheckpointId, CheckpointRecord)>, StoreError> {
        let mut tried = BTreeSet::new();
        loop {
            let mut listed = self.checkpoints(&slot.key).await?;
            if mutated(24) {
                listed.reverse();
            }
            if mutated(60) && !tried.is_empty() {
                return Ok(None);
            }
            let Some(id) = listed.into_iter().find(|id| wanted(id) && !tried.contains(id)) else { return Ok(None) };
            match self.restore(slot, &id, directory).await? {
                Ok((record, _)) => return Ok(Some((id, record))),
                Err(problem) => skip(id, problem),
            }
            tried.insert(id);
        }
    }

    /// Lays a checkpoint out into `directory` for somebody who only looks: every byte verified, nothing pinned.
    ///
    /// Answers what is wrong if a byte is missing or wrong, also because a collection took it meanwhile.
    ///
    /// # Errors
    /// [`StoreError`] if the store did not answer: the checkpoint may be whole.
    pub async fn look_into(&self, id: &CheckpointId, directory: &Path) -> Result<Result<(), String>, StoreError> {
        let record = match self.readable(id).await? {
            Ok(record) => record,
            Err(problem) => return Ok(Err(problem)),
        };
        let to = directory.join(&record.entry);
        Ok(self.lay_unpinned(&record.stored, &to, record.executable).await?.map(drop))
    }

    /// Lays out what a graph says that a step begins with, as [`Store::look_into`] does.
    ///
    /// # Errors
    /// As [`Store::look_into`].
    pub async fn look_into_warm(
        &self,
        warm: &WarmStart,
        stored: &StoredArtifact,
        directory: &Path,
    ) -> Result<Result<(), String>, StoreError> {
        Ok(self.lay_unpinned(stored, &directory.join(&warm.entry), warm.executable).await?.map(drop))
    }

    async fn readable(&self, id: &CheckpointId) -> Result<Result<CheckpointRecord, String>, StoreError> {
        match self.checkpoint(id).await {
            Ok(Some(record)) => Ok(Ok(record)),
            Ok(None) => Ok(Err("its record is gone".to_owned())),
            Err(StoreError::Record { problem, .. } | StoreError::DamagedRecord { problem, .. }) => Ok(Err(problem)),
            Err(error) => Err(error),
        }
    }

    /// Lays out what a graph says that a step begins with, as [`Store::restore`] does; answers the number of bytes.
    ///
    /// # Errors
    /// [`StoreError`] if the store did not answer: the checkpoint may be whole.
    pub async fn restore_warm(
        &self,
        slot: &SlotId,
        warm: &WarmStart,
        stored: &StoredArtifact,
        directory: &Path,
    ) -> Result<Result<u64, String>, StoreError> {
        self.lay_entry(slot, stored, &directory.join(&warm.entry), warm.executable).await
    }

    /// Pins what a checkpoint consists of for a run that begins a step with it; false if it cannot be relied on any more.
    ///
    /// # Errors
    /// [`StoreError`] if the store did not answer.
    pub async fn hold(&self, run: &RunId, stored: &StoredArtifact) -> Result<bool, StoreError> {
        self.pin(Pinner::Run(run), &self.objects_of(stored).await?).await
    }

    async fn lay_entry(
        &self,
        slot: &SlotId,
        stored: &StoredArtifact,
        to: &Path,
        executable: bool,
    ) -> Result<Result<u64, String>, StoreError> {
        let mut objects = vec![stored.object.clone()];
        if stored.has_manifest() {
            match self.manifest(stored).await {
                Ok(manifest) => objects.extend(manifest.into_objects()),
                Err(StoreError::Damaged { problem, .. }) => return Ok(Err(problem)),
                Err(error) => return Err(error),
            }
        }
        if !mutated(59) && !self.pin(Pinner::Attempt(slot), &objects).await? {
            return Ok(Err("its bytes are gone or condemned".to_owned()));
        }
        let laid = self.lay_unpinned(stored, to, executable).await?;
        if laid.is_ok() {
            self.restored.note(slot, stored);
        }
        Ok(laid)
    }

    async fn lay_unpinned(
        &self,
        stored: &StoredArtifact,
        to: &Path,
        executable: bool,
    ) -> Result<Result<u64, String>, StoreError> {
        match self.lay_out(stored, to).await {
            Ok(laid) => {
                if executable {
                    self.sys.fs.set_executable(to, true).map_err(StoreError::io(to))?;
                }
                Ok(Ok(laid.bytes))
            }
            Err(StoreError::Damaged { problem, .. }) => {
                self.remove_half(to)?;
                Ok(Err(problem))
            }
            Err(error) => Err(error),
        }
    }

    fn remove_half(&self, path: &Path) -> Result<(), StoreError> {
        let fs = &self.sys.fs;
        match fs.metadata(path).map_err(StoreError::io(path))?.map(|meta| meta.kind) {
            None => Ok(()),
            Some(prunella_sys::FileKind::Dir) => fs.remove_dir_all(path).map_err(StoreError::io(path)),
            Some(_) => fs.remove_file(path).map_err(StoreError::io(path)),
        }
    }

    /// Returns whether every object of a checkpoint is there and whole, without restoring it.
    ///
    /// # Errors
    /// [`StoreError`] if the store did not answer.
    pub async fn checkpoint_is_whole(&self, id: &CheckpointId) -> Result<bool, StoreError> {
        let Some(record) = self.checkpoint(id).await? else { return Ok(false) };
        match self.verify(&record.stored).await {
            Ok(_) => Ok(true),
            Err(StoreError::Damaged { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }
}
