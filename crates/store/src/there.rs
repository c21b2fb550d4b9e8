//! What lies in the store already, and may be relied on once it is pinned.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::{Mutex, MutexGuard},
};

use prunella_model::{Digest, Epoch, PipelineName, PortName, SlotId, StepId, StepKey};
use prunella_objects::Packing;
use prunella_sys::mutated;

use crate::{
    Layout, Store, StoreError,
    gc::Owner,
    layout::AttemptRecord,
    pins::Pinner,
    records::{Chunk, Place, StoredArtifact, TreeManifest},
};

/// Bytes that are in the store and pinned.
#[derive(Debug, Default)]
pub(crate) struct There {
    /// Objects.
    pub objects: Vec<String>,
    /// Where in them the bytes with this digest lie: small files, and chunks of large ones.
    pub places: HashMap<Digest, Place>,
    /// The chunks of large files, by the digest of the file.
    pub files: HashMap<Digest, Vec<Chunk>>,
}

/// A stretch of an object: its digest, offset and size.
pub(crate) type Stretch = (Digest, u64, u64);

/// A chunk of a file: its digest, size, object and offset there.
pub(crate) type Part = (Digest, u64, String, u64);

/// Objects that may hold wanted bytes.
#[derive(Default)]
pub(crate) struct Candidates {
    /// What lies where in them.
    pub stretches: BTreeMap<String, Vec<Stretch>>,
    /// Large files, as far as they are wanted whole.
    pub files: Files,
}

/// The chunks of large files, by the digest of the file.
pub(crate) type Files = HashMap<Digest, Vec<Part>>;

impl Candidates {
    /// Adds what lies in a tree or file: all of it, or only files with these digests.
    pub(crate) fn add(&mut self, manifest: &TreeManifest, wanted: Option<&HashSet<Digest>>) {
        for (at, (_, size, digest, place)) in manifest.files_at() {
            if wanted.is_some_and(|wanted| !wanted.contains(digest)) {
                continue;
            }
            if let Some(place) = place {
                self.stretch(manifest.object(place), (*digest, place.offset, size));
            }
            let chunks = manifest.chunks_of(at).unwrap_or_default();
            for chunk in chunks {
                self.stretch(manifest.object(chunk.place), (chunk.digest, chunk.place.offset, chunk.size_bytes));
            }
            if !chunks.is_empty() {
                let part = |chunk: &Chunk| {
                    let object = manifest.object(chunk.place).to_owned();
                    (chunk.digest, chunk.size_bytes, object, chunk.place.offset)
                };
                self.files.entry(*digest).or_insert_with(|| chunks.iter().map(part).collect());
            }
        }
    }

    fn stretch(&mut self, object: &str, stretch: Stretch) {
        match self.stretches.get_mut(object) {
            Some(stretches) => stretches.push(stretch),
            None => drop(self.stretches.insert(object.to_owned(), vec![stretch])),
        }
    }

    /// Returns whether a file with this digest is known, small or large.
    pub(crate) fn has_file(&self, digest: &Digest) -> bool {
        self.files.contains_key(digest) || self.stretches.values().flatten().any(|(known, ..)| known == digest)
    }
}

impl There {
    /// Returns what there is in objects that may be relied on.
    pub(crate) fn of(reliable: impl IntoIterator<Item = (String, Vec<Stretch>)>, files: Files) -> Self {
        let mut there = Self::default();
        let mut numbers = HashMap::new();
        for (object, stretches) in reliable {
            let number = u32::try_from(there.objects.len()).expect("there are fewer objects than files");
            numbers.insert(object.clone(), number);
            there.objects.push(object);
            for (digest, offset, _) in stretches {
                there.places.entry(digest).or_insert(Place { object: number, offset });
            }
        }
        for (digest, parts) in files {
            let chunk = |(digest, size_bytes, object, offset): Part| {
                let object = *numbers.get(&object)?;
                Some(Chunk { digest, size_bytes, place: Place { object, offset } })
            };
            if let Some(chunks) = parts.into_iter().map(chunk).collect() {
                there.files.insert(digest, chunks);
            }
        }
        there
    }
}

/// What the bytes of an attempt may be like: what a name means now.
#[derive(Debug, Clone, Copy)]
pub struct Alike<'a> {
    /// The pipeline whose names are meant.
    pub pipeline: &'a PipelineName,
    /// The step.
    pub step: &'a StepId,
    /// The output.
    pub output: &'a PortName,
}

/// What attempts of this process restored, every byte of it compared.
#[derive(Debug, Default)]
pub(crate) struct Restored(Mutex<HashMap<SlotId, StoredArtifact>>);

impl Restored {
    pub(crate) fn note(&self, slot: &SlotId, stored: &StoredArtifact) {
        self.noted().insert(*slot, stored.clone());
    }

    fn of(&self, slot: &SlotId) -> Option<StoredArtifact> {
        self.noted().get(slot).cloned()
    }

    fn noted(&self) -> MutexGuard<'_, HashMap<SlotId, StoredArtifact>> {
        self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

/// To look for less than so many bytes takes longer than to send them.
pub(crate) const WORTH_BYTES: u64 = 1 << 20;

impl Store {
    /// Pins for an attempt what it may rely on: of its own newest checkpoint, or else of the one that it restored, and of what
    /// a name means.
    ///
    /// Of the checkpoints of others only one that was read whole counts: to lean on one that rotted would make every later one
    /// worthless, too (I4). Nothing if any commit of the key was found damaged: what is made anew must not lean on what is lost.
    pub(crate) async fn there_for(&self, slot: &SlotId, alike: Option<&Alike<'_>>) -> Result<There, StoreError> {
        if self.objects.packing() != Packing::Chunks || (self.is_damaged(&slot.key, None).await? && !mutated(73)) {
            return Ok(There::default());
        }
        let own = self.checkpoints(&slot.key).await?.into_iter().find(|id| id.slot == *slot);
        let own = match own {
            // One that cannot be understood is nothing to lean on.
            Some(own) => self.checkpoint(&own).await.ok().flatten().map(|record| record.stored),
            None => None,
        };
        let mut like: Vec<StoredArtifact> = own.or_else(|| self.restored.of(slot)).into_iter().collect();
        if let Some(Alike { pipeline, step, output }) = alike
            && let Some(names) = self.names(pipeline).await?
            && let Some((made, stored)) = names.artifacts.get(&format!("{step}.{output}"))
            && !self.is_damaged(&made.key, Some(made.epoch)).await?
        {
            like.push(stored.clone());
        }
        let mut candidates = Candidates::default();
        for stored in like.iter().filter(|stored| stored.has_manifest()) {
            match self.manifest(stored).await {
                Ok(manifest) => candidates.add(&manifest, None),
                Err(StoreError::Damaged { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        self.rely(Pinner::Attempt(slot), candidates).await
    }

    /// Returns whether a commit of a key is marked as damaged: that of this epoch, or any.
    async fn is_damaged(&self, key: &StepKey, of: Option<Epoch>) -> Result<bool, StoreError> {
        let listed = self.objects.list(&Layout::attempts(key), None, usize::MAX).await?;
        let marked = listed.iter().filter_map(|listed| Layout::parse_attempt(listed.key.as_str()));
        let mut marked = marked.filter(|(_, record)| *record == AttemptRecord::Damaged);
        Ok(marked.any(|(epoch, _)| of.is_none_or(|of| of == epoch)))
    }

    /// Pins all objects of the candidates and returns those that may be relied on.
    ///
    /// Its own an attempt need not pin: they stay while its slot is open, and once that is closed nothing of it counts.
    pub(crate) async fn rely(&self, pinner: Pinner<'_>, candidates: Candidates) -> Result<There, StoreError> {
        if candidates.stretches.is_empty() {
            return Ok(There::default());
        }
        let Candidates { stretches, files } = candidates;
        let own = |object: &str| match pinner {
            Pinner::Attempt(slot) => Owner::of_object(object) == Some(Owner::Attempt(*slot)),
            Pinner::Run(_) => false,
        };
        let (own, others): (BTreeMap<_, _>, BTreeMap<_, _>) =
            stretches.into_iter().partition(|(object, _)| own(object));
        let objects: Vec<String> = others.keys().cloned().collect();
        let reliable = match objects.as_slice() {
            [] => Vec::new(),
            objects => self.pin_each(pinner, objects).await?,
        };
        let reliable = others.into_iter().zip(reliable).filter(|(_, reliable)| *reliable || mutated(72));
        Ok(There::of(own.into_iter().chain(reliable.map(|(found, _)| found)), files))
    }
}
