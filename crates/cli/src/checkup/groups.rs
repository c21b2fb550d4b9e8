//! Control groups: who keeps memory limits, and what this process itself may use.

use std::path::Path;

use prunella_model::ByteSize;
use prunella_process::memory_cgroup;

use super::{Check, Health, check};
use crate::context::Context;

/// Says where limits of memory could be kept by the kernel, and what this process may use itself.
pub fn checks(context: &Context) -> [Check; 2] {
    [cgroup(), own(context)]
}

fn cgroup() -> Check {
    match memory_cgroup() {
        Some(path) => {
            check("cgroup", Health::Good, format!("`{}`: the kernel keeps memory limits", path.display()), "")
        }
        None => {
            let help = "memory limits are kept by measuring; `systemd-run --user --scope -p Delegate=yes prunella run` has one";
            check("cgroup", Health::Note, "none that can be written", help)
        }
    }
}

/// What a group may use at most; nothing where it has no limit.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
struct Limits {
    memory: Option<u64>,
    processors: Option<f64>,
    processes: Option<u64>,
}

impl Limits {
    /// Returns what both leave.
    fn and(self, other: Self) -> Self {
        fn least<T: PartialOrd>(a: Option<T>, b: Option<T>) -> Option<T> {
            match (a, b) {
                (Some(a), Some(b)) => Some(if b < a { b } else { a }),
                (a, b) => a.or(b),
            }
        }
        Self {
            memory: least(self.memory, other.memory),
            processors: least(self.processors, other.processors),
            processes: least(self.processes, other.processes),
        }
    }

    fn in_words(self) -> String {
        let words: Vec<String> = [
            self.memory.map(|memory| format!("memory {}", ByteSize(memory))),
            self.processors.map(|processors| format!("{processors} processors")),
            self.processes.map(|processes| format!("{processes} processes")),
        ]
        .into_iter()
        .flatten()
        .collect();
        if words.is_empty() { "no limits".to_owned() } else { format!("at most {}", words.join(", ")) }
    }
}

/// Says in which group this process is, and what that group and those around it allow.
fn own(context: &Context) -> Check {
    let read = |path: &Path| context.sys.fs.read(path).ok().map(|text| String::from_utf8_lossy(&text).into_owned());
    let group = read(Path::new("/proc/self/cgroup")).and_then(|text| own_group(&text).map(str::to_owned));
    let Some(group) = group.filter(|_| context.sys.fs.list(Path::new(ROOT)).is_ok()) else {
        let help = "that a step ran out of memory is told by measuring alone; boot with \
                    `systemd.unified_cgroup_hierarchy=1`, where that is possible";
        return check("group", Health::Note, "no control groups of version 2", help);
    };
    let limits = Path::new(group.trim_start_matches('/')).ancestors().fold(Limits::default(), |so_far, group| {
        let file = |name: &str| read(&Path::new(ROOT).join(group).join(name)).unwrap_or_default();
        so_far.and(limits_of(&file("memory.max"), &file("cpu.max"), &file("pids.max")))
    });
    let few = limits.processes.is_some_and(|processes| processes < FEW);
    let health = if few { Health::Note } else { Health::Good };
    let help = "raise the limit (`TasksMax=` of a unit, `--pids-limit` of a container): every step needs some";
    check("group", health, format!("version 2, `{group}`: {}", limits.in_words()), help)
}

const ROOT: &str = "/sys/fs/cgroup";
/// Fewer processes than this and a run with many steps will stumble.
const FEW: u64 = 512;

fn own_group(text: &str) -> Option<&str> {
    text.lines().find_map(|line| line.strip_prefix("0::"))
}

/// Reads the three files of a group; `max` and what is not there are no limit.
fn limits_of(memory: &str, cpu: &str, pids: &str) -> Limits {
    let mut quota = cpu.split_whitespace().map(|word| word.parse::<f64>().ok());
    let processors = match (quota.next().flatten(), quota.next().flatten()) {
        (Some(quota), Some(period)) if period > 0.0 => Some((quota / period * 100.0).round() / 100.0),
        _ => None,
    };
    Limits { memory: memory.trim().parse().ok(), processors, processes: pids.trim().parse().ok() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lowest_limit_on_the_way_up_counts() {
        let inner = limits_of("max\n", "150000 100000\n", "4096\n");
        assert_eq!(inner, Limits { memory: None, processors: Some(1.5), processes: Some(4096) });
        let outer = limits_of("1073741824\n", "max 100000\n", "100\n");
        let both = inner.and(outer);
        assert_eq!(both, Limits { memory: Some(1 << 30), processors: Some(1.5), processes: Some(100) });
        assert_eq!(both.in_words(), "at most memory 1 GiB, 1.5 processors, 100 processes");
        assert_eq!(limits_of("", "", "").in_words(), "no limits");
    }

    #[test]
    fn the_line_of_version_2_is_found_among_others() {
        assert_eq!(own_group("12:pids:/a\n0::/user.slice/x.scope\n"), Some("/user.slice/x.scope"));
        assert_eq!(own_group("12:pids:/a\n"), None);
    }
}
