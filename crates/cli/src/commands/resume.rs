//! `prunella resume`: go on with a run.

use clap::Args;
use prunella_engine::Again;

use super::run::{How, drive_run};
use crate::{context::Context, error::CliError, open, project::Place};

/// Go on with an interrupted or failed run.
#[derive(Debug, Args)]
pub struct Resume {
    /// The run; default the newest.
    run: Option<String>,

    #[command(flatten)]
    how: How,

    /// Refill all budgets of retries.
    #[arg(long)]
    reset_budgets: bool,
}

impl Resume {
    /// Runs.
    ///
    /// # Errors
    /// [`CliError`] with what went wrong.
    pub async fn run(&self, context: &Context) -> Result<u8, CliError> {
        let place = Place::of(context, std::path::Path::new("pipeline.yaml"));
        // It must be there: resuming makes no store.
        drop(open::store_read_only(context, &place.store).await?);
        let store = open::store(context, &place.store).await?;
        let run = super::which_run(&store, self.run.as_deref()).await?;
        let record = store.graph(&run).await?;
        let again = Again { reset_budgets: self.reset_budgets, ..Again::default() };
        drive_run(context, store, &place, run, &record, &self.how, again).await
    }
}
