//! Crash points of the running program: numbered by phase, told, and one of them taken (docs/design/0035-crash-points.md).
//!
//! Off unless the environment asks for it. Then every durable operation within a [`Phase`] is a point, before which, and after
//! which where its effect is seen by others at once, this process can end itself with SIGKILL.

use std::fmt;
use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::{Arc, Mutex, OnceLock};

use rustix::process::{Signal, getpid, kill_process};

use crate::fs::{DirEntry, DirLock, Fs, FsFile, FsRead, Meta};
use crate::phase::{Phase, Phases};
use crate::{Env, ReadLease, Sys};

/// Set to a file: each crash point that is passed is told there, a line each.
pub const CRASH_POINTS: &str = "PRUNELLA_CRASH_POINTS";

/// Set to a [`CrashAt`]: this process ends there with SIGKILL.
pub const KILL_AT: &str = "PRUNELLA_KILL_AT";

/// What is done at a crash point.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Operation {
    /// A file or link is made.
    Create,
    /// The first bytes are written to a file.
    Write,
    /// Content or names are made durable.
    Sync,
    /// Something is renamed or exchanged.
    Rename,
    /// A file gets a second name, or a clone.
    Link,
    /// Something is removed.
    Remove,
    /// Modes are set.
    Mode,
    /// A directory is made.
    Directory,
    /// A transaction is committed.
    Transaction,
    /// A request that changes something is sent.
    Request,
    /// Nothing more is to be done: whoever waits for it is about to be told.
    Told,
}

impl Operation {
    const ALL: [Self; 11] = [
        Self::Create,
        Self::Write,
        Self::Sync,
        Self::Rename,
        Self::Link,
        Self::Remove,
        Self::Mode,
        Self::Directory,
        Self::Transaction,
        Self::Request,
        Self::Told,
    ];

    /// Returns its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Write => "write",
            Self::Sync => "sync",
            Self::Rename => "rename",
            Self::Link => "link",
            Self::Remove => "remove",
            Self::Mode => "mode",
            Self::Directory => "directory",
            Self::Transaction => "transaction",
            Self::Request => "request",
            Self::Told => "told",
        }
    }

    /// Returns whether others can see that it was done before whoever did it has heard so.
    pub fn reply_can_be_lost(self) -> bool {
        matches!(self, Self::Rename | Self::Link | Self::Transaction | Self::Request)
    }
}

/// One crash point, as in `promote:3`, `promote:3:after`, `checkpoint.told:1`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CrashAt {
    /// Where.
    pub phase: Phase,
    /// Only operations of this kind are counted.
    pub only: Option<Operation>,
    /// Which, from 1.
    pub number: u64,
    /// Whether the operation has been done.
    pub after: bool,
}

/// It is no crash point.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoCrashPoint(String);

impl fmt::Display for NoCrashPoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` is no crash point: write PHASE:NUMBER or PHASE:NUMBER:after, as in `promote:3`", self.0)
    }
}

impl std::error::Error for NoCrashPoint {}

impl fmt::Display for CrashAt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.phase.name())?;
        if let Some(only) = self.only {
            write!(f, ".{}", only.name())?;
        }
        write!(f, ":{}{}", self.number, if self.after { ":after" } else { "" })
    }
}

impl FromStr for CrashAt {
    type Err = NoCrashPoint;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let none = || NoCrashPoint(text.to_owned());
        let mut parts = text.split(':');
        let (place, number) = (parts.next().ok_or_else(none)?, parts.next().ok_or_else(none)?);
        let after = match (parts.next(), parts.next()) {
            (None, _) => false,
            (Some("after"), None) => true,
            _ => return Err(none()),
        };
        let (phase, only) = match place.split_once('.') {
            None => (place, None),
            Some((phase, name)) => {
                (phase, Some(Operation::ALL.into_iter().find(|one| one.name() == name).ok_or_else(none)?))
            }
        };
        let number = number.parse().ok().filter(|number| *number > 0).ok_or_else(none)?;
        Ok(Self { phase: phase.parse().map_err(|_| none())?, only, number, after })
    }
}

/// A point that was passed, as it is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Passed {
    /// Its phases.
    pub phases: Vec<Phase>,
    /// What was about to be done.
    pub operation: Operation,
    /// To what.
    pub what: String,
}

impl Passed {
    /// Reads a line; nothing of one that was cut off.
    pub fn read(line: &str) -> Option<Self> {
        let mut words = line.splitn(3, ' ');
        let phases = words.next()?.split(',').map(|phase| phase.parse().ok()).collect::<Option<Vec<Phase>>>()?;
        let name = words.next()?;
        let operation = Operation::ALL.into_iter().find(|operation| operation.name() == name)?;
        Some(Self { phases, operation, what: words.next()?.to_owned() })
    }
}

struct Points {
    kill: Option<CrashAt>,
    told: Option<Mutex<File>>,
    /// How many points that count for `kill` were passed.
    passed: Mutex<u64>,
}

static POINTS: OnceLock<Points> = OnceLock::new();

/// An operation that is about to be done; say [`CrashPoint::done`] once it is.
#[must_use]
pub struct CrashPoint {
    last: bool,
}

/// Says that an operation is about to be done: where it was asked for, this process ends here.
pub fn crash_point<D: fmt::Display>(operation: Operation, what: impl FnOnce() -> D) -> CrashPoint {
    match POINTS.get() {
        None => CrashPoint { last: false },
        Some(points) => points.pass(Phases::here(), operation, what),
    }
}

impl CrashPoint {
    /// Says that it is done: where it was asked for, this process ends here.
    pub fn done(self) {
        if self.last {
            die();
        }
    }
}

impl Points {
    fn pass<D: fmt::Display>(&self, phases: Phases, operation: Operation, what: impl FnOnce() -> D) -> CrashPoint {
        if phases.is_empty() {
            return CrashPoint { last: false };
        }
        // Held until it is told: the lines are in the order of the numbers.
        let mut passed = self.passed.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        if let Some(told) = &self.told {
            let names: Vec<&str> =
                Phase::ALL.into_iter().filter(|one| phases.contains(*one)).map(Phase::name).collect();
            let line = format!("{} {} {}\n", names.join(","), operation.name(), what());
            let mut told = told.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
            // Whoever counts finds a point too few.
            let _lost = told.write_all(line.as_bytes());
        }
        let Some(kill) = &self.kill else { return CrashPoint { last: false } };
        if !phases.contains(kill.phase) || kill.only.is_some_and(|only| only != operation) {
            return CrashPoint { last: false };
        }
        *passed += 1;
        let here = *passed == kill.number;
        if here && !kill.after {
            die();
        }
        CrashPoint { last: here }
    }
}

fn die() -> ! {
    loop {
        // Nothing is put in order: that is the point.
        let _gone = kill_process(getpid(), Signal::KILL);
    }
}

impl Sys {
    /// Returns this machine with crash points, if its environment asks for them: for the whole process, and once.
    ///
    /// # Errors
    /// What is wrong with the variables.
    pub fn with_crash_points(self) -> Result<Self, String> {
        let Some(points) = Points::of(&*self.env)? else { return Ok(self) };
        POINTS.get_or_init(|| points);
        Ok(Self { fs: Arc::new(Counted(self.fs.clone())), ..self })
    }
}

impl Points {
    fn of(env: &dyn Env) -> Result<Option<Self>, String> {
        let kill = env.var(KILL_AT).map(|text| text.parse()).transpose();
        let kill = kill.map_err(|error: NoCrashPoint| format!("{KILL_AT}: {error}"))?;
        let told = match env.var(CRASH_POINTS) {
            None => None,
            Some(path) => {
                let file = File::options().create(true).append(true).open(&path);
                Some(Mutex::new(file.map_err(|error| format!("{CRASH_POINTS}: {path}: {error}"))?))
            }
        };
        let asked = kill.is_some() || told.is_some();
        Ok(asked.then(|| Self { kill, told, passed: Mutex::new(0) }))
    }
}

/// A file system whose changes are crash points.
struct Counted(Arc<dyn Fs>);

impl Counted {
    fn at<T>(&self, operation: Operation, path: &Path, work: impl FnOnce(&dyn Fs) -> io::Result<T>) -> io::Result<T> {
        let point = crash_point(operation, || path.display());
        let done = work(&*self.0)?;
        point.done();
        Ok(done)
    }

    fn file(&self, inner: Box<dyn FsFile>, path: &Path) -> Box<dyn FsFile> {
        Box::new(CountedFile { inner, path: path.to_owned(), written: false })
    }
}

struct CountedFile {
    inner: Box<dyn FsFile>,
    path: PathBuf,
    written: bool,
}

impl Write for CountedFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if std::mem::replace(&mut self.written, true) {
            return self.inner.write(bytes);
        }
        let point = crash_point(Operation::Write, || self.path.display());
        let written = self.inner.write(bytes)?;
        point.done();
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

impl FsFile for CountedFile {
    fn start_writeback(&mut self) {
        self.inner.start_writeback();
    }

    fn sync(&mut self) -> io::Result<()> {
        let point = crash_point(Operation::Sync, || self.path.display());
        self.inner.sync()?;
        point.done();
        Ok(())
    }
}

impl Fs for Counted {
    fn create_new(&self, path: &Path) -> io::Result<Box<dyn FsFile>> {
        Ok(self.file(self.at(Operation::Create, path, |fs| fs.create_new(path))?, path))
    }

    fn append(&self, path: &Path) -> io::Result<Box<dyn FsFile>> {
        Ok(self.file(self.at(Operation::Create, path, |fs| fs.append(path))?, path))
    }

    fn open_read(&self, path: &Path) -> io::Result<Box<dyn FsRead>> {
        self.0.open_read(path)
    }

    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        self.0.read(path)
    }

    fn read_lease(&self, path: &Path) -> io::Result<ReadLease> {
        self.0.read_lease(path)
    }

    fn is_of_the_kernel(&self) -> bool {
        self.0.is_of_the_kernel()
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.at(Operation::Rename, to, |fs| fs.rename(from, to))
    }

    fn rename_noreplace(&self, from: &Path, to: &Path) -> io::Result<bool> {
        self.at(Operation::Rename, to, |fs| fs.rename_noreplace(from, to))
    }

    fn exchange(&self, a: &Path, b: &Path) -> io::Result<()> {
        self.at(Operation::Rename, b, |fs| fs.exchange(a, b))
    }

    fn try_lock_dir(&self, path: &Path) -> io::Result<Option<Box<dyn DirLock>>> {
        self.0.try_lock_dir(path)
    }

    fn hard_link(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.at(Operation::Link, to, |fs| fs.hard_link(from, to))
    }

    fn reflink(&self, from: &Path, to: &Path) -> io::Result<bool> {
        self.at(Operation::Link, to, |fs| fs.reflink(from, to))
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.at(Operation::Remove, path, |fs| fs.remove_file(path))
    }

    fn remove_dir_all(&self, path: &Path) -> io::Result<()> {
        self.at(Operation::Remove, path, |fs| fs.remove_dir_all(path))
    }

    fn create_dir(&self, path: &Path) -> io::Result<bool> {
        self.at(Operation::Directory, path, |fs| fs.create_dir(path))
    }

    fn sync_file(&self, path: &Path) -> io::Result<()> {
        self.at(Operation::Sync, path, |fs| fs.sync_file(path))
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.at(Operation::Sync, path, |fs| fs.sync_dir(path))
    }

    fn list(&self, path: &Path) -> io::Result<Vec<DirEntry>> {
        self.0.list(path)
    }

    fn metadata(&self, path: &Path) -> io::Result<Option<Meta>> {
        self.0.metadata(path)
    }

    fn read_link(&self, path: &Path) -> io::Result<PathBuf> {
        self.0.read_link(path)
    }

    fn symlink(&self, target: &Path, path: &Path) -> io::Result<()> {
        self.at(Operation::Create, path, |fs| fs.symlink(target, path))
    }

    fn set_mode(&self, path: &Path, mode: u32) -> io::Result<()> {
        self.at(Operation::Mode, path, |fs| fs.set_mode(path, mode))
    }

    fn free_space(&self, path: &Path) -> io::Result<u64> {
        self.0.free_space(path)
    }

    fn transaction(&self, describe: &dyn Fn() -> Vec<u8>) {
        self.0.transaction(describe);
    }

    fn sync_transactions(&self, log: &Path, new: bool) -> io::Result<()> {
        self.at(Operation::Sync, log, |fs| fs.sync_transactions(log, new))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{MapEnv, RealFs};

    #[test]
    fn a_crash_point_is_written_as_it_is_read_and_what_is_none_is_said_to_be() {
        for text in ["promote:3", "commit:1:after", "checkpoint.told:1", "restore.rename:12:after"] {
            assert_eq!(text.parse::<CrashAt>().map(|at| at.to_string()), Ok(text.to_owned()));
        }
        for text in [
            "",
            "promote",
            "promote:0",
            "promote:x",
            "promote:1:before",
            "rain:1",
            "promote.rain:1",
            "promote:1:after:",
        ] {
            assert!(text.parse::<CrashAt>().unwrap_err().to_string().contains("is no crash point"), "{text}");
        }
    }

    #[test]
    fn without_variables_nothing_is_counted_and_wrong_ones_are_told() {
        assert!(Points::of(&MapEnv::new("/")).unwrap().is_none());
        let wrong = Points::of(&MapEnv::new("/").with(KILL_AT, "promote"));
        assert!(wrong.err().unwrap().starts_with("PRUNELLA_KILL_AT: `promote` is no crash point"));
    }

    #[test]
    fn what_is_done_within_a_phase_is_told_in_order_and_what_is_done_outside_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let told = dir.path().join("told");
        let env = MapEnv::new("/").with(CRASH_POINTS, told.display().to_string());
        let points = Points::of(&env).unwrap().unwrap();
        let phases = Phases::default().and(Phase::Upload).and(Phase::Promote);
        points.pass(Phases::default(), Operation::Create, || "outside").done();
        points.pass(phases, Operation::Create, || "a path").done();
        points.pass(Phases::default().and(Phase::Commit), Operation::Transaction, || "x").done();
        let text = std::fs::read_to_string(&told).unwrap();
        assert_eq!(text, "upload,promote create a path\ncommit transaction x\n");
        let first = Passed::read(text.lines().next().unwrap()).unwrap();
        let phases = vec![Phase::Upload, Phase::Promote];
        assert_eq!(first, Passed { phases, operation: Operation::Create, what: "a path".to_owned() });
        assert_eq!(Passed::read("upload,prom"), None);
    }

    #[test]
    fn only_the_wanted_point_is_the_last_and_only_of_its_kind() {
        let at = |text: &str| Points::of(&MapEnv::new("/").with(KILL_AT, text)).unwrap().unwrap();
        let phases = Phases::default().and(Phase::Checkpoint);
        let points = at("checkpoint.told:2:after");
        let mut last = |operation| points.pass(phases, operation, || "x").last;
        assert_eq!([Operation::Told, Operation::Sync, Operation::Told].map(&mut last), [false, false, true]);
        assert!(!at("restore:1:after").pass(phases, Operation::Sync, || "x").last);
    }

    #[test]
    fn a_counted_file_system_does_what_the_one_below_it_does() {
        let dir = tempfile::tempdir().unwrap();
        let fs = Counted(Arc::new(RealFs));
        let (a, b) = (dir.path().join("a"), dir.path().join("b"));
        let mut file = fs.create_new(&a).unwrap();
        file.write_all(b"one").unwrap();
        file.write_all(b"two").unwrap();
        file.sync().unwrap();
        assert!(fs.rename_noreplace(&a, &b).unwrap() && !fs.create_dir(dir.path()).unwrap());
        assert_eq!(fs.read(&b).unwrap(), b"onetwo");
        assert_eq!(fs.create_dir_all(&dir.path().join("x/y")).unwrap().len(), 2);
        fs.remove_file(&b).unwrap();
        assert_eq!(fs.remove_file(&b).unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}
