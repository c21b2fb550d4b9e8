//! Every formula against the values that were published or computed for it.

use prunella_interruptions::theory::*;

/// M, C, R, D; Young, Daly, exact, in seconds; waste in per cent, exact and to the first order.
const REFERENCE: [([f64; 4], [f64; 3], [f64; 2]); 7] = [
    ([3600.0, 30.0, 60.0, 0.0], [464.8, 445.0, 445.0], [13.809, 14.058]),
    ([3600.0, 60.0, 120.0, 30.0], [657.3, 617.9, 617.9], [20.541, 21.231]),
    ([3600.0, 300.0, 300.0, 30.0], [1469.7, 1276.5, 1276.9], [41.119, 44.182]),
    ([10_800.0, 60.0, 120.0, 30.0], [1138.4, 1098.8, 1098.8], [11.412, 11.582]),
    ([21_600.0, 60.0, 120.0, 60.0], [1610.0, 1570.2, 1570.2], [8.039, 8.118]),
    ([900.0, 60.0, 60.0, 30.0], [328.6, 289.9, 289.9], [38.630, 41.539]),
    ([11_119.0, 180.0, 300.0, 120.0], [2000.7, 1882.5, 1882.6], [20.006, 20.640]),
];

fn near(is: f64, should: f64, within: f64, what: &str) {
    assert!((is - should).abs() <= within, "{what}: {is}, not {should}");
}

#[test]
fn young_daly_and_the_exact_optimum_have_their_reference_values() {
    for ([mean, cost, restore, down], [by_young, by_daly, by_exact], [waste, first_order]) in REFERENCE {
        let what = format!("M {mean} C {cost}");
        near(young(mean, cost), by_young, 0.05, &what);
        near(daly(mean, cost), by_daly, 0.05, &what);
        near(exact(mean, cost), by_exact, 0.05, &what);
        near(100.0 * exact_waste(mean, cost, restore, down, by_exact), waste, 0.0006, &what);
        near(100.0 * first_order_waste(mean, cost, restore, down, by_exact), first_order, 0.0006, &what);
    }
}

#[test]
fn daly_has_the_values_that_daly_published() {
    for (hours, minutes, by_formula) in [(24.0, 117.0, 116.69), (6.0, 57.0, 56.71), (0.25, 9.1, 9.14)] {
        let is = daly(hours * 3600.0, 300.0) / 60.0;
        near(is, by_formula, 0.005, "in minutes");
        near(is, minutes, 0.35, "as published");
    }
    near(daly(100.0, 200.0), 100.0, 1e-9, "a checkpoint that costs two lives");
}

#[test]
fn the_exact_optimum_is_one_and_daly_is_close_to_it() {
    for (mean, cost) in [(3600.0, 1.0), (3600.0, 60.0), (900.0, 200.0), (50_000.0, 0.05)] {
        let best = exact(mean, cost);
        for other in [0.9, 0.97, 1.03, 1.1] {
            let worse = exact_waste(mean, cost, 30.0, 10.0, best * other);
            assert!(worse > exact_waste(mean, cost, 30.0, 10.0, best), "{mean} {cost} {other}");
        }
        if cost / mean < 0.08 {
            near(daly(mean, cost), best, 0.1, "Daly beside the optimum");
        }
    }
}

#[test]
fn notice_has_its_reference_values() {
    let values = [(3600.0, [22.4, 17.9, 11.5, 7.7, 5.9]), (10_800.0, [11.9, 9.1, 5.2, 3.0, 2.0])];
    for (mean, wastes) in values {
        for (recall, waste) in [0.0, 0.5, 0.9, 0.99, 1.0].into_iter().zip(wastes) {
            let notice = Notice { recall, precision: 1.0, cost: 62.0 };
            near(
                100.0 * waste_with_notice(mean, 60.0, 120.0, 30.0, notice),
                waste,
                0.051,
                &format!("M {mean} r {recall}"),
            );
        }
    }
    assert_eq!(period_with_notice(3600.0, 60.0, 1.0), f64::INFINITY, "all is announced");
    near(period_with_notice(3600.0, 60.0, 0.75), 2.0 * young(3600.0, 60.0), 1e-9, "three of four are");
    near(age_that_fits(100e6, 30.0, 2.0, 10e6), 280.0, 1e-9, "what changes in 280 s is uploaded in 28 s");
}

#[test]
fn two_levels_have_their_reference_values() {
    let one = TwoLevels { near_mean: 3600.0, near_cost: 1.0, far_mean: 36_000.0, far_cost: 60.0 };
    near(one.near_per_far(), 24.5, 0.05, "near checkpoints for a far one");
    near(one.work(one.near_per_far().floor()), 2066.0, 1.0, "with a whole number of them");
    near(100.0 * one.overhead(), 8.13, 0.005, "overhead");
    near(100.0 * one.overhead_of_far_only(), 19.15, 0.005, "far ones only");
    let two = TwoLevels { near_mean: 11_119.0, near_cost: 1.0, far_mean: 111_190.0, far_cost: 180.0 };
    near(100.0 * two.overhead(), 7.03, 0.005, "overhead");
    near(100.0 * two.overhead_of_far_only(), 18.87, 0.005, "far ones only");
}

#[test]
fn checkpoints_beside_the_program_have_their_reference_values() {
    let one = Beside { blocking: 0.5, persist: 60.0, interference: 0.02 };
    near(one.period(3600.0), 110.6, 0.05, "period");
    near(100.0 * one.waste(3600.0, 120.0, one.period(3600.0)), 8.07, 0.005, "at 1 h");
    near(100.0 * one.waste(10_800.0, 120.0, one.period(10_800.0)), 3.44, 0.005, "at 3 h");
    let cheap = Beside { blocking: 0.05, persist: 10.0, interference: 0.01 };
    near(100.0 * cheap.waste(3600.0, 30.0, cheap.period(3600.0)), 2.02, 0.005, "a cheap one");
    assert_eq!(Beside { persist: 900.0, ..one }.period(3600.0), 900.0, "one is stored at a time");
}

#[test]
fn a_budget_turned_around_has_its_reference_values() {
    for (mean, costs) in [(3600.0, [1.6, 0.18, 0.045]), (10_800.0, [4.8, 0.54, 0.135])] {
        for (waste, cost) in [0.03, 0.01, 0.005].into_iter().zip(costs) {
            let is = dearest_checkpoint(mean, waste);
            near(is / cost, 1.0, 0.03, &format!("M {mean} waste {waste}"));
            near(exact_waste(mean, is, is, 0.0, exact(mean, is)), waste, 1e-6, "there and back");
        }
    }
}

#[test]
fn the_availability_optimum_is_where_its_waste_is_least() {
    // A period T costs Ts of T for the checkpoint, and T/2 and the recovery at each failure.
    let (save, between, recover) = (30.0, 7200.0, 300.0);
    let available = |period: f64| (period - save) / period * between / (between + recover + period / 2.0);
    let best = availability_optimal(save, between, recover);
    for other in [0.5, 0.8, 0.95, 1.05, 1.2, 2.0] {
        assert!(available(best) >= available(best * other), "{best} is worse than {}", best * other);
    }
}
