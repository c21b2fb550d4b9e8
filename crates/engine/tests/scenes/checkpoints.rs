//! Checkpoints: a damaged one is skipped, a rejected one is not tried again, a torn one is never taken.

use prunella_journal::{Event, RestoreFrom, RunStatus};
use prunella_model::{Class, Graph, StepName, WarmStart};
use prunella_objects::ObjectKey;
use prunella_store::records::StoredArtifact;

use crate::scene::*;

crate::tests![
    a_damaged_checkpoint_is_skipped_and_recorded,
    i4_ratchet_a_rejected_checkpoint_gives_way_to_the_one_before_and_that_is_recorded,
    a_checkpoint_that_is_never_good_ends_at_zero_and_then_fails,
    an_entry_that_is_being_written_is_not_taken,
    a_marked_entry_counts_once_its_marker_is_there,
    the_interval_is_chosen_from_the_first_checkpoint_and_told,
    a_checkpoint_of_another_key_is_begun_with_and_own_ones_come_before_it,
    a_checkpoint_to_begin_with_that_is_lost_is_the_end_and_not_a_start_from_zero,
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

/// A step of this version; it says what it finds, and is killed after its checkpoint as long as `go` is not there.
fn versioned(version: &str) -> String {
    format!(
        "train:
  run: |
    c=$PRUNELLA_CHECKPOINT_DIR
    echo \"{version} $PRUNELLA_RESTORED $(cat $c/* 2>/dev/null | tr '\\n' ' ')\" >> $OUT/ran
    cat $c/* > out.txt 2>/dev/null || true; echo {version} >> out.txt
    if [ -e $OUT/end ]; then exit 0; fi
    cp out.txt $c/.t; mv $c/.t $c/state
    exec sleep 1000
  outputs: {{ out: out.txt }}
  checkpoint: files
"
    )
}

/// Runs the first version up to a checkpoint, and returns what a run of the second needs to begin with it.
async fn first_version(scene: &Scene, engine: &Engine) -> (WarmStart, StoredArtifact) {
    let run = engine.begin("first", &scene.graph(&versioned("one"))).await;
    let checkpoint = {
        let driving = engine.drive(&run);
        tokio::pin!(driving);
        tokio::select! {
            _ = &mut driving => panic!("the step sleeps"),
            checkpoint = engine.eye.until_durable() => checkpoint,
        }
    };
    let record = engine.host.store.checkpoint(&checkpoint).await.unwrap().unwrap();
    let artifact = record.stored.artifact;
    (WarmStart { checkpoint, entry: record.entry, executable: false, artifact }, record.stored)
}

/// The second version, which begins with this.
fn second_version(scene: &Scene, warm: &WarmStart) -> Graph {
    let mut graph = scene.graph(&versioned("two"));
    graph.warm.insert(StepName::new("train").unwrap(), warm.clone());
    graph
}

async fn a_checkpoint_of_another_key_is_begun_with_and_own_ones_come_before_it() {
    let scene = Scene::new();
    let engine = scene.engine().await;
    let (warm, stored) = first_version(&scene, &engine).await;
    engine.die().await;
    let engine = scene.engine().await;
    let run = engine.begin_with("second", &second_version(&scene, &warm), vec![stored]).await;
    let (outcome, ()) = tokio::join!(engine.drive(&run), async {
        engine.eye.until_durable().await;
        std::fs::write(scene.outside("end"), "").unwrap();
        kill(engine.eye.until_running().await);
    });
    assert_eq!(outcome.status, RunStatus::Succeeded, "{:?}", scene.ran());
    let ran: Vec<String> = scene.ran().into_keys().collect();
    assert_eq!(ran, ["one 0 ", "two 1 one ", "two 1 one two "], "first the other's state, then its own");
    assert_eq!(engine.result(&run, "train", "out").await.unwrap(), b"one\ntwo\ntwo\n");
    let events = engine.eye.events();
    let restored: Vec<_> = events
        .iter()
        .filter_map(|event| match event {
            Event::StateRestored { checkpoint, slot, .. } => Some(checkpoint.slot.key == slot.key),
            _ => None,
        })
        .collect();
    assert_eq!(restored, [false, true]);
}

async fn a_checkpoint_to_begin_with_that_is_lost_is_the_end_and_not_a_start_from_zero() {
    let scene = Scene::new();
    let engine = scene.engine().await;
    let (warm, stored) = first_version(&scene, &engine).await;
    engine.die().await;
    let engine = scene.engine().await;
    let run = engine.begin_with("second", &second_version(&scene, &warm), vec![stored.clone()]).await;
    assert!(engine.host.store.objects().delete(&ObjectKey::new(&stored.object).unwrap()).await.unwrap());
    let outcome = engine.drive(&run).await;
    assert_eq!(outcome.status, RunStatus::Failed);
    assert_eq!(engine.eye.classes(), [Class::Contract]);
    assert_eq!(scene.ran().into_keys().collect::<Vec<_>>(), ["one 0 "], "the second version never ran");
}
