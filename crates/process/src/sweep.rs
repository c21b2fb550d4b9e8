//! Finding by their environment, after engine and guardian are both dead, the processes that both left behind.

use std::collections::{HashMap, HashSet};

use rustix::event::{Timespec, poll};

use crate::error::ProcessError;
use crate::orphans::kill_until_none;
use crate::procfs::{self, Stat, Variable};

/// What a sweep has killed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Swept {
    /// Every process that was killed, by number.
    pub killed: Vec<SweptProcess>,
    /// How many processes have an environment that may not be read (those of other users).
    pub unreadable: u32,
}

/// A process that was killed by a sweep.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SweptProcess {
    /// Its number.
    pub pid: u32,
    /// The attempt it belonged to.
    pub attempt_id: String,
}

/// Kills every process whose environment names an attempt at or below `prefix`, and all that descends from or shares
/// group or session with one, until none is left. Blocks.
///
/// `prefix` is one or more whole components of an attempt id: `store/run` finds `store/run/key/3`, never
/// `store/run2/…`. The caller has proved beforehand that the owners of these attempts are dead. The calling process
/// is never killed.
///
/// # Errors
/// [`ProcessError::UnsafePrefix`] if the prefix is empty, [`ProcessError::Unkillable`] if a process survives SIGKILL
/// for ten seconds, [`ProcessError::Proc`] if `/proc` cannot be listed.
pub fn sweep(prefix: &str) -> Result<Swept, ProcessError> {
    let components = prefix.trim_end_matches('/');
    if components.is_empty() || components.starts_with('/') {
        return Err(ProcessError::UnsafePrefix { prefix: prefix.to_owned() });
    }
    let mut unreadable = 0;
    // Remembered over rounds: a child shows its origin only as long as its parent, or its group, is there.
    let mut groups: HashMap<u32, String> = HashMap::new();
    let killed = kill_until_none(
        || {
            let (found, hidden) = find(components, &mut groups)?;
            unreadable = hidden;
            Ok(found)
        },
        |_| (),
    )?;
    let mut killed: Vec<SweptProcess> =
        killed.into_iter().map(|((pid, _), attempt_id)| SweptProcess { pid, attempt_id }).collect();
    killed.sort_by_key(|process| process.pid);
    Ok(Swept { killed, unreadable })
}

type Found = Vec<(u32, u64, String)>;

fn find(components: &str, groups: &mut HashMap<u32, String>) -> Result<(Found, u32), ProcessError> {
    let own = std::process::id();
    let own_groups = Stat::read(own).map_or([0, 0], |stat| [stat.pgrp, stat.session]);
    let snapshot = procfs::snapshot().map_err(|source| ProcessError::Proc { source })?;
    let mut unreadable = 0;
    let mut pauses = 200;
    let mut all = HashMap::new();
    let mut owners: HashMap<u32, String> = HashMap::new();
    for (pid, stat) in snapshot {
        if pid == own || stat.dead() {
            continue;
        }
        match settled(pid, &mut pauses) {
            Variable::Set(id) => {
                if let Some(id) = attempt_below(components, &id) {
                    // Its group is only as good as a name if it is not the sweeper's own.
                    for group in [stat.pgrp, stat.session] {
                        if group > 0 && !own_groups.contains(&group) && group == pid {
                            groups.insert(group, id.clone());
                        }
                    }
                    owners.insert(pid, id);
                }
            }
            Variable::Hidden => unreadable += 1,
            Variable::Unset | Variable::UnderWay => (),
        }
        all.insert(pid, stat);
    }
    for (pid, stat) in &all {
        let group = groups.get(&stat.pgrp).or_else(|| groups.get(&stat.session));
        if let Some(id) = group {
            owners.entry(*pid).or_insert_with(|| id.clone());
        }
    }
    let mut rest: HashSet<u32> = all.keys().copied().filter(|pid| !owners.contains_key(pid)).collect();
    loop {
        let children: Vec<(u32, String)> =
            rest.iter().filter_map(|pid| Some((*pid, owners.get(&all.get(pid)?.ppid)?.clone()))).collect();
        if children.is_empty() {
            break;
        }
        for (pid, id) in children {
            rest.remove(&pid);
            owners.insert(pid, id);
        }
    }
    let found = owners.into_iter().filter_map(|(pid, id)| Some((pid, all.get(&pid)?.start_ticks, id))).collect();
    Ok((found, unreadable))
}

/// Looks until an exec that is under way is over, which takes a moment; `pauses` is how many are left to wait for all.
fn settled(pid: u32, pauses: &mut u32) -> Variable {
    const PAUSE: Timespec = Timespec { tv_sec: 0, tv_nsec: 5_000_000 };
    loop {
        match procfs::variable(pid, crate::ATTEMPT_ID) {
            Variable::UnderWay if *pauses > 0 && Stat::read(pid).is_some_and(|stat| !stat.dead()) => *pauses -= 1,
            variable => return variable,
        }
        let _ = poll(&mut [], Some(&PAUSE));
    }
}

fn attempt_below(components: &str, id: &[u8]) -> Option<String> {
    let id = std::str::from_utf8(id).ok()?;
    let rest = id.strip_prefix(components)?;
    (rest.is_empty() || rest.starts_with('/')).then(|| id.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_ends_where_a_component_ends() {
        let below = |components| attempt_below(components, b"s/run1/k/2");
        assert_eq!(below("s/run1").as_deref(), Some("s/run1/k/2"));
        assert_eq!(below("s/run1/k/2").as_deref(), Some("s/run1/k/2"));
        assert_eq!(below("s/run"), None);
        assert_eq!(below("s/run1/k/20"), None);
    }

    #[test]
    fn a_prefix_that_matches_everything_is_refused() {
        assert!(matches!(sweep(""), Err(ProcessError::UnsafePrefix { .. })));
        assert!(matches!(sweep("//"), Err(ProcessError::UnsafePrefix { .. })));
    }
}
