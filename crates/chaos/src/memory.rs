//! A step that takes more memory than it says: pages are mapped into its main process from outside, until somebody kills it.
//!
//! The program need not help, and does not survive: whoever keeps the limit, the kernel in a control group or the guardian that
//! measures, sees what it would see of a program that grew by itself.

use std::{io, time::Duration};

use prunella_process::Signal;

use crate::{
    find::{Found, mains},
    injection,
    play::{Ended, Live, TICK},
};

/// How long whoever keeps the limit may take to see it.
const SEEN_WITHIN: Duration = Duration::from_secs(5);

impl Live<'_> {
    /// Lets a step take more memory than it says that it needs; says whether there was one that may have more the next time.
    ///
    /// Each step once in a run: one that takes more again and again is given up, and rightly.
    pub(crate) async fn exhaust(&mut self, all: &[Found]) -> Result<bool, Ended> {
        let limited: Vec<(&Found, &str, u64)> = mains(all)
            .into_iter()
            .filter_map(|found| Some((found, found.step.as_deref()?)))
            .filter(|(_, name)| !self.exhausted.contains(*name))
            .filter_map(|(found, name)| Some((found, name, *self.subject.memory.get(name)?)))
            .collect();
        let Some((step, name, limit)) = self.one_of(&limited).copied() else { return Ok(false) };
        // Shares are counted against the limit, hence a little more than it.
        let (pid, bytes) = (step.pid, limit.saturating_add(limit / 8));
        // What others need of this machine is left to them.
        if available(&*self.sys.fs).is_none_or(|available| bytes > available / 2) {
            self.note(format!("step `{name}` cannot take {bytes} bytes: this machine has not twice as much"));
            return Ok(false);
        }
        if let Err(error) = prunella_sys::blocking(move || injection::map(pid, bytes)).await {
            if matches!(error.kind(), io::ErrorKind::Unsupported | io::ErrorKind::PermissionDenied) {
                self.note(format!("step `{name}` cannot be made to take more memory here: {error}"));
                return Ok(false);
            }
            // It has perhaps been meddled with, or has ended.
            let killed = step.signal(Signal::KILL);
            self.note(format!("step killed: `{name}` cannot be made to take more memory ({error})"));
            return Ok(killed);
        }
        self.exhausted.insert(name.to_owned());
        self.note(format!("step takes more memory than it says: {name}, {bytes} bytes"));
        let until = self.sys.clock.monotonic() + SEEN_WITHIN;
        while self.sys.clock.monotonic() < until {
            let there = |found: &Found| found.pid == step.pid && found.attempt == step.attempt;
            if !self.ours().iter().any(there) || self.wait(TICK).await?.is_some() {
                return Ok(true);
            }
        }
        self.note(format!("nobody held `{name}` to its limit: killed"));
        let _gone = step.signal(Signal::KILL);
        Ok(true)
    }
}

/// Returns how much memory programs can still get without swapping, in bytes.
fn available(fs: &dyn prunella_sys::Fs) -> Option<u64> {
    let text = fs.read(std::path::Path::new("/proc/meminfo")).ok()?;
    let text = String::from_utf8_lossy(&text);
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    line.split_whitespace().next()?.parse::<u64>().ok().map(|kib| kib.saturating_mul(1024))
}
