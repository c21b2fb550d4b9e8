//! One attempt as the guardian sees it.

use std::collections::HashSet;
use std::time::Duration;

use crate::guardian::cgroup::Cgroup;
use crate::kernel::{Exit, Reaped};
use crate::running::{EndStatus, OomEvidence};
use crate::wire::End;

/// Which part of its life an attempt is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// Its main process has not been reaped: its number and its group are its own.
    Running,
    /// The main process is gone; the rest of the tree is being killed.
    Ending { exit: Exit, since: Duration, look_at: Duration },
}

#[derive(Debug)]
pub(super) struct Attempt {
    pub attempt_id: String,
    pub main: u32,
    /// Just before it was spawned.
    pub started: Duration,
    pub phase: Phase,
    pub limit: Option<u64>,
    pub cgroup: Option<Cgroup>,
    pub peak: u64,
    /// What reaped processes have used.
    pub cpu_reaped: Duration,
    pub out_of_memory: Option<OomEvidence>,
    /// Bit n is set if we sent signal n.
    pub sent: u64,
    /// When its use was reported last, or it was started.
    pub reported: Duration,
    killed: HashSet<(u32, u64)>,
}

impl Attempt {
    pub(super) fn new(
        attempt_id: String,
        main: u32,
        limit: Option<u64>,
        cgroup: Option<Cgroup>,
        now: Duration,
    ) -> Self {
        Self {
            attempt_id,
            main,
            started: now,
            phase: Phase::Running,
            limit,
            cgroup,
            peak: 0,
            cpu_reaped: Duration::ZERO,
            out_of_memory: None,
            sent: 0,
            reported: now,
            killed: HashSet::new(),
        }
    }

    pub(super) fn running(&self) -> bool {
        self.phase == Phase::Running
    }

    pub(super) fn note_sent(&mut self, signal: i32) {
        if (1..64).contains(&signal) {
            self.sent |= 1 << signal;
        }
    }

    pub(super) fn note_reaped(&mut self, reaped: &Reaped) {
        self.cpu_reaped += reaped.cpu;
        self.peak = self.peak.max(reaped.peak_rss);
    }

    /// Notes that a process left behind was killed; one is counted once.
    pub(super) fn note_leftover(&mut self, pid: u32, start_ticks: u64) {
        self.killed.insert((pid, start_ticks));
    }

    /// Returns the evidence of the end.
    pub(super) fn end(self, exit: Exit, survivors: u32) -> End {
        let mut peak = self.peak;
        let mut out_of_memory = self.out_of_memory;
        if let Some(cgroup) = &self.cgroup {
            peak = peak.max(cgroup.peak().unwrap_or(0));
            if let (Some(limit), true) = (self.limit, cgroup.killed_for_memory()) {
                out_of_memory = Some(OomEvidence { limit, seen: peak.max(limit), cgroup: true });
            }
        }
        End {
            status: match exit {
                Exit::Code(code) => EndStatus::Exited(code),
                Exit::Signal(signal) => EndStatus::Signaled(signal),
            },
            memory_peak: peak,
            cpu: self.cpu_reaped,
            out_of_memory,
            leftovers_killed: u32::try_from(self.killed.len()).unwrap_or(u32::MAX),
            survivors,
            sent: self.sent,
        }
    }
}
