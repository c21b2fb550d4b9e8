//! The operating system's files.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, RenameFlags};

use crate::dir_lock::try_lock_dir;
use crate::fs::{DirEntry, DirLock, FileKind, Fs, FsFile, FsRead, Meta};
use crate::lease::{ReadLease, read_lease};
use crate::long_path::reach;
use crate::remove_tree::remove_tree;

/// The operating system's files.
#[derive(Debug, Clone, Copy, Default)]
pub struct RealFs;

struct RealFile(File);

impl Write for RealFile {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.0.write(buf)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl FsFile for RealFile {
    fn start_writeback(&mut self) {
        crate::writeback::start(&self.0);
    }

    fn sync(&mut self) -> io::Result<()> {
        self.0.sync_data()
    }
}

impl Fs for RealFs {
    fn create_new(&self, path: &Path) -> io::Result<Box<dyn FsFile>> {
        let path = &*reach(path)?;
        Ok(Box::new(RealFile(OpenOptions::new().write(true).create_new(true).mode(0o644).open(path)?)))
    }

    fn append(&self, path: &Path) -> io::Result<Box<dyn FsFile>> {
        let path = &*reach(path)?;
        Ok(Box::new(RealFile(OpenOptions::new().append(true).create(true).mode(0o644).open(path)?)))
    }

    fn open_read(&self, path: &Path) -> io::Result<Box<dyn FsRead>> {
        let path = &*reach(path)?;
        Ok(Box::new(File::open(path)?))
    }

    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        let path = &*reach(path)?;
        std::fs::read(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let from = &*reach(from)?;
        let to = &*reach(to)?;
        std::fs::rename(from, to)
    }

    fn rename_noreplace(&self, from: &Path, to: &Path) -> io::Result<bool> {
        let from = &*reach(from)?;
        let to = &*reach(to)?;
        match rename_with(from, to, RenameFlags::NOREPLACE) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
            // Some file systems know no flags: link refuses what is there, too.
            Err(error) if is_unsupported(&error) => match std::fs::hard_link(from, to) {
                Ok(()) => std::fs::remove_file(from).map(|()| true),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
                Err(error) => Err(error),
            },
            Err(error) => Err(error),
        }
    }

    fn exchange(&self, a: &Path, b: &Path) -> io::Result<()> {
        let a = &*reach(a)?;
        let b = &*reach(b)?;
        rename_with(a, b, RenameFlags::EXCHANGE).map_err(|error| {
            if is_unsupported(&error) { io::Error::new(io::ErrorKind::Unsupported, error) } else { error }
        })
    }

    fn try_lock_dir(&self, path: &Path) -> io::Result<Option<Box<dyn DirLock>>> {
        try_lock_dir(&reach(path)?)
    }

    fn hard_link(&self, from: &Path, to: &Path) -> io::Result<()> {
        let from = &*reach(from)?;
        let to = &*reach(to)?;
        std::fs::hard_link(from, to)
    }

    fn reflink(&self, from: &Path, to: &Path) -> io::Result<bool> {
        let from = &*reach(from)?;
        let to = &*reach(to)?;
        reflink(from, to)
    }

    fn read_lease(&self, path: &Path) -> io::Result<ReadLease> {
        read_lease(&reach(path)?)
    }

    fn is_of_the_kernel(&self) -> bool {
        true
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        let path = &*reach(path)?;
        std::fs::remove_file(path)
    }

    fn remove_dir_all(&self, path: &Path) -> io::Result<()> {
        let path = &*reach(path)?;
        remove_tree(path)
    }

    fn create_dir(&self, path: &Path) -> io::Result<bool> {
        let path = &*reach(path)?;
        match std::fs::DirBuilder::new().mode(0o755).create(path) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => Ok(false),
            // A directory of a read-only file system that exists is there all the same.
            Err(error) if error.kind() == io::ErrorKind::ReadOnlyFilesystem && path.is_dir() => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn sync_file(&self, path: &Path) -> io::Result<()> {
        let path = &*reach(path)?;
        File::open(path)?.sync_data()
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        let path = &*reach(path)?;
        File::open(path)?.sync_all()
    }

    fn list(&self, path: &Path) -> io::Result<Vec<DirEntry>> {
        let path = &*reach(path)?;
        let mut entries = std::fs::read_dir(path)?
            .map(|entry| {
                let entry = entry?;
                Ok(DirEntry { name: entry.file_name(), kind: kind(entry.file_type()?) })
            })
            .collect::<io::Result<Vec<_>>>()?;
        entries.sort();
        Ok(entries)
    }

    fn metadata(&self, path: &Path) -> io::Result<Option<Meta>> {
        let path = &*reach(path)?;
        let meta = match std::fs::symlink_metadata(path) {
            Ok(meta) => meta,
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                return Ok(None);
            }
            Err(error) => return Err(error),
        };
        let ns = |s: i64, ns: i64| i128::from(s) * 1_000_000_000 + i128::from(ns);
        Ok(Some(Meta {
            kind: kind(meta.file_type()),
            len: meta.len(),
            mtime_ns: ns(meta.mtime(), meta.mtime_nsec()),
            ctime_ns: ns(meta.ctime(), meta.ctime_nsec()),
            ino: meta.ino(),
            dev: meta.dev(),
            mode_exec: meta.mode() & 0o100 != 0,
            nlink: meta.nlink(),
        }))
    }

    fn read_link(&self, path: &Path) -> io::Result<PathBuf> {
        let path = &*reach(path)?;
        std::fs::read_link(path)
    }

    fn symlink(&self, target: &Path, path: &Path) -> io::Result<()> {
        let path = &*reach(path)?;
        std::os::unix::fs::symlink(target, path)
    }

    fn set_mode(&self, path: &Path, mode: u32) -> io::Result<()> {
        let path = &*reach(path)?;
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode))
    }

    fn free_space(&self, path: &Path) -> io::Result<u64> {
        let path = &*reach(path)?;
        let stat = rustix::fs::statvfs(path)?;
        Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
    }
}

fn rename_with(from: &Path, to: &Path, flags: RenameFlags) -> io::Result<()> {
    rustix::fs::renameat_with(CWD, from, CWD, to, flags).map_err(io::Error::from)
}

fn is_unsupported(error: &io::Error) -> bool {
    use rustix::io::Errno;
    let code = error.raw_os_error().map(Errno::from_raw_os_error);
    matches!(code, Some(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP))
}

#[cfg(target_os = "linux")]
fn reflink(from: &Path, to: &Path) -> io::Result<bool> {
    use rustix::io::Errno;
    let source = File::open(from)?;
    let target = OpenOptions::new().write(true).create_new(true).mode(0o644).open(to)?;
    match rustix::fs::ioctl_ficlone(&target, &source) {
        Ok(()) => Ok(true),
        Err(error) => {
            drop(target);
            std::fs::remove_file(to)?;
            match error {
                Errno::OPNOTSUPP | Errno::NOTTY | Errno::XDEV | Errno::INVAL | Errno::NOSYS | Errno::PERM => Ok(false),
                error => Err(error.into()),
            }
        }
    }
}

#[cfg(not(target_os = "linux"))]
fn reflink(_from: &Path, _to: &Path) -> io::Result<bool> {
    Ok(false)
}

fn kind(kind: std::fs::FileType) -> FileKind {
    if kind.is_file() {
        FileKind::File
    } else if kind.is_dir() {
        FileKind::Dir
    } else if kind.is_symlink() {
        FileKind::Symlink
    } else {
        FileKind::Special
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn temp() -> tempfile::TempDir {
        tempfile::tempdir().unwrap()
    }

    fn put(path: &Path, text: &str) {
        let mut file = RealFs.create_new(path).unwrap();
        file.write_all(text.as_bytes()).unwrap();
        file.sync().unwrap();
    }

    #[test]
    fn nothing_that_exists_is_ever_replaced_by_create_or_rename_noreplace() {
        let dir = temp();
        let (a, b) = (dir.path().join("a"), dir.path().join("b"));
        put(&a, "a");
        put(&b, "b");
        assert_eq!(RealFs.create_new(&a).err().unwrap().kind(), io::ErrorKind::AlreadyExists);
        assert!(!RealFs.rename_noreplace(&a, &b).unwrap());
        assert_eq!(RealFs.read(&b).unwrap(), b"b");
        assert!(RealFs.rename_noreplace(&a, &dir.path().join("c")).unwrap());
        assert_eq!(RealFs.metadata(&a).unwrap(), None);
    }

    #[test]
    fn exchange_leaves_both_whole() {
        let dir = temp();
        let (a, b) = (dir.path().join("a"), dir.path().join("b"));
        put(&a, "a");
        put(&b, "b");
        RealFs.exchange(&a, &b).unwrap();
        assert_eq!((RealFs.read(&a).unwrap(), RealFs.read(&b).unwrap()), (b"b".to_vec(), b"a".to_vec()));
    }

    #[test]
    fn a_reflink_is_whole_or_leaves_nothing() {
        let dir = temp();
        let (a, b) = (dir.path().join("a"), dir.path().join("b"));
        put(&a, "same");
        if RealFs.reflink(&a, &b).unwrap() {
            assert_eq!(RealFs.read(&b).unwrap(), b"same");
        } else {
            assert_eq!(RealFs.metadata(&b).unwrap(), None);
        }
    }

    #[test]
    fn create_dir_all_tells_which_directories_are_new() {
        let dir = temp();
        let deep = dir.path().join("x/y/z");
        let made = RealFs.create_dir_all(&deep).unwrap();
        assert_eq!(made, ["x", "x/y", "x/y/z"].map(|p| dir.path().join(p)));
        assert!(RealFs.create_dir_all(&deep).unwrap().is_empty());
        RealFs.create_dir_all_durable(&deep.join("w")).unwrap();
    }

    #[test]
    fn a_file_in_the_way_of_a_directory_is_an_error() {
        let dir = temp();
        put(&dir.path().join("f"), "");
        assert!(RealFs.create_dir(&dir.path().join("f")).is_err());
        assert!(RealFs.create_dir_all(&dir.path().join("f/g")).is_err());
        assert_eq!(RealFs.metadata(&dir.path().join("f/g")).unwrap(), None);
    }

    #[test]
    fn removing_a_tree_ignores_its_modes_and_follows_no_link() {
        let dir = temp();
        put(&dir.path().join("kept"), "kept");
        let tree = dir.path().join("tree");
        RealFs.create_dir_all(&tree.join("locked")).unwrap();
        put(&tree.join("locked/f"), "x");
        RealFs.symlink(&dir.path().join("kept"), &tree.join("link")).unwrap();
        RealFs.set_mode(&tree.join("locked"), 0o500).unwrap();
        RealFs.remove_dir_all(&tree).unwrap();
        RealFs.remove_dir_all(&tree).unwrap();
        assert_eq!(RealFs.read(&dir.path().join("kept")).unwrap(), b"kept");
    }

    /// Ten times as deep, and as long, as the system takes at once.
    #[test]
    fn a_path_may_be_longer_than_the_system_takes() {
        let dir = temp();
        let mut path = dir.path().join("tree");
        RealFs.create_dir(&path).unwrap();
        for n in 0..5000 {
            path.push(format!("level-{n}"));
            assert!(RealFs.create_dir(&path).unwrap());
        }
        assert!(path.as_os_str().len() > 40_000);
        assert!(!RealFs.create_dir(&path).unwrap(), "it is there already");
        let (file, other) = (path.join("file"), path.join("other"));
        put(&file, "deep");
        assert!(RealFs.rename_noreplace(&file, &other).unwrap());
        RealFs.symlink(Path::new("other"), &file).unwrap();
        assert_eq!(RealFs.read(&other).unwrap(), b"deep");
        assert_eq!(RealFs.read_link(&file).unwrap(), Path::new("other"));
        assert_eq!(RealFs.metadata(&file).unwrap().unwrap().kind, FileKind::Symlink);
        assert_eq!(RealFs.list(&path).unwrap().len(), 2);
        RealFs.remove_dir_all(&dir.path().join("tree")).unwrap();
        assert_eq!(RealFs.metadata(&dir.path().join("tree")).unwrap(), None);
    }

    #[test]
    fn metadata_and_list_do_not_follow_links() {
        let dir = temp();
        put(&dir.path().join("f"), "123");
        RealFs.symlink(Path::new("f"), &dir.path().join("l")).unwrap();
        RealFs.create_dir(&dir.path().join("d")).unwrap();
        RealFs.set_executable(&dir.path().join("f"), true).unwrap();
        let kinds: Vec<_> = RealFs.list(dir.path()).unwrap().into_iter().map(|e| e.kind).collect();
        assert_eq!(kinds, [FileKind::Dir, FileKind::File, FileKind::Symlink]);
        let meta = RealFs.metadata(&dir.path().join("f")).unwrap().unwrap();
        assert!(meta.mode_exec && meta.len == 3 && meta.nlink == 1 && meta.mtime_ns > 0);
        assert_eq!(RealFs.metadata(&dir.path().join("l")).unwrap().unwrap().kind, FileKind::Symlink);
        assert_eq!(RealFs.read_link(&dir.path().join("l")).unwrap(), Path::new("f"));
        assert!(RealFs.free_space(dir.path()).unwrap() > 0);
    }

    #[test]
    fn a_log_grows_only_at_its_end() {
        let dir = temp();
        let log = dir.path().join("log");
        for part in ["one ", "two"] {
            let mut file = RealFs.append(&log).unwrap();
            file.write_all(part.as_bytes()).unwrap();
            file.sync().unwrap();
        }
        RealFs.sync_file(&log).unwrap();
        RealFs.sync_dir(dir.path()).unwrap();
        assert_eq!(RealFs.read(&log).unwrap(), b"one two");
    }
}
