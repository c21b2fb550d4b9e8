//! Knowing the content of local data without reading unchanged bytes twice.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use prunella_model::{
    Artifact, ArtifactKind, DataName, Digest, Hasher, Pipeline, Tree, TreeEntry, TreeNode, tree_digest,
};
use prunella_sys::{FileKind, Meta, Sys};
use serde::{Deserialize, Serialize};

use crate::error::CliError;

/// A data set and what it is now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Measured {
    /// Its path, relative to the pipeline file.
    pub path: String,
    /// Where it lies.
    pub full: PathBuf,
    /// Its content.
    pub artifact: Artifact,
}

/// What a file was when its digest was computed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Known {
    size: u64,
    mtime_ns: i128,
    ctime_ns: i128,
    inode: u64,
    device: u64,
    digest: Digest,
}

/// Digests of files that have not changed since: a cache, rebuilt when it is lost.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Digests {
    files: BTreeMap<PathBuf, Known>,
    #[serde(skip)]
    changed: bool,
}

/// A file changed so recently may change again within the resolution of its time stamps.
const TOO_FRESH_NS: i128 = 2_000_000_000;

impl Digests {
    fn of(&mut self, sys: &Sys, path: &Path, meta: &Meta) -> Result<Digest, CliError> {
        let full = std::path::absolute(path).map_err(CliError::io(path))?;
        if let Some(known) = self.files.get(&full)
            && (known.size, known.mtime_ns, known.ctime_ns) == (meta.len, meta.mtime_ns, meta.ctime_ns)
            && (known.inode, known.device) == (meta.ino, meta.dev)
        {
            return Ok(known.digest);
        }
        let digest = hash(sys, path)?;
        let age = i128::from(sys.clock.wall_ms()) * 1_000_000 - meta.ctime_ns.max(meta.mtime_ns);
        if age > TOO_FRESH_NS {
            let known = Known {
                size: meta.len,
                mtime_ns: meta.mtime_ns,
                ctime_ns: meta.ctime_ns,
                inode: meta.ino,
                device: meta.dev,
                digest,
            };
            self.files.insert(full, known);
            self.changed = true;
        }
        Ok(digest)
    }
}

/// What is done with digests remembered from earlier.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Remembered {
    /// They are used, and new ones are remembered.
    Kept,
    /// They are used, and nothing is written.
    Used,
    /// Every byte is read again, and nothing is written.
    Ignored,
}

fn hash(sys: &Sys, path: &Path) -> Result<Digest, CliError> {
    let mut file = sys.fs.open_read(path).map_err(CliError::io(path))?;
    let (mut hasher, mut buffer) = (Hasher::new(), vec![0; 1 << 18]);
    loop {
        match std::io::Read::read(&mut file, &mut buffer).map_err(CliError::io(path))? {
            0 => return Ok(hasher.finish()),
            n => hasher.update(&buffer[..n]),
        }
    }
}

/// Returns what every data set of the pipeline is now; `cache` is where digests are remembered.
///
/// # Errors
/// [`CliError`] for data that cannot be read or holds what artifacts may not hold.
pub fn measure(
    sys: &Sys,
    pipeline: &Pipeline,
    base: &Path,
    cache: &Path,
    remembered: Remembered,
) -> Result<BTreeMap<DataName, Measured>, CliError> {
    let file = cache.join("digests.json");
    let mut digests = match remembered {
        Remembered::Ignored => Digests::default(),
        // A cache that cannot be read is as good as none.
        Remembered::Kept | Remembered::Used => {
            sys.fs.read(&file).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default()
        }
    };
    let mut measured = BTreeMap::new();
    for (name, path) in &pipeline.data {
        let full = base.join(path);
        // A link at the top is followed: the data is what it leads to.
        let real = std::fs::canonicalize(&full).map_err(CliError::io(&full))?;
        let meta = sys.fs.metadata(&real).map_err(CliError::io(&full))?;
        let artifact = match meta {
            Some(meta) if meta.kind == FileKind::File => {
                Artifact { kind: ArtifactKind::File, digest: digests.of(sys, &real, &meta)?, size_bytes: meta.len }
            }
            Some(meta) if meta.kind == FileKind::Dir => tree(sys, &real, &mut digests)?,
            _ => {
                return Err(CliError::Refused(format!("`{}` is neither a file nor a directory", full.display()), None));
            }
        };
        measured.insert(name.clone(), Measured { path: path.clone(), full: real, artifact });
    }
    if digests.changed && remembered == Remembered::Kept && sys.fs.create_dir_all(cache).is_ok() {
        remember(sys, &file, &digests);
    }
    Ok(measured)
}

fn remember(sys: &Sys, file: &Path, digests: &Digests) {
    let part = file.with_extension(format!("{}.part", prunella_sys::random_hex(&*sys.random, 6)));
    let bytes = serde_json::to_vec(digests).expect("paths of pipelines are text");
    let written = sys.fs.create_new(&part).and_then(|mut out| std::io::Write::write_all(&mut out, &bytes));
    // Only a cache: without it the next run hashes again.
    let _lost = written.and_then(|()| sys.fs.rename(&part, file));
}

fn tree(sys: &Sys, root: &Path, digests: &mut Digests) -> Result<Artifact, CliError> {
    let (mut entries, mut left) = (Vec::new(), vec![String::new()]);
    while let Some(directory) = left.pop() {
        let here = root.join(&directory);
        for entry in sys.fs.list(&here).map_err(CliError::io(&here))? {
            let full = here.join(&entry.name);
            let refused = |problem: &str| CliError::Refused(format!("`{}`: {problem}", full.display()), None);
            let Some(name) = entry.name.to_str() else { return Err(refused("its name is not UTF-8")) };
            let path = if directory.is_empty() { name.to_owned() } else { format!("{directory}/{name}") };
            let node = match entry.kind {
                FileKind::Dir => {
                    left.push(path.clone());
                    TreeNode::Directory
                }
                FileKind::File => {
                    let meta = sys.fs.metadata(&full).map_err(CliError::io(&full))?;
                    let meta = meta.ok_or_else(|| refused("it vanished while it was being read"))?;
                    let digest = digests.of(sys, &full, &meta)?;
                    TreeNode::File { digest, size_bytes: meta.len, executable: meta.mode_exec }
                }
                FileKind::Symlink => {
                    let target = sys.fs.read_link(&full).map_err(CliError::io(&full))?;
                    let target = target.to_str().ok_or_else(|| refused("its target is not UTF-8"))?.to_owned();
                    TreeNode::Symlink { target }
                }
                FileKind::Special => return Err(refused("it is a socket, pipe or device")),
            };
            entries.push(TreeEntry { path, node });
        }
    }
    let tree = Tree::new(entries).map_err(|error| CliError::Refused(format!("`{}`: {error}", root.display()), None))?;
    Ok(Artifact { kind: ArtifactKind::Tree, digest: tree_digest(&tree), size_bytes: tree.size_bytes() })
}
