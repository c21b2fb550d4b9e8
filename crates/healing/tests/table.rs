//! Every row of docs/design/0002-healing.md.

mod scene;

use std::time::Duration;

use prunella_healing::{
    Ending, Evidence, ExitCode, InputDamaged, KillReason, NoticeSeen, OutOfMemory, Pace, Phase, Remedy, Restore,
    StorageKind, StorageTrouble, Traits, ValidationProblem, classify, exit_code, finished,
};
use prunella_model::{Backoff, ByteSize, Class, ClassPolicy, OnNotice, Span};
use scene::{Scene, checkpoint, exited, ran, signaled};

fn notice() -> Option<NoticeSeen> {
    Some(NoticeSeen { source: "sigterm".to_owned(), at_ms: 1000, deadline_ms: Some(31_000) })
}

fn storage(kind: StorageKind) -> Evidence {
    let mut e = Evidence::of(Ending::NeverStarted, Phase::Fetch);
    e.storage = Some(StorageTrouble { kind, text: "put data/aa".to_owned() });
    e
}

fn killed_by_us(reason: KillReason) -> Evidence {
    ran(Ending::Signaled { signal: 9, by_us: Some(reason) })
}

fn with(mut e: Evidence, change: impl FnOnce(&mut Evidence)) -> Evidence {
    change(&mut e);
    e
}

#[test]
fn evidence_has_the_class_of_its_row() {
    let plain = Traits { deterministic: true, ..Traits::default() };
    let gpu = "torch.OutOfMemoryError: CUDA out of memory.";
    let rows: Vec<(&str, Evidence, Class)> = vec![
        ("a notice, then exit 0", with(exited(0, ""), |e| e.notice = notice()), Class::Preempted),
        ("a notice, then an error", with(exited(1, "KeyboardInterrupt"), |e| e.notice = notice()), Class::Preempted),
        ("a notice, then our kill", killed_by_us(KillReason::Notice), Class::Preempted),
        ("SIGTERM from outside", signaled(15), Class::Preempted),
        ("a shell whose child got SIGTERM", exited(143, ""), Class::Preempted),
        ("a stop", with(exited(1, ""), |e| e.stop_requested = true), Class::Stopped),
        (
            "a stop is a notice too",
            with(exited(0, ""), |e| (e.stop_requested, e.notice) = (true, notice())),
            Class::Stopped,
        ),
        ("our kill after a stop", killed_by_us(KillReason::Stop), Class::Stopped),
        ("SIGKILL from outside", signaled(9), Class::Killed),
        ("a shell whose child got SIGKILL", exited(137, ""), Class::Killed),
        ("the supervisor died", ran(Ending::SupervisorDied), Class::Killed),
        ("it died while doing effects", Evidence::of(Ending::SupervisorDied, Phase::Effects), Class::Killed),
        ("the engine went away", killed_by_us(KillReason::OwnerGone), Class::Killed),
        ("memory limit", killed_by_us(KillReason::Memory), Class::OutOfMemory),
        ("oom_kill", with(signaled(9), |e| e.out_of_memory = Some(OutOfMemory::default())), Class::OutOfMemory),
        (
            "oom_kill of a child",
            with(exited(137, ""), |e| e.out_of_memory = Some(OutOfMemory::default())),
            Class::OutOfMemory,
        ),
        ("GPU memory", exited(1, gpu), Class::GpuMemory),
        ("GPU memory, aborted", with(signaled(6), |e| e.stderr_tail = vec![gpu.to_owned()]), Class::GpuMemory),
        ("a GPU message of a preempted step", with(exited(1, gpu), |e| e.notice = notice()), Class::Preempted),
        ("Xid 79", exited(1, "NVRM: Xid (PCI:0000:3b:00): 79, GPU has fallen off the bus"), Class::GpuFault),
        (
            "NCCL, then SIGKILL by the launcher",
            with(signaled(9), |e| {
                e.stderr_tail = vec!["ncclSystemError: socket".to_owned()];
            }),
            Class::GpuFault,
        ),
        ("no sign of life", killed_by_us(KillReason::Stall), Class::Stalled),
        ("the deadline", killed_by_us(KillReason::Timeout), Class::Timeout),
        ("the store is away", storage(StorageKind::Unreachable), Class::Storage),
        ("the store forbids", storage(StorageKind::Forbidden), Class::Storage),
        ("a read-only directory", storage(StorageKind::ReadOnly), Class::Storage),
        ("a full disk", storage(StorageKind::NoSpace), Class::Infrastructure),
        (
            "no process",
            Evidence::of(Ending::SpawnFailed { reason: "EAGAIN".to_owned() }, Phase::Run),
            Class::Infrastructure,
        ),
        ("nothing is known", Evidence::default(), Class::Infrastructure),
        ("no machine", with(Evidence::default(), |e| e.capacity = Some("2 GPUs".to_owned())), Class::Capacity),
        (
            "a damaged input",
            with(Evidence::default(), |e| {
                e.input_damaged = Some(InputDamaged { input: "model".to_owned(), item: None, detail: String::new() });
            }),
            Class::InputDamaged,
        ),
        (
            "only damaged checkpoints",
            with(Evidence::of(Ending::NeverStarted, Phase::Restore), |e| {
                e.checkpoint_damaged = vec![checkpoint(1, 2)];
            }),
            Class::CheckpointDamaged,
        ),
        (
            "a damaged checkpoint was skipped, then an error",
            with(exited(1, ""), |e| {
                e.checkpoint_damaged = vec![checkpoint(1, 2)];
            }),
            Class::Error,
        ),
        (
            "a failed check",
            with(exited(0, ""), |e| {
                e.validation = Some(ValidationProblem { output: "m".to_owned(), problem: "empty".to_owned() });
            }),
            Class::Validation,
        ),
        ("an effect", Evidence::of(Ending::Exited { code: 0 }, Phase::Effects), Class::Effect),
        ("its own exit code", exited(3, "boom"), Class::Error),
        ("its own crash", signaled(11), Class::Error),
        ("a broken contract", with(exited(1, ""), |e| e.contract = Some("no such step".to_owned())), Class::Contract),
    ];
    for (row, e, class) in rows {
        assert_eq!(classify(&e, &plain), class, "{row}");
    }
}

#[test]
fn a_failure_before_the_first_progress_after_a_restore_rejects_the_checkpoint() {
    let step = Traits { has_checkpoint: true, ..Traits::default() };
    let restored = with(exited(1, "bad"), |e| e.restored = Some(checkpoint(1, 3)));
    assert_eq!(classify(&restored, &step), Class::CheckpointRejected);
    assert_eq!(classify(&with(restored.clone(), |e| e.progress_since_restore = true), &step), Class::Error);
    assert_eq!(classify(&with(restored, |e| e.newer_checkpoint = Some(checkpoint(2, 1))), &step), Class::Error);
}

#[test]
fn exit_0_after_a_notice_is_an_end_only_if_the_program_or_the_step_says_so() {
    let step = Traits::default();
    let noticed = with(exited(0, ""), |e| e.notice = notice());
    assert!(finished(&exited(0, ""), &step) && !finished(&exited(1, ""), &step));
    assert!(!finished(&noticed, &step));
    assert!(finished(&with(noticed.clone(), |e| e.said_done = true), &step));
    assert!(finished(&noticed, &Traits { on_notice: OnNotice::Finish, ..step }));
}

/// Fails the same way until it is given up; returns the number of tries that were healed, and the end.
fn healed(scene: &mut Scene, evidence: impl Fn(u32) -> Evidence) -> (u32, Class, ExitCode) {
    for n in 0..1000 {
        match scene.fail(&evidence(n)) {
            (_, Remedy::GiveUp { class, exit, .. }) => return (n, class, exit),
            (_, Remedy::None) => panic!("stopped"),
            (_, Remedy::Retry(_) | Remedy::Reproduce { .. } | Remedy::Wait { .. }) => {}
        }
    }
    panic!("healed for ever");
}

#[test]
fn budgets_are_those_of_the_table() {
    let other_error = |n| exited(1, &format!("error: cause {}", char::from(b'a' + n as u8)));
    type Failures = Box<dyn Fn(u32) -> Evidence>;
    let rows: Vec<(Class, u32, Failures)> = vec![
        (Class::GpuMemory, 0, Box::new(|_| exited(1, "CUDA out of memory"))),
        (Class::GpuFault, 5, Box::new(|_| exited(1, "fallen off the bus"))),
        (Class::Stalled, 2, Box::new(|_| killed_by_us(KillReason::Stall))),
        (Class::Timeout, 1, Box::new(|_| killed_by_us(KillReason::Timeout))),
        (Class::Storage, 10, Box::new(|_| storage(StorageKind::Unreachable))),
        (Class::Storage, 0, Box::new(|_| storage(StorageKind::Forbidden))),
        (Class::Effect, 20, Box::new(|_| Evidence::of(Ending::Exited { code: 0 }, Phase::Effects))),
        (Class::Infrastructure, 20, Box::new(|_| Evidence::default())),
        (Class::Error, 3, Box::new(other_error)),
        (Class::Contract, 0, Box::new(|_| with(Evidence::default(), |e| e.contract = Some("x".to_owned())))),
    ];
    for (class, budget, evidence) in rows {
        assert_eq!(healed(&mut Scene::new(true), evidence), (budget, class, ExitCode::USELESS), "{class}");
    }
}

#[test]
fn a_killed_step_goes_on_at_once_the_first_time_and_after_every_newer_checkpoint() {
    let mut scene = Scene::new(true);
    assert_eq!(scene.retried(&signaled(9)).delay, Duration::ZERO);
    assert_ne!(scene.retried(&signaled(9)).delay, Duration::ZERO);
    for epoch in 3..400 {
        let newer = with(signaled(9), |e| e.newer_checkpoint = Some(checkpoint(epoch, 1)));
        assert_eq!(scene.retried(&newer).delay, Duration::ZERO, "attempt {epoch}");
        assert_eq!(scene.spent.count(Class::Killed), 1);
        let waited = scene.retried(&signaled(9)).delay;
        assert!(waited > Duration::ZERO && waited <= Duration::from_millis(200), "attempt {epoch}: {waited:?}");
    }
}

#[test]
fn three_interruptions_without_a_checkpoint_ask_for_one_sooner_then_for_the_next_rung_then_end() {
    let mut scene = Scene::new(true);
    let interrupted = with(signaled(9), |e| {
        e.pace = Some(Pace {
            lived: Span::from_secs(40),
            grace: Some(Span::from_secs(30)),
            checkpoint: Some(Span::from_secs(90)),
            interval: None,
        });
    });
    for _ in 0..2 {
        assert!(!scene.retried(&interrupted).checkpoint_sooner);
    }
    assert!(scene.retried(&interrupted).checkpoint_sooner, "the third in a row");
    for _ in 0..2 {
        assert!(scene.retried(&interrupted).checkpoint_sooner, "and it stays so");
    }
    let (class, exit, why) = scene.given_up(&interrupted);
    assert_eq!((class, exit), (Class::NoProgress, ExitCode::NEXT_RUNG));
    assert!(why.contains("a checkpoint takes 90s, the notice leaves 30s"), "{why}");
    for _ in 0..2 {
        scene.retried(&interrupted);
    }
    assert_eq!(scene.given_up(&interrupted).1, ExitCode::USELESS, "on the next rung it ends");
}

#[test]
fn a_step_without_checkpoints_is_interrupted_twenty_times_in_a_row() {
    assert_eq!(healed(&mut Scene::new(false), |_| signaled(9)), (19, Class::NoProgress, ExitCode::USELESS));
    assert_eq!(healed(&mut Scene::new(false), |_| signaled(15)), (19, Class::NoProgress, ExitCode::USELESS));
}

#[test]
fn memory_grows_by_half_up_to_the_declared_maximum() {
    let mut scene = Scene::new(true);
    let full = killed_by_us(KillReason::Memory);
    scene.step.resources.memory = Some(ByteSize(1000));
    scene.step.resources.memory_max = Some(ByteSize(2000));
    assert_eq!(scene.retried(&full).memory, Some(ByteSize(1500)));
    assert_eq!(scene.retried(&signaled(9)).memory, Some(ByteSize(1500)), "and it stays so");
    let grown = scene.retried(&full);
    assert_eq!(grown.memory, Some(ByteSize(2000)));
    assert_eq!(exit_code(Class::OutOfMemory, &full, &Remedy::Retry(grown)), ExitCode::NEXT_RUNG);
    let (_, exit, why) = scene.given_up(&full);
    assert_eq!(exit, ExitCode::USELESS);
    assert!(why.contains("the declared maximum is"), "{why}");

    let mut undeclared = Scene::new(true);
    undeclared.step.resources.memory = Some(ByteSize(1000));
    assert!(matches!(undeclared.fail(&full).1, Remedy::GiveUp { hint, .. } if hint.contains("2GiB..8GiB")));

    let mut three = Scene::new(true);
    three.step.resources.memory = Some(ByteSize(1000));
    three.step.resources.memory_max = Some(ByteSize(1 << 40));
    assert_eq!(healed(&mut three, |_| full.clone()), (3, Class::OutOfMemory, ExitCode::USELESS));
}

#[test]
fn the_same_failure_twice_at_the_same_progress_is_deterministic() {
    let at =
        |mark: u64, n: u32| with(exited(1, &format!("error: loss {n} is not finite")), |e| e.progress = Some(mark));
    let mut scene = Scene::new(true);
    scene.retried(&at(100, 7));
    let (_, exit, why) = scene.given_up(&at(100, 8));
    assert_eq!(exit, ExitCode::USELESS);
    assert!(why.contains("deterministic"), "{why}");

    let mut further = Scene::new(true);
    further.retried(&at(100, 7));
    further.retried(&at(200, 7));
    further.retried(&at(300, 7));
    assert!(further.given_up(&at(400, 7)).2.contains("3 are healed"), "then it is the budget");
}

#[test]
fn a_rejected_checkpoint_leads_to_the_one_before_and_at_last_to_zero() {
    let mut scene = Scene::new(true);
    let rejected = |seq| with(exited(1, "error: bad state"), |e| e.restored = Some(checkpoint(1, seq)));
    assert_eq!(scene.retried(&rejected(5)).restore, Restore::Before(checkpoint(1, 5)));
    assert_eq!(scene.retried(&signaled(9)).restore, Restore::Before(checkpoint(1, 5)), "a kill does not bring it back");
    assert_eq!(scene.retried(&rejected(4)).restore, Restore::Before(checkpoint(1, 4)));
    assert_eq!(scene.retried(&rejected(3)).restore, Restore::Zero);
    let (class, exit, why) = scene.given_up(&exited(1, "error: bad state"));
    assert_eq!((class, exit), (Class::Error, ExitCode::USELESS));
    assert!(why.contains("deterministic"), "from zero the same: {why}");
}

#[test]
fn a_newer_checkpoint_is_restored_again_after_rejected_ones() {
    let mut scene = Scene::new(true);
    scene.retried(&with(exited(1, ""), |e| e.restored = Some(checkpoint(1, 5))));
    let newer = with(signaled(9), |e| e.newer_checkpoint = Some(checkpoint(2, 1)));
    assert_eq!(scene.retried(&newer).restore, Restore::Newest);
}

#[test]
fn each_damaged_input_is_re_produced_once() {
    let damaged = |input: &str| {
        with(Evidence::default(), |e| {
            e.input_damaged = Some(InputDamaged { input: input.to_owned(), item: None, detail: "404".to_owned() });
        })
    };
    let mut scene = Scene::new(false);
    for input in ["model", "data"] {
        let (class, done) = scene.fail(&damaged(input));
        assert_eq!(done, Remedy::Reproduce { input: input.to_owned() });
        assert_eq!(exit_code(class, &damaged(input), &done), ExitCode::UPSTREAM);
    }
    assert!(scene.given_up(&damaged("model")).2.contains("`model`"));
}

#[test]
fn a_failed_check_is_tried_again_only_if_the_step_may_do_better() {
    let bad = with(exited(0, ""), |e| {
        e.validation = Some(ValidationProblem { output: "report".to_owned(), problem: "is empty".to_owned() });
    });
    let mut scene = Scene::new(false);
    assert!(scene.given_up(&bad).2.contains("output `report` fails its check: is empty"));
    let mut random = Scene::new(false);
    random.step.deterministic = false;
    assert_eq!(healed(&mut random, |_| bad.clone()), (1, Class::Validation, ExitCode::USELESS));
}

#[test]
fn a_full_disk_drains_the_node_cache_and_a_gpu_fault_avoids_the_node() {
    let mut scene = Scene::new(true);
    let full = scene.retried(&storage(StorageKind::NoSpace));
    assert!(full.drain_cache && !full.avoid_node);
    let fault = scene.retried(&exited(1, "GPU has fallen off the bus"));
    assert!(fault.avoid_node && !fault.drain_cache);
}

#[test]
fn capacity_is_a_wait_and_costs_nothing() {
    let mut scene = Scene::new(true);
    let none = with(Evidence::default(), |e| e.capacity = Some("no GPU is free".to_owned()));
    for _ in 0..200 {
        let (class, done) = scene.fail(&none);
        assert!(matches!(done, Remedy::Wait { .. }));
        assert_eq!(exit_code(class, &none, &done), ExitCode::AGAIN);
    }
    assert_eq!(scene.spent, Scene::new(true).spent);
}

#[test]
fn a_stop_is_no_failure_and_can_be_continued() {
    let mut scene = Scene::new(true);
    let stopped = with(exited(1, ""), |e| e.stop_requested = true);
    let (class, done) = scene.fail(&stopped);
    assert_eq!(done, Remedy::None);
    assert_eq!(exit_code(class, &stopped, &done), ExitCode::AGAIN);
    assert_eq!(scene.spent, Scene::new(true).spent);
}

#[test]
fn what_the_user_sets_for_a_class_replaces_its_default() {
    let mut scene = Scene::new(false);
    let wait = Backoff { first: Span::from_secs(100), most: Span::from_secs(100) };
    scene.policy.0.insert(Class::Stalled, ClassPolicy { limit: Some(4), backoff: Some(wait) });
    scene.policy.0.insert(Class::Timeout, ClassPolicy { limit: Some(0), backoff: None });
    scene.policy.0.insert(Class::Contract, ClassPolicy { limit: Some(9), backoff: None });
    assert!(scene.retried(&killed_by_us(KillReason::Stall)).delay > Duration::from_secs(1));
    assert_eq!(healed(&mut scene, |_| killed_by_us(KillReason::Stall)).0, 3);
    assert_eq!(scene.given_up(&killed_by_us(KillReason::Timeout)).0, Class::Timeout);
    let broken = with(Evidence::default(), |e| e.contract = Some("x".to_owned()));
    assert_eq!(scene.given_up(&broken).0, Class::Contract, "a broken contract is never tried again");
}

#[test]
fn the_codes_of_a_step_that_mean_something_to_orchestrators_are_passed_on_as_1() {
    for code in [0, 64, 75, 77, 78, 79, 125, 126, 127, 137, 143, 256, -1] {
        assert_eq!(ExitCode::of_step(code).number(), 1, "{code}");
    }
    for code in [1, 2, 3, 63, 65, 74, 76, 80, 124, 128, 139, 255] {
        assert_eq!(i32::from(ExitCode::of_step(code).number()), code);
    }
    let mut scene = Scene::new(false);
    let own = exited(42, "error: x");
    let (class, done) = scene.fail(&own);
    assert_eq!(exit_code(class, &own, &done).number(), 42);
    let (class, done) = scene.fail(&signaled(9));
    assert_eq!(exit_code(class, &signaled(9), &done), ExitCode::AGAIN);
    let crash = signaled(11);
    let (class, done) = scene.fail(&crash);
    assert_eq!(exit_code(class, &crash, &done).number(), 1);
}
