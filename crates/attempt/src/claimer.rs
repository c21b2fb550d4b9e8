//! What a claim needs from above: proof of death, and the words of a fence.

use async_trait::async_trait;
use prunella_healing::{Ending, Evidence, KillReason, Phase, Traits};
use prunella_model::{AttemptId, CheckpointId, SlotId};
use prunella_process::sweep;
use prunella_store::{
    Claimer, KeyView, Store, StoreError,
    records::{Closed, StartRecord},
};

use tokio::sync::watch;

use crate::{Budgets, Control, Host, Request, Told, control::noticed, end, tell::Tell};

pub(crate) struct ForRequest<'a> {
    pub(crate) host: &'a Host,
    pub(crate) request: &'a Request,
    pub(crate) traits: &'a Traits,
    pub(crate) tell: &'a dyn Tell,
    pub(crate) control: &'a watch::Receiver<Control>,
}

#[async_trait]
impl Claimer for ForRequest<'_> {
    async fn sweep(&self, slot: &SlotId, start: &StartRecord) -> bool {
        let id = AttemptId { store: self.host.store.id().to_owned(), run: start.run.clone(), slot: *slot };
        self.host.guardian.sweep(&id.to_string()).is_ok()
    }

    async fn closing(
        &self,
        view: &KeyView,
        slot: &SlotId,
        start: &StartRecord,
        take_over: bool,
    ) -> Result<Closed, StoreError> {
        close_dead(&self.host.store, view, slot, start, self.traits, take_over, &Budgets::Continue).await
    }

    fn waiting(&self, slot: &SlotId, start: &StartRecord) {
        if start.run != self.request.run || start.step != self.request.step {
            self.tell.tell(Told::Waiting { slot: *slot, holder: start.run.clone() });
        }
    }

    async fn stopped(&self) {
        noticed(&mut self.control.clone()).await;
    }
}

/// Kills what is left of an attempt whose owner is dead; returns whether nothing of it runs any more.
pub fn sweep_attempt(store: &str, slot: &SlotId, start: &StartRecord) -> bool {
    let id = AttemptId { store: store.to_owned(), run: start.run.clone(), slot: *slot };
    sweep(&id.to_string()).is_ok()
}

/// Returns what is known of an attempt whose supervisor died: how far its checkpoints came.
///
/// # Errors
/// [`StoreError`] if the store did not answer.
async fn orphan_evidence(store: &Store, slot: &SlotId) -> Result<Evidence, StoreError> {
    let newest = store.checkpoints(&slot.key).await?.into_iter().find(|id| id.slot == *slot);
    Ok(evidence_of_orphan(newest))
}

fn evidence_of_orphan(newest: Option<CheckpointId>) -> Evidence {
    let mut evidence = Evidence::of(Ending::SupervisorDied, Phase::Run);
    evidence.newer_checkpoint = newest;
    evidence.progress_since_restore = newest.is_some();
    evidence
}

/// Returns what to close a dead (or taken over) attempt with; its counters go on from its own run and step.
///
/// # Errors
/// [`StoreError`] if the store did not answer.
pub async fn close_dead(
    store: &Store,
    view: &KeyView,
    slot: &SlotId,
    start: &StartRecord,
    traits: &Traits,
    take_over: bool,
    budgets: &Budgets,
) -> Result<Closed, StoreError> {
    let mut evidence = orphan_evidence(store, slot).await?;
    if take_over {
        evidence.stop_requested = true;
        evidence.ended = Ending::Signaled { signal: 9, by_us: Some(KillReason::Fenced) };
    }
    let before = end::spent_before(view, &start.run, &start.step, budgets);
    let (closed, _, _) = end::closing(&before, &evidence.signed(), traits, &start.run, &start.step, Default::default());
    Ok(closed)
}
