//! `decide` against a tiny model: whatever happens on the way, the end is what the model says.

mod decide_sim;

use std::cell::RefCell;
use std::collections::BTreeMap;

use decide_sim::*;
use proptest::prelude::*;
use prunella_engine::Capacity;
use prunella_journal::{RunStatus, Stage};
use prunella_model::{ByteSize, Handler, Resources};

/// What the model knows of a step.
#[derive(Debug, Clone)]
struct Shape {
    /// Which of a few commands it runs: equal ones with equal inputs are the same work.
    command: u8,
    needs: Vec<usize>,
    /// Which of its needs only come before it.
    after: Vec<usize>,
    /// The need whose output its condition reads.
    when: Option<usize>,
    cpu: u32,
    memory_gib: u64,
    gpu: u32,
    publish: bool,
    /// What is in the way of its publication.
    bar: Option<Bar>,
    /// How its first attempts go.
    troubles: Vec<u8>,
}

fn shapes() -> impl Strategy<Value = Vec<Shape>> {
    let bar =
        prop::option::weighted(0.3, (2u64..7, any::<bool>()).prop_map(|(until, hopeless)| Bar { until, hopeless }));
    let one = (0u8..6, any::<u16>(), 1u32..4, 0u64..6, prop::collection::vec(0u8..4, 0..4), bar);
    prop::collection::vec(one, 1..14).prop_map(|all| {
        all.into_iter()
            .enumerate()
            .map(|(i, (command, bits, cpu, memory_gib, troubles, bar))| Shape {
                command,
                needs: (0..i).filter(|n| bits >> (n % 16) & 1 == 1 && (bits >> ((n + 5) % 16)) & 1 == 1).collect(),
                after: (0..i).filter(|n| bits >> (n % 16) & 1 == 1 && (bits >> ((n + 3) % 16)) & 3 == 2).collect(),
                when: (i > 0 && bits >> 13 & 1 == 1).then(|| (bits % 256) as usize % i.max(1)),
                cpu: cpu * 700,
                memory_gib,
                gpu: u32::from(command.saturating_sub(3)),
                publish: bits >> 11 & 1 == 1,
                bar,
                troubles,
            })
            .collect()
    })
}

fn step_name(i: usize) -> String {
    format!("s{i}")
}

/// Command 0 always fails, and command 5 needs two accelerators, which are not there: all that the model knows.
fn dooms(shape: &Shape, gpu: u32) -> bool {
    shape.command == 0 || shape.gpu > gpu
}

/// How each step ends, from the first to the last: what the steps before it have left says it all.
///
/// What was given up stays so, also if its condition, asked about what was made anew since, would not hold any more:
/// `ended` says where that came to be.
fn expected(shapes: &[Shape], gpu: u32, holds: impl Fn(usize) -> bool, ended: &[Stage]) -> Vec<Stage> {
    let mut ends: Vec<Stage> = Vec::new();
    // Steps of which it may have been answered anew whether they run.
    let mut turns: Vec<bool> = Vec::new();
    for (shape, ended) in shapes.iter().zip(ended) {
        let reads: Vec<usize> = shape.needs.iter().chain(&shape.when).copied().collect();
        let is = |need: &usize, stages: &[Stage]| stages.contains(&ends[*need]);
        let needs = || reads.iter().chain(&shape.after);
        let dead = |need: &usize| is(need, &[Stage::Failed, Stage::Blocked]);
        // A step that was skipped at first may have been given up since; what only came after it and was settled by then
        // stays. What reads it does not: it was made of what is replaced.
        let turned = |need: &usize| turns[*need] && dead(need);
        let stays = !reads.iter().any(dead) && shape.after.iter().any(turned);
        let stays_failed = needs().any(turned);
        turns.push(shape.when.is_some() || needs().any(|need| turns[*need]));
        let failed = *ended == Stage::Failed && dooms(shape, gpu);
        let end = if (stays && matches!(ended, Stage::Done | Stage::Skipped)) || (stays_failed && failed) {
            *ended
        } else if needs().any(dead) {
            Stage::Blocked
        } else if failed {
            Stage::Failed
        } else if reads.iter().any(|need| is(need, &[Stage::Skipped])) || shape.when.is_some_and(|read| !holds(read)) {
            Stage::Skipped
        } else if dooms(shape, gpu) {
            Stage::Failed
        } else {
            Stage::Done
        };
        ends.push(end);
    }
    ends
}

/// Runs it, and compares its end with what the model says; then, if it failed, once more with every way clear.
fn agrees(shapes: &[Shape], seed: u64, jobs: usize, disturbances: &[(u32, bool)]) -> Result<(), TestCaseError> {
    let capacity = Capacity { jobs, cpu_millis: 4000, memory_bytes: 4 << 30, gpu: 1 };
    let spec_of = |shape: &Shape| Spec {
        command: format!("command {}", shape.command),
        needs: shape.needs.iter().map(|need| step_name(*need)).collect(),
        after: shape.after.iter().map(|need| step_name(*need)).collect(),
        when: shape.when.map(step_name),
        publish: shape.publish,
        resources: Resources {
            cpu_millis: shape.cpu,
            memory: (shape.memory_gib > 0).then_some(ByteSize(shape.memory_gib << 30)),
            memory_max: None,
            gpu: shape.gpu,
            shm: None,
        },
        ..Spec::default()
    };
    let mut steps: Vec<(String, Spec)> =
        shapes.iter().enumerate().map(|(i, shape)| (step_name(i), spec_of(shape))).collect();
    for handler in [Handler::Exit, Handler::Failure] {
        steps.push((handler.as_str().to_owned(), Spec { handler: Some(handler), ..Spec::default() }));
    }
    let by_name: BTreeMap<String, Shape> =
        shapes.iter().enumerate().map(|(i, shape)| (step_name(i), shape.clone())).collect();
    let tries: RefCell<BTreeMap<String, usize>> = RefCell::default();
    let fates: Fates<'_> = Box::new(|step, key, epoch| {
        let own = step.name.as_str();
        if own.starts_with("on_") {
            // Now and then it is killed: its end of the run waits for it.
            return if epoch == 1 && seed.is_multiple_of(2) { Fate::Killed } else { Fate::Commits("told".to_owned()) };
        }
        let shape = &by_name[own];
        if shape.command == 0 {
            return Fate::Fails;
        }
        let mut tries = tries.borrow_mut();
        let nth = tries.entry(own.to_owned()).or_insert(0);
        *nth += 1;
        match shape.troubles.get(*nth - 1) {
            Some(0) => Fate::Killed,
            // Once: the budget is one a damaged input.
            Some(1) if !shape.needs.is_empty() && !shape.troubles[..*nth - 1].contains(&1) => Fate::FindsDamage,
            Some(2) if epoch == 1 => Fate::Waits(String::new()),
            // Not the same bytes when it is made anew.
            Some(3) => Fate::Commits(format!("{} of epoch {epoch}", key.short())),
            _ => Fate::Commits(key.short()),
        }
    });
    let mut sim = Sim::new(graph(&steps), capacity, seed, fates);
    sim.bars = shapes.iter().enumerate().filter_map(|(i, shape)| Some((step_name(i), shape.bar?))).collect();
    let mut status = sim.disturbed(disturbances);
    ends_as_expected(&sim, shapes, status)?;
    if status == RunStatus::Failed {
        // Resumed as it is, and once more when somebody has cleared the way.
        for clear in [false, true] {
            if clear {
                sim.bars.clear();
            }
            sim.resume();
            status = sim.finish();
            ends_as_expected(&sim, shapes, status)?;
        }
        prop_assert!(!sim.state.any_effects_given_up());
    }
    Ok(())
}

fn ends_as_expected(sim: &Sim<'_>, shapes: &[Shape], status: RunStatus) -> Result<(), TestCaseError> {
    let holds = |read: usize| {
        let place = sim.plan.index(&id(&step_name(read))).expect("a step");
        sim.state.done(place).is_some_and(|done| done.artifacts.iter().all(|(_, artifact)| holds(artifact)))
    };
    let mut stages: Vec<Stage> = sim.stages().into_iter().map(|(_, stage)| stage).collect();
    let at_end = stages.split_off(shapes.len());
    prop_assert_eq!(at_end[0], Stage::Done, "whatever happened, `on_exit` ran before the end");
    let failed = status == RunStatus::Failed;
    prop_assert_eq!(at_end[1], if failed { Stage::Done } else { Stage::Waiting });
    let expected = expected(shapes, sim.capacity.gpu, holds, &stages);
    prop_assert_eq!(&stages, &expected, "{:?}", sim.stages());
    let well =
        expected.iter().all(|end| matches!(end, Stage::Done | Stage::Skipped)) && !sim.state.any_effects_given_up();
    prop_assert_eq!(status, if well { RunStatus::Succeeded } else { RunStatus::Failed });
    sim.all_is_published("the run has ended");
    // The end is consistent: what stands for a step was keyed with what stands for its producers.
    let scope = prunella_model::KeyScope {
        run: prunella_model::RunId::new("run-1").expect("a run id"),
        driver: sim.state.driver(),
    };
    for step in sim.plan.indices() {
        if let Some(done) = sim.state.done(step) {
            prop_assert_eq!(sim.plan.key(&sim.state, step, &scope), Ok(done.slot.key));
        } else if sim.plan.step(step).handler.is_none() {
            prop_assert!(matches!(sim.state.state(step).stage(), Stage::Failed | Stage::Blocked | Stage::Skipped));
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: ProptestConfig::default().cases.max(300), failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_run_ends_as_the_model_says(
        shapes in shapes(),
        seed in any::<u64>(),
        jobs in 1usize..5,
        disturbances in prop::collection::vec((1u32..60, any::<bool>()), 0..4),
    ) {
        agrees(&shapes, seed, jobs, &disturbances)?;
    }
}

fn shape(command: u8, needs: &[usize], after: &[usize], when: Option<usize>, troubles: &[u8]) -> Shape {
    Shape {
        command,
        needs: needs.to_vec(),
        after: after.to_vec(),
        when,
        cpu: 700,
        memory_gib: 0,
        gpu: u32::from(command.saturating_sub(3)),
        publish: true,
        bar: None,
        troubles: troubles.to_vec(),
    }
}

/// The bytes of s0 are lost and made anew as others, so that s5, which came after what was skipped, has to wait for what
/// fails now; s7 was made of the new s0 and of the s5 before. It neither stands nor goes out.
#[test]
fn what_was_made_of_a_step_that_is_planned_anew_and_then_given_up_does_not_stand() {
    let shapes = [
        shape(2, &[], &[], None, &[0, 3]),
        shape(0, &[], &[], None, &[]),
        shape(0, &[], &[], Some(0), &[]),
        shape(1, &[0], &[], None, &[]),
        shape(0, &[], &[], None, &[]),
        shape(1, &[3], &[2], None, &[]),
        shape(0, &[], &[], None, &[]),
        shape(1, &[0, 5], &[], None, &[1]),
    ];
    agrees(&shapes, 7_514_647_465_498_344_618, 1, &[]).expect("it ends as it should");
}

#[test]
fn of_two_steps_that_read_what_is_skipped_one_may_have_to_wait_for_the_other() {
    let shapes = [
        shape(3, &[], &[], None, &[2]),
        shape(1, &[], &[], Some(0), &[]),
        shape(0, &[], &[], None, &[]),
        shape(1, &[1], &[1], None, &[]),
        shape(1, &[], &[], None, &[]),
        shape(1, &[3], &[4], None, &[]),
        shape(1, &[0, 1, 5], &[1, 5], None, &[1]),
    ];
    agrees(&shapes, 0, 1, &[]).expect("it ends as it should");
}

/// s6 came after s4 while that was skipped. When s4 waits for s2 after all, which is queued behind s6, it is s2 that goes first.
#[test]
fn i10_ends_what_waits_behind_another_of_the_same_work_is_not_waited_for_by_it() {
    let shapes = [
        shape(4, &[], &[], None, &[3]),
        shape(0, &[], &[], None, &[]),
        shape(0, &[], &[], Some(0), &[]),
        shape(0, &[], &[], None, &[]),
        shape(0, &[2], &[], Some(0), &[]),
        shape(0, &[4], &[0], Some(4), &[]),
        shape(0, &[], &[4], None, &[]),
        shape(1, &[0], &[5], None, &[1]),
    ];
    agrees(&shapes, 0, 1, &[]).expect("it ends as it should");
}
