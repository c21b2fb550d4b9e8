//! Removing a directory with all it holds, however deep, with few open files and no recursion.

use std::ffi::{CString, OsStr};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, RenameFlags};
use rustix::io::Errno;

/// So many directories are open at once; what is deeper is moved up first.
const DEEP: usize = 64;

/// A directory that is being emptied.
struct Level {
    dir: OwnedFd,
    /// Its name in the level above.
    name: CString,
    /// The directories in it that are left.
    left: Vec<CString>,
}

/// Removes the directory at `path`; follows no link, and absent is fine.
pub(crate) fn remove_tree(path: &Path) -> io::Result<()> {
    let root = match open(CWD, path.as_os_str()) {
        Ok(root) => root,
        Err(Errno::NOENT) => return Ok(()),
        // A link is removed, whatever it leads to; a file is no directory.
        Err(Errno::LOOP | Errno::NOTDIR) if path.is_symlink() => return Ok(rustix::fs::unlink(path)?),
        Err(error) => return Err(error.into()),
    };
    let mut moved_up = 0_u64;
    let mut levels = vec![Level { left: empty(&root)?, dir: root, name: CString::default() }];
    while let Some(level) = levels.last_mut() {
        let Some(name) = level.left.pop() else {
            let done = levels.pop().expect("there is one");
            if let Some(above) = levels.last() {
                remove(above.dir.as_fd(), &done.name, AtFlags::REMOVEDIR)?;
            }
            continue;
        };
        if levels.len() < DEEP {
            let above = &levels[levels.len() - 1].dir;
            let dir = match open(above, OsStr::from_bytes(name.to_bytes())) {
                Err(Errno::NOENT) => continue,
                dir => dir?,
            };
            levels.push(Level { left: empty(&dir)?, dir, name });
        } else {
            let up = move_up(levels[levels.len() - 1].dir.as_fd(), &name, levels[0].dir.as_fd(), &mut moved_up)?;
            levels[0].left.push(up);
        }
    }
    match rustix::fs::unlinkat(CWD, path, AtFlags::REMOVEDIR) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

fn open(dir: impl AsFd, name: &OsStr) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    match rustix::fs::openat(dir.as_fd(), name, flags, Mode::empty()) {
        // A step may leave directories that not even their owner may read.
        Err(Errno::ACCESS) => {
            rustix::fs::chmodat(dir.as_fd(), name, Mode::RWXU, AtFlags::empty())?;
            rustix::fs::openat(dir.as_fd(), name, flags, Mode::empty())
        }
        opened => opened,
    }
}

/// Removes everything in a directory but the directories, and returns those.
fn empty(dir: &OwnedFd) -> io::Result<Vec<CString>> {
    let mut left = Vec::new();
    for entry in Dir::read_from(dir)? {
        let entry = entry?;
        let name = entry.file_name();
        if matches!(name.to_bytes(), b"." | b"..") {
            continue;
        }
        let kind = match entry.file_type() {
            FileType::Unknown => {
                let stat = rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW)?;
                FileType::from_raw_mode(stat.st_mode)
            }
            kind => kind,
        };
        match kind {
            FileType::Directory => left.push(name.to_owned()),
            _ => remove(dir.as_fd(), name, AtFlags::empty())?,
        }
    }
    Ok(left)
}

fn remove(dir: BorrowedFd<'_>, name: &std::ffi::CStr, flags: AtFlags) -> io::Result<()> {
    match rustix::fs::unlinkat(dir, name, flags) {
        Err(Errno::ACCESS) => {
            rustix::fs::fchmod(dir, Mode::RWXU)?;
            Ok(rustix::fs::unlinkat(dir, name, flags)?)
        }
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Gives a deep directory a name at the top, which nothing there has.
fn move_up(from: BorrowedFd<'_>, name: &CString, top: BorrowedFd<'_>, number: &mut u64) -> io::Result<CString> {
    loop {
        let up = CString::new(format!(".moved-up-{number}")).expect("it has no NUL");
        *number += 1;
        match rustix::fs::renameat_with(from, name, top, &up, RenameFlags::NOREPLACE) {
            Ok(()) => return Ok(up),
            Err(Errno::EXIST) => {}
            // Moved or moved into, a directory must be writable for its owner.
            Err(Errno::ACCESS) => {
                rustix::fs::fchmod(from, Mode::RWXU)?;
                rustix::fs::chmodat(from, name, Mode::RWXU, AtFlags::empty())?;
                rustix::fs::renameat_with(from, name, top, &up, RenameFlags::NOREPLACE)?;
                return Ok(up);
            }
            Err(error) => return Err(error.into()),
        }
    }
}
