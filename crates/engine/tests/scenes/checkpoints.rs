//! Checkpoints: a damaged one is skipped, a rejected one is not tried again, a torn one is never taken.

use prunella_journal::{Event, RestoreFrom, RunStatus};
use prunella_model::Class;
use prunella_objects::ObjectKey;

use crate::scene::*;

crate::tests![
    a_damaged_checkpoint_is_skipped_and_recorded,
    i4_ratchet_a_rejected_checkpoint_gives_way_to_the_one_before_and_that_is_recorded,
    a_checkpoint_that_is_never_good_ends_at_zero_and_then_fails,
    an_entry_that_is_being_written_is_not_taken,
    a_marked_entry_counts_once_its_marker_is_there,
    the_interval_is_chosen_from_the_first_checkpoint_and_told,
];

async fn a_damaged_checkpoint_is_skipped_and_recorded() {
    let scene = Scene::new();
    let engine = scene.engine().await;
    let graph = scene.graph(
        "train:
  run: |
    c=$PRUNELLA_CHECKPOINT_DIR
    if [ $PRUNELLA_ATTEMPT = 2 ]; then cat $c/* > out.txt; exit 0; fi
    echo one > $c/.t; mv $c/.t $c/one
    while [ ! -e $OUT/go ]; do sleep 0.02; done
    echo two > $c/.t; mv $c/.t $c/two
    exec sleep 1000
  outputs: { out: out.txt }
  checkpoint: files
",
    );
    let run = engine.begin("r", &graph).await;
    let (outcome, ()) = tokio::join!(engine.drive(&run), async {
        engine.eye.until_durable().await;
        std::fs::write(scene.outside("go"), "").unwrap();
        let second = engine
            .eye
            .until(|event| match event {
                Event::CheckpointDurable { checkpoint, .. } if checkpoint.seq == 2 => Some(*checkpoint),
                _ => None,
            })
            .await;
        let record = engine.host.store.checkpoint(&second).await.unwrap().unwrap();
        let object = ObjectKey::new(&record.stored.object).unwrap();
        assert!(engine.host.store.objects().delete(&object).await.unwrap());
        kill(engine.eye.until_running().await);
    });
    assert_eq!(outcome.status, RunStatus::Succeeded);
    assert_eq!(engine.result(&run, "train", "out").await.unwrap(), b"one\n");
    let skipped = |event: &Event| matches!(event, Event::CheckpointSkipped { checkpoint, .. } if checkpoint.seq == 2);
    assert!(engine.eye.events().iter().any(skipped), "{:?}", engine.eye.events());
}

const POISONED: &str = "\
train:
  run: |
    c=$PRUNELLA_CHECKPOINT_DIR
    echo \"$PRUNELLA_ATTEMPT $(ls $c | tr '\\n' ' ')\" >> $OUT/ran
    if [ -e $c/bad ]; then echo 'cannot load the state' >&2; exit 5; fi
    if [ -e $c/good ]; then cp $c/good out.txt; exit 0; fi
    echo good > $c/.t; mv $c/.t $c/good
    while [ ! -e $OUT/go ]; do sleep 0.02; done
    echo bad > $c/.t; mv $c/.t $c/bad
    exec sleep 1000
  outputs: { out: out.txt }
  checkpoint: files
  retry: { checkpoint-rejected: { limit: 3, backoff: 1ms } }
";

async fn i4_ratchet_a_rejected_checkpoint_gives_way_to_the_one_before_and_that_is_recorded() {
    let scene = Scene::new();
    let engine = scene.engine().await;
    let run = engine.begin("r", &scene.graph(POISONED)).await;
    let (outcome, ()) = tokio::join!(engine.drive(&run), async {
        engine.eye.until_durable().await;
        std::fs::write(scene.outside("go"), "").unwrap();
        engine
            .eye
            .until(|event| match event {
                Event::CheckpointDurable { checkpoint, .. } if checkpoint.seq == 2 => Some(()),
                _ => None,
            })
            .await;
        kill(engine.eye.until_running().await);
    });
    assert_eq!(outcome.status, RunStatus::Succeeded, "{:?}", scene.ran());
    assert_eq!(engine.eye.classes(), [Class::Killed, Class::CheckpointRejected]);
    assert_eq!(scene.ran().into_keys().collect::<Vec<_>>(), ["1 ", "2 bad ", "3 good "]);
    let before = |event: &Event| match event {
        Event::StepHealing { class: Class::CheckpointRejected, next, .. } => Some(next.restore),
        _ => None,
    };
    assert!(matches!(engine.eye.events().iter().find_map(before), Some(RestoreFrom::Before(id)) if id.seq == 2));
}

async fn a_checkpoint_that_is_never_good_ends_at_zero_and_then_fails() {
    let scene = Scene::new();
    let engine = scene.engine().await;
    let graph = scene.graph(
        "train:
  run: |
    c=$PRUNELLA_CHECKPOINT_DIR
    echo \"restored $PRUNELLA_RESTORED\" >> $OUT/ran
    if [ -e $OUT/go ]; then echo 'cannot go on' >&2; exit 5; fi
    echo bad > $c/.t; mv $c/.t $c/bad
    exec sleep 1000
  outputs: { out: out.txt }
  checkpoint: files
  retry: { checkpoint-rejected: { limit: 3, backoff: 1ms }, error: { limit: 3, backoff: 1ms } }
",
    );
    let run = engine.begin("r", &graph).await;
    let (outcome, ()) = tokio::join!(engine.drive(&run), async {
        engine.eye.until_durable().await;
        std::fs::write(scene.outside("go"), "").unwrap();
        kill(engine.eye.until_running().await);
    });
    assert_eq!(outcome.status, RunStatus::Failed);
    let ran = scene.ran();
    assert!(ran["restored 0"] >= 2, "from zero, too, before it is called deterministic: {ran:?}");
    assert_eq!(ran["restored 1"], 1, "a rejected checkpoint is not tried again");
}

async fn an_entry_that_is_being_written_is_not_taken() {
    let scene = Scene::new();
    let engine = scene.engine().await;
    // Renamed into place and still open for writing: not one moment, so it is not taken until it is closed.
    let graph = scene.graph(
        "train:
  run: |
    c=$PRUNELLA_CHECKPOINT_DIR
    if [ $PRUNELLA_ATTEMPT = 2 ]; then cat $c/* > out.txt; exit 0; fi
    echo whole > $c/.t; mv $c/.t $c/first
    while [ ! -e $OUT/go ]; do sleep 0.02; done
    exec 9> $c/.half; echo half >&9; mv $c/.half $c/second
    echo renamed
    exec sleep 1000
  outputs: { out: out.txt }
  checkpoint: files
",
    );
    let run = engine.begin("r", &graph).await;
    let (outcome, ()) = tokio::join!(engine.drive(&run), async {
        engine.eye.until_durable().await;
        std::fs::write(scene.outside("go"), "").unwrap();
        engine.eye.until_line("renamed").await;
        kill(engine.eye.until_running().await);
    });
    assert_eq!(outcome.status, RunStatus::Succeeded);
    // Once the writer is dead the entry is one moment, and may be taken as it is; never torn, never a mixture.
    let out = engine.result(&run, "train", "out").await.unwrap();
    assert!(out == b"whole\n" || out == b"half\n", "{:?}", String::from_utf8_lossy(&out));
}

async fn a_marked_entry_counts_once_its_marker_is_there() {
    let scene = Scene::new();
    let engine = scene.engine().await;
    let graph = scene.graph(
        "train:
  run: |
    c=$PRUNELLA_CHECKPOINT_DIR
    if [ $PRUNELLA_ATTEMPT = 2 ]; then cat $c/*/state > out.txt; exit 0; fi
    mkdir $c/one; echo one > $c/one/state; : > $c/one/DONE
    while [ ! -e $OUT/go ]; do sleep 0.02; done
    mkdir $c/two; echo two > $c/two/state
    echo written
    exec sleep 1000
  outputs: { out: out.txt }
  checkpoint: { marker: DONE }
",
    );
    let run = engine.begin("r", &graph).await;
    let (outcome, ()) = tokio::join!(engine.drive(&run), async {
        engine.eye.until_durable().await;
        std::fs::write(scene.outside("go"), "").unwrap();
        engine.eye.until_line("written").await;
        kill(engine.eye.until_running().await);
    });
    assert_eq!(outcome.status, RunStatus::Succeeded);
    assert_eq!(engine.result(&run, "train", "out").await.unwrap(), b"one\n");
}

async fn the_interval_is_chosen_from_the_first_checkpoint_and_told() {
    let scene = Scene::new();
    let engine = scene.engine().await;
    let graph = scene.graph(
        "train:
  run: |
    c=$PRUNELLA_CHECKPOINT_DIR
    if [ $PRUNELLA_ATTEMPT = 2 ]; then cat $c/* > out.txt; exit 0; fi
    echo one > $c/.t; mv $c/.t $c/one
    while [ ! -e $OUT/go ]; do sleep 0.02; done
    echo two > $c/.t; mv $c/.t $c/two
    while [ ! -e $OUT/chosen ]; do sleep 0.02; done
    echo three > $c/.t; mv $c/.t $c/three
    echo written
    exec sleep 1000
  outputs: { out: out.txt }
  checkpoint: { format: files, every: auto }
",
    );
    let run = engine.begin("r", &graph).await;
    let (outcome, every) = tokio::join!(engine.drive(&run), async {
        // Nothing is known of its cost: the first is taken at once.
        engine.eye.until_durable().await;
        std::fs::write(scene.outside("go"), "").unwrap();
        let chosen = |event: &Event| match event {
            Event::CheckpointIntervalChosen { every, why, .. } => Some((*every, why.clone())),
            _ => None,
        };
        let (every, why) = engine.eye.until(chosen).await;
        assert!(why.contains("an interruption comes every 4 h (none seen)"), "{why}");
        std::fs::write(scene.outside("chosen"), "").unwrap();
        engine.eye.until_line("written").await;
        kill(engine.eye.until_running().await);
        every
    });
    // A small file costs milliseconds, so that Daly's interval is some seconds at the most; never below one.
    assert!((1000..60_000).contains(&every.as_millis()), "{every}");
    assert_eq!(outcome.status, RunStatus::Succeeded);
    // What the interval held back is stored when the program is gone.
    assert_eq!(engine.result(&run, "train", "out").await.unwrap(), b"three\n");
}
