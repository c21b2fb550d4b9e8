//! Whole runs in virtual time: the engine's own `decide`, and healing as it is.

use prunella_interruptions::{Draws, Lives, Shocks};
use prunella_journal::RunStatus;
use prunella_manifest::{FileKind, Files, Overrides, Source, read};
use prunella_model::StepName;
use prunella_rehearsal::{Capacity, Chooser, Every, Notices, World, estimate, one_step, play, survey};

const HOUR: f64 = 3600.0;

fn world() -> World {
    let mut world = World::plain(Lives::weibull_of_mean(3.0 * HOUR, 0.6), 1.0, 5.0, Every::Auto);
    world.start = 5.0;
    world
}

#[test]
fn equal_seeds_play_equal_runs_and_others_do_not() {
    let played = |seed| play(&world(), &one_step(100.0 * HOUR), seed).expect("it is played");
    assert_eq!(played(4), played(4));
    assert_ne!(played(4), played(5));
}

#[test]
fn nothing_is_lost_or_done_twice_in_the_books() {
    for seed in 0..20 {
        let played = play(&world(), &one_step(50.0 * HOUR), seed).expect("it is played");
        assert_eq!(played.status, RunStatus::Succeeded, "{:?}", played.why);
        assert!((played.used - played.lost - 50.0 * HOUR).abs() < 1.0, "what was useful is the work: {played:?}");
        assert!(played.finished >= played.used && played.recoveries.len() <= played.interruptions as usize);
        // Up to one each is not recovered from: those of attempts that never became ready are one with the next.
        assert!(played.recoveries.iter().all(|recovery| *recovery >= 5.0));
    }
}

#[test]
fn a_long_run_wastes_what_a_survey_of_many_lives_does() {
    let world = World { every: Every::Daly, ..world() };
    let runs: Vec<f64> = (0..40)
        .map(|seed| 100.0 * play(&world, &one_step(400.0 * HOUR), seed).expect("it is played").waste())
        .collect();
    let runs = estimate(&runs).expect("forty runs");
    let mut draws = Draws::new(1);
    let lives: Vec<f64> = (0..40_000).map(|_| world.lives.draw(&mut draws)).collect();
    let many = 100.0 * survey(&world, &mut Chooser::new(&world), lives, &mut draws).waste();
    assert!((runs.mean - many).abs() < 2.0 * (runs.high - runs.mean), "{runs:?}, not {many}");
}

#[test]
fn without_progress_healing_gives_up_as_in_a_real_run() {
    // Hardly a machine lives long enough for one checkpoint.
    let world = World::plain(Lives::Exponential { mean: 60.0 }, 120.0, 60.0, Every::Work(600.0));
    let played = play(&world, &one_step(10.0 * HOUR), 1).expect("it is played");
    assert_eq!(played.status, RunStatus::Failed);
    assert!(played.interruptions < 20 && played.why.is_some(), "{played:?}");
}

#[test]
fn who_has_patience_waits_and_who_has_none_pays() {
    let mut world = world();
    world.capacity = Capacity {
        gaps: Some(Lives::Exponential { mean: HOUR }),
        patience: None,
        price: 1.0,
        on_demand_price: Some(3.0),
    };
    let played = |world: &World| play(world, &one_step(48.0 * HOUR), 2).expect("it is played");
    let patient = played(&world);
    assert!(patient.waited > 5.0 * HOUR && patient.on_demand == 0.0);
    assert!((patient.cost - patient.used / HOUR).abs() < 1e-6, "{patient:?}");
    world.capacity.patience = Some(600.0);
    let hasty = played(&world);
    assert!(hasty.finished < patient.finished && hasty.on_demand > 0.0 && hasty.cost > patient.cost, "{hasty:?}");
}

#[test]
fn notices_save_and_shocks_hit_many() {
    let mut world = world();
    world.notices = Notices { recall: 1.0, precision: 1.0, grace: 30.0, margin: 2.0 };
    let with = play(&world, &one_step(200.0 * HOUR), 3).expect("it is played");
    world.notices = Notices::NONE;
    let without = play(&world, &one_step(200.0 * HOUR), 3).expect("it is played");
    assert!(with.saved > 20 && with.waste() < without.waste(), "{} {}", with.waste(), without.waste());
    let quiet = without.interruptions;
    world.shocks = Some(Shocks { every: HOUR, takes: 0.5, within: 180.0 });
    let shaken = play(&world, &one_step(200.0 * HOUR), 3).expect("it is played");
    assert!(shaken.interruptions > quiet + 50, "{quiet} {}", shaken.interruptions);
}

struct NoFiles;

impl Files for NoFiles {
    fn kind(&self, _relative: &str) -> Option<FileKind> {
        None
    }

    fn glob_matches(&self, _pattern: &str) -> usize {
        0
    }
}

const PIPELINE: &str = "prunella: v1
name: p
steps:
  split:
    run: split
    outputs: { out: out }
  train:
    for_each: { fold: [0, 1, 2, 3] }
    run: train ${{ item.fold }}
    inputs: { x: split.out }
    outputs: { model: model }
    checkpoint: { format: files, every: auto }
  report:
    run: report
    inputs: { models: train.model }
    outputs: { page: page }
";

#[test]
fn a_pipeline_is_played_in_the_order_of_its_steps_and_as_many_at_once_as_there_are_machines() {
    let source = Source { name: "pipeline.yaml".to_owned(), text: PIPELINE.to_owned() };
    let read = read(&source, &Overrides::default(), &NoFiles).expect("it is right");
    let mut work = one_step(0.0);
    let graph = std::sync::Arc::make_mut(&mut work.graph);
    graph.pipeline = read.pipeline;
    let name = |name: &str| StepName::new(name).expect("a name");
    work.seconds = [(name("split"), 600.0), (name("train"), 7200.0), (name("report"), 60.0)].into_iter().collect();
    let mut world = World::plain(Lives::Exponential { mean: 1e12 }, 0.001, 0.0, Every::Never);
    for (machines, hours) in [(1, 4.0 * 7200.0), (2, 2.0 * 7200.0), (4, 7200.0)] {
        world.machines = machines;
        let played = play(&world, &work, 1).expect("it is played");
        assert_eq!(played.status, RunStatus::Succeeded, "{:?}", played.why);
        assert!((played.finished - (600.0 + hours + 60.0)).abs() < 1.0, "{machines}: {}", played.finished);
    }
    world.lives = Lives::Exponential { mean: HOUR };
    world.every = Every::Auto;
    let played = play(&world, &work, 1).expect("it is played");
    assert!(played.interruptions > 0 && played.lost > 0.0, "{played:?}");
}
