//! What `verify` reads: every promised file, of so many artifacts at a time that their files fit into memory well.

use std::collections::BTreeMap;

use prunella_store::{Promised, PromisedFile, PromisedObject, Promiser, Store, StoreError, records::StoredArtifact};

/// So many files are in memory before they are read, and what one artifact has beyond.
pub const MOST: usize = 1 << 18;

/// A file to be read, and who promised it.
pub struct Asked {
    /// What must be where.
    pub file: PromisedFile,
    /// The number of an artifact that holds it.
    artifact: usize,
    /// Those of all others; hardly a file has any.
    others: Vec<usize>,
}

impl Asked {
    /// Returns the numbers of all artifacts that hold it.
    pub fn artifacts(&self) -> impl Iterator<Item = usize> {
        std::iter::once(self.artifact).chain(self.others.iter().copied())
    }
}

/// What is to be read, by object, and the promisers of each artifact.
#[derive(Default)]
pub struct Jobs {
    /// The files of each object, in the order in which they lie there.
    pub objects: BTreeMap<String, Vec<Asked>>,
    /// By the number of the artifact.
    pub promisers: Vec<Vec<Promiser>>,
}

/// An artifact whose manifest is lost: none of its files can be found.
pub struct Lost {
    /// Who promised it.
    pub by: Vec<Promiser>,
    /// Its manifest.
    pub object: String,
    /// What is wrong with that.
    pub problem: String,
}

/// The artifacts that are left to be read, each once with all who promised it.
pub struct ToRead {
    artifacts: std::collections::btree_map::IntoValues<String, (StoredArtifact, Vec<Promiser>)>,
}

impl ToRead {
    /// Returns all that was promised. Many runs promise the same artifact: its manifest is read once.
    pub fn new(promised: Vec<Promised>) -> Self {
        let mut artifacts = BTreeMap::<String, (StoredArtifact, Vec<Promiser>)>::new();
        for Promised { by, stored } in promised {
            artifacts.entry(stored.object.clone()).or_insert_with(|| (stored, Vec::new())).1.push(by);
        }
        Self { artifacts: artifacts.into_values() }
    }

    /// Returns the files of the next artifacts, as soon as there are `most`; nothing once all were returned.
    ///
    /// Of these each stretch is there once. One that artifacts of several turns share is read in each of them: to know that
    /// before, all their files would have to be in memory.
    ///
    /// # Errors
    /// [`StoreError`] if the store did not answer.
    pub async fn next(
        &mut self,
        store: &Store,
        most: usize,
        lost: &mut impl FnMut(Lost),
    ) -> Result<Option<Jobs>, StoreError> {
        let (mut jobs, mut count, mut any) = (Jobs::default(), 0, false);
        while count < most
            && let Some((stored, by)) = self.artifacts.next()
        {
            any = true;
            match store.promised_objects(&stored).await {
                Ok(objects) => {
                    let artifact = jobs.promisers.len();
                    jobs.promisers.push(by);
                    for PromisedObject { object, files } in objects {
                        count += files.len();
                        let asked = files.into_iter().map(|file| Asked { file, artifact, others: Vec::new() });
                        jobs.objects.entry(object).or_default().extend(asked);
                    }
                }
                Err(StoreError::Damaged { object, problem }) => lost(Lost { by, object, problem }),
                Err(error) => return Err(error),
            }
        }
        jobs.objects.values_mut().for_each(once);
        Ok(any.then_some(jobs))
    }
}

/// Makes of the same stretch, promised by several, one that is read once.
fn once(asked: &mut Vec<Asked>) {
    let stretch = |asked: &Asked| (asked.file.offset, asked.file.size_bytes, asked.file.digest);
    asked.sort_by_key(stretch);
    asked.dedup_by(|later, first| {
        let same = stretch(later) == stretch(first);
        if same {
            first.others.push(later.artifact);
            first.others.append(&mut later.others);
        }
        same
    });
}

#[cfg(test)]
mod tests {
    use std::{io::Write, sync::Arc};

    use prunella_model::{ArtifactKind, Digest, Epoch, RunId, SlotId, StepKey};
    use prunella_objects::Memory;
    use prunella_sys::{Fs, RealFs, Sys};

    use super::*;

    /// Promises trees of so many files; of the first, twice.
    async fn promised(store: &Store, sizes: &[usize]) -> Vec<Promised> {
        let scratch = tempfile::tempdir().unwrap();
        let mut promised = Vec::new();
        for (n, size) in sizes.iter().enumerate() {
            let tree = scratch.path().join(n.to_string());
            RealFs.create_dir(&tree).unwrap();
            for file in 0..*size {
                let mut created = RealFs.create_new(&tree.join(file.to_string())).unwrap();
                created.write_all(format!("{n} {file}").as_bytes()).unwrap();
            }
            let slot = SlotId { key: StepKey(Digest::of(&[n as u8])), epoch: Epoch::FIRST };
            let taken = store.take_output(&slot, &tree, ArtifactKind::Tree).await.unwrap();
            store.put_small(taken.objects).await.unwrap();
            let by = Promiser::Run(RunId::new(&format!("run-{n}")).unwrap());
            promised.push(Promised { by, stored: taken.stored });
        }
        let by = Promiser::Run(RunId::new("another").unwrap());
        promised.push(Promised { by, stored: promised[0].stored.clone() });
        promised
    }

    #[tokio::test]
    async fn every_file_is_read_once_and_no_more_are_in_memory_than_fit() {
        let store = Store::new(Arc::new(Memory::new(&Sys::real())), Sys::real());
        let promised = promised(&store, &[5, 3, 9, 1, 1]).await;
        for most in [1, 4, 9, 1000] {
            let (mut left, mut all, mut turns) = (ToRead::new(promised.clone()), Vec::new(), 0);
            while let Some(jobs) = left.next(&store, most, &mut |_| panic!("nothing is lost")).await.unwrap() {
                let here: usize = jobs.objects.values().map(Vec::len).sum();
                assert!(here < most + 9, "{here} files at once, {most} and one artifact may be");
                turns += 1;
                for (object, asked) in &jobs.objects {
                    for asked in asked {
                        let by: usize = asked.artifacts().map(|artifact| jobs.promisers[artifact].len()).sum();
                        all.push((object.clone(), asked.file.path.clone(), by));
                    }
                }
            }
            assert_eq!(turns == 1, most == 1000);
            assert_eq!(all.iter().map(|(.., by)| by).sum::<usize>(), 19 + 5, "the first by two");
            all.sort();
            all.dedup();
            assert_eq!(all.len(), 19);
        }
    }
}
