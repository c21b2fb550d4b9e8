//! `prunella exec`: one attempt by itself, as a pod runs it.

use std::{sync::Arc, time::Duration};

use clap::Args;
use prunella_attempt::{Control, Failure, Request, RestoreFrom, Success, Told, Verdict, attempt};
use prunella_engine::{Upstream, do_effects, effects_of, exec_request};
use prunella_healing::{
    Evidence, ExitCode, JitterSeed, Remedy, Restore, Spent, Traits, backoff, exit_code, limit_of, memory_for, remedy,
    restore_point, root_cause,
};
use prunella_model::{
    Backoff, Class, Digest, Epoch, NameError, RunId, SlotId, Span, Step, StepAddress, StepId, StepKey, StepName,
};
use prunella_objects::Created;
use prunella_process::Stream;
use prunella_store::{
    KeyView, Layout, Store,
    records::{AliveRecord, Closed, End, EndRecord},
};
use serde_json::json;
use tokio::sync::watch;

use crate::{
    answer::{note, say, say_json},
    args::Output,
    cloud::Notices,
    context::Context,
    error::CliError,
    evidence::in_words,
    mounted::unprotected,
    open, present,
    project::Place,
    signals,
};

/// Run one attempt of a step, as a pod does.
///
/// Exit codes: 0 committed or reused; 75 start another attempt; 77 start the next rung (more memory, on-demand); 78 do
/// not try again; 79 an upstream artifact is damaged: run the graph again; others are the step's own.
#[derive(Debug, Args)]
pub struct Exec {
    /// The run; it must be there.
    #[arg(long)]
    run: RunId,

    /// The step, or one item of it: STEP:ITEM.
    #[arg(long, value_name = "STEP")]
    step: StepAddress,

    /// Which commit stands for a step that this one needs [default: the run's].
    #[arg(long, value_name = "STEP=KEY@ATTEMPT", value_parser = upstream)]
    upstream: Vec<Upstream>,

    /// The orchestrator's number of this try, from 0: a higher one knows that the lower ones are gone.
    #[arg(long, value_name = "N")]
    retry_index: Option<u64>,

    /// A higher number than this is refused without asking the store.
    #[arg(long, value_name = "N", default_value_t = 1000)]
    max_retry_index: u64,

    /// Close a live attempt of the same work instead of waiting for it.
    #[arg(long)]
    take_over: bool,

    #[command(flatten)]
    notices: Notices,
}

fn upstream(text: &str) -> Result<Upstream, String> {
    let wanted = "write STEP=KEY@ATTEMPT with a key of 64 hex digits";
    // The label of an item may have a `=` in it.
    let (step, slot) = text.rsplit_once('=').ok_or(wanted)?;
    let (key, epoch) = slot.split_once('@').ok_or(wanted)?;
    Ok(Upstream {
        step: step.parse().map_err(|error: NameError| error.to_string())?,
        slot: SlotId {
            key: StepKey(Digest::from_hex(key).map_err(|error| error.to_string())?),
            epoch: Epoch(epoch.parse().map_err(|_| wanted)?),
        },
    })
}

/// Attempts that lived shorter than this without a newer checkpoint make the next one wait.
const SHORT: u64 = 10_000;
const WAITS: Backoff = Backoff { first: Span::from_secs(1), most: Span::from_secs(300) };

impl Exec {
    /// Runs.
    ///
    /// # Errors
    /// None: whatever goes wrong has one of the exit codes that orchestrators know.
    pub async fn run(&self, context: &Context) -> Result<u8, CliError> {
        Ok(match self.attempt(context).await {
            Ok(code) => code,
            Err(error) => match (error.report(context.output), &error) {
                // Wrong input stays wrong: trying again is useless.
                (2, _) => ExitCode::USELESS.number(),
                // A lost reader of the output says nothing about the attempt.
                (_, CliError::Closed) => ExitCode::AGAIN.number(),
                (code, _) => code,
            },
        })
    }

    async fn attempt(&self, context: &Context) -> Result<u8, CliError> {
        if self.retry_index.is_some_and(|index| index > self.max_retry_index) {
            let index = self.retry_index.unwrap_or_default();
            let problem = format!("this is try {index}, more than {} are not made", self.max_retry_index);
            return Err(CliError::Refused(problem, Some("raise it with `--max-retry-index`".to_owned())));
        }
        let place = Place::of(context, std::path::Path::new("pipeline.yaml"));
        // It must be there: an attempt makes no store.
        drop(open::store_read_only(context, &place.store).await?);
        let store = open::store(context, &place.store).await?;
        let mut request = exec_request(&store, &self.run, &self.step, &self.upstream, self.retry_index).await?;
        request.take_over = self.take_over;
        let steps = &request.graph.graph.pipeline.steps;
        let spec = steps.get(&self.step.name).expect("the request is of a step of this graph").clone();
        let view = store.look(&request.key).await?;
        heal(&mut request, &spec, &view);
        let (words, mut control) = signals::listen(|_| {}).map_err(CliError::io("signals"))?;
        let _watching = self.notices.watch(context, words, note);
        let wait = short_lived(&store, &view, &request).await?;
        if !wait.is_zero() {
            note(&format!("waiting {}: the attempts before lived only briefly", present::lasting(millis(wait))));
            tokio::select! {
                () = context.sys.clock.sleep(wait) => {}
                // Nothing was claimed: another attempt may start.
                _ = control.wait_for(Control::ends) => return Ok(ExitCode::AGAIN.number()),
            }
        }
        let verdict = self.carry_out(context, store.clone(), &place, &request, control).await?;
        // Whatever the exit code says is durable (I9).
        store.sync().await?;
        self.follow(context, &store, &request, &spec, verdict).await
    }

    async fn carry_out(
        &self,
        context: &Context,
        store: Store,
        place: &Place,
        request: &Request,
        control: watch::Receiver<Control>,
    ) -> Result<Verdict, CliError> {
        let this = |step: &StepName| *step == request.step.name;
        let host = open::host(context, store, &place.local, &place.base, &request.graph.graph, this).await?;
        let json = context.output == Output::Json;
        let tell = Arc::new(move |told: Told| match told {
            Told::Line { stream: Stream::Stdout, text } if !json => {
                let _nobody_reads = say(&format!("{text}\n"));
            }
            Told::Line { text, .. } => note(&text),
            Told::Waiting { slot, holder } => note(&format!("waiting for attempt {slot} of run {holder}")),
            Told::Restored { checkpoint, .. } => note(&format!("back at checkpoint {checkpoint}")),
            Told::CheckpointSkipped { checkpoint, problem } => {
                note(&format!("checkpoint {checkpoint} is not used: {problem}"));
            }
            Told::SnapshotSkipped { entry, why } => note(&format!("`{entry}` is not taken: {why}")),
            Told::IntervalChosen { every_ms, why } => {
                note(&format!("a checkpoint every {}: {why}", present::lasting(every_ms)));
            }
            Told::Noticed { source, grace_ms } => {
                note(&format!("notice from `{source}`, {} left", present::lasting(grace_ms)));
            }
            Told::Unprotected { why } => note(&unprotected(&why)),
            Told::NotCopied { store, why } => note(&open::not_read_from(&store, &why)),
            Told::Claimed { .. }
            | Told::Started { .. }
            | Told::Progress { .. }
            | Told::Taken { .. }
            | Told::Durable { .. }
            | Told::Storing
            | Told::Moving { .. } => {}
        });
        let verdict = attempt(&host, request, control, tell).await;
        let sockets = host.sockets.clone();
        host.guardian.stop().await;
        let _left_over = context.sys.fs.remove_dir_all(&sockets);
        Ok(verdict)
    }

    async fn follow(
        &self,
        context: &Context,
        store: &Store,
        request: &Request,
        spec: &Step,
        verdict: Verdict,
    ) -> Result<u8, CliError> {
        let mut answer = json!({ "run": self.run, "step": request.step.to_string(), "key": request.key.hex() });
        let (word, line, code) = match verdict {
            Verdict::Committed(success) => self.bound(store, request, &success, "committed").await?,
            Verdict::Reused(success) => self.bound(store, request, &success, "reused").await?,
            Verdict::Fenced(slot) => ("fenced", format!("attempt {slot} was closed by another"), ExitCode::AGAIN),
            Verdict::Failed(failure) => {
                answer["class"] = failure.class.as_str().into();
                answer["evidence"] = json!(failure.evidence);
                self.failed(store, request, spec, &failure).await?
            }
        };
        answer["outcome"] = word.into();
        answer["code"] = code.number().into();
        match context.output {
            Output::Json => say_json(&answer)?,
            Output::Text => note(&line),
        }
        Ok(code.number())
    }

    async fn bound(
        &self,
        store: &Store,
        request: &Request,
        success: &Success,
        word: &'static str,
    ) -> Result<(&'static str, String, ExitCode), CliError> {
        let binding = bind(store, &request.run, &request.step, success.slot).await?;
        let name = present::attempt(&request.step, &success.slot);
        if let Some((problem, code)) = self.effects(store, request, success.slot, binding).await? {
            return Ok((word, format!("{word}: {name}, but {problem}"), code));
        }
        Ok((word, format!("{word}: {name} ({}@{})", request.key.hex(), success.slot.epoch), ExitCode::DONE))
    }

    /// Sees to it that what the step does to the outside is done; answers what could not be done.
    async fn effects(
        &self,
        store: &Store,
        request: &Request,
        slot: SlotId,
        binding: u64,
    ) -> Result<Option<(String, ExitCode)>, CliError> {
        let effects = effects_of(store, &request.run, &request.graph, &request.step, slot, binding).await?;
        let Err(trouble) = do_effects(store, &store.this_owner(None), effects, false).await else { return Ok(None) };
        let failed = store.effect_failed(&trouble.effect, &trouble.why()).await?;
        let spec = request.graph.graph.pipeline.steps.get(request.step.name.as_str());
        let limit = spec.and_then(|spec| limit_of(&spec.retry, &Traits::of(spec), Class::Effect)).unwrap_or(0);
        let useless = trouble.is_hopeless() || failed > limit;
        store.sync().await?;
        let what = format!("`{}` could not be published: {}", trouble.effect.output, trouble.why());
        Ok(Some((what, if useless { ExitCode::USELESS } else { ExitCode::AGAIN })))
    }

    async fn failed(
        &self,
        store: &Store,
        request: &Request,
        spec: &Step,
        failure: &Failure,
    ) -> Result<(&'static str, String, ExitCode), CliError> {
        let Failure { slot, class, evidence, spent, .. } = failure;
        let epoch = slot.map_or(Epoch::FIRST, |slot| slot.epoch);
        let seed = JitterSeed { run: &request.run, step: &request.step, attempt: epoch };
        let remedy = remedy(&spec.retry, &Traits::of(spec), *class, evidence, spent, &seed);
        let mut code = exit_code(*class, evidence, &remedy);
        let mut lines = vec![format!("{class}: {}", in_words(evidence).join("; "))];
        lines.extend(root_cause(&evidence.stderr_tail).into_iter().map(|line| format!("  | {line}")));
        match &remedy {
            Remedy::GiveUp { why, hint, .. } => {
                lines.push(format!("given up: {why}"));
                lines.push(format!("  help: {hint}"));
            }
            Remedy::Reproduce { input } => {
                let bound = request.inputs.iter().find(|(name, _)| name.as_str() == input).map(|(_, bound)| bound);
                let item = evidence.input_damaged.as_ref().and_then(|seen| seen.item.as_deref());
                match bound.and_then(|bound| Some((bound.lost(item)?, bound))) {
                    Some(((slot, object), bound)) => {
                        store.mark_damaged(&slot, object, &format!("found by {}", request.step)).await?;
                        lines.push(format!("{} is marked as damaged: run the graph again", bound.source));
                    }
                    // Nobody makes what a run brought in.
                    None => {
                        code = ExitCode::USELESS;
                        lines.push(format!("`{input}` was brought in and cannot be made anew: begin a new run"));
                    }
                }
            }
            Remedy::Retry(_) | Remedy::Wait { .. } | Remedy::None => {}
        }
        Ok(("failed", lines.join("\n"), code))
    }
}

/// Gives the attempt what the failures before it call for: memory that has grown, an earlier checkpoint.
pub fn heal(request: &mut Request, spec: &Step, view: &KeyView) {
    let Some((_, closed)) = view.newest_closed(&request.run, &request.step) else { return };
    let spent: Spent = serde_json::from_value(closed.spent.clone()).unwrap_or_default();
    request.memory = memory_for(&spec.resources, &spent);
    request.restore = match restore_point(&spec.retry, &Traits::of(spec), &spent) {
        Restore::Newest => RestoreFrom::Newest,
        Restore::Before(checkpoint) => RestoreFrom::Before(checkpoint),
        Restore::Zero => RestoreFrom::Zero,
    };
    request.checkpoint_sooner = spec.checkpoint.is_some() && spent.count(Class::NoProgress) > 0;
}

/// Returns how long to wait: some time up to 2^(k−2) s, at most 5 min, if the k ≥ 2 attempts before lived only briefly.
async fn short_lived(store: &Store, view: &KeyView, request: &Request) -> Result<Duration, CliError> {
    let (mut k, mut newest) = (0, Epoch::FIRST);
    for (epoch, slot) in view.slots.iter().rev() {
        let Some(EndRecord { end: End::Closed(closed), .. }) = &slot.end else { break };
        if closed.run != request.run || closed.step != request.step {
            continue;
        }
        let slot = SlotId { key: request.key, epoch: *epoch };
        if !was_short(store, &slot, closed).await? {
            break;
        }
        if k == 0 {
            newest = *epoch;
        }
        k += 1;
    }
    if k < 2 {
        return Ok(Duration::ZERO);
    }
    Ok(backoff(WAITS, k - 1, &JitterSeed { run: &request.run, step: &request.step, attempt: newest }))
}

async fn was_short(store: &Store, slot: &SlotId, closed: &Closed) -> Result<bool, CliError> {
    let evidence: Evidence = serde_json::from_value(closed.evidence.clone()).unwrap_or_default();
    if evidence.newer_checkpoint.is_some() || closed.timeline.ended_ms >= SHORT {
        return Ok(false);
    }
    // Of a supervisor that died only its signs of life tell how long it lived: one every 10 s.
    Ok(store.read::<AliveRecord>(&Layout::alive(slot)).await?.is_none_or(|alive| alive.counter == 0))
}

/// Binds the step of the run to a slot, unless it is bound to it already, and returns the number of the binding.
async fn bind(store: &Store, run: &RunId, step: &StepId, slot: SlotId) -> Result<u64, CliError> {
    loop {
        let n = match store.bindings(run).await?.get(step) {
            Some((n, bound)) if *bound == slot => return Ok(*n),
            Some((n, _)) => n + 1,
            None => 1,
        };
        let created = store.objects().batch(vec![Store::binding_op(run, step, n, slot)]).await?;
        if matches!(created.first(), Some(Created::New)) {
            return Ok(n);
        }
        // Another binding took the number: look again.
    }
}

fn millis(duration: Duration) -> u64 {
    Span::from(duration).as_millis()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_upstream_names_step_key_and_attempt() {
        let key = "ab".repeat(32);
        let read = upstream(&format!("split={key}@3")).expect("it is one");
        assert_eq!(
            (read.step.to_string(), read.slot.key.hex(), read.slot.epoch),
            ("split".into(), key.clone(), Epoch(3))
        );
        let read = upstream(&format!("train:fold=2={key}@1")).expect("it is one");
        assert_eq!(read.step.to_string(), "train:fold=2");
        for bad in ["split", "split=ab@1", "split=@1", &format!("split={}@x", "ab".repeat(32)), "UP=ab@1"] {
            assert!(upstream(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn waits_double_and_end_at_five_minutes() {
        let run = RunId::new("r").expect("a run id");
        let step = StepId::plain("train".parse().expect("a name"));
        let most = |k: u32| {
            let wait = |attempt| backoff(WAITS, k - 1, &JitterSeed { run: &run, step: &step, attempt: Epoch(attempt) });
            (1..500).map(wait).max().unwrap_or_default()
        };
        for (k, ceiling) in [(2, 1), (3, 2), (6, 16), (20, 300)] {
            let ceiling = Duration::from_secs(ceiling);
            assert!(most(k) <= ceiling && most(k) > ceiling * 9 / 10, "k {k}: {:?}", most(k));
        }
    }
}
