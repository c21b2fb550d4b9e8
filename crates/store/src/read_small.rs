//! Reading a small artifact whole, into memory.

use std::{
    io::Read,
    sync::{Arc, Mutex},
};

use prunella_model::{ArtifactKind, Digest};

use crate::{Store, StoreError, in_chunks::Out, pieces::Source, records::StoredArtifact};

impl Store {
    /// Returns the bytes of a file of at most `most` bytes, compared with their digest; nothing of anything else.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] if bytes are missing or wrong in two fresh reads.
    pub async fn read_small(&self, stored: &StoredArtifact, most: u64) -> Result<Option<Vec<u8>>, StoreError> {
        if stored.artifact.kind != ArtifactKind::File || stored.artifact.size_bytes > most {
            return Ok(None);
        }
        if stored.in_chunks {
            let file = self.single_in_chunks(stored).await?;
            let read = Arc::new(Mutex::new(Vec::new()));
            let into = read.clone();
            let out = move |bytes: &[u8]| {
                into.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).extend_from_slice(bytes);
                Ok(())
            };
            self.read_in_chunks(Source::Nearest, &file, Out::new(stored.object.as_str(), out)).await?;
            return Ok(Some(std::mem::take(&mut *read.lock().unwrap_or_else(|poisoned| poisoned.into_inner()))));
        }
        // One wrong read is no damage: a bad cable is no bad object (protocol: Damage).
        match self.read_small_once(Source::Nearest, stored).await {
            Err(StoreError::Damaged { .. }) => self.read_small_once(Source::Store, stored).await,
            read => read,
        }
        .map(Some)
    }

    async fn read_small_once(&self, source: Source, stored: &StoredArtifact) -> Result<Vec<u8>, StoreError> {
        let (key, reader) = self.open(source, &stored.object).await?;
        // One byte more than was recorded is enough to see that they are others.
        let mut bytes = Vec::new();
        let read = reader.take(stored.artifact.size_bytes + 1).read_to_end(&mut bytes);
        read.map_err(StoreError::io(key.as_str()))?;
        let (found, recorded) = (Digest::of(&bytes), stored.artifact.digest);
        if found == recorded {
            return Ok(bytes);
        }
        let problem = format!("its bytes are {}, {} was recorded", found.short(), recorded.short());
        Err(StoreError::Damaged { object: stored.object.clone(), problem })
    }
}
