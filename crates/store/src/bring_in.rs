//! Bringing code and data in for a run: what is there already is relied on, the rest is taken in.
//!
//! A run that is killed while it brings data in has no graph yet, so nobody knows its objects. Notes beside the store say which
//! files lie in which of them; the next run pins those, reads them again, and takes in only what is missing. Notes are hints:
//! lost, torn or wrong, they cost time.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    io::Write,
    path::Path,
    sync::Mutex,
};

use prunella_model::{Artifact, ArtifactKind, Digest, PipelineName, RunId, TreeNode};
use prunella_objects::ObjectKey;
use prunella_sys::FsFile;
use serde::{Deserialize, Serialize};

use crate::{
    Contents, Layout, Store, StoreError,
    abreast::abreast,
    pieces::Piece,
    pins::Pinner,
    records::{GraphRecord, Place, StoredArtifact},
    take_in::{For, Taken},
};

/// Bytes that are in the store and pinned.
#[derive(Debug, Default)]
pub(crate) struct There {
    /// Objects.
    pub objects: Vec<String>,
    /// Where in them the bytes with this digest lie.
    pub places: HashMap<Digest, Place>,
}

/// One line of the notes: an object that was made, and the files in it by digest, offset and size.
#[derive(Debug, Serialize, Deserialize)]
struct Note {
    object: String,
    files: Vec<(Digest, u64, u64)>,
}

/// Notes of what was taken in so far.
pub(crate) struct Notes(Mutex<Box<dyn FsFile>>);

impl Notes {
    /// Notes an object that is there.
    pub(crate) fn add(&self, object: &ObjectKey, files: impl Iterator<Item = (Digest, u64, u64)>) {
        let note = Note { object: object.to_string(), files: files.collect() };
        let mut line = serde_json::to_vec(&note).expect("texts and numbers are JSON");
        line.push(b'\n');
        let mut file = self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        // Only a hint: without it the next run takes the object in anew.
        let _lost = file.write_all(&line);
    }
}

/// Objects that may hold wanted bytes.
#[derive(Default)]
struct Candidates {
    /// By object: digests, offsets, sizes.
    files: BTreeMap<String, Vec<(Digest, u64, u64)>>,
    /// Those that no record names: their bytes have to be read before they are relied on.
    unproved: HashSet<String>,
}

impl Store {
    /// Brings a file or tree in for a run. What the pipeline's newest run (`known`) or a run that was killed (`notes`, a
    /// directory) brought in is pinned instead of copied, a tree's files one by one.
    ///
    /// # Errors
    /// As [`Store::take_brought`].
    pub async fn bring_in(
        &self,
        run: &RunId,
        path: &Path,
        contents: &Contents,
        known: &HashMap<Digest, StoredArtifact>,
        notes: &Path,
    ) -> Result<StoredArtifact, StoreError> {
        let artifact = contents.artifact;
        if let Some(there) = known.get(&artifact.digest)
            && there.artifact == artifact
            && self.pin(Pinner::Run(run), &self.objects_of(there).await?).await?
        {
            return Ok(there.clone());
        }
        let taken = match &contents.found {
            None => self.take_brought(run, path, artifact.kind).await?,
            Some(found) => {
                let file = notes.join(artifact.digest.hex());
                let there = self.there(run, contents, known, &file).await?;
                let made = self.sys.fs.create_dir_all(notes).and_then(|_| self.sys.fs.append(&file));
                let notes = made.ok().map(|file| Notes(Mutex::new(file)));
                self.take_found(&For::Run(run.clone()), path, found.clone(), false, there, notes).await?
            }
        };
        let Taken { stored, objects, .. } = taken;
        if stored.artifact.digest != artifact.digest {
            return Err(StoreError::Unfit {
                path: path.to_owned(),
                problem: "it was changed while it was being read".to_owned(),
            });
        }
        self.put_small(objects).await?;
        Ok(stored)
    }

    /// Removes the notes about an artifact: a record names its objects now.
    pub fn forget_notes(&self, artifact: &Artifact, notes: &Path) {
        // What stays is a hint that nobody needs.
        let _absent = self.sys.fs.remove_file(&notes.join(artifact.digest.hex()));
    }

    /// Pins what is there already of a tree's files.
    async fn there(
        &self,
        run: &RunId,
        contents: &Contents,
        known: &HashMap<Digest, StoredArtifact>,
        notes: &Path,
    ) -> Result<There, StoreError> {
        let wanted: HashSet<Digest> = contents.digests().collect();
        let mut candidates = Candidates::default();
        for stored in known.values().filter(|stored| stored.artifact.kind == ArtifactKind::Tree) {
            let manifest = match self.manifest(stored).await {
                Ok(manifest) => manifest,
                Err(StoreError::Damaged { .. }) => continue,
                Err(error) => return Err(error),
            };
            for (_, size, digest, place) in manifest.files() {
                if let Some(place) = place.filter(|_| wanted.contains(digest)) {
                    let files = candidates.files.entry(manifest.object(place).to_owned()).or_default();
                    files.push((*digest, place.offset, size));
                }
            }
        }
        for line in self.sys.fs.read(notes).unwrap_or_default().split(|byte| *byte == b'\n') {
            let Ok(Note { object, mut files }) = serde_json::from_slice(line) else { continue };
            files.retain(|(digest, ..)| wanted.contains(digest));
            if !files.is_empty() && !candidates.files.contains_key(&object) {
                candidates.files.insert(object.clone(), files);
                candidates.unproved.insert(object);
            }
        }
        if candidates.files.is_empty() {
            return Ok(There::default());
        }
        let objects: Vec<String> = candidates.files.keys().cloned().collect();
        let reliable = self.pin_each(Pinner::Run(run), &objects).await?;
        let reliable = candidates.files.into_iter().zip(reliable).filter(|(_, reliable)| *reliable);
        let unproved = &candidates.unproved;
        let whole = abreast(reliable.map(|(found, _)| found), self.sys.machine.cpu_count(), |(object, files)| {
            let (store, proved) = (self.clone(), !unproved.contains(&object));
            async move {
                let files = if proved { files } else { store.whole_of(&object, files).await? };
                Ok((object, files))
            }
        });
        let mut there = There::default();
        for (object, files) in whole.await? {
            let number = u32::try_from(there.objects.len()).expect("there are fewer objects than files");
            there.objects.push(object);
            for (digest, offset, _) in files {
                there.places.entry(digest).or_insert(Place { object: number, offset });
            }
        }
        Ok(there)
    }

    /// Returns those files of an object whose bytes are what was noted.
    async fn whole_of(
        &self,
        object: &str,
        files: Vec<(Digest, u64, u64)>,
    ) -> Result<Vec<(Digest, u64, u64)>, StoreError> {
        let pieces = files.iter().map(|(digest, offset, size)| Piece {
            offset: *offset,
            size: *size,
            digest: *digest,
            whole: false,
        });
        let wrong = self.read_pieces(object, pieces.collect(), std::sync::Arc::new(self.check(object))).await?;
        let wrong: HashSet<usize> = wrong.into_iter().map(|(at, _)| at).collect();
        Ok(files.into_iter().enumerate().filter(|(at, _)| !wrong.contains(at)).map(|(_, file)| file).collect())
    }

    pub(crate) async fn objects_of(&self, stored: &StoredArtifact) -> Result<Vec<String>, StoreError> {
        let mut objects = vec![stored.object.clone()];
        if stored.artifact.kind == ArtifactKind::Tree {
            match self.manifest(stored).await {
                Ok(manifest) => objects.extend(manifest.into_objects()),
                // The pin then finds the manifest missing or the copy is made anew.
                Err(StoreError::Damaged { .. }) => objects.push("data/00/missing".to_owned()),
                Err(error) => return Err(error),
            }
        }
        Ok(objects)
    }

    /// Returns what the newest run of the pipeline brought in, by digest.
    ///
    /// # Errors
    /// [`StoreError`] if the store did not answer.
    pub async fn brought_before(&self, pipeline: &PipelineName) -> Result<HashMap<Digest, StoredArtifact>, StoreError> {
        let Some(newest) = self.runs_of(pipeline, 1).await?.into_iter().next() else { return Ok(HashMap::new()) };
        let Some(record) = self.read::<GraphRecord>(&Layout::graph(&newest.run)).await? else {
            return Ok(HashMap::new());
        };
        Ok(record.brought.into_iter().map(|stored| (stored.artifact.digest, stored)).collect())
    }
}

impl Contents {
    /// Returns the digests of all files with bytes.
    fn digests(&self) -> impl Iterator<Item = Digest> {
        let entries = self.found.iter().flat_map(|found| &found.entries);
        entries.filter_map(|entry| match entry.node {
            TreeNode::File { digest, size_bytes, .. } => (size_bytes > 0).then_some(digest),
            TreeNode::Directory | TreeNode::Symlink { .. } => None,
        })
    }
}
