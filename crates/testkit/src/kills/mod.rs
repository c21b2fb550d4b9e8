//! Killing real runs at random instants, and checking that nothing was lost.
//!
//! One [`round`] is one run of a pipeline of shell steps that checkpoint: its processes, its guardian and its engines are
//! killed as a seed says, `run` is called again until it succeeds, and the invariants of docs/design/protocol.md are read
//! from the store after every kill. The test of the command line does a few rounds, `cargo xtask soak` as many as one
//! likes.
#![allow(clippy::disallowed_methods)]

mod exec;
mod latency;
mod oracle;
mod project;
mod round;

use std::fmt;
use std::path::Path;

use prunella_sys::Random;

pub use latency::Latencies;
pub use prunella_chaos::Broken;
pub use round::Round;

/// What is done to a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Action {
    /// Kills the main process of a step.
    Step,
    /// Kills any process of any step.
    AnyOfTree,
    /// Kills the guardian.
    Guardian,
    /// Kills the engine; `run` takes the run up at once.
    Engine,
    /// Kills the engine and its guardian right after.
    EngineThenGuardian,
    /// Kills the guardian and its engine right after.
    GuardianThenEngine,
    /// Kills an `exec`; another one is started as an orchestrator would.
    Exec,
    /// Tells the engine that the machine goes away (SIGTERM); steps checkpoint and end.
    Notice,
}

impl Action {
    /// All of them, as often as each is wanted.
    const WEIGHTS: [(Self, u64); 7] = [
        (Self::Step, 40),
        (Self::AnyOfTree, 15),
        (Self::Guardian, 12),
        (Self::Engine, 15),
        (Self::EngineThenGuardian, 6),
        (Self::GuardianThenEngine, 6),
        (Self::Notice, 6),
    ];

    fn choose(random: &dyn Random) -> Self {
        let all: u64 = Self::WEIGHTS.iter().map(|(_, weight)| weight).sum();
        let mut at = random.u64() % all;
        for (action, weight) in Self::WEIGHTS {
            if at < weight {
                return action;
            }
            at -= weight;
        }
        Self::Step
    }

    fn ends_engine(self) -> bool {
        match self {
            Self::Step | Self::AnyOfTree | Self::Guardian => false,
            Self::Engine | Self::EngineThenGuardian | Self::GuardianThenEngine | Self::Exec | Self::Notice => true,
        }
    }

    /// Returns whether something is killed, and not only asked to end.
    pub fn is_kill(self) -> bool {
        self != Self::Notice
    }
}

/// A round in which an invariant did not hold.
#[derive(Debug, Clone)]
pub struct Failure {
    /// What to give to [`round`] to do the same again, as far as the machine's own timing allows.
    pub seed: u64,
    /// Which invariant, and how.
    pub broken: Broken,
    /// What was done and seen, in order.
    pub plan: Vec<String>,
    /// The last words of the engines.
    pub output: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} does not hold (seed {}): {}", self.broken.invariant, self.seed, self.broken.what)?;
        writeln!(f, "what was done:\n  {}", self.plan.join("\n  "))?;
        write!(f, "the last output of the engines:\n{}", self.output)
    }
}

/// Runs the pipeline once, disturbed by up to `actions` actions as `seed` says, and checks that nothing was lost.
///
/// With every fourth seed each step is run by `prunella exec`, as an orchestrator does, and `run` only ends the run.
///
/// `scratch` must be an empty directory with a short path (sockets lie in it); it is the caller's to remove.
///
/// # Errors
/// [`Failure`] with the first invariant that does not hold; nothing of the run is left running then either.
pub fn round(binary: &Path, scratch: &Path, seed: u64, actions: usize) -> Result<Round, Box<Failure>> {
    round::round(binary, scratch, seed, actions).map_err(Box::new)
}

/// What many rounds did together.
#[derive(Debug, Clone, Default)]
pub struct Totals {
    /// How many rounds.
    pub rounds: u64,
    /// All of them as one.
    pub sum: Round,
}

impl Totals {
    /// Adds a round.
    pub fn add(&mut self, round: &Round) {
        self.rounds += 1;
        self.sum.engines += round.engines;
        for (action, times) in &round.done {
            *self.sum.done.entry(*action).or_default() += times;
        }
        self.sum.step.merge(&round.step);
        self.sum.step_again.merge(&round.step_again);
        self.sum.engine.merge(&round.engine);
        self.sum.exec.merge(&round.exec);
        self.sum.slow.extend(round.slow.iter().cloned());
    }

    /// Returns how many times something was killed.
    pub fn kills(&self) -> u64 {
        self.sum.done.iter().filter(|(action, _)| action.is_kill()).map(|(_, times)| times).sum()
    }
}

impl fmt::Display for Totals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} kills in {} runs, {} engines", self.kills(), self.rounds, self.sum.engines)?;
        for (action, times) in &self.sum.done {
            writeln!(f, "  {action:?}: {times}")?;
        }
        for slow in &self.sum.slow {
            writeln!(f, "slow: {slow}")?;
        }
        writeln!(f, "kill of a step with a newer checkpoint → restored: {}", self.sum.step)?;
        writeln!(f, "kill of a step without → restored: {}", self.sum.step_again)?;
        writeln!(f, "start after the kill of an engine → restored: {}", self.sum.engine)?;
        write!(f, "start of `exec` after the one before was killed → restored: {}", self.sum.exec)
    }
}
