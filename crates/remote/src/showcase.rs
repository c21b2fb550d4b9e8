//! Places in buckets where others read what is published.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use prunella_objects::{Exhibit, Instead, ObjectsError, Showcase, Showcases, Shown};
use prunella_sys::{Sys, blocking};

use crate::bucket::{Bucket, Put};
use crate::options::Options;
use crate::remote::{ONE_REQUEST_BYTES, read_part};
use crate::service::endpoint;
use crate::url::StoreUrl;

/// The clouds, as places to publish.
pub struct Published {
    sys: Sys,
    options: Options,
    /// The store itself, if it is in a bucket: nothing is published into it.
    store: Option<StoreUrl>,
}

impl Published {
    /// Returns the clouds as this machine reaches them; nothing is asked yet.
    pub fn new(sys: &Sys, options: Options, store: Option<StoreUrl>) -> Self {
        Self { sys: sys.clone(), options, store }
    }
}

#[async_trait]
impl Showcases for Published {
    async fn open(&self, url: &str) -> Result<Arc<dyn Showcase>, ObjectsError> {
        let unfit = |message: String| ObjectsError::Unfit { store: url.to_owned(), message };
        let mut at: StoreUrl = url.parse().map_err(|error: crate::UrlError| unfit(error.problems.join("; ")))?;
        if at.prefix.is_empty() {
            return Err(unfit("it names a bucket, and no place in it".to_owned()));
        }
        let of_the_store = |store: &StoreUrl| {
            let service = |url| endpoint(&self.sys, url);
            let same = (store.kind, &store.bucket, service(store)) == (at.kind, &at.bucket, service(&at));
            same && overlap(&store.prefix, &at.prefix)
        };
        if self.store.as_ref().is_some_and(of_the_store) {
            return Err(unfit("it is in the store, or the store is in it".to_owned()));
        }
        // Keys are those of the bucket: a file that is published is no directory.
        let place = std::mem::take(&mut at.prefix);
        let bucket = Bucket::new(&self.sys, &at, &self.options)?;
        Ok(Arc::new(Place { bucket, place, sys: self.sys.clone() }))
    }
}

fn overlap(a: &str, b: &str) -> bool {
    let below = |a: &str, b: &str| {
        b.is_empty() || a.strip_prefix(b).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    below(a, b) || below(b, a)
}

struct Place {
    bucket: Bucket,
    place: String,
    sys: Sys,
}

impl Place {
    fn key(&self, name: &str) -> String {
        if name.is_empty() { self.place.clone() } else { format!("{}/{name}", self.place) }
    }
}

#[async_trait]
impl Showcase for Place {
    async fn look(&self, name: &str) -> Result<Option<Shown>, ObjectsError> {
        self.bucket.look(&self.key(name)).await
    }

    async fn put(
        &self,
        name: &str,
        exhibit: Exhibit<'_>,
        digest: &str,
        instead: &Instead,
    ) -> Result<bool, ObjectsError> {
        let key = self.key(name);
        // The library takes these away, and two names would be one.
        if key.trim() != key || key.contains("//") {
            let message =
                format!("`{key}` begins or ends with a blank, or has an empty part: no service keeps such a name");
            return Err(ObjectsError::Unfit { store: self.bucket.url().to_string(), message });
        }
        let put = match exhibit {
            Exhibit::Bytes(bytes) => self.bucket.put_shown(&key, bytes, digest, instead).await?,
            Exhibit::File(path) => {
                let io = |source| ObjectsError::Io { path: path.to_owned(), source };
                let size = self.sys.fs.metadata(path).map_err(io)?.map_or(0, |meta| meta.len);
                if size <= ONE_REQUEST_BYTES {
                    let (sys, file) = (self.sys.clone(), path.to_owned());
                    let bytes = Bytes::from(blocking(move || sys.fs.read(&file)).await.map_err(io)?);
                    self.bucket.put_shown(&key, bytes, digest, instead).await?
                } else {
                    let (sys, file) = (self.sys.clone(), path.to_owned());
                    let part = move |at, size| read_part(&sys, &file, at, size);
                    self.bucket.put_shown_in_parts(&key, size, part, digest, instead).await?
                }
            }
        };
        Ok(put == Put::New)
    }

    async fn list(&self, prefix: &str, limit: usize) -> Result<Vec<(String, u64)>, ObjectsError> {
        let below = format!("{}/", self.place);
        let found = self.bucket.list_names(&format!("{below}{prefix}"), limit).await?;
        Ok(found.into_iter().map(|(name, size)| (name[below.len()..].to_owned(), size)).collect())
    }

    async fn read(&self, name: &str) -> Result<Option<Bytes>, ObjectsError> {
        self.bucket.read_name(&self.key(name), ONE_REQUEST_BYTES).await
    }

    async fn remove(&self, name: &str) -> Result<(), ObjectsError> {
        self.bucket.delete_name(&self.key(name)).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_in_another_by_segments() {
        assert!(overlap("a/b", "a") && overlap("a", "a/b") && overlap("a", "a") && overlap("", "a"));
        assert!(!overlap("ab", "a") && !overlap("a/b", "a/c"));
    }
}
