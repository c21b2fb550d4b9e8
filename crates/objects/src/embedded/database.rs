//! The SQLite file: how it is opened, what it promises, what its errors mean.
//!
//! - `journal_mode=WAL`, `synchronous=NORMAL`: COMMIT waits for no disk. A loss of power takes the last transactions, never one
//!   without all after it (<https://www.sqlite.org/wal.html>, "Performance Considerations"). [`super::durable`] makes durable
//!   what is in the log; what left the log was made durable by SQLite before.
//! - `page_size=4096`: one page holds a typical record; bigger pages make each commit write more.
//! - `wal_autocheckpoint=1000`, `journal_size_limit=16 MiB`: the log that a killed process leaves is read in milliseconds.
//! - no `mmap`: a failing disk is then an error, not a SIGBUS.
//! - `WITHOUT ROWID`: a read by key is one descent.

use std::path::PathBuf;
use std::time::Duration;

use prunella_sys::Sys;
use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, OpenFlags, TransactionBehavior, ffi};

use super::layout::{self, FORMAT};
use crate::error::ObjectsError;

const NAME: &str = "store.db";
const SCHEMA: &str = "CREATE TABLE objects(
    key TEXT PRIMARY KEY NOT NULL,
    size INTEGER NOT NULL,
    hint INTEGER NOT NULL,
    bytes BLOB,
    file TEXT
) WITHOUT ROWID, STRICT";

/// Where a store's database lies and how it is opened.
#[derive(Clone)]
pub(super) struct Database {
    pub sys: Sys,
    /// The store's directory, named in errors.
    pub dir: PathBuf,
    /// The directory of the SQLite file.
    pub database_dir: PathBuf,
    /// The most pages it may have, so that a full disk can be tested; `None`: no limit.
    pub max_pages: Option<u32>,
}

impl Database {
    pub fn path(&self) -> PathBuf {
        self.database_dir.join(NAME)
    }

    /// Opens the one connection that writes; creates the database if it is missing.
    pub fn open_writer(&self) -> Result<Connection, ObjectsError> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let mut tries = 0;
        let (connection, version) = loop {
            match self.try_open_writer(flags) {
                // Changing to WAL does not wait for another process by itself.
                Err(error) if is_busy(&error) && wait(tries) => tries += 1,
                opened => break opened.map_err(|error| self.error(&error))?,
            }
        };
        // SQLite opens what it cannot write for reading, without a word.
        if connection.is_readonly("main").map_err(|error| self.error(&error))? {
            return Err(ObjectsError::ReadOnly { path: self.dir.clone() });
        }
        match version {
            0 => self.make(&connection)?,
            FORMAT => {}
            found => return Err(ObjectsError::NewerFormat { path: self.dir.clone(), found, supported: FORMAT }),
        }
        Ok(connection)
    }

    fn try_open_writer(&self, flags: OpenFlags) -> rusqlite::Result<(Connection, u32)> {
        let mut connection = Connection::open_with_flags(self.path(), flags)?;
        connection.busy_handler(Some(wait))?;
        connection.pragma_update(None, "page_size", 4096)?;
        let mode: String = connection.pragma_query_value(None, "journal_mode", |row| row.get(0))?;
        if mode != "wal" {
            connection.pragma_update(None, "journal_mode", "WAL")?;
        }
        connection.pragma_update(None, "synchronous", "NORMAL")?;
        connection.pragma_update(None, "wal_autocheckpoint", 1000)?;
        connection.pragma_update(None, "journal_size_limit", 16 << 20)?;
        connection.pragma_update(None, "cache_size", -8192)?;
        connection.pragma_update(None, "temp_store", "MEMORY")?;
        if let Some(pages) = self.max_pages {
            connection.pragma_update_and_check(None, "max_page_count", pages, |_| Ok(()))?;
        }
        connection.set_prepared_statement_cache_capacity(16);
        // Without it every new value of a LIMIT makes SQLite plan the statement anew.
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
        let version = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
        // Writers of several processes meet in BEGIN IMMEDIATE, never later.
        connection.set_transaction_behavior(TransactionBehavior::Immediate);
        Ok((connection, version))
    }

    /// Makes the table unless somebody else just did.
    fn make(&self, connection: &Connection) -> Result<(), ObjectsError> {
        // Whoever makes the store may have been killed before it synced the directories that hold it.
        for dir in [Some(self.dir.as_path()), self.dir.parent()].into_iter().flatten() {
            if !dir.as_os_str().is_empty() {
                self.sys.fs.sync_dir(dir).map_err(|error| layout::io_error(&self.dir, dir, error))?;
            }
        }
        let made = (|| {
            let transaction = connection.unchecked_transaction()?;
            let version: u32 = transaction.pragma_query_value(None, "user_version", |row| row.get(0))?;
            if version == 0 {
                transaction.execute_batch(SCHEMA)?;
                transaction.pragma_update(None, "user_version", FORMAT)?;
            }
            transaction.commit()
        })();
        made.map_err(|error| self.error(&error))
    }

    /// Opens one more connection that only reads, beside a writer.
    pub fn open_reader(&self) -> Result<Connection, ObjectsError> {
        self.try_open_reader(false).map_err(|error| self.error(&error))
    }

    /// Opens a connection that only reads, where perhaps nothing can be written.
    pub fn open_reader_of_read_only(&self) -> Result<Connection, ObjectsError> {
        // Whoever makes the store may be killed before it has a table: there is nothing in it yet.
        let no_store = || ObjectsError::NoStore { path: self.dir.clone() };
        if matches!(self.sys.fs.metadata(&self.path()), Ok(None)) {
            return Err(no_store());
        }
        let mut log = self.path().into_os_string();
        log.push("-wal");
        let connection = match self.try_open_reader(false) {
            // Beside a database that was closed cleanly SQLite wants to create its log. Without a log there is nothing
            // in it, and a directory that nobody can write has no other writer either.
            Err(error) if is_refused(&error) => {
                let log = self.sys.fs.metadata(log.as_ref());
                match log {
                    Ok(log) if log.as_ref().is_none_or(|log| log.len == 0) => self.try_open_reader(true),
                    _ => Err(error),
                }
            }
            opened => opened,
        };
        let connection = connection.map_err(|error| self.error(&error))?;
        match connection.pragma_query_value(None, "user_version", |row| row.get::<_, u32>(0)) {
            Ok(0) => Err(no_store()),
            Ok(_) => Ok(connection),
            Err(error) => Err(self.error(&error)),
        }
    }

    fn try_open_reader(&self, immutable: bool) -> rusqlite::Result<Connection> {
        let mut flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let mut connection = if immutable {
            flags |= OpenFlags::SQLITE_OPEN_URI;
            Connection::open_with_flags(immutable_uri(&self.path()), flags)?
        } else {
            Connection::open_with_flags(self.path(), flags)?
        };
        connection.busy_handler(Some(wait))?;
        connection.pragma_update(None, "cache_size", -2048)?;
        connection.set_prepared_statement_cache_capacity(16);
        // Without it every new value of a LIMIT makes SQLite plan the statement anew.
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
        // Asks for the file, so that what cannot be read is found now.
        connection.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(()))?;
        Ok(connection)
    }

    /// Turns SQLite's refusal into the error that says what to do.
    pub fn error(&self, error: &rusqlite::Error) -> ObjectsError {
        let (code, extended) = match error {
            rusqlite::Error::SqliteFailure(failure, _) => (failure.code, failure.extended_code),
            _ => (ErrorCode::Unknown, 0),
        };
        let path = self.dir.clone();
        let database = || ObjectsError::Database { path: self.path(), code: extended, message: error.to_string() };
        match code {
            ErrorCode::DiskFull => ObjectsError::NoSpace { path },
            ErrorCode::ReadOnly | ErrorCode::PermissionDenied => ObjectsError::ReadOnly { path },
            ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked => ObjectsError::Busy { path },
            ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase => {
                ObjectsError::Corrupt { key: None, path: self.path(), what: error.to_string() }
            }
            // SQLite does not say why, so a write of our own has to.
            ErrorCode::CannotOpen | ErrorCode::SystemIoFailure => {
                layout::probe(&self.sys, &self.dir).unwrap_or_else(database)
            }
            _ => database(),
        }
    }
}

/// Returns whether SQLite cannot know if the transaction will survive a loss of power.
pub(super) fn is_undecided(error: &rusqlite::Error) -> bool {
    matches!(error, rusqlite::Error::SqliteFailure(failure, _)
        if matches!(failure.extended_code, ffi::SQLITE_IOERR_FSYNC | ffi::SQLITE_IOERR_DIR_FSYNC))
}

fn is_busy(error: &rusqlite::Error) -> bool {
    matches!(error.sqlite_error_code(), Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked))
}

fn is_refused(error: &rusqlite::Error) -> bool {
    matches!(error.sqlite_error_code(), Some(ErrorCode::CannotOpen | ErrorCode::ReadOnly | ErrorCode::PermissionDenied))
}

/// Returns the name under which SQLite opens `path` without looking for a log or locks.
fn immutable_uri(path: &std::path::Path) -> String {
    use std::os::unix::ffi::OsStrExt;
    let mut uri = String::from("file:");
    for &byte in path.as_os_str().as_bytes() {
        if byte.is_ascii_alphanumeric() || b"/._-".contains(&byte) {
            uri.push(byte.into());
        } else {
            uri.push_str(&format!("%{byte:02X}"));
        }
    }
    uri + "?immutable=1"
}

/// Waits for another process's transaction, at most a minute; SQLite's own waiting grows to 100 ms a look.
#[allow(clippy::disallowed_methods)] // SQLite calls it on the thread that must wait, with nothing but this number
fn wait(tries: i32) -> bool {
    std::thread::sleep(Duration::from_millis(if tries < 20 { 1 } else { 5 }));
    tries < 12_000
}
