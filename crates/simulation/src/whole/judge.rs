//! What must hold of whole runs once nothing goes wrong any more.

use std::sync::{Arc, Mutex};

use prunella_engine::{EngineError, Loaded, Seen, load_state};
use prunella_journal::{Event, RunState, RunStatus};
use prunella_model::{Digest, StepName};
use prunella_store::Store;
use prunella_sys::Fs;

use super::{
    engines::{Book, Driven, Engine},
    scene,
    stage::{Ending, Stage},
};
use crate::{engine::TARGET, machine::Process};

/// The member that comes afterwards.
const MEMBER: usize = 7;
/// How many runs it may take to find what the storage lost.
const TRIES: u64 = 4;

/// Judges every run, and has one more driven of each content: both must succeed, and all results must be those of undisturbed runs.
pub(crate) async fn afterwards(stage: Stage, book: Book) {
    let runs = book.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).clone();
    let fs: Arc<dyn Fs> = Arc::new(stage.disk.of(2000));
    let judge = Process::start(&stage.world, &fs, MEMBER, 0, 2000);
    for driven in &runs {
        if let Err(wrong) = judged(&judge.store, driven).await {
            return broken(&stage, wrong);
        }
    }
    for variant in 0..2 {
        let (mut ending, mut known) = (None, Arc::new(Mutex::new(Driven::new("none", variant))));
        // What the storage lost is found and marked by the run that meets it first; that one may fail, the next makes it anew.
        let tries = if stage.world.state().oracle.has_rotten() { TRIES } else { 1 };
        for n in 0..tries {
            let fresh = Driven::new(&format!("run-{MEMBER}-{variant}-{n}"), variant);
            known = Arc::new(Mutex::new(fresh));
            let (lives, known) = (10 * variant + n, known.clone());
            let engine = Engine { member: MEMBER, machine: 3000, lives, take_over: false, known };
            ending = engine.lives(&stage).await;
            if ending == Some(Ending::Ended(RunStatus::Succeeded)) {
                break;
            }
        }
        if ending != Some(Ending::Ended(RunStatus::Succeeded)) {
            return broken(&stage, Wrong("I10", format!("a run in peace comes out as {ending:?}")));
        }
        let driven = known.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).clone();
        if let Err(wrong) = judged(&judge.store, &driven).await {
            return broken(&stage, wrong);
        }
        let shown = stage.disk.read(TARGET.as_ref()).ok().map(|bytes| Digest::of(&bytes));
        if shown.as_ref() != scene::results(variant).get("report") {
            return broken(&stage, Wrong("I6", format!("the newest run is {}, and its page is not shown", driven.run)));
        }
    }
}

/// An invariant, and what happened.
struct Wrong(&'static str, String);

fn broken(stage: &Stage, Wrong(invariant, what): Wrong) {
    stage.world.state().oracle.broken(invariant, what);
}

/// Judges a run by what the store says of it.
async fn judged(store: &Store, driven: &Driven) -> Result<(), Wrong> {
    let Driven { run, variant, status, state: held, events: told, .. } = driven;
    let Some(status) = status else { return Ok(()) };
    let unread = |error: EngineError| Wrong("I9", format!("run {run} ended, and cannot be read: {error}"));
    let Loaded { plan, state, events, damage, .. } = load_state(store, run).await.map_err(unread)?;
    if damage.is_some() {
        return Ok(());
    }
    let last = events.last().map(|stamped| &stamped.event);
    if last != Some(&Event::RunEnded { status: *status }) {
        return Err(Wrong("I9", format!("run {run} ended as {status:?}, and its journal ends with {last:?}")));
    }
    // What commands are under way is in no journal: what is compared is what events say.
    let differs = |held: &RunState| plan.indices().find(|step| held.state(*step) != state.state(*step));
    if let Some(step) = held.as_ref().and_then(differs) {
        let step = plan.id(step);
        return Err(Wrong(
            "I9",
            format!("the journal of run {run} says of `{step}` something else than its driver held"),
        ));
    }
    let text = |event: &Event| serde_json::to_string(event).unwrap_or_default();
    // One that stood still meanwhile may have taken the run again after its end: what this driver told need not be the last.
    let first = told.first().map(text);
    let begins = events.iter().position(|written| Some(text(&written.event)) == first).unwrap_or(events.len());
    let mut written = events[begins..].iter().map(|written| text(&written.event));
    for told in told.iter().map(text) {
        let written = written.next().unwrap_or_else(|| "nothing".to_owned());
        if told != written {
            return Err(Wrong("I9", format!("the driver of run {run} told {told}, and its journal says {written}")));
        }
    }
    let seen = Seen::of(store, run).await.map_err(unread)?;
    if seen.state != state {
        return Err(Wrong("I9", format!("the summary of run {run} says something else than its journal")));
    }
    if *status != RunStatus::Succeeded {
        return Ok(());
    }
    for (name, digest) in scene::results(*variant) {
        let step = StepName::new(name).expect("a name");
        let index = plan.indices().find(|index| plan.id(*index).name == step).expect("a step of the pipeline");
        let done = state.done(index).ok_or_else(|| Wrong("I10", format!("run {run} succeeded without `{name}`")))?;
        let made = done.artifacts.iter().next().map(|(_, artifact)| artifact.digest);
        if made != Some(digest) {
            return Err(Wrong("I4", format!("`{name}` of run {run} is not what an undisturbed run makes of the same")));
        }
    }
    Ok(())
}
