//! Taking up what a dead driver left: every attempt that still says *running* is ended, one way or the other.

use std::time::Duration;

use prunella_attempt::{Budgets, Host, close_dead};
use prunella_healing::{Evidence, Spent};
use prunella_journal::{Event, RunState, StepState};
use prunella_model::{RunId, Span, StepId};
use prunella_store::{
    Store,
    records::{Closed, Committed, End, Owner, StartRecord, Timeline},
};

use crate::{EngineError, Plan};

/// How long the guardian of a dead engine gets to kill what it had spawned, and to leave.
const GUARDIAN_LEAVES: Duration = Duration::from_secs(5);
const LOOK: Duration = Duration::from_millis(2);

/// Sees to it that nothing of a dead driver's attempts runs on this machine any more, before anything is started.
///
/// Its guardian kills them as soon as the engine is gone; a spawn that it had already been asked for may still come, so
/// the sweep follows its end. An engine that lives (it was replaced) keeps its processes: they are fenced.
pub(crate) async fn clear_after(host: &Host, run: &RunId, before: &Owner) -> Result<(), EngineError> {
    let store = &host.store;
    let (machine, clock) = (&store.sys().machine, &store.sys().clock);
    let here = before.machine == machine.machine_id() && before.boot == machine.boot_id();
    if !here || machine.process_start_ticks(before.process.pid) == Some(before.process.start_ticks) {
        return Ok(());
    }
    let patience = clock.monotonic() + GUARDIAN_LEAVES;
    while store.owner_gone(before) == Some(false) && clock.monotonic() < patience {
        clock.sleep(LOOK).await;
    }
    host.guardian.sweep(&format!("{}/{run}/", store.id()))?;
    Ok(())
}

/// Ends every attempt that the journal says is running, and returns what became of each.
///
/// Absence of a commit proves nothing, a commit may be under way: the slot is filled with *closed*, and "there: committed"
/// means that the step is done.
pub(crate) async fn end_running(store: &Store, plan: &Plan, state: &RunState) -> Result<Vec<Event>, EngineError> {
    let mut events = Vec::new();
    for step in state.running().iter() {
        let StepState::Running(running) = state.state(step) else { continue };
        let (id, slot) = (plan.id(step).clone(), running.slot);
        let view = store.look(&slot.key).await?;
        let start = match view.slots.get(&slot.epoch).and_then(|slot| slot.start.clone()) {
            Some(start) => start,
            // The journal reports records; one that is missing was lost by the storage.
            None => missing_start(store, state, &id),
        };
        let traits = plan.traits(step);
        let budgets = match store.refilled_by(&start.run, running.driver, &id).await? {
            // The slots before are those of budgets that were used up: what counts is what was spent since.
            true => Budgets::From(Box::new(state.spent(step).cloned().unwrap_or_default())),
            false => Budgets::Continue,
        };
        let closed = close_dead(store, &view, &slot, &start, &traits, false, &budgets).await?;
        events.push(match store.fence(&slot, closed).await? {
            End::Committed(committed) => committed_event(id, slot, &committed),
            End::Closed(closed) => closed_event(id, slot, closed),
        });
    }
    Ok(events)
}

fn missing_start(store: &Store, state: &RunState, step: &StepId) -> StartRecord {
    StartRecord {
        format: prunella_store::records::FORMAT,
        run: state.run().expect("an attempt ran, so the run began").clone(),
        step: step.clone(),
        owner: store.this_owner(None),
        retry_index: None,
        members: 1,
        writer: store.writer().clone(),
        at_ms: 0,
    }
}

pub(crate) fn committed_event(step: StepId, slot: prunella_model::SlotId, committed: &Committed) -> Event {
    let artifacts = committed.artifacts.iter().map(|(name, stored)| (name.clone(), stored.artifact)).collect();
    Event::StepCommitted { step, slot, artifacts, compute: Span::from_millis(committed.timeline.process_ms) }
}

pub(crate) fn closed_event(step: StepId, slot: prunella_model::SlotId, closed: Closed) -> Event {
    let evidence: Evidence = serde_json::from_value(closed.evidence).unwrap_or_default();
    let spent: Spent = serde_json::from_value(closed.spent).unwrap_or_default();
    ended_event(step, slot, closed.class, evidence, spent, &closed.timeline)
}

pub(crate) fn ended_event(
    step: StepId,
    slot: prunella_model::SlotId,
    class: prunella_model::Class,
    evidence: Evidence,
    spent: Spent,
    timeline: &Timeline,
) -> Event {
    // Lost: what was computed after the last snapshot that became durable was taken.
    let kept_until = timeline.checkpoints.last().map(|mark| mark.taken_ms);
    let lost = match kept_until {
        Some(taken) => timeline.ended_ms.saturating_sub(taken).min(timeline.process_ms),
        None => timeline.process_ms,
    };
    Event::AttemptEnded {
        step,
        slot,
        class,
        evidence: Box::new(evidence),
        spent: Box::new(spent),
        compute: Span::from_millis(timeline.process_ms),
        lost: Span::from_millis(lost),
    }
}
