//! What theory says of checkpoints: intervals and waste, each formula with its source.
//!
//! `mean` is the mean time between interruptions (exponential unless said otherwise), `cost` how long a checkpoint holds the
//! program up, `work` the work between two checkpoints, `restore` the time from a machine to a program that goes on, `down`
//! the time before that in which there is no machine. All in seconds; waste is a share of the time, from 0 to 1.

use crate::lambert_w0;

/// Returns the work between two checkpoints by Young's first-order estimate: √(2·C·M).
///
/// J. W. Young, *A first order approximation to the optimum checkpoint interval*, Communications of the ACM 17 (1974).
pub fn young(mean: f64, cost: f64) -> f64 {
    (2.0 * cost * mean).sqrt()
}

/// Returns the same by Daly's higher-order estimate; the mean where a checkpoint costs two of them or more.
///
/// J. T. Daly, *A higher order estimate of the optimum checkpoint interval for restart dumps*, Future Generation Computer
/// Systems 22 (2006).
pub fn daly(mean: f64, cost: f64) -> f64 {
    if cost >= 2.0 * mean {
        return mean;
    }
    let share = cost / (2.0 * mean);
    young(mean, cost) * (1.0 + share.sqrt() / 3.0 + share / 9.0) - cost
}

/// Returns the same exactly: M·(1 + W₀(−e^(−C/M−1))); neither restore nor down time matter.
///
/// Where the derivative of [`exact_waste`] by the work vanishes; the form with Lambert's function is Daly's (2006), section 3.
pub fn exact(mean: f64, cost: f64) -> f64 {
    mean * (1.0 + lambert_w0(-(-cost / mean - 1.0).exp()))
}

/// Returns the waste of this interval exactly, interruptions during a restore included.
///
/// Daly (2006): a segment takes e^(R/M)·(M + D)·(e^((W+C)/M) − 1) on the average.
pub fn exact_waste(mean: f64, cost: f64, restore: f64, down: f64, work: f64) -> f64 {
    let takes = (restore / mean).exp() * (mean + down) * ((work + cost) / mean).exp_m1();
    1.0 - work / takes
}

/// Returns the waste to the first order: 1 − (1 − C/T)·(1 − (D + R + T/2)/M), T = W + C.
///
/// T. Hérault and Y. Robert (eds.), *Fault-Tolerance Techniques for High-Performance Computing*, Springer (2015), chapter 1.
pub fn first_order_waste(mean: f64, cost: f64, restore: f64, down: f64, work: f64) -> f64 {
    let period = work + cost;
    1.0 - (1.0 - cost / period) * (1.0 - (down + restore + period / 2.0) / mean)
}

/// Returns the period between checkpoints at which availability is greatest: Ts + √(2·(Tf + Tr)·Ts + Ts²).
///
/// `save` is what a checkpoint takes, `between` the time to a failure, `recover` the time to recover from one. arXiv 2410.18124.
pub fn availability_optimal(save: f64, between: f64, recover: f64) -> f64 {
    save + (2.0 * (between + recover) * save + save * save).sqrt()
}

/// What is announced of interruptions, and what a checkpoint on notice costs.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Notice {
    /// The share of interruptions that are announced early enough for one more checkpoint.
    pub recall: f64,
    /// The share of notices that come true.
    pub precision: f64,
    /// What the checkpoint on notice costs, with its margin.
    pub cost: f64,
}

/// Returns the period between checkpoints if a share of the interruptions is announced: √(2·C·M/(1 − r)); never, for r = 1.
///
/// G. Aupy, Y. Robert, F. Vivien, D. Zaidouni, *Checkpointing algorithms and fault prediction*, arXiv 1302.3752, 1207.6936.
pub fn period_with_notice(mean: f64, cost: f64, recall: f64) -> f64 {
    if recall >= 1.0 { f64::INFINITY } else { (2.0 * cost * mean / (1.0 - recall)).sqrt() }
}

/// Returns the waste of that period: C/T + ((1 − r)·T/2 + R + D + (r/p)·Cₚ)/M. Same source.
pub fn waste_with_notice(mean: f64, cost: f64, restore: f64, down: f64, notice: Notice) -> f64 {
    let Notice { recall, precision, cost: proactive } = notice;
    let announced = if recall > 0.0 { recall / precision * proactive } else { 0.0 };
    let beyond = (restore + down + announced) / mean;
    if recall >= 1.0 {
        return beyond;
    }
    let period = period_with_notice(mean, cost, recall);
    cost / period + (1.0 - recall) * period / 2.0 / mean + beyond
}

/// Returns how old the newest checkpoint may be for what changed since then to fit the grace time.
///
/// What changes (`dirty`, bytes a second) must be uploaded (`bandwidth`) in `grace − margin`.
pub fn age_that_fits(bandwidth: f64, grace: f64, margin: f64, dirty: f64) -> f64 {
    bandwidth * (grace - margin).max(0.0) / dirty
}

/// Two levels of checkpoints: near ones for frequent interruptions, far ones for rare ones that take the near ones along.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TwoLevels {
    /// The mean time between interruptions that a near checkpoint survives.
    pub near_mean: f64,
    /// What a near checkpoint costs.
    pub near_cost: f64,
    /// The mean time between those that only a far one survives.
    pub far_mean: f64,
    /// What a far checkpoint costs.
    pub far_cost: f64,
}

impl TwoLevels {
    /// Returns the number of near checkpoints for each far one: √(λ₁·C₂/(λ₂·C₁)), not rounded.
    ///
    /// A. Benoit, A. Cavelan, V. Le Fèvre, Y. Robert, H. Sun, *Towards optimal multi-level checkpointing*, IEEE Transactions on
    /// Computers 66 (2017).
    pub fn near_per_far(&self) -> f64 {
        (self.far_mean * self.far_cost / (self.near_mean * self.near_cost)).sqrt()
    }

    /// Returns the work between two far checkpoints with `n` near ones: √((n·C₁ + C₂)/(λ₁/2n + λ₂/2)). Same source.
    pub fn work(&self, n: f64) -> f64 {
        let rate = 1.0 / self.near_mean / (2.0 * n) + 1.0 / self.far_mean / 2.0;
        ((n * self.near_cost + self.far_cost) / rate).sqrt()
    }

    /// Returns the overhead at the optimum, beside what restores take: √(2·λ₁·C₁) + √(2·λ₂·C₂). Same source.
    pub fn overhead(&self) -> f64 {
        (2.0 * self.near_cost / self.near_mean).sqrt() + (2.0 * self.far_cost / self.far_mean).sqrt()
    }

    /// Returns the overhead if there were far checkpoints only: √(2·(λ₁ + λ₂)·C₂). Same source.
    pub fn overhead_of_far_only(&self) -> f64 {
        (2.0 * self.far_cost * (1.0 / self.near_mean + 1.0 / self.far_mean)).sqrt()
    }
}

/// A checkpoint that is stored beside the program.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Beside {
    /// How long it holds the program up.
    pub blocking: f64,
    /// From then until it is durable.
    pub persist: f64,
    /// The share of its speed that the program loses meanwhile.
    pub interference: f64,
}

impl Beside {
    /// Returns what of the program's time it takes: b + w·c.
    pub fn held_up(&self) -> f64 {
        self.blocking + self.interference * self.persist
    }

    /// Returns the period between two of them: √(2·M·(b + w·c)), at least c: one is stored at a time.
    ///
    /// Young's argument with the cost that is left; J. Mohan, A. Phanishayee, V. Chidambaram, *CheckFreq*, FAST 2021, for its
    /// two phases.
    pub fn period(&self, mean: f64) -> f64 {
        (2.0 * mean * self.held_up()).sqrt().max(self.persist)
    }

    /// Returns the waste of this period to the first order: (b + w·c)/T + (T/2 + c + R)/M.
    pub fn waste(&self, mean: f64, restore: f64, period: f64) -> f64 {
        self.held_up() / period + (period / 2.0 + self.persist + restore) / mean
    }
}

/// Returns the dearest checkpoint with which the waste is at most this, if a restore takes as long as a checkpoint; exactly.
///
/// [`exact_waste`] at the [`exact`] optimum, turned around.
pub fn dearest_checkpoint(mean: f64, waste: f64) -> f64 {
    let (mut cheap, mut dear) = (0.0, mean);
    for _ in 0..100 {
        let cost = f64::midpoint(cheap, dear);
        if exact_waste(mean, cost, cost, 0.0, exact(mean, cost)) <= waste { cheap = cost } else { dear = cost }
    }
    cheap
}
