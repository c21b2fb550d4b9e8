//! Data of others that a handle can list: what pins it is an artifact like any other, its bytes are in no store.

use std::sync::Arc;

use prunella_model::Listing;
use prunella_objects::{Elsewhere, ObjectsError};

use crate::{Store, StoreError};

impl Store {
    /// Returns a handle that lists data in buckets of others, too.
    #[must_use]
    pub fn listing(mut self, elsewhere: Arc<dyn Elsewhere>) -> Self {
        self.elsewhere = Some(elsewhere);
        self
    }

    /// Returns what lies at an address of somebody else's now.
    ///
    /// # Errors
    /// [`StoreError::Objects`] as [`Elsewhere::list`]; [`ObjectsError::Unfit`] from a handle that lists nothing of others.
    pub async fn list_elsewhere(&self, url: &str) -> Result<Listing, StoreError> {
        match &self.elsewhere {
            Some(elsewhere) => Ok(elsewhere.list(url).await?),
            None => {
                let message = "this handle lists no data of others".to_owned();
                Err(ObjectsError::Unfit { store: url.to_owned(), message }.into())
            }
        }
    }
}
