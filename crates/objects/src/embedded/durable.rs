//! Making transactions durable: one fdatasync of SQLite's log, beside the thread that writes.

use std::path::PathBuf;
use std::sync::Mutex;

use prunella_sys::Sys;

use super::database::Database;
use super::layout::io_error;
use crate::error::ObjectsError;

/// What makes the transactions of one handle durable.
///
/// SQLite keeps what COMMIT answered in `store.db-wal` until it has moved it into `store.db`, and syncs both on the way; so
/// what is not durable yet is in that file. It holds no lock there, and takes no notice of who syncs it.
pub(super) struct Durable {
    sys: Sys,
    dir: PathBuf,
    log: PathBuf,
    state: Mutex<State>,
}

enum State {
    /// The log may have been made by this handle: its name was never made durable.
    New,
    Named,
    /// A sync failed: the kernel may have dropped what it could not write, and the next sync would not tell.
    Failed(std::io::ErrorKind),
}

impl Durable {
    pub fn of(database: &Database) -> Self {
        let mut log = database.path().into_os_string();
        log.push("-wal");
        Durable { sys: database.sys.clone(), dir: database.dir.clone(), log: log.into(), state: Mutex::new(State::New) }
    }

    /// Returns once every transaction that anybody was answered before the call is durable.
    pub fn sync(&self) -> Result<(), ObjectsError> {
        let failed = |error| Err(io_error(&self.dir, &self.log, error));
        let state = || self.state.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let new = match &*state() {
            State::New => true,
            State::Named => false,
            State::Failed(kind) => return failed((*kind).into()),
        };
        // Not under the lock: the disk serves many at once.
        let synced = self.sys.fs.sync_transactions(&self.log, new);
        match (synced, &mut *state()) {
            (Ok(()), State::Failed(kind)) => failed((*kind).into()),
            (Ok(()), state) => {
                *state = State::Named;
                Ok(())
            }
            (Err(error), state) => {
                *state = State::Failed(error.kind());
                failed(error)
            }
        }
    }
}
