//! `prunella validate`: all mistakes of a pipeline file at once.

use std::path::PathBuf;

use clap::Args;
use prunella_manifest::{json_schema, to_json};
use prunella_model::StepName;
use serde_json::json;

use crate::{
    answer::{say, say_json},
    args::Output,
    context::Context,
    error::CliError,
    present::{count, path},
    project::{Place, read},
};

/// Check a pipeline file.
///
/// Reports all mistakes at once. Reads the file and looks at the data and code that it names; runs nothing and changes nothing. Exits 0 if the file is
/// good (warnings allowed), 2 if not.
#[derive(Debug, Args)]
pub struct Validate {
    /// The pipeline file, or its directory [default: ./pipeline.yaml].
    pub file: Option<PathBuf>,

    /// Set a parameter.
    #[arg(long = "set", value_name = "NAME=VALUE")]
    set: Vec<String>,

    /// Print the JSON Schema of pipeline files instead, for editors.
    #[arg(long)]
    schema: bool,
}

impl Validate {
    /// Runs.
    ///
    /// # Errors
    /// [`CliError::Diagnostics`] with all mistakes.
    pub fn run(&self, context: &Context) -> Result<u8, CliError> {
        if self.schema {
            say_json(&json_schema())?;
            return Ok(0);
        }
        let place = Place::named(context, self.file.as_deref());
        let found = match (read(context, &place, &self.set), context.output) {
            (Err(CliError::Diagnostics { json, .. }), Output::Json) => {
                say_json(&json!({ "valid": false, "diagnostics": json }))?;
                return Ok(2);
            }
            (found, _) => found?,
        };
        let steps: Vec<&str> = found.pipeline.steps.keys().map(StepName::as_str).collect();
        match context.output {
            Output::Json => say_json(&json!({
                "valid": true,
                "pipeline": found.pipeline.name,
                "steps": steps,
                "diagnostics": to_json(&found.warnings),
            }))?,
            Output::Text => say(&format!(
                "{}: no mistakes; pipeline `{}` with {}\n",
                path(&place.file),
                found.pipeline.name,
                count(steps.len(), "step")
            ))?,
        }
        Ok(0)
    }
}
