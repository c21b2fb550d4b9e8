//! I3, I6 and I8 of publications beside others: many runs at once, answers that are lost, and collectors.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use prunella_model::{ArtifactKind, EffectHow, Epoch, RunId, SlotId, StepKey, Target};
use prunella_store::records::StoredArtifact;
use prunella_store::{Effect, NewRun, Retention, Store, StoreError};
use prunella_sys::{Random, RealClock, SeededRandom, Sys};
use prunella_testkit::{Fault, Faulty};

use crate::bench::*;
use crate::gc::settled;
use crate::gc_world::{Journals, To, Turns};

fn effect(id: &RunId, order: u64, key: StepKey, stored: &StoredArtifact, target: &Path) -> Effect {
    Effect {
        run: id.clone(),
        pipeline: graph("p").pipeline.name,
        order,
        binding: 1,
        step: step("report"),
        output: port("page"),
        slot: SlotId { key, epoch: Epoch(1) },
        stored: stored.clone(),
        target: Target::Path(target.to_owned()),
        mirror: false,
        base: None,
    }
}

async fn begin(store: &Store, id: &RunId) -> u64 {
    let new = NewRun { run: id.clone(), graph: graph("p"), brought: Vec::new(), targets: Vec::new(), base: None };
    store.create_run(new).await.unwrap().order
}

/// A page whose every line is the number, long enough to be seen torn.
fn page(number: u64) -> Vec<u8> {
    format!("{number}\n").repeat(20_000).into_bytes()
}

/// The number of a page that is whole.
fn number(page: &[u8]) -> u64 {
    let text = std::str::from_utf8(page).unwrap();
    let first: u64 = text.lines().next().expect("I3: an empty page").parse().unwrap();
    assert!(page == self::page(first), "I3: a page of {first} is torn");
    first
}

async fn stored(bench: &Bench, store: &Store, number: u64, kind: ArtifactKind) -> StoredArtifact {
    let path = bench.file(&format!("in/{kind:?}-{number}/page"), &page(number));
    let path: PathBuf = if kind == ArtifactKind::Tree { path.parent().unwrap().into() } else { path };
    let taken = store.take_brought(&run("brought"), &path, kind).await.unwrap();
    let stored = taken.stored.clone();
    store.put_small(taken.objects).await.unwrap();
    stored
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn i3_whole_many_runs_at_once_on_one_target_only_ever_make_it_newer() {
    const RUNS: u64 = 6;
    for kind in [ArtifactKind::File, ArtifactKind::Tree] {
        for bench in Bench::each() {
            let sys = Sys { clock: Arc::new(RealClock), ..bench.sys.clone() };
            let member = || Store::new(bench.objects.clone(), sys.clone());
            let target = bench.scratch.path().join("out/target");
            let shown = if kind == ArtifactKind::Tree { target.join("page") } else { target.clone() };
            let mut effects = Vec::new();
            for number in 1..=RUNS {
                let id = run(&format!("r{number}"));
                let order = begin(&member(), &id).await;
                let stored = stored(&bench, &member(), order, kind).await;
                // Two processes each: an engine, and one that took over from it a moment too early.
                for _ in 0..2 {
                    effects.push(effect(&id, order, key(id.as_str()), &stored, &target));
                }
            }
            let random = SeededRandom::new(7);
            for at in (1..effects.len()).rev() {
                effects.swap(at, (random.u64() % (at as u64 + 1)) as usize);
            }
            let over = Arc::new(AtomicBool::new(false));
            let watcher = {
                let (over, shown) = (over.clone(), shown.clone());
                std::thread::spawn(move || {
                    let (mut highest, mut looks) = (0, 0);
                    while !over.load(Ordering::Relaxed) {
                        if let Ok(page) = std::fs::read(&shown) {
                            let seen = number(&page);
                            assert!(seen >= highest, "I3: {seen} after {highest}");
                            (highest, looks) = (seen, looks + 1);
                        }
                    }
                    looks
                })
            };
            let mut doers = tokio::task::JoinSet::new();
            for (pid, effect) in effects.into_iter().enumerate() {
                let (store, owner) = (member(), bench.owner(pid as u32 + 1));
                doers.spawn(
                    async move { store.do_effect(&owner, &effect, false).await.map(|made| (effect.order, made)) },
                );
            }
            let made: Vec<_> = doers.join_all().await.into_iter().map(|made| made.unwrap()).collect();
            over.store(true, Ordering::Relaxed);
            assert!(watcher.join().unwrap() > 0, "{} {kind:?}: nobody looked in time", bench.name);
            assert_eq!(number(&std::fs::read(&shown).unwrap()), RUNS);
            for (order, made) in made {
                assert_eq!(made.how == EffectHow::Superseded, made.by.is_some());
                assert!(order < RUNS || made.by.is_none(), "nothing is newer than the newest");
            }
            let names = std::fs::read_dir(target.parent().unwrap()).unwrap();
            let names: Vec<_> = names.map(|entry| entry.unwrap().file_name()).collect();
            assert_eq!(names, ["target"], "nothing unfinished is left");
        }
    }
}

#[tokio::test]
async fn i3_whole_the_newest_is_looked_for_while_nobody_else_may_change_the_target() {
    for bench in Bench::each() {
        let out = bench.scratch.path().join("out");
        std::fs::create_dir(&out).unwrap();
        let target = out.join("page");
        let (old, new) = (run("old"), run("new"));
        let (first, second) = (begin(&bench.member(), &old).await, begin(&bench.member(), &new).await);
        let of_old = stored(&bench, &bench.member(), 1, ArtifactKind::File).await;
        let of_new = stored(&bench, &bench.member(), 2, ArtifactKind::File).await;
        let held = bench.sys.fs.try_lock_dir(&out).unwrap().expect("nobody has it");
        let start = |pid, effect: Effect| {
            let (store, owner) = (bench.member(), bench.owner(pid));
            tokio::spawn(async move { store.do_effect(&owner, &effect, false).await })
        };
        let older = start(1, effect(&old, first, key("old"), &of_old, &target));
        bench.clock.until_sleeping(1).await;
        let newer = start(2, effect(&new, second, key("new"), &of_new, &target));
        bench.clock.until_sleeping(2).await;
        assert!(!older.is_finished() && !newer.is_finished() && !target.exists(), "somebody has the directory");
        drop(held);
        let hurry = bench.hurry();
        let (older, newer) = (older.await.unwrap().unwrap(), newer.await.unwrap().unwrap());
        hurry.abort();
        assert_eq!((older.how, older.by), (EffectHow::Superseded, Some(new)), "{}: it looked too early", bench.name);
        assert!(newer.by.is_none(), "{newer:?}");
        assert_eq!(number(&std::fs::read(&target).unwrap()), 2);
    }
}

/// Stops the publication of an older run while it makes what it will show, lets a newer one publish, stops the older one again
/// after so many turns, and lets a run begin that publishes nothing yet. Answers whether all were used.
async fn begins_beside(turns_of_the_older: usize) -> bool {
    let bench = Bench::memory();
    let (store, target) = (bench.member(), bench.scratch.path().join("out/target"));
    let (turns, mut tasks) = (Turns::default(), tokio::task::JoinSet::new());
    for (who, name) in [(1, "older"), (2, "newer")] {
        let id = run(name);
        let order = begin(&store, &id).await;
        // So large that it is opened, which takes a turn; then it holds no lock yet.
        let path = bench.file(name, name.repeat(20_000).as_bytes());
        let stored = store.take_brought(&run("brought"), &path, ArtifactKind::File).await.unwrap().stored;
        let (effect, owner) = (effect(&id, order, key(name), &stored, &target), bench.owner(who as u32));
        turns.join(&mut tasks, who, &bench, |store| async move {
            store.do_effect(&owner, &effect, false).await.unwrap();
        });
    }
    turns.join(&mut tasks, 3, &bench, |store| async move {
        begin(&store, &run("newest")).await;
    });
    let order = [
        (1, To::Before("open data/")),
        (2, To::TheEnd),
        (1, To::Turns(turns_of_the_older)),
        (3, To::TheEnd),
        (1, To::TheEnd),
    ];
    let all_used = turns.play_to(&order, &mut tasks).await;
    let shown = std::fs::read(&target).unwrap();
    assert!(
        shown.starts_with(b"newer") && shown.len() == 100_000,
        "I6: a run began when the older publication had had {turns_of_the_older} turns more"
    );
    all_used
}

#[tokio::test]
async fn i6_effect_a_run_that_begins_while_newer_ones_are_looked_for_hides_none_of_them() {
    let mut places = 0;
    while begins_beside(places).await {
        places += 1;
    }
    assert!(places > 5, "only {places} places");
}

#[tokio::test]
async fn a_directory_that_somebody_has_for_long_is_a_failure_that_is_tried_again() {
    let bench = Bench::memory();
    let out = bench.scratch.path().join("out");
    std::fs::create_dir(&out).unwrap();
    let id = run("r");
    let order = begin(&bench.member(), &id).await;
    let stored = stored(&bench, &bench.member(), 1, ArtifactKind::File).await;
    let effect = effect(&id, order, key("r"), &stored, &out.join("page"));
    let held = bench.sys.fs.try_lock_dir(&out).unwrap().expect("nobody has it");
    let hurry = bench.hurry();
    let error = bench.member().do_effect(&bench.owner(1), &effect, false).await.unwrap_err();
    hurry.abort();
    assert!(
        matches!(&error, StoreError::Io { source, .. } if source.kind() == std::io::ErrorKind::TimedOut),
        "{error}"
    );
    drop(held);
    bench.member().do_effect(&bench.owner(1), &effect, false).await.unwrap();
    assert_eq!(number(&std::fs::read(effect.target.to_string()).unwrap()), 1);
}

#[tokio::test]
async fn i6_effect_killed_or_unanswered_at_any_operation_it_is_done_once_by_whoever_comes() {
    for fault in [Fault::Unreachable, Fault::LostReply] {
        for n in 0.. {
            let bench = Bench::memory();
            let target = bench.scratch.path().join("out/page");
            let (old, new) = (run("old"), run("new"));
            let (first, second) = (begin(&bench.member(), &old).await, begin(&bench.member(), &new).await);
            let of_old = stored(&bench, &bench.member(), 1, ArtifactKind::File).await;
            let of_new = stored(&bench, &bench.member(), 2, ArtifactKind::File).await;
            let (old, new) =
                (effect(&old, first, key("old"), &of_old, &target), effect(&new, second, key("new"), &of_new, &target));
            bench.member().do_effect(&bench.owner(1), &old, false).await.unwrap();
            let faulty = Faulty::new(bench.objects.clone());
            faulty.inject(n, fault);
            let store = Store::new(Arc::new(faulty.clone()), bench.sys.clone());
            let first_try = store.do_effect(&bench.owner(2), &new, false).await;
            let struck = !faulty.calm();
            bench.dies(2);
            let seen = number(&std::fs::read(&target).unwrap());
            assert!(seen == 2 || first_try.is_err(), "I6: answered and not there, {fault:?} at {n}");
            // Whoever comes next finishes it, and an older one that comes late changes nothing.
            bench.member().do_effect(&bench.owner(3), &new, false).await.unwrap();
            assert_eq!(number(&std::fs::read(&target).unwrap()), 2, "{fault:?} at {n}");
            let late = Effect { binding: 2, ..old };
            let made = bench.member().do_effect(&bench.owner(4), &late, true).await.unwrap();
            assert_eq!((made.how, made.by), (EffectHow::Superseded, Some(run("new"))), "{fault:?} at {n}");
            assert_eq!(number(&std::fs::read(&target).unwrap()), 2, "{fault:?} at {n}");
            let names = std::fs::read_dir(target.parent().unwrap()).unwrap();
            assert_eq!(names.count(), 1, "nothing unfinished is left, {fault:?} at {n}");
            if !struck {
                assert!(n > 8, "only {n} operations: the publication did nothing");
                break;
            }
        }
    }
}

#[tokio::test]
async fn i8_gc_an_open_effect_keeps_its_run_and_its_artifact_until_it_is_done() {
    for bench in Bench::each() {
        let journals = Journals::default();
        let keep = Retention { runs: 1, checkpoints: 1 };
        settled(&bench, &journals).await;
        let slot = SlotId { key: key("a"), epoch: Epoch(1) };
        let stored = bench.member().committed(&slot).await.unwrap().unwrap().artifacts[&port("out")].clone();
        let blocked = bench.file("blocked", b"a file where a directory should be");
        let owed = Effect {
            target: Target::Path(blocked.join("page")),
            slot,
            ..effect(&run("first"), 1, key("a"), &stored, &blocked)
        };
        let refused = bench.member().do_effect(&bench.owner(7), &owed, false).await.unwrap_err();
        assert!(matches!(refused, StoreError::Occupied { .. }), "{refused}");
        bench.dies(7);
        let collected = bench.member().collect(&journals, &keep).await.unwrap();
        assert!(collected.runs.is_empty() && collected.retired.is_empty(), "{}: {collected:?}", bench.name);
        std::fs::remove_file(&blocked).unwrap();
        bench.member().do_effect(&bench.owner(8), &owed, false).await.unwrap();
        assert_eq!(std::fs::read(owed.target.to_string()).unwrap(), b"first", "I8: {}", bench.name);
        // Now nothing needs it any more.
        bench.member().collect(&journals, &keep).await.unwrap();
        assert!(bench.member().verify(&stored).await.is_err(), "{}", bench.name);
        let other = Effect { target: Target::Path(blocked.join("other")), ..owed };
        let late = bench.member().do_effect(&bench.owner(9), &other, false).await.unwrap_err();
        assert!(matches!(late, StoreError::GivenUp { .. }), "{late}");
        assert!(!Path::new(&other.target.to_string()).exists(), "a run that was given up does nothing any more");
    }
}
