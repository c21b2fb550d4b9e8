//! Taking a tree in: small files together in packs, large ones as objects of their own or in chunks, all processors at once.

use std::{collections::BTreeMap, io::Read, path::Path, sync::Arc};

use bytes::Bytes;
use prunella_model::{Artifact, ArtifactKind, Digest, Tree, TreeEntry, TreeNode, tree_digest};
use prunella_objects::{ObjectKey, Packing, SMALL_BYTES};
use prunella_sys::{Fs, blocking};

use crate::{
    Store, StoreError,
    abreast::abreast,
    bring_in::Notes,
    cut_in::{Cut, Table, ToCut},
    pack::{Load, load},
    records::{Place, StoredArtifact, StoredEntry, TreeManifest},
    store::encode,
    take_in::{For, Taken},
    there::{Alike, Stretch, There, WORTH_BYTES},
    walk::{MOST_REFUSALS, Refusals, Stat, Walked, What, walk},
};

/// A tree that was walked: what may stand in it was asked.
#[derive(Debug, Clone)]
pub(crate) struct Found {
    /// The entries, sorted; as long as the digests of files are not known, that of nothing stands for them.
    pub entries: Vec<TreeEntry>,
    /// What each entry was when it was found; nothing for what is no file.
    pub stats: Vec<Option<Stat>>,
}

/// What became of files.
enum Loaded {
    /// They lie one behind the other in one object.
    Together {
        object: ObjectKey,
        /// Each file's position, digest and place.
        files: Vec<(u32, Digest, Place)>,
        /// The object's bytes, while they are still to be created.
        inline: Option<Bytes>,
    },
    /// They lie in chunks.
    Cut(Vec<Cut>),
}

/// A pack of so few files and bytes is read at once: to hand it to another thread would take longer.
const FEW: usize = 16;

impl Store {
    pub(crate) async fn take_tree(
        &self,
        owner: &For,
        root: &Path,
        take_over: bool,
        alike: Option<&Alike<'_>>,
    ) -> Result<Taken, StoreError> {
        let (fs, start) = (self.sys.fs.clone(), root.to_owned());
        let found = blocking(move || find(&*fs, &start)).await?;
        let bytes: u64 = found.stats.iter().flatten().map(|stat| stat.size).sum();
        let there = match bytes {
            WORTH_BYTES.. => self.there_of(owner, alike).await?,
            _ => There::default(),
        };
        self.take_found(owner, root, found, take_over, there, None).await
    }

    /// Takes in what was found, but for the files that are there; those must have digests.
    pub(crate) async fn take_found(
        &self,
        owner: &For,
        root: &Path,
        found: Found,
        take_over: bool,
        there: There,
        notes: Option<Notes>,
    ) -> Result<Taken, StoreError> {
        let table = Arc::new(Table::new(there));
        let (mut places, mut chunks) = (vec![None; found.entries.len()], BTreeMap::new());
        for (entry, at) in found.entries.iter().zip(0..) {
            if let TreeNode::File { digest, size_bytes: 1.., .. } = &entry.node {
                match table.file(digest) {
                    Some(in_chunks) => drop(chunks.insert(at, in_chunks)),
                    None => places[at as usize] = table.place(digest),
                }
            }
        }
        let missing = found.stats.iter().zip(0..);
        let missing = missing.filter(|(_, at)| places[*at as usize].is_none() && !chunks.contains_key(at));
        let missing: Vec<_> = missing.filter_map(|(stat, at)| Some((at, stat.as_ref()?.size))).collect();
        self.transfers.sending().begin(missing.iter().map(|(_, size)| size).sum());
        let packing = self.objects.packing();
        let loads = load(packing, missing.into_iter());
        let (root, found, notes): (Arc<Path>, _, _) = (root.into(), Arc::new(found), Arc::new(notes));
        let at_once = match packing {
            Packing::Whole => self.sys.machine.cpu_count(),
            Packing::Chunks => self.lanes.at_work(),
        };
        let loaded = abreast(loads, at_once, |load| {
            let (store, owner, root, found) = (self.clone(), owner.clone(), root.clone(), found.clone());
            let (table, notes) = (table.clone(), notes.clone());
            async move { store.take_load(&owner, &root, &found, load, take_over, &table, &notes).await }
        });
        let loaded = loaded.await?;
        let mut entries = Arc::into_inner(found).expect("all loads have ended").entries;
        let mut name = |at: u32, found: Digest| {
            if let TreeNode::File { digest, .. } = &mut entries[at as usize].node {
                *digest = found;
            }
        };
        let mut objects = Vec::new();
        for loaded in loaded {
            match loaded {
                Loaded::Together { object, files, inline } => {
                    for (at, digest, place) in files {
                        name(at, digest);
                        places[at as usize] = Some(place);
                    }
                    objects.extend(inline.map(|bytes| (object, bytes)));
                }
                Loaded::Cut(cut) => {
                    for Cut { at, digest, chunks: of_one } in cut {
                        name(at, digest);
                        chunks.insert(at, of_one);
                    }
                }
            }
        }
        let tree = Tree::recorded(entries).expect("it was a tree before its digests were known");
        let artifact = Artifact { kind: ArtifactKind::Tree, digest: tree_digest(&tree), size_bytes: tree.size_bytes() };
        let entries = tree.into_entries().into_iter().zip(places);
        let entries = entries.map(|(entry, place)| StoredEntry { entry, place }).collect();
        let table = Arc::into_inner(table).expect("all loads have ended");
        let manifest = TreeManifest::new(table.into_objects(), entries, chunks);
        let object = self.object_name(owner);
        objects.push((object.clone(), encode(&object, &manifest)));
        let stored = StoredArtifact { artifact, object: object.to_string(), executable: false, in_chunks: false };
        Ok(Taken { stored, objects, manifest: Some(manifest) })
    }

    #[expect(clippy::too_many_arguments, reason = "all loads of a tree share them")]
    async fn take_load(
        &self,
        owner: &For,
        root: &Path,
        found: &Arc<Found>,
        load: Load,
        take_over: bool,
        table: &Arc<Table>,
        notes: &Arc<Option<Notes>>,
    ) -> Result<Loaded, StoreError> {
        let size_of = |at: u32| found.stats[at as usize].as_ref().map_or(0, |stat| stat.size);
        let path_of = |at: u32| root.join(&found.entries[at as usize].path);
        match load {
            Load::Cut(members) => {
                let files = members.iter().map(|at| ToCut { at: *at, path: path_of(*at), size: size_of(*at) });
                Ok(Loaded::Cut(self.cut_in(owner, files.collect(), table, notes).await?))
            }
            Load::Whole(at) => {
                let path = path_of(at);
                let (digest, file) = self.take_file(owner, &path, take_over).await?;
                if file.size_bytes != size_of(at) {
                    return Err(changed(&path));
                }
                self.transfers.sending().done(file.size_bytes);
                if let (Some(notes), None) = (&**notes, &file.inline) {
                    notes.add(&file.object, &[(digest, 0, file.size_bytes)]);
                }
                let place = Place { object: table.push(&file.object), offset: 0 };
                Ok(Loaded::Together { object: file.object, files: vec![(at, digest, place)], inline: file.inline })
            }
            Load::Pack(members) => {
                let object = self.object_name(owner);
                let size: u64 = members.iter().map(|at| size_of(*at)).sum();
                let (fs, root, found) = (self.sys.fs.clone(), root.to_owned(), found.clone());
                let (small, packing) = (size <= SMALL_BYTES as u64 && members.len() <= FEW, self.objects.packing());
                let _room = match packing {
                    Packing::Chunks if !small => Some(self.lanes.up().await),
                    Packing::Chunks | Packing::Whole => None,
                };
                let (table, name) = (table.clone(), object.clone());
                let read = move || read_pack(&*fs, &root, &found, &members, size, &table, &name);
                let Packed { files, bytes, stretches } = if small { read() } else { blocking(read).await }?;
                if bytes.len() <= SMALL_BYTES {
                    self.transfers.sending().done(size);
                    let inline = (!bytes.is_empty()).then_some(bytes);
                    return Ok(Loaded::Together { object, files, inline });
                }
                match packing {
                    Packing::Chunks => self.send(&object, bytes, matches!(owner, For::Attempt(_))).await?,
                    Packing::Whole => self.put_small(vec![(object.clone(), bytes)]).await?,
                }
                self.transfers.sending().done(size);
                if let Some(notes) = &**notes {
                    notes.add(&object, &stretches);
                }
                Ok(Loaded::Together { object, files, inline: None })
            }
        }
    }
}

/// Finds everything below `root`, and says all that no tree may hold before a byte is read.
pub(crate) fn find(fs: &dyn Fs, root: &Path) -> Result<Found, StoreError> {
    let walked = walk(fs, root)?;
    let (mut entries, mut stats) = (Vec::with_capacity(walked.len()), Vec::with_capacity(walked.len()));
    let nothing = Digest::of(b"");
    for Walked { path, what } in walked {
        let (node, stat) = match what {
            What::Directory => (TreeNode::Directory, None),
            What::Symlink(target) => (TreeNode::Symlink { target }, None),
            What::File(stat) => {
                (TreeNode::File { digest: nothing, size_bytes: stat.size, executable: stat.executable }, Some(stat))
            }
        };
        entries.push(TreeEntry { path, node });
        stats.push(stat);
    }
    let tree = Tree::checked(entries, MOST_REFUSALS).map_err(|problems| StoreError::Tree {
        path: root.to_owned(),
        refusals: Refusals::of(problems.iter().map(ToString::to_string)),
    })?;
    Ok(Found { entries: tree.into_entries(), stats })
}

/// Small files that were read.
struct Packed {
    /// Each one's position, digest and place.
    files: Vec<(u32, Digest, Place)>,
    /// What of them was not there already.
    bytes: Bytes,
    /// Where it lies in these bytes.
    stretches: Vec<Stretch>,
}

/// Reads the files one behind the other; one that is longer or shorter than it was found is refused.
fn read_pack(
    fs: &dyn Fs,
    root: &Path,
    found: &Found,
    members: &[u32],
    size: u64,
    table: &Table,
    object: &ObjectKey,
) -> Result<Packed, StoreError> {
    let mut bytes = Vec::with_capacity(usize::try_from(size).unwrap_or(0) + 1);
    let (mut files, mut stretches, mut number) = (Vec::with_capacity(members.len()), Vec::new(), None);
    for &at in members {
        let path = root.join(&found.entries[at as usize].path);
        let wanted = found.stats[at as usize].as_ref().map_or(0, |stat| stat.size);
        let from = bytes.len();
        let file = fs.open_read(&path).map_err(StoreError::io(&path))?;
        // One byte more than there should be, so that a longer file is noticed.
        file.take(wanted + 1).read_to_end(&mut bytes).map_err(StoreError::io(&path))?;
        if (bytes.len() - from) as u64 != wanted {
            return Err(changed(&path));
        }
        let digest = Digest::of(&bytes[from..]);
        let place = match table.place(&digest) {
            Some(there) => {
                bytes.truncate(from);
                there
            }
            None => {
                let object = *number.get_or_insert_with(|| table.push(object));
                stretches.push((digest, from as u64, wanted));
                Place { object, offset: from as u64 }
            }
        };
        files.push((at, digest, place));
    }
    Ok(Packed { files, bytes: bytes.into(), stretches })
}

pub(crate) fn changed(path: &Path) -> StoreError {
    StoreError::Unfit { path: path.to_owned(), problem: "it was changed while it was being read".to_owned() }
}
