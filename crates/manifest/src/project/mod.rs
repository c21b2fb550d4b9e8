//! The project file, `prunella.toml`: what commands on this machine do unless they are told otherwise, and the targets
//! on which the pipelines of a project may run.
//!
//! [`read_project`] says everything that is wrong at once. What commands make of it is theirs; the reference for users is
//! `docs/configuration.md`.

mod defaults;
mod hand;
mod kubernetes;
mod targets;
mod telemetry;
mod transfers;

use std::collections::BTreeMap;

use toml::{Spanned, de::DeTable};

pub use defaults::{Defaults, Gpus, NoticesOf, Placed};
pub use targets::{Cluster, Effect, Engine, Inject, Target, Toleration};
pub use telemetry::Telemetry;
pub use transfers::{LEAST_TRANSFER_MEMORY, TransferLimits};

use crate::{Diagnostic, Source, diagnostic::clip, read_source, section::Section};
use hand::Hand;

/// The most bytes that a project file may have.
pub const MAX_PROJECT_BYTES: usize = 1 << 20;

/// What a project file says.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ProjectFile {
    /// What commands do unless they are told otherwise.
    pub defaults: Defaults,
    /// What limits transfers to and from buckets.
    pub transfers: TransferLimits,
    /// Who is told of runs while they go on.
    pub telemetry: Telemetry,
    /// Where pipelines of the project may run, by name.
    pub targets: BTreeMap<String, Target>,
}

const PROJECT: Section = Section { name: "a project file", keys: &["defaults", "transfers", "telemetry", "targets"] };

/// Returns the bytes of a project file as a source; it may be empty.
///
/// # Errors
/// One diagnostic if it is larger than [`MAX_PROJECT_BYTES`] or not UTF-8.
pub fn project_source(name: &str, bytes: Vec<u8>) -> Result<Source, Vec<Diagnostic>> {
    match bytes.len() {
        0 => Ok(Source { name: name.to_owned(), text: String::new() }),
        n if n > MAX_PROJECT_BYTES => {
            let message = format!("`{name}` has {n} bytes; a project file has at most {MAX_PROJECT_BYTES} (1 MiB)");
            Err(vec![Diagnostic::new("too-large", None, message, None)])
        }
        _ => read_source(name, bytes),
    }
}

/// Returns what `source` says.
///
/// # Errors
/// All mistakes (up to 1000), in the order of the file. In a file that is no TOML only what makes it none.
pub fn read_project(source: &Source) -> Result<ProjectFile, Vec<Diagnostic>> {
    let mut hand = Hand::new(source);
    let (document, errors) = DeTable::parse_recoverable(&source.text);
    if !errors.is_empty() {
        for error in errors {
            let at = error.span().unwrap_or(0..0);
            hand.error("syntax", &at, clip(error.message())).help("the file is TOML 1.1: https://toml.io");
        }
        return Err(hand.finish());
    }
    let file = project(&mut hand, &document);
    if hand.has_errors() { Err(hand.finish()) } else { Ok(file) }
}

fn project(hand: &mut Hand<'_>, document: &Spanned<DeTable<'_>>) -> ProjectFile {
    let mut file = ProjectFile::default();
    for (key, value) in hand.known(document.get_ref(), &PROJECT) {
        match key {
            "defaults" => file.defaults = defaults::defaults(hand, value),
            "transfers" => file.transfers = transfers::transfers(hand, value),
            "telemetry" => file.telemetry = telemetry::telemetry(hand, value),
            _ => file.targets = targets::targets(hand, value),
        }
    }
    file
}

#[cfg(test)]
mod tests;
