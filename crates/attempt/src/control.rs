//! What an engine may ask of a running attempt: a checkpoint, to finish early, or to end now.

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

/// A hint: word that the machine may go away, or stands still for a moment. A reason for a checkpoint, not for an end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hint {
    /// A cloud's name.
    pub source: String,
    /// What it said, for people.
    pub what: String,
}

/// The engine's word to an attempt; it only ever gets more urgent.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Control {
    /// Go on.
    #[default]
    Run,
    /// Go on, but let there be a checkpoint soon: all hints so far, each once.
    Hint(Vec<Hint>),
    /// Checkpoint and end before the deadline.
    Notice(Deadline),
    /// End now.
    Kill,
}

impl Control {
    /// Returns the word of one hint.
    pub fn hint(source: impl Into<String>, what: impl Into<String>) -> Self {
        Self::Hint(vec![Hint { source: source.into(), what: what.into() }])
    }

    /// Returns whether an attempt that hears it is to end.
    pub fn ends(&self) -> bool {
        match self {
            Self::Run | Self::Hint(_) => false,
            Self::Notice(_) | Self::Kill => true,
        }
    }

    /// Returns the hints that it holds and `known` does not.
    pub fn new_hints<'a>(&'a self, known: &'a Self) -> impl Iterator<Item = &'a Hint> {
        self.hints().iter().filter(|hint| !known.hints().contains(hint))
    }

    fn hints(&self) -> &[Hint] {
        match self {
            Self::Hint(hints) => hints,
            Self::Run | Self::Notice(_) | Self::Kill => &[],
        }
    }

    /// Returns what holds after another word: the more urgent one, and of notices the earliest deadline.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::Kill, _) | (_, Self::Kill) => Self::Kill,
            (Self::Run, word) | (word, Self::Run) => word,
            (Self::Notice(first), Self::Notice(second)) => Self::Notice(first.and(second)),
            // Whoever ends writes its checkpoint anyway.
            (Self::Notice(notice), Self::Hint(_)) | (Self::Hint(_), Self::Notice(notice)) => Self::Notice(notice),
            (Self::Hint(mut hints), Self::Hint(more)) => {
                for hint in more {
                    if !hints.contains(&hint) {
                        hints.push(hint);
                    }
                }
                Self::Hint(hints)
            }
        }
    }
}

/// Waits for the first word that ends an attempt. An engine that is gone counts as one.
pub(crate) async fn noticed(control: &mut watch::Receiver<Control>) {
    let _gone = control.wait_for(Control::ends).await;
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
        let hint = (0u8..3).prop_map(|what| Control::hint("test", what.to_string()));
        prop_oneof![Just(Control::Run), Just(Control::Kill), notice, hint]
    }

    fn end(word: &Control, now: Duration, grace: Duration) -> Option<Duration> {
        match word {
            Control::Run | Control::Hint(_) => None,
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
    fn of_hints_each_is_kept_once_and_a_notice_takes_their_place() {
        let both = Control::hint("aws", "one").and(Control::hint("aws", "two"));
        assert_eq!(both.clone().and(Control::hint("aws", "one")), both);
        let known = Control::hint("aws", "one");
        let new: Vec<&str> = both.new_hints(&known).map(|hint| hint.what.as_str()).collect();
        assert_eq!((new, both.ends()), (vec!["two"], false));
        let notice = Control::Notice(Deadline::in_own_grace("sigterm"));
        assert_eq!((both.clone().and(notice.clone()), notice.clone().and(both)), (notice.clone(), notice));
    }

    #[test]
    fn the_first_notice_gives_its_name() {
        let first = Control::Notice(Deadline::by("gcp", Duration::from_secs(30)));
        let both = first.and(Control::Notice(Deadline::in_own_grace("sigterm")));
        let at = Some(Duration::from_secs(30));
        assert_eq!(both, Control::Notice(Deadline { source: "gcp".into(), at, own_grace: true }));
    }
}
