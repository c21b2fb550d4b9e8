//! What a file or directory is now, by content, without reading unchanged bytes twice.

use std::{
    path::{Path, PathBuf},
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use prunella_model::{Artifact, ArtifactKind, Digest, Hasher, Tree, TreeEntry, TreeNode, tree_digest};
use prunella_sys::{FileKind, Fs, Sys};

use crate::{
    StoreError,
    digests::Digests,
    hashing::{LONG, hash_file},
    take_tree::{Found, find},
    walk::Stat,
};

/// What is done with digests remembered from earlier.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Remembered {
    /// They are used, and new ones are remembered.
    Kept,
    /// They are used, and nothing is written.
    Used,
    /// Every byte is read again, and the new digests are remembered.
    Renewed,
    /// Every byte is read again, and nothing is written.
    Ignored,
}

/// What lies at a path.
#[derive(Debug)]
pub struct Contents {
    /// By content.
    pub artifact: Artifact,
    /// The bytes that had to be read to know that.
    pub read_bytes: u64,
    /// The digest of sizes, times and inodes: the same as long as no file of it was touched. Nothing where only the artifact
    /// is known.
    pub stamp: Option<Digest>,
    /// What is in a tree, all digests known; nothing for a file, or where only the artifact is known.
    pub(crate) found: Option<Found>,
}

impl From<Artifact> for Contents {
    fn from(artifact: Artifact) -> Self {
        Self { artifact, read_bytes: 0, stamp: None, found: None }
    }
}

/// Returns what lies at `path`; digests are remembered below `cache`.
///
/// # Errors
/// [`StoreError::Tree`] and [`StoreError::Unfit`] for what no artifact may hold, [`StoreError::Io`] for what cannot be read.
pub fn measure(sys: &Sys, path: &Path, cache: &Path, remembered: Remembered) -> Result<Contents, StoreError> {
    measure_at(sys, path, &cache_file(cache, path), remembered, None)
}

/// Returns what lies in the directory `path` of the files that `keep` wants, by their paths below it; `pattern` names the
/// choice, so that digests of different choices are remembered apart.
///
/// # Errors
/// As [`measure`].
pub fn measure_matching(
    sys: &Sys,
    path: &Path,
    (pattern, keep): (&str, &dyn Fn(&str) -> bool),
    cache: &Path,
    remembered: Remembered,
) -> Result<Contents, StoreError> {
    measure_at(sys, path, &cache_file(cache, &path.join(pattern)), remembered, Some(keep))
}

fn measure_at(
    sys: &Sys,
    path: &Path,
    file: &Path,
    remembered: Remembered,
    keep: Option<&dyn Fn(&str) -> bool>,
) -> Result<Contents, StoreError> {
    let began_ns = sys.clock.wall_ms().saturating_mul(1_000_000);
    let unfit = |problem: &str| StoreError::Unfit { path: path.to_owned(), problem: problem.to_owned() };
    let (kind, found) = match sys.fs.metadata(path).map_err(StoreError::io(path))? {
        Some(meta) if meta.kind == FileKind::File => (ArtifactKind::File, alone(Stat::of(&meta))),
        Some(meta) if meta.kind == FileKind::Dir => (ArtifactKind::Tree, find(&*sys.fs, path)?),
        Some(_) => return Err(unfit("it is neither a file nor a directory")),
        None => return Err(unfit("it is not there")),
    };
    let Found { mut entries, stats } = match keep {
        Some(keep) => kept(found, keep),
        None => found,
    };
    let known = match remembered {
        Remembered::Kept | Remembered::Used => Digests::read(sys, file),
        Remembered::Renewed | Remembered::Ignored => Digests::default(),
    };
    let files: Vec<usize> = stats.iter().enumerate().filter_map(|(at, stat)| stat.map(|_| at)).collect();
    let stat = |at: usize| stats[at].as_ref().expect("only files are asked for");
    let mut digests = known.of(files.iter().map(|at| (&*entries[*at].path, stat(*at))));
    let unknown: Vec<usize> = (0..files.len()).filter(|n| digests[*n].is_none()).collect();
    let full = |n: usize| match kind {
        ArtifactKind::File => path.to_owned(),
        ArtifactKind::Tree => path.join(&entries[files[n]].path),
    };
    drop(known);
    let path_of = |at: usize| full(unknown[at]);
    let size_of = |at: usize| stat(files[unknown[at]]).size;
    for (n, digest) in unknown.iter().zip(hash_all(&*sys.fs, unknown.len(), path_of, size_of, sys.machine.cpu_count())?)
    {
        digests[*n] = Some(digest);
    }
    let read_bytes = unknown.iter().map(|n| stat(files[*n]).size).sum();
    for (at, found) in files.iter().zip(&digests) {
        if let (TreeNode::File { digest, .. }, Some(found)) = (&mut entries[*at].node, found) {
            *digest = *found;
        }
    }
    if matches!(remembered, Remembered::Kept | Remembered::Renewed) && !unknown.is_empty() {
        let all =
            files.iter().zip(&digests).filter_map(|(at, digest)| Some((&*entries[*at].path, stat(*at), (*digest)?)));
        Digests::remember(sys, file, all, began_ns);
    }
    let stamp = Some(stamp_of(files.iter().map(|at| stat(*at))));
    if let (ArtifactKind::File, Some(Some(digest))) = (kind, digests.first()) {
        let artifact = Artifact { kind, digest: *digest, size_bytes: stat(0).size };
        return Ok(Contents { artifact, read_bytes, stamp, found: None });
    }
    let tree = Tree::recorded(entries).expect("it was a tree before its digests were known");
    let artifact = Artifact { kind, digest: tree_digest(&tree), size_bytes: tree.size_bytes() };
    Ok(Contents { artifact, read_bytes, stamp, found: Some(Found { entries: tree.into_entries(), stats }) })
}

/// Returns the wanted files and links of a tree, and the directories in which they lie.
fn kept(found: Found, keep: &dyn Fn(&str) -> bool) -> Found {
    let is_wanted = |entry: &TreeEntry| !matches!(entry.node, TreeNode::Directory) && keep(&entry.path);
    let mut above = std::collections::HashSet::new();
    for entry in found.entries.iter().filter(|entry| is_wanted(entry)) {
        let mut path = entry.path.as_str();
        while let Some((parent, _)) = path.rsplit_once('/') {
            above.insert(parent.to_owned());
            path = parent;
        }
    }
    let stays = |entry: &TreeEntry| is_wanted(entry) || above.contains(&entry.path);
    let (entries, stats) = found.entries.into_iter().zip(found.stats).filter(|(entry, _)| stays(entry)).unzip();
    Found { entries, stats }
}

/// Returns what tells whether any of these files, in the order of their paths, was touched.
fn stamp_of<'a>(stats: impl Iterator<Item = &'a Stat>) -> Digest {
    let mut hasher = Hasher::new();
    for Stat { size, mtime_ns, ctime_ns, inode, device, executable } in stats {
        for number in [*size, *mtime_ns as u64, *ctime_ns as u64, *inode, *device, u64::from(*executable)] {
            hasher.update(&number.to_le_bytes());
        }
    }
    hasher.finish()
}

/// A single file, as if it were alone in a tree.
fn alone(stat: Stat) -> Found {
    let node = TreeNode::File { digest: Digest::of(b""), size_bytes: stat.size, executable: stat.executable };
    Found { entries: vec![TreeEntry { path: String::new(), node }], stats: vec![Some(stat)] }
}

fn cache_file(cache: &Path, path: &Path) -> PathBuf {
    use std::os::unix::ffi::OsStrExt;
    cache.join("digests").join(Digest::of(path.as_os_str().as_bytes()).short())
}

/// Returns the digests of so many files, in order: long ones each by all processors, short ones beside each other.
///
/// Where each is and how long is asked for, and not kept: there may be a million.
fn hash_all(
    fs: &dyn Fs,
    count: usize,
    path_of: impl Fn(usize) -> PathBuf + Sync,
    size_of: impl Fn(usize) -> u64 + Sync,
    processors: usize,
) -> Result<Vec<Digest>, StoreError> {
    /// To begin threads for fewer files takes longer than it saves.
    const FEW: usize = 32;
    let digests: Mutex<Vec<Option<Digest>>> = Mutex::new(vec![None; count]);
    let put = |at: usize, digest| digests.lock().unwrap_or_else(|poisoned| poisoned.into_inner())[at] = Some(digest);
    let hash = |at: usize, processors| {
        let path = path_of(at);
        let (digest, found) = hash_file(fs, &path, processors).map_err(StoreError::io(&path))?;
        if found != size_of(at) {
            let problem = "it was changed while it was being read".to_owned();
            return Err(StoreError::Unfit { path, problem });
        }
        put(at, digest);
        Ok(())
    };
    let (long, short): (Vec<usize>, Vec<usize>) = (0..count).partition(|at| size_of(*at) >= LONG);
    long.into_iter().try_for_each(|at| hash(at, processors))?;
    let next = AtomicUsize::new(0);
    let work = || -> Result<(), StoreError> {
        while let Some(at) = short.get(next.fetch_add(1, Ordering::Relaxed)) {
            hash(*at, 1)?;
        }
        Ok(())
    };
    let many = short.len() >= FEW;
    std::thread::scope(|scope| {
        let others: Vec<_> = (1..if many { processors } else { 1 }).map(|_| scope.spawn(work)).collect();
        let mine = work();
        others.into_iter().fold(mine, |done, other| done.and(other.join().expect("hashing does not panic")))
    })?;
    let digests = digests.into_inner().unwrap_or_else(|poisoned| poisoned.into_inner());
    Ok(digests.into_iter().flatten().collect())
}

#[cfg(test)]
mod tests {
    use std::{io::Write, sync::Arc, time::Duration};

    use prunella_sys::{ManualClock, RealFs};

    use super::*;

    /// A machine whose wall clock is long after every time stamp of the files below it.
    fn later() -> Sys {
        let clock = ManualClock::new();
        let now = Sys::real().clock.wall_ms() - clock_ms(&clock);
        clock.advance(Duration::from_millis(u64::try_from(now).expect("after 1970") + 3_600_000));
        Sys { clock: Arc::new(clock), ..Sys::real() }
    }

    fn clock_ms(clock: &ManualClock) -> i64 {
        prunella_sys::Clock::wall_ms(clock)
    }

    fn write(path: &Path, text: &str) {
        let _absent = RealFs.remove_file(path);
        RealFs.create_dir_all(path.parent().expect("a directory")).expect("made");
        RealFs.create_new(path).and_then(|mut file| file.write_all(text.as_bytes())).expect("written");
    }

    #[test]
    fn unchanged_bytes_are_read_once_and_changed_ones_again() {
        let (sys, dir) = (later(), tempfile::tempdir().expect("a directory"));
        let (tree, cache) = (dir.path().join("tree"), dir.path().join("cache"));
        for n in 0..100 {
            write(&tree.join(format!("d{}/f{n}", n % 7)), &format!("content {n:02}"));
        }
        let first = measure(&sys, &tree, &cache, Remembered::Kept).expect("measured");
        assert_eq!(first.read_bytes, 1000);
        let again = measure(&sys, &tree, &cache, Remembered::Kept).expect("measured");
        assert_eq!((again.read_bytes, again.artifact), (0, first.artifact));
        // The same size, and changed in place.
        write(&tree.join("d3/f3"), "CONTENT 03");
        let changed = measure(&sys, &tree, &cache, Remembered::Kept).expect("measured");
        assert_eq!(changed.read_bytes, 10);
        assert_ne!(changed.artifact.digest, first.artifact.digest);
        let all = measure(&sys, &tree, &cache, Remembered::Renewed).expect("measured");
        assert_eq!((all.read_bytes, all.artifact), (1000, changed.artifact));
        let single = tree.join("d0/f0");
        let file = measure(&sys, &single, &cache, Remembered::Kept).expect("measured");
        assert_eq!(file.artifact.digest, Digest::of(b"content 00"));
        assert_eq!(measure(&sys, &single, &cache, Remembered::Used).expect("measured").read_bytes, 0);
    }

    #[test]
    fn of_a_tree_only_what_is_wanted_is_read_and_its_directories_stay() {
        let (sys, dir) = (later(), tempfile::tempdir().expect("a directory"));
        let (tree, cache) = (dir.path().join("tree"), dir.path().join("cache"));
        for path in ["a/b/one.png", "a/two.txt", "c/three.txt", "four.png"] {
            write(&tree.join(path), path);
        }
        let wanted = |path: &str| path.ends_with(".png");
        let measured =
            || measure_matching(&sys, &tree, ("**/*.png", &wanted), &cache, Remembered::Kept).expect("measured");
        let first = measured();
        assert_eq!(first.read_bytes, 19);
        assert_eq!(measured().read_bytes, 0);
        // The same as a tree that holds nothing else.
        for path in ["a/b/one.png", "four.png"] {
            write(&dir.path().join("other").join(path), path);
        }
        let alone = measure(&sys, &dir.path().join("other"), &cache, Remembered::Kept).expect("measured");
        assert_eq!(first.artifact, alone.artifact);
    }

    #[test]
    fn a_file_that_was_just_written_is_read_every_time() {
        let (sys, dir) = (Sys::real(), tempfile::tempdir().expect("a directory"));
        write(&dir.path().join("tree/f"), "just now");
        for _ in 0..2 {
            let read = measure(&sys, &dir.path().join("tree"), dir.path(), Remembered::Kept).expect("measured");
            assert_eq!(read.read_bytes, 8);
        }
    }
}
