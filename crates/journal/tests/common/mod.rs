//! Small topologies and one sample of every event.
#![allow(dead_code, reason = "each test binary uses its own part")]

pub mod walk;

use std::collections::BTreeMap;
use std::sync::Arc;

use prunella_healing::{Ending, Evidence, Phase, Spent};
use prunella_journal::*;
use prunella_model::*;

pub fn id(name: &str) -> StepId {
    StepId::plain(StepName::new(name).expect("a name"))
}

/// A topology of `(name, needs)`; all steps are in lane 0.
pub fn topology(steps: &[(&str, &[u32])]) -> Arc<Topology> {
    let node = |(name, needs): &(&str, &[u32])| Node {
        id: id(name),
        needs: needs.iter().map(|n| StepIndex::new(*n)).collect(),
        reads: needs.iter().map(|n| StepIndex::new(*n)).collect(),
        // By name, so that a topology stays one line.
        conditional: name.starts_with("if-"),
        handler: [Handler::Exit, Handler::Failure].into_iter().find(|handler| name.starts_with(handler.as_str())),
        lane: 0,
    };
    Arc::new(Topology::new(steps.iter().map(node).collect()).expect("a topology"))
}

pub fn key(n: u64) -> StepKey {
    StepKey(Digest::of(&n.to_le_bytes()))
}

pub fn slot(key_of: u64, epoch: u64) -> SlotId {
    SlotId { key: key(key_of), epoch: Epoch(epoch) }
}

pub fn run_id() -> RunId {
    RunId::new("run-1").expect("a run id")
}

pub fn at(mono_ms: u64, event: Event) -> Stamped {
    Stamped { at_ms: 1_700_000_000_000 + mono_ms, mono: Span::from_millis(mono_ms), event }
}

pub fn artifacts(content: &str) -> BTreeMap<PortName, Artifact> {
    let artifact =
        Artifact { kind: ArtifactKind::File, digest: Digest::of(content.as_bytes()), size_bytes: content.len() as u64 };
    BTreeMap::from([(PortName::new("out").expect("a name"), artifact)])
}

pub fn run_started() -> Event {
    Event::RunStarted {
        run: run_id(),
        pipeline: PipelineName::new("digits").expect("a name"),
        graph: Digest::of(b"graph"),
        params: BTreeMap::from([(ParamName::new("seed").expect("a name"), ParamValue::Integer(7))]),
    }
}

pub fn driver_started(driver: u64) -> Event {
    Event::DriverStarted {
        driver,
        engine: "0.1.0".to_owned(),
        continues: Position::START,
        budgets_reset: false,
        retried: None,
    }
}

pub fn begun(topology: &Arc<Topology>) -> RunState {
    RunState::fold(Arc::clone(topology), &[at(0, run_started()), at(0, driver_started(1))]).expect("a run begins so")
}

/// A sample of the event with this name, about `step` and `slot`.
pub fn sample(kind: &str, step: &str, slot: SlotId) -> Event {
    sample_of(kind, id(step), slot)
}

/// A sample of the event with this name, about `step`, which may be an item, and `slot`.
pub fn sample_of(kind: &str, step: StepId, slot: SlotId) -> Event {
    let other = id("other");
    let checkpoint = CheckpointId { slot, seq: 3 };
    let (size, took) = (ByteSize(1 << 20), Span::from_millis(40));
    match kind {
        "run_started" => run_started(),
        "driver_started" => driver_started(2),
        "step_keyed" => Event::StepKeyed { step, key: slot.key },
        "step_expanded" => Event::StepExpanded { step, items: vec![Item::from_canonical(r#"{"fold":1}"#)] },
        "step_missed" => Event::StepMissed { step },
        "step_reused" => Event::StepReused { step, slot, artifacts: artifacts("reused"), copied_from: None },
        "step_waiting" => Event::StepWaiting { step, slot, holder: RunId::new("run-2").expect("a run id") },
        "attempt_started" => Event::AttemptStarted { step, slot, writer: WriterId::from_random(7) },
        "checkpoint_skipped" => {
            Event::CheckpointSkipped { step, slot, checkpoint, why: "a shard has the wrong hash".to_owned() }
        }
        "snapshot_skipped" => Event::SnapshotSkipped {
            step,
            slot,
            entry: "checkpoint-500".to_owned(),
            why: "the disk is full".to_owned(),
        },
        "checkpoint_interval_chosen" => {
            let (every, why) = (Span::from_secs(445), "30 s a checkpoint, 1 h between interruptions".to_owned());
            Event::CheckpointIntervalChosen { step, slot, every, why }
        }
        "state_restored" => Event::StateRestored { step, slot, checkpoint, took },
        "process_started" => Event::ProcessStarted { step, slot, pid: 4711, accelerators: Vec::new() },
        "checkpoint_taken" => Event::CheckpointTaken { step, slot, checkpoint, size, took },
        "checkpoint_durable" => Event::CheckpointDurable { step, slot, checkpoint, size, took },
        "notice_received" => {
            Event::NoticeReceived { step, slot, source: "sigterm".to_owned(), grace: Some(Span::from_secs(30)) }
        }
        "hint_received" => {
            Event::HintReceived { source: "aws".to_owned(), what: "its spot capacity is at risk".to_owned() }
        }
        "attempt_ended" => Event::AttemptEnded {
            step,
            slot,
            class: Class::Killed,
            evidence: Box::new(Evidence::of(Ending::Signaled { signal: 9, by_us: None }, Phase::Run)),
            spent: Box::new(Spent { by_class: BTreeMap::from([(Class::Killed, 1)]), ..Spent::default() }),
            compute: Span::from_secs(9),
            lost: Span::from_secs(1),
        },
        "effects_done" => Event::EffectsDone {
            step,
            slot,
            effects: vec![EffectDone {
                effect: EffectId::of(EffectKind::Publication, "/p/out/page.html", &slot.key, &Digest::of(b"page")),
                kind: EffectKind::Publication,
                output: PortName::new("page").expect("a name"),
                target: "/p/out/page.html".to_owned(),
                how: EffectHow::Superseded,
                by: Some(RunId::new("run-2").expect("a run id")),
                before: true,
            }],
        },
        "effect_failed" => Event::EffectFailed {
            step,
            slot,
            output: PortName::new("page").expect("a name"),
            target: "/p/out/page.html".to_owned(),
            why: "a directory is there".to_owned(),
            hopeless: true,
        },
        "effects_given_up" => Event::EffectsGivenUp { step, slot, why: "tried 21 times".to_owned() },
        "step_healing" => Event::StepHealing {
            step,
            class: Class::Killed,
            next: NextTry {
                delay: Span::from_millis(200),
                memory: Some(ByteSize(3 << 30)),
                restore: RestoreFrom::Before(checkpoint),
                checkpoint_sooner: true,
                ..NextTry::default()
            },
            remedy: "again from a checkpoint before 1-3".to_owned(),
        },
        "step_committed" => {
            Event::StepCommitted { step, slot, artifacts: artifacts("made"), compute: Span::from_secs(20) }
        }
        "input_damaged" => Event::InputDamaged { step, producer: other, slot },
        "commit_damaged" => Event::CommitDamaged { step, slot },
        "step_rebound" => Event::StepRebound { step },
        "step_decided" => Event::StepDecided {
            step,
            run: false,
            saw: vec![Observation { what: "evaluate.metrics.accuracy".to_owned(), value: "0.93".to_owned() }],
        },
        "run_concluded" => Event::RunConcluded { status: RunStatus::Succeeded },
        "step_skipped" => Event::StepSkipped { step, by: other },
        "step_failed" => Event::StepFailed { step, class: Class::Error, why: "exit 1".to_owned() },
        "step_blocked" => Event::StepBlocked { step, by: other },
        "stop_requested" => Event::StopRequested { how: StopHow::Checkpoint },
        "run_ended" => Event::RunEnded { status: RunStatus::Succeeded },
        other => panic!("no sample of {other}"),
    }
}
