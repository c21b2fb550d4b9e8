//! Objects of others: listed with what says that they changed, and read as long as they did not.

use bytes::Bytes;
use opendal::Metadata;
use prunella_model::ListedObject;
use prunella_objects::ObjectsError;

use super::{Bucket, Ended, PAGE};
use crate::url::Kind;

/// Which objects are listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Versions {
    /// As they are, with what the listing says of them.
    AsListed,
    /// With their versions, which takes another right (S3).
    Wanted,
}

impl Bucket {
    /// Returns all objects whose names begin with `prefix`, their names whole, in byte order; one more than `most` at the most.
    pub(crate) async fn list_of_others(
        &self,
        prefix: &str,
        versions: Versions,
        most: usize,
    ) -> Result<Vec<ListedObject>, ObjectsError> {
        let (mut found, mut from): (Vec<ListedObject>, _) = (Vec::new(), None);
        while found.len() <= most {
            // Where a listing begins at the prefix, each page by itself would read all that is before it.
            let page = if self.lists_from_anywhere() { PAGE } else { most + 1 };
            // Of versions only the one that is there now; what is deleted is not there.
            let now = |meta: &Metadata| versions == Versions::AsListed || meta.is_current() == Some(true);
            let take = |name: &str, meta: &Metadata| (now(meta) && !meta.is_deleted()).then(|| listed(name, meta));
            let page = self.page(prefix, from.clone(), page, versions, take).await?;
            found.extend(page.found);
            from = page.last.or(from);
            if page.ended {
                break;
            }
        }
        found.truncate(most + 1);
        if let Some(object) = found.iter().find(|object| object.etag.is_empty()) {
            let message =
                format!("the service says of `{}` nothing that changes with its content (no ETag)", object.name);
            return Err(ObjectsError::Unfit { store: self.url.to_string(), message });
        }
        Ok(found)
    }

    /// Returns `size` bytes of an object from `offset` on; nothing if it is no longer the one that was listed.
    pub(crate) async fn read_of_others(
        &self,
        object: &ListedObject,
        offset: u64,
        size: u64,
    ) -> Result<Option<Bytes>, ObjectsError> {
        let read = || {
            let (op, object, kind) = (self.op.clone(), object.clone(), self.url.kind);
            async move {
                let mut read = op.read_with(&object.name).range(offset..offset + size);
                let knows = op.info().capability();
                match (kind, &object.version) {
                    (Kind::Gcs, Some(version)) if knows.read_with_version => read = read.version(version),
                    // Google's tag is of the record of an object, not of its bytes: it is listed again afterwards.
                    (Kind::Gcs, _) => {}
                    (Kind::S3 | Kind::Azure, _) => read = read.if_match(&format!("\"{}\"", object.etag)),
                }
                read.await
            }
        };
        self.line(size).await;
        match self.tried(None, size, read).await {
            Ok(bytes) if bytes.len() as u64 == size => Ok(Some(bytes.to_bytes())),
            Ok(_) | Err(Ended::Absent | Ended::There) => Ok(None),
            Err(Ended::Error(error)) => Err(error),
        }
    }
}

fn listed(name: &str, meta: &Metadata) -> ListedObject {
    let said = |text: Option<&str>| text.filter(|text| !text.is_empty()).map(str::to_owned);
    ListedObject {
        name: name.to_owned(),
        size_bytes: meta.content_length(),
        etag: meta.etag().unwrap_or_default().trim_matches('"').to_owned(),
        version: said(meta.version()).filter(|version| version != "null"),
        md5: said(meta.content_md5()),
    }
}
