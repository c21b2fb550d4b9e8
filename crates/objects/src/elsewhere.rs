//! What somebody else's bucket has to tell where data lies that is not ours.

use std::path::Path;

use async_trait::async_trait;
use prunella_model::Listing;

use crate::error::ObjectsError;

/// Data of others, by its address; nothing is ever written there.
///
/// An address that ends in `/` means everything below it, one that does not the one object of this name.
#[async_trait]
pub trait Elsewhere: Send + Sync {
    /// Returns what lies at an address now, by listing it; no object is read. Where nothing lies, nothing is listed.
    ///
    /// # Errors
    /// [`ObjectsError::Unfit`] for an address that is none, for more than [`prunella_model::MAX_LISTED`] objects, and for a
    /// service that says of an object nothing that changes with its content.
    async fn list(&self, url: &str) -> Result<Listing, ObjectsError>;

    /// Brings what a listing of this address lists to `to`, which must not exist: a file, or a folder; durable when it answers.
    ///
    /// # Errors
    /// [`ObjectsError::Unfit`] if an object is no longer what is listed, or has a name that no file can have.
    async fn fetch(&self, url: &str, listing: &Listing, to: &Path) -> Result<(), ObjectsError>;
}
