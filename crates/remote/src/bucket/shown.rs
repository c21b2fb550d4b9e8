//! Objects that others read: of any name, and replaced while they are what they were thought to be.

use bytes::Bytes;
use opendal::Metadata;
use prunella_objects::{Instead, ObjectKey, ObjectsError, Shown};

use super::parts::{PART_BYTES, PARTS_AT_ONCE, send};
use super::{Bucket, Ended, Put};

/// What stands beside an object's bytes: the digest of what it shows; letters only, as Azure wants it.
const DIGEST: &str = "prunelladigest";

/// What a service is asked for before it writes.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Asks<'a> {
    /// Nothing: the last writer wins, always whole.
    Nothing,
    /// That the name is free.
    Absent,
    /// That the object has this entity tag.
    Tag(&'a str),
}

impl Bucket {
    /// Returns what stands under a name; nothing only if it is definitely absent.
    pub(crate) async fn look(&self, name: &str) -> Result<Option<Shown>, ObjectsError> {
        let meta = self.about(name).await?;
        Ok(meta.as_ref().map(shown))
    }

    /// Puts few bytes under a name, in one request.
    pub(crate) async fn put_shown(
        &self,
        name: &str,
        bytes: Bytes,
        digest: &str,
        instead: &Instead,
    ) -> Result<Put, ObjectsError> {
        for asks in self.ways_to_ask(instead) {
            let put = self.put_shown_asking(name, bytes.clone(), digest, asks).await?;
            if put == Put::New || !self.stands(name, instead).await? {
                return Ok(put);
            }
        }
        Ok(Put::There)
    }

    /// As [`Bucket::put_shown`], with this condition and no other.
    pub(crate) async fn put_shown_asking(
        &self,
        name: &str,
        bytes: Bytes,
        digest: &str,
        asks: Asks<'_>,
    ) -> Result<Put, ObjectsError> {
        let (size, mark) = (bytes.len() as u64, [(DIGEST.to_owned(), digest.to_owned())]);
        let write = || {
            let (op, bytes, name, mark) = (self.op.clone(), bytes.clone(), name.to_owned(), mark.clone());
            async move {
                let mut write = op.write_with(&name, bytes).user_metadata(mark);
                match asks {
                    Asks::Nothing => {}
                    Asks::Absent => write = write.if_not_exists(true),
                    Asks::Tag(tag) => write = write.if_match(tag),
                }
                write.await.map(drop)
            }
        };
        self.line(size).await;
        replaced(self.tried(None, size, write).await)
    }

    /// Puts a large object under a name, from pieces; all of it is visible at once, or nothing.
    pub(crate) async fn put_shown_in_parts<F>(
        &self,
        name: &str,
        size: u64,
        parts: F,
        digest: &str,
        instead: &Instead,
    ) -> Result<Put, ObjectsError>
    where
        F: Fn(u64, usize) -> std::io::Result<Bytes> + Send + Sync + Clone + 'static,
    {
        for asks in self.ways_to_ask(instead) {
            let sent = (PART_BYTES, size, parts.clone());
            let put = self.put_shown_in_parts_asking(name, sent, digest, asks).await?;
            if put == Put::New || !self.stands(name, instead).await? {
                return Ok(put);
            }
        }
        Ok(Put::There)
    }

    /// As [`Bucket::put_shown_in_parts`], with this condition and no other: parts of so many bytes, of so many in all.
    pub(crate) async fn put_shown_in_parts_asking<F>(
        &self,
        name: &str,
        (part_bytes, size, parts): (usize, u64, F),
        digest: &str,
        asks: Asks<'_>,
    ) -> Result<Put, ObjectsError>
    where
        F: Fn(u64, usize) -> std::io::Result<Bytes> + Send + Sync + Clone + 'static,
    {
        let (op, mark) = (self.by_part(), [(DIGEST.to_owned(), digest.to_owned())]);
        let write = || {
            let (op, name, parts, mark) = (op.clone(), name.to_owned(), parts.clone(), mark.clone());
            async move {
                let mut write = op.writer_with(&name).user_metadata(mark).chunk(part_bytes).concurrent(PARTS_AT_ONCE);
                match asks {
                    Asks::Nothing => {}
                    Asks::Absent => write = write.if_not_exists(true),
                    Asks::Tag(tag) => write = write.if_match(tag),
                }
                send(write.await?, size, parts).await
            }
        };
        self.line(size).await;
        match self.tried(None, size, write).await {
            Ok(Ok(())) => Ok(Put::New),
            Ok(Err(source)) => Err(ObjectsError::Io { path: name.into(), source }),
            Err(ended) => replaced(Err(ended)),
        }
    }

    /// Returns what to ask for, one after the other as long as it is refused although it stands there.
    ///
    /// Some services know a tag without its quotes only (radosgw 16), some may know none. Whoever went on to ask them for the same
    /// would do so for ever.
    fn ways_to_ask<'a>(&self, instead: &'a Instead) -> Vec<Asks<'a>> {
        match instead {
            Instead::OfNothing => vec![Asks::Absent],
            Instead::Of(version) if self.op.info().capability().write_with_if_match => {
                vec![Asks::Tag(version), Asks::Tag(unquoted(version)), Asks::Nothing]
            }
            Instead::Of(_) | Instead::OfAnything => vec![Asks::Nothing],
        }
    }

    /// Returns whether what a write may replace stands there, so that it was refused for nothing.
    async fn stands(&self, name: &str, instead: &Instead) -> Result<bool, ObjectsError> {
        let Instead::Of(version) = instead else { return Ok(false) };
        Ok(self.look(name).await?.is_some_and(|there| there.version == *version))
    }

    /// Returns the names that begin so and the sizes of their objects, in byte order.
    pub(crate) async fn list_names(&self, prefix: &str, limit: usize) -> Result<Vec<(String, u64)>, ObjectsError> {
        self.listed(prefix, None, limit, |name, size| Some((name, size))).await
    }

    /// Returns an object's bytes; nothing only if it is definitely absent.
    pub(crate) async fn read_name(&self, name: &str, limit: u64) -> Result<Option<Bytes>, ObjectsError> {
        self.get(&ObjectKey::new(name)?, limit).await
    }

    /// Removes an object; done as well if it was absent.
    pub(crate) async fn delete_name(&self, name: &str) -> Result<(), ObjectsError> {
        let delete = || {
            let (op, name) = (self.op.clone(), name.to_owned());
            async move { op.delete(&name).await }
        };
        self.unconditional(self.tried(None, 0, delete).await).map(drop)
    }
}

/// Returns a tag as services write it down that keep none of its quotes.
pub(crate) fn unquoted(tag: &str) -> &str {
    tag.trim_matches('"')
}

fn replaced(outcome: Result<(), Ended>) -> Result<Put, ObjectsError> {
    match outcome {
        Ok(()) => Ok(Put::New),
        // Asked to replace what is gone, some services say that it is absent.
        Err(Ended::There | Ended::Absent) => Ok(Put::There),
        Err(Ended::Error(error)) => Err(error),
    }
}

fn shown(meta: &Metadata) -> Shown {
    let digest = meta.user_metadata().and_then(|meta| meta.get(DIGEST)).map(str::to_owned);
    Shown { version: meta.etag().unwrap_or_default().to_owned(), size_bytes: meta.content_length(), digest }
}
