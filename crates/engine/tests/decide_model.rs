//! `decide` against a tiny model: whatever happens on the way, the end is what the model says.

mod decide_sim;

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use decide_sim::*;
use proptest::prelude::*;
use prunella_engine::Capacity;
use prunella_journal::{RunStatus, Stage};
use prunella_model::{ByteSize, Resources};

/// What the model knows of a step.
#[derive(Debug, Clone)]
struct Shape {
    /// Which of a few commands it runs: equal ones with equal inputs are the same work.
    command: u8,
    needs: Vec<usize>,
    cpu: u32,
    memory_gib: u64,
    gpu: u32,
    /// How its first attempts go.
    troubles: Vec<u8>,
}

fn shapes() -> impl Strategy<Value = Vec<Shape>> {
    let one = (0u8..6, any::<u16>(), 1u32..4, 0u64..6, prop::collection::vec(0u8..4, 0..4));
    prop::collection::vec(one, 1..14).prop_map(|all| {
        all.into_iter()
            .enumerate()
            .map(|(i, (command, bits, cpu, memory_gib, troubles))| Shape {
                command,
                needs: (0..i).filter(|n| bits >> (n % 16) & 1 == 1 && (bits >> ((n + 5) % 16)) & 1 == 1).collect(),
                cpu: cpu * 700,
                memory_gib,
                gpu: u32::from(command.saturating_sub(3)),
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

/// The steps that end well: all that are not doomed and need nothing that is.
fn expected(shapes: &[Shape], gpu: u32) -> BTreeSet<String> {
    let mut well = Vec::new();
    for shape in shapes {
        let ok = !dooms(shape, gpu) && shape.needs.iter().all(|need| well[*need]);
        well.push(ok);
    }
    well.iter().enumerate().filter(|(_, ok)| **ok).map(|(i, _)| step_name(i)).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_run_ends_as_the_model_says(
        shapes in shapes(),
        seed in any::<u64>(),
        jobs in 1usize..5,
        disturbances in prop::collection::vec((1u32..60, any::<bool>()), 0..4),
    ) {
        let capacity = Capacity { jobs, cpu_millis: 4000, memory_bytes: 4 << 30, gpu: 1 };
        let spec_of = |shape: &Shape| Spec {
            command: format!("command {}", shape.command),
            needs: shape.needs.iter().map(|need| step_name(*need)).collect(),
            resources: Resources {
                cpu_millis: shape.cpu,
                memory: (shape.memory_gib > 0).then_some(ByteSize(shape.memory_gib << 30)),
                memory_max: None,
                gpu: shape.gpu,
                shm: None,
            },
            ..Spec::default()
        };
        let steps: Vec<(String, Spec)> =
            shapes.iter().enumerate().map(|(i, shape)| (step_name(i), spec_of(shape))).collect();
        let by_name: BTreeMap<String, Shape> =
            shapes.iter().enumerate().map(|(i, shape)| (step_name(i), shape.clone())).collect();
        let tries: RefCell<BTreeMap<String, usize>> = RefCell::default();
        let fates: Fates<'_> = Box::new(|step, key, epoch| {
            let own = step.name.as_str();
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
        let mut status = None;
        for (after, crash) in disturbances {
            for _ in 0..after {
                status = sim.ask();
                if status.is_some() || !sim.pass() {
                    break;
                }
            }
            if status.is_some() {
                break;
            }
            if crash {
                sim.crash();
            } else {
                sim.stop();
                prop_assert!(matches!(sim.finish(), RunStatus::Stopped | RunStatus::Succeeded | RunStatus::Failed));
                sim.resume();
            }
        }
        let status = status.unwrap_or_else(|| sim.finish());
        let expected = expected(&shapes, capacity.gpu);
        prop_assert_eq!(sim.done(), expected.clone(), "{:?}", sim.stages());
        let all = expected.len() == shapes.len();
        prop_assert_eq!(status, if all { RunStatus::Succeeded } else { RunStatus::Failed });
        // The end is consistent: what stands for a step was keyed with what stands for its producers.
        let scope = prunella_model::KeyScope {
            run: prunella_model::RunId::new("run-1").expect("a run id"),
            driver: sim.state.driver(),
        };
        for step in sim.plan.indices() {
            if let Some(done) = sim.state.done(step) {
                prop_assert_eq!(sim.plan.key(&sim.state, step, &scope), Ok(done.slot.key));
            } else {
                prop_assert!(matches!(sim.state.state(step).stage(), Stage::Failed | Stage::Blocked));
            }
        }
    }
}
