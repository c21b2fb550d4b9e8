//! The model that recorded lives speak for.
//!
//! A life that ended without an interruption (the work was done) says that it was at least so long; every fit counts it as
//! that. Which family fits is decided by lives that the fit has not seen: a family that only remembers would win otherwise.

use libm::tgamma;

use crate::{Lives, lives::log_of_upper_tail};

/// One life that was seen.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Life {
    /// How long it was, in seconds.
    pub lived: f64,
    /// Whether an interruption ended it.
    pub interrupted: bool,
}

/// What is believed before anything was seen; it weighs as much as one interruption.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Prior {
    /// The mean time between interruptions.
    pub mean: f64,
    /// The shape of the hazard: 1 does not age, below 1 the young are in more danger.
    pub shape: f64,
}

/// The age at which some providers take every machine: never believed beforehand, and found where lives show it.
pub const CAP: f64 = 86_400.0;

/// How far from what is believed a shape may easily be: a standard deviation of its logarithm.
const SHAPE_SPREAD: f64 = 0.25;
/// Lives are not shorter than this for a fit: the logarithm of nothing is no number.
const LEAST: f64 = 0.5;
/// With fewer interruptions no family but the believed one is considered: more families find more by chance.
const ENOUGH: usize = 50;
/// By so much the logarithm of the likelihood must be better than that of the model that does not age.
const MARGIN: f64 = 2.0;
/// A machine that lives longer than its cap and this was not under it.
const GRACE_OF_CAP: f64 = 7200.0;

/// Fits one family.
type Family<'a> = &'a dyn Fn(&[Life]) -> Option<Lives>;

/// Returns the model of these lives.
///
/// With few of them it is what is believed, moved by what was seen. With more, every family is fitted to one half and judged
/// by the other, both ways; the one that does not age is left only for one that is clearly better.
pub fn choose(seen: &[Life], prior: &Prior) -> Lives {
    let interrupted = seen.iter().filter(|life| life.interrupted).count();
    if interrupted < ENOUGH {
        return weibull(seen, prior);
    }
    let halves: [Vec<Life>; 2] = [0, 1].map(|half| seen.iter().skip(half).step_by(2).copied().collect());
    let judged = |fit: Family<'_>| -> Option<f64> {
        let of = |one: &[Life], other: &[Life]| fit(one).map(|lives| log_likelihood(&lives, other));
        Some(of(&halves[0], &halves[1])? + of(&halves[1], &halves[0])?).filter(|sum| sum.is_finite())
    };
    let ageless = |seen: &[Life]| Some(exponential(seen, prior));
    let families: [Family<'_>; 3] =
        [&|seen| Some(weibull(seen, prior)), &|seen| Some(lognormal(seen)), &|seen| capped(seen, prior)];
    let mut best = (judged(&ageless).unwrap_or(f64::NEG_INFINITY) + MARGIN, exponential(seen, prior));
    for family in families {
        if let (Some(score), Some(lives)) = (judged(family), family(seen))
            && score > best.0
        {
            best = (score, lives);
        }
    }
    best.1
}

/// Returns the logarithm of the likelihood of lives.
pub fn log_likelihood(lives: &Lives, seen: &[Life]) -> f64 {
    let of = |life: &Life| {
        let lived = life.lived.max(LEAST);
        if life.interrupted {
            lives.log_density(lived).unwrap_or(f64::NEG_INFINITY)
        } else {
            -lives.hazard_until(lived)
        }
    };
    seen.iter().map(of).sum()
}

/// Returns the logarithm by which the believed scale of a hazard is moved by so many interruptions, where without moving it
/// `expected` of them were to be expected.
///
/// The most likely one, where the logarithm of the scale is believed to be normal about 0 with the spread that one
/// interruption leaves: kinds of machines differ by factors, so what is believed must give way to machines that live for
/// minutes as soon as to ones that live for days. A mean of times would hold on to the longer of the two.
fn moved(number: f64, expected: f64) -> f64 {
    // The slope of the logarithm of the posterior is convex and falls: Newton's steps end left of where it is 0, and come back.
    let mut log = ((expected + 1.0) / (number + 1.0)).ln();
    for _ in 0..60 {
        let left = expected * (-log).exp();
        let step = (left - number - log) / (left + 1.0);
        log += step;
        if step.abs() < 1e-12 {
            break;
        }
    }
    log
}

/// Returns the most likely lives that do not age; the believed mean weighs as much as one interruption.
pub fn exponential(seen: &[Life], prior: &Prior) -> Lives {
    let over: f64 = seen.iter().map(|life| life.lived).sum();
    let number = seen.iter().filter(|life| life.interrupted).count();
    Lives::Exponential { mean: prior.mean * moved(number as f64, over / prior.mean).exp() }
}

/// Returns the most likely Weibull lives; the believed shape holds against few lives, the believed mean weighs as much as one.
pub fn weibull(seen: &[Life], prior: &Prior) -> Lives {
    let seen: Vec<Life> = seen.iter().map(|life| Life { lived: life.lived.max(LEAST), ..*life }).collect();
    let number = seen.iter().filter(|life| life.interrupted).count() as f64;
    let logs: f64 = seen.iter().filter(|life| life.interrupted).map(|life| life.lived.ln()).sum();
    let scale_of = |shape: f64| {
        let believed = prior.mean / tgamma(1.0 + 1.0 / shape);
        let expected: f64 = seen.iter().map(|life| (life.lived / believed).powf(shape)).sum();
        believed * (moved(number, expected) / shape).exp()
    };
    let likelihood = |log_shape: f64| {
        let shape = log_shape.exp();
        let scale = scale_of(shape);
        let lived: f64 = seen.iter().map(|life| (life.lived / scale).powf(shape)).sum();
        let off = (log_shape - prior.shape.ln()) / SHAPE_SPREAD;
        number * (log_shape - shape * scale.ln()) + (shape - 1.0) * logs - lived - 0.5 * off * off
    };
    let shape = greatest(likelihood, 0.15_f64.ln(), 6.0_f64.ln()).exp();
    Lives::Weibull { shape, scale: scale_of(shape) }
}

/// Returns the most likely Weibull lives under a cap of 24 h; nothing unless several ended right behind it and none lived on.
pub fn capped(seen: &[Life], prior: &Prior) -> Option<Lives> {
    /// From the cap to the end, before any such end was seen: 16 min was the mean of 354.
    const AFTER: f64 = 983.0;
    let cap = CAP;
    let ended_there = seen.iter().filter(|life| life.interrupted && life.lived >= cap).count();
    if ended_there < 2 || seen.iter().any(|life| life.lived > cap + GRACE_OF_CAP) {
        return None;
    }
    let until: Vec<Life> = seen
        .iter()
        .map(|life| Life { lived: life.lived.min(cap), interrupted: life.interrupted && life.lived < cap })
        .collect();
    let Lives::Weibull { shape, scale } = weibull(&until, prior) else { return None };
    let over: f64 = seen.iter().map(|life| (life.lived - cap).max(0.0)).sum();
    let after = (AFTER + over) / (ended_there as f64 + 1.0);
    Some(Lives::Capped { shape, scale, cap, after })
}

/// Returns the most likely lognormal lives (expectation and maximisation: what is missing of an unfinished life is expected).
pub fn lognormal(seen: &[Life]) -> Lives {
    let logs: Vec<(f64, bool)> = seen.iter().map(|life| (life.lived.max(LEAST).ln(), life.interrupted)).collect();
    let n = logs.len().max(1) as f64;
    let moments = |first: f64, second: f64| {
        let mean = first / n;
        (mean, (second / n - mean * mean).max(1e-4).sqrt())
    };
    let (first, second) = logs.iter().fold((0.0, 0.0), |(first, second), (log, _)| (first + log, second + log * log));
    let (mut mean, mut spread) = moments(first, second);
    if logs.iter().all(|(_, interrupted)| *interrupted) {
        return Lives::Lognormal { spread, median: mean.exp() };
    }
    for _ in 0..60 {
        let (mut first, mut second) = (0.0, 0.0);
        for (log, interrupted) in &logs {
            if *interrupted {
                (first, second) = (first + log, second + log * log);
            } else {
                let z = (log - mean) / spread;
                let hazard = (-0.5 * z * z - 0.5 * std::f64::consts::TAU.ln() - log_of_upper_tail(z)).exp();
                let expected = mean + spread * hazard;
                first += expected;
                second += mean * mean + 2.0 * mean * spread * hazard + spread * spread * (1.0 + z * hazard);
            }
        }
        let next = moments(first, second);
        let moved = (next.0 - mean).abs() + (next.1 - spread).abs();
        (mean, spread) = next;
        if moved < 1e-7 {
            break;
        }
    }
    Lives::Lognormal { spread, median: mean.exp() }
}

/// Returns where a function of one maximum has it (golden section).
fn greatest(f: impl Fn(f64) -> f64, mut low: f64, mut high: f64) -> f64 {
    let golden = 0.5 * (5.0_f64.sqrt() - 1.0);
    let (mut a, mut b) = (high - golden * (high - low), low + golden * (high - low));
    let (mut at_a, mut at_b) = (f(a), f(b));
    while high - low > 1e-4 {
        if at_a >= at_b {
            (high, b, at_b) = (b, a, at_a);
            a = high - golden * (high - low);
            at_a = f(a);
        } else {
            (low, a, at_a) = (a, b, at_b);
            b = low + golden * (high - low);
            at_b = f(b);
        }
    }
    f64::midpoint(low, high)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Draws;

    const PRIOR: Prior = Prior { mean: 14_400.0, shape: 0.6 };

    fn drawn(lives: &Lives, number: usize, until: f64) -> Vec<Life> {
        let mut draws = Draws::new(5);
        (0..number)
            .map(|_| {
                let life = lives.draw(&mut draws);
                Life { lived: life.min(until), interrupted: life <= until }
            })
            .collect()
    }

    #[test]
    fn what_was_drawn_is_found_again_also_where_many_lives_were_cut_off() {
        for until in [f64::INFINITY, 9000.0] {
            let seen = drawn(&Lives::Weibull { shape: 0.6, scale: 6000.0 }, 4000, until);
            let Lives::Weibull { shape, scale } = weibull(&seen, &PRIOR) else { panic!("another family") };
            assert!((shape - 0.6).abs() < 0.03 && (scale / 6000.0 - 1.0).abs() < 0.07, "{until}: {shape} {scale}");
            let seen = drawn(&Lives::Lognormal { spread: 1.5, median: 3000.0 }, 4000, until);
            let Lives::Lognormal { spread, median } = lognormal(&seen) else { panic!("another family") };
            assert!((spread - 1.5).abs() < 0.07 && (median / 3000.0 - 1.0).abs() < 0.07, "{until}: {spread} {median}");
            let seen = drawn(&Lives::Exponential { mean: 5000.0 }, 4000, until);
            let Lives::Exponential { mean } = exponential(&seen, &PRIOR) else { panic!("another family") };
            assert!((mean / 5000.0 - 1.0).abs() < 0.05, "{until}: {mean}");
        }
    }

    #[test]
    fn the_family_that_lives_were_drawn_from_is_chosen() {
        let capped = Lives::Capped { shape: 0.43, scale: 30_800.0, cap: 86_400.0, after: 980.0 };
        let truths =
            [Lives::Exponential { mean: 5000.0 }, Lives::Lognormal { spread: 1.6, median: 3000.0 }, capped.clone()];
        for truth in truths {
            let found = choose(&drawn(&truth, 1000, f64::INFINITY), &PRIOR);
            assert_eq!(std::mem::discriminant(&found), std::mem::discriminant(&truth), "{truth:?}: {found:?}");
        }
        let mut longer = drawn(&capped, 100, f64::INFINITY);
        longer.push(Life { lived: 200_000.0, interrupted: true });
        assert_eq!(super::capped(&longer, &PRIOR), None, "a machine that lived on was under no cap");
    }

    #[test]
    fn with_nothing_seen_it_is_what_is_believed() {
        let found = choose(&[], &PRIOR);
        assert!((found.mean() / PRIOR.mean - 1.0).abs() < 1e-3, "{found:?}");
        let Lives::Weibull { shape, .. } = found else { panic!("another family") };
        assert!((shape - 0.6).abs() < 1e-3);
        let lived_on = choose(&[Life { lived: 72_000.0, interrupted: false }], &PRIOR);
        assert!(lived_on.mean() > 1.5 * PRIOR.mean, "a life without an interruption: {lived_on:?}");
    }
}
