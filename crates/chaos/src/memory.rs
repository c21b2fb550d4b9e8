//! A step that takes more memory than it says: pages are mapped into its main process from outside, until somebody kills it.
//!
//! The program need not help, and does not survive: whoever keeps the limit, the kernel in a control group or the guardian that
//! measures, sees what it would see of a program that grew by itself.

use std::time::Duration;

use prunella_process::Signal;

use crate::{
    find::{Found, mains},
    injection,
    play::{Ended, Live, TICK},
};

/// So often more is mapped before it is given up: a later try of a step may have several times the memory that it says.
const TRIES: u32 = 4;

/// How long whoever keeps the limit may take to see it.
const SEEN_WITHIN: Duration = Duration::from_secs(3);

impl Live<'_> {
    /// Lets a step that says how much memory it needs take more; says whether there was one.
    pub(crate) async fn exhaust(&mut self, all: &[Found]) -> Result<bool, Ended> {
        let limited: Vec<(&Found, u64)> = mains(all)
            .into_iter()
            .filter_map(|found| Some((found, *self.subject.memory.get(found.step.as_deref()?)?)))
            .collect();
        let Some((step, limit)) = self.one_of(&limited).copied() else { return Ok(false) };
        let name = step.step.clone().unwrap_or_default();
        let Some(available) = available(&*self.sys.fs) else { return Ok(false) };
        for round in 0..TRIES {
            // Shares are counted against the limit, hence a little more than it; what others need of this machine is left to them.
            let bytes = limit.saturating_add(limit / 8).saturating_mul(1 << round);
            if bytes > available / 2 {
                self.note(format!("step `{name}` cannot take {bytes} bytes here: only {available} are available"));
                return self.given_up(step, round > 0).await;
            }
            let pid = step.pid;
            let Ok(()) = prunella_sys::blocking(move || injection::map(pid, bytes)).await else {
                return self.given_up(step, round > 0).await;
            };
            if round == 0 {
                self.note(format!("step takes more memory than it says: {name}, {bytes} bytes"));
            }
            let until = self.sys.clock.monotonic() + SEEN_WITHIN;
            while self.sys.clock.monotonic() < until {
                if !self.ours().iter().any(|found| found.pid == step.pid && found.attempt == step.attempt) {
                    return Ok(true);
                }
                if self.wait(TICK).await?.is_some() {
                    return Ok(true);
                }
            }
        }
        self.note(format!("nobody held `{name}` to its limit"));
        self.given_up(step, true).await
    }

    /// What was meddled with does not go on.
    async fn given_up(&mut self, step: &Found, touched: bool) -> Result<bool, Ended> {
        if touched {
            let _gone = step.signal(Signal::KILL);
        }
        Ok(touched)
    }
}

/// Returns how much memory programs can still get without swapping, in bytes.
fn available(fs: &dyn prunella_sys::Fs) -> Option<u64> {
    let text = fs.read(std::path::Path::new("/proc/meminfo")).ok()?;
    let text = String::from_utf8_lossy(&text);
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    line.split_whitespace().next()?.parse::<u64>().ok().map(|kib| kib.saturating_mul(1024))
}
