//! How much of what is on its way is in memory at once, whatever the artifact and the machine.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// So many objects are filled or sent at once.
const UP: usize = 6;

/// So many ranges are fetched, or wait to be written, at once.
const DOWN: usize = 12;

/// So many files in chunks are fetched at once: while one is hashed and written, others are on their way.
const FILES: usize = 8;

/// At most so many processors cut, hash and lay out at once, with a window of memory each.
const AT_WORK: usize = 4;

/// So much memory do transfers take at most with all of these.
const MEMORY: u64 = 256 << 20;

/// What bounds the memory of transfers; shared by all clones of a handle.
pub(crate) struct Lanes {
    up: Arc<Semaphore>,
    down: Arc<Semaphore>,
    at_work: usize,
    files: usize,
}

/// Room for one object or range, until it is dropped.
pub(crate) struct Room(#[expect(dead_code, reason = "it is held")] OwnedSemaphorePermit);

impl Lanes {
    pub(crate) fn new(processors: usize) -> Self {
        Self::within(processors, MEMORY)
    }

    /// Returns lanes for transfers that take at most so much memory; more than there is built in changes nothing.
    pub(crate) fn within(processors: usize, memory: u64) -> Self {
        let share = |of: usize| usize::try_from(of as u64 * memory.min(MEMORY) / MEMORY).unwrap_or(of).max(1);
        Self {
            up: Arc::new(Semaphore::new(share(UP))),
            down: Arc::new(Semaphore::new(share(DOWN))),
            at_work: processors.clamp(1, share(AT_WORK)),
            files: share(FILES),
        }
    }

    /// Returns how many processors work at a transfer.
    pub(crate) fn at_work(&self) -> usize {
        self.at_work
    }

    /// Returns how many files in chunks are fetched at once.
    pub(crate) fn files(&self) -> usize {
        self.files
    }

    /// Waits for room for an object.
    pub(crate) async fn up(&self) -> Room {
        Room(self.up.clone().acquire_owned().await.expect("it is never closed"))
    }

    /// Returns room for the next range of whoever `holds` room already: then only what is free at once.
    ///
    /// To wait while one holds room that others wait for would never end.
    pub(crate) async fn down(&self, holds: bool) -> Option<Room> {
        match holds {
            true => self.down.clone().try_acquire_owned().ok().map(Room),
            false => Some(Room(self.down.clone().acquire_owned().await.expect("it is never closed"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn less_memory_means_fewer_lanes_and_never_none() {
        let of =
            |lanes: &Lanes| (lanes.up.available_permits(), lanes.down.available_permits(), lanes.at_work, lanes.files);
        assert_eq!(of(&Lanes::new(8)), (UP, DOWN, AT_WORK, FILES));
        assert_eq!(of(&Lanes::within(8, u64::MAX)), (UP, DOWN, AT_WORK, FILES));
        assert_eq!(of(&Lanes::within(8, MEMORY / 4)), (1, 3, 1, 2));
        assert_eq!(of(&Lanes::within(0, 0)), (1, 1, 1, 1));
    }
}
