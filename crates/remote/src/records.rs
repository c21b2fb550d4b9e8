//! Records that were read on this machine, kept for whoever asks for them next: the index of this machine.
//!
//! A record never changes and its name is never used twice (protocol: I8), so that a copy of one that a listing shows is as good
//! as the record. It is only ever a copy: without it, with a damaged one, or with one that somebody deletes, records are read
//! from the store. One SQLite file a store; many processes may use it at the same time.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use prunella_model::Digest;
use prunella_objects::ObjectKey;
use prunella_sys::{Sys, mutated};
use rusqlite::{Connection, OpenFlags, OptionalExtension, params};

/// A file that has grown above this is begun anew: a record has some 2 KiB.
const MOST_BYTES: u64 = 2 << 30;

/// Copies of records.
#[derive(Clone)]
pub(crate) struct Records {
    path: Arc<PathBuf>,
    /// Opened when it is first asked; nothing once it has failed.
    state: Arc<Mutex<State>>,
}

enum State {
    Closed,
    Open(Connection),
    /// It cannot be used: the store itself is asked.
    Failed,
}

impl Records {
    /// Returns the copies of the store with this id, below `base`.
    pub(crate) fn new(base: &Path, store_id: &str) -> Self {
        let path = Arc::new(base.join("records").join(format!("{store_id}.db")));
        Self { path, state: Arc::new(Mutex::new(State::Closed)) }
    }

    /// Returns the copy of each record, where there is one and it is whole.
    pub(crate) fn get(&self, sys: &Sys, keys: &[ObjectKey]) -> Vec<Option<Bytes>> {
        let found = self.with(sys, |connection| {
            let transaction = connection.unchecked_transaction()?;
            let mut statement = transaction.prepare_cached("SELECT digest, bytes FROM records WHERE key = ?1")?;
            let mut found = Vec::with_capacity(keys.len());
            for key in keys {
                let row = |row: &rusqlite::Row<'_>| {
                    let bytes = Bytes::copy_from_slice(row.get_ref(1)?.as_blob()?);
                    let whole = row.get_ref(0)?.as_blob()? == Digest::of(&bytes).as_bytes() || mutated(81);
                    Ok(whole.then_some(bytes))
                };
                found.push(statement.query_row([key.as_str()], row).optional()?.flatten());
            }
            Ok(found)
        });
        found.unwrap_or_else(|| vec![None; keys.len()])
    }

    /// Keeps copies of records.
    pub(crate) fn keep<'r>(&self, sys: &Sys, records: impl Iterator<Item = (&'r ObjectKey, &'r Bytes)>) {
        let _without_a_copy = self.with(sys, |connection| {
            let transaction = connection.unchecked_transaction()?;
            {
                const KEEP: &str = "INSERT OR REPLACE INTO records(key, digest, bytes) VALUES(?1, ?2, ?3)";
                let mut statement = transaction.prepare_cached(KEEP)?;
                for (key, bytes) in records {
                    statement.execute(params![key.as_str(), Digest::of(bytes).as_bytes(), &bytes[..]])?;
                }
            }
            transaction.commit()
        });
    }

    /// Forgets all copies.
    pub(crate) fn clear(&self, sys: &Sys) {
        let _nothing_to_forget = self.with(sys, |connection| connection.execute("DELETE FROM records", []).map(drop));
    }

    fn with<T>(&self, sys: &Sys, work: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Option<T> {
        let mut state = self.state.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        if matches!(*state, State::Closed) {
            *state = self.open(sys).map_or(State::Failed, State::Open);
        }
        let State::Open(connection) = &*state else { return None };
        match work(connection) {
            Ok(done) => Some(done),
            Err(error) if is_busy(&error) => None,
            Err(_) => {
                // Damaged, or on a full disk: the next process begins anew.
                *state = State::Failed;
                self.remove(sys);
                None
            }
        }
    }

    fn open(&self, sys: &Sys) -> Option<Connection> {
        let parent = self.path.parent()?;
        sys.fs.create_dir_all(parent).ok()?;
        let size = sys.fs.metadata(&self.path).ok()?.map_or(0, |meta| meta.len);
        if size > MOST_BYTES {
            self.remove(sys);
        }
        match connect(&self.path) {
            Ok(connection) => Some(connection),
            Err(error) => {
                if !is_busy(&error) {
                    self.remove(sys);
                }
                None
            }
        }
    }

    /// Removes the file, and what SQLite keeps beside it.
    fn remove(&self, sys: &Sys) {
        for suffix in ["", "-wal", "-shm"] {
            let mut name = self.path.as_os_str().to_owned();
            name.push(suffix);
            let _gone = sys.fs.remove_file(Path::new(&name));
        }
    }
}

fn connect(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(Duration::from_millis(200))?;
    // A loss of power may take it all: it is a copy.
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "OFF")?;
    connection.execute_batch(
        "CREATE TABLE IF NOT EXISTS records(
            key TEXT PRIMARY KEY NOT NULL,
            digest BLOB NOT NULL,
            bytes BLOB NOT NULL
        ) WITHOUT ROWID, STRICT",
    )?;
    Ok(connection)
}

fn is_busy(error: &rusqlite::Error) -> bool {
    matches!(error.sqlite_error_code(), Some(rusqlite::ErrorCode::DatabaseBusy | rusqlite::ErrorCode::DatabaseLocked))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(n: u32) -> ObjectKey {
        ObjectKey::new(format!("attempts/k/{n}.end.json")).expect("a key")
    }

    #[test]
    fn a_copy_is_what_was_kept_and_a_damaged_one_is_none() {
        let (dir, sys) = (tempfile::tempdir().expect("a directory"), Sys::real());
        let records = Records::new(dir.path(), "id");
        assert_eq!(records.get(&sys, &[key(1)]), [None]);
        let (one, two) = (Bytes::from("one"), Bytes::from("two"));
        records.keep(&sys, [(&key(1), &one), (&key(2), &two)].into_iter());
        // As another process sees it.
        let other = Records::new(dir.path(), "id");
        assert_eq!(other.get(&sys, &[key(2), key(3), key(1)]), [Some(two), None, Some(one)]);
        let path = dir.path().join("records/id.db");
        connect(&path)
            .expect("open")
            .execute("UPDATE records SET bytes = x'00' WHERE key LIKE '%/2.%'", [])
            .expect("rot");
        assert_eq!(other.get(&sys, &[key(2)]), [None]);
        other.clear(&sys);
        assert_eq!(records.get(&sys, &[key(1)]), [None]);
    }

    #[test]
    fn a_file_that_is_no_database_is_begun_anew_by_the_next() {
        let (dir, sys) = (tempfile::tempdir().expect("a directory"), Sys::real());
        let path = dir.path().join("records/id.db");
        sys.fs.create_dir_all(path.parent().expect("a parent")).expect("made");
        std::io::Write::write_all(&mut sys.fs.create_new(&path).expect("made"), &[7; 8192]).expect("written");
        assert_eq!(Records::new(dir.path(), "id").get(&sys, &[key(1)]), [None]);
        let next = Records::new(dir.path(), "id");
        next.keep(&sys, [(&key(1), &Bytes::from("one"))].into_iter());
        assert_eq!(next.get(&sys, &[key(1)]), [Some(Bytes::from("one"))]);
    }
}
