//! On which file system the store lies.

use std::path::{Path, PathBuf};

use super::{Check, Health, check};
use crate::{context::Context, present::path};

/// File systems of other machines: what is locked and what is durable there is what their servers make of it.
const REMOTE: &[&str] = &[
    "nfs",
    "nfs4",
    "cifs",
    "smb3",
    "smbfs",
    "9p",
    "afs",
    "ceph",
    "glusterfs",
    "lustre",
    "beegfs",
    "gpfs",
    "fuse.sshfs",
    "fuse.glusterfs",
    "fuse.s3fs",
    "fuse.gcsfuse",
    "fuse.rclone",
];

/// Says which file system the directory is on, and what that means for a store.
pub fn filesystem(context: &Context, dir: &Path) -> Check {
    let absolute = std::fs::canonicalize(dir).unwrap_or_else(|_| dir.to_owned());
    let mounts = context.sys.fs.read(Path::new("/proc/self/mountinfo")).unwrap_or_default();
    match mounted(&String::from_utf8_lossy(&mounts), &absolute) {
        Some((point, kind)) => judge(&point, &kind),
        None => check("filesystem", Health::Good, "unknown", ""),
    }
}

fn judge(point: &Path, kind: &str) -> Check {
    let found = format!("{kind}, mounted at `{}`", path(point));
    if REMOTE.contains(&kind) {
        let help = "let only one machine write a store there; better, keep it on a disk of this machine: `--store DIR`, or \
                    `store` in prunella.toml";
        return check("filesystem", Health::Note, found, help);
    }
    if ["tmpfs", "ramfs"].contains(&kind) {
        let help = "it is gone with the next boot, and takes memory; keep the store on a disk: `--store DIR`";
        return check("filesystem", Health::Note, found, help);
    }
    check("filesystem", Health::Good, found, "")
}

/// Returns mount point and type of the file system of an absolute path, by the text of `/proc/self/mountinfo`.
fn mounted(mounts: &str, path: &Path) -> Option<(PathBuf, String)> {
    let points = mounts.lines().filter_map(|line| {
        let (mount, source) = line.split_once(" - ")?;
        Some((PathBuf::from(unescaped(mount.split(' ').nth(4)?)), source.split(' ').next()?.to_owned()))
    });
    // Of two at the same place the later one lies over the other.
    points.filter(|(point, _)| path.starts_with(point)).max_by_key(|(point, _)| point.components().count())
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
31 30 0:40 / /data/my\\040lake rw - nfs4 server:/lake rw
32 31 0:41 / /data/my\\040lake rw - tmpfs tmpfs rw
";

    #[test]
    fn the_nearest_mount_counts_and_the_last_at_one_place() {
        let kind = |path: &str| mounted(MOUNTS, Path::new(path)).map(|(_, kind)| kind);
        assert_eq!(kind("/home/a").as_deref(), Some("overlay"));
        assert_eq!(kind("/data/a").as_deref(), Some("ext4"));
        assert_eq!(kind("/database").as_deref(), Some("overlay"), "a name is no part of another");
        assert_eq!(kind("/data/my lake/a").as_deref(), Some("tmpfs"));
        assert_eq!(mounted("", Path::new("/a")), None);
    }

    #[test]
    fn what_belongs_to_another_machine_or_to_memory_is_noted() {
        for (kind, health) in [("ext4", Health::Good), ("nfs4", Health::Note), ("tmpfs", Health::Note)] {
            assert_eq!(judge(Path::new("/x"), kind).health, health, "{kind}");
        }
    }
}
