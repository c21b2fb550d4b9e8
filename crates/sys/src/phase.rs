//! Which part of the work somebody is at, so that what can go wrong in one part can be enumerated.

use std::{cell::Cell, fmt, future::Future, str::FromStr};

/// A part of the work that leaves something durable; one may lie in another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Phase {
    /// Bytes become objects: what a run brings in, outputs, snapshots.
    Upload,
    /// From the end of a program to its commit: outputs are taken in, checked and committed.
    Promote,
    /// A slot is filled with a commit.
    Commit,
    /// What was committed is put where others read it.
    Publish,
    /// A snapshot is taken and made durable.
    Checkpoint,
    /// A checkpoint is laid out.
    Restore,
}

/// There is no such phase.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnknownPhase(String);

impl Phase {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Upload, Self::Promote, Self::Commit, Self::Publish, Self::Checkpoint, Self::Restore];

    /// Returns its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Upload => "upload",
            Self::Promote => "promote",
            Self::Commit => "commit",
            Self::Publish => "publish",
            Self::Checkpoint => "checkpoint",
            Self::Restore => "restore",
        }
    }

    /// Does `work` in this phase, beside those that it is done in already.
    pub async fn during<F: Future>(self, work: F) -> F::Output {
        let mut work = std::pin::pin!(work);
        std::future::poll_fn(|context| Phases::here().and(self).within(|| work.as_mut().poll(context))).await
    }

    fn bit(self) -> u8 {
        1 << self as u8
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Phase {
    type Err = UnknownPhase;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|phase| phase.name() == text).ok_or_else(|| UnknownPhase(text.to_owned()))
    }
}

impl fmt::Display for UnknownPhase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all = Phase::ALL.map(|phase| format!("`{phase}`")).join(", ");
        write!(f, "there is no phase `{}`; there are {all}", self.0)
    }
}

impl std::error::Error for UnknownPhase {}

thread_local! {
    static HERE: Cell<Phases> = const { Cell::new(Phases(0)) };
}

/// The phases that something is done in: none, one, or several within each other.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Phases(u8);

impl Phases {
    /// Returns those of whoever asks. Work that another task or thread is to do is given them with [`Phases::during`] or
    /// [`Phases::within`]; [`crate::blocking`] does so by itself.
    pub fn here() -> Self {
        HERE.get()
    }

    /// Returns these and one more.
    #[must_use]
    pub fn and(self, phase: Phase) -> Self {
        Self(self.0 | phase.bit())
    }

    /// Returns these and those.
    #[must_use]
    pub fn or(self, others: Self) -> Self {
        Self(self.0 | others.0)
    }

    /// Returns whether it is one of them.
    pub fn contains(self, phase: Phase) -> bool {
        self.0 & phase.bit() != 0
    }

    /// Returns whether there is none.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Does `work` in exactly these phases, on this thread.
    pub fn within<T>(self, work: impl FnOnce() -> T) -> T {
        let _before = Before(HERE.replace(self));
        work()
    }

    /// Does `work` in exactly these phases, whichever thread does it.
    pub async fn during<F: Future>(self, work: F) -> F::Output {
        let mut work = std::pin::pin!(work);
        std::future::poll_fn(|context| self.within(|| work.as_mut().poll(context))).await
    }
}

/// Those of before, which are there again when it is dropped.
struct Before(Phases);

impl Drop for Before {
    fn drop(&mut self) {
        HERE.set(self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::blocking;

    #[tokio::test]
    async fn phases_nest_go_with_blocking_work_and_end_with_theirs() {
        let seen = Phase::Promote
            .during(async {
                tokio::task::yield_now().await;
                let inner = Phase::Upload.during(blocking(Phases::here)).await;
                (inner, Phases::here())
            })
            .await;
        assert_eq!(seen.0, Phases::default().and(Phase::Promote).and(Phase::Upload));
        assert_eq!(seen.1, Phases::default().and(Phase::Promote));
        assert!(Phases::here().is_empty() && seen.0.contains(Phase::Upload) && !seen.1.contains(Phase::Upload));
    }

    #[tokio::test]
    async fn two_tasks_of_one_thread_are_each_in_their_own() {
        let look = |phase: Phase| {
            phase.during(async {
                for _ in 0..9 {
                    tokio::task::yield_now().await;
                }
                Phases::here()
            })
        };
        let (one, two) = tokio::join!(look(Phase::Commit), look(Phase::Restore));
        assert_eq!((one, two), (Phases::default().and(Phase::Commit), Phases::default().and(Phase::Restore)));
    }

    #[test]
    fn a_phase_is_read_by_its_name_and_another_word_is_told_all_of_them() {
        for phase in Phase::ALL {
            assert_eq!(phase.to_string().parse(), Ok(phase));
        }
        assert!("rain".parse::<Phase>().unwrap_err().to_string().contains("there are `upload`, `promote`"));
    }
}
