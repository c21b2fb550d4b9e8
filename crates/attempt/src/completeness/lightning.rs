//! `*.ckpt` of Lightning: a file of `torch.save`, or the folder of a strategy that shards.
//!
//! A file is written through a temporary one and renamed, or in place where that lies on another file system: it is
//! complete when the directory at its end is. Folders: FSDP writes one of `torch.distributed.checkpoint` and then `meta.pt`;
//! DeepSpeed writes files of every process into a folder of its own and then its name into `latest`.

use std::{io, path::Path};

use prunella_sys::{FileKind, Fs};

use super::{Look, Ranks, all_ranks, dcp, is_whole_zip, names};

/// Looks at a file or folder.
pub(super) fn look(fs: &dyn Fs, path: &Path, ranks: Ranks) -> io::Result<Look> {
    match fs.metadata(path)?.map(|meta| meta.kind) {
        Some(FileKind::File) => Ok(if is_whole_zip(fs, path)? { Look::Complete(1) } else { Look::NotYet }),
        Some(FileKind::Dir) => {
            let latest = path.join("latest");
            if matches!(fs.metadata(&latest)?, Some(meta) if meta.kind == FileKind::File && meta.len <= 4096) {
                return deepspeed(fs, path, &String::from_utf8_lossy(&fs.read(&latest)?), ranks);
            }
            match is_whole_zip(fs, &path.join("meta.pt"))? {
                true => dcp::look(fs, path),
                false => Ok(Look::NotYet),
            }
        }
        _ => Ok(Look::NotYet),
    }
}

/// Looks at what DeepSpeed writes: process 0 names the folder in `latest`, and need not wait for the others' shares.
fn deepspeed(fs: &dyn Fs, path: &Path, tag: &str, ranks: Ranks) -> io::Result<Look> {
    let tag = tag.trim();
    if tag.is_empty() || tag.contains('/') || tag == ".." {
        return Ok(Look::NotYet);
    }
    let folder = path.join(tag);
    let names = names(fs, &folder)?;
    let files: Vec<&String> = names.iter().filter(|name| name.ends_with(".pt")).collect();
    for file in &files {
        if !is_whole_zip(fs, &folder.join(file))? {
            return Ok(Look::NotYet);
        }
    }
    let shares: Vec<u32> = files.iter().filter_map(|name| share(name)).collect();
    match (files.iter().any(|name| name.ends_with("model_states.pt")), shares.is_empty()) {
        (false, _) => Ok(Look::NotYet),
        // Without ZeRO nothing is shared: process 0 writes everything.
        (true, true) => Ok(Look::Complete(1)),
        (true, false) => Ok(all_ranks(shares, ranks)),
    }
}

/// Returns R of `[bf16_]zero_pp_rank_R_mp_rank_00_optim_states.pt`.
fn share(name: &str) -> Option<u32> {
    let rest = name.strip_suffix("_optim_states.pt")?;
    let (_, rest) = rest.split_once("zero_pp_rank_")?;
    rest.split_once('_')?.0.parse().ok()
}
