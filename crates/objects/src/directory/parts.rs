//! Files on their way: each names its owner, so that what a kill left is removed when nobody can own it any more.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use prunella_sys::{Fs, Sys, mutated, random_hex};

/// The folder of files on their way, on the file system of the objects.
#[derive(Clone)]
pub(super) struct Parts {
    sys: Sys,
    dir: PathBuf,
    owner: String,
}

/// Who makes a part: machine, boot, process and its start.
fn owner(sys: &Sys) -> String {
    let machine = &sys.machine;
    let pid = machine.pid();
    let start = machine.process_start_ticks(pid).unwrap_or(0);
    format!("{}-{}-{pid}-{start}", short(&machine.machine_id()), short(&machine.boot_id()))
}

fn short(text: &str) -> String {
    blake3::hash(text.as_bytes()).to_hex()[..16].to_owned()
}

impl Parts {
    /// Returns the parts of the store in `dir`; the folder is there.
    pub(super) fn new(sys: &Sys, dir: &Path) -> Self {
        Self { sys: sys.clone(), dir: dir.join("tmp"), owner: owner(sys) }
    }

    /// Returns a path that nobody else uses.
    pub(super) fn free(&self) -> PathBuf {
        self.dir.join(format!("{}-{}", self.owner, random_hex(&*self.sys.random, 8)))
    }

    /// Makes a file of these bytes whose content is durable.
    pub(super) fn with_bytes(&self, bytes: &[u8]) -> io::Result<PathBuf> {
        let part = self.free();
        self.filled(part, |path| {
            let mut file = self.sys.fs.create_new(path)?;
            file.write_all(bytes)?;
            file.sync()
        })
    }

    /// Lets `fill` make a file; what it leaves when it fails is removed.
    pub(super) fn filled(&self, part: PathBuf, fill: impl FnOnce(&Path) -> io::Result<()>) -> io::Result<PathBuf> {
        match fill(&part).and_then(|()| self.sys.fs.set_mode(&part, 0o444)) {
            Ok(()) => Ok(part),
            Err(error) => {
                // What cannot be removed is removed when this process is gone.
                let _ = self.sys.fs.remove_file(&part);
                Err(error)
            }
        }
    }

    /// Removes a part that is done with.
    pub(super) fn remove(&self, part: &Path) {
        let _removed_later = self.sys.fs.remove_file(part);
    }

    /// Removes what processes of this machine left that are gone; another machine's are not judged from here.
    pub(super) fn clean(&self) {
        let mine = short(&self.sys.machine.machine_id());
        let boot = short(&self.sys.machine.boot_id());
        for entry in self.sys.fs.list(&self.dir).unwrap_or_default() {
            let Some(name) = entry.name.to_str() else { continue };
            let [machine, booted, pid, start, _] = name.split('-').collect::<Vec<_>>()[..] else { continue };
            let (Ok(pid), Ok(start)) = (pid.parse(), start.parse::<u64>()) else { continue };
            let lives = || booted == boot && self.sys.machine.process_start_ticks(pid) == Some(start);
            if machine == mine && !lives() {
                self.remove(&self.dir.join(name));
            }
        }
    }
}

/// Whose a name is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Named {
    /// It names the part now.
    Ours,
    /// Something was there.
    Theirs,
}

/// Why it is not known whose a name is, or nobody's.
#[derive(Debug)]
pub(super) enum NotNamed {
    /// Nothing was done.
    Failed(io::Error),
    /// It may have been done.
    Unknown(io::Error),
    /// The file system has neither links nor renames that replace nothing.
    Unfit,
}

/// Gives a part its name unless something has it.
///
/// What `link` answers may be wrong on a network (a repeated request finds its own work); how many names the file has is not.
pub(super) fn name(fs: &dyn Fs, part: &Path, place: &Path) -> Result<Named, NotNamed> {
    let linked = fs.hard_link(part, place);
    let names = match fs.metadata(part) {
        Ok(Some(meta)) => meta.nlink,
        Ok(None) => return Err(NotNamed::Unknown(io::ErrorKind::NotFound.into())),
        Err(error) => return Err(NotNamed::Unknown(error)),
    };
    if names >= 2 && !(mutated(82) && linked.is_err()) {
        return Ok(Named::Ours);
    }
    match linked {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(Named::Theirs),
        Err(error) if has_no_links(&error) => match fs.rename_noreplace(part, place) {
            Ok(true) => Ok(Named::Ours),
            Ok(false) => Ok(Named::Theirs),
            Err(error) if has_no_links(&error) => Err(NotNamed::Unfit),
            Err(error) => Err(NotNamed::Failed(error)),
        },
        Err(error) => Err(NotNamed::Failed(error)),
        // It says that it linked, and counts no second name.
        Ok(()) => Err(NotNamed::Unfit),
    }
}

/// FAT says EPERM, which is no missing right: that is EACCES.
fn has_no_links(error: &io::Error) -> bool {
    const EPERM: i32 = 1;
    matches!(error.kind(), io::ErrorKind::Unsupported | io::ErrorKind::InvalidInput)
        || error.raw_os_error() == Some(EPERM)
}

#[cfg(test)]
mod tests {
    use super::*;
    use prunella_sys::FakeMachine;
    use std::sync::Arc;

    #[test]
    fn what_a_kill_left_goes_when_nobody_can_own_it() {
        let dir = tempfile::tempdir().unwrap();
        Sys::real().fs.create_dir(&dir.path().join("tmp")).unwrap();
        let on = |machine: &str, boot: &str, pid: u32| {
            let mut fake = FakeMachine::new(machine);
            fake.boot = boot.to_owned();
            fake.pid = pid;
            fake.processes.lock().unwrap().insert(pid, 7);
            Sys { machine: Arc::new(fake), ..Sys::real() }
        };
        let part = |sys: &Sys| Parts::new(sys, dir.path()).with_bytes(b"x").unwrap();
        let (living, gone) = (on("m", "b", 1), on("m", "b", 2));
        let kept = [part(&living), part(&on("other", "b", 2))];
        let left = [part(&gone), part(&on("m", "before", 1))];
        Parts::new(&living, dir.path()).clean();
        assert!(kept.iter().all(|path| path.exists()), "its owner lives, or is on another machine");
        assert!(left.iter().all(|path| !path.exists()));
    }
}
