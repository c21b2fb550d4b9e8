//! A memory limit kept by the kernel, where a writable cgroup v2 subtree exists.

use std::fs;
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::Mode;

/// A place in which groups for attempts can be made.
#[derive(Debug, Clone)]
pub(super) struct CgroupRoot {
    path: PathBuf,
    /// Tells groups of several guardians apart.
    guardian: u32,
}

/// The group of one attempt; removed when dropped, if nothing is left in it.
#[derive(Debug)]
pub(super) struct Cgroup {
    path: PathBuf,
}

impl CgroupRoot {
    /// Finds a writable place: the guardian's own group, or the one above it, if it hands out the memory controller.
    ///
    /// Nothing is reconfigured and no process of others is moved: a place that was not prepared is not used.
    pub(super) fn find(guardian: u32) -> Option<Self> {
        let mount = mount_point(&fs::read_to_string("/proc/self/mountinfo").ok()?)?;
        let own = fs::read_to_string("/proc/self/cgroup").ok()?;
        let own = own.lines().find_map(|line| line.strip_prefix("0::/"))?;
        let own = mount.join(own);
        [Some(own.as_path()), own.parent().filter(|parent| parent.starts_with(&mount))]
            .into_iter()
            .flatten()
            .map(|path| Self { path: path.to_owned(), guardian })
            .find(Self::usable)
    }

    pub(super) fn into_path(self) -> PathBuf {
        self.path
    }

    fn usable(&self) -> bool {
        let hands_out = fs::read_to_string(self.path.join("cgroup.subtree_control"));
        if !hands_out.is_ok_and(|controllers| controllers.split_whitespace().any(|name| name == "memory")) {
            return false;
        }
        // Only trying shows whether it is allowed: delegation, read-only mounts and containers all differ.
        match self.make(u64::MAX, 1 << 40) {
            Some(probe) => probe.entrance().is_some(),
            None => false,
        }
    }

    /// Makes a group with a limit in bytes; none if the kernel refuses.
    pub(super) fn make(&self, id: u64, limit: u64) -> Option<Cgroup> {
        let path = self.path.join(format!("prunella-{}-{id}", self.guardian));
        rustix::fs::mkdir(&path, Mode::from_raw_mode(0o755)).ok()?;
        let group = Cgroup { path };
        put(&group.path.join("memory.max"), &limit.to_string()).ok()?;
        // The tree dies as one, or half-dead programs would hang; swap would only delay it. Both may be missing.
        let _ = put(&group.path.join("memory.oom.group"), "1");
        let _ = put(&group.path.join("memory.swap.max"), "0");
        Some(group)
    }
}

impl Cgroup {
    /// Opens the file through which a process enters the group.
    pub(super) fn entrance(&self) -> Option<OwnedFd> {
        fs::OpenOptions::new().write(true).open(self.path.join("cgroup.procs")).ok().map(OwnedFd::from)
    }

    pub(super) fn current(&self) -> Option<u64> {
        number(&self.path.join("memory.current"))
    }

    pub(super) fn peak(&self) -> Option<u64> {
        number(&self.path.join("memory.peak"))
    }

    /// Says whether the kernel killed in this group because of the limit.
    pub(super) fn killed_for_memory(&self) -> bool {
        fs::read_to_string(self.path.join("memory.events")).is_ok_and(|events| {
            let count = events.lines().find_map(|line| line.strip_prefix("oom_kill "));
            count.and_then(|count| count.trim().parse::<u64>().ok()).is_some_and(|count| count > 0)
        })
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        // Refused while something is left in it; then it is removed with the place it is in.
        let _ = rustix::fs::rmdir(&self.path);
    }
}

/// Writes to a file of the kernel's: nothing here is data that a crash could lose.
fn put(path: &Path, text: &str) -> io::Result<()> {
    fs::OpenOptions::new().create(cfg!(test)).truncate(false).write(true).open(path)?.write_all(text.as_bytes())
}

fn number(path: &Path) -> Option<u64> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

fn mount_point(mounts: &str) -> Option<PathBuf> {
    mounts.lines().find_map(|line| {
        let (mount, kind) = line.split_once(" - ")?;
        let point = mount.split(' ').nth(4)?;
        kind.starts_with("cgroup2 ").then(|| PathBuf::from(point))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mount_is_found_among_others() {
        let mounts = "25 30 0:23 / /sys rw - sysfs sysfs rw\n\
            31 25 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n";
        assert_eq!(mount_point(mounts), Some(PathBuf::from("/sys/fs/cgroup")));
        assert_eq!(mount_point("25 30 0:23 / /sys rw - sysfs sysfs rw\n"), None);
    }

    #[test]
    fn a_place_without_the_memory_controller_is_not_used() {
        let folder = tempfile::tempdir().unwrap();
        put(&folder.path().join("cgroup.subtree_control"), "cpu io\n").unwrap();
        assert!(!CgroupRoot { path: folder.path().to_owned(), guardian: 1 }.usable());
    }

    #[test]
    fn the_limit_is_written_and_kills_for_memory_are_read() {
        let folder = tempfile::tempdir().unwrap();
        let group = CgroupRoot { path: folder.path().to_owned(), guardian: 1 }.make(7, 1 << 20).unwrap();
        assert_eq!(fs::read_to_string(group.path.join("memory.max")).unwrap(), "1048576");
        assert!(!group.killed_for_memory());
        put(&group.path.join("memory.events"), "low 0\nhigh 0\nmax 9\noom 1\noom_kill 2\n").unwrap();
        put(&group.path.join("memory.peak"), "1048000\n").unwrap();
        assert!(group.killed_for_memory());
        assert_eq!(group.peak(), Some(1_048_000));
    }
}
