//! Whether an entry of the checkpoint directory is complete, by the layout of the framework that writes it.
//!
//! A framework writes its files in place, in an order of its own; so each format knows what is written last, what a folder
//! names that must be there, and what a killed writer leaves. Nothing is unpickled, nothing is executed.

mod dcp;
mod hf_trainer;
mod lightning;
mod pickle;
#[cfg(test)]
mod tests;

use std::{
    io::{self, Read},
    path::Path,
};

use prunella_model::CheckpointFormat;
use prunella_sys::{FileKind, Fs};

use crate::formats;

/// An index or a state of more bytes than this is not read: no framework writes one.
const MAX_JSON: u64 = 64 << 20;

/// How many processes write one entry together, as far as that is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ranks {
    /// The user said it, or an entry before this one had so many.
    Known(u32),
    /// Nobody said it, and a newer entry was begun: every process is done with this one.
    Passed,
    /// Nobody said it: an entry that several processes write may still lack files.
    Unknown,
}

/// What a look at an entry found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Look {
    /// Everything is there; so many processes wrote it.
    Complete(u32),
    /// Something is missing.
    NotYet,
    /// Everything that is named is there, but it is not known how many processes write.
    HowMany,
}

/// Returns whether `name` can be a checkpoint of this format at all.
pub(crate) fn is_entry(format: &CheckpointFormat, name: &str, kind: FileKind) -> bool {
    match format {
        CheckpointFormat::HfTrainer => kind == FileKind::Dir && hf_trainer::number(name).is_some(),
        CheckpointFormat::Lightning => name.ends_with(".ckpt"),
        CheckpointFormat::Dcp => kind == FileKind::Dir,
        CheckpointFormat::Files | CheckpointFormat::Marker(_) | CheckpointFormat::Socket => true,
    }
}

/// Returns what orders entries beside their time: the number of a step, where the name has one.
pub(crate) fn number(format: &CheckpointFormat, name: &str) -> Option<u64> {
    match format {
        CheckpointFormat::HfTrainer => hf_trainer::number(name),
        _ => None,
    }
}

/// Looks at an entry of a framework. What cannot be read (any more) is not complete.
pub(crate) fn look(format: &CheckpointFormat, fs: &dyn Fs, path: &Path, ranks: Ranks) -> Look {
    let looked = match format {
        CheckpointFormat::HfTrainer => hf_trainer::look(fs, path, ranks),
        CheckpointFormat::Lightning => lightning::look(fs, path, ranks),
        CheckpointFormat::Dcp => dcp::look(fs, path),
        CheckpointFormat::Files | CheckpointFormat::Marker(_) | CheckpointFormat::Socket => Ok(Look::NotYet),
    };
    looked.unwrap_or(Look::NotYet)
}

/// Returns what these numbered files of so many processes say: the numbers begin at 0 and have no gap.
fn all_ranks(mut numbers: Vec<u32>, ranks: Ranks) -> Look {
    numbers.sort_unstable();
    numbers.dedup();
    let seen = u32::try_from(numbers.len()).unwrap_or(u32::MAX);
    let no_gap = numbers.last().is_some_and(|last| *last == seen - 1);
    match ranks {
        _ if !no_gap => Look::NotYet,
        Ranks::Known(known) if seen == known => Look::Complete(seen),
        Ranks::Known(_) => Look::NotYet,
        Ranks::Passed => Look::Complete(seen),
        Ranks::Unknown => Look::HowMany,
    }
}

/// Returns the JSON in a file; nothing while it is not whole.
fn json(fs: &dyn Fs, path: &Path) -> io::Result<Option<serde_json::Value>> {
    match fs.metadata(path)? {
        Some(meta) if meta.kind == FileKind::File && meta.len <= MAX_JSON => {}
        _ => return Ok(None),
    }
    let mut bytes = Vec::new();
    fs.open_read(path)?.take(MAX_JSON).read_to_end(&mut bytes)?;
    Ok(serde_json::from_slice(&bytes).ok())
}

/// Returns whether a file is a zip archive with a whole directory, as `torch.save` ends one.
fn is_whole_zip(fs: &dyn Fs, path: &Path) -> io::Result<bool> {
    let Some(meta) = fs.metadata(path)?.filter(|meta| meta.kind == FileKind::File) else { return Ok(false) };
    let mut file = fs.open_read(path)?;
    Ok(formats::zip_directory(&mut file, meta.len).is_ok())
}

/// Returns the time of the last change of a file's content, if it is there.
fn modified(fs: &dyn Fs, path: &Path) -> io::Result<Option<i128>> {
    Ok(fs.metadata(path)?.filter(|meta| meta.kind == FileKind::File).map(|meta| meta.mtime_ns))
}

/// Returns the names in a directory.
fn names(fs: &dyn Fs, path: &Path) -> io::Result<Vec<String>> {
    Ok(fs.list(path)?.into_iter().filter_map(|entry| entry.name.into_string().ok()).collect())
}
