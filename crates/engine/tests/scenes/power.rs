//! What a loss of power would leave: a store that remembers what was written and not synced.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use bytes::Bytes;
use prunella_attempt::{Control, Deadline};
use prunella_journal::RunStatus;
use prunella_objects::*;
use prunella_store::{Layout, Store};

use crate::scene::Scene;

crate::tests![
    i9_durable_when_a_run_ends_nothing_it_wrote_could_still_be_lost,
    i4_ratchet_a_checkpoint_that_was_called_durable_could_not_be_lost,
];

/// A store that knows which objects a loss of power could take.
struct Loose {
    inner: Arc<dyn Objects>,
    keys: Mutex<BTreeSet<ObjectKey>>,
}

impl Loose {
    fn wrote(&self, key: &ObjectKey) {
        self.keys.lock().unwrap().insert(key.clone());
    }

    fn could_be_lost(&self) -> Vec<String> {
        self.keys.lock().unwrap().iter().map(ToString::to_string).collect()
    }
}

#[async_trait]
impl Objects for Loose {
    async fn create(&self, key: &ObjectKey, bytes: Bytes) -> Result<Created, ObjectsError> {
        // Noted before it is done, so that a sync meanwhile is not taken to cover it; a sync after it is.
        self.wrote(key);
        let created = self.inner.create(key, bytes).await;
        self.wrote(key);
        created
    }
    async fn overwrite(&self, key: &ObjectKey, bytes: Bytes) -> Result<(), ObjectsError> {
        // A hint may be lost.
        self.inner.overwrite(key, bytes).await
    }
    async fn get(&self, key: &ObjectKey) -> Result<Option<Bytes>, ObjectsError> {
        self.inner.get(key).await
    }
    async fn list(&self, prefix: &str, after: Option<&str>, limit: usize) -> Result<Vec<Listed>, ObjectsError> {
        self.inner.list(prefix, after, limit).await
    }
    async fn delete(&self, key: &ObjectKey) -> Result<bool, ObjectsError> {
        self.inner.delete(key).await
    }
    async fn sync(&self) -> Result<(), ObjectsError> {
        let before = self.keys.lock().unwrap().clone();
        self.inner.sync().await?;
        self.keys.lock().unwrap().retain(|key| !before.contains(key));
        Ok(())
    }
    async fn create_from_file(&self, key: &ObjectKey, source: &Path, how: TakeIn) -> Result<CreatedFile, ObjectsError> {
        let created = self.inner.create_from_file(key, source, how).await;
        self.wrote(key);
        created
    }
    async fn local_path(&self, key: &ObjectKey) -> Result<Option<PathBuf>, ObjectsError> {
        self.inner.local_path(key).await
    }
    async fn open(&self, key: &ObjectKey) -> Result<Option<ObjectReader>, ObjectsError> {
        self.inner.open(key).await
    }
    fn store_id(&self) -> &str {
        self.inner.store_id()
    }
}

fn loose(scene: &Scene) -> (Arc<Loose>, Store) {
    let inner = Arc::new(Embedded::open(&scene.sys, scene.store_dir()).unwrap());
    let loose = Arc::new(Loose { inner, keys: Mutex::default() });
    (loose.clone(), Store::new(loose, scene.sys.clone()))
}

async fn i9_durable_when_a_run_ends_nothing_it_wrote_could_still_be_lost() {
    let scene = Scene::new();
    let (loose, store) = loose(&scene);
    let engine = scene.engine_on(store).await;
    let steps = "a: { run: 'head -c 200000 /dev/zero > out.bin', outputs: { out: out.bin } }
b: { run: 'cp inputs/in/out.bin out.bin', inputs: { in: a.out }, outputs: { out: out.bin } }
c: { run: 'exit 3', retry: { error: { limit: 0 } } }
";
    assert_eq!(engine.complete("fails", &scene.graph(steps)).await.status, RunStatus::Failed);
    assert_eq!(loose.could_be_lost(), [""; 0]);
    let whole = steps.rsplit_once("c:").unwrap().0;
    assert_eq!(engine.complete("succeeds", &scene.graph(whole)).await.status, RunStatus::Succeeded);
    assert_eq!(loose.could_be_lost(), [""; 0]);
}

async fn i4_ratchet_a_checkpoint_that_was_called_durable_could_not_be_lost() {
    let scene = Scene::new();
    let (loose, store) = loose(&scene);
    let engine = scene.engine_on(store).await;
    let graph = scene.graph(
        "train:
  run: 'echo 1 > $PRUNELLA_CHECKPOINT_DIR/.t; mv $PRUNELLA_CHECKPOINT_DIR/.t $PRUNELLA_CHECKPOINT_DIR/one; exec sleep 1000'
  outputs: { out: out.txt }
  checkpoint: { format: files, grace: 100ms }
",
    );
    let run = engine.begin("r", &graph).await;
    let (outcome, ()) = tokio::join!(engine.drive(&run), async {
        let record = Layout::checkpoint(&engine.eye.until_durable().await).to_string();
        assert!(!loose.could_be_lost().contains(&record), "{record}");
        engine.say(Control::Notice(Deadline::in_own_grace("stop")));
    });
    assert_eq!(outcome.status, RunStatus::Stopped);
    assert_eq!(loose.could_be_lost(), [""; 0]);
}
