//! The operations of S3 that a store needs, over [`Objects`].

use std::collections::HashMap;
use std::ops::Bound;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use futures_util::{TryStreamExt, stream};
use s3s::dto::{
    AbortMultipartUploadInput, AbortMultipartUploadOutput, CompleteMultipartUploadInput, CompleteMultipartUploadOutput,
    CreateMultipartUploadInput, CreateMultipartUploadOutput, DeleteObjectInput, DeleteObjectOutput, ETag,
    ETagCondition, GetObjectInput, GetObjectOutput, HeadObjectInput, HeadObjectOutput, ListObjectsV2Input,
    ListObjectsV2Output, Object, PutObjectInput, PutObjectOutput, StreamingBlob, UploadPartInput, UploadPartOutput,
};
use s3s::{S3, S3Request, S3Response, S3Result, s3_error};

use crate::objects::{Held, Objects, Stored, Upload};

/// What a service does with the condition of a write. Only the first is right; the others are found in the world.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Conditions {
    /// Checked under the lock that writes.
    #[default]
    Atomic,
    /// Not read at all.
    Ignored,
    /// Checked before the body is taken, and not again.
    Racing,
    /// As Ceph's radosgw 16: atomic for single uploads, where a tag in quotes is never the one that is there; ignored when an
    /// upload in parts is completed.
    Radosgw,
}

/// S3 over a map.
pub(crate) struct Service(pub(crate) Arc<Objects>, pub(crate) Conditions);

fn tag(version: u64) -> ETag {
    ETag::Strong(format!("{version:032x}"))
}

async fn whole(body: Option<StreamingBlob>) -> S3Result<Bytes> {
    let Some(body) = body else { return Ok(Bytes::new()) };
    let read = body.try_fold(BytesMut::new(), |mut all, some| async move {
        all.extend_from_slice(&some);
        Ok(all)
    });
    // A wrong checksum or a body that broke off shows here.
    read.await.map(BytesMut::freeze).map_err(|error| s3_error!(BadDigest, "{error}"))
}

/// Writes an object if the conditions hold: all of it under one lock.
fn write(
    held: &mut Held,
    (bucket, key): (&str, &str),
    bytes: Bytes,
    metadata: HashMap<String, String>,
    if_match: Option<&ETagCondition>,
    if_none_match: Option<&ETagCondition>,
) -> S3Result<ETag> {
    let version = held.next();
    let objects = held.buckets.get_mut(bucket).ok_or_else(|| s3_error!(NoSuchBucket))?;
    let there = objects.get(key).map(|stored| tag(stored.version));
    let holds = |condition: &ETagCondition| match (condition, &there) {
        (_, None) => false,
        (ETagCondition::Any, Some(_)) => true,
        (ETagCondition::ETag(wanted), Some(there)) => wanted == there,
    };
    if if_match.is_some_and(|condition| !holds(condition)) || if_none_match.is_some_and(holds) {
        return Err(s3_error!(PreconditionFailed));
    }
    objects.insert(key.to_owned(), Stored { bytes, version, metadata });
    Ok(tag(version))
}

#[async_trait::async_trait]
impl S3 for Service {
    async fn put_object(&self, req: S3Request<PutObjectInput>) -> S3Result<S3Response<PutObjectOutput>> {
        let quoted = req.headers.get("if-match").is_some_and(|tag| tag.as_bytes().starts_with(b"\""));
        let input = req.input;
        let bytes = whole(input.body).await?;
        let (metadata, at) = (input.metadata.unwrap_or_default(), (input.bucket.as_str(), input.key.as_str()));
        let (mut if_match, mut if_none_match) = (input.if_match.as_ref(), input.if_none_match.as_ref());
        match self.1 {
            // It compares a tag as it is written, and its own have no quotes.
            Conditions::Radosgw if quoted => return Err(s3_error!(PreconditionFailed)),
            Conditions::Atomic | Conditions::Radosgw => {}
            Conditions::Ignored => (if_match, if_none_match) = (None, None),
            Conditions::Racing => {
                if if_none_match.is_some() && self.find(at.0, at.1).is_ok() {
                    return Err(s3_error!(PreconditionFailed));
                }
                // Others come between the look and the write.
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
                (if_match, if_none_match) = (None, None);
            }
        }
        let e_tag = write(&mut self.0.held(), at, bytes, metadata, if_match, if_none_match)?;
        Ok(S3Response::new(PutObjectOutput { e_tag: Some(e_tag), ..Default::default() }))
    }

    async fn get_object(&self, req: S3Request<GetObjectInput>) -> S3Result<S3Response<GetObjectOutput>> {
        let input = req.input;
        let stored = self.find(&input.bucket, &input.key)?;
        if let Some(ETagCondition::ETag(wanted)) = &input.if_match
            && *wanted != tag(stored.version)
        {
            return Err(s3_error!(PreconditionFailed));
        }
        let size = stored.bytes.len() as u64;
        let (bytes, content_range) = match input.range {
            None => (stored.bytes, None),
            Some(range) => {
                let range = range.check(size).map_err(|_| s3_error!(InvalidRange))?;
                let said = format!("bytes {}-{}/{size}", range.start, range.end - 1);
                (stored.bytes.slice(range.start as usize..range.end as usize), Some(said))
            }
        };
        let length = i64::try_from(bytes.len()).map_err(|_| s3_error!(InternalError))?;
        let body = StreamingBlob::wrap(stream::once(async move { Ok::<_, std::io::Error>(bytes) }));
        Ok(S3Response::new(GetObjectOutput {
            body: Some(body),
            content_length: Some(length),
            content_range,
            e_tag: Some(tag(stored.version)),
            last_modified: Some(std::time::UNIX_EPOCH.into()),
            metadata: Some(stored.metadata),
            ..Default::default()
        }))
    }

    async fn head_object(&self, req: S3Request<HeadObjectInput>) -> S3Result<S3Response<HeadObjectOutput>> {
        let stored = self.find(&req.input.bucket, &req.input.key)?;
        let length = i64::try_from(stored.bytes.len()).map_err(|_| s3_error!(InternalError))?;
        Ok(S3Response::new(HeadObjectOutput {
            content_length: Some(length),
            e_tag: Some(tag(stored.version)),
            last_modified: Some(std::time::UNIX_EPOCH.into()),
            metadata: Some(stored.metadata),
            ..Default::default()
        }))
    }

    async fn delete_object(&self, req: S3Request<DeleteObjectInput>) -> S3Result<S3Response<DeleteObjectOutput>> {
        let mut held = self.0.held();
        let objects = held.buckets.get_mut(&req.input.bucket).ok_or_else(|| s3_error!(NoSuchBucket))?;
        objects.remove(&req.input.key);
        Ok(S3Response::new(DeleteObjectOutput::default()))
    }

    async fn list_objects_v2(&self, req: S3Request<ListObjectsV2Input>) -> S3Result<S3Response<ListObjectsV2Output>> {
        let input = req.input;
        let held = self.0.held();
        let objects = held.buckets.get(&input.bucket).ok_or_else(|| s3_error!(NoSuchBucket))?;
        let prefix = input.prefix.clone().unwrap_or_default();
        let most = usize::try_from(input.max_keys.unwrap_or(1000)).unwrap_or(0).min(1000);
        let after = input.continuation_token.clone().or(input.start_after.clone()).unwrap_or_default();
        let from = if after >= prefix { Bound::Excluded(after.as_str()) } else { Bound::Included(prefix.as_str()) };
        let mut matching = objects
            .range::<str, _>((from, Bound::Unbounded))
            .take_while(|(key, _)| key.starts_with(&prefix))
            .map(|(key, stored)| (key.clone(), stored.bytes.len(), stored.version))
            .take(most + 1)
            .collect::<Vec<_>>();
        let truncated = matching.len() > most;
        matching.truncate(most);
        let next = matching.last().filter(|_| truncated).map(|(key, ..)| key.clone());
        let contents = matching.into_iter().map(|(key, size, version)| Object {
            key: Some(key),
            size: i64::try_from(size).ok(),
            e_tag: Some(tag(version)),
            last_modified: Some(std::time::UNIX_EPOCH.into()),
            ..Default::default()
        });
        let contents: Vec<Object> = contents.collect();
        Ok(S3Response::new(ListObjectsV2Output {
            key_count: i32::try_from(contents.len()).ok(),
            contents: Some(contents),
            is_truncated: Some(truncated),
            next_continuation_token: next,
            name: Some(input.bucket),
            prefix: input.prefix,
            ..Default::default()
        }))
    }

    async fn create_multipart_upload(
        &self,
        req: S3Request<CreateMultipartUploadInput>,
    ) -> S3Result<S3Response<CreateMultipartUploadOutput>> {
        let mut held = self.0.held();
        if !held.buckets.contains_key(&req.input.bucket) {
            return Err(s3_error!(NoSuchBucket));
        }
        let id = format!("upload-{}", held.next());
        let upload = Upload { metadata: req.input.metadata.unwrap_or_default(), ..Upload::default() };
        held.uploads.insert(id.clone(), upload);
        Ok(S3Response::new(CreateMultipartUploadOutput {
            bucket: Some(req.input.bucket),
            key: Some(req.input.key),
            upload_id: Some(id),
            ..Default::default()
        }))
    }

    async fn upload_part(&self, req: S3Request<UploadPartInput>) -> S3Result<S3Response<UploadPartOutput>> {
        let input = req.input;
        let bytes = whole(input.body).await?;
        let mut held = self.0.held();
        let version = held.next();
        let upload = held.uploads.get_mut(&input.upload_id).ok_or_else(|| s3_error!(NoSuchUpload))?;
        upload.parts.insert(input.part_number, bytes);
        Ok(S3Response::new(UploadPartOutput { e_tag: Some(tag(version)), ..Default::default() }))
    }

    async fn complete_multipart_upload(
        &self,
        req: S3Request<CompleteMultipartUploadInput>,
    ) -> S3Result<S3Response<CompleteMultipartUploadOutput>> {
        let input = req.input;
        let mut held = self.0.held();
        let upload = held.uploads.get(&input.upload_id).ok_or_else(|| s3_error!(NoSuchUpload))?;
        let wanted = input.multipart_upload.and_then(|wanted| wanted.parts).unwrap_or_default();
        let mut bytes = BytesMut::new();
        for part in wanted {
            let number = part.part_number.ok_or_else(|| s3_error!(InvalidPart))?;
            bytes.extend_from_slice(upload.parts.get(&number).ok_or_else(|| s3_error!(InvalidPart))?);
        }
        let (metadata, at) = (upload.metadata.clone(), (input.bucket.as_str(), input.key.as_str()));
        let (if_match, if_none_match) = match self.1 {
            Conditions::Ignored | Conditions::Radosgw => (None, None),
            _ => (input.if_match.as_ref(), input.if_none_match.as_ref()),
        };
        let e_tag = write(&mut held, at, bytes.freeze(), metadata, if_match, if_none_match)?;
        held.uploads.remove(&input.upload_id);
        Ok(S3Response::new(CompleteMultipartUploadOutput { e_tag: Some(e_tag), ..Default::default() }))
    }

    async fn abort_multipart_upload(
        &self,
        req: S3Request<AbortMultipartUploadInput>,
    ) -> S3Result<S3Response<AbortMultipartUploadOutput>> {
        self.0.held().uploads.remove(&req.input.upload_id);
        Ok(S3Response::new(AbortMultipartUploadOutput::default()))
    }
}

impl Service {
    fn find(&self, bucket: &str, key: &str) -> S3Result<Stored> {
        let held = self.0.held();
        let objects = held.buckets.get(bucket).ok_or_else(|| s3_error!(NoSuchBucket))?;
        objects.get(key).cloned().ok_or_else(|| s3_error!(NoSuchKey))
    }
}
