//! Which process: a number alone is reused, a number with its start time is not.

use crate::procfs::Stat;

/// A process of this boot, told apart from any other that had or will have its number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ProcessIdentity {
    /// The process number.
    pub pid: u32,
    /// When it started, in clock ticks since boot (field 22 of `/proc/PID/stat`).
    pub start_ticks: u64,
}

impl ProcessIdentity {
    /// Returns the identity of the process that has this number now, if there is one.
    pub fn of(pid: u32) -> Option<Self> {
        Stat::read(pid).map(|stat| Self { pid, start_ticks: stat.start_ticks })
    }

    /// Returns the identity of the calling process.
    pub fn own() -> Option<Self> {
        Self::of(std::process::id())
    }

    /// Says whether the process still runs. A zombie counts as dead: it executes nothing any more.
    pub fn alive(&self) -> bool {
        Stat::read(self.pid).is_some_and(|stat| stat.start_ticks == self.start_ticks && !stat.dead())
    }
}
