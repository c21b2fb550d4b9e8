//! Reuse is a dependency, and so is a restore: what is relied on is recorded first, and looked at again afterwards.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use bytes::Bytes;
use prunella_model::Epoch;
use prunella_objects::{Created, CreatedFile, Listed, ObjectKey, ObjectReader, Objects, ObjectsError, TakeIn};
use prunella_store::{Claimed, Guarded, Layout, Snapshot, Store};

use crate::bench::*;

type Hook = Box<dyn Fn(&str) -> Option<(ObjectKey, Bytes)> + Send + Sync>;

/// Notes every operation in order, and lets somebody else write at a chosen moment.
struct Watched {
    inner: Arc<dyn Objects>,
    seen: Mutex<Vec<String>>,
    /// What appears right after the operation that is described so.
    hook: Mutex<Option<Hook>>,
}

impl Watched {
    fn of(bench: &Bench) -> (Arc<Self>, Store) {
        let watched = Arc::new(Self { inner: bench.objects.clone(), seen: Mutex::default(), hook: Mutex::default() });
        let store = Store::new(watched.clone(), bench.sys.clone());
        (watched, store)
    }

    async fn note(&self, what: String) {
        let appears = self.hook.lock().unwrap().as_ref().and_then(|hook| hook(&what));
        if let Some((key, bytes)) = appears {
            let _first_or_not = self.inner.create(&key, bytes).await.unwrap();
        }
        self.seen.lock().unwrap().push(what);
    }

    fn first(&self, what: &str) -> usize {
        let seen = self.seen.lock().unwrap();
        seen.iter().position(|one| one.starts_with(what)).unwrap_or_else(|| panic!("no `{what}` in {seen:#?}"))
    }

    fn last(&self, what: &str) -> usize {
        let seen = self.seen.lock().unwrap();
        seen.iter().rposition(|one| one.starts_with(what)).unwrap_or_else(|| panic!("no `{what}` in {seen:#?}"))
    }
}

#[async_trait]
impl Objects for Watched {
    async fn create(&self, key: &ObjectKey, bytes: Bytes) -> Result<Created, ObjectsError> {
        let created = self.inner.create(key, bytes).await;
        self.note(format!("create {key}")).await;
        created
    }
    async fn overwrite(&self, key: &ObjectKey, bytes: Bytes) -> Result<(), ObjectsError> {
        self.inner.overwrite(key, bytes).await
    }
    async fn get(&self, key: &ObjectKey) -> Result<Option<Bytes>, ObjectsError> {
        let got = self.inner.get(key).await;
        self.note(format!("get {key}")).await;
        got
    }
    async fn list(&self, prefix: &str, after: Option<&str>, limit: usize) -> Result<Vec<Listed>, ObjectsError> {
        let listed = self.inner.list(prefix, after, limit).await;
        self.note(format!("list {prefix}")).await;
        listed
    }
    async fn delete(&self, key: &ObjectKey) -> Result<bool, ObjectsError> {
        self.inner.delete(key).await
    }
    async fn sync(&self) -> Result<(), ObjectsError> {
        self.inner.sync().await
    }
    async fn create_from_file(&self, key: &ObjectKey, source: &Path, how: TakeIn) -> Result<CreatedFile, ObjectsError> {
        self.inner.create_from_file(key, source, how).await
    }
    async fn local_path(&self, key: &ObjectKey) -> Result<Option<PathBuf>, ObjectsError> {
        self.inner.local_path(key).await
    }
    async fn open(&self, key: &ObjectKey) -> Result<Option<ObjectReader>, ObjectsError> {
        let opened = self.inner.open(key).await;
        self.note(format!("open {key}")).await;
        opened
    }
    fn store_id(&self) -> &str {
        self.inner.store_id()
    }
}

fn mark(key: ObjectKey) -> (ObjectKey, Bytes) {
    (key, r#"{"format":1,"object":"x","evidence":"x","writer":"00"}"#.into())
}

#[tokio::test]
async fn uses_stand_before_retired_is_looked_for() {
    for bench in Bench::each() {
        let calm = bench.member();
        let slot = claim(&calm, &request(bench.owner(1), "a")).await;
        commit(&calm, &slot, &bench.file("out", b"x")).await.unwrap();
        let (watched, store) = Watched::of(&bench);
        let claimed = store.claim(&request(bench.owner(2), "b"), &Words::default()).await.unwrap();
        assert!(matches!(claimed, Claimed::Reused(..)));
        let attempts = format!("list {}", Layout::attempts(&slot.key));
        assert!(watched.first("create runs/b/uses-") < watched.last(&attempts), "{}", bench.name);
    }
}

#[tokio::test]
async fn a_commit_retired_or_damaged_before_uses_stood_is_not_reused() {
    for retired in [true, false] {
        for bench in Bench::each() {
            let calm = bench.member();
            let slot = claim(&calm, &request(bench.owner(1), "a")).await;
            commit(&calm, &slot, &bench.file("out", b"x")).await.unwrap();
            // It appears after the guard has seen the commit, and with the very record of use.
            let appears = move |what: &str| {
                let key = if retired { Layout::retired(&slot) } else { Layout::damaged(&slot) };
                what.starts_with("create runs/").then(|| mark(key))
            };
            let (watched, store) = Watched::of(&bench);
            *watched.hook.lock().unwrap() = Some(Box::new(appears));
            let guarded = store.guard(&run("b"), &[slot.key]).await.unwrap();
            assert_eq!(guarded, [Guarded::Missed(None)], "{} retired: {retired}", bench.name);
            assert_eq!(store.reuse_all(&run("b"), &[slot]).await.unwrap(), [false]);
            // It allows the next epoch.
            assert_eq!(claim(&store, &request(bench.owner(2), "b")).await.epoch, Epoch(2));
        }
    }
}

#[tokio::test]
async fn a_restore_pins_then_reads_the_condemned_then_looks_then_reads() {
    for bench in Bench::each() {
        let calm = bench.member();
        let slot = claim(&calm, &request(bench.owner(1), "a")).await;
        let staged = bench.file("staged", b"state");
        let Snapshot::Durable { id, .. } = calm.put_checkpoint(&slot, 1, "e", &staged, None).await.unwrap() else {
            panic!("nobody fenced")
        };
        calm.close(&slot, closed("a")).await.unwrap();
        let next = claim(&calm, &request(bench.owner(2), "a")).await;
        let object = calm.checkpoint(&id).await.unwrap().unwrap().stored.object;
        let (watched, store) = Watched::of(&bench);
        let to = bench.scratch.path().join("to");
        std::fs::create_dir_all(&to).unwrap();
        store.restore(&next, &id, &to).await.unwrap().unwrap();
        let order = [
            watched.first("create pins/"),
            watched.first("list gc/"),
            watched.first(&format!("list {object}")),
            watched.first(&format!("open {object}")),
        ];
        assert!(order.is_sorted(), "{}: {order:?}", bench.name);
    }
}

#[tokio::test]
async fn a_condemned_object_is_never_relied_on_anew_even_when_it_is_still_there() {
    for bench in Bench::each() {
        let calm = bench.member();
        let slot = claim(&calm, &request(bench.owner(1), "a")).await;
        let staged = bench.file("staged", b"state");
        let Snapshot::Durable { id, .. } = calm.put_checkpoint(&slot, 1, "e", &staged, None).await.unwrap() else {
            panic!("nobody fenced")
        };
        calm.close(&slot, closed("a")).await.unwrap();
        let next = claim(&calm, &request(bench.owner(2), "a")).await;
        let object = calm.checkpoint(&id).await.unwrap().unwrap().stored.object;
        // A collector condemns it between the pin and the look: the pin came too late for it.
        let (watched, store) = Watched::of(&bench);
        let condemned = Bytes::from(format!(r#"{{"format":1,"writer":"{}","objects":["{object}"]}}"#, calm.writer()));
        let gc = ObjectKey::new("gc/fffffffffffffffe.json").unwrap();
        *watched.hook.lock().unwrap() =
            Some(Box::new(move |what| what.starts_with("create pins/").then(|| (gc.clone(), condemned.clone()))));
        let to = bench.scratch.path().join("to");
        std::fs::create_dir_all(&to).unwrap();
        let why = store.restore(&next, &id, &to).await.unwrap().unwrap_err();
        assert!(why.contains("condemned"), "{}: {why}", bench.name);
    }
}
