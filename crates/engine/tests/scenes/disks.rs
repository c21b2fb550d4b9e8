//! Full disks and directories that cannot be written, on small file systems of their own.
//!
//! They need the right to mount; where it is missing the tests say so and check nothing.

use std::path::{Path, PathBuf};
use std::process::Command;

use prunella_journal::{Event, RunStatus};
use prunella_model::Class;
use prunella_objects::{Embedded, ObjectsError};

use crate::scene::*;

crate::tests![
    a_full_disk_leaves_the_run_resumable_and_loses_nothing,
    a_disk_that_fills_up_under_a_step_is_infrastructure_and_heals_when_there_is_room,
    a_store_on_a_read_only_disk_is_refused_by_name_and_can_be_read,
];

/// A file system in memory, unmounted when dropped.
pub struct Disk {
    at: tempfile::TempDir,
}

impl Disk {
    pub fn new(size: &str) -> Option<Self> {
        let at = tempfile::tempdir().unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={size}"), "prunella-test"])
            .arg(at.path())
            .output();
        match mounted {
            Ok(output) if output.status.success() => Some(Self { at }),
            _ => {
                println!("  not checked: nothing can be mounted here");
                None
            }
        }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.at.path().join(name)
    }

    fn read_only(&self) {
        // A process that another test is starting may hold a copy of a writing descriptor for a moment.
        let since = std::time::Instant::now();
        loop {
            let output = Command::new("mount").args(["-o", "remount,ro"]).arg(self.at.path()).output().unwrap();
            if output.status.success() {
                return;
            }
            let why = String::from_utf8_lossy(&output.stderr).into_owned();
            assert!(why.contains("busy") && since.elapsed().as_secs() < 10, "{why}");
        }
    }

    /// Takes every byte that is left.
    pub fn fill(&self) {
        let mut file = std::fs::File::create(self.path("filler")).unwrap();
        let block = vec![1; 1 << 16];
        for size in [1 << 16, 4096, 1] {
            while std::io::Write::write_all(&mut file, &block[..size]).is_ok() {}
        }
    }

    pub fn make_room(&self) {
        std::fs::remove_file(self.path("filler")).unwrap();
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _busy = Command::new("umount").arg("-l").arg(self.at.path()).status();
    }
}

async fn a_full_disk_leaves_the_run_resumable_and_loses_nothing() {
    let Some(disk) = Disk::new("12m") else { return };
    let scene = Scene::with_store_at(disk.path("store"));
    let engine = scene.engine().await;
    let graph = scene.graph(
        "one: { run: 'echo one >> $OUT/ran; echo 1 > out.txt', outputs: { out: out.txt } }
two:
  run: |
    echo two >> $OUT/ran
    echo ready; while [ ! -e $OUT/full ]; do sleep 0.02; done
    echo 2 > $OUT/two; cp $OUT/two out.txt
  inputs: { in: one.out }
  outputs: { out: out.txt }
  retry: { infrastructure: { limit: 20, backoff: 50ms }, storage: { limit: 20, backoff: 50ms }, error: { limit: 20, backoff: 50ms } }
",
    );
    let run = engine.begin("r", &graph).await;
    // The engine is dropped where it stands, as if somebody had killed it on the full disk.
    tokio::select! {
        outcome = engine.try_drive(&run) => {
            if let Ok(outcome) = outcome {
                assert_ne!(outcome.status, RunStatus::Succeeded, "there was no room for success");
            }
        }
        () = async {
            engine.eye.until_line("ready").await;
            disk.fill();
            std::fs::write(scene.outside("full"), "").unwrap();
            engine.eye.until(|event| matches!(event, Event::AttemptEnded { .. }).then_some(())).await;
        } => {}
    }
    engine.die().await;
    disk.make_room();
    let engine = scene.engine().await;
    assert_eq!(engine.drive(&run).await.status, RunStatus::Succeeded, "{:?}", engine.eye.events());
    assert_eq!(engine.result(&run, "two", "out").await.unwrap(), b"2\n");
    assert_eq!(scene.ran()["one"], 1, "what was committed before the disk was full is not made again");
    engine.check(&run).await;
}

async fn a_disk_that_fills_up_under_a_step_is_infrastructure_and_heals_when_there_is_room() {
    let Some(disk) = Disk::new("12m") else { return };
    let scene = Scene::with_store_at(disk.path("store"));
    let engine = scene.engine().await;
    // The output is written while there is room; there is none left when it is taken in.
    let graph = scene.graph(
        "make:
  run: |
    head -c 100000 /dev/zero > out.bin
    if [ $PRUNELLA_ATTEMPT = 1 ]; then echo ready; while [ ! -e $OUT/full ]; do sleep 0.02; done; fi
  outputs: { out: out.bin }
  retry: { infrastructure: { limit: 1000, backoff: 20ms }, storage: { limit: 1000, backoff: 20ms } }
",
    );
    let run = engine.begin("r", &graph).await;
    let (outcome, ()) = tokio::join!(engine.drive(&run), async {
        engine.eye.until_line("ready").await;
        disk.fill();
        std::fs::write(scene.outside("full"), "").unwrap();
        engine
            .eye
            .until(|event| matches!(event, Event::StepHealing { .. } | Event::StepCommitted { .. }).then_some(()))
            .await;
        disk.make_room();
    });
    assert_eq!(outcome.status, RunStatus::Succeeded, "{:?}", engine.eye.events());
    let classes = engine.eye.classes();
    assert!(classes.iter().all(|class| *class == Class::Infrastructure), "{classes:?}");
    engine.check(&run).await;
}

fn open(scene: &Scene, dir: &Path) -> Result<Embedded, ObjectsError> {
    Embedded::open(&scene.sys, dir)
}

async fn a_store_on_a_read_only_disk_is_refused_by_name_and_can_be_read() {
    let Some(disk) = Disk::new("12m") else { return };
    let scene = Scene::with_store_at(disk.path("store"));
    let engine = scene.engine().await;
    let outcome =
        engine.complete("r", &scene.graph("one: { run: 'echo 1 > out.txt', outputs: { out: out.txt } }")).await;
    assert_eq!(outcome.status, RunStatus::Succeeded);
    engine.die().await;
    disk.read_only();
    let refused = open(&scene, scene.store_dir());
    assert!(matches!(refused, Err(ObjectsError::ReadOnly { .. })), "{:?}", refused.err());
    let read = Embedded::open_read_only(&scene.sys, scene.store_dir()).unwrap();
    let store = prunella_store::Store::new(std::sync::Arc::new(read), scene.sys.clone());
    let state = prunella_engine::load_state(&store, &outcome.run).await.unwrap().state;
    assert_eq!(state.ended(), Some(RunStatus::Succeeded));
}
