//! Text to model and model to text, with every mistake as a diagnostic at its place.
//!
//! [`read_source`] takes the bytes of a pipeline file, [`read`] makes a [`prunella_model::Pipeline`] of them or says
//! everything that is wrong at once. Pure: what is on the disk is asked through [`Files`].
//! The reference for users is `docs/pipeline.md`; [`json_schema`] is the same for editors.

mod access;
mod conditions;
mod cycles;
mod diagnostic;
mod elsewhere;
mod for_each;
mod handlers;
mod include;
mod items;
mod later;
mod machine;
mod nearest;
mod params;
mod pipeline;
mod policy;
mod ports;
mod project;
mod publish;
mod reader;
mod references;
mod render;
mod scalar;
mod schema;
#[cfg(test)]
mod schema_agrees;
mod section;
mod source;
mod step;
mod tree;
mod units;

use prunella_model::Pipeline;

pub use diagnostic::{Diagnostic, Severity, SourceSpan, to_json};
pub use params::Overrides;
pub use project::{
    Cluster, Defaults, Effect, Engine, Gpus, Inject, LEAST_TRANSFER_MEMORY, MAX_PROJECT_BYTES, NoticesOf, Placed,
    ProjectFile, Target, Telemetry, Toleration, TransferLimits, project_source, read_project,
};
pub use render::render;
pub use schema::json_schema;
pub use source::{MAX_SOURCE_BYTES, Source, read_source};

/// What a path is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FileKind {
    /// A regular file, also behind a symbolic link.
    File,
    /// A directory, also behind a symbolic link.
    Directory,
    /// Anything else: a device, a socket, a pipe.
    Other,
}

/// What stands in the directory of the pipeline file.
pub trait Files {
    /// Returns what is at a path relative to the pipeline file's directory; nothing if there is nothing.
    fn kind(&self, relative: &str) -> Option<FileKind>;

    /// Returns the bytes of a file to include; nothing if it is not there or cannot be read.
    fn read(&self, relative: &str) -> Option<Vec<u8>> {
        let _ = relative;
        None
    }

    /// Returns how many files match a pattern of code.
    fn glob_matches(&self, pattern: &str) -> usize;
}

/// A pipeline, and what is probably wrong with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Read {
    /// The pipeline, every default resolved.
    pub pipeline: Pipeline,
    /// What was probably not meant.
    pub warnings: Vec<Diagnostic>,
}

/// Returns the pipeline that `source` describes, with `overrides` laid over its parameters.
///
/// Never panics and takes time and memory in proportion to the source, whatever is in it.
///
/// # Errors
/// All mistakes of the file and of the overrides (up to 1000), in the order of the file; warnings are among them.
pub fn read(source: &Source, overrides: &Overrides, files: &dyn Files) -> Result<Read, Vec<Diagnostic>> {
    let mut found = diagnostic::Found::default();
    if let Some(diagnostic) = source::too_large(&source.name, source.text.len()) {
        return Err(vec![diagnostic]);
    }
    let gathered = include::gather(source, files, &mut found);
    let places = source::Places::new(&gathered.sources);
    let Some(tree) = include::parse(&gathered, &places, &mut found) else {
        return Err(found.finish(&places));
    };
    let mut reader = reader::Reader::new(&tree, &places, files, found);
    let pipeline = reader.pipeline(overrides);
    let (failed, diagnostics) = (reader.found.has_errors(), reader.found.finish(&places));
    match pipeline {
        Some(pipeline) if !failed => Ok(Read { pipeline, warnings: diagnostics }),
        _ => Err(diagnostics),
    }
}
