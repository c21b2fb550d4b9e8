//! What an engine may ask of a running attempt: finish early, or end now.

use std::time::Duration;

use tokio::sync::watch;

/// A notice: word that the machine goes away, or that a person wants to stop.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deadline {
    /// `sigterm`, `stop`, or a cloud's name.
    pub source: String,
    /// The instant of the kill, on the monotonic clock, if one was stated.
    pub at: Option<Duration>,
    /// Whether the step's own grace counts, from when the step hears of it.
    pub own_grace: bool,
}

impl Deadline {
    /// Returns a notice that states no instant: every step has its own grace.
    pub fn in_own_grace(source: impl Into<String>) -> Self {
        Self { source: source.into(), at: None, own_grace: true }
    }

    /// Returns a notice that states the instant of the kill, on the monotonic clock.
    pub fn by(source: impl Into<String>, at: Duration) -> Self {
        Self { source: source.into(), at: Some(at), own_grace: false }
    }

    /// Returns when a step that hears of it `now` is killed.
    pub fn kill_at(&self, now: Duration, grace: Duration) -> Duration {
        let own = self.own_grace.then_some(now + grace);
        [self.at, own].into_iter().flatten().min().unwrap_or(now)
    }

    /// Returns both notices as one: whoever came first is named, and the earliest kill counts.
    fn and(self, other: Self) -> Self {
        let at = [self.at, other.at].into_iter().flatten().min();
        Self { source: self.source, at, own_grace: self.own_grace || other.own_grace }
    }
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

impl Control {
    /// Returns what holds after another word: the more urgent one, and of notices the earliest deadline.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::Kill, _) | (_, Self::Kill) => Self::Kill,
            (Self::Run, word) | (word, Self::Run) => word,
            (Self::Notice(first), Self::Notice(second)) => Self::Notice(first.and(second)),
        }
    }
}

/// Waits for the first word that ends an attempt. An engine that is gone counts as one.
pub(crate) async fn noticed(control: &mut watch::Receiver<Control>) {
    let _gone = control.wait_for(|word| *word != Control::Run).await;
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn words() -> impl Strategy<Value = Control> {
        let notice = (proptest::option::of(0u64..100), any::<bool>()).prop_map(|(at, own_grace)| {
            let at = at.map(Duration::from_secs);
            Control::Notice(Deadline { source: "test".into(), at, own_grace: own_grace || at.is_none() })
        });
        prop_oneof![Just(Control::Run), Just(Control::Kill), notice]
    }

    fn end(word: &Control, now: Duration, grace: Duration) -> Option<Duration> {
        match word {
            Control::Run => None,
            Control::Notice(deadline) => Some(deadline.kill_at(now, grace)),
            Control::Kill => Some(Duration::ZERO),
        }
    }

    proptest! {
        #[test]
        fn the_end_is_the_earliest_of_all_words_whatever_their_order(
            said in proptest::collection::vec(words(), 0..6), now in 0u64..100, grace in 0u64..100
        ) {
            let (now, grace) = (Duration::from_secs(now), Duration::from_secs(grace));
            let all = said.iter().cloned().fold(Control::Run, Control::and);
            let earliest = said.iter().filter_map(|word| end(word, now, grace)).min();
            prop_assert_eq!(end(&all, now, grace), earliest);
        }
    }

    #[test]
    fn the_first_notice_gives_its_name() {
        let first = Control::Notice(Deadline::by("gcp", Duration::from_secs(30)));
        let both = first.and(Control::Notice(Deadline::in_own_grace("sigterm")));
        let at = Some(Duration::from_secs(30));
        assert_eq!(both, Control::Notice(Deadline { source: "gcp".into(), at, own_grace: true }));
    }
}
