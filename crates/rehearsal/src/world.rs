//! What is assumed of machines, checkpoints and notices. All times are seconds, all sizes bytes.

use prunella_healing::{CheckpointCost, Grace, Machine};
use prunella_interruptions::{Lives, Shocks, theory::Beside};
use prunella_model::Span;

use crate::Every;

/// What a checkpoint costs.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Checkpoints {
    /// How long one holds the program up.
    pub blocking: f64,
    /// From then until the whole state is durable.
    pub persist: f64,
    /// The share of its speed that the program loses meanwhile.
    pub interference: f64,
    /// How long storing takes for each second of work since the one before, where only what changed is stored.
    pub per_second: Option<f64>,
}

impl Checkpoints {
    /// Returns checkpoints that hold the program up until they are durable.
    pub const fn blocking(cost: f64) -> Self {
        Self { blocking: cost, persist: 0.0, interference: 0.0, per_second: None }
    }

    /// Returns how long storing takes so long after the checkpoint before.
    pub fn persist_after(&self, since: f64) -> f64 {
        self.per_second.map_or(self.persist, |per_second| (per_second * since).min(self.persist))
    }

    /// Returns them as theory has them.
    pub fn beside(&self) -> Beside {
        Beside { blocking: self.blocking, persist: self.persist, interference: self.interference }
    }

    /// Returns what an attempt would have measured.
    pub fn measured(&self, since: f64) -> CheckpointCost {
        CheckpointCost {
            blocking: span(self.blocking),
            persist: span(self.persist_after(since)),
            interference: self.interference,
            per_second: self.per_second.filter(|_| self.persist_after(since) < self.persist),
        }
    }
}

/// What is announced of interruptions.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Notices {
    /// The share that is.
    pub recall: f64,
    /// The share of notices that come true.
    pub precision: f64,
    /// From the notice to the end.
    pub grace: f64,
    /// What of it is kept back.
    pub margin: f64,
}

impl Notices {
    /// Nothing is announced.
    pub const NONE: Self = Self { recall: 0.0, precision: 1.0, grace: 0.0, margin: 0.0 };

    /// Returns the mean time between notices that do not come true, on machines that live so long on the average.
    ///
    /// Of all notices the share `precision` comes true, and those announce the share `recall` of the interruptions.
    pub fn between_false(&self, mean: f64) -> f64 {
        mean * self.precision / (self.recall * (1.0 - self.precision))
    }

    /// Returns the grace time as the interval policy has it.
    pub fn grace(&self) -> Grace {
        Grace { grace: span(self.grace), margin: span(self.margin) }
    }
}

/// When there is a machine again after one was taken away.
#[derive(Debug, Clone, PartialEq)]
pub struct Capacity {
    /// How long there is none.
    pub gaps: Option<Lives>,
    /// After so long a machine is taken that nobody takes away, where there may be one.
    pub patience: Option<f64>,
    /// What a machine costs for an hour.
    pub price: f64,
    /// What one costs that nobody takes away; nothing if there may be none.
    pub on_demand_price: Option<f64>,
}

impl Capacity {
    /// There is always a machine, and it is free.
    pub const AT_ONCE: Self = Self { gaps: None, patience: None, price: 0.0, on_demand_price: None };
}

/// Everything that is assumed.
#[derive(Debug, Clone, PartialEq)]
pub struct World {
    /// How long machines live.
    pub lives: Lives,
    /// Interruptions that come together, beside those.
    pub shocks: Option<Shocks>,
    /// What a checkpoint costs.
    pub checkpoints: Checkpoints,
    /// What is announced.
    pub notices: Notices,
    /// From a machine to the program's start.
    pub start: f64,
    /// From then to its state.
    pub restore: f64,
    /// Which machine there is when.
    pub capacity: Capacity,
    /// How many machines there are at once.
    pub machines: usize,
    /// How often to checkpoint.
    pub every: Every,
    /// What the policy believes of machines before it has seen any.
    pub machine: Machine,
}

impl World {
    /// Returns a world in which only this is so: lives, the cost of a checkpoint, what a restore takes.
    pub const fn plain(lives: Lives, checkpoint: f64, restore: f64, every: Every) -> Self {
        Self {
            lives,
            shocks: None,
            checkpoints: Checkpoints::blocking(checkpoint),
            notices: Notices::NONE,
            start: 0.0,
            restore,
            capacity: Capacity::AT_ONCE,
            machines: 1,
            every,
            machine: Machine::Unknown,
        }
    }
}

pub(crate) fn span(seconds: f64) -> Span {
    // Negative and endless times end at the bounds.
    Span::from_millis((seconds * 1000.0).round() as u64)
}
