//! On which file system a directory lies: pure, but for reading what is mounted.

use std::path::{Path, PathBuf};

use prunella_sys::Sys;

/// A mounted file system.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileSystem {
    /// Where it is mounted.
    pub point: PathBuf,
    /// Its type, as `ext4`.
    pub kind: String,
    /// What is mounted, as `server:/share`.
    pub source: String,
    /// How it is mounted, by its own options.
    pub options: String,
}

/// File systems of other machines: what is locked, seen and durable there is what their servers make of it.
const FOREIGN: &[&str] = &[
    "nfs",
    "nfs4",
    "cifs",
    "smb3",
    "smbfs",
    "9p",
    "virtiofs",
    "afs",
    "ceph",
    "glusterfs",
    "lustre",
    "beegfs",
    "gpfs",
    "ocfs2",
    "gfs2",
    "vboxsf",
];

impl FileSystem {
    /// Returns the file system that a path is on, the nearest that exists of its parents if it is absent; nothing where the
    /// system does not say.
    pub fn of(sys: &Sys, path: &Path) -> Option<Self> {
        let absolute = path.ancestors().find_map(|path| std::fs::canonicalize(path).ok());
        let mounts = sys.fs.read(Path::new("/proc/self/mountinfo")).ok()?;
        Self::mounted(&String::from_utf8_lossy(&mounts), &absolute.unwrap_or_else(|| path.to_owned()))
    }

    /// Returns the file system of an absolute path, by the text of `/proc/self/mountinfo`.
    pub fn mounted(mounts: &str, path: &Path) -> Option<Self> {
        let points = mounts.lines().filter_map(|line| {
            let (mount, source) = line.split_once(" - ")?;
            let mut said = source.split(' ');
            Some(Self {
                point: PathBuf::from(unescaped(mount.split(' ').nth(4)?)),
                kind: said.next()?.to_owned(),
                source: unescaped(said.next().unwrap_or_default()),
                options: said.next().unwrap_or_default().to_owned(),
            })
        });
        // Of two at the same place the later one lies over the other.
        points
            .filter(|mounted| path.starts_with(&mounted.point))
            .max_by_key(|mounted| mounted.point.components().count())
    }

    /// Returns whether other machines may change what is on it.
    pub fn is_foreign(&self) -> bool {
        FOREIGN.contains(&self.kind.as_str()) || self.kind.starts_with("fuse.")
    }

    /// Returns whether it is gone with the next boot.
    pub fn is_memory(&self) -> bool {
        ["tmpfs", "ramfs"].contains(&self.kind.as_str())
    }

    /// Returns the options that are missing for others' changes to be seen at once, where that is known.
    pub fn missing_options(&self) -> Vec<&'static str> {
        let has = |option: &str| self.options.split(',').any(|said| said == option);
        let value = |name: &str| self.options.split(',').find_map(|said| said.strip_prefix(name)?.strip_prefix('='));
        let mut missing = Vec::new();
        if !self.kind.starts_with("nfs") {
            return missing;
        }
        if self.kind == "nfs" && !value("vers").is_some_and(|version| version.starts_with('4')) {
            missing.push("nfsvers=4.1");
        }
        let uncached = ["acregmin", "acregmax", "acdirmin", "acdirmax"].iter().all(|name| value(name) == Some("0"));
        if !has("noac") && value("actimeo") != Some("0") && !uncached {
            missing.push("actimeo=0");
        }
        if value("lookupcache") != Some("none") {
            missing.push("lookupcache=none");
        }
        missing
    }
}

/// Returns the text with `\040` and the like replaced by what they stand for.
fn unescaped(text: &str) -> String {
    let mut parts = text.split('\\');
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let byte = part.get(..3).and_then(|digits| u8::from_str_radix(digits, 8).ok());
        match byte {
            Some(byte) => {
                out.push(char::from(byte));
                out.push_str(&part[3..]);
            }
            None => {
                out.push('\\');
                out.push_str(part);
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOUNTS: &str = "22 1 0:20 / / rw - overlay overlay rw
30 22 8:1 / /data rw - ext4 /dev/sda1 rw
31 30 0:40 / /data/my\\040lake rw - nfs4 server:/lake rw,vers=4.2,lookupcache=none
32 31 0:41 / /data/my\\040lake/over rw - tmpfs tmpfs rw
33 22 0:42 / /old rw - nfs server:/old rw,vers=3
34 22 0:43 / /ssh rw - fuse.sshfs me@host: rw
";

    fn of(path: &str) -> FileSystem {
        FileSystem::mounted(MOUNTS, Path::new(path)).unwrap()
    }

    #[test]
    fn the_nearest_mount_counts_and_the_last_at_one_place() {
        assert_eq!(of("/home/a").kind, "overlay");
        assert_eq!(of("/data/a").kind, "ext4");
        assert_eq!(of("/database").kind, "overlay", "a name is no part of another");
        assert_eq!(of("/data/my lake/a").source, "server:/lake");
        assert_eq!(of("/data/my lake/over/a").kind, "tmpfs");
        assert_eq!(FileSystem::mounted("", Path::new("/a")), None);
    }

    #[test]
    fn what_belongs_to_other_machines_is_told_and_which_options_it_lacks() {
        let foreign: Vec<bool> = ["/data", "/data/my lake", "/old", "/ssh"].map(|path| of(path).is_foreign()).into();
        assert_eq!(foreign, [false, true, true, true]);
        assert_eq!(of("/data/my lake").missing_options(), ["actimeo=0"]);
        assert_eq!(of("/old").missing_options(), ["nfsvers=4.1", "actimeo=0", "lookupcache=none"]);
        let noac = FileSystem { options: "rw,noac,lookupcache=none".into(), ..of("/data/my lake") };
        assert!(noac.missing_options().is_empty());
        let as_the_kernel_says = "rw,acregmin=0,acregmax=0,acdirmin=0,acdirmax=0,lookupcache=none";
        let zero = FileSystem { options: as_the_kernel_says.into(), ..of("/data/my lake") };
        assert!(zero.missing_options().is_empty());
    }
}
