//! Paths that are longer than the system takes at once.

use std::borrow::Cow;
use std::io;
use std::ops::Deref;
use std::path::Path;

/// A path that the system takes for as long as this value lives.
pub(crate) struct Reached<'a> {
    path: Cow<'a, Path>,
    /// The directory that stands for the beginning of the path.
    #[cfg(target_os = "linux")]
    _held: Option<rustix::fd::OwnedFd>,
}

impl Deref for Reached<'_> {
    type Target = Path;

    fn deref(&self) -> &Path {
        &self.path
    }
}

impl AsRef<Path> for Reached<'_> {
    fn as_ref(&self) -> &Path {
        &self.path
    }
}

/// Returns a path that means the same and is short enough; a long one is walked, directory by directory.
#[cfg(target_os = "linux")]
pub(crate) fn reach(path: &Path) -> io::Result<Reached<'_>> {
    use std::os::fd::AsRawFd;
    use std::os::unix::ffi::OsStrExt;
    use std::path::PathBuf;

    use rustix::fs::{CWD, Mode, OFlags, openat};

    /// A system call takes 4,096 bytes with the NUL at the end; what stands before the rest takes some of them.
    const MOST: usize = 4000;

    if path.as_os_str().len() < MOST {
        return Ok(Reached { path: Cow::Borrowed(path), _held: None });
    }
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let (mut held, mut here) = (None, PathBuf::new());
    for component in path.components() {
        // The last component is never followed here: it may be a link, or not be there yet.
        if !here.as_os_str().is_empty() && here.as_os_str().len() + component.as_os_str().as_bytes().len() + 1 >= MOST {
            let opened = match &held {
                None => openat(CWD, &here, flags, Mode::empty()),
                Some(dir) => openat(dir, &here, flags, Mode::empty()),
            };
            held = Some(opened?);
            here = PathBuf::new();
        }
        here.push(component);
    }
    let path = match &held {
        Some(dir) => Path::new(&format!("/proc/self/fd/{}", dir.as_raw_fd())).join(here),
        None => here,
    };
    Ok(Reached { path: Cow::Owned(path), _held: held })
}

/// Returns the path itself: this system has no names for open directories.
#[cfg(not(target_os = "linux"))]
pub(crate) fn reach(path: &Path) -> io::Result<Reached<'_>> {
    Ok(Reached { path: Cow::Borrowed(path) })
}
