//! Interruptions that come together.

use crate::Draws;

/// Shocks: now and then a zone wants machines back, and many of a kind go within minutes.
///
/// Of interruptions of one type in one zone more than 92 % of those that come together fall within three minutes (2,635 of
/// them, arXiv 2604.16457): a model of independent machines does not have that.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Shocks {
    /// The mean time between two shocks, in seconds.
    pub every: f64,
    /// The probability that a machine is among those taken.
    pub takes: f64,
    /// From the first to the last machine of one shock, in seconds.
    pub within: f64,
}

/// The shocks of one run as they come: equal for all its machines, but for who is taken and when exactly.
#[derive(Debug, Clone)]
pub struct Shaken {
    shocks: Shocks,
    draws: Draws,
    /// When each shock begins, as far as somebody has asked.
    begins: Vec<f64>,
}

impl Shocks {
    /// Returns the shocks that a seed decides.
    pub fn of(self, seed: u64) -> Shaken {
        Shaken { shocks: self, draws: Draws::new(seed ^ 0x5ca1_ab1e), begins: Vec::new() }
    }
}

impl Shaken {
    /// Returns when a machine that starts at `from` is taken by a shock, if that is before `until`.
    ///
    /// `machine` decides, with the shock, whether it is taken: the answer is the same whenever it is asked for.
    pub fn takes(&mut self, machine: u64, from: f64, until: f64) -> Option<f64> {
        // A shock may begin before the machine and take it after it has started.
        let mut i = self.begins.partition_point(|begins| begins + self.shocks.within <= from);
        loop {
            if i == self.begins.len() {
                let last = self.begins.last().copied().unwrap_or(0.0);
                let next = last + self.draws.exponential(self.shocks.every);
                self.begins.push(next);
            }
            let begins = self.begins[i];
            if begins >= until {
                return None;
            }
            let mut own = Draws::new(machine.wrapping_mul(0x9e37_79b9).wrapping_add(i as u64));
            let at = begins + self.shocks.within * own.share();
            if at > from && at < until && own.happens(self.shocks.takes) {
                return Some(at);
            }
            i += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn machines_go_together_and_as_often_as_said() {
        let shocks = Shocks { every: 7200.0, takes: 0.5, within: 180.0 };
        let mut shaken = shocks.of(3);
        let end = 4_000_000.0;
        let mut times = Vec::new();
        for machine in 0..8 {
            let mut from = 0.0;
            while let Some(at) = shaken.takes(machine, from, end) {
                times.push(at);
                from = at;
            }
        }
        times.sort_by(f64::total_cmp);
        let expected = end / shocks.every * shocks.takes * 8.0;
        assert!((times.len() as f64 / expected - 1.0).abs() < 0.1, "{} of {expected}", times.len());
        let together = times.windows(2).filter(|two| two[1] - two[0] < 180.0).count();
        assert!(together as f64 > 0.7 * times.len() as f64, "{together} of {}", times.len());
        assert_eq!(shaken.takes(5, 100.0, end), shocks.of(3).takes(5, 100.0, end), "whenever it is asked for");
    }
}
