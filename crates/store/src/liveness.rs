//! Whether the owner of an open slot, or the driver of a run, still lives.

use std::{collections::HashMap, time::Duration};

use prunella_objects::ObjectKey;
use prunella_sys::mutated;

use crate::{
    Store, StoreError,
    records::{AliveRecord, Owner, ProcessId},
};

/// The counter of `alive` unchanged for this long, on the newcomer's own monotonic clock, counts as death.
pub const LEASE: Duration = Duration::from_secs(60);

/// What a newcomer has seen of others' signs of life.
///
/// Clocks of two machines are never compared: age is one's own observation.
#[derive(Debug, Clone, Default)]
pub struct Observer {
    seen: HashMap<ObjectKey, Life>,
}

/// A sign of life, as one observer saw it.
#[derive(Debug, Clone)]
struct Life {
    counter: Option<u64>,
    since: Duration,
    moved: bool,
}

impl Observer {
    /// Returns whether the counter at `key` has not moved for `lease` since this observer first saw its value.
    ///
    /// # Errors
    /// [`StoreError::Objects`] if the store did not answer: then nothing is concluded.
    pub async fn expired(&mut self, store: &Store, key: &ObjectKey, lease: Duration) -> Result<bool, StoreError> {
        let counter = store.hinted::<AliveRecord>(key).await?.map(|alive| alive.counter);
        let now = store.sys.clock.monotonic();
        let life = self.seen.entry(key.clone()).or_insert(Life { counter, since: now, moved: false });
        if life.counter != counter {
            *life = Life { counter, since: now, moved: true };
        }
        Ok(now.saturating_sub(life.since) >= lease && !mutated(43))
    }

    /// Returns whether this observer saw the counter at `key` move: whoever gives it lives.
    pub fn saw_life(&self, key: &ObjectKey) -> bool {
        self.seen.get(key).is_some_and(|life| life.moved)
    }
}

impl Owner {
    /// Returns what stands for an owner of which the record is damaged: on no machine, so that only a sign of life says whether
    /// it lives.
    pub(crate) fn nobody() -> Self {
        let process = ProcessId { pid: 0, start_ticks: 0 };
        Self { machine: String::new(), boot: String::new(), process, guardian: None }
    }
}

impl Store {
    /// Returns whether all processes of `owner` are known to be gone; nothing if that cannot be known from here.
    ///
    /// Another boot of the same machine: gone. The same boot: each process is looked up by pid and start time.
    pub fn owner_gone(&self, owner: &Owner) -> Option<bool> {
        let machine = &self.sys.machine;
        if owner.machine != machine.machine_id() && !mutated(44) {
            return None;
        }
        if owner.boot != machine.boot_id() {
            return Some(true);
        }
        let gone = |p: &crate::records::ProcessId| machine.process_start_ticks(p.pid) != Some(p.start_ticks);
        Some(gone(&owner.process) && owner.guardian.as_ref().is_none_or(gone))
    }

    /// Returns this process as the owner of attempts and drivers.
    pub fn this_owner(&self, guardian: Option<crate::records::ProcessId>) -> Owner {
        let machine = &self.sys.machine;
        let pid = machine.pid();
        Owner {
            machine: machine.machine_id(),
            boot: machine.boot_id(),
            process: crate::records::ProcessId { pid, start_ticks: machine.process_start_ticks(pid).unwrap_or(0) },
            guardian,
        }
    }
}
