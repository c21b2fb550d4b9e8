//! Means, and how sure they are.

/// A mean of independent runs, and the interval in which the true one lies with 95 % confidence.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Estimate {
    /// The mean.
    pub mean: f64,
    /// Where the interval begins.
    pub low: f64,
    /// Where it ends.
    pub high: f64,
    /// From how many runs.
    pub runs: usize,
}

/// Student's t for a two-sided 95 %, by degrees of freedom from 1 on; beyond, the next one below is on the safe side.
const T_95: [(usize, f64); 16] = [
    (1, 12.706),
    (2, 4.303),
    (3, 3.182),
    (4, 2.776),
    (5, 2.571),
    (6, 2.447),
    (7, 2.365),
    (8, 2.306),
    (9, 2.262),
    (12, 2.179),
    (15, 2.131),
    (20, 2.086),
    (30, 2.042),
    (60, 2.000),
    (120, 1.980),
    (1000, 1.962),
];

/// Returns the mean of these and its confidence interval by Student's t; nothing for none. One alone has no interval: it is
/// endless.
pub fn estimate(values: &[f64]) -> Option<Estimate> {
    let runs = values.len();
    if runs == 0 {
        return None;
    }
    let n = runs as f64;
    let mean = values.iter().sum::<f64>() / n;
    let half = if runs == 1 {
        f64::INFINITY
    } else {
        let variance = values.iter().map(|value| (value - mean) * (value - mean)).sum::<f64>() / (n - 1.0);
        let t = T_95.iter().rev().find(|(freedom, _)| *freedom < runs).map_or(T_95[0].1, |(_, t)| *t);
        t * (variance / n).sqrt()
    };
    Some(Estimate { mean, low: mean - half, high: mean + half, runs })
}

/// Returns the value below which so many per cent of these lie (nearest rank); nothing for none.
pub fn percentile(values: &[f64], per_cent: usize) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let rank = (sorted.len() * per_cent).div_ceil(100).max(1);
    sorted.get(rank - 1).copied()
}

#[cfg(test)]
mod tests {
    use super::*;
    use prunella_interruptions::Draws;

    #[test]
    fn the_interval_holds_the_true_mean_95_times_in_a_hundred() {
        for runs in [2, 5, 40] {
            let mut draws = Draws::new(1);
            let held = (0..4000)
                .filter(|_| {
                    let values: Vec<f64> = (0..runs).map(|_| 3.0 + draws.normal()).collect();
                    estimate(&values).is_some_and(|one| one.low <= 3.0 && 3.0 <= one.high)
                })
                .count();
            assert!((3740..=3860).contains(&held), "{runs} runs: {held} of 4000");
        }
    }

    #[test]
    fn one_run_says_nothing_of_its_own_error_and_none_says_nothing() {
        assert_eq!(estimate(&[]), None);
        assert!(estimate(&[1.0]).is_some_and(|one| one.high == f64::INFINITY && one.mean == 1.0));
        assert_eq!(percentile(&[3.0, 1.0, 2.0], 50), Some(2.0));
        assert_eq!((percentile(&[3.0, 1.0, 2.0], 99), percentile(&[], 50)), (Some(3.0), None));
    }
}
