//! Whether a store can be locked, for somebody who asks before anything is written.

use std::path::Path;

use prunella_sys::{Sys, blocking};

use super::{Embedded, database::Database};
use crate::ObjectsError;

impl Embedded {
    /// Takes the lock that every write to the store in `dir` takes, and lets it go at once; nothing is changed.
    ///
    /// Waits for others as a write does, up to a minute. Dropping the future does not end that wait.
    ///
    /// # Errors
    /// As [`Embedded::open`]; [`ObjectsError`] of the database if the lock was not to be had.
    pub async fn take_lock(sys: &Sys, dir: &Path) -> Result<(), ObjectsError> {
        let database =
            Database { sys: sys.clone(), dir: dir.to_owned(), database_dir: dir.to_owned(), max_pages: None };
        blocking(move || {
            let connection = database.open_writer()?;
            connection.execute_batch("BEGIN IMMEDIATE; ROLLBACK").map_err(|error| database.error(&error))
        })
        .await
    }
}
