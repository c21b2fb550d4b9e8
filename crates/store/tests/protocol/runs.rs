//! Runs: one driver each, an order of their own, names that only move forward.

use std::collections::BTreeMap;
use std::sync::Arc;

use prunella_model::{Epoch, PipelineName, SlotId, StepId};
use prunella_objects::ObjectKey;
use prunella_store::records::{BoundStep, DriverRecord};
use prunella_store::{DriverLease, LEASE, NewRun, Refill, Store, StoreError};
use prunella_sys::Clock;

use crate::bench::*;

fn new(id: &str) -> NewRun {
    NewRun { run: run(id), graph: graph("p"), brought: Vec::new(), targets: Vec::new(), base: None }
}

fn number(lease: DriverLease) -> u64 {
    match lease {
        DriverLease::Ours { n, .. } => n,
        DriverLease::Live(n, there) => panic!("driver {n} lives: {there:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_fifty_engines_that_take_a_run_at_once_exactly_one_drives_it() {
    for bench in Bench::each() {
        let bench = Arc::new(bench);
        for round in 0..10 {
            let name = format!("r{round}");
            bench.member().create_run(new(&name)).await.unwrap();
            let mut engines = tokio::task::JoinSet::new();
            for n in 0..50 {
                let (store, owner, name) = (bench.member(), bench.owner(1000 + n), name.clone());
                engines.spawn(async move {
                    let lease = store.drive(&run(&name), &owner, false, false).await.unwrap();
                    (owner, lease)
                });
            }
            let (mut drivers, mut named) = (Vec::new(), Vec::new());
            for (owner, lease) in engines.join_all().await {
                match lease {
                    DriverLease::Ours { n, .. } => drivers.push((n, owner)),
                    DriverLease::Live(_, there) => named.push((owner, there.owner)),
                }
            }
            assert_eq!(drivers.len(), 1, "{}: {drivers:?}", bench.name);
            let (n, driver) = &drivers[0];
            bench.member().still_driving(&run(&name), *n).await.unwrap();
            for (refused, there) in &named {
                assert_ne!(refused, there, "{}: an engine was refused on account of itself", bench.name);
            }
            assert!(named.iter().any(|(_, there)| there == driver));
        }
    }
}

#[tokio::test]
async fn a_dead_driver_is_replaced_a_live_one_is_named_and_who_sees_a_higher_one_stops() {
    for bench in Bench::each() {
        let (first, second) = (bench.member(), bench.member());
        first.create_run(new("r")).await.unwrap();
        let mut owner = bench.owner(1);
        owner.guardian = bench.owner(9).process.into();
        assert_eq!(number(first.drive(&run("r"), &owner, false, false).await.unwrap()), 1);
        let lease = second.drive(&run("r"), &bench.owner(2), false, false).await.unwrap();
        assert!(matches!(lease, DriverLease::Live(1, there) if there.owner == owner));
        first.still_driving(&run("r"), 1).await.unwrap();
        // The engine dies; its guardian drives nothing.
        bench.dies(1);
        assert_eq!(number(second.drive(&run("r"), &bench.owner(2), false, false).await.unwrap()), 2);
        let error = first.still_driving(&run("r"), 1).await.unwrap_err();
        assert!(matches!(error, StoreError::Superseded { ours: 1, seen: 2, .. }));
        assert_eq!(number(first.drive(&run("r"), &bench.owner(3), true, false).await.unwrap()), 3);
        let (_, record, lives) = first.driver_of(&run("r")).await.unwrap().unwrap();
        assert!(record.took_over && lives == Some(true));
    }
}

#[tokio::test]
async fn i10_ends_a_driver_of_another_machine_is_replaced_when_it_gives_no_sign_of_life_for_a_lease() {
    for bench in Bench::each() {
        let (first, elsewhere) = (bench.member(), bench.elsewhere());
        first.create_run(new("r")).await.unwrap();
        assert_eq!(number(first.drive(&run("r"), &bench.owner(1), false, false).await.unwrap()), 1);
        first.driver_alive(&run("r"), 1, 7).await.unwrap();
        let owner = elsewhere.this_owner(None);
        // It lives: named as soon as its sign of life moves. Time passes once that stands: here it takes as long as it takes.
        let (id, watched) = (run("r"), tokio::sync::Notify::new());
        let watching = |_: &DriverRecord| watched.notify_one();
        let began = bench.clock.monotonic();
        let mut hurrying = None;
        let (lease, ()) =
            tokio::join!(elsewhere.drive_refilling(&id, &owner, false, Refill::default(), &watching), async {
                watched.notified().await;
                first.driver_alive(&run("r"), 1, 8).await.unwrap();
                hurrying = Some(bench.hurry());
            });
        assert!(matches!(lease.unwrap(), DriverLease::Live(1, _)), "{}", bench.name);
        assert!(bench.clock.monotonic() - began < LEASE, "{}: it need not be watched for long", bench.name);
        // It is dead, and nobody here can know that but by its silence.
        bench.dies(1);
        let began = bench.clock.monotonic();
        assert_eq!(number(elsewhere.drive(&run("r"), &owner, false, false).await.unwrap()), 2, "{}", bench.name);
        assert!(bench.clock.monotonic() - began >= LEASE, "{}: no sooner", bench.name);
        hurrying.expect("it was started").abort();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn fifty_runs_begun_at_once_get_fifty_numbers() {
    for bench in Bench::each() {
        let mut runs = tokio::task::JoinSet::new();
        for n in 0..50 {
            let store = bench.member();
            runs.spawn(async move { store.create_run(new(&format!("r{n}"))).await.unwrap().order });
        }
        let mut orders = runs.join_all().await;
        orders.sort();
        let before = orders.len();
        orders.dedup();
        assert_eq!(orders.len(), before, "{}: {orders:?}", bench.name);
    }
}

#[tokio::test]
async fn a_run_that_started_earlier_never_wins_the_names_however_late_it_finishes() {
    for bench in Bench::each() {
        let store = bench.member();
        let name = PipelineName::new("p").unwrap();
        let early = store.create_run(new("early")).await.unwrap().order;
        let late = store.create_run(new("late")).await.unwrap().order;
        assert!(early < late);
        store.move_names(&name, late, &run("late"), BTreeMap::new()).await.unwrap();
        store.move_names(&name, early, &run("early"), BTreeMap::new()).await.unwrap();
        assert_eq!(store.names(&name).await.unwrap().unwrap().run, run("late"), "{}", bench.name);
        let listed: Vec<_> = store.runs_of(&name, 9).await.unwrap().into_iter().map(|run| run.run).collect();
        assert_eq!(listed, [run("late"), run("early")]);
    }
}

#[tokio::test]
async fn the_highest_binding_holds() {
    for bench in Bench::each() {
        let store: Store = bench.member();
        let slot = claim(&store, &request(bench.owner(1), "a")).await;
        let second = SlotId { epoch: slot.epoch.next(), ..slot };
        for (n, slot) in [(1, slot), (11, second), (2, slot)] {
            let op = Store::binding_op(&run("a"), &step("train"), n, slot);
            bench.objects.batch(vec![op]).await.unwrap();
        }
        assert_eq!(store.binding(&run("a"), &step("train")).await.unwrap(), Some(second), "{}", bench.name);
        assert_eq!(store.bindings(&run("a")).await.unwrap()[&step("train")], (11, second));
    }
}

#[tokio::test]
async fn a_run_that_was_killed_before_its_graph_stood_never_began() {
    for bench in Bench::each() {
        let store = bench.member();
        let name = PipelineName::new("p").unwrap();
        let first = store.create_run(new("first")).await.unwrap().order;
        // Three that only have their places in the order, as a kill leaves them.
        let key = prunella_store::Layout::order(&name, first);
        let record = bench.objects.get(&key).await.unwrap().unwrap();
        for n in 1..=3 {
            let (record, _its_sum) = std::str::from_utf8(&record).unwrap().rsplit_once(",\"sum\"").unwrap();
            let ghost = record.replace("first", &format!("ghost-{n}")) + "}";
            let key = prunella_store::Layout::order(&name, first + n);
            let _new = bench.objects.create(&key, ghost.into_bytes().into()).await.unwrap();
        }
        let runs = |listed: Vec<prunella_store::RunListed>| listed.into_iter().map(|one| one.run).collect::<Vec<_>>();
        assert_eq!(runs(store.runs().await.unwrap()), [run("first")], "{}", bench.name);
        assert_eq!(runs(store.runs_of(&name, 1).await.unwrap()), [run("first")], "{}", bench.name);
        let next = store.create_run(new("next")).await.unwrap();
        assert_eq!(next.order, first + 4, "their numbers are not given again");
        assert_eq!(runs(store.runs_of(&name, 1).await.unwrap()), [run("next")]);
        assert_eq!(runs(store.runs_of(&name, 2).await.unwrap()), [run("next"), run("first")]);
    }
}

#[tokio::test]
async fn many_bindings_stand_in_one_record_and_the_highest_holds_wherever_it_stands() {
    for bench in Bench::each() {
        let (store, of) = (bench.member(), run("a"));
        let slot = |name: &str, epoch| SlotId { key: key(name), epoch: Epoch(epoch) };
        let name = |n: u64| format!("s{n}");
        let bound =
            |epoch| (0..100).map(|n| BoundStep(step(&name(n)), epoch, slot(&name(n), epoch))).collect::<Vec<_>>();
        let many = Store::binding_ops(&of, "page-2", bound(2));
        assert_eq!(many.len(), 1, "{}", bench.name);
        store.objects().batch(many).await.unwrap();
        // One that is older, and one that is newer, each by itself.
        let alone = |n: u64, epoch| Store::binding_op(&of, &step(&name(n)), epoch, slot(&name(n), epoch));
        store.objects().batch(vec![alone(7, 1), alone(8, 3)]).await.unwrap();
        let few = Store::binding_ops(&of, "page-3", bound(1)[..3].to_vec());
        assert_eq!(few.len(), 3);
        let bindings = store.bindings(&of).await.unwrap();
        assert_eq!(bindings.len(), 100);
        for (n, epoch) in [(7, 2), (8, 3), (99, 2)] {
            assert_eq!(bindings[&step(&name(n))], (epoch, slot(&name(n), epoch)));
            assert_eq!(store.binding(&of, &step(&name(n))).await.unwrap(), Some(slot(&name(n), epoch)));
        }
        assert_eq!(store.binding(&of, &step("s100")).await.unwrap(), None, "a name that only begins so is another");
        // What the journal does not tell yet is shown; what it tells is not read a second time.
        let steps = [step("s7"), step("s8"), step("s99")];
        let asked: Vec<&StepId> = steps.iter().collect();
        let keys = store.binding_keys(&of).await.unwrap();
        assert_eq!(store.bindings_at(&of, &asked, &keys).await.unwrap().len(), 3);
        let segment = ObjectKey::new("runs/a/journal/page-2").unwrap();
        let _told = store.objects().create(&segment, "x".into()).await.unwrap();
        let alone = store.bindings_at(&of, &asked, &keys).await.unwrap();
        assert_eq!(alone.keys().collect::<Vec<_>>(), [&step("s7"), &step("s8")]);
    }
}
