//! Summaries in the store: a head that is overwritten, and the body that it names.

use bytes::Bytes;
use prunella_model::{Digest, RunId, descending, from_descending};
use prunella_objects::{MAX_GET_BYTES, ObjectKey, Objects, ObjectsError};
use serde::{Deserialize, Serialize};

use super::{Glance, Kept, Summary, Whereabouts};
use crate::log::{newest, segment_key};
use crate::{Position, SegmentId};

/// The version of heads and bodies.
const FORMAT: u32 = 1;

/// `runs/<run>/summary/<driver>`: which body counts, and what it must be.
#[derive(Debug, Serialize, Deserialize)]
struct Head {
    format: u32,
    position: Position,
    /// The digest of the segment there.
    segment: Digest,
    glance: Glance,
    body: BodyRef,
}

#[derive(Debug, Serialize, Deserialize)]
struct BodyRef {
    n: u64,
    size_bytes: u64,
    digest: Digest,
}

fn prefix(run: &RunId) -> String {
    format!("runs/{run}/summary/")
}

fn key(text: String) -> ObjectKey {
    ObjectKey::new(text).expect("a run id and hex digits are a key")
}

fn head_key(run: &RunId, driver: u64) -> ObjectKey {
    key(format!("{}{}", prefix(run), descending(driver)))
}

fn body_key(run: &RunId, driver: u64, n: u64) -> ObjectKey {
    key(format!("{}{}-{}", prefix(run), descending(driver), descending(n)))
}

/// Returns the driver and, of a body, the number.
fn parse(name: &str, run: &RunId) -> Option<(u64, Option<u64>)> {
    let name = name.strip_prefix(prefix(run).as_str())?;
    match name.split_once('-') {
        None => Some((from_descending(name)?, None)),
        Some((driver, n)) => Some((from_descending(driver)?, Some(from_descending(n)?))),
    }
}

/// Writes a summary of what the log says up to and including the segment at `position`, which is there.
///
/// The body first, then the head that names it; then what older ones left is deleted. A reader that comes between finds
/// the older one, or none and reads the whole log. One that is too large to be read at once is not written.
///
/// # Errors
/// [`ObjectsError`] if the store did not do it: there is an older summary then, or none.
pub async fn write_summary(
    objects: &dyn Objects,
    run: &RunId,
    position: Position,
    kept: &Kept,
    whereabouts: &Whereabouts,
    definitions: &[u8],
) -> Result<(), ObjectsError> {
    let driver = position.driver;
    let Some(segment) = segment(objects, run, position).await? else { return Ok(()) };
    let body = Bytes::from(Summary::body(kept, whereabouts, definitions));
    if body.len() as u64 > MAX_GET_BYTES {
        return Ok(());
    }
    let listed = objects.list(&prefix(run), None, usize::MAX).await?;
    let there: Vec<_> =
        listed.into_iter().filter_map(|there| Some((parse(there.key.as_str(), run)?, there.key))).collect();
    let bodies = there.iter().filter(|((of, _), _)| *of == driver).filter_map(|((_, n), _)| *n);
    let n = bodies.max().unwrap_or(0) + 1;
    let body_ref = BodyRef { n, size_bytes: body.len() as u64, digest: Digest::of(&body) };
    let head = Head { format: FORMAT, position, segment, glance: kept.glance, body: body_ref };
    // There already: an answer got lost, or it is of no use; then its digest differs from the head's.
    let _there = objects.create(&body_key(run, driver, n), body).await?;
    let head = serde_json::to_vec(&head).expect("a struct of strings and numbers is JSON");
    objects.overwrite(&head_key(run, driver), head.into()).await?;
    for ((of, number), key) in there {
        if of < driver || of == driver && number.is_some() {
            objects.delete_seen(&key).await?;
        }
    }
    Ok(())
}

async fn segment(objects: &dyn Objects, run: &RunId, at: Position) -> Result<Option<Digest>, ObjectsError> {
    let id = SegmentId { run: run.clone(), driver: at.driver, seq: at.seq };
    Ok(objects.get(&segment_key(&id)).await?.map(|bytes| Digest::of(&bytes)))
}

/// Returns the head that counts and its driver; nothing if there is none that fits the log.
async fn head(objects: &dyn Objects, run: &RunId) -> Option<(u64, Head, Position)> {
    // Of every driver a head and a body or two; those of older drivers are deleted by the next.
    const LOOK: usize = 16;
    let listed = objects.list(&prefix(run), None, LOOK).await.ok()?;
    for listed in listed {
        let Some((driver, None)) = parse(listed.key.as_str(), run) else { continue };
        let bytes = objects.get(&listed.key).await.ok()??;
        let Ok(head) = serde_json::from_slice::<Head>(&bytes) else { continue };
        if head.format != FORMAT {
            continue;
        }
        let end = newest(objects, run).await.ok()?;
        // What was lost of the log is lost to its readers, too.
        let stands = head.position <= end && segment(objects, run, head.position).await.ok()? == Some(head.segment);
        return stands.then_some((driver, head, end));
    }
    None
}

/// Returns what is to be shown of a run at a glance, if its summary stands for the whole log.
pub async fn glance(objects: &dyn Objects, run: &RunId) -> Option<Glance> {
    let (_, head, end) = head(objects, run).await?;
    (head.position == end).then_some(head.glance)
}

/// Returns the newest summary of a run; nothing if there is none, or it is not exactly what was written.
pub async fn read_summary(objects: &dyn Objects, run: &RunId) -> Option<Summary> {
    // A body that is gone was replaced meanwhile: its successor's head is there.
    for _ in 0..2 {
        let (driver, Head { position, body, glance, .. }, _) = head(objects, run).await?;
        let Some(bytes) = objects.get(&body_key(run, driver, body.n)).await.ok()? else { continue };
        let whole = bytes.len() as u64 == body.size_bytes && Digest::of(&bytes) == body.digest;
        return Summary::from_body(position, glance, &bytes).filter(|_| whole);
    }
    None
}
