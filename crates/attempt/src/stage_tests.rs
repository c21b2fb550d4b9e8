//! Tests of [`super`]: whole folders, writers in the middle, little space.
#![allow(clippy::disallowed_methods, reason = "tests play the program that writes checkpoints")]

use std::{fs, sync::Arc};

use prunella_sys::{DirEntry, DirLock, FsFile, FsRead, Sys};

use super::*;

fn folder(files: u32) -> tempfile::TempDir {
    let scratch = tempfile::tempdir().expect("a temporary directory");
    fs::create_dir_all(scratch.path().join("e/deep")).expect("writable");
    for n in 0..files {
        fs::write(scratch.path().join(format!("e/deep/{n}")), n.to_string()).expect("writable");
    }
    scratch
}

fn staged(fs: &dyn Fs, scratch: &tempfile::TempDir, entry: &str, sealed: bool) -> Staged {
    stage(fs, &scratch.path().join(entry), &scratch.path().join("staged"), sealed).expect("an answer")
}

#[test]
fn a_folder_of_many_files_is_taken_whole() {
    for sealed in [false, true] {
        let (scratch, sys) = (folder(300), Sys::real());
        let bytes = (0..300).map(|n: u32| n.to_string().len() as u64).sum();
        assert_eq!(staged(&*sys.fs, &scratch, "e", sealed), Staged::Whole(bytes));
        for n in 0..300 {
            let copied = fs::read_to_string(scratch.path().join(format!("staged/deep/{n}"))).expect("copied");
            assert_eq!(copied, n.to_string());
        }
    }
}

#[test]
fn a_folder_with_one_file_open_for_writing_is_missed() {
    let (scratch, sys) = (folder(50), Sys::real());
    let _open = fs::OpenOptions::new().append(true).open(scratch.path().join("e/deep/49")).expect("opened");
    assert_eq!(staged(&*sys.fs, &scratch, "e", false), Staged::Missed);
}

#[test]
fn what_is_gone_is_missed() {
    let (scratch, sys) = (folder(1), Sys::real());
    assert_eq!(staged(&*sys.fs, &scratch, "absent", false), Staged::Missed);
}

#[test]
fn a_folder_whose_first_file_changes_while_the_second_is_read_is_missed() {
    let scratch = folder(2);
    let changed = scratch.path().join("e/deep/0");
    // The same length, so that only its times tell.
    let meanwhile = Meanwhile::reading("deep/1", move || fs::write(&changed, "x").expect("writable"));
    assert_eq!(staged(&meanwhile, &scratch, "e", false), Staged::Missed);
}

#[test]
fn a_folder_that_is_removed_while_it_is_read_is_missed() {
    let scratch = folder(2);
    let removed = scratch.path().join("e");
    let meanwhile = Meanwhile::reading("deep/0", move || fs::remove_dir_all(&removed).expect("removed"));
    assert_eq!(staged(&meanwhile, &scratch, "e", false), Staged::Missed);
}

#[test]
fn a_file_that_is_replaced_while_it_is_read_is_one_moment() {
    let scratch = tempfile::tempdir().expect("a temporary directory");
    let path = scratch.path().join("e");
    fs::write(&path, "old").expect("writable");
    let meanwhile = Meanwhile {
        after: true,
        ..Meanwhile::reading("e", move || {
            fs::write(path.with_extension("new"), "new").expect("writable");
            fs::rename(path.with_extension("new"), &path).expect("renamed");
        })
    };
    assert_eq!(staged(&meanwhile, &scratch, "e", false), Staged::Whole(3));
    assert_eq!(fs::read_to_string(scratch.path().join("staged")).expect("copied"), "old");
}

#[test]
fn a_copy_takes_at_most_half_of_the_space_that_is_left() {
    let scratch = folder(3);
    let full = |free| Meanwhile { free: Some(free), ..Meanwhile::reading("", || ()) };
    assert_eq!(staged(&full(5), &scratch, "e", false), Staged::NoRoom { bytes: 3, free: 5 });
    fs::remove_dir_all(scratch.path().join("staged")).expect("removed");
    assert_eq!(staged(&full(6), &scratch, "e", false), Staged::Whole(3));
}

/// The real file system without reflinks, on which something happens when a file is opened for reading.
struct Meanwhile {
    inner: Arc<dyn Fs>,
    file: &'static str,
    act: Box<dyn Fn() + Send + Sync>,
    after: bool,
    free: Option<u64>,
}

impl Meanwhile {
    fn reading(file: &'static str, act: impl Fn() + Send + Sync + 'static) -> Self {
        Self { inner: Sys::real().fs, file, act: Box::new(act), after: false, free: None }
    }
}

impl Fs for Meanwhile {
    fn open_read(&self, path: &Path) -> io::Result<Box<dyn FsRead>> {
        let act = || {
            if !self.file.is_empty() && path.ends_with(self.file) {
                (self.act)();
            }
        };
        if !self.after {
            act();
        }
        let opened = self.inner.open_read(path);
        if self.after {
            act();
        }
        opened
    }
    fn reflink(&self, _: &Path, _: &Path) -> io::Result<bool> {
        Ok(false)
    }
    fn read_lease(&self, path: &Path) -> io::Result<ReadLease> {
        self.inner.read_lease(path)
    }
    fn is_of_the_kernel(&self) -> bool {
        self.inner.is_of_the_kernel()
    }
    fn free_space(&self, path: &Path) -> io::Result<u64> {
        self.free.map_or_else(|| self.inner.free_space(path), Ok)
    }
    fn create_new(&self, path: &Path) -> io::Result<Box<dyn FsFile>> {
        self.inner.create_new(path)
    }
    fn append(&self, path: &Path) -> io::Result<Box<dyn FsFile>> {
        self.inner.append(path)
    }
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        self.inner.read(path)
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.inner.rename(from, to)
    }
    fn rename_noreplace(&self, from: &Path, to: &Path) -> io::Result<bool> {
        self.inner.rename_noreplace(from, to)
    }
    fn exchange(&self, a: &Path, b: &Path) -> io::Result<()> {
        self.inner.exchange(a, b)
    }
    fn try_lock_dir(&self, path: &Path) -> io::Result<Option<Box<dyn DirLock>>> {
        self.inner.try_lock_dir(path)
    }
    fn hard_link(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.inner.hard_link(from, to)
    }
    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.inner.remove_file(path)
    }
    fn remove_dir_all(&self, path: &Path) -> io::Result<()> {
        self.inner.remove_dir_all(path)
    }
    fn create_dir(&self, path: &Path) -> io::Result<bool> {
        self.inner.create_dir(path)
    }
    fn sync_file(&self, path: &Path) -> io::Result<()> {
        self.inner.sync_file(path)
    }
    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.inner.sync_dir(path)
    }
    fn list(&self, path: &Path) -> io::Result<Vec<DirEntry>> {
        self.inner.list(path)
    }
    fn metadata(&self, path: &Path) -> io::Result<Option<Meta>> {
        self.inner.metadata(path)
    }
    fn read_link(&self, path: &Path) -> io::Result<PathBuf> {
        self.inner.read_link(path)
    }
    fn symlink(&self, target: &Path, path: &Path) -> io::Result<()> {
        self.inner.symlink(target, path)
    }
    fn set_mode(&self, path: &Path, mode: u32) -> io::Result<()> {
        self.inner.set_mode(path, mode)
    }
}
