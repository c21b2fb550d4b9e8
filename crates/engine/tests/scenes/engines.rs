//! More than one engine: on one run, on one key, one after the other; and clocks that jump.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use prunella_attempt::{Control, Deadline};
use prunella_engine::EngineError;
use prunella_healing::Spent;
use prunella_journal::{Event, RunStatus};
use prunella_model::{Class, RunId};
use prunella_store::{DriverLease, records::Owner};
use prunella_sys::{Clock, Random, RealClock, RealRandom};

use crate::scene::*;

crate::tests![
    a_second_engine_on_a_run_is_refused_and_the_first_is_named,
    who_watches_a_driver_of_another_machine_says_so_and_leaves_when_told_to,
    who_is_told_to_stop_before_it_has_the_run_has_begun_nothing_and_is_no_other_engine,
    two_runs_of_one_work_do_it_once,
    a_run_takes_up_another_runs_work_when_its_engine_dies,
    i10_ends_budgets_survive_the_engine,
    an_engine_that_dies_is_followed_from_the_newest_checkpoint,
    a_guardian_that_is_killed_is_replaced_and_its_steps_go_on,
    a_wall_clock_that_jumps_changes_nothing,
    a_step_that_waits_to_be_tried_again_holds_up_nothing_else,
    i10_ends_an_attempt_that_breaks_off_ends_the_run_and_names_the_step,
    equal_steps_of_one_run_are_one_attempt,
    i9_durable_after_success_a_new_engine_finds_everything,
];

const WAITS: &str = "\
work:
  run: echo work >> $OUT/ran; echo ready; while [ ! -e $OUT/go ]; do sleep 0.02; done; echo x > out.txt
  outputs: { out: out.txt }
";

async fn a_second_engine_on_a_run_is_refused_and_the_first_is_named() {
    let scene = Scene::new();
    let (first, second) = (scene.engine().await, scene.engine().await);
    let run = first.begin("r", &scene.graph(WAITS)).await;
    let (outcome, ()) = tokio::join!(first.drive(&run), async {
        first.eye.until_line("ready").await;
        match second.try_drive(&run).await {
            Err(EngineError::Driven { owner, .. }) => assert_eq!(*owner, first.host.owner),
            other => panic!("{other:?}"),
        }
        std::fs::write(scene.outside("go"), "").unwrap();
    });
    assert_eq!(outcome.status, RunStatus::Succeeded, "the first was not disturbed");
    assert_eq!(scene.ran()["work"], 1);
    assert!(second.eye.events().is_empty());
}

async fn who_is_told_to_stop_before_it_has_the_run_has_begun_nothing_and_is_no_other_engine() {
    let scene = Scene::new();
    let engine = scene.engine().await;
    let run = engine.begin("r", &scene.graph(WAITS)).await;
    engine.say(Control::Notice(Deadline::in_own_grace("stop")));
    let driven = engine.try_drive(&run).await;
    assert!(matches!(&driven, Err(error @ EngineError::NotTakenUp { .. }) if error.is_resumable()), "{driven:?}");
    assert!(engine.eye.events().is_empty() && scene.ran().is_empty());
}

async fn who_watches_a_driver_of_another_machine_says_so_and_leaves_when_told_to() {
    let scene = Scene::new();
    let engine = scene.engine().await;
    let run = engine.begin("r", &scene.graph(WAITS)).await;
    let elsewhere = Owner { machine: "elsewhere".to_owned(), ..engine.host.owner.clone() };
    let lease = engine.host.store.drive(&run, &elsewhere, false, false).await.unwrap();
    assert!(matches!(lease, DriverLease::Ours { n: 1, .. }));
    let (driven, ()) = tokio::join!(engine.try_drive(&run), async {
        assert_eq!(engine.eye.until_watching().await, elsewhere);
        engine.say(Control::Notice(Deadline::in_own_grace("stop")));
    });
    // Long before the lease: nothing was taken.
    assert!(matches!(&driven, Err(EngineError::Driven { owner, .. }) if **owner == elsewhere), "{driven:?}");
    assert_eq!(engine.host.store.driver_of(&run).await.unwrap().map(|(n, ..)| n), Some(1));
    assert!(engine.eye.events().is_empty() && scene.ran().is_empty());
}

async fn two_runs_of_one_work_do_it_once() {
    let scene = Scene::new();
    let (first, second) = (scene.engine().await, scene.engine().await);
    let graph = scene.graph(WAITS);
    let (a, b) = (first.begin("a", &graph).await, second.begin("b", &graph).await);
    let (one, two, ()) = tokio::join!(first.drive(&a), second.drive(&b), async {
        // Whichever came first runs it; the other says that it waits, and for whom.
        tokio::select! {
            () = first.eye.until_line("ready") => {
                second.eye.until(|event| match event {
                    Event::StepWaiting { holder, .. } if *holder == a => Some(()),
                    _ => None,
                }).await;
            }
            () = second.eye.until_line("ready") => {
                first.eye.until(|event| match event {
                    Event::StepWaiting { holder, .. } if *holder == b => Some(()),
                    _ => None,
                }).await;
            }
        }
        std::fs::write(scene.outside("go"), "").unwrap();
    });
    assert_eq!((one.status, two.status), (RunStatus::Succeeded, RunStatus::Succeeded));
    assert_eq!(scene.ran()["work"], 1);
}

async fn a_run_takes_up_another_runs_work_when_its_engine_dies() {
    let scene = Scene::new();
    let (first, second) = (scene.engine().await, scene.engine().await);
    let graph = scene.graph(WAITS);
    let (a, b) = (first.begin("a", &graph).await, second.begin("b", &graph).await);
    let two = tokio::spawn(async move {
        let outcome = second.drive(&b).await;
        (second, outcome)
    });
    // The first claims, or waits for the second; either way the first dies.
    tokio::select! {
        _ = first.drive(&a) => panic!("it cannot end"),
        () = async {
            first
                .eye
                .until(|event| {
                    matches!(event, Event::ProcessStarted { .. } | Event::StepWaiting { .. }).then_some(())
                })
                .await;
        } => {}
    }
    first.die().await;
    std::fs::write(scene.outside("go"), "").unwrap();
    let (second, outcome) = two.await.unwrap();
    assert_eq!(outcome.status, RunStatus::Succeeded, "{:?}", second.eye.events());
}

async fn i10_ends_budgets_survive_the_engine() {
    let scene = Scene::new();
    let graph = scene.graph(
        "flaky:
  run: echo tried >> $OUT/ran; echo \"problem $(wc -l < $OUT/ran | tr '0-9' 'a-j')\" >&2; exit 3
  outputs: { out: out.txt }
  retry: { error: { limit: 5, backoff: 1ms } }
",
    );
    let run = RunId::new("r").unwrap();
    let mut status = None;
    for round in 0..10 {
        let engine = scene.engine().await;
        if round == 0 {
            engine.begin("r", &graph).await;
        }
        let outcome = tokio::select! {
            outcome = engine.drive(&run) => Some(outcome),
            // Each engine lives to see two failures of its own.
            () = async {
                let ended = |event: &&Event| matches!(event, Event::AttemptEnded { .. });
                engine.eye.until_all(|events| (events.iter().filter(ended).count() >= 2).then_some(())).await;
            } => None,
        };
        engine.die().await;
        if let Some(outcome) = outcome {
            status = Some(outcome.status);
            break;
        }
    }
    assert_eq!(status, Some(RunStatus::Failed), "the budget was used up over several engines");
    let engine = scene.engine().await;
    let events = prunella_engine::load_state(&engine.host.store, &run).await.unwrap().events;
    let counts: Vec<u32> = events
        .iter()
        .filter_map(|stamped| match &stamped.event {
            Event::AttemptEnded { spent, class: Class::Error, .. } => Some(Spent::count(spent, Class::Error)),
            _ => None,
        })
        .collect();
    assert!(counts.is_sorted() && counts.last() == Some(&6), "{counts:?}: one more than the limit of 5");
}

async fn an_engine_that_dies_is_followed_from_the_newest_checkpoint() {
    let scene = Scene::new();
    let graph = scene.graph(
        "train:
  run: |
    c=$PRUNELLA_CHECKPOINT_DIR; n=0
    for f in $c/n-*; do if [ -f $f ]; then n=$(cat $f); fi; done
    echo \"from $n\" >> $OUT/ran
    while [ $n -lt 30 ]; do
      n=$((n + 1)); echo $n > $c/.t; mv $c/.t $c/n-$n
      if [ $n = 12 ] && [ ! -e $OUT/go ]; then exec sleep 1000; fi
      sleep 0.01
    done
    echo $n > out.txt
  outputs: { out: out.txt }
  checkpoint: files
",
    );
    let engine = scene.engine().await;
    let run = engine.begin("r", &graph).await;
    tokio::select! {
        outcome = engine.drive(&run) => panic!("{:?}", outcome.status),
        () = async {
            // It stands still at 12: the newest that is durable is that one sooner or later.
            for n in 1.. {
                let durable = engine.eye.until_all(|events| {
                    let durable = |event: &Event| match event {
                        Event::CheckpointDurable { checkpoint, .. } => Some(*checkpoint),
                        _ => None,
                    };
                    events.iter().filter_map(durable).nth(n - 1)
                });
                let durable = durable.await;
                if engine.host.store.checkpoint(&durable).await.unwrap().unwrap().entry == "n-12" {
                    return;
                }
            }
        } => {}
    }
    engine.die().await;
    std::fs::write(scene.outside("go"), "").unwrap();
    let engine = scene.engine().await;
    assert_eq!(engine.drive(&run).await.status, RunStatus::Succeeded);
    assert_eq!(scene.ran().into_keys().collect::<Vec<_>>(), ["from 0", "from 12"]);
    assert_eq!(engine.result(&run, "train", "out").await.unwrap(), b"30\n");
    engine.check(&run).await;
}

async fn a_guardian_that_is_killed_is_replaced_and_its_steps_go_on() {
    let scene = Scene::new();
    let engine = scene.engine().await;
    let graph = scene.graph(
        "train:
  run: |
    if [ $PRUNELLA_ATTEMPT = 2 ]; then echo x > out.txt; exit 0; fi
    setsid sh -c 'echo $$ > $OUT/daemon; exec sleep 1000' &
    while [ ! -s $OUT/daemon ]; do sleep 0.02; done
    echo ready
    exec sleep 1000
  outputs: { out: out.txt }
after:
  run: cp inputs/in/out.txt out.txt
  inputs: { in: train.out }
  outputs: { out: out.txt }
",
    );
    let run = engine.begin("r", &graph).await;
    let (outcome, ()) = tokio::join!(engine.drive(&run), async {
        engine.eye.until_line("ready").await;
        kill(engine.host.guardian.identity().pid);
    });
    assert_eq!(outcome.status, RunStatus::Succeeded, "{:?}", engine.eye.events());
    assert_eq!(engine.eye.classes(), [Class::Killed], "one death costs one attempt");
    let daemon = std::fs::read_to_string(scene.outside("daemon")).unwrap();
    assert!(!std::path::Path::new(&format!("/proc/{}", daemon.trim())).exists(), "its daemon is dead");
}

/// A wall clock that jumps by days, in both directions, whenever it is read.
struct Jumping(AtomicI64);

#[async_trait]
impl Clock for Jumping {
    fn monotonic(&self) -> Duration {
        RealClock.monotonic()
    }
    fn wall_ms(&self) -> i64 {
        let n = self.0.fetch_add(1, Ordering::Relaxed);
        1_700_000_000_000 + if n % 2 == 0 { -1 } else { 1 } * n * 86_400_000
    }
    async fn sleep(&self, d: Duration) {
        RealClock.sleep(d).await;
    }
}

/// A clock on which nobody wakes who asks for a tenth of a second or more: what goes on does so because something happened.
struct Unwaking;

#[async_trait]
impl Clock for Unwaking {
    fn monotonic(&self) -> Duration {
        RealClock.monotonic()
    }
    fn wall_ms(&self) -> i64 {
        RealClock.wall_ms()
    }
    async fn sleep(&self, d: Duration) {
        if d >= Duration::from_millis(100) {
            std::future::pending::<()>().await;
        }
        RealClock.sleep(d).await;
    }
}

async fn a_step_that_waits_to_be_tried_again_holds_up_nothing_else() {
    let mut scene = Scene::new();
    scene.sys.clock = Arc::new(Unwaking);
    let engine = scene.engine().await;
    let graph = scene.graph(
        "flaky: { run: exit 3, retry: { error: { limit: 3, backoff: 20h..20h } } }
a: { run: 'while [ ! -e $OUT/go ]; do sleep 0.02; done', outputs: {} }
b: { run: ': b', after: [a] }
c: { run: ': c', after: [b] }
",
    );
    let run = engine.begin("r", &graph).await;
    let (outcome, ()) = tokio::join!(engine.drive(&run), async {
        engine.eye.until(|event| matches!(event, Event::StepHealing { .. }).then_some(())).await;
        std::fs::write(scene.outside("go"), "").unwrap();
        let done = |event: &&Event| matches!(event, Event::StepCommitted { .. });
        engine.eye.until_all(|events| (events.iter().filter(done).count() == 3).then_some(())).await;
        engine.say(Control::Kill);
    });
    assert_eq!(outcome.status, RunStatus::Stopped);
}

/// Randomness that breaks when an attempt asks for the name of its workspace.
struct Breaking;

impl Random for Breaking {
    fn fill(&self, buf: &mut [u8]) {
        assert_ne!(buf.len(), 4, "this is a test: the attempt breaks off");
        RealRandom.fill(buf);
    }
}

async fn i10_ends_an_attempt_that_breaks_off_ends_the_run_and_names_the_step() {
    let mut scene = Scene::new();
    let sound = std::mem::replace(&mut scene.sys.random, Arc::new(Breaking));
    let engine = scene.engine().await;
    let run = engine.begin("r", &scene.graph("train: { run: 'echo x > out.txt', outputs: { out: out.txt } }")).await;
    match tokio::time::timeout(DEADLINE / 2, engine.try_drive(&run)).await {
        Ok(Err(error @ EngineError::BrokenOff { .. })) => {
            assert!(error.is_resumable() && error.to_string().contains("`train`"), "{error}");
        }
        other => panic!("{other:?}"),
    }
    engine.die().await;
    scene.sys.random = sound;
    let engine = scene.engine().await;
    assert_eq!(engine.drive(&run).await.status, RunStatus::Succeeded);
}

async fn a_wall_clock_that_jumps_changes_nothing() {
    let mut scene = Scene::new();
    scene.sys.clock = Arc::new(Jumping(AtomicI64::new(0)));
    let engine = scene.engine().await;
    let graph = scene.graph(
        "train:
  run: |
    c=$PRUNELLA_CHECKPOINT_DIR
    if [ -f $c/one ]; then cp $c/one out.txt; exit 0; fi
    echo 1 > $c/.t; mv $c/.t $c/one
    exec sleep 1000
  outputs: { out: out.txt }
  checkpoint: files
  timeout: 1h
  stall: 1h
",
    );
    let run = engine.begin("r", &graph).await;
    let (outcome, ()) = tokio::join!(engine.drive(&run), async {
        engine.eye.until_durable().await;
        kill(engine.eye.until_running().await);
    });
    assert_eq!(outcome.status, RunStatus::Succeeded, "{:?}", engine.eye.events());
    assert_eq!(engine.eye.classes(), [Class::Killed]);
    engine.die().await;
    // A run that began "later" by the wall clock is not newer: the order is that of its number.
    let engine = scene.engine().await;
    let second = engine.complete("s", &graph).await;
    assert_eq!(second.status, RunStatus::Succeeded);
    let names = engine.host.store.names(&graph.pipeline.name).await.unwrap().unwrap();
    assert_eq!(names.run, second.run);
}

async fn equal_steps_of_one_run_are_one_attempt() {
    let scene = Scene::new();
    let engine = scene.engine().await;
    let step = "{ run: 'echo work >> $OUT/ran; sleep 0.2; echo x > out.txt', outputs: { out: out.txt } }";
    let outcome = engine.complete("r", &scene.graph(&format!("a: {step}\nb: {step}\nc: {step}\n"))).await;
    assert_eq!(outcome.status, RunStatus::Succeeded);
    assert_eq!(scene.ran()["work"], 1);
    engine.check(&outcome.run).await;
}

async fn i9_durable_after_success_a_new_engine_finds_everything() {
    let scene = Scene::new();
    let engine = scene.engine().await;
    let graph = scene.graph(
        "a: { run: 'echo a >> $OUT/ran; head -c 200000 /dev/zero > out.bin', outputs: { out: out.bin } }
b: { run: 'echo b >> $OUT/ran; cp inputs/in/out.bin out.bin', inputs: { in: a.out }, outputs: { out: out.bin } }
",
    );
    let first = engine.complete("first", &graph).await;
    assert_eq!(first.status, RunStatus::Succeeded);
    engine.die().await;
    let engine = scene.engine().await;
    engine.check(&first.run).await;
    assert_eq!(engine.complete("second", &graph).await.status, RunStatus::Succeeded);
    assert_eq!(scene.ran().values().sum::<usize>(), 2, "nothing ran again");
}
