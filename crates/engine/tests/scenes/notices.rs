//! Notices: pass the signal on, keep the checkpoint, and do not take a clean exit for the end of the work.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use prunella_attempt::{Control, Deadline, Told, Verdict, attempt};
use prunella_engine::{exec_request, load_state};
use prunella_journal::{Event, RunStatus, metrics};
use prunella_model::{Class, StepId, StepName};

use crate::scene::*;

crate::tests![
    after_a_notice_exit_0_is_interrupted_and_the_next_attempt_goes_on,
    after_a_notice_a_program_that_says_done_is_done,
    after_a_notice_exit_0_is_the_end_where_the_step_says_finish,
    a_program_that_ignores_its_notice_is_killed_at_the_deadline_and_its_last_checkpoint_stands,
    of_all_notices_the_earliest_deadline_counts,
    a_stop_spends_no_budget,
    a_step_that_somebody_terminates_is_preempted_and_started_again,
    a_checkpoint_told_on_the_socket_is_durable_when_it_is_answered,
    a_notice_before_there_is_a_slot_is_no_failure_of_the_step,
    a_notice_before_the_program_runs_ends_the_attempt_at_once,
    after_a_hint_the_newest_checkpoint_is_durable_at_once_and_the_work_goes_on,
    a_program_that_can_be_asked_is_asked_for_a_checkpoint_when_a_hint_comes,
];

pub const TELL: &str = "tell-for-tests";

/// Says one line on the socket and waits for answers of these types.
pub fn tell_main(words: &[String]) -> ! {
    let mut stream = UnixStream::connect(std::env::var("PRUNELLA_SOCKET").unwrap()).unwrap();
    stream.write_all(format!("{}\n", words[0]).as_bytes()).unwrap();
    let mut lines = BufReader::new(stream).lines();
    for wanted in &words[1..] {
        let line = lines.find(|line| line.as_ref().unwrap().contains(&format!(r#""type":"{wanted}""#)));
        println!("{}", line.expect("the answer comes").unwrap());
    }
    std::process::exit(0);
}

fn notice() -> Control {
    Control::Notice(Deadline::in_own_grace("sigterm"))
}

const SAVES: &str = "\
train:
  run: |
    c=$PRUNELLA_CHECKPOINT_DIR
    if [ -f $c/saved ]; then cp $c/saved out.txt; exit 0; fi
    trap 'echo late > $c/.t; mv $c/.t $c/saved; echo wrong > out.txt; exit 0' TERM
    echo ready
    while :; do sleep 0.02; done
  outputs: { out: out.txt }
  checkpoint: files
";

async fn after_a_notice_exit_0_is_interrupted_and_the_next_attempt_goes_on() {
    let scene = Scene::new();
    let engine = scene.engine().await;
    let run = engine.begin("r", &scene.graph(SAVES)).await;
    let (outcome, ()) = tokio::join!(engine.drive(&run), async {
        engine.eye.until_line("ready").await;
        engine.say(notice());
    });
    assert_eq!(outcome.status, RunStatus::Stopped);
    let slot = first_slot(&engine.eye);
    let closed = engine.closed(&slot).await;
    assert_eq!(closed.iter().map(|closed| closed.class).collect::<Vec<_>>(), [Class::Preempted]);
    assert_eq!(engine.result(&run, "train", "out").await, None, "nothing was committed");
    assert_eq!(engine.host.store.checkpoints(&slot.key).await.unwrap().len(), 1);
    engine.die().await;
    let engine = scene.engine().await;
    assert_eq!(engine.drive(&run).await.status, RunStatus::Succeeded);
    assert_eq!(engine.result(&run, "train", "out").await.unwrap(), b"late\n");
    engine.check(&run).await;
}

async fn after_a_notice_a_program_that_says_done_is_done() {
    let scene = Scene::new();
    let engine = scene.engine().await;
    let graph = scene.graph(
        r#"train:
  run: |
    trap 'echo whole > out.txt; $EXE tell-for-tests "{\"type\":\"done\"}" ok; exit 0' TERM
    echo ready
    while :; do sleep 0.02; done
  outputs: { out: out.txt }
"#,
    );
    let run = engine.begin("r", &graph).await;
    let (outcome, ()) = tokio::join!(engine.drive(&run), async {
        engine.eye.until_line("ready").await;
        engine.say(notice());
    });
    assert_eq!(engine.result(&run, "train", "out").await.unwrap(), b"whole\n", "{:?}", outcome.status);
}

async fn after_a_notice_exit_0_is_the_end_where_the_step_says_finish() {
    let scene = Scene::new();
    let engine = scene.engine().await;
    let graph = scene.graph(
        "train:
  run: |
    trap 'echo whole > out.txt; exit 0' TERM
    echo ready
    while :; do sleep 0.02; done
  outputs: { out: out.txt }
  on_notice: finish
",
    );
    let run = engine.begin("r", &graph).await;
    tokio::join!(engine.drive(&run), async {
        engine.eye.until_line("ready").await;
        engine.say(notice());
    });
    assert_eq!(engine.result(&run, "train", "out").await.unwrap(), b"whole\n");
}

async fn a_program_that_ignores_its_notice_is_killed_at_the_deadline_and_its_last_checkpoint_stands() {
    let scene = Scene::new();
    let engine = scene.engine().await;
    let graph = scene.graph(
        "train:
  run: |
    c=$PRUNELLA_CHECKPOINT_DIR
    if [ -f $c/one ]; then cp $c/one out.txt; exit 0; fi
    trap '' TERM
    echo 1 > $c/.t; mv $c/.t $c/one
    while :; do sleep 0.02; done
  outputs: { out: out.txt }
  checkpoint: { format: files, grace: 1s }
",
    );
    let run = engine.begin("r", &graph).await;
    let begun = Instant::now();
    let (outcome, ()) = tokio::join!(engine.drive(&run), async {
        engine.eye.until_durable().await;
        engine.say(notice());
    });
    assert_eq!(outcome.status, RunStatus::Stopped);
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
    assert_eq!(engine.eye.classes(), [Class::Preempted]);
    engine.die().await;
    let engine = scene.engine().await;
    assert_eq!(engine.drive(&run).await.status, RunStatus::Succeeded);
    assert_eq!(engine.result(&run, "train", "out").await.unwrap(), b"1\n");
}

async fn of_all_notices_the_earliest_deadline_counts() {
    let scene = Scene::new();
    let engine = scene.engine().await;
    let graph = scene.graph(
        "train:
  run: |
    trap '' TERM
    echo ready
    while :; do sleep 0.02; done
  outputs: { out: out.txt }
  checkpoint: { format: files, grace: 1h }
",
    );
    let run = engine.begin("r", &graph).await;
    let clock = engine.host.sys.clock.clone();
    let (outcome, ()) = tokio::join!(engine.drive(&run), async {
        engine.eye.until_line("ready").await;
        // Together they are an hour away but for the second; the third, later again, changes nothing.
        engine.say(notice());
        engine.say(Control::Notice(Deadline::by("aws", clock.monotonic() + Duration::from_secs(1))));
        engine.say(Control::Notice(Deadline::by("aws", clock.monotonic() + Duration::from_secs(3600))));
    });
    assert_eq!(outcome.status, RunStatus::Stopped);
    assert_eq!(engine.eye.classes(), [Class::Preempted]);
}

async fn a_stop_spends_no_budget() {
    let scene = Scene::new();
    let graph = scene.graph("train: { run: 'echo ready; sleep 1000', outputs: { out: out.txt } }");
    let mut slot = None;
    for round in 0..5 {
        let engine = scene.engine().await;
        let run = match round {
            0 => engine.begin("r", &graph).await,
            _ => prunella_model::RunId::new("r").unwrap(),
        };
        let (outcome, ()) = tokio::join!(engine.drive(&run), async {
            engine.eye.until_line("ready").await;
            engine.say(if round % 2 == 0 { Control::Kill } else { Control::Notice(Deadline::in_own_grace("stop")) });
        });
        assert_eq!(outcome.status, RunStatus::Stopped, "{round}");
        let first = *slot.get_or_insert(first_slot(&engine.eye));
        let closed = engine.closed(&first).await;
        assert_eq!(closed.len(), round + 1);
        assert!(closed.iter().all(|closed| closed.class == Class::Stopped), "{closed:?}");
        assert_eq!(closed[round].spent["by_class"], serde_json::Value::Null, "nothing was spent");
        engine.die().await;
    }
}

async fn a_step_that_somebody_terminates_is_preempted_and_started_again() {
    let scene = Scene::new();
    let engine = scene.engine().await;
    let graph = scene.graph(
        "train:
  run: if [ $PRUNELLA_ATTEMPT = 2 ]; then echo x > out.txt; else echo ready; exec sleep 1000; fi
  outputs: { out: out.txt }
",
    );
    let run = engine.begin("r", &graph).await;
    let (outcome, ()) = tokio::join!(engine.drive(&run), async {
        engine.eye.until_line("ready").await;
        terminate(engine.eye.until_running().await);
    });
    assert_eq!(outcome.status, RunStatus::Succeeded);
    assert_eq!(engine.eye.classes(), [Class::Preempted]);
}

async fn a_checkpoint_told_on_the_socket_is_durable_when_it_is_answered() {
    let scene = Scene::new();
    let engine = scene.engine().await;
    let graph = scene.graph(
        r#"train:
  run: |
    c=$PRUNELLA_CHECKPOINT_DIR
    if [ -f $c/state ]; then cp $c/state out.txt; exit 0; fi
    echo saved > $c/state
    $EXE tell-for-tests "{\"type\":\"checkpoint\",\"path\":\"state\",\"progress\":{\"step\":7}}" taken durable
    kill -9 $$
  outputs: { out: out.txt }
  checkpoint: { format: socket }
"#,
    );
    let run = engine.begin("r", &graph).await;
    assert_eq!(engine.drive(&run).await.status, RunStatus::Succeeded);
    assert_eq!(engine.eye.classes(), [Class::Killed]);
    assert_eq!(engine.result(&run, "train", "out").await.unwrap(), b"saved\n");
    let key = first_slot(&engine.eye).key;
    let id = engine.host.store.checkpoints(&key).await.unwrap()[0];
    let record = engine.host.store.checkpoint(&id).await.unwrap().unwrap();
    assert_eq!(record.progress, Some(serde_json::json!({ "step": 7 })));
}

async fn a_notice_before_there_is_a_slot_is_no_failure_of_the_step() {
    let scene = Scene::new();
    let engine = scene.engine().await;
    let run = engine.begin("r", &scene.graph("train: { run: 'echo x > out.txt', outputs: { out: out.txt } }")).await;
    let step = StepId::plain(StepName::new("train").unwrap());
    for (source, class) in [("sigterm", Class::Preempted), ("stop", Class::Stopped)] {
        let request = exec_request(&engine.host.store, &run, &step.name.clone().into(), &[], None).await.unwrap();
        let word = Control::Notice(Deadline::in_own_grace(source));
        let (_sender, control) = tokio::sync::watch::channel(word);
        let verdict = attempt(&engine.host, &request, control, std::sync::Arc::new(|_| {})).await;
        let Verdict::Failed(failure) = verdict else { panic!("{verdict:?}") };
        assert_eq!((failure.slot, failure.class), (None, class), "it waits for nothing when the run goes on");
    }
    // Whenever it comes, it leaves no slot open behind it.
    let key = exec_request(&engine.host.store, &run, &step.name.clone().into(), &[], None).await.unwrap().key;
    for _ in 0..20 {
        let request = exec_request(&engine.host.store, &run, &step.name.clone().into(), &[], None).await.unwrap();
        let (_sender, control) = tokio::sync::watch::channel(notice());
        attempt(&engine.host, &request, control, std::sync::Arc::new(|_| {})).await;
    }
    assert!(engine.host.store.look(&key).await.unwrap().slots.is_empty());
}

async fn a_notice_before_the_program_runs_ends_the_attempt_at_once() {
    let scene = Scene::new();
    let engine = scene.engine().await;
    let graph = scene.graph("train: { run: 'echo ran >> $OUT/ran; echo x > out.txt', outputs: { out: out.txt } }");
    let run = engine.begin("r", &graph).await;
    let step = StepId::plain(StepName::new("train").unwrap());
    let request = exec_request(&engine.host.store, &run, &step.name.clone().into(), &[], None).await.unwrap();
    let (sender, control) = tokio::sync::watch::channel(Control::Run);
    // It comes the moment the slot is taken, while the workspace is being made.
    let tell = std::sync::Arc::new(move |told: Told| {
        if matches!(told, Told::Claimed { .. }) {
            sender.send_replace(notice());
        }
    });
    let verdict = attempt(&engine.host, &request, control, tell).await;
    let Verdict::Failed(failure) = verdict else { panic!("{verdict:?}") };
    assert_eq!((failure.class, failure.closed), (Class::Preempted, true));
    assert!(failure.evidence.notice.is_some());
    assert_eq!(engine.closed(&failure.slot.unwrap()).await.len(), 1);
    assert!(scene.ran().is_empty(), "the program was not started");
}

fn hint() -> Control {
    Control::hint("aws", "rebalance recommendation")
}

fn hints(events: &[Event]) -> usize {
    events.iter().filter(|event| matches!(event, Event::HintReceived { .. })).count()
}

async fn after_a_hint_the_newest_checkpoint_is_durable_at_once_and_the_work_goes_on() {
    let scene = Scene::new();
    let engine = scene.engine().await;
    // The first entry is taken; the second would be an hour later.
    let graph = scene.graph(
        "train:
  run: |
    c=$PRUNELLA_CHECKPOINT_DIR
    echo 1 > $c/.t; mv $c/.t $c/one
    while [ ! -f $OUT/once ]; do sleep 0.02; done
    echo 2 > $c/.t; mv $c/.t $c/two
    echo written
    while [ ! -f $OUT/twice ]; do sleep 0.02; done
    echo whole > out.txt
  outputs: { out: out.txt }
  checkpoint: { format: files, every: 1h }
other: { run: 'echo other > out.txt', outputs: { out: out.txt } }
",
    );
    let run = engine.begin("r", &graph).await;
    let (outcome, ()) = tokio::join!(engine.drive(&run), async {
        let first = engine.eye.until_durable().await;
        std::fs::write(scene.outside("once"), "").unwrap();
        engine.eye.until_line("written").await;
        engine.say(hint());
        let second = engine.eye.until(|event| match event {
            Event::CheckpointDurable { checkpoint, .. } if *checkpoint != first => Some(*checkpoint),
            _ => None,
        });
        let record = engine.host.store.checkpoint(&second.await).await.unwrap().unwrap();
        assert_eq!(record.entry, "two");
        // Heard again, by itself and beside another: only the other is news.
        engine.say(hint());
        engine.say(Control::hint("aws", "another").and(hint()));
        engine.eye.until_all(|events| (hints(events) == 2).then_some(())).await;
        std::fs::write(scene.outside("twice"), "").unwrap();
    });
    assert_eq!((outcome.status, hints(&engine.eye.events())), (RunStatus::Succeeded, 2));
    assert_eq!(engine.eye.classes(), [], "no attempt ended because of it");
    assert_eq!(engine.result(&run, "train", "out").await.unwrap(), b"whole\n");
    engine.check(&run).await;
    let events = load_state(&engine.host.store, &run).await.unwrap().events;
    let seen: Vec<_> = metrics(&events).hints.into_iter().map(|hint| (hint.source, hint.what)).collect();
    let seen: Vec<_> = seen.iter().map(|(source, what)| (source.as_str(), what.as_str())).collect();
    assert_eq!(seen, [("aws", "rebalance recommendation"), ("aws", "another")]);
}

async fn a_program_that_can_be_asked_is_asked_for_a_checkpoint_when_a_hint_comes() {
    let scene = Scene::new();
    let engine = scene.engine().await;
    // It listens on one connection, and saves when it hears the word.
    let graph = scene.graph(
        r#"train:
  run: |
    $EXE tell-for-tests "{\"type\":\"progress\",\"value\":1}" ok hint
    echo saved > $PRUNELLA_CHECKPOINT_DIR/state
    $EXE tell-for-tests "{\"type\":\"checkpoint\",\"path\":\"state\"}" taken durable
    echo whole > out.txt
  outputs: { out: out.txt }
  checkpoint: { format: socket }
"#,
    );
    let run = engine.begin("r", &graph).await;
    let (outcome, ()) = tokio::join!(engine.drive(&run), async {
        engine.eye.until_line(r#"{"type":"ok"}"#).await;
        engine.say(hint());
    });
    assert_eq!((outcome.status, engine.eye.classes()), (RunStatus::Succeeded, vec![]));
    engine.eye.until_durable().await;
}
