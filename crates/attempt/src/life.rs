//! Signs of life of an attempt, from its claim until its verdict.

use std::{
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    time::Duration,
};

use prunella_model::SlotId;
use prunella_store::records::AliveRecord;

use crate::Host;

/// How often a sign of life is given.
pub(crate) const ALIVE: Duration = Duration::from_secs(10);

/// What signs of life say beside that the attempt lives.
#[derive(Debug, Default)]
pub(crate) struct Life {
    memory: AtomicU64,
    notice: AtomicBool,
}

impl Life {
    /// Notes how much memory the step's tree uses.
    pub(crate) fn uses(&self, bytes: u64) {
        self.memory.store(bytes, Ordering::Relaxed);
    }

    /// Notes that a notice was seen.
    pub(crate) fn is_noticed(&self) {
        self.notice.store(true, Ordering::Relaxed);
    }

    /// Does everything that follows the claim of a slot, and gives signs of life until it is done.
    ///
    /// Whatever takes long counts: inputs that are laid out, a checkpoint that is restored, outputs that are sent. Without
    /// them, another machine would take it for dead after a lease, and its work would be lost to the fence.
    pub(crate) async fn during<T>(&self, host: &Host, slot: SlotId, work: impl Future<Output = T>) -> T {
        tokio::select! {
            biased;
            done = work => done,
            () = self.signs(host, slot) => unreachable!("it goes on for ever"),
        }
    }

    async fn signs(&self, host: &Host, slot: SlotId) {
        for counter in 1.. {
            host.sys.clock.sleep(ALIVE).await;
            let alive = AliveRecord {
                memory_bytes: self.memory.load(Ordering::Relaxed),
                notice: self.notice.load(Ordering::Relaxed),
                ..AliveRecord::of(host.store.writer(), counter)
            };
            // A hint: without it a newcomer on another machine may judge wrongly, which costs work, never safety.
            let _hint = host.store.attempt_alive(&slot, &alive).await;
        }
    }
}
