//! What was found out about a place for a store.

use std::time::Duration;

/// How well one thing was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// As it must be.
    Good,
    /// Something to know.
    Note,
    /// The protocol would not hold here.
    Unfit,
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What was looked at, in a word or two.
    pub name: &'static str,
    /// How it was found.
    pub verdict: Verdict,
    /// What was found.
    pub text: String,
}

/// Returns a finding.
pub fn finding(name: &'static str, verdict: Verdict, text: impl Into<String>) -> Finding {
    Finding { name, verdict, text: text.into() }
}

/// How fast a place answers, from this machine now.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Figures {
    /// The middle time of a small create.
    pub put: Duration,
    /// The middle time of reading a small object.
    pub get: Duration,
    /// The middle time of a short listing.
    pub list: Duration,
    /// Bytes a second of one upload.
    pub up_bytes_per_second: f64,
    /// Bytes a second of one download.
    pub down_bytes_per_second: f64,
}

impl Figures {
    /// Returns the figures of these times of small creates, reads and listings, and of `bytes` that went up and down.
    pub fn of([put, get, list]: [Vec<Duration>; 3], bytes: usize, up: Duration, down: Duration) -> Self {
        let rate = |time: Duration| bytes as f64 / time.as_secs_f64().max(1e-9);
        Self {
            put: middle(put),
            get: middle(get),
            list: middle(list),
            up_bytes_per_second: rate(up),
            down_bytes_per_second: rate(down),
        }
    }
}

/// Returns the middle one of some times.
fn middle(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times.get(times.len() / 2).copied().unwrap_or_default()
}

/// What was found out about a place.
#[derive(Debug, Clone, PartialEq)]
pub struct Report {
    /// All that was looked at, in order.
    pub findings: Vec<Finding>,
    /// How fast it answers.
    pub figures: Option<Figures>,
}

impl Report {
    /// Returns whether a store may be there.
    pub fn is_fit(&self) -> bool {
        self.findings.iter().all(|finding| finding.verdict != Verdict::Unfit)
    }

    /// Returns why not, if not.
    pub fn reason(&self) -> Option<String> {
        let unfit = self.findings.iter().filter(|finding| finding.verdict == Verdict::Unfit);
        let reasons: Vec<&str> = unfit.map(|finding| finding.text.as_str()).collect();
        (!reasons.is_empty()).then(|| reasons.join("; "))
    }
}
