//! From an attempt's verdict to what the journal says.

use prunella_attempt::{Failure, Success, Verdict};
use prunella_healing::StorageKind;
use prunella_journal::{Event, NextTry};
use prunella_model::{Class, Span, StepId};
use prunella_store::{
    Store,
    records::{End, EndRecord},
};

use crate::{
    EngineError,
    recover::{closed_event, committed_event, ended_event},
};

/// What follows from a verdict.
pub(crate) enum Follows {
    /// This is to be appended.
    Event(Event),
    /// Nothing happened: the attempt ended before it had a slot, because the run stops.
    Nothing,
}

fn artifacts(success: &Success) -> std::collections::BTreeMap<prunella_model::PortName, prunella_model::Artifact> {
    success.artifacts.iter().map(|(name, stored)| (name.clone(), stored.artifact)).collect()
}

/// Tries without a slot before a step is given up: the store could not even be asked.
const UNCLAIMED: u32 = 10;

/// Returns what follows from `verdict`; `unclaimed` counts the step's tries in a row that had no slot.
pub(crate) async fn follow(
    store: &Store,
    step: &StepId,
    verdict: Verdict,
    unclaimed: &mut u32,
) -> Result<Follows, EngineError> {
    let step = step.clone();
    Ok(Follows::Event(match verdict {
        Verdict::Reused(success) => {
            let artifacts = artifacts(&success);
            Event::StepReused { step, slot: success.slot, artifacts, copied_from: success.copied_from }
        }
        Verdict::Committed(success) => Event::StepCommitted {
            step,
            slot: success.slot,
            artifacts: artifacts(&success),
            compute: Span::from_millis(success.timeline.process_ms),
        },
        Verdict::Failed(Failure { slot: Some(slot), class, evidence, spent, timeline, .. }) => {
            *unclaimed = 0;
            ended_event(step, slot, class, *evidence, *spent, &timeline)
        }
        Verdict::Failed(Failure { slot: None, class, evidence, .. }) => match class {
            Class::Stopped | Class::Preempted => return Ok(Follows::Nothing),
            Class::Contract => {
                let why = evidence.contract.unwrap_or_else(|| "the specification is broken".to_owned());
                Event::StepFailed { step, class, why }
            }
            _ => {
                *unclaimed += 1;
                let trouble = evidence.storage.as_ref();
                let hopeless = trouble.is_some_and(|trouble| !trouble.kind.may_pass());
                let why = trouble.map_or_else(|| class.to_string(), |trouble| trouble.text.clone());
                if hopeless || *unclaimed > UNCLAIMED {
                    Event::StepFailed { step, class, why }
                } else {
                    let disk_full = trouble.is_some_and(|trouble| trouble.kind == StorageKind::NoSpace);
                    let next = NextTry {
                        delay: Span::from_secs(1 << (*unclaimed).min(5)),
                        drain_cache: disk_full,
                        ..NextTry::default()
                    };
                    Event::StepHealing { step, class, next, remedy: format!("again after a wait: {why}") }
                }
            }
        },
        Verdict::Fenced(slot) => match store.end_of(&slot).await? {
            Some(EndRecord { end: End::Committed(committed), .. }) => committed_event(step, slot, &committed),
            Some(EndRecord { end: End::Closed(closed), .. }) => closed_event(step, slot, closed),
            // Fenced means that the record was seen; a store that lost it is asked again by the next attempt.
            None => {
                let why = "the record that closed the attempt is gone".to_owned();
                Event::StepFailed { step, class: Class::Infrastructure, why }
            }
        },
    }))
}
