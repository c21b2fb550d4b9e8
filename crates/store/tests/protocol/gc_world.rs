//! A world in which every operation of every member waits for its turn, so that a seed decides who is next.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use bytes::Bytes;
use prunella_model::*;
use prunella_objects::{Created, CreatedFile, Listed, ObjectKey, ObjectReader, Objects, ObjectsError, Packing, TakeIn};
use prunella_store::records::{Closed, StartRecord};
use prunella_store::{Caretaker, KeyView, Store, StoreError};
use prunella_sys::Random;
use tokio::sync::oneshot;
use tokio::task::JoinSet;

use crate::bench::*;

/// Who waits for a turn, with what it is about to do, and how many do not.
#[derive(Default)]
struct Waiting {
    turns: BTreeMap<usize, (String, oneshot::Sender<()>)>,
    busy: usize,
}

/// As many turns as somebody needs to come to its end.
pub const ALL: usize = 1 << 30;

/// How far somebody goes.
#[derive(Debug, Clone, Copy)]
pub enum To {
    /// So many turns.
    Turns(usize),
    /// Until it is about to do something that begins so, such as `create gc/`.
    Before(&'static str),
    /// To its end.
    TheEnd,
}

/// Gives turns; clones share one order.
#[derive(Clone, Default)]
pub struct Turns(Arc<Mutex<Waiting>>);

impl Turns {
    async fn wait(&self, who: usize, about: String) {
        let (give, turn) = oneshot::channel();
        {
            let mut waiting = self.0.lock().unwrap();
            waiting.turns.insert(who, (about, give));
            waiting.busy -= 1;
        }
        turn.await.expect("the scheduler outlives everybody");
    }

    /// Adds a member; `act` gets a store whose every operation waits for its turn.
    pub fn join<F: Future<Output = ()> + Send + 'static>(
        &self,
        tasks: &mut JoinSet<()>,
        who: usize,
        bench: &Bench,
        act: impl FnOnce(Store) -> F,
    ) {
        self.0.lock().unwrap().busy += 1;
        let turned = Turned { inner: bench.objects.clone(), turns: self.clone(), who };
        let acting = act(Store::new(Arc::new(turned), bench.sys.clone()));
        let turns = self.clone();
        tasks.spawn(async move {
            acting.await;
            turns.0.lock().unwrap().busy -= 1;
        });
    }

    /// Lets one after the other have its turn until all have come to their end; those of `killed` never do, from their
    /// turn of that number on.
    pub async fn play(&self, random: &dyn Random, tasks: &mut JoinSet<()>, killed: &BTreeMap<usize, usize>) {
        // In bursts of very different length: what goes wrong needs one who stands still while another does all of its work.
        let (mut current, mut left) = (usize::MAX, 0);
        let next = |all: &[(usize, &str)]| {
            if left == 0 || !all.iter().any(|(who, _)| *who == current) {
                current = all[random.u64() as usize % all.len()].0;
                left = 1 << (random.u64() % 9);
            }
            left -= 1;
            current
        };
        self.play_by(next, tasks, killed).await;
    }

    /// Lets those named have so many turns each, in this order; then whoever is left, one after the other.
    ///
    /// Answers whether everybody used all the turns given.
    pub async fn play_in_order(&self, order: &[(usize, usize)], tasks: &mut JoinSet<()>) -> bool {
        let to = |n| if n == ALL { To::TheEnd } else { To::Turns(n) };
        let order: Vec<(usize, To)> = order.iter().map(|(who, n)| (*who, to(*n))).collect();
        self.play_to(&order, tasks).await
    }

    /// Lets those named go so far each, in this order; then whoever is left, one after the other.
    ///
    /// Answers whether everybody used all the turns given, and came to where it was to come.
    pub async fn play_to(&self, order: &[(usize, To)], tasks: &mut JoinSet<()>) -> bool {
        let mut left: Vec<(usize, To)> = order.to_vec();
        let mut all_used = true;
        let next = |all: &[(usize, &str)]| {
            loop {
                let Some((who, to)) = left.first_mut() else { return all[0].0 };
                let about = all.iter().find(|(waits, _)| waits == who).map(|(_, about)| *about);
                match (to, about) {
                    (To::Turns(n), Some(_)) if *n > 0 => {
                        *n -= 1;
                        return *who;
                    }
                    (To::Before(what), Some(about)) if !about.starts_with(*what) => return *who,
                    (To::TheEnd, Some(_)) => return *who,
                    (To::Turns(0) | To::TheEnd, _) | (To::Before(_), Some(_)) => {}
                    (To::Turns(_) | To::Before(_), None) => all_used = false,
                    (To::Turns(_), Some(_)) => unreachable!("it has turns left"),
                }
                left.remove(0);
            }
        };
        self.play_by(next, tasks, &BTreeMap::new()).await;
        all_used
    }

    async fn play_by(
        &self,
        mut choose: impl FnMut(&[(usize, &str)]) -> usize,
        tasks: &mut JoinSet<()>,
        killed: &BTreeMap<usize, usize>,
    ) {
        let mut had: BTreeMap<usize, usize> = BTreeMap::new();
        loop {
            while self.0.lock().unwrap().busy > 0 {
                tokio::task::yield_now().await;
                while let Some(done) = tasks.try_join_next() {
                    done.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()));
                }
            }
            let mut waiting = self.0.lock().unwrap();
            let alive = |who: &usize| killed.get(who).is_none_or(|at| had.get(who).unwrap_or(&0) < at);
            let living = waiting.turns.iter().filter(|(who, _)| alive(who));
            let all: Vec<(usize, &str)> = living.map(|(who, (about, _))| (*who, about.as_str())).collect();
            if all.is_empty() {
                break;
            }
            let next = choose(&all);
            *had.entry(next).or_insert(0) += 1;
            let (_, turn) = waiting.turns.remove(&next).expect("it waits");
            waiting.busy += 1;
            turn.send(()).expect("it waits");
        }
        tasks.abort_all();
        while let Some(done) = tasks.join_next().await {
            if let Err(error) = done
                && error.is_panic()
            {
                std::panic::resume_unwind(error.into_panic());
            }
        }
    }
}

struct Turned {
    inner: Arc<dyn Objects>,
    turns: Turns,
    who: usize,
}

#[async_trait]
impl Objects for Turned {
    async fn create(&self, key: &ObjectKey, bytes: Bytes) -> Result<Created, ObjectsError> {
        self.turns.wait(self.who, format!("create {key}")).await;
        self.inner.create(key, bytes).await
    }
    async fn overwrite(&self, key: &ObjectKey, bytes: Bytes) -> Result<(), ObjectsError> {
        self.inner.overwrite(key, bytes).await
    }
    async fn get(&self, key: &ObjectKey) -> Result<Option<Bytes>, ObjectsError> {
        // What is never overwritten and never reused reads the same a moment later; only absence has a time.
        let got = self.inner.get(key).await?;
        if got.is_none() {
            self.turns.wait(self.who, format!("get {key}")).await;
            return self.inner.get(key).await;
        }
        Ok(got)
    }
    async fn list(&self, prefix: &str, after: Option<&str>, limit: usize) -> Result<Vec<Listed>, ObjectsError> {
        self.turns.wait(self.who, format!("list {prefix}")).await;
        self.inner.list(prefix, after, limit).await
    }
    async fn delete(&self, key: &ObjectKey) -> Result<bool, ObjectsError> {
        self.turns.wait(self.who, format!("delete {key}")).await;
        self.inner.delete(key).await
    }
    async fn sync(&self) -> Result<(), ObjectsError> {
        self.inner.sync().await
    }
    async fn create_from_file(&self, key: &ObjectKey, source: &Path, how: TakeIn) -> Result<CreatedFile, ObjectsError> {
        self.turns.wait(self.who, format!("create {key}")).await;
        self.inner.create_from_file(key, source, how).await
    }
    fn packing(&self) -> Packing {
        self.inner.packing()
    }
    async fn local_path(&self, key: &ObjectKey) -> Result<Option<PathBuf>, ObjectsError> {
        self.inner.local_path(key).await
    }
    async fn open(&self, key: &ObjectKey) -> Result<Option<ObjectReader>, ObjectsError> {
        self.turns.wait(self.who, format!("open {key}")).await;
        self.inner.open(key).await
    }
    fn store_id(&self) -> &str {
        self.inner.store_id()
    }
}

/// The journals of a world: which run ended, under which driver.
#[derive(Clone, Default)]
pub struct Journals(pub Arc<Mutex<BTreeMap<RunId, u64>>>);

#[async_trait]
impl Caretaker for Journals {
    async fn ended(&self, run: &RunId) -> Result<Option<u64>, StoreError> {
        Ok(self.0.lock().unwrap().get(run).copied())
    }
    async fn sweep(&self, _: &SlotId, _: &StartRecord) -> bool {
        true
    }
    async fn closing(&self, _: &KeyView, _: &SlotId, start: &StartRecord) -> Result<Closed, StoreError> {
        Ok(closed(start.run.as_str()))
    }
}

/// Returns every object in the store.
pub async fn objects(bench: &Bench) -> BTreeSet<String> {
    let listed = bench.objects.list("data/", None, usize::MAX).await.unwrap();
    listed.into_iter().map(|listed| listed.key.to_string()).collect()
}
