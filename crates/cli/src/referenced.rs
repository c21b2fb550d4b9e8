//! What people are told of data by reference.

use std::collections::{BTreeMap, BTreeSet};

use prunella_model::{ByteSize, DataName, Digest, Graph, Referenced};
use prunella_objects::ObjectsError;
use prunella_store::{Store, StoreError};
use prunella_sys::mutated;
use serde_json::{Value, json};

use crate::{error::CliError, present::count};

/// Returns what there is to say of data by reference beside its name.
pub fn place(at: &Referenced) -> String {
    let objects = count(usize::try_from(at.objects).unwrap_or(usize::MAX), "object");
    format!("by reference at `{}` ({objects}, {})", at.url, ByteSize(at.size_bytes))
}

/// Returns what is said before anything runs of each data set by reference.
pub fn notes(graph: &Graph) -> impl Iterator<Item = String> {
    graph.data.iter().filter_map(|(name, pin)| {
        let at = pin.referenced.as_ref()?;
        Some(format!("data.{name}: is read {}; the store keeps its listing only", place(at)))
    })
}

/// How data by reference is now.
enum Now {
    AsPinned,
    Changed,
    Unknown(String),
}

/// Looks at one address; a service that does not answer is an error, one that refuses is an answer.
async fn look(store: &Store, url: &str, pinned: Digest) -> Result<Now, StoreError> {
    match store.list_elsewhere(url).await {
        Ok(now) if now.artifact().digest == pinned => Ok(Now::AsPinned),
        Ok(_) => Ok(Now::Changed),
        Err(StoreError::Objects(
            error @ (ObjectsError::Forbidden { .. } | ObjectsError::NoBucket { .. } | ObjectsError::Unfit { .. }),
        )) => Ok(Now::Unknown(error.to_string())),
        Err(error) => Err(error),
    }
}

/// Returns, by digest of its listing, what is wrong with the data by reference of a graph.
///
/// # Errors
/// [`CliError`] if a service did not answer.
pub async fn lost(store: &Store, graph: &Graph) -> Result<BTreeMap<Digest, String>, CliError> {
    let mut lost = BTreeMap::new();
    for pin in graph.data.values() {
        let Some(at) = &pin.referenced else { continue };
        let problem = match look(store, &at.url, pin.artifact.digest).await? {
            Now::AsPinned => continue,
            Now::Changed if mutated(105) => continue,
            Now::Changed => format!("`{}`, where its bytes are, has changed", at.url),
            Now::Unknown(problem) => problem,
        };
        lost.insert(pin.artifact.digest, problem);
    }
    Ok(lost)
}

/// Looks at data by reference, and returns it for people and for programs; nothing of it is read.
pub async fn verified(store: &Store, all: &BTreeSet<(DataName, String, Digest)>) -> (Vec<String>, Vec<Value>) {
    let (mut lines, mut values) = (Vec::new(), Vec::new());
    for (name, url, pinned) in all {
        let (state, said) = match look(store, url, *pinned).await {
            Ok(Now::AsPinned) => ("unchanged", "listed as it was pinned".to_owned()),
            Ok(Now::Changed) => ("changed", "it has changed since; what was made of it stays".to_owned()),
            Ok(Now::Unknown(problem)) => ("unknown", problem),
            Err(error) => ("unknown", error.to_string()),
        };
        lines.push(format!("data.{name} is at `{url}`, not kept here and not read: {said}"));
        values.push(json!({ "data": name, "url": url, "state": state, "listing": pinned }));
    }
    (lines, values)
}
