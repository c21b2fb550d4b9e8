//! What an engine may ask of a running attempt: finish early, or end now.

use std::time::Duration;

use tokio::sync::watch;

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

/// Waits for the first word that ends an attempt. An engine that is gone counts as one.
pub(crate) async fn noticed(control: &mut watch::Receiver<Control>) {
    let _gone = control.wait_for(|word| *word != Control::Run).await;
}
