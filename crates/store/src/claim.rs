//! Starting an attempt: reuse, wait, fence, or claim the next epoch (protocol: Slots, Start).

use std::time::Duration;

use async_trait::async_trait;
use prunella_model::{Epoch, RunId, SlotId, StepId, StepKey};
use prunella_objects::Created;
use prunella_sys::mutated;

use crate::{
    Filled, KeyState, KeyView, LEASE, Layout, Observer, Store, StoreError,
    records::{Closed, Committed, End, FORMAT, Owner, StartRecord},
    store::{decode, encode},
};

/// Who asks for an attempt.
#[derive(Debug, Clone)]
pub struct ClaimRequest {
    /// The run.
    pub run: RunId,
    /// The step of that run.
    pub step: StepId,
    /// The work.
    pub key: StepKey,
    /// Who would run it.
    pub owner: Owner,
    /// The orchestrator's number of this try.
    pub retry_index: Option<u64>,
    /// Whether to close a live attempt of another run instead of waiting for it.
    pub take_over: bool,
    /// The epoch that a look just found free: it is tried first, without looking again before it is taken.
    pub expected: Option<Epoch>,
    /// What was seen already of the signs of life of whoever holds the work: a wait goes on where another one ended.
    pub observed: Observer,
}

/// What came of a claim.
#[derive(Debug, Clone, PartialEq)]
pub enum Claimed {
    /// Somebody committed this work; it is recorded as used.
    Reused(SlotId, Box<Committed>),
    /// The slot is ours; the view shows what came before it.
    Ours(SlotId, Box<KeyView>),
    /// The claim was not wanted any more; nothing was taken.
    Stopped,
}

/// What a claim needs from above: proof of death, the words of a fence, and patience.
#[async_trait]
pub trait Claimer: Send + Sync {
    /// Returns whether nothing of the attempt runs any more, its owner being gone: sweeps what is left.
    ///
    /// Called only when the owner's processes are gone on this machine, or when the owner has given the attempt up.
    async fn sweep(&self, slot: &SlotId, start: &StartRecord) -> bool;

    /// Returns what to close a dead (or, with `take_over`, live) attempt with.
    ///
    /// # Errors
    /// [`StoreError`] if the store did not answer.
    async fn closing(
        &self,
        view: &KeyView,
        slot: &SlotId,
        start: &StartRecord,
        take_over: bool,
    ) -> Result<Closed, StoreError>;

    /// Told while a live attempt of somebody else is waited for.
    fn waiting(&self, slot: &SlotId, start: &StartRecord);

    /// Answers once the claim is not wanted any more; never, if nobody says otherwise.
    async fn stopped(&self) {
        std::future::pending().await
    }
}

async fn is_stopped(claimer: &dyn Claimer) -> bool {
    tokio::select! {
        biased;
        () = claimer.stopped() => true,
        () = std::future::ready(()) => false,
    }
}

/// How long a newcomer waits before it looks at a live attempt again.
const LOOK_AGAIN: Duration = Duration::from_millis(200);

impl Store {
    /// Claims the next epoch of the key, or reuses a commit; waits while another attempt is live.
    ///
    /// Never answers `Ours` while a lower slot is open (I2, I4, I5). A claim that [`Claimer::stopped`] ends leaves nothing
    /// open. Dropping the future is safe too: at worst a claimed slot stays open and is closed by the next newcomer.
    ///
    /// # Errors
    /// [`StoreError`] if the store did not answer or a record cannot be understood.
    pub async fn claim(&self, request: &ClaimRequest, claimer: &dyn Claimer) -> Result<Claimed, StoreError> {
        let mut observer = if mutated(127) { Observer::default() } else { request.observed.clone() };
        if is_stopped(claimer).await {
            return Ok(Claimed::Stopped);
        }
        if let Some(epoch) = request.expected
            && let Some(claimed) = self.take(request, claimer, epoch).await?
        {
            return Ok(claimed);
        }
        loop {
            if is_stopped(claimer).await {
                return Ok(Claimed::Stopped);
            }
            let view = self.look(&request.key).await?;
            match view.state() {
                KeyState::Committed(slot, committed) => {
                    // Reuse is a dependency: `uses` first, then `retired` is looked for.
                    if self.reuse(&request.run, slot).await? {
                        return Ok(Claimed::Reused(slot, Box::new(committed.clone())));
                    }
                }
                KeyState::Open(slot, start) => {
                    let dead = self.is_dead(request, claimer, &mut observer, &slot, start).await?;
                    if dead || request.take_over {
                        let closed = claimer.closing(&view, &slot, start, !dead).await?;
                        // "There: committed" is found by looking again.
                        let _whoever_filled_it = self.close(&slot, closed).await?;
                    } else {
                        claimer.waiting(&slot, start);
                        tokio::select! {
                            biased;
                            () = claimer.stopped() => return Ok(Claimed::Stopped),
                            () = self.sys.clock.sleep(LOOK_AGAIN) => {}
                        }
                    }
                }
                // Marked first, so that whoever can still read it relies on it no more: then the next epoch is free.
                KeyState::Lost(slot, problem) => {
                    self.mark_damaged(&slot, Layout::end(&slot).as_str(), problem).await?;
                }
                KeyState::Free(epoch) => {
                    if let Some(claimed) = self.take(request, claimer, epoch).await? {
                        return Ok(claimed);
                    }
                }
            }
        }
    }

    /// Takes the epoch; nothing if somebody else has it, or if it does not count.
    async fn take(
        &self,
        request: &ClaimRequest,
        claimer: &dyn Claimer,
        epoch: Epoch,
    ) -> Result<Option<Claimed>, StoreError> {
        let slot = SlotId { key: request.key, epoch };
        let (key, start) = (Layout::start(&slot), self.start_record(request));
        let looked = self.put_and_look(&key, encode(&key, &start), &Layout::attempts(&request.key)).await?;
        let ours = match looked.0 {
            Created::New => true,
            Created::There(bytes) => match decode::<StartRecord>(&key, &self.sound(&key, bytes).await?) {
                // Whose it is shows the look at all of them.
                Err(StoreError::DamagedRecord { .. }) => false,
                there => {
                    let there = there?;
                    let ours = there.writer == self.writer && there.run == request.run && there.step == request.step;
                    ours || mutated(19)
                }
            },
        };
        if !ours {
            return Ok(None);
        }
        // A number counts only if a look after the create shows no higher one, no lower one open, and no commit that
        // came in between.
        let after = KeyView::of(&request.key, self.all_sound(looked.1).await?)?;
        let free_below = match after.state() {
            KeyState::Open(open, _) => open == slot,
            KeyState::Committed(..) | KeyState::Lost(..) => false,
            KeyState::Free(_) => mutated(1),
        };
        let counts = after.highest() == Some(epoch) && free_below;
        // After the start stands: a collector marks a run first and looks for its open attempts afterwards.
        let wanted = match self.not_given_up(&request.run).await {
            // Whoever got the run as its driver has looked already; the mark came later, and does not hold.
            Err(StoreError::GivenUp { .. }) if self.is_driver(&request.run, &request.owner).await? => Ok(()),
            looked => looked,
        };
        if counts && wanted.is_ok() {
            return Ok(Some(Claimed::Ours(slot, Box::new(after))));
        }
        let closed = claimer.closing(&after, &slot, &start, false).await?;
        let _given_up = self.close(&slot, closed).await?;
        wanted.map(|()| None)
    }

    async fn is_dead(
        &self,
        request: &ClaimRequest,
        claimer: &dyn Claimer,
        observer: &mut Observer,
        slot: &SlotId,
        start: &StartRecord,
    ) -> Result<bool, StoreError> {
        // The same run and step with a higher retry index: the orchestrator knows that the earlier pod is gone.
        if start.run == request.run
            && start.step == request.step
            && matches!((start.retry_index, request.retry_index), (Some(theirs), Some(ours)) if ours > theirs)
        {
            return Ok(true);
        }
        // An engine runs one attempt of a step at a time: a start of its own that is still open is one of which it heard no
        // answer, or one that it gave up.
        let own = start.writer == self.writer && start.run == request.run && start.step == request.step;
        if (own || self.owner_gone(&start.owner) == Some(true)) && claimer.sweep(slot, start).await {
            return Ok(true);
        }
        observer.expired(self, &Layout::alive(slot), LEASE).await
    }

    fn start_record(&self, request: &ClaimRequest) -> StartRecord {
        StartRecord {
            format: FORMAT,
            run: request.run.clone(),
            step: request.step.clone(),
            owner: request.owner.clone(),
            retry_index: request.retry_index,
            members: 1,
            writer: self.writer.clone(),
            at_ms: self.sys.clock.wall_ms(),
        }
    }

    /// Fences every open slot of `key` that `mine` says is this run's to end, and returns what each turned out to be.
    ///
    /// For the recovery of a run: absence of a commit proves nothing, so each slot is filled with *closed*; answered
    /// "there: committed", the step is done.
    ///
    /// # Errors
    /// [`StoreError`] if the store did not answer.
    pub async fn fence(&self, slot: &SlotId, closed: Closed) -> Result<End, StoreError> {
        match self.close(slot, closed.clone()).await? {
            Filled::Ours => Ok(End::Closed(closed)),
            Filled::Theirs(there) => Ok(there.end),
        }
    }
}
