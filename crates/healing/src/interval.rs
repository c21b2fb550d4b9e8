//! How often to checkpoint: from what a checkpoint costs, how old an attempt is, and what is to be expected of interruptions.
//!
//! Too rarely, and an interruption loses much; too often, and the checkpoints themselves cost more than they save. Young
//! (1974) and Daly (2006) say where the two balance if any instant is as dangerous as any other. Here the danger may depend
//! on age: the interval is the one that Daly's formula gives for the mean danger within that very interval.

use prunella_interruptions::theory::daly;
use prunella_model::Span;

use crate::Outlook;

/// The share of its speed that a program is believed to lose while a snapshot is being stored beside it.
pub const INTERFERENCE: f64 = 0.02;
/// Never more often: the engine itself looks and writes then and when.
const LEAST: f64 = 1.0;
/// Never less often while little was seen: the figures are guesses, and an hour is lost soon enough.
const MOST: f64 = 3600.0;
/// Never less often at all.
const MOST_WHEN_KNOWN: f64 = 6.0 * 3600.0;
/// From so many interruptions on they are known.
const KNOWN: u32 = 20;

/// What one checkpoint costs, as measured.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CheckpointCost {
    /// How long its bytes were being read: the program is held up if it wants to write to them.
    pub blocking: Span,
    /// From then until it was durable, beside the program.
    pub persist: Span,
    /// The share of its speed that the program loses meanwhile.
    pub interference: f64,
    /// Where only what changed is stored: how long storing takes for each second since the checkpoint before.
    pub per_second: Option<f64>,
}

impl CheckpointCost {
    /// Returns the cost of a checkpoint that is stored whole each time.
    pub const fn whole(blocking: Span, persist: Span) -> Self {
        Self { blocking, persist, interference: INTERFERENCE, per_second: None }
    }

    /// Returns what of the program's time it takes, in seconds.
    fn held_up(&self) -> f64 {
        seconds(self.blocking) + self.interference * seconds(self.persist)
    }

    /// Returns how long a checkpoint on notice takes, in seconds.
    fn on_notice(&self) -> f64 {
        seconds(self.blocking) + seconds(self.persist)
    }

    /// Returns whether a checkpoint that begins with a notice is durable before the end.
    pub fn fits(&self, grace: &Grace) -> bool {
        self.on_notice() <= grace.seconds()
    }

    /// Returns the greatest interval at which what changed since the checkpoint before fits; nothing if it is stored whole.
    fn interval_that_fits(&self, grace: &Grace) -> Option<f64> {
        let left = grace.seconds() - seconds(self.blocking);
        self.per_second.filter(|per_second| *per_second > 0.0 && left > 0.0).map(|per_second| left / per_second)
    }
}

/// The time from a notice to the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Grace {
    /// All of it.
    pub grace: Span,
    /// What of it is kept back.
    pub margin: Span,
}

impl Grace {
    fn seconds(&self) -> f64 {
        (seconds(self.grace) - seconds(self.margin)).max(0.0)
    }
}

/// The interval that was chosen, and from which figures.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Chosen {
    /// The least time from one snapshot to the next.
    pub every: Span,
    /// What a checkpoint costs.
    pub cost: CheckpointCost,
    /// The mean time between interruptions for an attempt that is so old.
    pub mean: Span,
    /// How many of them were seen; without any, the mean is mostly what was believed before.
    pub seen: u32,
    /// Whether it is shorter than it would be, so that what changed fits the grace time.
    pub for_notice: bool,
}

/// Returns how often to checkpoint in an attempt of this age.
///
/// The cost that counts is the time for which the program is held up, and what storing beside it takes from its speed; the
/// interruptions that count are those that notices do not take the sting out of. A snapshot is never begun before the one
/// before it can be durable. Where a whole checkpoint does not fit `grace` and what changes in a shorter interval does, that
/// one is taken if it wastes less.
pub fn interval(cost: CheckpointCost, outlook: &Outlook, age: Span, grace: Option<&Grace>) -> Chosen {
    let most = if outlook.seen >= KNOWN { MOST_WHEN_KNOWN } else { MOST };
    let age = seconds(age);
    let least = (seconds(cost.blocking) + seconds(cost.persist)).max(LEAST);
    let bounded = |every: f64| every.clamp(LEAST, most).max(least.min(most));
    let mut every = bounded(balanced(&cost, outlook, age, outlook.saved, most));
    let mut for_notice = false;
    if let Some(grace) = grace.filter(|grace| !cost.fits(grace))
        && let Some(fitting) = cost.interval_that_fits(grace).map(bounded)
        && fitting < every
        && cost.per_second.is_some_and(|per_second| fitting * per_second <= grace.seconds())
    {
        let danger = 1.0 / mean_at(outlook, age, every);
        let wasted = |every: f64, saved: f64| cost.held_up() / every + (1.0 - saved) * danger * every / 2.0;
        if wasted(fitting, outlook.announced) < wasted(every, outlook.saved) {
            (every, for_notice) = (fitting, true);
        }
    }
    let mean = Span::from_millis((mean_at(outlook, age, every).min(1e12) * 1000.0).round() as u64);
    // Between the bounds it is a whole number of milliseconds that fits.
    Chosen { every: Span::from_millis((every * 1000.0).round() as u64), cost, mean, seen: outlook.seen, for_notice }
}

/// Returns the mean time between interruptions at the danger of this age and the time after it.
fn mean_at(outlook: &Outlook, age: f64, after: f64) -> f64 {
    let hazard = outlook.lives.hazard_until(age + after) - outlook.lives.hazard_until(age);
    // Beyond every life that a model has there is nothing to subtract from.
    if hazard > 0.0 {
        after / hazard
    } else if hazard == 0.0 {
        f64::MAX
    } else {
        0.0
    }
}

/// Finds the period that Daly's formula gives for the danger within it. Where danger grows with age, a longer period only
/// makes the formula's shorter, and where it falls, slower than the period itself: there is one such period.
fn balanced(cost: &CheckpointCost, outlook: &Outlook, age: f64, saved: f64, most: f64) -> f64 {
    let held_up = cost.held_up();
    if held_up <= 0.0 || saved >= 1.0 {
        return if held_up <= 0.0 { LEAST } else { most };
    }
    let (mut short, mut long) = (LEAST.ln(), most.ln());
    for _ in 0..40 {
        let middle = f64::midpoint(short, long);
        let period = middle.exp();
        let mean = mean_at(outlook, age, period) / (1.0 - saved);
        if daly(mean, held_up) + held_up > period { short = middle } else { long = middle }
    }
    long.exp()
}

/// Returns the share of the time that will be wasted with these intervals: checkpoints, restores and what is done twice.
///
/// `restore`: from a machine to a program that goes on. Waiting for a machine is not counted. A model of many attempts, each of
/// which begins young; exact where the danger does not age and nothing is stored beside the program.
pub fn expected_waste(cost: CheckpointCost, outlook: &Outlook, restore: Span, grace: Option<&Grace>) -> f64 {
    /// Rarer ages say nothing about the share.
    const NEGLIGIBLE: f64 = 1e-6;
    const STEPS: u32 = 50_000;
    let alive = |age: f64| outlook.lives.alive_at(age);
    let (begin, held_up, persist) = (seconds(restore), cost.held_up(), seconds(cost.persist));
    let (mut age, mut useful, mut area) = (begin, 0.0, outlook_area(outlook, begin));
    let mut since = 0.0;
    let mut every = 0.0;
    for _ in 0..STEPS {
        if alive(age) < NEGLIGIBLE {
            break;
        }
        // An interval that was chosen holds until age has changed it noticeably.
        if age >= since {
            let span = Span::from_millis((age * 1000.0) as u64);
            let chosen = interval(cost, outlook, span, grace);
            (every, since) = (seconds(chosen.every), age * 1.02);
        }
        let (end, work) = (age + every, (every - held_up).max(0.0));
        let ended = alive(age) - alive(end);
        let announced = if cost.fits_or_is_cut(grace, every) { outlook.saved } else { 0.0 };
        useful += work * alive(end + persist) + announced * ended * (work / 2.0 - cost.on_notice()).max(0.0);
        // Simpson's rule: an interval may be as long as a good part of a life.
        area += every * (alive(age) + 4.0 * alive(f64::midpoint(age, end)) + alive(end)) / 6.0;
        age = end;
    }
    (1.0 - useful / area).clamp(0.0, 1.0)
}

impl CheckpointCost {
    fn fits_or_is_cut(&self, grace: Option<&Grace>, every: f64) -> bool {
        grace.is_none_or(|grace| {
            self.fits(grace) || self.per_second.is_some_and(|per_second| every * per_second <= grace.seconds())
        })
    }
}

/// Integrates the share that is alive from the start.
fn outlook_area(outlook: &Outlook, until: f64) -> f64 {
    const PIECES: u32 = 200;
    let piece = until / f64::from(PIECES);
    (0..PIECES).map(|i| piece * outlook.lives.alive_at((f64::from(i) + 0.5) * piece)).sum()
}

fn seconds(span: Span) -> f64 {
    span.duration().as_secs_f64()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use prunella_interruptions::{
        Lives,
        theory::{Notice, exact_waste, waste_with_notice},
    };

    use super::*;
    use crate::{Announced, Interruptions, Machine};
    use prunella_model::Class;

    /// M, C and Daly in seconds.
    const REFERENCE: [(f64, u64, f64); 6] = [
        (3600.0, 30, 445.0),
        (3600.0, 60, 617.9),
        (3600.0, 300, 1276.5),
        (10800.0, 60, 1098.8),
        (900.0, 60, 289.9),
        (11119.0, 180, 1882.5),
    ];

    fn cost(blocking_ms: u64, persist_ms: u64) -> CheckpointCost {
        CheckpointCost::whole(Span::from_millis(blocking_ms), Span::from_millis(persist_ms))
    }

    fn ageless(mean: f64) -> Outlook {
        Outlook { lives: Lives::Exponential { mean }, seen: 100, saved: 0.0, announced: 0.0 }
    }

    #[test]
    fn where_danger_does_not_age_it_is_dalys_interval() {
        for (mean, blocking, expected) in REFERENCE {
            for age in [0, 50_000] {
                let chosen = interval(cost(blocking * 1000, 0), &ageless(mean), Span::from_secs(age), None);
                let work = seconds(chosen.every) - blocking as f64;
                assert!((work - expected).abs() < 0.2, "M {mean} C {blocking}: {work}");
                assert!((seconds(chosen.mean) / mean - 1.0).abs() < 1e-6);
            }
        }
    }

    #[test]
    fn storing_beside_the_program_counts_for_a_part() {
        for (mean, expected) in [(3600.0, 110.6), (10800.0, 191.6)] {
            let chosen = interval(cost(500, 60_000), &ageless(mean), Span::default(), None);
            let every = seconds(chosen.every);
            assert!((every - expected).abs() / expected < 0.01, "{mean}: {every}");
        }
    }

    #[test]
    fn a_snapshot_is_not_begun_before_the_one_before_can_be_durable() {
        let chosen = interval(cost(10, 900_000), &ageless(200.0), Span::default(), None);
        assert_eq!(chosen.every, Span::from_millis(900_010));
    }

    #[test]
    fn the_young_are_checkpointed_more_often_and_before_a_cap_once_more() {
        let outlook = |lives| Outlook { lives, ..ageless(1.0) };
        let weibull = outlook(Lives::weibull_of_mean(10_000.0, 0.6));
        let at = |outlook: &Outlook, age| seconds(interval(cost(2000, 0), outlook, Span::from_secs(age), None).every);
        assert!(at(&weibull, 10) < 0.6 * at(&weibull, 3600), "{} {}", at(&weibull, 10), at(&weibull, 3600));
        let capped = outlook(Lives::Capped { shape: 0.43, scale: 30_800.0, cap: 86_400.0, after: 980.0 });
        assert!(at(&capped, 85_000) > 300.0, "the machine is old and safe");
        let last = at(&capped, 86_300);
        assert!((100.0..200.0).contains(&last), "and then it is not: {last}");
        assert!(at(&capped, 86_500) < 100.0);
    }

    #[test]
    fn what_notices_save_need_not_be_insured() {
        let outlook = Outlook { saved: 0.75, announced: 0.75, ..ageless(3600.0) };
        let (with, without) = [outlook, ageless(3600.0)]
            .map(|outlook| seconds(interval(cost(1000, 0), &outlook, Span::default(), None).every))
            .into();
        assert!((with / without - 2.0).abs() < 0.03, "{with} {without}");
        let all = Outlook { saved: 1.0, ..ageless(3600.0) };
        assert_eq!(interval(cost(1000, 0), &all, Span::default(), None).every, Span::from_secs(6 * 3600));
    }

    #[test]
    fn where_only_changes_are_stored_they_are_kept_small_enough_for_the_grace_time() {
        let grace = Grace { grace: Span::from_secs(30), margin: Span::from_secs(2) };
        let announced = Outlook { announced: 0.95, ..ageless(10_000.0) };
        let whole = cost(500, 60_000);
        assert!(!whole.fits(&grace) && cost(500, 20_000).fits(&grace));
        // 0.2 s of upload for a second of work: what changes in 137.5 s fits.
        let changes = CheckpointCost { blocking: Span::from_secs(1), per_second: Some(0.2), ..cost(500, 20_000) };
        let large = CheckpointCost { persist: Span::from_secs(40), ..changes };
        let chosen = interval(large, &announced, Span::default(), Some(&grace));
        assert!(chosen.for_notice && seconds(chosen.every) * 0.2 <= 27.001, "{chosen:?}");
        let without = interval(large, &ageless(10_000.0), Span::default(), Some(&grace));
        assert!(!without.for_notice && without.every > chosen.every, "nothing is announced: {without:?}");
        let stored_whole = interval(whole, &announced, Span::default(), Some(&grace));
        assert!(!stored_whole.for_notice, "it never fits: {stored_whole:?}");
    }

    #[test]
    fn the_expected_waste_is_what_theory_says() {
        for (mean, blocking, _) in REFERENCE {
            let waste = expected_waste(cost(blocking * 1000, 0), &ageless(mean), Span::from_secs(60), None);
            let work = seconds(interval(cost(blocking * 1000, 0), &ageless(mean), Span::default(), None).every)
                - blocking as f64;
            let exactly = exact_waste(mean, blocking as f64, 60.0, 0.0, work);
            assert!((waste - exactly).abs() < 0.003, "M {mean} C {blocking}: {waste}, not {exactly}");
        }
        let (mean, recall) = (36_000.0, 0.9);
        let outlook = Outlook { saved: recall, announced: recall, ..ageless(mean) };
        let grace = Grace { grace: Span::from_secs(30), margin: Span::default() };
        let waste = expected_waste(cost(10_000, 0), &outlook, Span::from_secs(15), Some(&grace));
        let notice = Notice { recall, precision: 1.0, cost: 10.0 };
        let theory = waste_with_notice(mean, 10.0, 15.0, 0.0, notice);
        assert!((waste - theory).abs() < 0.001, "{waste}, not {theory}");
    }

    fn seen(number: u32, lived: u64) -> Outlook {
        let mut seen = Interruptions::default();
        for _ in 0..number {
            seen.add(Some(Class::Killed), Span::from_secs(lived), Announced::No);
        }
        seen.outlook(Machine::Unknown)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn it_is_within_its_bounds_and_grows_with_cost_and_mean(
            blocking in 1u64..10_000_000, persist in 0u64..10_000_000, number in 0u32..18, lived in 1u64..100_000
        ) {
            let every = |cost, outlook: &Outlook| interval(cost, outlook, Span::from_secs(lived / 2), None).every;
            let outlook = seen(number, lived);
            let chosen = every(cost(blocking, persist), &outlook);
            prop_assert!(chosen >= Span::from_secs(1) && chosen <= Span::from_secs(3600), "{chosen}");
            let dearer = every(cost(blocking * 2, persist * 2), &outlook);
            let (mean, held_up) = (outlook.lives.mean(), (blocking + persist) as f64 / 1000.0);
            // Beyond two lives a checkpoint's cost no longer counts.
            if mean > 8.0 * held_up {
                prop_assert!(dearer >= chosen, "{chosen} {dearer}");
                let seldom = every(cost(blocking, persist), &ageless(4.0 * mean));
                let often = every(cost(blocking, persist), &ageless(mean));
                prop_assert!(seldom >= often, "{often} {seldom}");
            }
        }
    }
}
