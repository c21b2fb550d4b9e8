//! `prunella gc`: what nothing needs any more goes.

use async_trait::async_trait;
use clap::Args;
use prunella_attempt::{Budgets, close_dead, sweep_attempt};
use prunella_engine::Plan;
use prunella_journal::{Event, JournalError, RunStatus, Stamped, last_of_driver};
use prunella_model::{ByteSize, RunId, SlotId};
use prunella_objects::ObjectKey;
use prunella_store::{
    Caretaker, Collected, KeyView, Retention, Store, StoreError, Sum, Why,
    records::{Closed, StartRecord},
};
use serde_json::json;

use super::{reading, writing};
use crate::{
    answer::{note, say, say_json},
    args::Output,
    context::Context,
    error::CliError,
    present::{Line, Paint, Tone, columns, count},
};

/// Delete what no retained run, name, checkpoint or attempt needs.
///
/// Without `--apply` it only says what would go. Retained are the newest runs of every pipeline, every run that is not
/// finished, and what `get` shows without a run. Safe beside runs and other collections; one that is killed loses nothing.
#[derive(Debug, Args)]
pub struct Gc {
    /// How many runs of every pipeline to retain, the newest [default: 10].
    #[arg(long, value_name = "N", value_parser = at_least_one)]
    keep_runs: Option<usize>,

    /// Delete; without it nothing is changed.
    #[arg(long)]
    apply: bool,
}

/// How many runs of every pipeline are retained unless somebody says otherwise.
pub const KEPT: usize = 10;

fn at_least_one(text: &str) -> Result<usize, String> {
    text.parse().ok().filter(|n| *n > 0).ok_or_else(|| "write a number of at least 1".to_owned())
}

impl Gc {
    /// Runs.
    ///
    /// # Errors
    /// [`CliError`] if there is no store, it does not answer, or it holds what this program does not know.
    pub async fn run(&self, context: &Context) -> Result<u8, CliError> {
        let store = if self.apply { writing(context).await? } else { reading(context).await? };
        let runs = self.keep_runs.or(context.settings.keep_runs()).unwrap_or(KEPT);
        let retention = Retention { runs, ..Retention::default() };
        let caretaker = FromJournals { store: store.clone() };
        let collected = if self.apply {
            store.collect(&caretaker, &retention).await?
        } else {
            store.plan_collection(&caretaker, &retention).await?
        };
        match context.output {
            Output::Json => say_json(&as_json(&collected, self.apply))?,
            Output::Text => {
                say(&text(Paint::of(context), &collected, self.apply))?;
                let anything = collected.deleted.objects + collected.checkpoints + collected.pins > 0;
                if !self.apply && anything {
                    note("nothing was deleted: `prunella gc --apply` does it");
                }
            }
        }
        Ok(0)
    }
}

/// What the journals of the runs and the processes of this machine say.
struct FromJournals {
    store: Store,
}

#[async_trait]
impl Caretaker for FromJournals {
    async fn ended(&self, run: &RunId) -> Result<Option<u64>, StoreError> {
        let last = last_of_driver(&**self.store.objects(), run).await.map_err(|error| unreadable(run, error))?;
        Ok(match last {
            Some((driver, Stamped { event: Event::RunEnded { status }, .. })) => match status {
                RunStatus::Succeeded | RunStatus::Failed => Some(driver),
                // Whoever stopped it means to go on.
                RunStatus::Stopped => None,
            },
            Some(_) | None => None,
        })
    }

    async fn sweep(&self, slot: &SlotId, start: &StartRecord) -> bool {
        sweep_attempt(self.store.id(), slot, start)
    }

    async fn closing(&self, view: &KeyView, slot: &SlotId, start: &StartRecord) -> Result<Closed, StoreError> {
        let record = self.store.graph(&start.run).await?;
        let plan = Plan::build(record.graph.clone(), &record.targets).ok();
        let traits = plan.and_then(|plan| plan.index(&start.step).map(|step| plan.traits(step)));
        let traits = traits.unwrap_or_default();
        close_dead(&self.store, view, slot, start, &traits, false, &Budgets::Continue).await
    }
}

fn unreadable(run: &RunId, error: JournalError) -> StoreError {
    match error {
        JournalError::Objects { source, .. } => source.into(),
        other => match ObjectKey::new(format!("runs/{run}/journal")) {
            Ok(key) => StoreError::Record { key, problem: other.to_string() },
            Err(error) => error.into(),
        },
    }
}

fn why(why: Why) -> &'static str {
    match why {
        Why::Name => "current names",
        Why::Run => "retained runs",
        Why::Checkpoint => "checkpoints to go on from",
        Why::OpenAttempt => "running attempts",
        Why::Unreadable => "cannot be judged: something they belong to is damaged",
    }
}

fn text(paint: Paint, collected: &Collected, applied: bool) -> String {
    let (go, stay) = if applied { ("deleted", "kept") } else { ("would go", "would stay") };
    let line = |tone, what: &str, sum: Sum, of: &str| {
        Line(tone, vec![what.to_owned(), count(sum.objects, "object"), ByteSize(sum.bytes).to_string(), of.to_owned()])
    };
    let gone = [
        (collected.runs.len(), "run"),
        (collected.retired.len(), "commit"),
        (collected.checkpoints, "checkpoint"),
        (collected.pins, "pin"),
    ];
    let gone: Vec<String> = gone.into_iter().filter(|(n, _)| *n > 0).map(|(n, what)| count(n, what)).collect();
    let mut lines = vec![line(Tone::Strong, go, collected.deleted, &gone.join(", "))];
    lines.extend(collected.kept.iter().map(|(reason, sum)| line(Tone::Plain, stay, *sum, why(*reason))));
    let mut out = columns(paint, &lines);
    if !collected.closed.is_empty() {
        let word = if applied { "closed" } else { "would be closed" };
        out += &format!("{} of dead owners {word}\n", count(collected.closed.len(), "attempt"));
    }
    out
}

fn as_json(collected: &Collected, applied: bool) -> serde_json::Value {
    json!({
        "applied": applied,
        "runs": collected.runs,
        "commits": collected.retired.iter()
            .map(|slot| json!({ "key": slot.key.hex(), "epoch": slot.epoch.0 })).collect::<Vec<_>>(),
        "checkpoints": collected.checkpoints,
        "pins": collected.pins,
        "objects": collected.deleted.objects,
        "bytes": collected.deleted.bytes,
        "spared": collected.spared,
        "closed_attempts": collected.closed.len(),
        "open_attempts": collected.open.len(),
        "kept": collected.kept.iter().map(|(reason, sum)| json!({
            "why": reason, "objects": sum.objects, "bytes": sum.bytes,
        })).collect::<Vec<_>>(),
    })
}
