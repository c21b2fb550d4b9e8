//! Files that suffer.

use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use prunella_sys::{DirEntry, DirLock, Fs, FsFile, FsRead, Meta, ReadLease};
use rustix::io::Errno;

use crate::faults::Faults;
use crate::operation::{Act, Blow, Operation, Place};

/// A file system that suffers. An operation that fails does nothing.
pub(crate) struct FaultyFs {
    inner: Arc<dyn Fs>,
    faults: Faults,
}

impl FaultyFs {
    pub fn new(inner: Arc<dyn Fs>, faults: Faults) -> Self {
        Self { inner, faults }
    }

    fn pass(&self, act: Act, path: &Path) -> io::Result<()> {
        pass(&self.faults, act, path).map(drop)
    }
}

/// Holds this thread up for so long, as a slow disk holds up whoever asks it.
#[allow(clippy::disallowed_methods)]
fn hold_up(time: Duration) {
    // `Clock::sleep` is for those who can wait otherwise.
    std::thread::sleep(time);
}

/// Lets an operation pass, when the time to wait is over; says whether it is to read less than it could.
fn pass(faults: &Faults, act: Act, path: &Path) -> io::Result<bool> {
    let met = faults.meet(&Operation { place: Place::Files, act, what: path });
    if !met.wait.is_zero() {
        hold_up(met.wait);
    }
    match met.blow {
        None => Ok(false),
        Some(Blow::Short) => Ok(act == Act::Read),
        Some(Blow::Full) => Err(Errno::NOSPC.into()),
        Some(Blow::Error | Blow::Throttled | Blow::LostRequest | Blow::LostReply) => Err(Errno::IO.into()),
    }
}

struct FaultyFile {
    inner: Box<dyn FsFile>,
    faults: Faults,
    path: PathBuf,
}

impl Write for FaultyFile {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        pass(&self.faults, Act::Write, &self.path)?;
        self.inner.write(buf)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

impl FsFile for FaultyFile {
    fn start_writeback(&mut self) {
        self.inner.start_writeback();
    }

    fn sync(&mut self) -> io::Result<()> {
        pass(&self.faults, Act::Sync, &self.path)?;
        self.inner.sync()
    }
}

struct FaultyRead {
    inner: Box<dyn FsRead>,
    faults: Faults,
    path: PathBuf,
}

impl Read for FaultyRead {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let short = pass(&self.faults, Act::Read, &self.path)?;
        let most = if short { buf.len().div_ceil(2) } else { buf.len() };
        self.inner.read(&mut buf[..most])
    }
}

impl Seek for FaultyRead {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.inner.seek(to)
    }
}

impl Fs for FaultyFs {
    fn create_new(&self, path: &Path) -> io::Result<Box<dyn FsFile>> {
        self.pass(Act::Create, path)?;
        let (inner, faults) = (self.inner.create_new(path)?, self.faults.clone());
        Ok(Box::new(FaultyFile { inner, faults, path: path.to_owned() }))
    }

    fn append(&self, path: &Path) -> io::Result<Box<dyn FsFile>> {
        self.pass(Act::Create, path)?;
        let (inner, faults) = (self.inner.append(path)?, self.faults.clone());
        Ok(Box::new(FaultyFile { inner, faults, path: path.to_owned() }))
    }

    fn open_read(&self, path: &Path) -> io::Result<Box<dyn FsRead>> {
        self.pass(Act::Look, path)?;
        let (inner, faults) = (self.inner.open_read(path)?, self.faults.clone());
        Ok(Box::new(FaultyRead { inner, faults, path: path.to_owned() }))
    }

    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        // All of it is read, in as many pieces as it takes.
        self.pass(Act::Read, path)?;
        self.inner.read(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.pass(Act::Rename, to)?;
        self.inner.rename(from, to)
    }

    fn rename_noreplace(&self, from: &Path, to: &Path) -> io::Result<bool> {
        self.pass(Act::Rename, to)?;
        self.inner.rename_noreplace(from, to)
    }

    fn exchange(&self, a: &Path, b: &Path) -> io::Result<()> {
        self.pass(Act::Rename, b)?;
        self.inner.exchange(a, b)
    }

    fn try_lock_dir(&self, path: &Path) -> io::Result<Option<Box<dyn DirLock>>> {
        self.pass(Act::Look, path)?;
        self.inner.try_lock_dir(path)
    }

    fn hard_link(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.pass(Act::Create, to)?;
        self.inner.hard_link(from, to)
    }

    fn reflink(&self, from: &Path, to: &Path) -> io::Result<bool> {
        self.pass(Act::Create, to)?;
        self.inner.reflink(from, to)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.pass(Act::Remove, path)?;
        self.inner.remove_file(path)
    }

    fn remove_dir_all(&self, path: &Path) -> io::Result<()> {
        self.pass(Act::Remove, path)?;
        self.inner.remove_dir_all(path)
    }

    fn create_dir(&self, path: &Path) -> io::Result<bool> {
        // One that is there takes no room.
        let there = matches!(self.inner.metadata(path), Ok(Some(_)));
        self.pass(if there { Act::Look } else { Act::Create }, path)?;
        self.inner.create_dir(path)
    }

    fn sync_file(&self, path: &Path) -> io::Result<()> {
        self.pass(Act::Sync, path)?;
        self.inner.sync_file(path)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.pass(Act::Sync, path)?;
        self.inner.sync_dir(path)
    }

    fn list(&self, path: &Path) -> io::Result<Vec<DirEntry>> {
        self.pass(Act::Look, path)?;
        self.inner.list(path)
    }

    fn metadata(&self, path: &Path) -> io::Result<Option<Meta>> {
        self.pass(Act::Look, path)?;
        self.inner.metadata(path)
    }

    fn read_link(&self, path: &Path) -> io::Result<PathBuf> {
        self.pass(Act::Look, path)?;
        self.inner.read_link(path)
    }

    fn symlink(&self, target: &Path, path: &Path) -> io::Result<()> {
        self.pass(Act::Create, path)?;
        self.inner.symlink(target, path)
    }

    fn set_mode(&self, path: &Path, mode: u32) -> io::Result<()> {
        self.pass(Act::Rename, path)?;
        self.inner.set_mode(path, mode)
    }

    fn read_lease(&self, path: &Path) -> io::Result<ReadLease> {
        self.inner.read_lease(path)
    }

    fn is_of_the_kernel(&self) -> bool {
        self.inner.is_of_the_kernel()
    }

    fn free_space(&self, path: &Path) -> io::Result<u64> {
        let met = self.faults.meet(&Operation { place: Place::Files, act: Act::Write, what: path });
        if met.blow == Some(Blow::Full) { Ok(0) } else { self.inner.free_space(path) }
    }

    fn set_executable(&self, path: &Path, executable: bool) -> io::Result<()> {
        self.pass(Act::Rename, path)?;
        self.inner.set_executable(path, executable)
    }

    fn transaction(&self, describe: &dyn Fn() -> Vec<u8>) {
        self.inner.transaction(describe);
    }

    fn sync_transactions(&self, log: &Path, new: bool) -> io::Result<()> {
        self.pass(Act::Sync, log)?;
        self.inner.sync_transactions(log, new)
    }
}
