//! What lies in the store already, and may be relied on once it is pinned.

use std::collections::{BTreeMap, HashMap, HashSet};

use prunella_model::Digest;

use crate::{
    Store, StoreError,
    pins::Pinner,
    records::{Chunk, Place, TreeManifest},
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

impl Store {
    /// Pins all objects of the candidates and returns those that may be relied on.
    pub(crate) async fn rely(&self, pinner: Pinner<'_>, candidates: Candidates) -> Result<There, StoreError> {
        if candidates.stretches.is_empty() {
            return Ok(There::default());
        }
        let Candidates { stretches, files } = candidates;
        let objects: Vec<String> = stretches.keys().cloned().collect();
        let reliable = self.pin_each(pinner, &objects).await?;
        let reliable = stretches.into_iter().zip(reliable).filter(|(_, reliable)| *reliable);
        Ok(There::of(reliable.map(|(found, _)| found), files))
    }
}
