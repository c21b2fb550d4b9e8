//! What the answers of metadata services mean (pure).
//!
//! Everything that a service may say is taken: what is no answer of it is an [`Unreadable`], never a panic.

pub mod aws;
pub mod azure;
pub mod gcp;
mod moment;

use std::time::Duration;

/// Word that this machine goes away.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CloudNotice {
    /// How long there is until it does, from when the answer was read.
    pub within: Duration,
    /// The cloud's own word for it, such as `terminate` or `Preempt`.
    pub what: String,
}

/// What one answer says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Seen {
    /// Nothing is planned.
    Nothing,
    /// The machine goes away.
    Notice(CloudNotice),
    /// The machine may go away, or stands still for a moment: worth saying, no reason to end.
    Hint(String),
}

/// An answer that is none of the service's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} is not readable: `{text}`")]
pub struct Unreadable {
    /// What was asked for.
    pub what: &'static str,
    /// Its beginning, without anything that a terminal would obey.
    pub text: String,
}

/// The least time that a notice is taken to leave.
///
/// A stated instant that is over, or nearly, says that the machine may go at any moment, or that its wall clock is wrong. To
/// kill the step before the machine does would save nothing: it gets this long for a checkpoint, if it really has it.
pub const LEAST: Duration = Duration::from_secs(5);

/// Returns how long it is from `now_ms` until `at_ms`, both on the wall clock; between [`LEAST`] and `most`.
///
/// `most` is what the cloud's documents promise: a wall clock that is slow makes no deadline later than that.
fn span_until(at_ms: i64, now_ms: i64, most: Duration) -> Duration {
    let span = u64::try_from(at_ms.saturating_sub(now_ms)).map_or(Duration::ZERO, Duration::from_millis);
    span.min(most).max(LEAST)
}

fn unreadable(what: &'static str, text: &str) -> Unreadable {
    let text = text.chars().take(80).map(|c| if c.is_control() { ' ' } else { c }).collect();
    Unreadable { what, text }
}
