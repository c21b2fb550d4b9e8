//! What holds for every sequence of failures, against a small model with a table of its own.

mod scene;

use std::{collections::BTreeMap, time::Duration};

use proptest::{collection::vec, option, prelude::*};
use prunella_healing::{
    Ending, Evidence, InputDamaged, KillReason, NoticeSeen, OutOfMemory, Phase, Remedy, StorageKind, StorageTrouble,
    Traits, ValidationProblem, classify, exit_code, message_class, root_cause, signature,
};
use prunella_model::{ByteSize, Class, ClassPolicy, OnNotice, Resources};
use scene::{Scene, checkpoint};

/// The budgets of docs/design/0002-healing.md, written down a second time.
fn budget(class: Class, deterministic: bool) -> u32 {
    match class {
        Class::Preempted | Class::CheckpointDamaged => 100,
        Class::Killed => 50,
        Class::Effect | Class::Infrastructure => 20,
        Class::Storage => 10,
        Class::GpuFault => 5,
        Class::NoProgress | Class::OutOfMemory | Class::CheckpointRejected | Class::Error => 3,
        Class::Stalled => 2,
        Class::Timeout | Class::InputDamaged => 1,
        Class::Validation => u32::from(!deterministic),
        Class::GpuMemory | Class::Contract | Class::Stopped | Class::Capacity => 0,
    }
}

fn ending() -> impl Strategy<Value = Ending> {
    let reason = prop_oneof![
        Just(KillReason::Stop),
        Just(KillReason::Notice),
        Just(KillReason::Timeout),
        Just(KillReason::Stall),
        Just(KillReason::Memory),
        Just(KillReason::OwnerGone),
        Just(KillReason::Fenced),
    ];
    prop_oneof![
        4 => prop_oneof![Just(0), Just(1), Just(137), Just(143), any::<i32>()].prop_map(|code| Ending::Exited { code }),
        4 => (prop_oneof![Just(9), Just(15), Just(11), any::<i32>()], option::weighted(0.3, reason))
            .prop_map(|(signal, by_us)| Ending::Signaled { signal, by_us }),
        1 => Just(Ending::SupervisorDied),
        1 => Just(Ending::NeverStarted),
        1 => ".{0,12}".prop_map(|reason| Ending::SpawnFailed { reason }),
    ]
}

fn phase() -> impl Strategy<Value = Phase> {
    prop_oneof![4 => Just(Phase::Run), 1 => Just(Phase::Restore), 1 => Just(Phase::Fetch), 1 => Just(Phase::Effects)]
}

fn said() -> impl Strategy<Value = Vec<String>> {
    let line = prop_oneof![
        Just("CUDA out of memory".to_owned()),
        Just("GPU has fallen off the bus".to_owned()),
        Just("Traceback (most recent call last):".to_owned()),
        Just("  File \"train.py\", line 3, in f".to_owned()),
        Just("ValueError: bad".to_owned()),
        Just("thread 'x' panicked at a.rs:1:1:".to_owned()),
        "\\PC{0,30}",
        any::<String>(),
    ];
    vec(line, 0..5)
}

fn storage() -> impl Strategy<Value = StorageTrouble> {
    let kind = prop_oneof![
        Just(StorageKind::NoSpace),
        Just(StorageKind::ReadOnly),
        Just(StorageKind::Unreachable),
        Just(StorageKind::Throttled),
    ];
    kind.prop_map(|kind| StorageTrouble { kind, text: String::new() })
}

/// Any evidence; a newer checkpoint only where it says so.
fn evidence(newer: f64) -> impl Strategy<Value = Evidence> {
    let rare = 0.06;
    let ran = (ending(), phase(), said(), option::weighted(0.2, any::<u64>()), prop::bool::weighted(0.3));
    let from = (
        option::weighted(0.3, (1u64..4, 1u64..4)),
        option::weighted(newer, (1u64..4, 1u64..4)),
        vec((1u64..4, 1u64..4), 0..2),
    );
    let outside = (
        option::weighted(0.2, (any::<u64>(), option::of(any::<u64>()))),
        prop::bool::weighted(0.02),
        option::weighted(rare, (option::of(any::<u64>()), any::<bool>())),
        prop::bool::weighted(rare),
        prop::bool::weighted(rare),
        any::<bool>(),
    );
    let trouble = (
        option::weighted(rare, storage()),
        option::weighted(rare, Just("node".to_owned())),
        option::weighted(0.02, Just("gpu".to_owned())),
        option::weighted(rare, "[ab]"),
        option::weighted(0.03, "[ab]"),
        option::weighted(0.02, Just("bad".to_owned())),
    );
    (ran, from, outside, trouble).prop_map(|(ran, from, outside, trouble)| Evidence {
        ended: ran.0,
        phase: ran.1,
        stderr_tail: ran.2,
        progress: ran.3,
        progress_since_restore: ran.4,
        restored: from.0.map(|(epoch, seq)| checkpoint(epoch, seq)),
        newer_checkpoint: from.1.map(|(epoch, seq)| checkpoint(epoch, seq)),
        checkpoint_damaged: from.2.into_iter().map(|(epoch, seq)| checkpoint(epoch, seq)).collect(),
        notice: outside.0.map(|(at_ms, deadline_ms)| NoticeSeen { source: "sigterm".to_owned(), at_ms, deadline_ms }),
        stop_requested: outside.1,
        out_of_memory: outside.2.map(|(seen, cgroup)| OutOfMemory { limit: None, seen: seen.map(ByteSize), cgroup }),
        timeout: outside.3,
        stalled: outside.4,
        said_done: outside.5,
        storage: trouble.0,
        infrastructure: trouble.1,
        capacity: trouble.2,
        input_damaged: trouble.3.map(|input| InputDamaged { input, item: None, detail: String::new() }),
        validation: trouble.4.map(|output| ValidationProblem { output, problem: String::new() }),
        contract: trouble.5,
        pace: None,
        signature: None,
    })
}

fn step() -> impl Strategy<Value = Traits> {
    let memory = (option::of(0u64..1 << 40), option::of(0u64..1 << 42));
    (any::<bool>(), any::<bool>(), any::<bool>(), memory).prop_map(|(has_checkpoint, deterministic, finish, memory)| {
        Traits {
            has_checkpoint,
            deterministic,
            on_notice: if finish { OnNotice::Finish } else { OnNotice::Interrupt },
            resources: Resources {
                memory: memory.0.map(ByteSize),
                memory_max: memory.1.map(ByteSize),
                ..Resources::default()
            },
        }
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_evidence_has_one_class_and_survives_its_record(e in evidence(0.2), step in step()) {
        let class = classify(&e, &step);
        prop_assert_eq!(class, classify(&e, &step));
        prop_assert_ne!(class, Class::NoProgress, "that takes more than one attempt");
        let text = serde_json::to_string(&e).expect("evidence is JSON");
        let read: Evidence = serde_json::from_str(&text).expect("evidence is read again");
        prop_assert_eq!(&read, &e);
        prop_assert_eq!(classify(&read, &step), class);
    }

    #[test]
    fn a_record_that_lacks_fields_is_readable(e in evidence(0.2), step in step(), without in vec(any::<bool>(), 32)) {
        let mut value = serde_json::to_value(&e).expect("evidence is JSON");
        let fields = value.as_object_mut().expect("evidence is an object");
        let names: Vec<String> = fields.keys().cloned().collect();
        for (name, _) in names.iter().zip(without).filter(|(_, without)| *without) {
            fields.remove(name);
        }
        let read: Evidence = serde_json::from_value(value).expect("a field that is missing was not seen");
        classify(&read, &step);
    }

    #[test]
    fn no_budget_is_exceeded_and_counters_survive_their_record(
        failures in vec(evidence(0.15), 1..120), step in step(), limits in vec((0..Class::ALL.len(), 0u32..6), 0..3),
    ) {
        let mut scene = Scene::new(false);
        scene.step = step;
        for (class, limit) in limits {
            scene.policy.0.insert(Class::ALL[class], ClassPolicy { limit: Some(limit), backoff: None });
        }
        let allowed = |class: Class| scene_limit(&scene.policy, class, step.deterministic);
        let allowed: BTreeMap<Class, u32> = Class::ALL.iter().map(|class| (*class, allowed(*class))).collect();
        let mut healed: BTreeMap<Class, u32> = BTreeMap::new();
        let mut inputs: BTreeMap<String, u32> = BTreeMap::new();
        for e in &failures {
            if e.newer_checkpoint.is_some() {
                healed.retain(|class, _| !matches!(class, Class::Preempted | Class::Killed));
            }
            let (class, done) = scene.fail(e);
            let text = serde_json::to_string(&scene.spent).expect("counters are JSON");
            prop_assert_eq!(&serde_json::from_str::<prunella_healing::Spent>(&text).expect("counters are read"), &scene.spent);
            exit_code(class, e, &done);
            match done {
                Remedy::Retry(retry) => {
                    let times = healed.entry(class).or_insert(0);
                    *times += 1;
                    prop_assert!(*times <= allowed[&class], "{class} healed {times} times");
                    prop_assert!(retry.delay <= Duration::from_secs(300));
                    prop_assert!(retry.memory.is_none_or(|m| Some(m) <= step.resources.memory_max.max(step.resources.memory)));
                }
                Remedy::Reproduce { input } => {
                    let times = inputs.entry(input).or_insert(0);
                    *times += 1;
                    prop_assert!(*times <= allowed[&Class::InputDamaged]);
                }
                Remedy::Wait { .. } => prop_assert_eq!(class, Class::Capacity),
                Remedy::None => prop_assert_eq!(class, Class::Stopped),
                Remedy::GiveUp { exit, why, hint, .. } => {
                    prop_assert!(exit.number() == 77 || exit.number() == 78);
                    prop_assert!(!why.is_empty() && !hint.is_empty());
                    return Ok(());
                }
            }
        }
    }

    #[test]
    fn i10_every_sequence_of_failures_without_newer_checkpoints_ends(
        mut failures in vec(evidence(0.5), 1..6), step in step(),
    ) {
        // The same few failures over and over, the worst that finitely many checkpoints leave.
        for e in &mut failures {
            e.newer_checkpoint = None;
        }
        let mut scene = Scene::new(false);
        scene.step = step;
        let counted: Vec<_> =
            failures.iter().filter(|e| !matches!(classify(e, &step), Class::Stopped | Class::Capacity)).collect();
        prop_assume!(!counted.is_empty());
        let most = Class::ALL.iter().map(|class| budget(*class, step.deterministic) as usize + 1).sum::<usize>();
        let ended = counted.iter().cycle().take(most + 1).position(|e| matches!(scene.fail(e).1, Remedy::GiveUp { .. }));
        prop_assert!(ended.is_some(), "still going on after {most} failures: {:?}", scene.spent);
    }

    #[test]
    fn any_stderr_has_a_signature_and_a_bounded_cause(lines in vec(any::<String>(), 0..40), code in any::<i32>()) {
        let ended = Ending::Exited { code };
        prop_assert_eq!(signature(&lines, &ended), signature(&lines, &ended));
        prop_assert!(root_cause(&lines).len() <= 8);
        message_class(&lines);
    }
}

fn scene_limit(policy: &prunella_model::RetryPolicy, class: Class, deterministic: bool) -> u32 {
    match class {
        Class::Contract | Class::Stopped | Class::Capacity => 0,
        _ => policy.of(class).limit.unwrap_or(budget(class, deterministic)),
    }
}
