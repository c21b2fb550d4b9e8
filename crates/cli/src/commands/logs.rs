//! `prunella logs`: what a step wrote, also of attempts and runs that are gone.

use std::time::Duration;

use clap::Args;
use prunella_attempt::{LogLine, decode_log};
use prunella_engine::look_request;
use prunella_journal::read_all;
use prunella_model::{Epoch, Item, RunId, SlotId, StepAddress, StepId, StepKey};
use prunella_process::Stream;
use prunella_store::{Layout, Store, records::End};
use serde_json::json;

use super::{reading, run_and_step, without_attempt};
use crate::{
    answer::{note, say_bytes, say_json_line},
    args::Output,
    condition::{self, Condition},
    context::Context,
    error::CliError,
    history,
    present::{Paint, Tone, short},
};

/// Show what a step wrote.
///
/// Of its newest attempt in the newest run, or of the run and attempt that are named; also when they are long gone.
#[derive(Debug, Args)]
pub struct Logs {
    /// The step, or one of its attempts; before it a run, or the beginning of its id.
    #[arg(value_name = "[RUN] STEP[@ATTEMPT]", required = true, num_args = 1..=2)]
    words: Vec<String>,

    /// Go on with what is written, also by the attempts that follow, until the step or the run ends.
    #[arg(long, short)]
    follow: bool,

    /// Only what was written to standard output.
    #[arg(long, conflicts_with = "stderr")]
    stdout: bool,

    /// Only what was written to standard error.
    #[arg(long)]
    stderr: bool,

    /// The bytes as they were written; exact with `--stdout` or `--stderr`.
    #[arg(long, conflicts_with = "timestamps")]
    raw: bool,

    /// Put the time since the attempt's start before every line.
    #[arg(long, short)]
    timestamps: bool,
}

/// Where an attempt's output lies.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Captured {
    run: RunId,
    step: StepId,
    epoch: Epoch,
    key: Option<StepKey>,
}

/// How long to wait before looking for more.
const LOOK_AGAIN: Duration = Duration::from_millis(200);

impl Logs {
    /// Runs.
    ///
    /// # Errors
    /// [`CliError`] if there is no such attempt, or the store does not answer.
    pub async fn run(&self, context: &Context) -> Result<u8, CliError> {
        let store = reading(context).await?;
        let (words, epoch) = without_attempt(&self.words)?;
        let (run, step) = run_and_step(&store, &words).await?;
        let mut shown: Option<Captured> = None;
        let mut after = None;
        loop {
            // An attempt that is open is the newest: no need to look for another.
            let open = match &shown {
                Some(shown) => is_open(&store, shown).await?,
                None => false,
            };
            let found = if open { shown.clone() } else { find(&store, &run, &step, epoch).await? };
            // Whether it goes on is asked before the last look, so that nothing is missed.
            let goes_on = self.follow && goes_on(&store, &run, found.as_ref(), epoch.is_some()).await?;
            if let Some(found) = &found {
                if shown.as_ref() != Some(found) {
                    if shown.is_some() {
                        note(&format!("── {}@{}", found.step, found.epoch));
                    }
                    (shown, after) = (Some(found.clone()), None);
                }
                self.show(context, &store, found, &mut after).await?;
            }
            if !goes_on {
                break;
            }
            context.sys.clock.sleep(LOOK_AGAIN).await;
        }
        match shown {
            None => {
                let what = epoch.map_or_else(|| format!("`{step}`"), |epoch| format!("`{step}@{epoch}`"));
                let hint = format!("`prunella explain {} {step}` shows its attempts", short(&run));
                return Err(CliError::Usage(format!("{what} has not run in run {run}"), Some(hint)));
            }
            Some(shown) if after.is_none() && context.output == Output::Text => {
                note(&format!("{}@{} wrote nothing", shown.step, shown.epoch));
            }
            Some(_) => {}
        }
        Ok(0)
    }

    /// Shows what is there behind `after`.
    async fn show(
        &self,
        context: &Context,
        store: &Store,
        captured: &Captured,
        after: &mut Option<String>,
    ) -> Result<(), CliError> {
        const PAGE: usize = 64;
        let prefix = Layout::logs(&captured.run, &captured.step, captured.epoch);
        let paint = Paint::of(context);
        loop {
            let listed = store.objects().list(&prefix, after.as_deref(), PAGE).await?;
            let full = listed.len() == PAGE;
            for piece in listed {
                let bytes = store.objects().get(&piece.key).await?.unwrap_or_default();
                let mut out = Vec::with_capacity(bytes.len());
                for line in decode_log(&bytes).iter().filter(|line| self.wants(line.stream)) {
                    match context.output {
                        Output::Json => say_json_line(&json!({
                            "attempt": captured.epoch.0,
                            "at_ms": line.at_ms,
                            "stream": if line.stream == Stream::Stdout { "stdout" } else { "stderr" },
                            "text": String::from_utf8_lossy(&line.bytes),
                            "goes_on": line.goes_on,
                        }))?,
                        Output::Text => self.line(paint, line, &mut out),
                    }
                }
                say_bytes(&out)?;
                *after = Some(piece.key.to_string());
            }
            if !full {
                return Ok(());
            }
        }
    }

    fn line(&self, paint: Paint, line: &LogLine, out: &mut Vec<u8>) {
        if self.raw {
            out.extend_from_slice(&line.bytes);
            if !line.goes_on {
                out.push(b'\n');
            }
            return;
        }
        if self.timestamps {
            let at = format!("{:>9.3} ", line.at_ms as f64 / 1000.0);
            out.extend_from_slice(paint.tone(Tone::Dim, &at).as_bytes());
        }
        match line.stream {
            Stream::Stdout => out.extend_from_slice(&line.bytes),
            Stream::Stderr => {
                out.extend_from_slice(paint.tone(Tone::Busy, &String::from_utf8_lossy(&line.bytes)).as_bytes());
            }
        }
        out.push(b'\n');
    }

    fn wants(&self, stream: Stream) -> bool {
        match stream {
            Stream::Stdout => !self.stderr,
            Stream::Stderr => !self.stdout,
        }
    }
}

async fn is_open(store: &Store, captured: &Captured) -> Result<bool, CliError> {
    let Some(key) = captured.key else { return Ok(false) };
    Ok(store.end_of(&SlotId { key, epoch: captured.epoch }).await?.is_none())
}

/// Returns whether more may come: the attempt is open, or (unless one was named) another may follow.
async fn goes_on(store: &Store, run: &RunId, found: Option<&Captured>, named: bool) -> Result<bool, CliError> {
    let driven = condition::now(store, run).await?.1 == Condition::Running;
    let Some(Captured { epoch, key: Some(key), .. }) = found else { return Ok(driven && !named) };
    let slot = SlotId { key: *key, epoch: *epoch };
    Ok(match store.end_of(&slot).await?.map(|record| record.end) {
        // An attempt of `exec`, or of another run, has an owner of its own.
        None => {
            driven || store.start_of(&slot).await?.is_some_and(|start| store.owner_gone(&start.owner) == Some(false))
        }
        Some(End::Committed(_)) => false,
        Some(End::Closed(_)) => driven && !named,
    })
}

/// Returns where the output of an attempt lies: that of `epoch`, or of the newest attempt in this run.
async fn find(store: &Store, run: &RunId, step: &StepId, epoch: Option<Epoch>) -> Result<Option<Captured>, CliError> {
    let captured = |epoch, key| Captured { run: run.clone(), step: step.clone(), epoch, key };
    let events = read_all(&**store.objects(), run).await?.events;
    let attempts = history::attempts(&events, step);
    // An attempt of `exec` is in no journal; what it wrote lies with the run all the same.
    let written = epochs(store, run, step).await?;
    let attempt = match epoch {
        None => {
            let newest = written.last();
            let told = |epoch: &Epoch| attempts.iter().any(|attempt| attempt.slot.epoch >= *epoch);
            attempts.last().filter(|_| newest.is_none_or(told))
        }
        Some(epoch) => attempts.iter().rev().find(|attempt| attempt.slot.epoch == epoch),
    };
    if let Some(attempt) = attempt {
        return Ok(Some(captured(attempt.slot.epoch, Some(attempt.slot.key))));
    }
    let key = match history::keys(&events, step).last() {
        Some(key) => Some(*key),
        None => match store.binding(run, step).await? {
            Some(slot) => Some(slot.key),
            None => {
                let address = StepAddress { name: step.name.clone(), item: step.item.as_ref().map(Item::label) };
                look_request(store, run, &address, &[]).await.ok().map(|request| request.key)
            }
        },
    };
    let newest = match epoch {
        None => written.last().copied(),
        Some(epoch) => written.contains(&epoch).then_some(epoch),
    };
    if let Some(epoch) = newest {
        return Ok(Some(captured(epoch, key)));
    }
    // The commit of another run stands for the step: its output lies there.
    let slot = match (epoch, store.binding(run, step).await?, key) {
        (None, slot, _) => slot,
        (Some(epoch), Some(slot), _) => Some(SlotId { key: slot.key, epoch }),
        (Some(epoch), None, key) => key.map(|key| SlotId { key, epoch }),
    };
    let Some(slot) = slot else { return Ok(None) };
    let start = store.start_of(&slot).await?;
    Ok(start.map(|start| Captured { run: start.run, step: start.step, epoch: slot.epoch, key: Some(slot.key) }))
}

/// Returns the attempts whose output lies with the run, the newest last.
async fn epochs(store: &Store, run: &RunId, step: &StepId) -> Result<Vec<Epoch>, CliError> {
    let first = Layout::logs(run, step, Epoch(0));
    let prefix = first.trim_end_matches('/').rsplit_once('/').map_or("", |(above, _)| above);
    let listed = store.objects().list(&format!("{prefix}/"), None, usize::MAX).await?;
    let mut found: Vec<Epoch> = listed
        .iter()
        .filter_map(|piece| piece.key.as_str().rsplit('/').nth(1))
        .filter_map(|epoch| u64::from_str_radix(epoch, 16).ok().map(Epoch))
        .collect();
    found.sort_unstable();
    found.dedup();
    Ok(found)
}
