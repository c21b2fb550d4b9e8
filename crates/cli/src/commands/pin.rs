//! `prunella pin`: write down what the pipeline's data is now.

use std::{collections::BTreeMap, path::PathBuf};

use clap::Args;
use prunella_model::{Artifact, ByteSize, DataName};
use prunella_store::Remembered;
use serde::Serialize;

use crate::{
    answer::{say, say_json},
    args::Output,
    context::Context,
    error::CliError,
    present::{Line, Paint, Tone, artifact, columns, count, path},
    project::{DataLock, LockFile, Place, measure, read},
};

/// Write down what the pipeline's data is, in prunella.lock.
///
/// Every byte of it is read; of data by reference its listing is written down. Runs refuse data that is not pinned or has changed since. With `--check` nothing is written: exit 0 if prunella.lock
/// agrees with the data, 78 if not.
#[derive(Debug, Args)]
pub struct Pin {
    /// The pipeline file, or its directory [default: ./pipeline.yaml].
    pub file: Option<PathBuf>,

    /// Only compare; write nothing.
    #[arg(long)]
    check: bool,
}

/// What pinning does to one data set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Change {
    New,
    Changed,
    Unchanged,
    /// It is no longer in the pipeline file.
    Removed,
}

#[derive(Debug, Serialize)]
struct Pinned {
    name: DataName,
    path: String,
    change: Change,
    #[serde(skip_serializing_if = "Option::is_none")]
    artifact: Option<Artifact>,
    #[serde(skip_serializing_if = "Option::is_none")]
    before: Option<Artifact>,
    /// Of data by reference: what was changed, added and removed.
    #[serde(skip_serializing_if = "Option::is_none")]
    changes: Option<String>,
    /// Of data by reference: how many objects there are, and how long they are together.
    #[serde(skip_serializing_if = "Option::is_none")]
    listed: Option<(usize, u64)>,
}

#[derive(Debug, Serialize)]
struct Answer {
    lock: PathBuf,
    written: bool,
    agrees: bool,
    data: Vec<Pinned>,
}

impl Pin {
    /// Runs.
    ///
    /// # Errors
    /// [`CliError`] for a wrong pipeline file, or data that cannot be read.
    pub async fn run(&self, context: &Context) -> Result<u8, CliError> {
        let place = Place::named(context, self.file.as_deref());
        let pipeline = read(context, &place, &[])?.pipeline;
        let mut lock = LockFile::read(&place.lock())?;
        let remembered = if self.check { Remembered::Ignored } else { Remembered::Renewed };
        let measured = measure(context, &pipeline, &place, remembered).await?;
        let now: BTreeMap<DataName, DataLock> =
            measured.into_iter().map(|(name, found)| (name, found.into())).collect();
        let data = compare(&lock.data, &now);
        let agrees = lock.data == now;
        let written = !agrees && !self.check;
        if written {
            lock.data = now;
            lock.write(&context.sys, &place.lock())?;
        }
        let answer = Answer { lock: place.lock(), written, agrees, data };
        match context.output {
            Output::Json => say_json(&answer)?,
            Output::Text => say(&text(context, &answer))?,
        }
        Ok(if self.check && !agrees { 78 } else { 0 })
    }
}

/// Writes down what a new pipeline's data is.
///
/// # Errors
/// As [`Pin::run`].
pub async fn pin(context: &Context, place: &Place) -> Result<(), CliError> {
    let pipeline = read(context, place, &[])?.pipeline;
    let measured = measure(context, &pipeline, place, Remembered::Ignored).await?;
    let data = measured.into_iter().map(|(name, found)| (name, found.into()));
    LockFile { data: data.collect(), ..LockFile::default() }.write(&context.sys, &place.lock())
}

fn compare(before: &BTreeMap<DataName, DataLock>, now: &BTreeMap<DataName, DataLock>) -> Vec<Pinned> {
    let mut all: Vec<Pinned> = now
        .iter()
        .map(|(name, found)| {
            let old = before.get(name);
            let change = match old {
                None => Change::New,
                Some(old) if old == found => Change::Unchanged,
                Some(_) => Change::Changed,
            };
            let before = old.filter(|_| change == Change::Changed).map(|old| old.artifact);
            let listing = found.listing.as_ref();
            let changes = old.and_then(|old| old.listing.as_ref()).zip(listing).and_then(|(old, now)| old.changes(now));
            let listed = listing.map(|listing| (listing.objects.len(), listing.size_bytes()));
            let (path, artifact) = (found.path.clone(), Some(found.artifact));
            Pinned { name: name.clone(), path, change, artifact, before, changes, listed }
        })
        .collect();
    let gone = before.iter().filter(|(name, _)| !now.contains_key(*name));
    all.extend(gone.map(|(name, old)| Pinned {
        name: name.clone(),
        path: old.path.clone(),
        change: Change::Removed,
        artifact: None,
        before: Some(old.artifact),
        changes: None,
        listed: None,
    }));
    all
}

fn text(context: &Context, answer: &Answer) -> String {
    let lines: Vec<Line> = answer
        .data
        .iter()
        .map(|pinned| {
            let (tone, word) = match pinned.change {
                Change::New => (Tone::Good, "new"),
                Change::Changed => (Tone::Busy, "changed"),
                Change::Unchanged => (Tone::Dim, "unchanged"),
                Change::Removed => (Tone::Busy, "removed"),
            };
            let mut what = pinned.artifact.as_ref().map(artifact).unwrap_or_default();
            if let Some((objects, size)) = pinned.listed {
                what = format!("{}, {} by reference", count(objects, "object"), ByteSize(size));
            }
            if let Some(changes) = &pinned.changes {
                what.push_str(&format!(": {changes}"));
            } else if let Some(before) = &pinned.before {
                what.push_str(&format!(" (was {})", artifact(before)));
            }
            Line(tone, vec![word.to_owned(), format!("data.{}", pinned.name), pinned.path.clone(), what])
        })
        .collect();
    let lock = path(&answer.lock);
    let end = match (answer.written, answer.agrees) {
        (true, _) => format!("wrote {lock}\n"),
        (false, true) => format!("{lock} agrees with the data\n"),
        (false, false) => format!("{lock} does not agree with the data: `prunella pin` writes it anew\n"),
    };
    columns(Paint::of(context), &lines) + &end
}
