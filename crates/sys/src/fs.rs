//! The file operations of the product, as a trait, so that crash points between any two can be enumerated.

use std::ffi::OsString;
use std::io::{self, Read, Seek, Write};
use std::path::{Path, PathBuf};

use crate::lease::ReadLease;

/// What a directory entry is; links are not followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum FileKind {
    /// A regular file.
    File,
    /// A directory.
    Dir,
    /// A symbolic link.
    Symlink,
    /// A socket, pipe or device.
    Special,
}

/// One entry of a directory.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct DirEntry {
    /// Its name in the directory.
    pub name: OsString,
    /// What it is.
    pub kind: FileKind,
}

/// What is known about a path without following a link at its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Meta {
    /// What it is.
    pub kind: FileKind,
    /// Length in bytes.
    pub len: u64,
    /// Last change of content, in nanoseconds since 1970.
    pub mtime_ns: i128,
    /// Last change of content or inode, in nanoseconds since 1970.
    pub ctime_ns: i128,
    /// Inode number.
    pub ino: u64,
    /// Device number: equal for paths between which a rename can work.
    pub dev: u64,
    /// Whether its owner may execute it.
    pub mode_exec: bool,
    /// Number of names.
    pub nlink: u64,
}

/// A directory that nobody else may change by agreement; let go of when it is dropped, and when its process dies.
pub trait DirLock: Send + Sync {}

/// A file open for reading.
pub trait FsRead: Read + Seek + Send {}
impl<T: Read + Seek + Send> FsRead for T {}

/// A file open for writing. Dropping it syncs nothing.
pub trait FsFile: Write + Send {
    /// Asks the system to begin writing what was written so far to the disk; promises nothing, and need not be called.
    fn start_writeback(&mut self) {}

    /// Makes content and length durable; the name needs [`Fs::sync_dir`].
    ///
    /// # Errors
    /// After an error nothing is known of what was written: the file must not be relied on.
    fn sync(&mut self) -> io::Result<()>;
}

/// Every durable write of the product.
///
/// Nothing is durable before the fitting sync: content by [`FsFile::sync`] or [`Fs::sync_file`], names (created, renamed,
/// linked, removed) by [`Fs::sync_dir`] of the directory that holds them. Writing into an existing file is not offered,
/// except at a log's end. Errors carry the operating system's code, the path is the caller's to add.
pub trait Fs: Send + Sync {
    /// Creates `path` for writing; fails with `AlreadyExists` if anything is there.
    fn create_new(&self, path: &Path) -> io::Result<Box<dyn FsFile>>;
    /// Opens a log for writing at its end, and creates it if absent.
    fn append(&self, path: &Path) -> io::Result<Box<dyn FsFile>>;
    /// Opens `path` for reading.
    fn open_read(&self, path: &Path) -> io::Result<Box<dyn FsRead>>;
    /// Returns the whole content of `path`.
    fn read(&self, path: &Path) -> io::Result<Vec<u8>>;
    /// Renames, replacing what is at `to`.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Renames unless something is at `to`; returns whether it did.
    fn rename_noreplace(&self, from: &Path, to: &Path) -> io::Result<bool>;
    /// Exchanges two existing paths in one step; `Unsupported` where the file system cannot.
    fn exchange(&self, a: &Path, b: &Path) -> io::Result<()>;
    /// Takes a directory for those who agree to ask; nothing if somebody has it, be it another thread of this process.
    fn try_lock_dir(&self, path: &Path) -> io::Result<Option<Box<dyn DirLock>>>;
    /// Gives the file at `from` a second name.
    fn hard_link(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Creates `to` sharing the blocks of `from`; false, leaving nothing, where that is not supported.
    fn reflink(&self, from: &Path, to: &Path) -> io::Result<bool>;
    /// Removes a file or link.
    fn remove_file(&self, path: &Path) -> io::Result<()>;
    /// Removes a directory with all it holds, following no link; absent is fine.
    fn remove_dir_all(&self, path: &Path) -> io::Result<()>;
    /// Creates a directory; false if one is there already.
    fn create_dir(&self, path: &Path) -> io::Result<bool>;
    /// Makes content and length of `path` durable.
    fn sync_file(&self, path: &Path) -> io::Result<()>;
    /// Makes the names in directory `path` durable.
    fn sync_dir(&self, path: &Path) -> io::Result<()>;
    /// Returns the entries of a directory, sorted by name.
    fn list(&self, path: &Path) -> io::Result<Vec<DirEntry>>;
    /// Returns what is at `path`; `None` if nothing is.
    fn metadata(&self, path: &Path) -> io::Result<Option<Meta>>;
    /// Returns where a symbolic link points.
    fn read_link(&self, path: &Path) -> io::Result<PathBuf>;
    /// Creates a symbolic link at `path` that points to `target`.
    fn symlink(&self, target: &Path, path: &Path) -> io::Result<()>;
    /// Sets the permission bits, for example 0o444.
    fn set_mode(&self, path: &Path, mode: u32) -> io::Result<()>;
    /// Returns the bytes that an unprivileged writer can still use on the file system of `path`.
    fn free_space(&self, path: &Path) -> io::Result<u64>;

    /// Asks that nobody write to the file at `path` while it is read, where such leases are known.
    fn read_lease(&self, path: &Path) -> io::Result<ReadLease>;

    /// Returns whether these paths are those of the kernel, which can then be asked to tell of changes there.
    fn is_of_the_kernel(&self) -> bool;

    /// Makes a file executable (0755) or not (0644).
    fn set_executable(&self, path: &Path, executable: bool) -> io::Result<()> {
        self.set_mode(path, if executable { 0o755 } else { 0o644 })
    }

    /// Creates a directory and the parents that are missing; returns those it made, outermost first.
    ///
    /// For durability the parent of each must be synced; [`Fs::create_dir_all_durable`] does that.
    fn create_dir_all(&self, path: &Path) -> io::Result<Vec<PathBuf>> {
        let mut missing = Vec::new();
        for dir in path.ancestors().take_while(|dir| !dir.as_os_str().is_empty()) {
            match self.create_dir(dir) {
                Ok(false) => break,
                Ok(true) => {
                    missing.push((dir.to_owned(), true));
                    break;
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => missing.push((dir.to_owned(), false)),
                Err(error) => return Err(error),
            }
        }
        let mut made = Vec::new();
        for (dir, done) in missing.into_iter().rev() {
            if done || self.create_dir(&dir)? {
                made.push(dir);
            }
        }
        Ok(made)
    }

    /// Creates a directory with its missing parents and makes the new names durable.
    fn create_dir_all_durable(&self, path: &Path) -> io::Result<()> {
        for dir in self.create_dir_all(path)? {
            self.sync_dir(parent(&dir))?;
        }
        Ok(())
    }

    /// Notes an operation beside this file system, a SQLite transaction: whole or not at all, and in order, but not durable.
    ///
    /// Real file systems do nothing. One that enumerates crashes calls `describe` and puts the result among its operations,
    /// so that what must be durable before the transaction is checked against it.
    fn transaction(&self, describe: &dyn Fn() -> Vec<u8>) {
        let _ = describe;
    }

    /// Makes every transaction of the database whose log is `log` durable; an absent log holds none.
    ///
    /// The log's name is made durable with it if it is `new`: nobody did that since it was made.
    fn sync_transactions(&self, log: &Path, new: bool) -> io::Result<()> {
        match self.sync_file(log) {
            Ok(()) if new => self.sync_dir(parent(log)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            done => done,
        }
    }
}

/// Returns the directory that holds `path`; `.` for a bare name.
fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(dir) if !dir.as_os_str().is_empty() => dir,
        Some(_) => Path::new("."),
        None => path,
    }
}
