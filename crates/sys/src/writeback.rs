//! Beginning to write to the disk while there is still more to come, so that the sync at the end finds little to do.
#![cfg_attr(target_os = "linux", allow(unsafe_code))]

use std::fs::File;

/// Starts the writing of everything that is dirty in the file; what fails shows at the sync.
#[cfg(target_os = "linux")]
pub fn start(file: &File) {
    use std::os::fd::AsRawFd;
    // SAFETY: sync_file_range takes integers only; the descriptor is open for as long as `file` is borrowed.
    let _hint = unsafe { libc::sync_file_range(file.as_raw_fd(), 0, 0, libc::SYNC_FILE_RANGE_WRITE) };
}

/// Does nothing: this system has no such call.
#[cfg(not(target_os = "linux"))]
pub fn start(_file: &File) {}
