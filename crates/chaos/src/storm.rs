//! Storms over one run: the file that its engines look at, and when each storm is over.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use prunella_faults::{Storm, Trouble, Weather};
use prunella_sys::Fs;

use crate::fault::{Fault, Strike};
use crate::play::{Ended, Live};

/// How long it is waited before an engine is started again that could not go on in a storm: as systemd does (`RestartSec=`).
const PAUSE: Duration = Duration::from_millis(100);

/// The storms over one run.
#[derive(Debug)]
pub(crate) struct Sky {
    /// Where engines learn of them; nothing if there are none in the plan: then nothing of theirs is wrapped.
    file: Option<PathBuf>,
    seed: u64,
    weather: Weather,
    /// When the storm of each number is over, by the clock of whoever plays.
    ends: Vec<(u64, Duration)>,
    /// How many storms there were.
    count: u64,
}

impl Sky {
    /// Returns calm weather before a plan, of which engines learn in `file`; `seed` decides what storms will hit.
    pub fn before(plan: &[Strike], file: PathBuf, seed: u64) -> Self {
        let changes =
            |strike: &Strike| strike.fault.storm().is_some() || matches!(strike.fault, Fault::ClockJump { .. });
        let file = plan.iter().any(changes).then_some(file);
        Self { file, seed, weather: Weather::default(), ends: Vec::new(), count: 0 }
    }

    /// Lets the engine of this number meet storms of its own: what it does is not hit where the one before was. Returns the file
    /// that it looks at.
    pub fn over_engine(&mut self, fs: &dyn Fs, number: u32) -> io::Result<Option<&Path>> {
        self.weather.seed = self.seed ^ (u64::from(number) << 32);
        self.tell(fs)?;
        Ok(self.file.as_deref())
    }

    /// Begins a storm.
    pub fn begin(&mut self, fs: &dyn Fs, trouble: Trouble, until: Duration) -> io::Result<()> {
        self.count += 1;
        self.weather.storms.push(Storm::new(trouble, self.count));
        self.ends.push((self.count, until));
        self.tell(fs)
    }

    /// Puts the wall clock forward, or back.
    pub fn put_clock(&mut self, fs: &dyn Fs, by_ms: i64) -> io::Result<()> {
        self.weather.clock_ms = self.weather.clock_ms.saturating_add(by_ms);
        self.tell(fs)
    }

    /// Ends the storms whose time is over, and returns them.
    pub fn clear_up(&mut self, fs: &dyn Fs, now: Duration) -> io::Result<Vec<Trouble>> {
        let over: Vec<u64> = self.ends.iter().filter(|(_, until)| *until <= now).map(|(number, _)| *number).collect();
        if over.is_empty() {
            return Ok(Vec::new());
        }
        let gone = self.weather.storms.iter().filter(|storm| over.contains(&storm.number));
        let gone: Vec<Trouble> = gone.map(|storm| storm.trouble).collect();
        self.weather.storms.retain(|storm| !over.contains(&storm.number));
        self.ends.retain(|(number, _)| !over.contains(number));
        self.tell(fs)?;
        Ok(gone)
    }

    /// Returns whether there is a storm now.
    pub fn is_stormy(&self) -> bool {
        !self.weather.storms.is_empty()
    }

    /// Replaces the file as a whole, so that nobody reads half of it.
    fn tell(&self, fs: &dyn Fs) -> io::Result<()> {
        let Some(file) = &self.file else { return Ok(()) };
        let part = part_of(file);
        let text = serde_json::to_vec(&self.weather)?;
        match fs.remove_file(&part) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => fs.create_new(&part)?.write_all(&text)?,
        }
        fs.rename(&part, file)
    }
}

impl Live<'_> {
    /// Starts an engine again that ended by itself, and can be gone on from.
    pub(crate) async fn again(&mut self) -> Result<(), Ended> {
        self.note("the engine ended, and can be gone on from");
        // Who starts services again pauses a little, lest one that cannot start takes the whole machine.
        if self.sky.is_stormy() {
            self.sys.clock.sleep(PAUSE).await;
        }
        self.go_on()
    }

    /// Ends the storms whose time is over; what they leave is judged at once.
    pub(crate) async fn clear_up(&mut self) -> Result<(), Ended> {
        let over = self.sky.clear_up(&*self.sys.fs, self.sys.clock.monotonic()).map_err(Ended::Start)?;
        if over.is_empty() {
            return Ok(());
        }
        self.note("a storm is over");
        self.oracle.check().await?;
        Ok(self.published_is_whole()?)
    }

    /// Begins a storm, or puts the clock; says whether that is what the fault is.
    pub(crate) fn weather_changes(&mut self, fault: Fault) -> io::Result<bool> {
        let (fs, now) = (&*self.sys.fs, self.sys.clock.monotonic());
        match (fault, fault.storm()) {
            (_, Some((trouble, lasting))) => self.sky.begin(fs, trouble, now + lasting)?,
            (Fault::ClockJump { by_ms }, None) => self.sky.put_clock(fs, by_ms)?,
            _ => return Ok(false),
        }
        Ok(true)
    }
}

fn part_of(file: &Path) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(".part");
    name.into()
}

#[cfg(test)]
mod tests {
    use prunella_sys::RealFs;

    use super::*;

    #[test]
    fn storms_overlap_end_by_themselves_and_a_clock_stays_where_it_was_put() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("faults.json");
        let plan = [Strike { after: Duration::ZERO, fault: Fault::ClockJump { by_ms: 1 } }];
        let mut sky = Sky::before(&plan, file.clone(), 7);
        let told = || serde_json::from_slice::<Weather>(&std::fs::read(&file).unwrap()).unwrap();
        let second = Duration::from_secs(1);
        sky.over_engine(&RealFs, 1).unwrap();
        assert_eq!(told().storms, []);
        let of_first = told().seed;
        sky.begin(&RealFs, Trouble::DiskFull, 2 * second).unwrap();
        sky.begin(&RealFs, Trouble::RepliesLost, 3 * second).unwrap();
        sky.put_clock(&RealFs, -3_600_000).unwrap();
        assert_eq!(told().storms, [Storm::new(Trouble::DiskFull, 1), Storm::new(Trouble::RepliesLost, 2)]);
        assert_eq!(sky.clear_up(&RealFs, second).unwrap(), []);
        assert_eq!(sky.clear_up(&RealFs, 2 * second).unwrap(), [Trouble::DiskFull]);
        assert_eq!(told().storms, [Storm::new(Trouble::RepliesLost, 2)]);
        sky.over_engine(&RealFs, 2).unwrap();
        assert_ne!(told().seed, of_first, "the next engine is not hit at the very same place");
        assert_eq!(sky.clear_up(&RealFs, 9 * second).unwrap(), [Trouble::RepliesLost]);
        assert!(!sky.is_stormy());
        assert_eq!((told().storms.len(), told().clock_ms), (0, -3_600_000));
    }

    #[test]
    fn engines_of_a_plan_without_storms_are_not_told_of_any() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("faults.json");
        let mut sky = Sky::before(&[Strike { after: Duration::ZERO, fault: Fault::Engine }], file.clone(), 7);
        assert_eq!(sky.over_engine(&RealFs, 1).unwrap(), None);
        assert!(!file.exists());
    }
}
