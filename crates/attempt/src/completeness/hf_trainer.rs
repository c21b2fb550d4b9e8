//! `checkpoint-N/` of the Trainer of Hugging Face transformers.
//!
//! Process 0 writes the model, then optimizer and scheduler, then (in old versions the other way round) its RNG state and
//! `trainer_state.json`; every other process writes its share of the optimizer, if it has one, and then its RNG state. One
//! process writes `rng_state.pth`, several write `rng_state_R.pth` each, and nothing says how many there are. Some versions
//! write `tmp-checkpoint-N` and rename it. A model of several files has an index that names them.

use std::{collections::BTreeSet, io, path::Path};

use prunella_sys::Fs;

use super::{Look, Ranks, all_ranks, is_whole_zip, json, modified, names};

const STATE: &str = "trainer_state.json";
const RNG: &str = "rng_state.pth";
/// What process 0 has written before its state, in all versions.
const BEFORE: [&str; 4] = ["optimizer.pt", "scheduler.pt", "training_args.bin", "config.json"];

/// Returns N of `checkpoint-N`.
pub(super) fn number(name: &str) -> Option<u64> {
    let digits = name.strip_prefix("checkpoint-")?;
    let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| digits.parse().ok()).flatten()
}

/// Returns R of `rng_state_R.pth`.
fn rank(name: &str) -> Option<u32> {
    name.strip_prefix("rng_state_")?.strip_suffix(".pth")?.parse().ok()
}

/// Looks at a folder.
pub(super) fn look(fs: &dyn Fs, folder: &Path, ranks: Ranks) -> io::Result<Look> {
    let Some(stated) = modified(fs, &folder.join(STATE))? else { return Ok(Look::NotYet) };
    let names = names(fs, folder)?;
    let rng: Vec<u32> = names.iter().filter_map(|name| rank(name)).collect();
    let alone = names.iter().any(|name| name == RNG);
    let looked = match (alone, rng.is_empty()) {
        (true, true) => Look::Complete(1),
        (false, false) => all_ranks(rng, ranks),
        // A folder that was written anew by another number of processes.
        (true, false) | (false, true) => Look::NotYet,
    };
    if looked == Look::NotYet || json(fs, &folder.join(STATE))?.is_none() {
        return Ok(Look::NotYet);
    }
    for name in names.iter().filter(|name| *name == RNG || rank(name).is_some()) {
        if !is_whole_zip(fs, &folder.join(name))? {
            return Ok(Look::NotYet);
        }
    }
    let indexed = indexed(fs, folder, &names)?;
    let Some(indexed) = indexed else { return Ok(Look::NotYet) };
    let weights = names.iter().filter(|name| is_weights(name)).map(String::as_str);
    let before: BTreeSet<&str> = indexed.iter().map(String::as_str).chain(weights).collect();
    for name in before {
        // A folder that is written anew has the old state until the new one is written.
        match modified(fs, &folder.join(name))? {
            Some(written) if written <= stated => {}
            _ => return Ok(Look::NotYet),
        }
    }
    for name in BEFORE {
        if modified(fs, &folder.join(name))?.is_some_and(|written| written > stated) {
            return Ok(Look::NotYet);
        }
    }
    Ok(looked)
}

/// Returns whether a file holds weights of the model.
fn is_weights(name: &str) -> bool {
    let stem = name.strip_suffix(".safetensors").or_else(|| name.strip_suffix(".bin"));
    stem.is_some_and(|stem| ["model", "pytorch_model", "adapter_model"].iter().any(|start| stem.starts_with(start)))
}

/// Returns the files that the indices of the folder name; nothing while an index is not whole.
fn indexed(fs: &dyn Fs, folder: &Path, names: &[String]) -> io::Result<Option<BTreeSet<String>>> {
    let mut files = BTreeSet::new();
    for index in names.iter().filter(|name| name.ends_with(".index.json")) {
        let Some(read) = json(fs, &folder.join(index))? else { return Ok(None) };
        let Some(map) = read.get("weight_map").and_then(serde_json::Value::as_object) else { return Ok(None) };
        for file in map.values() {
            // A name that leaves the folder is no file of it.
            match file.as_str() {
                Some(file) if !file.contains('/') => files.insert(file.to_owned()),
                _ => return Ok(None),
            };
        }
    }
    Ok(Some(files))
}
