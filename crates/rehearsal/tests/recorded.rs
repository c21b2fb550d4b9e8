//! Recorded lives, played again: the reference table, and the interval policy on halves that it has not seen.
//!
//! They are read from `../shared/data/traces` beside the checkout, or where PRUNELLA_TRACES says; what is not there is skipped
//! with a word. `--nocapture` prints the table of docs/simulate.md.
#![allow(clippy::disallowed_methods, reason = "a test may be told where its data are")]

use std::path::PathBuf;

use prunella_healing::{Announced, Interruptions, Machine};
use prunella_interruptions::{Draws, Lives, theory::daly, trace::Trace};
use prunella_model::{Class, Span};
use prunella_rehearsal::{Checkpoints, Chooser, Every, Notices, Survey, World, survey};

const SETS: [(&str, &[&str], Machine); 10] = [
    ("sky V100, 9 zones", &["sky/availability/1-node/aws-02-15-2023"], Machine::AwsSpot),
    ("sky V100, 4 zones", &["sky/preemption/1-node/aws-04-22-2023"], Machine::AwsSpot),
    ("sky r5.16xl", &["sky/preemption/1-node/aws-04-19-2023"], Machine::AwsSpot),
    ("sky 4 nodes", &["sky/preemption/4-node/aws-08-03-2023"], Machine::AwsSpot),
    ("sky K80 and V100, 2022", &["sky/availability/1-node/aws-10-26-2022"], Machine::AwsSpot),
    ("GCP 2019", &["gcp-preemptible-lives.csv"], Machine::GcpSpot),
    ("Bamboo g4dn", &["bamboo-aws-g4dn-count.csv"], Machine::AwsSpot),
    ("Bamboo p2", &["bamboo-aws-p2-count.csv"], Machine::AwsSpot),
    ("Parcae p3", &["parcae-aws-p3-count.csv"], Machine::AwsSpot),
    (
        "Parcae p3, parts",
        &[
            "parcae-aws-p3-hh_55_65.jsonl",
            "parcae-aws-p3-hl_15_25.jsonl",
            "parcae-aws-p3-lh_80_90.jsonl",
            "parcae-aws-p3-ll_10_11.jsonl",
        ],
        Machine::AwsSpot,
    ),
];

fn recorded(set: &str) -> Option<(Vec<f64>, Machine)> {
    let usual = || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/data/traces"));
    let directory = std::env::var_os("PRUNELLA_TRACES").map_or_else(usual, PathBuf::from);
    let (_, paths, machine) = SETS.iter().find(|(name, ..)| *name == set).expect("a set");
    let mut trace = Trace::default();
    for path in *paths {
        let path = directory.join(path);
        let mut files: Vec<PathBuf> = match std::fs::read_dir(&path) {
            Ok(entries) => entries.filter_map(|entry| Some(entry.ok()?.path())).collect(),
            Err(_) if path.is_file() => vec![path],
            Err(_) => {
                eprintln!("{set}: skipped, there is no {}", path.display());
                return None;
            }
        };
        files.sort();
        for file in files {
            trace.and(Trace::read(&std::fs::read_to_string(&file).expect("it can be read")).expect("a trace"));
        }
    }
    Some((trace.interrupted(), *machine))
}

fn mean(lives: &[f64]) -> f64 {
    lives.iter().sum::<f64>() / lives.len() as f64
}

fn plays(world: &World, lives: &[f64]) -> Survey {
    survey(world, &mut Chooser::new(world), lives.iter().copied(), &mut Draws::new(1))
}

/// Returns the waste in per cent of always so much work between two checkpoints.
fn fixed(lives: &[f64], cost: f64, restore: f64, every: Every) -> f64 {
    100.0 * plays(&World::plain(Lives::Recorded(lives.to_vec()), cost, restore, every), lives).waste()
}

/// Intervals of work a quarter of an octave apart, from some seconds to half a day.
fn grid() -> impl Iterator<Item = f64> {
    (-16..40).map(|i: i32| 60.0 * 2.0_f64.powf(f64::from(i) / 4.0))
}

#[test]
fn recorded_lives_waste_what_the_reference_table_says() {
    // C, R; hourly, half-hourly, Daly, best fixed, Daly with 30 s notice, 120 s notice without periodic ones, restores only.
    let rows = [
        ("sky V100, 4 zones", 60.0, 120.0, [19.7, 14.1, 12.67, 12.92, 12.67, 2.41, 1.61]),
        ("sky V100, 4 zones", 10.0, 30.0, [18.2, 10.6, 5.67, 5.48, 3.08, 0.57, 0.41]),
        ("sky V100, 4 zones", 1.0, 5.0, [18.0, 10.0, 1.76, 1.70, 0.93, 0.11, 0.07]),
        ("sky r5.16xl", 60.0, 120.0, [22.5, 16.2, 14.31, 14.16, 14.31, 2.97, 2.00]),
        ("sky r5.16xl", 1.0, 5.0, [20.8, 12.9, 1.90, 1.91, 1.05, 0.14, 0.09]),
        ("sky V100, 9 zones", 60.0, 120.0, [14.8, 11.7, 10.32, 10.28, 10.32, 1.57, 1.04]),
        ("GCP 2019", 60.0, 120.0, [7.2, 6.3, 6.08, 5.91, 6.08, 0.59, 0.39]),
    ];
    for (set, cost, restore, [hourly, half_hourly, by_daly, best, with_notice, on_notice, floor]) in rows {
        let Some((lives, _)) = recorded(set) else { continue };
        let near = |is: f64, should: f64, within: f64, what: &str| {
            assert!((is - should).abs() <= within, "{set} C {cost} {what}: {is:.3} %, not {should} %");
        };
        near(fixed(&lives, cost, restore, Every::Work(3600.0)), hourly, 0.06, "hourly");
        near(fixed(&lives, cost, restore, Every::Work(1800.0)), half_hourly, 0.06, "half-hourly");
        near(fixed(&lives, cost, restore, Every::Daly), by_daly, 0.006, "Daly");
        let least = grid().map(|work| fixed(&lives, cost, restore, Every::Work(work))).fold(f64::MAX, f64::min);
        near(least, best, 0.03, "best fixed");
        let mut world = World::plain(Lives::Recorded(lives.clone()), cost, restore, Every::Daly);
        world.notices = Notices { recall: 1.0, precision: 1.0, grace: 30.0, margin: 2.0 };
        near(100.0 * plays(&world, &lives).waste(), with_notice, 0.03, "Daly with 30 s notice");
        (world.every, world.notices.grace) = (Every::Never, 120.0);
        near(100.0 * plays(&world, &lives).waste(), on_notice, 0.03, "120 s notice");
        let used: f64 = lives.iter().sum();
        near(100.0 * lives.iter().map(|life| life.min(restore)).sum::<f64>() / used, floor, 0.006, "restores only");
    }
}

fn halves(lives: &[f64], seed: u64) -> (Vec<f64>, Vec<f64>) {
    let (mut shuffled, mut draws) = (lives.to_vec(), Draws::new(seed));
    for i in (1..shuffled.len()).rev() {
        shuffled.swap(i, draws.below(i + 1));
    }
    let other = shuffled.split_off(shuffled.len() / 2);
    (shuffled, other)
}

fn having_seen(lives: &[f64], announced: impl Fn(usize) -> Announced) -> Interruptions {
    let mut seen = Interruptions::default();
    for (i, life) in lives.iter().enumerate() {
        let class = if announced(i) == Announced::No { Class::Killed } else { Class::Preempted };
        seen.add(Some(class), Span::from_millis((life * 1000.0) as u64), announced(i));
    }
    seen
}

/// Halves of many lives differ less from each other.
fn splits(lives: &[f64]) -> u64 {
    (3000 / lives.len() as u64).clamp(3, 20)
}

#[test]
fn on_halves_that_it_has_not_seen_the_policy_is_as_good_as_the_best_of_daly_and_a_fixed_interval() {
    println!("| lives | C / R | Daly | best fixed | policy | best fixed, with hindsight | policy, from nothing |");
    println!("| --- | --- | --- | --- | --- | --- | --- |");
    let mut worse: Vec<String> = Vec::new();
    for (set, ..) in SETS {
        let Some((lives, machine)) = recorded(set) else { continue };
        for (cost, restore) in [(60.0, 120.0), (10.0, 30.0), (1.0, 5.0)] {
            let mut sums = [0.0; 5];
            for seed in 0..splits(&lives) {
                let (seen, unseen) = halves(&lives, seed);
                let waste = |work: f64, lives: &[f64]| fixed(lives, cost, restore, Every::Work(work));
                let best_on = |lives: &[f64]| {
                    grid().min_by(|a, b| waste(*a, lives).total_cmp(&waste(*b, lives))).expect("a grid")
                };
                let mut world = World::plain(Lives::Recorded(lives.clone()), cost, restore, Every::Known);
                world.machine = machine;
                let mut chooser = Chooser::having_seen(&world, having_seen(&seen, |_| Announced::No));
                let policy = survey(&world, &mut chooser, unseen.iter().copied(), &mut Draws::new(1));
                world.every = Every::Auto;
                let all: Vec<f64> = seen.iter().chain(&unseen).copied().collect();
                let figures = [
                    waste(daly(mean(&seen), cost), &unseen),
                    waste(best_on(&seen), &unseen),
                    100.0 * policy.waste(),
                    waste(best_on(&unseen), &unseen),
                    100.0 * plays(&world, &all).waste(),
                ];
                sums.iter_mut().zip(figures).for_each(|(sum, figure)| *sum += figure / splits(&lives) as f64);
            }
            let [by_daly, best, policy, hindsight, online] = sums;
            println!(
                "| {set} ({}) | {cost} / {restore} s | {by_daly:.2} | {best:.2} | {policy:.2} | {hindsight:.2} | {online:.2} |",
                lives.len()
            );
            // Half of less than a hundred lives is little: what is believed before is still seen in it.
            let beyond = match set {
                // Looked at every ten minutes: all lives are multiples of that, which a fixed interval can divide.
                "sky K80 and V100, 2022" if cost >= 60.0 => 1.0,
                _ if lives.len() < 100 => 0.5,
                _ => 0.2,
            };
            if policy > by_daly.min(best) + beyond {
                worse.push(format!("{set} C {cost}: {policy:.2} %, Daly {by_daly:.2}, fixed {best:.2}"));
            }
        }
    }
    assert!(worse.is_empty(), "{worse:#?}");
}

#[test]
fn with_notice_before_every_interruption_a_gibibyte_costs_one_per_cent_at_most() {
    println!("| lives | recall 1 | recall 0.9 | no notice |");
    println!("| --- | --- | --- | --- |");
    let seconds = (1u64 << 30) as f64 / 100e6;
    for (set, ..) in SETS {
        let Some((lives, machine)) = recorded(set) else { continue };
        let figures = [1.0, 0.9, 0.0].map(|recall| {
            let mut sum = 0.0;
            for seed in 0..splits(&lives) {
                let (seen, unseen) = halves(&lives, seed);
                let mut world = World::plain(Lives::Recorded(lives.clone()), 0.0, seconds, Every::Known);
                // Read from memory at 1 GB/s while the program is held up, then uploaded beside it.
                world.checkpoints =
                    Checkpoints { blocking: seconds / 10.0, persist: seconds, interference: 0.02, per_second: None };
                (world.start, world.machine) = (5.0, machine);
                world.notices = Notices { recall, precision: 1.0, grace: 30.0, margin: 2.0 };
                let every_tenth = |i: usize| recall == 0.0 || (recall < 1.0 && i % 10 == 9);
                let announced = |i| if every_tenth(i) { Announced::No } else { Announced::Saved };
                let mut chooser = Chooser::having_seen(&world, having_seen(&seen, announced));
                let mut draws = Draws::new(seed);
                sum += 100.0 * survey(&world, &mut chooser, unseen.iter().copied(), &mut draws).waste()
                    / splits(&lives) as f64;
            }
            sum
        });
        println!("| {set} ({}) | {:.2} | {:.2} | {:.2} |", lives.len(), figures[0], figures[1], figures[2]);
        // In the hours that were picked for their many interruptions a machine lives for 20 minutes; a restore alone is 1.3 % of that.
        let floor = 100.0 * (5.0 + seconds) / mean(&lives);
        assert!(figures[0] <= f64::max(1.0, 2.3 * floor), "{set}: {:.2} %, restores alone {floor:.2} %", figures[0]);
        assert!(figures[0] <= 1.0 || set == "Parcae p3, parts", "{set}: {:.2} %", figures[0]);
        assert!(figures[0] < figures[1] && figures[1] < figures[2], "{set}: {figures:?}");
    }
}
