//! The processes of a store, found by their environment, and how one of them is killed.

use std::collections::HashMap;
use std::fs;

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

/// A process as `/proc` showed it.
#[derive(Debug, Clone)]
pub struct Found {
    /// Its number.
    pub pid: u32,
    /// Its parent's number.
    pub parent: u32,
    start_ticks: u64,
    /// What `PRUNELLA_ATTEMPT_ID` says.
    pub attempt: Option<String>,
    /// What `PRUNELLA_STEP` says.
    pub step: Option<String>,
    /// Whether it is a guardian.
    pub guardian: bool,
}

/// Returns every living process whose environment has a variable that `wanted` wants, written `NAME=VALUE`.
pub fn processes(wanted: impl Fn(&[u8]) -> bool) -> Vec<Found> {
    let Ok(listed) = fs::read_dir("/proc") else { return Vec::new() };
    let pids = listed.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    pids.filter_map(|pid| {
        let environment = fs::read(format!("/proc/{pid}/environ")).ok()?;
        let variables = environment.split(|byte| *byte == 0);
        if !variables.clone().any(&wanted) {
            return None;
        }
        let (parent, start_ticks) = stat(pid)?;
        let variable = |name: &str| {
            let value = variables.clone().find_map(|variable| variable.strip_prefix(format!("{name}=").as_bytes()));
            value.map(|value| String::from_utf8_lossy(value).into_owned())
        };
        let (attempt, step) = (variable(prunella_process::ATTEMPT_ID), variable("PRUNELLA_STEP"));
        let words = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
        let guardian = words.split(|byte| *byte == 0).nth(1) == Some(prunella_process::GUARDIAN_ARG.as_bytes());
        Some(Found { pid, parent, start_ticks, attempt, step, guardian })
    })
    .collect()
}

/// Returns parent and start of a process that is not a zombie.
fn stat(pid: u32) -> Option<(u32, u64)> {
    let line = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let fields: Vec<&str> = line.get(line.rfind(')')? + 1..)?.split_ascii_whitespace().collect();
    if matches!(*fields.first()?, "Z" | "X" | "x") {
        return None;
    }
    Some((fields.get(1)?.parse().ok()?, fields.get(19)?.parse().ok()?))
}

impl Found {
    /// Sends a signal if it is still the same process; says whether it was.
    pub fn signal(&self, signal: Signal) -> bool {
        let Some(pid) = i32::try_from(self.pid).ok().and_then(Pid::from_raw) else { return false };
        let Ok(held) = pidfd_open(pid, PidfdFlags::empty()) else { return false };
        // The descriptor holds the number while it is looked whose it is.
        stat(self.pid).is_some_and(|(_, start)| start == self.start_ticks) && pidfd_send_signal(&held, signal).is_ok()
    }
}

/// Returns the main process of every attempt: the one whose parent belongs to no attempt.
pub fn mains(all: &[Found]) -> Vec<&Found> {
    let attempts: HashMap<u32, &Option<String>> = all.iter().map(|found| (found.pid, &found.attempt)).collect();
    let of_guardian = |found: &&Found| {
        all.iter().any(|parent| parent.pid == found.parent && parent.guardian)
            && attempts.get(&found.parent).is_some_and(|attempt| attempt.is_none())
    };
    all.iter().filter(|found| found.attempt.is_some()).filter(of_guardian).collect()
}
