//! What attempts use, and whether one is over its limit.

use std::collections::HashMap;
use std::time::Duration;

use crate::guardian::census::{Census, Owner};
use crate::procfs;

/// What the living processes of one attempt use.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Measured {
    pub pids: Vec<u32>,
    pub cpu: Duration,
    /// Resident memory, bytes. Pages shared by several are counted several times: an upper bound of the true share.
    pub resident: u64,
}

impl Measured {
    /// Adds up what is known of every attempt's members.
    pub(super) fn all(census: &Census) -> HashMap<u64, Self> {
        let mut all: HashMap<u64, Self> = HashMap::new();
        for (pid, member) in census.members() {
            let Owner::Attempt(owner) = member.owner else { continue };
            let measured = all.entry(owner).or_default();
            measured.pids.push(pid);
            measured.cpu += member.stat.cpu();
            if !member.stat.dead() {
                measured.resident += member.stat.rss();
            }
        }
        all
    }

    /// Returns the memory to compare with a limit: the sum of proportional shares if resident memory comes near it.
    ///
    /// Shares need a walk of the page tables, seconds for a large process, and are never more than what is resident.
    pub(super) fn against(&self, limit: u64) -> u64 {
        // The kernel's cheap count lags by some pages per processor, hence the margin.
        if self.resident < limit - limit / 8 {
            return self.resident;
        }
        let share =
            |pid: &u32| procfs::pss(*pid).unwrap_or_else(|| procfs::Stat::read(*pid).map_or(0, |stat| stat.rss()));
        self.pids.iter().map(share).sum()
    }

    pub(super) fn io_bytes(&self) -> u64 {
        self.pids.iter().filter_map(|pid| procfs::io_bytes(*pid)).sum()
    }
}
