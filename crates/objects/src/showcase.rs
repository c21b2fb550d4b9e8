//! What a place in a bucket has to do where others read what is published.

use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;

use crate::error::ObjectsError;

/// What stands under a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shown {
    /// What changes with every write of the name.
    pub version: String,
    /// How long it is, in bytes.
    pub size_bytes: u64,
    /// What whoever put it said of its bytes; nothing if they said nothing.
    pub digest: Option<String>,
}

/// What a write replaces; anything else stays, and the writer is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Instead {
    /// Nothing is there.
    OfNothing,
    /// This version is there.
    Of(String),
    /// Whatever is there.
    OfAnything,
}

/// What is put.
#[derive(Debug, Clone)]
pub enum Exhibit<'a> {
    /// A file of this machine.
    File(&'a Path),
    /// Few bytes.
    Bytes(Bytes),
}

/// A place in a bucket where others read: objects there are replaced, each as a whole.
///
/// Names lie below the place and are joined to it by `/`; the empty name is the place itself.
#[async_trait]
pub trait Showcase: Send + Sync {
    /// Returns what stands under a name; nothing only if it is definitely absent.
    async fn look(&self, name: &str) -> Result<Option<Shown>, ObjectsError>;

    /// Puts an object, with a checksum on the way and `digest` beside it; false if something else stands there than it may
    /// replace. A reader sees what was there before, or all of it.
    ///
    /// After an answer that got lost, what is there may be one's own: look.
    ///
    /// # Errors
    /// What the service says; whether it was put is unknown then.
    async fn put(
        &self,
        name: &str,
        exhibit: Exhibit<'_>,
        digest: &str,
        instead: &Instead,
    ) -> Result<bool, ObjectsError>;

    /// Returns the names that begin so, and their sizes, in byte order, up to `limit`.
    async fn list(&self, prefix: &str, limit: usize) -> Result<Vec<(String, u64)>, ObjectsError>;

    /// Returns a small object's bytes; nothing only if it is definitely absent.
    async fn read(&self, name: &str) -> Result<Option<Bytes>, ObjectsError>;

    /// Removes an object; done as well if it was absent.
    async fn remove(&self, name: &str) -> Result<(), ObjectsError>;
}

/// Opens places by their addresses.
#[async_trait]
pub trait Showcases: Send + Sync {
    /// Returns the place at an address such as `s3://bucket/reports/latest`.
    ///
    /// # Errors
    /// [`ObjectsError::Unfit`] for an address that is none, or names a place where nothing may be published.
    async fn open(&self, url: &str) -> Result<Arc<dyn Showcase>, ObjectsError>;
}
