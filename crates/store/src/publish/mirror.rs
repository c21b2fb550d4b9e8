//! Trees in buckets as plain objects that are overwritten one by one (`mode: mirror`): not atomic, and said to be so.
//!
//! A record beside them says which tree they are, or that they are being changed. Whoever finds at the end that somebody else has
//! changed it puts the newest once more: what it wrote late may have hidden what is newer.

use std::collections::BTreeSet;

use futures_util::{StreamExt, TryStreamExt, stream};
use prunella_model::{Digest, EffectHow};
use prunella_objects::{Exhibit, Instead};
use prunella_sys::mutated;
use serde::{Deserialize, Serialize};

use super::{
    bucket::Exhibition,
    heads::{ABREAST, FORMAT, put_file},
};
use crate::{
    Store, StoreError,
    store::{decode, encode},
};

/// Where the record lies, below the target.
const NAME: &str = ".prunella-mirror.json";

/// Which tree a place mirrors.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct MirrorRecord {
    format: u32,
    store: String,
    pipeline: String,
    run: String,
    /// The place of the tree in the order of all that are published there.
    order: u64,
    binding: u64,
    tree: Digest,
    /// Whether all of it is there, and nothing else of what was there before.
    whole: bool,
    /// All that Prunella has put there, and that may still be there.
    files: BTreeSet<String>,
}

/// Larger files are looked at before they are sent again.
const LOOK_FIRST_BYTES: u64 = 1 << 20;

impl Store {
    /// Overwrites what is there, file by file; nothing if somebody else did so meanwhile.
    pub(super) async fn show_mirror(&self, at: &Exhibition<'_>) -> Result<Option<EffectHow>, StoreError> {
        let (seen, before) = self.mirror_there(at).await?;
        if let Some(before) = &before {
            let theirs = (before.store.as_str(), before.pipeline.as_str()) != (self.id(), at.effect.pipeline.as_str());
            if theirs && !at.overwrite {
                let whose =
                    format!("pipeline `{}` of another store or of another name publishes there", before.pipeline);
                return Err(at.occupied(&whose));
            }
            if !theirs && !at.wrote && before.whole {
                if before.tree == at.stored.artifact.digest {
                    return Ok(Some(EffectHow::Unchanged));
                }
                if (before.order, before.binding) > at.rank {
                    return Ok(Some(EffectHow::Superseded));
                }
            }
        }
        let manifest = self.manifest(at.stored).await?;
        let files: BTreeSet<String> = manifest.files().map(|(path, ..)| path.to_owned()).collect();
        if files.contains(NAME) {
            return Err(
                at.occupied(&format!("the tree has a file `{NAME}`, which is the name of Prunella's own record"))
            );
        }
        let old = before.as_ref().map(|before| before.files.clone()).unwrap_or_default();
        let mut record = MirrorRecord {
            format: FORMAT,
            store: self.id().to_owned(),
            pipeline: at.effect.pipeline.to_string(),
            run: at.run.to_string(),
            order: at.rank.0,
            binding: at.rank.1,
            tree: at.stored.artifact.digest,
            whole: mutated(78),
            files: files.union(&old).cloned().collect(),
        };
        if !put_record(at, &record, seen.map_or(Instead::OfNothing, Instead::Of)).await? {
            return Ok(None);
        }
        let Some(ours) = at.showcase.look(NAME).await? else { return Ok(None) };
        let puts: Vec<_> =
            manifest.files().map(|(path, size, digest, _)| put_changed(at, path, size, digest)).collect();
        stream::iter(puts).buffer_unordered(ABREAST).try_collect::<Vec<()>>().await?;
        for gone in old.difference(&files) {
            at.showcase.remove(gone).await?;
        }
        (record.whole, record.files) = (true, files);
        let done = put_record(at, &record, Instead::Of(ours.version)).await?;
        Ok(done.then_some(if before.is_some() { EffectHow::Replaced } else { EffectHow::Created }))
    }

    async fn mirror_there(&self, at: &Exhibition<'_>) -> Result<(Option<String>, Option<MirrorRecord>), StoreError> {
        let Some(seen) = at.showcase.look(NAME).await? else { return Ok((None, None)) };
        let Some(bytes) = at.showcase.read(NAME).await? else { return Ok((None, None)) };
        let record = decode(&at.key(NAME)?, &bytes)
            .map_err(|error| at.occupied(&format!("`{NAME}` is there and cannot be read: {error}")))?;
        Ok((Some(seen.version), Some(record)))
    }
}

async fn put_record(at: &Exhibition<'_>, record: &MirrorRecord, instead: Instead) -> Result<bool, StoreError> {
    Ok(at.showcase.put(NAME, Exhibit::Bytes(encode(&at.key(NAME)?, record)), &record.tree.hex(), &instead).await?)
}

async fn put_changed(at: &Exhibition<'_>, path: &str, size: u64, digest: &Digest) -> Result<(), StoreError> {
    if size > LOOK_FIRST_BYTES
        && let Some(there) = at.showcase.look(path).await?
        && there.digest.as_deref() == Some(digest.hex().as_str())
        && there.size_bytes == size
    {
        return Ok(());
    }
    put_file(at, "", path, digest).await
}
