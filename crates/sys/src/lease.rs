//! Read leases: knowing that nobody can write to a file while it is being read.
#![allow(unsafe_code)]

use std::fs::File;
use std::io;
#[cfg(target_os = "linux")]
use std::os::fd::AsRawFd;
use std::path::Path;

/// The answer to asking for a read lease.
#[derive(Debug)]
pub enum ReadLease {
    /// No descriptor or mapping can write to the file; later openers for writing wait until the lease is dropped.
    Granted(LeaseHeld),
    /// Somebody has the file open, or mapped, for writing.
    Writers,
    /// The file system has no leases, or the file is another user's.
    Unsupported,
}

/// A held lease; dropping it lets waiting writers go on.
#[derive(Debug)]
pub struct LeaseHeld(File);

impl LeaseHeld {
    /// Returns whether nobody has asked to write since the lease was granted.
    #[cfg(not(target_os = "linux"))]
    pub fn intact(&self) -> bool {
        false
    }

    /// Returns whether nobody has asked to write since the lease was granted.
    #[cfg(target_os = "linux")]
    pub fn intact(&self) -> bool {
        // SAFETY: fcntl with F_GETLEASE takes no pointer; the descriptor is open for as long as `self` lives.
        let kind = unsafe { libc::fcntl(self.0.as_raw_fd(), libc::F_GETLEASE) };
        kind == libc::F_RDLCK
    }
}

/// Linux: which signal tells of a lease being broken; the same number on every architecture.
#[cfg(target_os = "linux")]
const F_SETSIG: libc::c_int = 10;

/// Asks for a read lease on the file at `path` (`F_SETLEASE`: ext4, xfs, btrfs, tmpfs).
///
/// # Errors
/// If the file cannot be opened for reading.
#[cfg(target_os = "linux")]
pub fn read_lease(path: &Path) -> io::Result<ReadLease> {
    let file = File::open(path)?;
    let fd = file.as_raw_fd();
    // The kernel tells the holder of a lease that is being broken by SIGIO, which would end this process; SIGURG is
    // ignored unless somebody asks for it. The break itself is looked up by `intact`.
    // SAFETY: fcntl with F_SETSIG and F_SETLEASE takes integers only; the descriptor is open.
    let answer = unsafe {
        if libc::fcntl(fd, F_SETSIG, libc::SIGURG) == -1 {
            return Ok(ReadLease::Unsupported);
        }
        libc::fcntl(fd, libc::F_SETLEASE, libc::F_RDLCK)
    };
    if answer == 0 {
        return Ok(ReadLease::Granted(LeaseHeld(file)));
    }
    match io::Error::last_os_error().raw_os_error() {
        Some(libc::EAGAIN) => Ok(ReadLease::Writers),
        _ => Ok(ReadLease::Unsupported),
    }
}

/// Answers that this system has no leases.
///
/// # Errors
/// If the file cannot be opened for reading.
#[cfg(not(target_os = "linux"))]
pub fn read_lease(path: &Path) -> io::Result<ReadLease> {
    File::open(path).map(|_| ReadLease::Unsupported)
}
