//! Checkpoints that a framework writes in place: taken when they are complete, restored byte by byte.

use prunella_journal::{Event, RunStatus};

use crate::scene::*;

crate::tests![
    a_folder_of_the_trainer_is_taken_when_it_is_complete_and_comes_back_byte_by_byte,
    a_distributed_checkpoint_is_taken_with_its_metadata,
    a_lightning_file_that_is_written_in_place_is_taken_when_it_is_closed,
    a_folder_of_which_it_is_not_known_whether_it_is_complete_is_named,
];

/// What was written by the frameworks themselves.
const WRITTEN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../attempt/tests/fixtures/checkpoints");

/// A step that writes one whole checkpoint and a torn one after it, and lists what it gets back.
fn steps(format: &str, whole: &str, torn: &str) -> String {
    format!(
        "train:
  run: |
    cd $PRUNELLA_CHECKPOINT_DIR
    if [ $PRUNELLA_ATTEMPT = 2 ]; then
      for f in $(find . -type f | sort); do cksum $f; done > $PRUNELLA_OUTPUT_SUMS
      exit 0
    fi
    {whole}
    while [ ! -e $OUT/go ]; do sleep 0.02; done
    {torn}
    echo written
    exec sleep 1000
  outputs: {{ sums: sums.txt }}
  checkpoint: {format}
"
    )
}

/// Runs the step, kills it after the torn checkpoint, and returns what came back.
async fn restored(format: &str, whole: &str, torn: &str) -> String {
    let scene = Scene::new();
    let engine = scene.engine().await;
    let text = steps(format, whole, torn).replace("$WRITTEN", WRITTEN);
    let run = engine.begin("r", &scene.graph(&text)).await;
    let (outcome, ()) = tokio::join!(engine.drive(&run), async {
        engine.eye.until_durable().await;
        std::fs::write(scene.outside("go"), "").unwrap();
        engine.eye.until_line("written").await;
        kill(engine.eye.until_running().await);
    });
    assert_eq!(outcome.status, RunStatus::Succeeded);
    String::from_utf8(engine.result(&run, "train", "sums").await.unwrap()).unwrap()
}

/// What `cksum` says of these files as they were written.
fn sums(folder: &str, files: &[&str], entry: &str) -> String {
    let mut sums = String::new();
    for name in files {
        let output = std::process::Command::new("cksum").arg(format!("{WRITTEN}/{folder}/{name}")).output().unwrap();
        let line = String::from_utf8(output.stdout).unwrap();
        let numbers: Vec<&str> = line.split(' ').take(2).collect();
        sums.push_str(&format!("{} ./{entry}{name}\n", numbers.join(" ")));
    }
    sums
}

async fn a_folder_of_the_trainer_is_taken_when_it_is_complete_and_comes_back_byte_by_byte() {
    let whole = "mkdir tmp-checkpoint-2; cp $WRITTEN/hf-trainer/checkpoint-4/* tmp-checkpoint-2; mkdir checkpoint-2
    for f in model.safetensors training_args.bin optimizer.pt scheduler.pt rng_state.pth trainer_state.json; do
      cp $WRITTEN/hf-trainer/checkpoint-4/$f checkpoint-2
    done";
    let torn = "cp -r checkpoint-2 unfinished; rm unfinished/trainer_state.json; mv unfinished checkpoint-4";
    let files = [
        "model.safetensors",
        "optimizer.pt",
        "rng_state.pth",
        "scheduler.pt",
        "trainer_state.json",
        "training_args.bin",
    ];
    let expected = sums("hf-trainer/checkpoint-4", &files, "checkpoint-2/");
    assert_eq!(restored("hf-trainer", whole, torn).await, expected);
}

async fn a_distributed_checkpoint_is_taken_with_its_metadata() {
    let whole = "mkdir step-1; for n in 0 1 2; do cp $WRITTEN/dcp/step-3/__0_$n.distcp step-1; done
    cp $WRITTEN/dcp/step-3/.metadata step-1/.metadata.tmp; mv step-1/.metadata.tmp step-1/.metadata";
    let torn = "cp -r step-1 step-2; rm step-2/__0_1.distcp; touch step-2/.metadata";
    let files = [".metadata", "__0_0.distcp", "__0_1.distcp", "__0_2.distcp"];
    assert_eq!(restored("dcp", whole, torn).await, sums("dcp/step-3", &files, "step-1/"));
}

async fn a_lightning_file_that_is_written_in_place_is_taken_when_it_is_closed() {
    let whole = "cat \"$WRITTEN/lightning/epoch=0-step=2.ckpt\" > e0.ckpt; ln -s e0.ckpt last.ckpt; echo x > notes.txt";
    let torn = "head -c 3000 \"$WRITTEN/lightning/epoch=0-step=2.ckpt\" > e1.ckpt";
    let expected = sums("lightning", &["epoch=0-step=2.ckpt"], "").replace("epoch=0-step=2.ckpt", "e0.ckpt");
    assert_eq!(restored("lightning", whole, torn).await, expected);
}

async fn a_folder_of_which_it_is_not_known_whether_it_is_complete_is_named() {
    let scene = Scene::new();
    let engine = scene.engine().await;
    let text = "train:
  run: |
    cd $PRUNELLA_CHECKPOINT_DIR
    cp -r $WRITTEN/hf-trainer/checkpoint-4 checkpoint-2
    cp checkpoint-2/rng_state.pth checkpoint-2/rng_state_1.pth; mv checkpoint-2/rng_state.pth checkpoint-2/rng_state_0.pth
    echo seen > $PRUNELLA_OUTPUT_OUT
    while [ ! -e $OUT/go ]; do sleep 0.02; done
    cp -r checkpoint-2 checkpoint-4
    while [ ! -e $OUT/end ]; do sleep 0.02; done
  outputs: { out: out.txt }
  checkpoint: hf-trainer
"
    .replace("$WRITTEN", WRITTEN);
    let run = engine.begin("r", &scene.graph(&text)).await;
    let (outcome, ()) = tokio::join!(engine.drive(&run), async {
        let skipped = |event: &Event| match event {
            Event::SnapshotSkipped { entry, why, .. } => Some((entry.clone(), why.clone())),
            _ => None,
        };
        let (entry, why) = engine.eye.until(skipped).await;
        assert_eq!(entry, "checkpoint-2");
        assert!(why.contains("ranks"), "{why}");
        std::fs::write(scene.outside("go"), "").unwrap();
        // Both were written by two processes, as the second one shows.
        engine.eye.until_durable().await;
        std::fs::write(scene.outside("end"), "").unwrap();
    });
    assert_eq!(outcome.status, RunStatus::Succeeded);
}
