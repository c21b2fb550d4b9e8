//! Killing by number without hitting a stranger, and what the engine does when its guardian is gone.

use std::collections::{HashMap, HashSet};
use std::sync::Mutex;
use std::time::Duration;

use prunella_sys::{Clock, RealClock};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal};

use crate::error::ProcessError;
use crate::kernel;
use crate::procfs::{self, Stat, Variable};

/// How long processes that survive SIGKILL are waited for.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long the ends of those just killed are waited for before looking again.
const ROUND: Duration = Duration::from_millis(100);

/// The guardians of this process that live: their trees are in order.
pub(crate) static LIVING: Mutex<Vec<u32>> = Mutex::new(Vec::new());

/// Returns the list of living guardians, whatever became of another thread that held it.
pub(crate) fn living() -> std::sync::MutexGuard<'static, Vec<u32>> {
    LIVING.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// Kills a process if it is still the one that started then; returns a descriptor that tells its end.
pub(crate) fn kill(pid: u32, start_ticks: Option<u64>) -> Option<std::os::fd::OwnedFd> {
    let number = i32::try_from(pid).ok().and_then(Pid::from_raw)?;
    let held = rustix::process::pidfd_open(number, PidfdFlags::empty()).ok()?;
    // Looked at while the descriptor holds it: the number cannot change hands between the look and the signal.
    if start_ticks.is_some_and(|ticks| Stat::read(pid).is_none_or(|stat| stat.start_ticks != ticks)) {
        return None;
    }
    rustix::process::pidfd_send_signal(&held, Signal::KILL).ok()?;
    Some(held)
}

/// Kills what `find` finds until it finds nothing, and returns everything that was found.
pub(crate) fn kill_until_none<T>(
    mut find: impl FnMut() -> Result<Vec<(u32, u64, T)>, ProcessError>,
    mut after: impl FnMut(u32),
) -> Result<HashMap<(u32, u64), T>, ProcessError> {
    let begun = RealClock.monotonic();
    let mut killed = HashMap::new();
    loop {
        let found = find()?;
        if found.is_empty() {
            return Ok(killed);
        }
        if RealClock.monotonic() > begun + PATIENCE {
            return Err(ProcessError::Unkillable { pids: found.into_iter().map(|(pid, ..)| pid).collect() });
        }
        let mut ends = Vec::new();
        for (pid, start_ticks, what) in found {
            ends.extend(kill(pid, Some(start_ticks)).map(|end| (pid, end)));
            killed.insert((pid, start_ticks), what);
        }
        let until = RealClock.monotonic() + ROUND;
        for (pid, end) in ends {
            let left = until.saturating_sub(RealClock.monotonic());
            let timeout = Timespec { tv_sec: 0, tv_nsec: left.subsec_nanos().into() };
            // Whether it ended or not, the next look will tell.
            let _ = poll(&mut [PollFd::new(&end, PollFlags::IN)], Some(&timeout));
            after(pid);
        }
    }
}

/// Kills and reaps what a dead guardian left to this process, which is the next subreaper. Blocks.
///
/// The orphans are children of this process now, or descend from such. Told apart from children that the engine
/// started itself by their session: steps live in the guardian's, daemons in their own, the engine's own children in
/// the engine's. `attempts` finds those that do not fit.
pub(crate) fn kill_orphans(guardian: u32, attempts: &HashSet<String>) -> Result<u32, ProcessError> {
    let own = std::process::id();
    let session = Stat::read(own).map_or(0, |stat| stat.session);
    let orphaned = |pid: u32, stat: &Stat| {
        stat.session == guardian
            || stat.session != session
            || matches!(procfs::variable(pid, crate::ATTEMPT_ID), Variable::Set(id)
                if std::str::from_utf8(&id).is_ok_and(|id| attempts.contains(id)))
    };
    let find = || {
        let all = procfs::snapshot().map_err(|source| ProcessError::Proc { source })?;
        let guardians = living().clone();
        let mut found = Vec::new();
        for (pid, stat) in &all {
            let mut root = (*pid, *stat);
            // Bounded: a chain of parents read over time may hold a circle where numbers changed hands.
            for _ in 0..all.len() {
                match all.get(&root.1.ppid) {
                    Some(parent) if root.1.ppid != own => root = (root.1.ppid, *parent),
                    _ => break,
                }
            }
            if root.1.ppid != own || guardians.contains(&root.0) || !orphaned(root.0, &root.1) {
                continue;
            }
            if stat.dead() {
                if stat.ppid == own {
                    kernel::reap(*pid);
                }
            } else {
                found.push((*pid, stat.start_ticks, ()));
            }
        }
        Ok(found)
    };
    let killed = kill_until_none(find, |pid| {
        kernel::reap(pid);
    })?;
    Ok(u32::try_from(killed.len()).unwrap_or(u32::MAX))
}
