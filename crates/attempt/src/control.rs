//! What an engine may ask of a running attempt: finish early, or end now.

use std::time::Duration;

/// A notice: word that the machine goes away, or that a person wants to stop.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deadline {
    /// `sigterm`, `stop`, or a cloud's name.
    pub source: String,
    /// The instant of the kill, on the monotonic clock; nothing: the step's own grace from now.
    pub at: Option<Duration>,
}

/// The engine's word to an attempt; it only ever gets more urgent.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Control {
    /// Go on.
    #[default]
    Run,
    /// Checkpoint and end before the deadline.
    Notice(Deadline),
    /// End now.
    Kill,
}
