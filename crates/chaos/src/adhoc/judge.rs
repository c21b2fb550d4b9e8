//! What a reader could see that is not what the undisturbed run made.

use std::collections::{BTreeMap, BTreeSet};

use prunella_model::Digest;

use super::script::Line;
use crate::subject::contents;

/// Returns the files that are published now and are other than `expected`, which has them by path.
///
/// What is not there yet is no mistake, nor is a publication that is being written beside its place.
pub fn torn(expected: &BTreeMap<String, Digest>, there: &BTreeMap<String, Digest>) -> Vec<String> {
    let unfinished = |path: &str| path.split('/').any(|part| part.starts_with("tmp-") && part.ends_with(".part"));
    let wrong = there.iter().filter(|(path, is)| expected.get(*path) != Some(is) && !unfinished(path));
    wrong.map(|(path, _)| path.clone()).collect()
}

/// Returns the outputs of a step that are other than they should be.
pub(super) fn wrong_outputs(line: &Line) -> BTreeSet<String> {
    let wrong = line.expected.iter().filter(|(name, expected)| **expected != contents(&line.outputs[*name]));
    wrong.map(|(name, _)| format!("{}.{name}", line.step)).collect()
}
