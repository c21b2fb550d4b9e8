//! One interruption that is being recovered from.

use prunella_model::{CheckpointId, Span};
use serde::{Deserialize, Serialize};

use super::{Recovery, minus, plus};

/// An interruption whose process, or whose first progress after it, has not been seen yet.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Recovering {
    /// Whether it is in the list of interruptions, not of failures, and its place there.
    pub(super) interruption: bool,
    pub(super) place: usize,
    detect: Span,
    /// When it was seen, on the clock of the present driver.
    since: Span,
    /// What passed of it under earlier drivers.
    carried: Span,
    /// When the last decision fell, and the wait that it asked for.
    decided: Option<(Span, Span)>,
    claimed: Option<Span>,
    /// When the process ran, and what it was restored from.
    ready: Option<(Span, Option<CheckpointId>)>,
}

impl Recovering {
    pub(super) fn new(interruption: bool, place: usize, detect: Span, since: Span) -> Self {
        let carried = Span::default();
        Self { interruption, place, detect, since, carried, decided: None, claimed: None, ready: None }
    }

    pub(super) fn is_ready(&self) -> bool {
        self.ready.is_some()
    }

    /// A new driver: what passed until the old one's last event is carried over; the time without a driver is not known.
    pub(super) fn change_driver(&mut self, last: Span, now: Span) {
        self.carried = plus(self.carried, minus(last, self.since));
        self.since = now;
        self.decided = None;
        self.claimed = None;
    }

    pub(super) fn decide(&mut self, now: Span, delay: Span) {
        if !self.is_ready() {
            self.decided = Some((now, delay));
            self.claimed = None;
        }
    }

    pub(super) fn claim(&mut self, now: Span) {
        if !self.is_ready() {
            self.claimed = Some(now);
        }
    }

    /// The process runs: returns the recovery.
    pub(super) fn run(&mut self, now: Span, restored: Option<CheckpointId>) -> Recovery {
        self.ready = Some((now, restored));
        let claimed = self.claimed.unwrap_or(now);
        let (decided, delay) = self.decided.unwrap_or((self.since, Span::default()));
        let waited = minus(claimed, decided);
        let backoff = delay.min(waited);
        Recovery {
            detect: self.detect,
            decide: plus(self.carried, minus(decided, self.since)),
            backoff,
            capacity: minus(waited, backoff),
            restore: minus(now, claimed),
            replay: None,
        }
    }

    /// A checkpoint became durable, or with none the step committed: returns the replay if that is newer progress.
    pub(super) fn progress(&self, now: Span, checkpoint: Option<CheckpointId>) -> Option<Span> {
        let (ready, restored) = self.ready?;
        // One of another key is what the step began with: everything of its own is newer.
        let restored = restored.filter(|restored| checkpoint.is_none_or(|own| own.slot.key == restored.slot.key));
        let newer = checkpoint.is_none_or(|checkpoint| Some(checkpoint) > restored);
        newer.then(|| minus(now, ready))
    }
}
