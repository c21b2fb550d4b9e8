//! A folder of `torch.distributed.checkpoint`: the shards of every process, and at last `.metadata`, which names them.

use std::{
    io::{self, BufReader},
    path::Path,
};

use prunella_sys::{FileKind, Fs};

use super::{Look, modified, pickle};

const METADATA: &str = ".metadata";

/// Returns whether a string of the metadata names a shard: `__RANK_FILE.distcp`.
fn is_shard(text: &[u8]) -> bool {
    let Some(middle) = text.strip_prefix(b"__").and_then(|rest| rest.strip_suffix(b".distcp")) else { return false };
    let mut parts = middle.split(|byte| *byte == b'_');
    let number = |part: Option<&[u8]>| part.is_some_and(|part| !part.is_empty() && part.iter().all(u8::is_ascii_digit));
    number(parts.next()) && number(parts.next()) && parts.next().is_none()
}

/// Looks at a folder: its metadata is whole, names at least one shard, and none of them is missing or newer.
///
/// The metadata is renamed into place once every process is done, so a shard that is newer belongs to another save into
/// the same folder, which is still under way.
pub(super) fn look(fs: &dyn Fs, folder: &Path) -> io::Result<Look> {
    let metadata = folder.join(METADATA);
    let Some(meta) = fs.metadata(&metadata)?.filter(|meta| meta.kind == FileKind::File) else {
        return Ok(Look::NotYet);
    };
    let Some(shards) = pickle::strings(&mut BufReader::new(fs.open_read(&metadata)?), meta.len, is_shard)? else {
        return Ok(Look::NotYet);
    };
    let mut ranks: Vec<&str> = Vec::new();
    for shard in &shards {
        match modified(fs, &folder.join(shard))? {
            Some(written) if written <= meta.mtime_ns => {}
            _ => return Ok(Look::NotYet),
        }
        ranks.extend(shard.split('_').nth(2));
    }
    ranks.dedup();
    let ranks = u32::try_from(ranks.len()).unwrap_or(u32::MAX);
    Ok(if shards.is_empty() { Look::NotYet } else { Look::Complete(ranks) })
}
