//! How long healing takes, and what is typical of it.

use std::time::Duration;

/// Durations of one kind.
#[derive(Debug, Clone, Default)]
pub struct Latencies(Vec<Duration>);

impl Latencies {
    /// Adds one.
    pub fn add(&mut self, latency: Duration) {
        self.0.push(latency);
    }

    /// Adds those of another.
    pub fn merge(&mut self, other: &Self) {
        self.0.extend(&other.0);
    }

    /// Returns how many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Returns whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns all, in the order they were added.
    pub fn all(&self) -> &[Duration] {
        &self.0
    }

    /// Returns the smallest one that is at least as long as `percent` of all; nothing if there are none.
    pub fn percentile(&self, percent: usize) -> Option<Duration> {
        let mut sorted = self.0.clone();
        sorted.sort();
        let rank = (sorted.len() * percent).div_ceil(100).max(1);
        sorted.get(rank - 1).copied()
    }
}

impl std::fmt::Display for Latencies {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let ms = |percent| self.percentile(percent).map_or(0.0, |latency| latency.as_secs_f64() * 1000.0);
        write!(f, "p50 {:.0} ms, p99 {:.0} ms, max {:.0} ms ({} measured)", ms(50), ms(99), ms(100), self.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentile_is_one_of_the_values() {
        let mut latencies = Latencies::default();
        assert_eq!(latencies.percentile(50), None);
        (1..=200).rev().for_each(|ms| latencies.add(Duration::from_millis(ms)));
        assert_eq!(latencies.percentile(50), Some(Duration::from_millis(100)));
        assert_eq!(latencies.percentile(99), Some(Duration::from_millis(198)));
        assert_eq!(latencies.percentile(100), Some(Duration::from_millis(200)));
    }
}
