//! A mount namespace for one program, in which what it only reads cannot be written.
#![allow(unsafe_code)]

use std::ffi::CString;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;

use rustix::pipe::PipeFlags;

/// What the kernel's `struct mount_attr` is.
#[repr(C)]
struct MountAttr {
    set: u64,
    clear: u64,
    propagation: u64,
    user_namespace: u64,
}

const READ_ONLY: u64 = 1;

/// Whether a started program got what was asked for; to be read once it has been started.
pub(crate) struct Report(OwnedFd);

impl Report {
    /// Returns the error number for which it did not; zero if it did.
    pub(crate) fn read(self) -> i32 {
        let mut errno = [0; 4];
        match rustix::io::read(&self.0, &mut errno) {
            Ok(4) => i32::from_ne_bytes(errno),
            // The program could not be started at all.
            Ok(_) | Err(_) => libc::EIO,
        }
    }
}

/// Makes the program start in a mount namespace of its own, in which these paths, and what is mounted below them, are read-only.
///
/// Where the kernel does not let us, the program starts all the same: the report says so. Outside, nothing is mounted. What
/// is mounted or unmounted outside later, is so inside as well, or a program that runs for days would keep every disk busy.
///
/// # Errors
/// If there is no pipe for the report, or a path holds a zero byte.
pub(crate) fn in_own_mounts(command: &mut Command, paths: &[PathBuf]) -> io::Result<Report> {
    let paths = paths.iter().map(|path| Ok(CString::new(path.as_os_str().as_bytes())?));
    let paths: Vec<CString> = paths.collect::<io::Result<_>>()?;
    let (read, write) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
    // SAFETY: the closure makes system calls with texts and a descriptor that it owns, and allocates nothing.
    unsafe {
        command.pre_exec(move || {
            let errno = paths_read_only(&paths).to_ne_bytes();
            libc::write(write.as_raw_fd(), errno.as_ptr().cast(), errno.len());
            Ok(())
        });
    }
    Ok(Report(read))
}

/// Makes the paths read-only in a mount namespace of the calling process; answers an error number, or zero.
///
/// # Safety
/// To be called between fork and exec only: the calling process gets the namespace.
unsafe fn paths_read_only(paths: &[CString]) -> i32 {
    let (nothing, root) = (std::ptr::null(), c"/".as_ptr());
    // SAFETY: all texts end in a zero byte, null stands for arguments that the kernel does not look at, and `attr` is as long as is said.
    unsafe {
        if libc::unshare(libc::CLONE_NEWNS) != 0
            || libc::mount(nothing, root, nothing, libc::MS_REC | libc::MS_SLAVE, nothing.cast()) != 0
        {
            return errno();
        }
        for path in paths {
            let path = path.as_ptr();
            if libc::mount(path, path, nothing, libc::MS_BIND | libc::MS_REC, nothing.cast()) != 0 {
                return errno();
            }
            // The call of old kernels would leave what is mounted below as it is.
            let attr = MountAttr { set: READ_ONLY, clear: 0, propagation: 0, user_namespace: 0 };
            let (here, size) = (libc::AT_FDCWD, size_of::<MountAttr>());
            if libc::syscall(libc::SYS_mount_setattr, here, path, libc::AT_RECURSIVE, &raw const attr, size) != 0 {
                return errno();
            }
        }
    }
    0
}

fn errno() -> i32 {
    io::Error::last_os_error().raw_os_error().unwrap_or(libc::EIO)
}
