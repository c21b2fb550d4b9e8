//! On which file system the store lies.

use std::path::Path;

use prunella_objects::directory::FileSystem;

use super::{Check, Health, check};
use crate::{context::Context, present::path};

/// Says which file system the directory is on, and what that means for a store.
pub fn filesystem(context: &Context, dir: &Path) -> Check {
    match FileSystem::of(&context.sys, dir) {
        Some(system) => judge(&system),
        None => check("filesystem", Health::Good, "unknown", ""),
    }
}

fn judge(system: &FileSystem) -> Check {
    let found = format!("{}, mounted at `{}`", system.kind, path(&system.point));
    if system.is_foreign() {
        let help = "let only one machine write a store there; better, keep it on a disk of this machine: `--store DIR`, or \
                    `store` in prunella.toml; for several machines a bucket, or `prunella store check dir://PATH`";
        return check("filesystem", Health::Note, found, help);
    }
    if system.is_memory() {
        let help = "it is gone with the next boot, and takes memory; keep the store on a disk: `--store DIR`";
        return check("filesystem", Health::Note, found, help);
    }
    check("filesystem", Health::Good, found, "")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_belongs_to_another_machine_or_to_memory_is_noted() {
        for (kind, health) in [("ext4", Health::Good), ("nfs4", Health::Note), ("tmpfs", Health::Note)] {
            let system =
                FileSystem { point: "/x".into(), kind: kind.to_owned(), source: String::new(), options: String::new() };
            assert_eq!(judge(&system).health, health, "{kind}");
        }
    }
}
