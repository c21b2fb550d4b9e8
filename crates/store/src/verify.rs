//! What the store has promised: every object that a commit, a checkpoint or a run names, to be read again.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use prunella_model::{Artifact, CheckpointId, DataName, Digest, PortName, RunId, SlotId, StepId, TreeEntry, TreeNode};

use prunella_objects::ObjectKey;

use crate::{
    KeyState, KeyView, Layout, Store, StoreError,
    pieces::{Piece, Source},
    records::{Chunk, End, EndRecord, GraphRecord, StoredArtifact, StoredEntry, TreeManifest, UsesRecord},
    store::decode,
};

/// Who promised an artifact.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Promiser {
    /// A commit.
    Commit {
        /// Its slot.
        slot: SlotId,
        /// The run and step that made it, as far as its start is there.
        made: Option<(RunId, StepId)>,
        /// The output.
        port: PortName,
    },
    /// A checkpoint that the next attempt would go on from.
    Checkpoint {
        /// Which.
        id: CheckpointId,
        /// The run and step that made it, as far as its start is there.
        made: Option<(RunId, StepId)>,
    },
    /// Code or data that a run brought in.
    Run(RunId),
}

/// An artifact that somebody may rely on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Promised {
    /// Who says so.
    pub by: Promiser,
    /// What and where it is.
    pub stored: StoredArtifact,
}

/// All that may be relied on, and what is not looked at.
#[derive(Debug, Default)]
pub struct Promises {
    /// The artifacts, in a stable order.
    pub artifacts: Vec<Promised>,
    /// Data that runs read where it lies, and where: nobody promised to keep it.
    pub mounted: BTreeSet<(DataName, String)>,
    /// Data by reference: its address, and the listing that pins it.
    pub referenced: BTreeSet<(DataName, String, Digest)>,
    /// Commits that are marked as damaged: the next run makes them anew.
    pub damaged: usize,
    /// Commits that are retired: their objects may be collected.
    pub retired: usize,
}

/// One object of a promised artifact, and what must lie in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PromisedObject {
    /// The object.
    pub object: String,
    /// The files whose bytes are in it, in the order in which they lie there.
    pub files: Vec<PromisedFile>,
}

/// A file, a file of a tree, or a chunk of one, in an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PromisedFile {
    /// The path in the tree; empty for a single file, which has its object for itself unless it lies in chunks.
    pub path: String,
    /// Where its bytes begin.
    pub offset: u64,
    /// How many there are.
    pub size_bytes: u64,
    /// What they must be.
    pub digest: Digest,
    /// Which chunk of the file it is, if the file lies in chunks.
    pub chunk: Option<u32>,
}

impl PromisedFile {
    /// Returns whether a file begins with it: the others are more of the same one.
    pub fn begins(&self) -> bool {
        self.chunk.is_none_or(|number| number == 0)
    }
}

impl Store {
    /// Returns what commits, newest checkpoints and runs promise: of the whole store, or what one run made, uses and
    /// brought in.
    ///
    /// # Errors
    /// [`StoreError`] if the store did not answer or a record cannot be understood.
    pub async fn promises(&self, run: Option<&RunId>) -> Result<Promises, StoreError> {
        let used = match run {
            Some(run) => Some(self.used_by(run).await?),
            None => None,
        };
        let mut found = Promises::default();
        for view in self.look_everywhere().await? {
            let made = |slot: &SlotId| {
                let start = view.slots.get(&slot.epoch).and_then(|slot| slot.start.as_ref());
                start.map(|start| (start.run.clone(), start.step.clone()))
            };
            let asked = |slot: &SlotId| {
                let ours = || made(slot).is_some_and(|(maker, _)| Some(&maker) == run);
                used.as_ref().is_none_or(|used| used.contains(slot) || ours())
            };
            for (epoch, filled) in &view.slots {
                let slot = SlotId { key: view.key, epoch: *epoch };
                let Some(EndRecord { end: End::Committed(committed), .. }) = &filled.end else { continue };
                match (asked(&slot), filled.retired, filled.damaged) {
                    (false, ..) => {}
                    (true, true, _) => found.retired += 1,
                    (true, false, true) => found.damaged += 1,
                    (true, false, false) => {
                        found.artifacts.extend(committed.artifacts.iter().map(|(port, stored)| Promised {
                            by: Promiser::Commit { slot, made: made(&slot), port: port.clone() },
                            stored: stored.clone(),
                        }));
                    }
                }
            }
            if matches!(view.state(), KeyState::Committed(..)) {
                continue;
            }
            if let Some(id) = self.checkpoints(&view.key).await?.first().copied().filter(|id| asked(&id.slot))
                && let Some(record) = self.checkpoint(&id).await?
            {
                let by = Promiser::Checkpoint { id, made: made(&id.slot) };
                found.artifacts.push(Promised { by, stored: record.stored });
            }
        }
        let runs = match run {
            Some(run) => vec![run.clone()],
            None => self.runs().await?.into_iter().map(|listed| listed.run).collect(),
        };
        for run in runs {
            // What it brought in may be collected.
            if self.is_given_up(&run).await? {
                continue;
            }
            if let Some(graph) = self.read::<GraphRecord>(&Layout::graph(&run)).await? {
                let mounted = graph.graph.data.iter();
                found.mounted.extend(mounted.filter_map(|(name, pin)| Some((name.clone(), pin.mounted.clone()?))));
                found.referenced.extend(graph.graph.data.iter().filter_map(|(name, pin)| {
                    Some((name.clone(), pin.referenced.as_ref()?.url.clone(), pin.artifact.digest))
                }));
                let brought = graph.brought.into_iter();
                found.artifacts.extend(brought.map(|stored| Promised { by: Promiser::Run(run.clone()), stored }));
            }
        }
        Ok(found)
    }

    /// Returns the slots that a run is bound to or wrote down as used.
    ///
    /// # Errors
    /// [`StoreError`] if the store did not answer or a record cannot be understood.
    pub(crate) async fn used_by(&self, run: &RunId) -> Result<BTreeSet<SlotId>, StoreError> {
        let mut used: BTreeSet<SlotId> = self.bindings(run).await?.into_values().map(|(_, slot)| slot).collect();
        for (key, bytes) in self.objects.read_prefix(&Layout::all_uses(run), usize::MAX).await? {
            used.extend(decode::<UsesRecord>(&key, &bytes)?.slots);
        }
        Ok(used)
    }

    /// Returns all attempts of all keys.
    ///
    /// # Errors
    /// As [`Store::look`].
    pub(crate) async fn look_everywhere(&self) -> Result<Vec<KeyView>, StoreError> {
        self.look_everywhere_if(|_, _| Ok(())).await
    }

    /// Returns all attempts of all keys; an error for the first record that `fits` refuses.
    pub(crate) async fn look_everywhere_if(
        &self,
        fits: impl Fn(&ObjectKey, &[u8]) -> Result<(), StoreError>,
    ) -> Result<Vec<KeyView>, StoreError> {
        let mut by_key: BTreeMap<String, Vec<_>> = BTreeMap::new();
        for (key, bytes) in self.objects.read_prefix(Layout::ALL_ATTEMPTS, usize::MAX).await? {
            fits(&key, &bytes)?;
            let step = key.as_str().split('/').nth(1).unwrap_or_default().to_owned();
            by_key.entry(step).or_default().push((key, bytes));
        }
        let mut views = Vec::with_capacity(by_key.len());
        for (step, records) in by_key {
            match Digest::from_hex(&step) {
                Ok(digest) => views.push(KeyView::of(&prunella_model::StepKey(digest), records)?),
                Err(_) => {
                    let key = records.into_iter().next().map(|(key, _)| key).expect("a group has a member");
                    return Err(StoreError::Record { key, problem: "its name is not that of a record".to_owned() });
                }
            }
        }
        Ok(views)
    }

    /// Returns the objects of an artifact; for a tree its manifest is read, and verified by that.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] if a manifest is missing or wrong in two fresh reads.
    pub async fn promised_objects(&self, stored: &StoredArtifact) -> Result<Vec<PromisedObject>, StoreError> {
        if !stored.has_manifest() {
            let Artifact { digest, size_bytes, .. } = stored.artifact;
            let files = vec![PromisedFile { path: String::new(), offset: 0, size_bytes, digest, chunk: None }];
            return Ok(vec![PromisedObject { object: stored.object.clone(), files }]);
        }
        let TreeManifest { objects, entries, chunks, .. } = self.manifest(stored).await?;
        let mut promised: Vec<PromisedObject> =
            objects.into_iter().map(|object| PromisedObject { object, files: Vec::new() }).collect();
        for (at, chunks) in chunks {
            for (Chunk { digest, size_bytes, place }, number) in chunks.into_iter().zip(0..) {
                let path = entries[at as usize].entry.path.clone();
                let file = PromisedFile { path, offset: place.offset, size_bytes, digest, chunk: Some(number) };
                promised[place.object as usize].files.push(file);
            }
        }
        for StoredEntry { entry: TreeEntry { path, node }, place } in entries {
            if let (TreeNode::File { digest, size_bytes, .. }, Some(place)) = (node, place) {
                let file = PromisedFile { path, offset: place.offset, size_bytes, digest, chunk: None };
                promised[place.object as usize].files.push(file);
            }
        }
        promised.iter_mut().for_each(|one| one.files.sort_by_key(|file| file.offset));
        Ok(promised)
    }

    /// Reads what was promised of one object; answers the files (positions) that are damaged, and how.
    ///
    /// # Errors
    /// [`StoreError`] if the store did not answer: nothing is known then.
    pub async fn verify_promised<'a>(
        &self,
        object: &str,
        files: impl IntoIterator<Item = &'a PromisedFile>,
    ) -> Result<Vec<(usize, String)>, StoreError> {
        let piece = |file: &PromisedFile| Piece {
            offset: file.offset,
            size: file.size_bytes,
            digest: file.digest,
            whole: file.path.is_empty() && file.chunk.is_none(),
        };
        self.read_pieces_from(
            Source::Store,
            object,
            files.into_iter().map(piece).collect(),
            Arc::new(self.check(object)),
        )
        .await
    }
}
