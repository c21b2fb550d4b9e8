//! Removing a whole store: for those who made it to throw it away.

use futures_util::{StreamExt, TryStreamExt, stream};
use prunella_objects::{ObjectKey, ObjectsError, SMALL_BYTES};
use prunella_sys::Sys;

use crate::bucket::Bucket;
use crate::options::Options;
use crate::remote::{ABREAST, head_id, head_key};
use crate::url::StoreUrl;

/// Removes everything below an address, and the copies of it on this machine; returns how many objects that were.
///
/// Whatever lies there goes, whoever put it there. The store's first record goes last.
///
/// # Errors
/// What the bucket says; the same again goes on.
pub async fn erase(sys: &Sys, url: &StoreUrl, options: &Options) -> Result<usize, ObjectsError> {
    let bucket = &Bucket::new(sys, url, options)?;
    let head = head_key();
    let id = bucket.get(&head, SMALL_BYTES as u64).await?.and_then(|head| head_id(&head));
    let (mut count, mut after): (usize, Option<ObjectKey>) = (0, None);
    loop {
        let page = bucket.list("", after.as_ref().map(ObjectKey::as_str), PAGE).await?;
        count += page.len();
        let ended = page.len() < PAGE;
        after = page.last().map(|last| last.key.clone());
        let others = page.into_iter().map(|listed| listed.key).filter(|key| *key != head);
        let removals = others.map(|key| async move { bucket.delete(&key).await });
        stream::iter(removals).buffer_unordered(ABREAST).try_collect::<()>().await?;
        if ended {
            break;
        }
    }
    if id.is_some() {
        bucket.delete(&head).await?;
    }
    if let Some(id) = id {
        // Copies are of nobody's use any more; what stays is only in the way of the disk.
        let _copies = sys.fs.remove_dir_all(&options.cache.join(&id));
        for end in ["db", "db-wal", "db-shm"] {
            let _none = sys.fs.remove_file(&options.cache.join("records").join(format!("{id}.{end}")));
        }
    }
    Ok(count)
}

/// Returns whether nothing lies below an address.
///
/// # Errors
/// What the bucket says.
pub async fn is_empty(sys: &Sys, url: &StoreUrl, options: &Options) -> Result<bool, ObjectsError> {
    Ok(Bucket::new(sys, url, options)?.list("", None, 1).await?.is_empty())
}

const PAGE: usize = 1000;
