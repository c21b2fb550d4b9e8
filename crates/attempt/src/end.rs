//! Ending an attempt without a commit: class, counters, and the closed slot.

use prunella_healing::{Evidence, Spent, StorageKind, StorageTrouble, Traits, assess};
use prunella_model::{Class, RunId, SlotId, StepId};
use prunella_objects::ObjectsError;
use prunella_store::{
    Filled, KeyView, StoreError,
    records::{Closed, Timeline},
};
use prunella_sys::mutated;

use crate::{Budgets, Failure, Host, Request, Verdict};

/// Returns the counters that an end of this run and step goes on from.
pub(crate) fn spent_before(view: &KeyView, run: &RunId, step: &StepId, budgets: &Budgets) -> Spent {
    if let Budgets::From(spent) = budgets {
        return (**spent).clone();
    }
    let closed = view.newest_closed(run, step).filter(|_| !mutated(124));
    closed.and_then(|(_, closed)| serde_json::from_value(closed.spent.clone()).ok()).unwrap_or_default()
}

/// Returns the record of an end, its class and its counters.
pub(crate) fn closing(
    before: &Spent,
    evidence: &Evidence,
    traits: &Traits,
    run: &RunId,
    step: &StepId,
    timeline: Timeline,
) -> (Closed, Class, Spent) {
    let (class, spent) = assess(before, evidence, traits);
    let closed = Closed {
        class,
        evidence: serde_json::to_value(evidence).unwrap_or_default(),
        spent: serde_json::to_value(&spent).unwrap_or_default(),
        run: run.clone(),
        step: step.clone(),
        timeline,
    };
    (closed, class, spent)
}

/// What an attempt knows when it ends without a commit.
pub(crate) struct Ending<'a> {
    pub(crate) slot: SlotId,
    pub(crate) before: &'a Spent,
    pub(crate) evidence: Evidence,
    pub(crate) traits: &'a Traits,
    pub(crate) timeline: Timeline,
}

/// Closes the attempt's own slot and returns its verdict.
///
/// "There: committed" cannot be: only the attempt itself commits. A slot that somebody else closed is a fence.
pub(crate) async fn fail(host: &Host, request: &Request, end: Ending<'_>) -> Verdict {
    let Ending { slot, before, evidence, traits, timeline } = end;
    let evidence = evidence.signed();
    let (closed, class, spent) = closing(before, &evidence, traits, &request.run, &request.step, timeline.clone());
    let filled = match host.store.close(&slot, closed).await {
        Ok(Filled::Theirs(_)) => return Verdict::Fenced(slot),
        Ok(Filled::Ours) => true,
        // The next one closes it; the verdict is reported all the same.
        Err(_) => false,
    };
    Verdict::Failed(Failure {
        slot: Some(slot),
        class,
        evidence: Box::new(evidence),
        spent: Box::new(spent),
        timeline,
        closed: filled,
    })
}

/// Returns what a store's error is as evidence.
pub(crate) fn trouble(error: &StoreError) -> StorageTrouble {
    let kind = match error {
        error if error.is_no_space() => StorageKind::NoSpace,
        error if error.is_read_only() => StorageKind::ReadOnly,
        StoreError::Objects(ObjectsError::Busy { .. } | ObjectsError::Undecided { .. }) => StorageKind::Unreachable,
        StoreError::Objects(ObjectsError::Unreachable { .. }) => StorageKind::Unreachable,
        StoreError::Objects(ObjectsError::Forbidden { .. }) => StorageKind::Forbidden,
        StoreError::Objects(ObjectsError::NoStore { .. } | ObjectsError::NoBucket { .. }) => StorageKind::Missing,
        StoreError::Io { source, .. } if source.kind() == std::io::ErrorKind::PermissionDenied => {
            StorageKind::Forbidden
        }
        StoreError::Io { source, .. } if source.kind() == std::io::ErrorKind::ReadOnlyFilesystem => {
            StorageKind::ReadOnly
        }
        _ => StorageKind::Other,
    };
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(inner) = cause {
        text.push_str(": ");
        text.push_str(&inner.to_string());
        cause = inner.source();
    }
    StorageTrouble { kind, text }
}
