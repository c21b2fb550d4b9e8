//! Taking a tree in: small files together in packs, large ones as objects of their own, all processors at once.

use std::{io::Read, path::Path, sync::Arc};

use bytes::Bytes;
use prunella_model::{Artifact, ArtifactKind, Digest, Tree, TreeEntry, TreeNode, tree_digest};
use prunella_objects::{ObjectKey, SMALL_BYTES};
use prunella_sys::{Fs, blocking};

use crate::{
    Store, StoreError,
    abreast::abreast,
    bring_in::{Notes, There},
    pack::{Load, load},
    records::{Place, StoredArtifact, StoredEntry, TREE_FORMAT, TreeManifest},
    store::encode,
    take_in::{For, Taken},
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

/// An object that is there, and what lies in it.
struct Loaded {
    object: ObjectKey,
    /// Each file's position, digest and offset.
    files: Vec<(u32, Digest, u64)>,
    /// The object's bytes, while they are still to be created.
    inline: Option<Bytes>,
}

/// A pack of so few files and bytes is read at once: to hand it to another thread would take longer.
const FEW: usize = 16;

impl Store {
    pub(crate) async fn take_tree(&self, owner: &For, root: &Path, take_over: bool) -> Result<Taken, StoreError> {
        let (fs, start) = (self.sys.fs.clone(), root.to_owned());
        let found = blocking(move || find(&*fs, &start)).await?;
        self.take_found(owner, root, found, take_over, There::default(), None).await
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
        let (mut places, mut table) = reused(&found.entries, there);
        let missing = found.stats.iter().zip(0..).filter(|(_, at)| places[*at as usize].is_none());
        let loads = load(missing.filter_map(|(stat, at)| Some((at, stat.as_ref()?.size))));
        let (root, found, notes): (Arc<Path>, _, _) = (root.into(), Arc::new(found), Arc::new(notes));
        let loaded = abreast(loads, self.sys.machine.cpu_count(), |load| {
            let (store, owner, root, found) = (self.clone(), owner.clone(), root.clone(), found.clone());
            let notes = notes.clone();
            async move {
                let loaded = store.take_load(&owner, &root, &found, load, take_over).await?;
                if let (Some(notes), None) = (&*notes, &loaded.inline) {
                    let size = |at: u32| found.stats[at as usize].as_ref().map_or(0, |stat| stat.size);
                    notes
                        .add(&loaded.object, loaded.files.iter().map(|(at, digest, from)| (*digest, *from, size(*at))));
                }
                Ok(loaded)
            }
        });
        let loaded = loaded.await?;
        let mut entries = Arc::into_inner(found).expect("all loads have ended").entries;
        let mut objects = Vec::new();
        for Loaded { object, files, inline } in loaded {
            let number = u32::try_from(table.len()).expect("there are fewer objects than files");
            for (at, found, offset) in files {
                places[at as usize] = Some(Place { object: number, offset });
                if let TreeNode::File { digest, .. } = &mut entries[at as usize].node {
                    *digest = found;
                }
            }
            table.push(object.to_string());
            objects.extend(inline.map(|bytes| (object, bytes)));
        }
        let tree = Tree::recorded(entries).expect("it was a tree before its digests were known");
        let artifact = Artifact { kind: ArtifactKind::Tree, digest: tree_digest(&tree), size_bytes: tree.size_bytes() };
        let entries = tree.into_entries().into_iter().zip(places);
        let entries = entries.map(|(entry, place)| StoredEntry { entry, place }).collect();
        let manifest = TreeManifest { format: TREE_FORMAT, objects: table, entries };
        let object = self.object_name(owner);
        objects.push((object.clone(), encode(&manifest)));
        let stored = StoredArtifact { artifact, object: object.to_string(), executable: false };
        Ok(Taken { stored, objects, manifest: Some(manifest) })
    }

    async fn take_load(
        &self,
        owner: &For,
        root: &Path,
        found: &Arc<Found>,
        load: Load,
        take_over: bool,
    ) -> Result<Loaded, StoreError> {
        match load {
            Load::Whole(at) => {
                let path = root.join(&found.entries[at as usize].path);
                let (digest, file) = self.take_file(owner, &path, take_over).await?;
                if found.stats[at as usize].as_ref().is_none_or(|stat| stat.size != file.size_bytes) {
                    return Err(changed(&path));
                }
                Ok(Loaded { object: file.object, files: vec![(at, digest, 0)], inline: file.inline })
            }
            Load::Pack(members) => {
                let object = self.object_name(owner);
                let size: u64 =
                    members.iter().filter_map(|at| found.stats[*at as usize].as_ref()).map(|s| s.size).sum();
                let (fs, root, found) = (self.sys.fs.clone(), root.to_owned(), found.clone());
                let small = size <= SMALL_BYTES as u64 && members.len() <= FEW;
                let read = move || read_pack(&*fs, &root, &found, &members, size);
                let (files, bytes) = if small { read() } else { blocking(read).await }?;
                if bytes.len() <= SMALL_BYTES {
                    return Ok(Loaded { object, files, inline: Some(bytes) });
                }
                self.put_small(vec![(object.clone(), bytes)]).await?;
                Ok(Loaded { object, files, inline: None })
            }
        }
    }
}

/// Returns where files lie that are there already, and the objects that hold them.
fn reused(entries: &[TreeEntry], there: There) -> (Vec<Option<Place>>, Vec<String>) {
    let (mut numbers, mut table) = (vec![None; there.objects.len()], Vec::new());
    let place = |entry: &TreeEntry| match &entry.node {
        TreeNode::File { digest, size_bytes: 1.., .. } => {
            let Place { object, offset } = *there.places.get(digest)?;
            let number = numbers[object as usize].get_or_insert_with(|| {
                table.push(there.objects[object as usize].clone());
                table.len() - 1
            });
            Some(Place { object: u32::try_from(*number).expect("fewer than there were"), offset })
        }
        TreeNode::File { .. } | TreeNode::Directory | TreeNode::Symlink { .. } => None,
    };
    let places = entries.iter().map(place).collect();
    (places, table)
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

type Packed = (Vec<(u32, Digest, u64)>, Bytes);

/// Reads the files one behind the other; one that is longer or shorter than it was found is refused.
fn read_pack(fs: &dyn Fs, root: &Path, found: &Found, members: &[u32], size: u64) -> Result<Packed, StoreError> {
    let mut bytes = Vec::with_capacity(usize::try_from(size).unwrap_or(0) + 1);
    let mut files = Vec::with_capacity(members.len());
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
        files.push((at, Digest::of(&bytes[from..]), from as u64));
    }
    Ok((files, bytes.into()))
}

fn changed(path: &Path) -> StoreError {
    StoreError::Unfit { path: path.to_owned(), problem: "it was changed while it was being read".to_owned() }
}
