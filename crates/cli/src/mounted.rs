//! What people are told of data that is mounted.

use std::{collections::BTreeMap, path::Path};

use prunella_model::{ByteSize, Digest, Graph};
use prunella_store::{Remembered, measure};
use prunella_sys::Sys;

/// Returns the line that says that steps could write to mounted data.
pub fn unprotected(why: &str) -> String {
    format!(
        "steps could write to mounted data, which this machine does not let us make read-only ({why}); what is changed is found, \
         and then nothing is committed"
    )
}

/// Returns what is said before anything runs of each data set that is mounted.
pub fn notes(graph: &Graph) -> impl Iterator<Item = String> {
    graph.data.iter().filter_map(|(name, pin)| {
        let (path, size) = (pin.mounted.as_deref()?, ByteSize(pin.artifact.size_bytes));
        Some(format!("data.{name}: is read where it lies, `{path}` ({size}); the store does not keep it"))
    })
}

/// Returns, by digest, what is wrong with the mounted data of a graph; digests are remembered below `digests`.
pub fn lost(sys: &Sys, graph: &Graph, digests: &Path) -> BTreeMap<Digest, String> {
    let lost = graph.data.values().filter_map(|pin| {
        let path = pin.mounted.as_deref()?;
        let now = std::fs::canonicalize(path).map_err(|error| error.to_string());
        let now =
            now.and_then(|real| measure(sys, &real, digests, Remembered::Used).map_err(|error| error.to_string()));
        let problem = match now {
            Ok(now) if now.artifact == pin.artifact => return None,
            Ok(now) => format!("`{path}`, where it is mounted from, is {} now", now.artifact.digest.short()),
            Err(error) => format!("`{path}`, where it is mounted from: {error}"),
        };
        Some((pin.artifact.digest, problem))
    });
    lost.collect()
}
