//! `prunella stop`: end a run in checkpoints, so that it can go on later.

use std::time::Duration;

use clap::Args;
use prunella_model::{RunId, Span};
use prunella_store::Store;
use serde_json::json;

use super::which_run;
use crate::{
    answer::{say, say_json},
    args::Output,
    condition::{self, Condition},
    context::Context,
    error::CliError,
    open,
    present::short,
    project::Place,
};

/// Stop a run so that it can go on later.
///
/// Its steps write checkpoints and end; `prunella resume` goes on. Waits until nothing of it runs. Exits 0 when nothing of it runs any more, 75 when the time to wait is over before.
#[derive(Debug, Args)]
pub struct Stop {
    /// The run, or the beginning of its id [default: the newest].
    run: Option<String>,

    /// Kill the steps instead of letting them write checkpoints.
    #[arg(long)]
    now: bool,

    /// How long to wait, such as `30s`; `0s` only asks [default: until it has stopped].
    #[arg(long, value_name = "TIME")]
    timeout: Option<Span>,
}

/// How long to wait before looking again.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

impl Stop {
    /// Runs.
    ///
    /// # Errors
    /// [`CliError`] if there is no such run, or the store cannot be written.
    pub async fn run(&self, context: &Context) -> Result<u8, CliError> {
        let place = Place::of(context, std::path::Path::new("pipeline.yaml"));
        // It must be there: stopping makes no store.
        drop(open::store_read_only(context, &place.store).await?);
        let store = open::store(context, &place.store).await?;
        let run = which_run(&store, self.run.as_deref()).await?;
        let (driver, before) = condition::now(&store, &run).await?;
        let Some(driver) = driver.filter(|_| before == Condition::Running) else {
            return self.answer(context, &run, before, "nothing of it was running");
        };
        store.ask_to_stop(&run, driver.number, self.now).await?;
        self.wait(context, &store, &run).await
    }

    async fn wait(&self, context: &Context, store: &Store, run: &RunId) -> Result<u8, CliError> {
        let clock = &context.sys.clock;
        let begun = clock.monotonic();
        loop {
            let (driver, condition) = condition::now(store, run).await?;
            let alive = driver.and_then(|driver| driver.alive);
            // Its last word is not yet its end: only when the process is gone may another engine go on.
            if condition != Condition::Running && alive != Some(true) {
                return self.answer(context, run, condition, "");
            }
            if self.timeout.is_some_and(|timeout| clock.monotonic().saturating_sub(begun) >= timeout.duration()) {
                let remark = if alive.is_some() { "it still runs" } else { "it still runs, on another machine" };
                let _not_stopped = self.answer(context, run, Condition::Running, remark)?;
                return Ok(75);
            }
            clock.sleep(LOOK_AGAIN).await;
        }
    }

    fn answer(&self, context: &Context, run: &RunId, is: Condition, remark: &str) -> Result<u8, CliError> {
        match context.output {
            Output::Json => say_json(&json!({ "run": run, "status": is, "running": is == Condition::Running }))?,
            Output::Text => {
                let remark = if remark.is_empty() { String::new() } else { format!(": {remark}") };
                let next = match is {
                    Condition::Stopped | Condition::Interrupted => {
                        format!("  next: prunella resume {}\n", short(run))
                    }
                    Condition::Running => "  it was asked to stop\n".to_owned(),
                    Condition::Succeeded | Condition::Failed => String::new(),
                };
                say(&format!("run {run} {}{remark}\n{next}", is.as_str()))?;
            }
        }
        Ok(0)
    }
}
