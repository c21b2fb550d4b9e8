//! What is simulated is what theory says, within the error of the simulation.

use prunella_interruptions::{
    Draws, Lives,
    theory::{Notice, TwoLevels, daly, exact, exact_waste, period_with_notice, waste_with_notice, young},
};
use prunella_rehearsal::{Checkpoints, Chooser, Estimate, Every, Notices, Survey, World, estimate, survey};

/// Plays so many lives, in forty parts, and returns the waste of all time.
fn simulated(world: &World, lives: u32, seed: u64) -> Estimate {
    let mut draws = Draws::new(seed);
    let parts: Vec<f64> = (0..40)
        .map(|_| {
            let drawn: Vec<f64> = (0..lives / 40).map(|_| world.lives.draw(&mut draws)).collect();
            100.0 * survey(world, &mut Chooser::new(world), drawn, &mut draws).waste_of_time()
        })
        .collect();
    estimate(&parts).expect("forty parts")
}

fn agrees(is: &Estimate, should: f64, beyond: f64, what: &str) {
    // Twice the half width: one in ten thousand is further off by chance.
    let within = (is.high - is.low) + beyond;
    assert!((is.mean - should).abs() <= within, "{what}: {:.3} % ± {:.3}, not {should:.3} %", is.mean, within);
    assert!(within < 0.5 + beyond, "{what}: {within} says nothing");
}

fn world(mean: f64, cost: f64, restore: f64, down: f64, every: Every) -> World {
    let mut world = World::plain(Lives::Exponential { mean }, cost, restore, every);
    world.capacity.gaps = (down > 0.0).then(|| Lives::Recorded(vec![down]));
    world
}

#[test]
fn intervals_waste_what_the_exact_formula_says_and_what_others_simulated() {
    let rows = [
        ([3600.0, 30.0, 60.0, 0.0], 13.809, 13.823),
        ([3600.0, 60.0, 120.0, 30.0], 20.541, 20.617),
        ([3600.0, 300.0, 300.0, 30.0], 41.119, 40.984),
        ([10_800.0, 60.0, 120.0, 30.0], 11.412, 11.385),
        ([21_600.0, 60.0, 120.0, 60.0], 8.039, 8.015),
        ([900.0, 60.0, 60.0, 30.0], 38.630, 38.537),
        ([11_119.0, 180.0, 300.0, 120.0], 20.006, 20.098),
    ];
    for ([mean, cost, restore, down], exactly, monte_carlo) in rows {
        let is = simulated(&world(mean, cost, restore, down, Every::Exact), 100_000, 7);
        agrees(&is, exactly, 0.0, &format!("M {mean} C {cost}"));
        // Theirs has an error of its own, of 0.14 points at most.
        agrees(&is, monte_carlo, 0.14, &format!("M {mean} C {cost}, Monte Carlo"));
        for (every, work) in [(Every::Young, young(mean, cost)), (Every::Daly, daly(mean, cost))] {
            let is = simulated(&world(mean, cost, restore, down, every), 100_000, 8);
            agrees(&is, 100.0 * exact_waste(mean, cost, restore, down, work), 0.0, &format!("{every:?} {mean}"));
        }
        let work = 2.0 * exact(mean, cost);
        let is = simulated(&world(mean, cost, restore, down, Every::Work(work)), 100_000, 9);
        agrees(&is, 100.0 * exact_waste(mean, cost, restore, down, work), 0.0, &format!("twice as long, {mean}"));
    }
}

#[test]
fn the_policy_wastes_what_the_optimum_does_where_danger_does_not_age() {
    for [mean, cost, restore] in [[3600.0, 30.0, 60.0], [10_800.0, 60.0, 120.0], [900.0, 5.0, 5.0]] {
        let is = simulated(&world(mean, cost, restore, 0.0, Every::Auto), 20_000, 3);
        let best = 100.0 * exact_waste(mean, cost, restore, 0.0, exact(mean, cost));
        assert!(is.mean < best + 0.3, "M {mean}: {:.2} %, the best is {best:.2} %", is.mean);
    }
}

#[test]
fn notices_save_what_theory_says() {
    // The formula is of the first order: exact where interruptions are rare, and high by the square of the period where not.
    for (mean, beyond) in [(1e6, 0.02), (10_800.0, 0.75)] {
        for recall in [0.0, 0.5, 0.9, 0.99, 1.0] {
            let mut world = world(mean, 60.0, 120.0, 30.0, Every::Never);
            if recall < 1.0 {
                let period = (2.0_f64 * 60.0 * mean / (1.0 - recall)).sqrt();
                world.every = Every::Work(period - 60.0);
            }
            world.notices = Notices { recall, precision: 1.0, grace: 120.0, margin: 2.0 };
            let notice = Notice { recall, precision: 1.0, cost: 62.0 };
            let formula = 100.0 * waste_with_notice(mean, 60.0, 120.0, 30.0, notice);
            agrees(&simulated(&world, 40_000, 5), formula, beyond, &format!("M {mean} recall {recall}"));
        }
    }
}

#[test]
fn notices_that_do_not_come_true_cost_what_theory_says() {
    // What a checkpoint for nothing saves, because one is there then, is of the second order: so long beyond the formula.
    for (mean, beyond) in [(1e6, 0.01), (1e5, 0.15)] {
        for (recall, precision) in [(0.5, 0.5), (0.9, 0.8), (0.9, 0.2), (1.0, 0.3)] {
            let mut world = world(mean, 60.0, 120.0, 30.0, Every::Never);
            if recall < 1.0 {
                world.every = Every::Work(period_with_notice(mean, 60.0, recall) - 60.0);
            }
            world.notices = Notices { recall, precision, grace: 120.0, margin: 2.0 };
            let notice = Notice { recall, precision, cost: 62.0 };
            let formula = 100.0 * waste_with_notice(mean, 60.0, 120.0, 30.0, notice);
            agrees(
                &simulated(&world, 40_000, 5),
                formula,
                beyond,
                &format!("M {mean} recall {recall} precision {precision}"),
            );
            let always_true = Notice { precision: 1.0, ..notice };
            let without = 100.0 * waste_with_notice(mean, 60.0, 120.0, 30.0, always_true);
            assert!(formula > without);
        }
    }
}

#[test]
fn a_notice_in_which_no_checkpoint_fits_saves_nothing() {
    let mut with = world(3600.0, 60.0, 120.0, 0.0, Every::Daly);
    with.notices = Notices { recall: 1.0, precision: 1.0, grace: 30.0, margin: 2.0 };
    let without = World { notices: Notices::NONE, ..with.clone() };
    let [with, without] = [with, without].map(|world| {
        let mut draws = Draws::new(2);
        let lives: Vec<f64> = (0..1000).map(|_| world.lives.draw(&mut draws)).collect();
        survey(&world, &mut Chooser::new(&world), lives, &mut draws)
    });
    assert_eq!((with.useful, with.saved), (without.useful, 0));
}

#[test]
fn checkpoints_beside_the_program_cost_what_theory_says() {
    let beside = |blocking, persist, interference| Checkpoints { blocking, persist, interference, per_second: None };
    let rows = [
        (3600.0, beside(0.5, 60.0, 0.02), 120.0, 0.30),
        (10_800.0, beside(0.5, 60.0, 0.02), 120.0, 0.08),
        (3600.0, beside(0.05, 10.0, 0.01), 30.0, 0.06),
        (1e6, beside(0.5, 60.0, 0.02), 120.0, 0.01),
    ];
    for (mean, checkpoints, restore, beyond) in rows {
        let period = checkpoints.beside().period(mean);
        let mut world = world(mean, 0.0, restore, 0.0, Every::Work(period - checkpoints.blocking));
        world.checkpoints = checkpoints;
        let formula = 100.0 * checkpoints.beside().waste(mean, restore, period);
        agrees(&simulated(&world, 40_000, 6), formula, beyond, &format!("M {mean} {checkpoints:?}"));
    }
}

/// Checkpoints that stay on the machine, and the interruptions that leave the machine standing.
#[derive(Debug, Clone, PartialEq)]
struct Near {
    /// The times between interruptions that leave the machine.
    kills: Lives,
    /// How long such a checkpoint holds the program up.
    checkpoint: f64,
    /// From such an interruption to a program that goes on.
    restore: f64,
    /// How many near checkpoints there are for each far one; 1 at least.
    per_far: u32,
    /// The work between two near checkpoints.
    work: f64,
}

/// What happens next.
#[derive(Clone, Copy, PartialEq)]
enum Stage {
    Restore,
    Work,
    Near,
    Far,
}

/// Plays so many machines, one after the other: one step without an end.
///
/// Work, a near checkpoint, work, …, and after every `per_far`-th a far one, of the cost and restore of `world`, whose machines live
/// as it says. A kill costs what was done since the newest checkpoint of either kind; a machine that goes takes its near
/// ones along. Every stage can be interrupted. Notices, gaps and storing beside the program have no part in it.
fn two_levels(world: &World, near: &Near, machines: u64, draws: &mut Draws) -> Survey {
    let mut all = Survey::default();
    let restore_far = world.start + world.restore;
    // The work in the newest far checkpoint.
    let mut stored = 0.0;
    for _ in 0..machines {
        let life = world.lives.draw(draws);
        // The work that is done, what of it is in the newest checkpoint on the machine, and how many near ones since a far one.
        let (mut done, mut kept, mut since_far) = (stored, stored, 0);
        let (mut age, mut killed_at) = (0.0, near.kills.draw(draws));
        let (mut stage, mut takes) = (Stage::Restore, restore_far);
        while age < life {
            let ends = age + takes;
            if killed_at < ends.min(life) {
                age = killed_at;
                killed_at = age + near.kills.draw(draws);
                done = kept;
                // Before the far state was fetched there is none on the machine.
                let nothing_there = stage == Stage::Restore && takes == restore_far && kept == stored;
                (stage, takes) = (Stage::Restore, if nothing_there { restore_far } else { near.restore });
                continue;
            }
            age = ends;
            if age > life {
                break;
            }
            (stage, takes) = match stage {
                Stage::Restore => (Stage::Work, near.work),
                Stage::Work => {
                    done += near.work;
                    if since_far + 1 >= near.per_far.max(1) {
                        (Stage::Far, near.checkpoint + world.checkpoints.blocking)
                    } else {
                        (Stage::Near, near.checkpoint)
                    }
                }
                Stage::Near => {
                    (kept, since_far) = (done, since_far + 1);
                    (Stage::Work, near.work)
                }
                Stage::Far => {
                    (kept, stored, since_far) = (done, done, 0);
                    (Stage::Work, near.work)
                }
            };
        }
        all.used += life;
        all.lives += 1;
    }
    all.useful = stored;
    all
}

#[test]
fn two_levels_of_checkpoints_cost_what_theory_says() {
    // Restores are the formula's R/M of each level; the rest of the first order is exact where interruptions are rare.
    let rows = [
        (TwoLevels { near_mean: 3600.0, near_cost: 1.0, far_mean: 36_000.0, far_cost: 60.0 }, 0.35),
        (TwoLevels { near_mean: 11_119.0, near_cost: 1.0, far_mean: 111_190.0, far_cost: 180.0 }, 0.35),
        (TwoLevels { near_mean: 1e5, near_cost: 1.0, far_mean: 1e6, far_cost: 60.0 }, 0.03),
    ];
    for (levels, beyond) in rows {
        let near_per_far = levels.near_per_far().round().max(1.0);
        let far = Lives::Exponential { mean: levels.far_mean };
        let near = Near {
            kills: Lives::Exponential { mean: levels.near_mean },
            checkpoint: levels.near_cost,
            restore: 5.0,
            per_far: near_per_far as u32,
            work: levels.work(near_per_far) / near_per_far,
        };
        let world = World::plain(far, levels.far_cost, 60.0, Every::Never);
        let mut draws = Draws::new(11);
        let parts: Vec<f64> = (0..40).map(|_| 100.0 * two_levels(&world, &near, 500, &mut draws).waste()).collect();
        let formula = 100.0 * (levels.overhead() + 5.0 / levels.near_mean + 60.0 / levels.far_mean);
        agrees(&estimate(&parts).expect("forty parts"), formula, beyond, &format!("{levels:?}"));
        let far_only = 100.0 * levels.overhead_of_far_only();
        assert!(formula < 0.6 * far_only, "{formula} {far_only}");
    }
}
