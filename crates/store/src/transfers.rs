//! How far transfers are: counted where bytes are sent and handed on, for whoever shows it.

use std::sync::atomic::{AtomicU64, Ordering};

/// What is to be moved, and what was.
#[derive(Debug, Default)]
pub struct Transfers {
    sending: Way,
    fetching: Way,
}

#[derive(Debug, Default)]
pub(crate) struct Way {
    all: AtomicU64,
    done: AtomicU64,
}

/// One way's bytes since the handle was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Moved {
    /// What is done: sent or fetched, or found to be there.
    pub done: u64,
    /// What that is part of, as far as it is known.
    pub all: u64,
}

impl Transfers {
    /// Returns how far sending is.
    pub fn sent(&self) -> Moved {
        self.sending.moved()
    }

    /// Returns how far fetching is.
    pub fn fetched(&self) -> Moved {
        self.fetching.moved()
    }

    pub(crate) fn sending(&self) -> &Way {
        &self.sending
    }

    pub(crate) fn fetching(&self) -> &Way {
        &self.fetching
    }
}

impl Way {
    /// Hears that so many bytes are to be moved.
    pub(crate) fn begin(&self, bytes: u64) {
        self.all.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Hears that so many of them are done.
    pub(crate) fn done(&self, bytes: u64) {
        self.done.fetch_add(bytes, Ordering::Relaxed);
    }

    fn moved(&self) -> Moved {
        Moved { done: self.done.load(Ordering::Relaxed), all: self.all.load(Ordering::Relaxed) }
    }
}
