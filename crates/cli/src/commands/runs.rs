//! `prunella runs`: the runs of a store.

use clap::Args;
use prunella_engine::glance;
use prunella_journal::Glance;
use prunella_store::RunListed;
use serde_json::{Value, json};

use super::reading;
use crate::{
    answer::{note, say, say_json},
    args::Output,
    condition::{self, Condition},
    context::Context,
    error::CliError,
    present::{Line, Paint, Tone, columns, lasting, moment},
};

/// List the runs in the store, the newest first.
#[derive(Debug, Args)]
pub struct Runs {
    /// List all of them, not only the newest 20.
    #[arg(long)]
    all: bool,
}

const SHOWN: usize = 20;

struct Shown {
    listed: RunListed,
    condition: Condition,
    glance: Glance,
}

impl Runs {
    /// Runs.
    ///
    /// # Errors
    /// [`CliError`] if there is no store, or it does not answer.
    pub async fn run(&self, context: &Context) -> Result<u8, CliError> {
        let store = reading(context).await?;
        let mut runs = store.runs().await?;
        runs.sort_by_key(|run| std::cmp::Reverse((run.at_ms, run.order)));
        let left_out = if self.all { 0 } else { runs.len().saturating_sub(SHOWN) };
        runs.truncate(runs.len() - left_out);
        let mut shown = Vec::new();
        for listed in runs {
            let glance = glance(&store, &listed.run).await?;
            let (_, condition) = condition::of(&store, &listed.run, glance.ended).await?;
            shown.push(Shown { listed, condition, glance });
        }
        match context.output {
            Output::Json => say_json(&json!({ "runs": shown.iter().map(as_json).collect::<Vec<_>>() }))?,
            Output::Text if shown.is_empty() => note("no run yet: begin one with `prunella run`"),
            Output::Text => {
                say(&text(Paint::of(context), &shown))?;
                if left_out > 0 {
                    note(&format!("{left_out} older ones: `prunella runs --all`"));
                }
            }
        }
        Ok(0)
    }
}

fn as_json(shown: &Shown) -> Value {
    json!({
        "run": shown.listed.run,
        "pipeline": shown.listed.pipeline,
        "number": shown.listed.order,
        "status": shown.condition,
        "started_at_ms": shown.listed.at_ms,
        "duration_ms": shown.glance.wall.as_millis(),
        "interruptions": shown.glance.interruptions,
        "healed": shown.glance.healed,
    })
}

fn text(paint: Paint, shown: &[Shown]) -> String {
    let words = ["status", "run", "pipeline", "started", "driven for", "healed"];
    let mut lines = vec![Line(Tone::Dim, words.map(str::to_owned).to_vec())];
    lines.extend(shown.iter().map(|one| {
        let tone = match one.condition {
            Condition::Succeeded => Tone::Good,
            Condition::Failed => Tone::Bad,
            Condition::Running | Condition::Interrupted | Condition::Stopped => Tone::Busy,
        };
        let healed = match one.glance.interruptions {
            0 => String::new(),
            n => format!("{} of {n}", one.glance.healed),
        };
        Line(
            tone,
            vec![
                one.condition.as_str().to_owned(),
                one.listed.run.to_string(),
                format!("{} #{}", one.listed.pipeline, one.listed.order),
                moment(one.listed.at_ms),
                lasting(one.glance.wall.as_millis()),
                healed,
            ],
        )
    }));
    columns(paint, &lines)
}
