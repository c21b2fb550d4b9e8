//! How much of the machine is taken, and whether one more attempt fits.

use crate::plan::Demand;

/// What the machine gives to all attempts together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Capacity {
    /// Attempts at once, at least 1.
    pub jobs: usize,
    /// Thousandths of a processor.
    pub cpu_millis: u64,
    /// Memory.
    pub memory_bytes: u64,
    /// Accelerators.
    pub gpu: u32,
}

/// What the attempts that run take.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Taken {
    attempts: usize,
    demand: Demand,
}

impl Taken {
    pub(crate) fn add(&mut self, demand: Demand) {
        self.attempts += 1;
        self.demand.cpu_millis = self.demand.cpu_millis.saturating_add(demand.cpu_millis);
        self.demand.memory_bytes = self.demand.memory_bytes.saturating_add(demand.memory_bytes);
        self.demand.gpu = self.demand.gpu.saturating_add(demand.gpu);
    }

    pub(crate) fn is_full(&self, capacity: &Capacity) -> bool {
        self.attempts >= capacity.jobs.max(1)
    }
}

impl Capacity {
    /// Returns whether an attempt can ever run here: what it needs more of than there is it gets alone, but an
    /// accelerator that is not there never comes.
    pub fn can_ever(&self, demand: &Demand) -> bool {
        demand.gpu <= self.gpu
    }

    /// Returns whether one more attempt fits; the first always does, so that a step too large for the machine runs
    /// alone and not never.
    pub(crate) fn fits(&self, taken: &Taken, demand: &Demand) -> bool {
        let mut with = *taken;
        with.add(*demand);
        if taken.attempts == 0 {
            return self.can_ever(demand);
        }
        !taken.is_full(self)
            && with.demand.cpu_millis <= self.cpu_millis
            && with.demand.memory_bytes <= self.memory_bytes
            && with.demand.gpu <= self.gpu
    }
}
