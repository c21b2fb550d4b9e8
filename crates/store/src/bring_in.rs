//! Bringing code and data in for a run: what is there already is relied on, the rest is taken in.
//!
//! A run that is killed while it brings data in has no graph yet, so nobody knows its objects. Notes beside the store say which
//! files lie in which of them; the next run pins those, reads them again, and takes in only what is missing. Notes are hints:
//! lost, torn or wrong, they cost time.

use std::{
    collections::{HashMap, HashSet},
    io::Write,
    path::Path,
    sync::Mutex,
};

use prunella_model::{Artifact, Digest, PipelineName, RunId, TreeNode};
use prunella_objects::{ObjectKey, Packing};
use prunella_sys::{FsFile, Phase};
use serde::{Deserialize, Serialize};

use crate::{
    Contents, Layout, Store, StoreError,
    abreast::abreast,
    pack::PACKED_BYTES,
    pieces::Piece,
    pins::Pinner,
    records::{GraphRecord, StoredArtifact},
    take_in::{For, Taken},
    there::{Candidates, Stretch, There},
};

/// One line of the notes: an object that was made, and what lies in it by digest, offset and size.
#[derive(Debug, Serialize, Deserialize)]
struct Note {
    object: String,
    files: Vec<Stretch>,
    /// The digest of all that before, for a disk that forgot or changed some of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    sum: Option<Digest>,
}

impl Note {
    fn sum(&self) -> Digest {
        Digest::of(&serde_json::to_vec(&(&self.object, &self.files)).expect("texts and numbers are JSON"))
    }
}

/// Notes of what was taken in so far.
pub(crate) struct Notes(Mutex<Box<dyn FsFile>>);

impl Notes {
    /// Notes an object that is there.
    pub(crate) fn add(&self, object: &ObjectKey, files: &[Stretch]) {
        let mut note = Note { object: object.to_string(), files: files.to_vec(), sum: None };
        note.sum = Some(note.sum());
        let mut line = serde_json::to_vec(&note).expect("texts and numbers are JSON");
        line.push(b'\n');
        let mut file = self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        // Only a hint: without it the next run takes the object in anew.
        let _lost = file.write_all(&line);
    }
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
        let taken = Phase::Upload.during(self.take_what_is_new(run, path, contents, known, notes)).await?;
        let Taken { stored, objects, .. } = taken;
        if stored.artifact.digest != artifact.digest {
            return Err(StoreError::Unfit {
                path: path.to_owned(),
                problem: "it was changed while it was being read".to_owned(),
            });
        }
        Phase::Upload.during(self.put_small(objects)).await?;
        Ok(stored)
    }

    async fn take_what_is_new(
        &self,
        run: &RunId,
        path: &Path,
        contents: &Contents,
        known: &HashMap<Digest, StoredArtifact>,
        notes: &Path,
    ) -> Result<Taken, StoreError> {
        let artifact = contents.artifact;
        let owner = For::Run(run.clone());
        let single = match &contents.found {
            Some(_) => None,
            None => self.sys.fs.metadata(path).map_err(StoreError::io(path))?,
        };
        match &contents.found {
            None if !self.is_cut(artifact.kind, single.as_ref()) => self.take_brought(run, path, artifact.kind).await,
            found => {
                let file = notes.join(artifact.digest.hex());
                let there = self.there(run, contents, known, &file).await?;
                let made = self.sys.fs.create_dir_all(notes).and_then(|_| self.sys.fs.append(&file));
                let notes = made.ok().map(|file| Notes(Mutex::new(file)));
                match found {
                    Some(found) => self.take_found(&owner, path, found.clone(), false, there, notes).await,
                    None => self.take_in_chunks(&owner, path, single.as_ref(), there, notes).await,
                }
            }
        }
    }

    /// Removes the notes about an artifact: a record names its objects now.
    pub fn forget_notes(&self, artifact: &Artifact, notes: &Path) {
        // What stays is a hint that nobody needs.
        let _absent = self.sys.fs.remove_file(&notes.join(artifact.digest.hex()));
    }

    /// Pins what is there already of a tree's files, or of a large file.
    async fn there(
        &self,
        run: &RunId,
        contents: &Contents,
        known: &HashMap<Digest, StoredArtifact>,
        notes: &Path,
    ) -> Result<There, StoreError> {
        let wanted: HashSet<Digest> = contents.digests_above(0).collect();
        let mut manifests = Vec::new();
        for stored in known.values().filter(|stored| stored.has_manifest()) {
            match self.manifest(stored).await {
                Ok(manifest) => manifests.push(manifest),
                Err(StoreError::Damaged { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        let mut candidates = Candidates::default();
        manifests.iter().for_each(|manifest| candidates.add(manifest, Some(&wanted)));
        let in_chunks = self.objects.packing() == Packing::Chunks;
        if in_chunks && contents.digests_above(PACKED_BYTES).any(|digest| !candidates.has_file(&digest)) {
            // What is new of a large file is seen only when it is cut.
            candidates = Candidates::default();
            manifests.iter().for_each(|manifest| candidates.add(manifest, None));
        }
        let mut unproved = HashSet::new();
        for line in self.sys.fs.read(notes).unwrap_or_default().split(|byte| *byte == b'\n') {
            let Ok(note) = serde_json::from_slice::<Note>(line) else { continue };
            // In a bucket it was stored as it was sent, or refused; elsewhere the disk may have lost it with the power.
            let proved = in_chunks && note.sum == Some(note.sum());
            let Note { object, mut files, .. } = note;
            if !in_chunks {
                files.retain(|(digest, ..)| wanted.contains(digest));
            }
            if !files.is_empty() && !candidates.stretches.contains_key(&object) {
                if !proved {
                    unproved.insert(object.clone());
                }
                candidates.stretches.insert(object, files);
            }
        }
        if unproved.is_empty() {
            return self.rely(Pinner::Run(run), candidates).await;
        }
        let Candidates { stretches, files } = candidates;
        let objects: Vec<String> = stretches.keys().cloned().collect();
        let reliable = self.pin_each(Pinner::Run(run), &objects).await?;
        let reliable = stretches.into_iter().zip(reliable).filter(|(_, reliable)| *reliable);
        let whole = abreast(reliable.map(|(found, _)| found), self.sys.machine.cpu_count(), |(object, found)| {
            let (store, proved) = (self.clone(), !unproved.contains(&object));
            async move {
                let found = if proved { found } else { store.whole_of(&object, found).await? };
                Ok((object, found))
            }
        });
        Ok(There::of(whole.await?, files))
    }

    /// Returns those files of an object whose bytes are what was noted.
    async fn whole_of(&self, object: &str, files: Vec<Stretch>) -> Result<Vec<Stretch>, StoreError> {
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
        if stored.has_manifest() {
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
        let record = match self.read::<GraphRecord>(&Layout::graph(&newest.run)).await {
            // What it brought in nobody knows any more: it is brought in again.
            Err(StoreError::DamagedRecord { .. }) | Ok(None) => return Ok(HashMap::new()),
            Ok(Some(record)) => record,
            Err(error) => return Err(error),
        };
        Ok(record.brought.into_iter().map(|stored| (stored.artifact.digest, stored)).collect())
    }
}

impl Contents {
    /// Returns the digests of all files with more than so many bytes; a single file is none of few.
    fn digests_above(&self, bytes: u64) -> impl Iterator<Item = Digest> {
        let entries = self.found.iter().flat_map(|found| &found.entries);
        let of_tree = entries.filter_map(move |entry| match entry.node {
            TreeNode::File { digest, size_bytes, .. } => (size_bytes > bytes).then_some(digest),
            TreeNode::Directory | TreeNode::Symlink { .. } => None,
        });
        of_tree.chain(self.found.is_none().then_some(self.artifact.digest))
    }
}
