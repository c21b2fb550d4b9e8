//! Connections that read, beside the one that writes.

use std::sync::{Mutex, MutexGuard};

use bytes::Bytes;
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::database::Database;
use super::writer::Content;
use crate::error::ObjectsError;
use crate::key::ObjectKey;
use crate::objects::Listed;

/// How many idle connections are kept.
const IDLE: usize = 4;

/// A small pool of connections that read. Each read sees all that was committed before it began.
pub(super) struct Readers {
    database: Database,
    idle: Mutex<Vec<Connection>>,
    read_only: bool,
}

impl Readers {
    /// Opens the first connection.
    pub fn open(database: Database, read_only: bool) -> Result<Self, ObjectsError> {
        let readers = Readers { database, idle: Mutex::default(), read_only };
        let first = readers.connect()?;
        readers.idle().push(first);
        Ok(readers)
    }

    fn connect(&self) -> Result<Connection, ObjectsError> {
        if self.read_only { self.database.open_reader_of_read_only() } else { self.database.open_reader() }
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Connection>> {
        self.idle.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    fn read<T>(&self, query: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T, ObjectsError> {
        let connection = self.idle().pop();
        let connection = match connection {
            Some(connection) => connection,
            None => self.connect()?,
        };
        let result = query(&connection).map_err(|error| self.database.error(&error));
        let mut idle = self.idle();
        if idle.len() < IDLE {
            idle.push(connection);
        }
        result
    }

    /// Returns where the object's bytes are.
    pub fn find(&self, key: &ObjectKey) -> Result<Option<Content>, ObjectsError> {
        self.read(|connection| find(connection, key.as_str()))
    }

    /// Returns keys and sizes in byte order.
    pub fn list(&self, prefix: &str, after: Option<&str>, limit: usize) -> Result<Vec<Listed>, ObjectsError> {
        let from = match after {
            // The least text above it: no key has control characters.
            Some(after) if after >= prefix => format!("{after}\u{1}"),
            _ => prefix.to_owned(),
        };
        self.read(|connection| self.list_on(connection, &from, prefix, limit))?
    }

    /// Returns for each prefix what [`Readers::list`] gives, all from one moment and under one lock of the log.
    pub fn list_prefixes(&self, prefixes: &[String]) -> Result<Vec<Vec<Listed>>, ObjectsError> {
        self.at_one_moment(|connection| {
            prefixes.iter().map(|prefix| self.list_on(connection, prefix, prefix, usize::MAX)).collect()
        })?
        .into_iter()
        .collect()
    }

    fn list_on(
        &self,
        connection: &Connection,
        from: &str,
        prefix: &str,
        limit: usize,
    ) -> rusqlite::Result<Result<Vec<Listed>, ObjectsError>> {
        let mut statement = connection.prepare_cached(LIST)?;
        let mut rows = statement.query(params![from, end(prefix), rows_of(limit)])?;
        let mut found = Vec::new();
        while let Some(row) = rows.next()? {
            // There may be very many: a key is made of the row's own text.
            match self.key(row.get_ref(0)?.as_str()?) {
                Ok(key) => found.push(Listed { key, size: row.get::<_, i64>(1)?.unsigned_abs() }),
                Err(error) => return Ok(Err(error)),
            }
        }
        Ok(Ok(found))
    }

    /// Returns where the bytes of each object are, all under one lock of the log.
    pub fn find_all(&self, keys: &[ObjectKey]) -> Result<Vec<Option<Content>>, ObjectsError> {
        self.at_one_moment(|connection| keys.iter().map(|key| find(connection, key.as_str())).collect())
    }

    fn at_one_moment<T>(
        &self,
        query: impl FnOnce(&Connection) -> rusqlite::Result<Vec<T>>,
    ) -> Result<Vec<T>, ObjectsError> {
        self.read(|connection| {
            connection.prepare_cached("BEGIN DEFERRED")?.execute([])?;
            let found = query(connection);
            connection.prepare_cached("COMMIT")?.execute([])?;
            found
        })
    }

    /// Shows every key, in byte order; none is made.
    /// Returns what SQLite finds wrong with the pages of the database.
    pub fn examine(&self) -> Result<Vec<String>, ObjectsError> {
        self.read(|connection| {
            let mut check = connection.prepare("PRAGMA integrity_check(20)")?;
            let found: Vec<String> = check.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?;
            Ok(found.into_iter().filter(|line| line != "ok").collect())
        })
    }

    pub fn see_keys(&self, prefix: &str, see: &mut dyn FnMut(&str)) -> Result<(), ObjectsError> {
        const SEE: &str = "SELECT key FROM objects WHERE key >= ?1 AND key < ?2 ORDER BY key";
        self.read(|connection| {
            let mut statement = connection.prepare_cached(SEE)?;
            let mut rows = statement.query(params![prefix, end(prefix)])?;
            while let Some(row) = rows.next()? {
                see(row.get_ref(0)?.as_str()?);
            }
            Ok(())
        })
    }

    /// Returns keys and where their bytes are, in byte order.
    pub fn read_prefix(&self, prefix: &str, limit: usize) -> Result<Vec<(ObjectKey, Content)>, ObjectsError> {
        let rows = self.read(|connection| read_prefix(connection, prefix, limit))?;
        rows.into_iter().map(|(key, content)| Ok((self.key(&key)?, content))).collect()
    }

    /// Returns for each prefix what [`Readers::read_prefix`] gives, all from one moment and under one lock of the log.
    pub fn read_prefixes(&self, prefixes: &[String]) -> Result<Vec<Vec<(ObjectKey, Content)>>, ObjectsError> {
        let rows = self.at_one_moment(|connection| {
            prefixes.iter().map(|prefix| read_prefix(connection, prefix, usize::MAX)).collect()
        })?;
        let keyed = |rows: Vec<(String, Content)>| {
            rows.into_iter().map(|(key, content)| Ok((self.key(&key)?, content))).collect::<Result<Vec<_>, _>>()
        };
        rows.into_iter().map(keyed).collect::<Result<Vec<_>, ObjectsError>>()
    }

    /// Returns the key that this text of the table is.
    pub fn key(&self, text: &str) -> Result<ObjectKey, ObjectsError> {
        ObjectKey::new(text).map_err(|error| ObjectsError::Corrupt {
            key: None,
            path: self.database.dir.clone(),
            what: error.to_string(),
        })
    }
}

const LIST: &str = "SELECT key, size FROM objects WHERE key >= ?1 AND key < ?2 ORDER BY key LIMIT ?3";

/// Returns where the object's bytes are, on any connection.
pub(super) fn find(connection: &Connection, key: &str) -> rusqlite::Result<Option<Content>> {
    connection
        .prepare_cached("SELECT bytes, file, size FROM objects WHERE key = ?1")?
        .query_row([key], content)
        .optional()
}

/// Returns keys and where their bytes are, in byte order, on any connection.
pub(super) fn read_prefix(
    connection: &Connection,
    prefix: &str,
    limit: usize,
) -> rusqlite::Result<Vec<(String, Content)>> {
    const READ: &str = "SELECT bytes, file, size, key FROM objects WHERE key >= ?1 AND key < ?2 ORDER BY key LIMIT ?3";
    connection
        .prepare_cached(READ)?
        .query_map(params![prefix, end(prefix), rows_of(limit)], |row| Ok((text(row, 3)?, content(row)?)))?
        .collect()
}

fn content(row: &Row<'_>) -> rusqlite::Result<Content> {
    Ok(match row.get(1)? {
        Some(name) => Content::File { name, size: row.get::<_, i64>(2)?.unsigned_abs() },
        None => Content::Bytes(Bytes::copy_from_slice(row.get_ref(0)?.as_blob()?)),
    })
}

fn text(row: &Row<'_>, column: usize) -> rusqlite::Result<String> {
    row.get(column)
}

/// Returns a text above every key that begins with `prefix`: keys are ASCII.
fn end(prefix: &str) -> String {
    format!("{prefix}\u{10ffff}")
}

fn rows_of(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}
