//! `prunella doctor`: what this machine can do for pipelines, and what it lacks.

use std::path::Path;

use clap::Args;
use serde_json::json;

use crate::{
    answer::{say, say_json},
    args::Output,
    checkup::Checkup,
    cloud::Service,
    context::Context,
    error::CliError,
    present::Paint,
    project::Place,
};

/// Check this machine: store, disk, memory, limits, tools, and which settings hold here.
///
/// Measures beside the store (or where it would be) and leaves nothing there. Exits 1 if something is wrong that runs
/// would stumble over.
#[derive(Debug, Args)]
pub struct Doctor {
    #[command(flatten)]
    service: Service,
}

impl Doctor {
    /// Runs.
    ///
    /// # Errors
    /// [`CliError`] only for an answer that cannot be written: what is wrong with the machine is in the answer.
    pub async fn run(&self, context: &Context) -> Result<u8, CliError> {
        let place = Place::of(context, Path::new("pipeline.yaml"));
        let checkup = Checkup::of(context, &place, &self.service).await;
        match context.output {
            Output::Json => say_json(&json!({
                "good": checkup.good(),
                "checks": checkup.checks,
                "settings": checkup.settings,
            }))?,
            Output::Text => say(&checkup.text(Paint::of(context)))?,
        }
        Ok(u8::from(!checkup.good()))
    }
}
