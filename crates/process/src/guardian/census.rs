//! Who descends from the guardian, and to which attempt each belongs.
//!
//! The guardian is the nearest subreaper, so every process of every attempt is its descendant, always; but this
//! kernel may offer no list of children. Numbers are given in order and `/proc/loadavg` names the last one, so what a
//! short attempt has left lies between its main process's number and the last one, and only these are probed. When
//! that could be wrong (the numbers may have come round, or there are many) all of `/proc` is walked.

use std::collections::HashMap;
use std::time::Duration;

use crate::procfs::{self, Stat};

/// Ranges over this many numbers are not probed: a walk is as cheap.
const PROBED: u32 = 512;
/// The shortest time in which a machine can give one number, with a wide margin (a fork takes tens of µs).
const PER_PID: Duration = Duration::from_micros(3);
/// How often a broken chain of parents is read again. Each time, somebody in it must have died in between.
const REREADS: usize = 16;

/// A descendant of the guardian.
#[derive(Debug, Clone)]
pub(super) struct Member {
    pub stat: Stat,
    /// Whose it is. Kept when its parents die.
    pub owner: Owner,
    /// Whether it is the first process of its attempt, which only the guardian reaps.
    pub main: bool,
}

/// To which attempt a process belongs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Owner {
    Attempt(u64),
    /// To one that has ended, or to none of ours.
    Gone,
    /// Nothing tells: it left group and session, its parents are dead, its environment does not name an attempt.
    Unnamed,
    /// As `Unnamed`, but in the middle of an exec, before its environment is in place; seen so for so many looks.
    Blank(u8),
}

impl Owner {
    /// Says whether another look may tell more.
    pub(super) fn unsettled(self) -> bool {
        matches!(self, Self::Blank(looks) if looks < 200)
    }
}

/// How much a look must be worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Look {
    /// Who is there of attempts whose main processes have ended, the first of them started at this number and time.
    ///
    /// A fork under way then has a parent that is there and is found, so the next look finds the child.
    Since { main: u32, started: Duration },
    /// Who is there.
    Walk,
    /// Who is there, and what each has used so far.
    Use,
}

#[derive(Debug)]
pub(super) struct Census {
    guardian: u32,
    pid_max: u32,
    members: HashMap<u32, Member>,
}

impl Census {
    pub(super) fn new(guardian: u32) -> Self {
        let pid_max = procfs::pid_max().unwrap_or(0);
        Self { guardian, pid_max, members: HashMap::new() }
    }

    /// Notes that nothing descends from the guardian.
    pub(super) fn clear(&mut self) {
        self.members.clear();
    }

    /// Notes the first process of an attempt.
    pub(super) fn spawned(&mut self, pid: u32, owner: u64) {
        // What it is and uses is read at the first look that asks for it; until it is reaped its number is its own.
        let stat = Stat {
            state: b'R',
            ppid: self.guardian,
            pgrp: pid,
            session: 0,
            cpu_ticks: 0,
            start_ticks: 0,
            rss_pages: 0,
        };
        self.members.insert(pid, Member { stat, owner: Owner::Attempt(owner), main: true });
    }

    /// Notes that a child was reaped, and returns what was known of it.
    pub(super) fn reaped(&mut self, pid: u32) -> Option<Member> {
        self.members.remove(&pid)
    }

    pub(super) fn members(&self) -> impl Iterator<Item = (u32, &Member)> {
        self.members.iter().map(|(pid, member)| (*pid, member))
    }

    /// Looks again. `claim` says to which attempt a process belongs whose parents do not tell.
    pub(super) fn look(&mut self, look: Look, now: Duration, claim: impl Fn(u32, &Stat) -> Owner) {
        self.renew(look == Look::Use, &claim);
        match look {
            Look::Since { main, started } if self.probe(main, now.saturating_sub(started), &claim) => (),
            Look::Since { .. } | Look::Walk | Look::Use => self.walk(&claim),
        }
    }

    /// Drops members that are gone and reads the others again.
    fn renew(&mut self, mains_too: bool, claim: &impl Fn(u32, &Stat) -> Owner) {
        self.members.retain(|pid, member| {
            if member.main && !mains_too {
                return true;
            }
            match Stat::read(*pid) {
                Some(stat) if member.main || stat.start_ticks == member.stat.start_ticks => {
                    member.stat = stat;
                    if let Owner::Blank(looks) = member.owner {
                        member.owner = match claim(*pid, &stat) {
                            Owner::Blank(_) => Owner::Blank(looks.saturating_add(1)),
                            known => known,
                        };
                    }
                    true
                }
                // A main process stays a zombie until the guardian reaps it; failing to read it proves nothing.
                _ => member.main,
            }
        });
    }

    /// Probes the numbers given since this one, which was so long ago; false if that cannot be relied on.
    fn probe(&mut self, main: u32, ago: Duration, claim: &impl Fn(u32, &Stat) -> Owner) -> bool {
        // In this time the numbers cannot have come round a whole time, so a larger last number means: not at all.
        if ago >= PER_PID * self.pid_max {
            return false;
        }
        let mut fresh = Vec::new();
        let mut from = main;
        loop {
            let Some(last) = procfs::last_pid() else { return false };
            if last < from || last - main > PROBED {
                return false;
            }
            // What was forked while we looked is looked at, too, until the last number stands still.
            if last == from {
                break;
            }
            fresh.extend((from + 1..=last).filter_map(|pid| Some((pid, Stat::read(pid)?))));
            from = last;
        }
        fresh.retain(|(pid, _)| *pid != self.guardian && !self.members.contains_key(pid));
        self.admit(fresh, claim, |parent| Stat::read(parent).is_some());
        true
    }

    fn walk(&mut self, claim: &impl Fn(u32, &Stat) -> Owner) {
        // Without /proc nothing can be found; the next look tries again.
        let Ok(seen) = procfs::snapshot() else { return };
        let known = |pid: &u32| *pid == self.guardian || self.members.contains_key(pid);
        let fresh = seen.iter().filter(|(pid, _)| !known(pid)).map(|(pid, stat)| (*pid, *stat)).collect();
        self.admit(fresh, claim, |parent| seen.contains_key(&parent));
    }

    /// Makes members of those whose parents lead to the guardian. A parent that died in between has handed its
    /// children on, so their lines are read again.
    fn admit(
        &mut self,
        mut fresh: Vec<(u32, Stat)>,
        claim: &impl Fn(u32, &Stat) -> Owner,
        exists: impl Fn(u32) -> bool,
    ) {
        for _ in 0..REREADS {
            loop {
                let before = fresh.len();
                fresh.retain(|(pid, stat)| {
                    let owner = match self.members.get(&stat.ppid) {
                        Some(Member { owner: owner @ Owner::Attempt(_), .. }) => *owner,
                        Some(_) => claim(*pid, stat),
                        None if stat.ppid == self.guardian => claim(*pid, stat),
                        None => return true,
                    };
                    // Threads have numbers, too, and a line of their own under /proc, although no listing shows them.
                    if !procfs::is_process(*pid) {
                        return false;
                    }
                    self.members.insert(*pid, Member { stat: *stat, owner, main: false });
                    false
                });
                if fresh.len() == before {
                    break;
                }
            }
            let pending: Vec<u32> = fresh.iter().map(|(pid, _)| *pid).collect();
            let mut moved = false;
            fresh.retain_mut(|(pid, stat)| {
                if stat.ppid <= 1 || pending.contains(&stat.ppid) || exists(stat.ppid) {
                    return true;
                }
                match Stat::read(*pid) {
                    Some(again) => {
                        moved |= again.ppid != stat.ppid;
                        *stat = again;
                        true
                    }
                    None => false,
                }
            });
            if !moved {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader};
    use std::process::{Child, Command, Stdio};

    use super::*;

    const LONG_AGO: Duration = Duration::ZERO;

    /// A child with a child in a session of its own.
    fn tree() -> (Child, u32) {
        let script = "setsid sh -c 'echo $$; exec sleep 1000' & exec sleep 1000";
        let mut child = Command::new("/bin/sh").args(["-c", script]).stdout(Stdio::piped()).spawn().expect("a shell");
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("its output")).read_line(&mut line).expect("a line");
        (child, line.trim().parse().expect("a number"))
    }

    fn found(look: Look, census: &mut Census, now: Duration) -> Vec<u32> {
        census.look(look, now, |_, _| Owner::Unnamed);
        let mut pids: Vec<u32> = census.members().map(|(pid, _)| pid).collect();
        pids.sort_unstable();
        pids
    }

    #[test]
    fn a_probe_and_a_walk_find_a_grandchild_that_left_its_session() {
        let own = std::process::id();
        let (mut child, grandchild) = tree();
        let mut probing = Census::new(own);
        probing.spawned(child.id(), 7);
        // A probe, unless the numbers have just come round: then it is a walk, which must find the same.
        let probed = found(Look::Since { main: child.id(), started: LONG_AGO }, &mut probing, LONG_AGO);
        let walked = found(Look::Walk, &mut Census::new(own), LONG_AGO);
        for pids in [&probed, &walked] {
            assert!(pids.contains(&child.id()) && pids.contains(&grandchild), "{pids:?}");
            assert!(!pids.contains(&own) && !pids.contains(&1), "{pids:?}");
        }
        let owner = probing.members().find(|(pid, _)| *pid == grandchild).map(|(_, member)| member.owner);
        assert_eq!(owner, Some(Owner::Attempt(7)), "whose child it is tells whose it is");
        crate::orphans::kill(grandchild, None);
        child.kill().expect("a kill");
        child.wait().expect("an end");
    }

    #[test]
    fn numbers_that_may_have_come_round_are_not_relied_on() {
        let mut census = Census::new(std::process::id());
        let last = procfs::last_pid().expect("a last number");
        let limit = PER_PID * census.pid_max;
        assert!(!census.probe(last, limit, &|_, _| Owner::Unnamed), "too long ago");
        assert!(!census.probe(u32::MAX - 1, LONG_AGO, &|_, _| Owner::Unnamed), "the last number went back");
        if let Some(before) = last.checked_sub(PROBED + 1) {
            assert!(!census.probe(before, LONG_AGO, &|_, _| Owner::Unnamed), "too many");
        }
    }

    #[test]
    fn an_exec_under_way_is_looked_at_again_but_not_for_ever() {
        assert!(Owner::Blank(0).unsettled() && !Owner::Blank(200).unsettled());
        assert!(!Owner::Unnamed.unsettled() && !Owner::Gone.unsettled());
    }
}
