//! The faults of one process: what the file asks for, and what each operation meets.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use prunella_objects::Objects;
use prunella_sys::{Clock, Fs, Sys};

use crate::clock::WrongClock;
use crate::files::FaultyFs;
use crate::objects::FaultyObjects;
use crate::operation::{Blow, Met, Operation, Place};
use crate::weather::{Trouble, Weather};

/// The variable that names the file.
pub const VARIABLE: &str = "PRUNELLA_FAULTS";

/// How old what is known of the file may be.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// The faults of this process. Clones are one.
#[derive(Clone)]
pub struct Faults {
    inner: Arc<Inner>,
}

struct Inner {
    file: PathBuf,
    /// Of the machine itself: what looks at the file suffers nothing.
    fs: Arc<dyn Fs>,
    clock: Arc<dyn Clock>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// When the file was looked at last, by the monotonic clock.
    looked: Option<Duration>,
    /// Which file was read: inode and time of change.
    read: Option<(u64, i128)>,
    weather: Arc<Weather>,
    /// How many operations each storm could have hit.
    passed: HashMap<(Trouble, u64), u64>,
    /// What came short in the storm of this number.
    short: HashSet<(u64, PathBuf)>,
}

/// The file cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{VARIABLE}: `{}`: {problem}", file.display())]
pub struct BadFaults {
    /// The file.
    pub file: PathBuf,
    /// What is wrong with it.
    pub problem: String,
}

impl Faults {
    /// Returns the faults that the environment asks for; nothing if it does not.
    ///
    /// # Errors
    /// [`BadFaults`] if the file holds something else. One that is not there yet is calm weather.
    pub fn asked_for(sys: &Sys) -> Result<Option<Self>, BadFaults> {
        let Some(file) = sys.env.var(VARIABLE).filter(|file| !file.is_empty()) else { return Ok(None) };
        let faults = Self::of(sys, Path::new(&file));
        let mut state = faults.state();
        state.read_if_new(&faults.inner).map_err(|problem| BadFaults { file: file.into(), problem })?;
        drop(state);
        Ok(Some(faults))
    }

    /// Returns the faults that a file asks for, on this machine.
    pub fn of(sys: &Sys, file: &Path) -> Self {
        let (fs, clock, state) = (sys.fs.clone(), sys.clock.clone(), Mutex::default());
        Self { inner: Arc::new(Inner { file: file.to_owned(), fs, clock, state }) }
    }

    /// Returns the machine with files and a wall clock that suffer.
    pub fn around(&self, sys: Sys) -> Sys {
        Sys {
            fs: Arc::new(FaultyFs::new(sys.fs.clone(), self.clone())),
            clock: Arc::new(WrongClock::new(sys.clock.clone(), self.clone())),
            ..sys
        }
    }

    /// Returns a store in the directory `dir` that suffers.
    pub fn objects(&self, inner: Arc<dyn Objects>, dir: &Path) -> Arc<dyn Objects> {
        Arc::new(FaultyObjects::new(inner, self.clone(), dir))
    }

    /// Says what an operation meets that is about to be done. Every operation of the program passes here.
    ///
    /// Which ones are hit is decided by the file's seed, the storm, and how many operations came before that it could have hit;
    /// so it is the same again as far as the program does the same again.
    pub fn meet(&self, operation: &Operation<'_>) -> Met {
        let mut state = self.state();
        state.look(&self.inner);
        if state.weather.storms.is_empty() {
            return Met::default();
        }
        let weather = state.weather.clone();
        let mut met = Met::default();
        for storm in weather.over(operation) {
            let passed = state.passed.entry((storm.trouble, storm.number)).or_default();
            let nth = *passed;
            *passed += 1;
            let Some(hit) = weather.hit(storm, operation, nth) else { continue };
            if hit.blow == Some(Blow::Short)
                && operation.place != Place::Files
                && !state.short.insert((storm.number, operation.what.to_owned()))
            {
                continue;
            }
            met.wait = met.wait.max(hit.wait);
            met.blow = met.blow.or(hit.blow);
        }
        met
    }

    /// As [`Faults::meet`], when the time to wait is over.
    pub async fn pass(&self, operation: Operation<'_>) -> Option<Blow> {
        let met = self.meet(&operation);
        if !met.wait.is_zero() {
            self.inner.clock.sleep(met.wait).await;
        }
        met.blow
    }

    /// Returns by how much the wall clock is wrong, in milliseconds.
    pub fn clock_ms(&self) -> i64 {
        let mut state = self.state();
        state.look(&self.inner);
        state.weather.clock_ms
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.inner.state.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

impl State {
    /// Looks at the file unless that was done a moment ago. What cannot be read changes nothing.
    fn look(&mut self, inner: &Inner) {
        let now = inner.clock.monotonic();
        if self.looked.is_none_or(|looked| now >= looked + LOOK_EVERY) {
            self.looked = Some(now);
            let _as_before = self.read_if_new(inner);
        }
    }

    fn read_if_new(&mut self, inner: &Inner) -> Result<(), String> {
        let meta = inner.fs.metadata(&inner.file).map_err(|error| error.to_string())?;
        let seen = meta.map(|meta| (meta.ino, meta.ctime_ns));
        if seen == self.read {
            return Ok(());
        }
        self.weather = match seen {
            None => Arc::default(),
            Some(_) => {
                let text = inner.fs.read(&inner.file).map_err(|error| error.to_string())?;
                Arc::new(serde_json::from_slice(&text).map_err(|error| error.to_string())?)
            }
        };
        self.read = seen;
        Ok(())
    }
}

impl std::fmt::Debug for Faults {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Faults").field("file", &self.inner.file).finish_non_exhaustive()
    }
}
