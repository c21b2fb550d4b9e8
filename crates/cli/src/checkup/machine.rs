//! The machine itself: system, memory, clock, limits.

use std::path::Path;

use prunella_model::{ByteSize, Span};
use prunella_process::{Guardian, GuardianOptions};

use super::{Check, Health, check};
use crate::{context::Context, present::lasting};

pub fn system(context: &Context) -> Check {
    let os_arch = context.sys.machine.os_arch();
    let found = format!("prunella {} on {}-{}", env!("CARGO_PKG_VERSION"), os_arch.os, os_arch.arch);
    if os_arch.os == "linux" {
        return check("system", Health::Good, found, "");
    }
    let lacks = "this system has no control groups (memory limits are measured, not kept by the kernel), no read leases \
                 (snapshots compare times instead), and no /proc (what a killed engine left is found by its guardian alone)";
    check("system", Health::Note, found, lacks)
}

pub async fn guardian() -> Check {
    match Guardian::start(GuardianOptions::default()).await {
        Ok(guardian) => {
            let pid = guardian.identity().pid;
            guardian.stop().await;
            check("guardian", Health::Good, format!("starts and ends (process {pid})"), "")
        }
        Err(error) => check("guardian", Health::Bad, error.to_string(), "steps cannot be started without it"),
    }
}

pub fn memory(context: &Context) -> Check {
    let machine = &context.sys.machine;
    let found = format!("{} for {} processors", ByteSize(machine.memory_total()), machine.cpu_count());
    check("memory", Health::Good, found, "")
}

pub fn clock(context: &Context) -> [Check; 2] {
    [wall(context), boot(context)]
}

/// Says how long this machine has run, by the clock that decides, and how this boot is told from others.
fn boot(context: &Context) -> Check {
    let (id, up) = (context.sys.machine.boot_id(), context.sys.clock.monotonic());
    if id == "unknown-boot" {
        let help = "whether what an engine left is from before a crash cannot be told: its lease of 60 s is waited for";
        return check("boot", Health::Note, "no id of this boot", help);
    }
    let up = lasting(Span::from(up).as_millis());
    check("boot", Health::Good, format!("{id}, {up} ago without suspension"), "")
}

fn wall(context: &Context) -> Check {
    /// 2024-01-01: no Prunella is older.
    const OLDEST: i64 = 1_704_067_200_000;
    let now = context.sys.clock.wall_ms();
    let health = if now < OLDEST { Health::Note } else { Health::Good };
    let help = "set it: times shown to people will be wrong; nothing is decided by it";
    check("clock", health, crate::present::moment(now), help)
}

/// Containers get this much shared memory unless somebody asks for more.
const USUAL_SHM: u64 = 64 << 20;

/// Says how much memory processes can share.
pub fn shared_memory(context: &Context) -> Check {
    let there = context.sys.machine.shared_memory_total();
    let health = if there.is_none_or(|there| there <= USUAL_SHM) { Health::Note } else { Health::Good };
    let found = there.map_or_else(|| "there is no `/dev/shm`".to_owned(), |there| ByteSize(there).to_string());
    let help = "data loaders with several processes need more: a container's `--shm-size`, or \
                `mount -o remount,size=8G /dev/shm`; `resources: { shm: … }` says what a step needs";
    check("shm", health, found, help)
}

/// Looks at the limits of this process that runs meet first.
pub fn limits(context: &Context) -> Vec<Check> {
    let Ok(text) = context.sys.fs.read(Path::new("/proc/self/limits")) else { return Vec::new() };
    let text = String::from_utf8_lossy(&text).into_owned();
    [("Max open files", "files", 1024), ("Max processes", "processes", 512)]
        .into_iter()
        .filter_map(|(row, name, least)| {
            let soft = soft_limit(&text, row)?;
            let (health, found) = match soft {
                None => (Health::Good, format!("no limit on {name}")),
                Some(limit) if limit < least => (Health::Note, format!("at most {limit} {name}")),
                Some(limit) => (Health::Good, format!("at most {limit} {name}")),
            };
            Some(check("limits", health, found, "raise it with `ulimit`: every step needs some"))
        })
        .collect()
}

/// Returns the soft limit of a row of /proc/self/limits; inside, nothing for *unlimited*.
fn soft_limit(text: &str, row: &str) -> Option<Option<u64>> {
    let rest = text.lines().find_map(|line| line.strip_prefix(row))?;
    match rest.split_whitespace().next()? {
        "unlimited" => Some(None),
        number => number.parse().ok().map(Some),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_soft_limit_is_the_first_number() {
        let text = "Limit                     Soft Limit           Hard Limit           Units\n\
                    Max processes             unlimited            unlimited            processes\n\
                    Max open files            1024                 4096                 files\n";
        assert_eq!(soft_limit(text, "Max open files"), Some(Some(1024)));
        assert_eq!(soft_limit(text, "Max processes"), Some(None));
        assert_eq!(soft_limit(text, "Max nothing"), None);
    }
}
