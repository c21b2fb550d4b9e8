//! I3, I5 and I6 of publications in buckets, where nothing can be locked.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use prunella_bucketkit::{ACCESS_KEY, Fault, S3Server, SECRET_KEY};
use prunella_model::{ArtifactKind, EffectHow, Epoch, RunId, SlotId, Target};
use prunella_objects::Objects;
use prunella_remote::{Options, Published};
use prunella_store::records::StoredArtifact;
use prunella_store::{Effect, HeadRecord, NewRun, Store, StoreError};
use prunella_sys::{MapEnv, Random, RealClock, SeededRandom, Sys};

use crate::bench::*;
use crate::gc_world::{ALL, Turns};

/// How an artifact lies in a bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    File,
    Heads,
    Mirror,
}

const FORMS: [Form; 3] = [Form::File, Form::Heads, Form::Mirror];

/// A store of this machine, and a bucket where it publishes.
struct Gallery {
    bench: Bench,
    server: S3Server,
}

impl Gallery {
    fn new() -> Self {
        Self { bench: Bench::memory(), server: S3Server::start("public") }
    }

    fn store(&self) -> Store {
        self.store_over(self.bench.objects.clone())
    }

    fn store_over(&self, objects: Arc<dyn Objects>) -> Store {
        let env = MapEnv::new("/").with("AWS_ACCESS_KEY_ID", ACCESS_KEY).with("AWS_SECRET_ACCESS_KEY", SECRET_KEY);
        let sys = Sys { clock: Arc::new(RealClock), env: Arc::new(env), ..self.bench.sys.clone() };
        let places = Published::new(&sys, Options::new(self.bench.scratch.path().join("cache")), None);
        Store::new(objects, sys).publishing(Arc::new(places), self.bench.scratch.path().join("send"))
    }

    fn url(&self) -> String {
        self.server.url("public", "site/page")
    }

    async fn begin(&self, name: &str) -> (RunId, u64) {
        let id = run(name);
        let new = NewRun { run: id.clone(), graph: graph("p"), brought: Vec::new(), targets: Vec::new(), base: None };
        let order = self.store().create_run(new).await.unwrap().order;
        (id, order)
    }

    /// A file, or a tree of two files, of this number.
    async fn artifact(&self, form: Form, number: u64) -> StoredArtifact {
        let path = self.bench.file(&format!("in/{form:?}-{number}/a page"), &page(number));
        self.bench.file(&format!("in/{form:?}-{number}/deep/of-{number}"), b"x");
        let (path, kind): (PathBuf, _) = match form {
            Form::File => (path, ArtifactKind::File),
            Form::Heads | Form::Mirror => (path.parent().unwrap().into(), ArtifactKind::Tree),
        };
        let taken = self.store().take_brought(&run("brought"), &path, kind).await.unwrap();
        let stored = taken.stored.clone();
        self.store().put_small(taken.objects).await.unwrap();
        stored
    }

    async fn effect(&self, form: Form, name: &str) -> Effect {
        let (id, order) = self.begin(name).await;
        Effect {
            pipeline: graph("p").pipeline.name,
            order,
            binding: 1,
            step: step("report"),
            output: port("page"),
            slot: SlotId { key: key(id.as_str()), epoch: Epoch(1) },
            stored: self.artifact(form, order).await,
            target: Target::Bucket(self.url()),
            mirror: form == Form::Mirror,
            base: None,
            run: id,
        }
    }

    fn names(&self) -> Vec<String> {
        self.server.objects().keys("public")
    }

    fn bytes(&self, name: &str) -> Option<Vec<u8>> {
        Some(self.server.objects().get("public", name)?.bytes.to_vec())
    }

    /// The number of the page that a reader finds; nothing if there is none.
    fn shown(&self, form: Form) -> Option<u64> {
        let name = match form {
            Form::File => "site/page".to_owned(),
            Form::Mirror => "site/page/a page".to_owned(),
            Form::Heads => {
                let head = self.names().into_iter().find(|name| name.starts_with("site/page/heads/"))?;
                let head: HeadRecord = serde_json::from_slice(&self.bytes(&head)?).unwrap();
                let below = format!("site/page/{}/", head.tree.hex());
                let files = self.names().iter().filter(|name| name.starts_with(&below)).count();
                assert_eq!(files, 2, "I3: a tree reached by its head is whole");
                format!("{below}a page")
            }
        };
        self.bytes(&name).map(|bytes| number(&bytes))
    }
}

fn page(number: u64) -> Vec<u8> {
    format!("{number}\n").repeat(5000).into_bytes()
}

fn number(page: &[u8]) -> u64 {
    let first = std::str::from_utf8(page).unwrap().lines().next().expect("I3: an empty page").parse().unwrap();
    assert!(page == self::page(first), "I3: a page of {first} is torn");
    first
}

#[tokio::test]
async fn i6_effect_what_is_published_is_there_whole_and_publishing_it_again_changes_nothing() {
    for form in FORMS {
        let gallery = Gallery::new();
        let (store, owner) = (gallery.store(), gallery.bench.owner(1));
        let first = gallery.effect(form, "first").await;
        assert_eq!(store.do_effect(&owner, &first, false).await.unwrap().how, EffectHow::Created, "{form:?}");
        assert_eq!(gallery.shown(form), Some(1));
        let there = gallery.names();
        let again = store.do_effect(&owner, &first, true).await.unwrap();
        assert_eq!((again.how, again.before), (EffectHow::Unchanged, false), "{form:?}");
        assert!(store.do_effect(&owner, &first, false).await.unwrap().before);
        assert_eq!(gallery.names(), there, "{form:?}");
        let second = gallery.effect(form, "second").await;
        assert_eq!(store.do_effect(&owner, &second, false).await.unwrap().how, EffectHow::Replaced, "{form:?}");
        assert_eq!(gallery.shown(form), Some(2));
        let late = store.do_effect(&owner, &first, true).await.unwrap();
        assert_eq!((late.how, late.by), (EffectHow::Superseded, Some(run("second"))), "{form:?}");
        assert_eq!(gallery.shown(form), Some(2), "{form:?}: an older run never replaces a newer one");
        let of_the_old = gallery.names().iter().filter(|name| name.ends_with("of-1")).count();
        let stays = usize::from(form == Form::Heads);
        assert_eq!(of_the_old, stays, "{form:?}: a mirror keeps nothing, heads keep every tree for whoever reads it");
        assert!(!gallery.bench.scratch.path().join("send").read_dir().unwrap().any(|_| true), "nothing is left behind");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn i3_whole_many_runs_at_once_in_one_place_only_ever_make_it_newer() {
    const RUNS: u64 = 5;
    /// The one that is there from the begin is a run, too, and the oldest.
    const NEWEST: u64 = RUNS + 1;
    for form in FORMS {
        let gallery = Arc::new(Gallery::new());
        // The oldest is there from the begin, so that whoever looks has seen something before the others come.
        gallery.store().do_effect(&gallery.bench.owner(99), &gallery.effect(form, "r0").await, false).await.unwrap();
        let mut effects = Vec::new();
        for number in 1..=RUNS {
            let effect = gallery.effect(form, &format!("r{number}")).await;
            // Two processes each: an engine, and one that took over from it a moment too early.
            effects.extend([effect.clone(), effect]);
        }
        let random = SeededRandom::new(11);
        for at in (1..effects.len()).rev() {
            effects.swap(at, (random.u64() % (at as u64 + 1)) as usize);
        }
        let (over, looks) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let watcher = {
            let (over, looks, gallery) = (over.clone(), looks.clone(), gallery.clone());
            std::thread::spawn(move || {
                let mut highest = 0;
                // A mirror is not atomic: an older file may be seen after a newer one, until the newest has ended.
                while form != Form::Mirror && !over.load(Ordering::Relaxed) {
                    if let Some(seen) = gallery.shown(form) {
                        assert!(seen >= highest, "I3: {seen} after {highest}");
                        highest = seen;
                        looks.fetch_add(1, Ordering::Relaxed);
                    }
                }
            })
        };
        while form != Form::Mirror && looks.load(Ordering::Relaxed) == 0 && !watcher.is_finished() {
            tokio::task::yield_now().await;
        }
        let mut doers = tokio::task::JoinSet::new();
        for (pid, effect) in effects.into_iter().enumerate() {
            let (store, owner) = (gallery.store(), gallery.bench.owner(pid as u32 + 1));
            doers.spawn(async move { store.do_effect(&owner, &effect, false).await.map(|made| (effect.order, made)) });
        }
        let made: Vec<_> = doers.join_all().await.into_iter().map(|made| made.unwrap()).collect();
        over.store(true, Ordering::Relaxed);
        watcher.join().unwrap();
        assert_eq!(gallery.shown(form), Some(NEWEST), "{form:?}");
        for (order, made) in made {
            assert!(order < NEWEST || made.by.is_none(), "{form:?}: nothing is newer than the newest");
        }
    }
}

#[tokio::test]
async fn i6_effect_an_answer_that_is_lost_anywhere_leaves_one_publication() {
    for form in FORMS {
        let gallery = Gallery::new();
        let (store, owner) = (gallery.store(), gallery.bench.owner(1));
        // Every request in turn is done, and its answer lost.
        for strike in 0..12 {
            let effect = gallery.effect(form, &format!("r{strike}")).await;
            let asked = AtomicU64::new(0);
            gallery
                .server
                .faults()
                .plan(move |_| (asked.fetch_add(1, Ordering::Relaxed) == strike).then_some(Fault::LostReply));
            let made = store.do_effect(&owner, &effect, false).await.unwrap();
            gallery.server.faults().none();
            assert_ne!(made.how, EffectHow::Superseded, "{form:?} {strike}");
            assert_eq!(gallery.shown(form), Some(effect.order), "{form:?} {strike}");
        }
    }
}

#[tokio::test]
async fn a_place_of_another_pipeline_is_refused_and_so_is_an_address_that_is_none() {
    for form in [Form::Heads, Form::Mirror] {
        let gallery = Gallery::new();
        let (store, owner) = (gallery.store(), gallery.bench.owner(1));
        let ours = gallery.effect(form, "ours").await;
        store.do_effect(&owner, &ours, false).await.unwrap();
        let theirs = Effect { pipeline: graph("other").pipeline.name, ..gallery.effect(form, "theirs").await };
        let refused = store.do_effect(&owner, &theirs, false).await.unwrap_err();
        assert!(matches!(refused, StoreError::Occupied { .. }), "{form:?}: {refused}");
        assert_eq!(gallery.shown(form), Some(1));
        // By hand, whoever asks for it means it.
        store.publish_in_bucket(&theirs, &gallery.url()).await.unwrap();
        for url in ["s3://public", "s3://public/a?secret=x", "ftp://public/a"] {
            let nowhere = Effect { target: Target::Bucket(url.to_owned()), ..ours.clone() };
            let refused = store.do_effect(&owner, &nowhere, false).await.unwrap_err();
            assert!(matches!(refused, StoreError::Occupied { .. }), "{url}: {refused}");
        }
    }
}

#[tokio::test]
async fn i3_whole_a_publisher_that_is_refused_from_any_request_on_leaves_nothing_half_shown_or_called_done() {
    for form in FORMS {
        let gallery = Gallery::new();
        let (store, owner) = (gallery.store(), gallery.bench.owner(1));
        let mut shown = None;
        for strike in 0..12 {
            let effect = gallery.effect(form, &format!("r{strike}")).await;
            let asked = AtomicU64::new(0);
            let refused = Fault::Status { status: 403, code: "AccessDenied", retry_after: None };
            gallery
                .server
                .faults()
                .plan(move |_| (asked.fetch_add(1, Ordering::Relaxed) >= strike).then(|| refused.clone()));
            let made = store.do_effect(&owner, &effect, false).await;
            gallery.server.faults().none();
            let now = gallery.shown(form);
            assert!(now == shown || now == Some(effect.order), "{form:?} {strike}: {now:?} after {shown:?}, {made:?}");
            // Whoever comes next does what is left, all of it.
            store.do_effect(&owner, &effect, true).await.unwrap();
            assert_eq!(gallery.shown(form), Some(effect.order), "{form:?} {strike}");
            let (of, below) = (format!("of-{}", effect.order), "site/page/");
            let whole = gallery.names().iter().any(|name| name.starts_with(below) && name.ends_with(&of));
            assert!(whole || form == Form::File, "{form:?} {strike}: the other file of the tree");
            shown = gallery.shown(form);
        }
    }
}

/// Stops the publication of an older run after so many turns at its own store, lets a newer one publish, and the older one go
/// on, where something has been published before, or nothing. Answers whether it had use for them all.
async fn older_beside_newer(form: Form, before: bool, turns_of_the_older: usize) -> bool {
    let gallery = Gallery::new();
    if before {
        let first = gallery.effect(form, "first").await;
        gallery.store().do_effect(&gallery.bench.owner(9), &first, false).await.unwrap();
    }
    let (older, newer) = (gallery.effect(form, "older").await, gallery.effect(form, "newer").await);
    let (newest, turns, mut tasks) = (newer.order, Turns::default(), tokio::task::JoinSet::new());
    for (who, effect) in [(1, older), (2, newer)] {
        let owner = gallery.bench.owner(who as u32);
        turns.join(&mut tasks, who, &gallery.bench, |store| {
            let store = gallery.store_over(store.objects().clone());
            async move { drop(store.do_effect(&owner, &effect, false).await.unwrap()) }
        });
    }
    let all_used = turns.play_in_order(&[(1, turns_of_the_older), (2, ALL), (1, ALL)], &mut tasks).await;
    assert_eq!(
        gallery.shown(form),
        Some(newest),
        "{form:?}: the older one was stopped after {turns_of_the_older} turns"
    );
    all_used
}

#[tokio::test]
async fn i5_fence_an_older_publication_that_stops_anywhere_never_hides_a_newer_one() {
    for form in FORMS {
        for before in [false, true] {
            let mut places = 0;
            while older_beside_newer(form, before, places).await {
                places += 1;
            }
            assert!(places > 5, "{form:?}: only {places} places");
        }
    }
}
