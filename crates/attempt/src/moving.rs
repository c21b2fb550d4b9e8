//! How far an attempt is with what it fetches before its program runs, and with what it sends afterwards.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use prunella_store::Moved;

use crate::{Host, Told, Way, tell::Tell};

/// How often it is told, if anything moves.
const TELL: Duration = Duration::from_millis(250);

/// Where an attempt is, as far as its transfers go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// It fetches inputs, or a checkpoint.
    Before,
    /// Its program runs: checkpoints go beside it, and are told by themselves.
    Meanwhile,
    /// It sends its outputs; so much had been sent by then.
    After(Moved),
}

/// What an attempt moves; its store's handle counts for it alone.
#[derive(Debug)]
pub(crate) struct Moving {
    stage: Mutex<Stage>,
    told: AtomicU64,
}

impl Default for Moving {
    fn default() -> Self {
        Self { stage: Mutex::new(Stage::Before), told: AtomicU64::new(0) }
    }
}

impl Moving {
    fn set(&self, stage: Stage) {
        *self.stage.lock().unwrap_or_else(PoisonError::into_inner) = stage;
    }

    /// Notes that the program runs.
    pub(crate) fn program_runs(&self) {
        self.set(Stage::Meanwhile);
    }

    /// Notes that the program has ended.
    pub(crate) fn program_ran(&self, host: &Host) {
        self.set(Stage::After(host.store.transfers().sent()));
    }

    fn now(&self, host: &Host) -> Option<(Way, Moved)> {
        let transfers = host.store.transfers();
        match *self.stage.lock().unwrap_or_else(PoisonError::into_inner) {
            Stage::Before => Some((Way::Fetching, transfers.fetched())),
            Stage::Meanwhile => None,
            Stage::After(before) => {
                let sent = transfers.sent();
                let since = |now: u64, before: u64| now.saturating_sub(before);
                Some((Way::Sending, Moved { done: since(sent.done, before.done), all: since(sent.all, before.all) }))
            }
        }
    }

    /// Tells, on and on, how far transfers are; nothing where nothing moves.
    pub(crate) async fn tell(&self, host: &Host, tell: Arc<dyn Tell>) {
        loop {
            host.sys.clock.sleep(TELL).await;
            let Some((way, moved)) = self.now(host).filter(|(_, moved)| moved.all > 0) else { continue };
            // Once it is all there, it is told once.
            if self.told.swap(moved.done, Ordering::Relaxed) != moved.done || moved.done < moved.all {
                tell.tell(Told::Moving { way, moved });
            }
        }
    }
}
