//! What one attempt leaves for the next: sockets, empty directories, and looks at mounted data.
//!
//! Making and deleting an inode for every short step is what a file system does slowest; an empty directory that is
//! renamed is as fresh as a new one.

use std::{
    path::{Path, PathBuf},
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use prunella_model::Listing;
use prunella_process::Guardian;
use prunella_sys::Fs;

use crate::{
    looks::{Look, Looks},
    socket::Socket,
};

/// More than this are not kept.
const KEPT: usize = 64;

/// Sockets and directories that wait for their next use.
#[derive(Default)]
pub struct Pool {
    sockets: Mutex<Vec<Socket>>,
    directories: Mutex<Vec<PathBuf>>,
    numbers: AtomicU64,
    /// Looks at mounted data.
    pub(crate) looks: Looks<Look>,
    /// Listings of data by reference.
    pub(crate) listings: Looks<std::sync::Arc<Listing>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Pool {
    /// Returns a socket that nobody uses, made in `directory` if there is none.
    pub(crate) fn socket(&self, guardian: &Guardian, directory: &Path) -> std::io::Result<Socket> {
        if let Some(socket) = lock(&self.sockets).pop() {
            return Ok(socket);
        }
        let n = self.numbers.fetch_add(1, Ordering::Relaxed);
        let path = directory.join(n.to_string());
        Ok(Socket::new(&path, guardian.listen(&path)?))
    }

    /// Takes a cleared socket back.
    pub(crate) fn keep_socket(&self, socket: Socket) {
        let mut sockets = lock(&self.sockets);
        if sockets.len() < KEPT {
            sockets.push(socket);
        }
    }

    /// Makes the fresh, empty directory `to`; true if it took an empty one that was kept.
    pub(crate) fn directory(&self, fs: &dyn Fs, to: &Path) -> bool {
        let kept = lock(&self.directories).pop();
        // One that cannot be renamed is no loss: a new one is made.
        kept.is_some_and(|kept| matches!(fs.rename_noreplace(&kept, to), Ok(true)))
    }

    /// Takes a directory back if it is empty; false if it has to be removed.
    pub(crate) fn keep_directory(&self, fs: &dyn Fs, directory: &Path) -> bool {
        let empty = matches!(fs.list(directory), Ok(entries) if entries.is_empty());
        let mut directories = lock(&self.directories);
        let keep = empty && directories.len() < KEPT;
        if keep {
            directories.push(directory.to_owned());
        }
        keep
    }
}

impl std::fmt::Debug for Pool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pool").finish_non_exhaustive()
    }
}
