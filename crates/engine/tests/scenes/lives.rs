//! Signs of life: whatever an attempt does after its claim, another machine sees that it lives.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use prunella_attempt::Way;
use prunella_journal::{Event, RunStatus};
use prunella_objects::*;
use prunella_store::Store;
use prunella_sys::{Clock, RealClock, Sys};
use tokio::sync::watch;

use crate::scene::*;

crate::tests![
    an_attempt_gives_signs_of_life_while_inputs_are_laid_out_and_outputs_are_sent,
    an_attempt_gives_signs_of_life_while_a_checkpoint_is_restored,
    what_an_attempt_fetches_and_sends_is_told_where_the_store_is_far_away,
];

/// A clock on which long waits are over soon.
struct Swift;

#[async_trait]
impl Clock for Swift {
    fn monotonic(&self) -> Duration {
        RealClock.monotonic()
    }
    fn wall_ms(&self) -> i64 {
        RealClock.wall_ms()
    }
    async fn sleep(&self, d: Duration) {
        let long = d >= Duration::from_millis(200);
        RealClock.sleep(if long { d / 1000 } else { d }).await;
    }
}

/// A store in which nothing of the data is read or written before the attempt has given another sign of life.
struct Slow {
    inner: Arc<dyn Objects>,
    far: bool,
    signs: watch::Sender<u64>,
}

impl Slow {
    async fn wait(&self, key: &ObjectKey) {
        if key.as_str().starts_with("data/") {
            let mut signs = self.signs.subscribe();
            signs.changed().await.unwrap();
        }
    }
}

#[async_trait]
impl Objects for Slow {
    async fn create(&self, key: &ObjectKey, bytes: Bytes) -> Result<Created, ObjectsError> {
        self.wait(key).await;
        self.inner.create(key, bytes).await
    }
    async fn overwrite(&self, key: &ObjectKey, bytes: Bytes) -> Result<(), ObjectsError> {
        let done = self.inner.overwrite(key, bytes).await;
        if key.as_str().starts_with("attempts/") {
            self.signs.send_modify(|signs| *signs += 1);
        }
        done
    }
    async fn get(&self, key: &ObjectKey) -> Result<Option<Bytes>, ObjectsError> {
        self.wait(key).await;
        self.inner.get(key).await
    }
    async fn list(&self, prefix: &str, after: Option<&str>, limit: usize) -> Result<Vec<Listed>, ObjectsError> {
        self.inner.list(prefix, after, limit).await
    }
    async fn delete(&self, key: &ObjectKey) -> Result<bool, ObjectsError> {
        self.inner.delete(key).await
    }
    async fn sync(&self) -> Result<(), ObjectsError> {
        self.inner.sync().await
    }
    async fn create_from_file(&self, key: &ObjectKey, source: &Path, how: TakeIn) -> Result<CreatedFile, ObjectsError> {
        self.wait(key).await;
        self.inner.create_from_file(key, source, how).await
    }
    async fn local_path(&self, key: &ObjectKey) -> Result<Option<PathBuf>, ObjectsError> {
        self.wait(key).await;
        self.inner.local_path(key).await
    }
    async fn open(&self, key: &ObjectKey) -> Result<Option<ObjectReader>, ObjectsError> {
        self.wait(key).await;
        self.inner.open(key).await
    }
    fn is_remote(&self) -> bool {
        self.far
    }
    fn packing(&self) -> Packing {
        if self.far { Packing::Chunks } else { self.inner.packing() }
    }
    fn store_id(&self) -> &str {
        self.inner.store_id()
    }
}

fn slow(scene: &Scene, far: bool) -> Store {
    let sys = Sys { clock: Arc::new(Swift), ..scene.sys.clone() };
    let inner = Arc::new(Embedded::open(&sys, scene.store_dir()).unwrap());
    Store::new(Arc::new(Slow { inner, far, signs: watch::Sender::new(0) }), sys)
}

/// An engine on such a store.
async fn patient(far: bool) -> (Scene, Engine) {
    let mut scene = Scene::new();
    scene.sys.clock = Arc::new(Swift);
    let store = slow(&scene, far);
    let engine = scene.engine_on(store).await;
    (scene, engine)
}

async fn an_attempt_gives_signs_of_life_while_inputs_are_laid_out_and_outputs_are_sent() {
    let (scene, engine) = patient(false).await;
    let graph = scene.graph(
        "a: { run: 'head -c 200000 /dev/urandom > out.bin', outputs: { out: out.bin } }
b: { run: 'cp inputs/in/out.bin out.bin', inputs: { in: a.out }, outputs: { out: out.bin } }
",
    );
    assert_eq!(engine.complete("r", &graph).await.status, RunStatus::Succeeded);
}

async fn an_attempt_gives_signs_of_life_while_a_checkpoint_is_restored() {
    let (scene, engine) = patient(false).await;
    let graph = scene.graph(
        "train:
  run: |
    c=$PRUNELLA_CHECKPOINT_DIR
    if [ $PRUNELLA_ATTEMPT = 2 ]; then cat $c/one > out.txt; exit 0; fi
    head -c 200000 /dev/urandom > $c/.t; mv $c/.t $c/one
    exec sleep 1000
  outputs: { out: out.txt }
  checkpoint: files
",
    );
    let run = engine.begin("r", &graph).await;
    let (outcome, ()) = tokio::join!(engine.drive(&run), async {
        engine.eye.until_durable().await;
        kill(engine.eye.until_running().await);
    });
    assert_eq!(outcome.status, RunStatus::Succeeded);
    let restored = |event: &Event| matches!(event, Event::StateRestored { .. });
    assert!(engine.eye.events().iter().any(restored));
}

async fn what_an_attempt_fetches_and_sends_is_told_where_the_store_is_far_away() {
    for far in [true, false] {
        let (scene, engine) = patient(far).await;
        let graph = scene.graph(
            "a: { run: 'head -c 1000000 /dev/urandom > out.bin', outputs: { out: out.bin } }
b: { run: 'cp inputs/in/out.bin out.bin; echo b >> out.bin', inputs: { in: a.out }, outputs: { out: out.bin } }
",
        );
        assert_eq!(engine.complete("r", &graph).await.status, RunStatus::Succeeded);
        let moved = engine.eye.moved();
        let all = |wanted: Way| moved.iter().filter(|(way, _)| *way == wanted).map(|(_, moved)| moved.all).max();
        let wanted = if far { (Some(1_000_002), Some(1_000_000)) } else { (None, None) };
        assert_eq!((all(Way::Sending), all(Way::Fetching)), wanted, "each attempt counts for itself: {moved:?}");
        assert!(moved.iter().all(|(_, moved)| moved.done <= moved.all), "{moved:?}");
    }
}
