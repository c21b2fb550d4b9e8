//! How long to wait before the next try.

use std::time::Duration;

use prunella_model::{Backoff, Encoder, Epoch, RunId, StepId};

/// What the jitter is a hash of, so that a replayed run waits as long as the first time.
#[derive(Debug, Clone, Copy)]
pub struct JitterSeed<'a> {
    /// The run.
    pub run: &'a RunId,
    /// The step.
    pub step: &'a StepId,
    /// The attempt that ended.
    pub attempt: Epoch,
}

impl JitterSeed<'_> {
    /// Returns a number of 64 bits that every attempt has for itself.
    pub fn number(&self) -> u64 {
        let mut encoder = Encoder::new("prunella/jitter/1");
        encoder.text(self.run.as_str()).text(self.step.name.as_str());
        match &self.step.item {
            Some(item) => encoder.text(item.as_str()),
            None => encoder.nothing(),
        };
        let digest = encoder.integer(i128::from(self.attempt.0)).finish();
        let mut eight = [0; 8];
        eight.copy_from_slice(&digest.as_bytes()[..8]);
        u64::from_le_bytes(eight)
    }
}

/// Returns the wait before try `n` (from 1): anything from nothing to `first` × 2^(n−1), at most `most`; none for `n` = 0.
///
/// Full jitter, to the microsecond: the fraction is the seed's hash and nothing else.
pub fn backoff(waits: Backoff, n: u32, seed: &JitterSeed<'_>) -> Duration {
    let Some(doublings) = n.checked_sub(1) else { return Duration::ZERO };
    let factor = 1u64.checked_shl(doublings).unwrap_or(u64::MAX);
    let ceiling = waits.first.as_millis().saturating_mul(factor).min(waits.most.as_millis());
    let micros = (u128::from(ceiling) * 1000 * u128::from(seed.number())) >> 64;
    Duration::from_micros(u64::try_from(micros).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use prunella_model::{Span, StepName};

    fn waits(run: &str, attempt: u64, n: u32) -> Duration {
        let run = RunId::new(run).expect("a run id");
        let step = StepId::plain(StepName::new("train").expect("a name"));
        let range = Backoff { first: Span::from_millis(200), most: Span::from_secs(30) };
        backoff(range, n, &JitterSeed { run: &run, step: &step, attempt: Epoch(attempt) })
    }

    #[test]
    fn a_replayed_run_waits_as_long_as_the_first_time() {
        assert_eq!(waits("a", 3, 5), waits("a", 3, 5));
        assert_ne!(waits("a", 3, 5), waits("b", 3, 5));
        assert_ne!(waits("a", 3, 5), waits("a", 4, 5));
    }

    #[test]
    fn the_jitter_is_full_and_the_ceiling_doubles_up_to_the_most() {
        let spread = |n: u32| {
            let all: Vec<u128> = (0..2000).map(|attempt| waits("a", attempt, n).as_millis()).collect();
            (all.iter().sum::<u128>() / 2000, all.into_iter().max().unwrap_or(0))
        };
        for (n, ceiling) in [(1, 200), (2, 400), (4, 1600), (9, 30_000), (64, 30_000), (u32::MAX, 30_000)] {
            let (mean, most) = spread(n);
            assert!(most < ceiling && most > ceiling * 95 / 100, "n {n}: most {most} of {ceiling}");
            assert!((ceiling * 45 / 100..ceiling * 55 / 100).contains(&mean), "n {n}: mean {mean} of {ceiling}");
        }
        assert_eq!(waits("a", 1, 0), Duration::ZERO);
    }
}
