//! Which machine this is, what runs on it, how large it is.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Mutex, OnceLock};

/// Operating system and processor architecture, as in `linux`, `x86_64`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct OsArch {
    /// `linux`, `macos`, …
    pub os: &'static str,
    /// `x86_64`, `aarch64`, …
    pub arch: &'static str,
}

/// Identifies this machine and its processes.
pub trait Machine: Send + Sync {
    /// Returns an identity that two processes share only if a process number means the same to both.
    ///
    /// A container has an identity of its own, which ends with it: what another boot or container left is then judged by
    /// its lease, never as "another boot of this machine" (images often carry one machine id to many nodes).
    fn machine_id(&self) -> String;

    /// Returns the identity of this boot of the machine.
    fn boot_id(&self) -> String;

    /// Returns this process's number.
    fn pid(&self) -> u32;

    /// Returns when process `pid` started, in clock ticks since boot; `None` if it is gone or a zombie.
    ///
    /// With the boot id and `pid` this names a process for ever, although numbers are used again.
    fn process_start_ticks(&self, pid: u32) -> Option<u64>;

    /// Returns how many processors this process may use, at least 1.
    fn cpu_count(&self) -> usize;

    /// Returns the memory this process may use, in bytes: the machine's, or its control group's limit if lower.
    fn memory_total(&self) -> u64;

    /// Returns the size of the shared memory (`/dev/shm`), in bytes; nothing if there is none.
    fn shared_memory_total(&self) -> Option<u64>;

    /// Returns operating system and architecture.
    fn os_arch(&self) -> OsArch;

    /// Returns the host's name, for display.
    fn hostname(&self) -> String;
}

/// The machine this process runs on.
#[derive(Debug, Default)]
pub struct RealMachine {
    identity: OnceLock<(String, String)>,
}

/// The number of the first process namespace of every Linux kernel (`PROC_PID_INIT_INO`).
const INITIAL_PID_NAMESPACE: &str = "pid:[4026531836]";

impl RealMachine {
    /// Returns the machine; nothing is read before it is asked for.
    pub fn new() -> Self {
        Self::default()
    }

    fn identity(&self) -> &(String, String) {
        self.identity.get_or_init(|| {
            let boot = read_trimmed("/proc/sys/kernel/random/boot_id").unwrap_or_else(|| "unknown-boot".into());
            let machine = read_trimmed("/etc/machine-id")
                .or_else(|| read_trimmed("/var/lib/dbus/machine-id"))
                .unwrap_or_else(|| format!("host-{}", hostname()));
            let namespace = std::fs::read_link("/proc/self/ns/pid").unwrap_or_default();
            let namespace = namespace.to_string_lossy();
            let machine = if namespace == INITIAL_PID_NAMESPACE {
                machine
            } else {
                let number: String = namespace.chars().filter(char::is_ascii_digit).collect();
                format!("{machine}.{boot}.{number}")
            };
            (machine, boot)
        })
    }
}

impl Machine for RealMachine {
    fn machine_id(&self) -> String {
        self.identity().0.clone()
    }

    fn boot_id(&self) -> String {
        self.identity().1.clone()
    }

    fn pid(&self) -> u32 {
        std::process::id()
    }

    fn process_start_ticks(&self, pid: u32) -> Option<u64> {
        process_start_ticks(pid)
    }

    fn cpu_count(&self) -> usize {
        std::thread::available_parallelism().map_or(1, Into::into)
    }

    fn memory_total(&self) -> u64 {
        let machine =
            std::fs::read_to_string("/proc/meminfo").ok().and_then(|text| mem_total(&text)).unwrap_or(u64::MAX);
        cgroup_memory_limit().map_or(machine, |limit| limit.min(machine))
    }

    fn shared_memory_total(&self) -> Option<u64> {
        let there = rustix::fs::statvfs("/dev/shm").ok()?;
        Some(there.f_blocks.saturating_mul(there.f_frsize))
    }

    fn os_arch(&self) -> OsArch {
        OsArch { os: std::env::consts::OS, arch: std::env::consts::ARCH }
    }

    fn hostname(&self) -> String {
        hostname()
    }
}

#[cfg(target_os = "linux")]
fn process_start_ticks(pid: u32) -> Option<u64> {
    start_ticks(&std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

/// Without /proc only life is known, not its beginning: a number used again then looks like the old process.
#[cfg(not(target_os = "linux"))]
fn process_start_ticks(pid: u32) -> Option<u64> {
    let pid = rustix::process::Pid::from_raw(i32::try_from(pid).ok()?)?;
    match rustix::process::test_kill_process(pid) {
        Ok(()) | Err(rustix::io::Errno::PERM) => Some(0),
        Err(_) => None,
    }
}

fn read_trimmed(path: &str) -> Option<String> {
    let text = std::fs::read_to_string(path).ok()?;
    let text = text.trim();
    (!text.is_empty() && text != "uninitialized").then(|| text.to_owned())
}

fn hostname() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

/// Reads field 22 of `/proc/<pid>/stat`; the name in field 2 may hold blanks and parentheses.
#[cfg(any(target_os = "linux", test))]
fn start_ticks(stat: &str) -> Option<u64> {
    let mut fields = stat.get(stat.rfind(')')? + 1..)?.split_ascii_whitespace();
    match fields.next()? {
        "Z" | "X" | "x" => None,
        _ => fields.nth(18)?.parse().ok(),
    }
}

fn mem_total(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    line.split_ascii_whitespace().next()?.parse::<u64>().ok()?.checked_mul(1024)
}

/// Returns the lowest memory limit on the way from this process's control group (v2) to the root.
fn cgroup_memory_limit() -> Option<u64> {
    let own = std::fs::read_to_string("/proc/self/cgroup").ok()?;
    let own = own.lines().find_map(|line| line.strip_prefix("0::"))?;
    Path::new(own.trim_start_matches('/'))
        .ancestors()
        .filter_map(|group| {
            let file = Path::new("/sys/fs/cgroup").join(group).join("memory.max");
            std::fs::read_to_string(file).ok()?.trim().parse().ok()
        })
        .min()
}

/// A machine with chosen identity and processes; for tests.
#[derive(Debug)]
pub struct FakeMachine {
    /// What [`Machine::machine_id`] returns.
    pub machine: String,
    /// What [`Machine::boot_id`] returns.
    pub boot: String,
    /// What [`Machine::pid`] returns.
    pub pid: u32,
    /// Living processes: number to start ticks.
    pub processes: Mutex<BTreeMap<u32, u64>>,
}

impl FakeMachine {
    /// Returns a machine of that name on boot `boot-1` where process 100 asks and lives.
    pub fn new(machine: impl Into<String>) -> Self {
        FakeMachine {
            machine: machine.into(),
            boot: "boot-1".into(),
            pid: 100,
            processes: Mutex::new(BTreeMap::from([(100, 1)])),
        }
    }
}

impl Machine for FakeMachine {
    fn machine_id(&self) -> String {
        self.machine.clone()
    }

    fn boot_id(&self) -> String {
        self.boot.clone()
    }

    fn pid(&self) -> u32 {
        self.pid
    }

    fn process_start_ticks(&self, pid: u32) -> Option<u64> {
        self.processes.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).get(&pid).copied()
    }

    fn cpu_count(&self) -> usize {
        2
    }

    fn memory_total(&self) -> u64 {
        4 << 30
    }

    fn shared_memory_total(&self) -> Option<u64> {
        Some(64 << 20)
    }

    fn os_arch(&self) -> OsArch {
        OsArch { os: "linux", arch: "x86_64" }
    }

    fn hostname(&self) -> String {
        self.machine.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn start_ticks_survive_a_hostile_process_name() {
        let tail = "S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 777 20";
        assert_eq!(start_ticks(&format!("42 (a) Z 1) {tail}")), Some(777));
    }

    #[test]
    fn a_zombie_counts_as_gone() {
        assert_eq!(start_ticks("42 (a) Z 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 777 20"), None);
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let machine = RealMachine::new();
        // Until it is waited for it stays a zombie; before that it may still run.
        while machine.process_start_ticks(child.id()).is_some() {
            std::thread::yield_now();
        }
        child.wait().unwrap();
    }

    #[test]
    fn this_process_is_alive_and_its_machine_has_a_name_and_memory() {
        let machine = RealMachine::new();
        assert!(machine.process_start_ticks(machine.pid()).is_some_and(|ticks| ticks > 0));
        assert!(!machine.machine_id().is_empty() && !machine.boot_id().is_empty());
        assert!(machine.memory_total() > 1 << 20 && machine.cpu_count() >= 1);
    }

    #[test]
    fn mem_total_is_bytes() {
        assert_eq!(mem_total("MemFree: 1 kB\nMemTotal:       2048 kB\n"), Some(2 << 20));
    }
}
