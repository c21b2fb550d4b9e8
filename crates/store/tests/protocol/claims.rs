//! Starting: who waits, who is dead, and many at once.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use prunella_model::{Epoch, SlotId};
use prunella_store::records::{AliveRecord, End};
use prunella_store::{Claimed, Filled, Layout};

use crate::bench::*;

/// What a member of the race does once it has a slot.
#[derive(Clone, Copy)]
enum Fate {
    Commits,
    Fails,
    Dies,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn i2_once_fifty_racing_claims_fill_every_slot_once_and_commit_once() {
    for bench in Bench::each() {
        let hurry = bench.hurry();
        let bench = Arc::new(bench);
        let mut members = tokio::task::JoinSet::new();
        for n in 0..50u32 {
            let bench = bench.clone();
            members.spawn(async move {
                let fate = match n % 5 {
                    0 => Fate::Dies,
                    1..4 => Fate::Fails,
                    _ => Fate::Commits,
                };
                let (store, pid) = (bench.member(), 1000 + n);
                let mut request = request(bench.owner(pid), &format!("run-{n}"));
                let mut filled = Vec::new();
                loop {
                    match store.claim(&request, &Words::default()).await.unwrap() {
                        Claimed::Reused(..) => return filled,
                        Claimed::Stopped => panic!("nobody stopped it"),
                        Claimed::Ours(slot, _) => match fate {
                            Fate::Dies => {
                                bench.dies(pid);
                                return filled;
                            }
                            Fate::Fails => {
                                if store.close(&slot, closed(&format!("run-{n}"))).await.unwrap() == Filled::Ours {
                                    filled.push((slot, "closed"));
                                }
                                // It comes again, as another process.
                                request.owner = bench.owner(pid + 1000);
                                if filled.len() == 2 {
                                    return filled;
                                }
                            }
                            Fate::Commits => {
                                let path = bench.file(&format!("{n}/{}", slot.epoch), b"result");
                                if commit(&store, &slot, &path).await.unwrap() == Filled::Ours {
                                    filled.push((slot, "committed"));
                                }
                                return filled;
                            }
                        },
                    }
                }
            });
        }
        let mut all: Vec<_> = members.join_all().await.into_iter().flatten().collect();
        hurry.abort();
        all.sort();
        let before = all.len();
        all.dedup_by_key(|(slot, _)| *slot);
        assert_eq!(all.len(), before, "{}: a slot was filled by two: {all:?}", bench.name);
        let store = bench.member();
        let view = store.look(&key("train")).await.unwrap();
        for (slot, how) in &all {
            let end = view.slots[&slot.epoch].end.as_ref().unwrap();
            assert_eq!(matches!(end.end, End::Committed(_)), *how == "committed", "{slot} is not what was answered");
        }
        assert!(check(&store, &key("train")).await.is_some(), "{}: nobody committed", bench.name);
    }
}

#[tokio::test]
async fn a_claim_waits_for_a_live_attempt_and_then_reuses_its_commit() {
    for bench in Bench::each() {
        let (first, second) = (bench.member(), bench.member());
        let slot = claim(&first, &request(bench.owner(1), "a")).await;
        let words = Arc::new(Words::default());
        let asked = request(bench.owner(2), "b");
        let waiting = tokio::spawn({
            let words = words.clone();
            async move { second.claim(&asked, &*words).await.unwrap() }
        });
        for _ in 0..5 {
            bench.clock.until_sleeping(1).await;
            bench.clock.advance(Duration::from_millis(200));
        }
        bench.clock.until_sleeping(1).await;
        assert!(words.waited() >= 5 && !waiting.is_finished());
        assert_eq!(commit(&first, &slot, &bench.file("out", b"x")).await.unwrap(), Filled::Ours);
        bench.clock.advance(Duration::from_millis(200));
        assert!(matches!(waiting.await.unwrap(), Claimed::Reused(reused, _) if reused == slot));
        assert_eq!(words.swept.load(Ordering::Relaxed), 0, "nobody was taken for dead");
    }
}

#[tokio::test]
async fn a_claim_fences_an_attempt_whose_processes_are_gone_after_a_sweep() {
    for bench in Bench::each() {
        let (first, second) = (bench.member(), bench.member());
        let mut owner = bench.owner(1);
        owner.guardian = bench.owner(2).process.into();
        let slot = claim(&first, &request(owner, "a")).await;
        let words = Arc::new(Words::default());
        let asked = request(bench.owner(3), "b");
        let waiting = tokio::spawn({
            let words = words.clone();
            async move { second.claim(&asked, &*words).await.unwrap() }
        });
        bench.clock.until_sleeping(1).await;
        // The engine alone is gone: its guardian may still hold the tree.
        bench.dies(1);
        bench.clock.advance(Duration::from_millis(200));
        bench.clock.until_sleeping(1).await;
        assert!(!waiting.is_finished());
        bench.dies(2);
        bench.clock.advance(Duration::from_millis(200));
        let Claimed::Ours(next, view) = waiting.await.unwrap() else { panic!("nothing was committed") };
        assert_eq!(next.epoch, Epoch(2));
        assert_eq!(words.swept.load(Ordering::Relaxed), 1);
        assert!(view.slots[&slot.epoch].end.is_some(), "the view shows the fence");
        assert_ne!(commit(&first, &slot, &bench.file("out", b"x")).await.unwrap(), Filled::Ours, "I5");
    }
}

#[tokio::test]
async fn another_boot_of_the_machine_is_death() {
    let bench = Bench::memory();
    let mut owner = bench.owner(1);
    owner.boot = "boot-0".into();
    claim(&bench.member(), &request(owner, "a")).await;
    assert_eq!(claim(&bench.member(), &request(bench.owner(2), "b")).await.epoch, Epoch(2));
}

#[tokio::test]
async fn a_number_used_again_by_another_process_is_not_taken_for_the_owner() {
    let bench = Bench::memory();
    claim(&bench.member(), &request(bench.owner(1), "a")).await;
    bench.machine.processes.lock().unwrap().insert(1, 77);
    assert_eq!(claim(&bench.member(), &request(bench.owner(2), "b")).await.epoch, Epoch(2));
}

#[tokio::test]
async fn an_attempt_on_another_machine_dies_by_its_lease_and_lives_by_its_counter() {
    for bench in Bench::each() {
        let (first, second) = (bench.elsewhere(), bench.member());
        let mut owner = bench.owner(1);
        owner.machine = "elsewhere".into();
        let slot = claim(&first, &request(owner, "a")).await;
        let asked = request(bench.owner(2), "b");
        let waiting = tokio::spawn(async move { second.claim(&asked, &Words::default()).await.unwrap() });
        let alive = |counter| AliveRecord::of(first.writer(), counter);
        // Five minutes with a sign of life every 50 s: it lives.
        for counter in 1..=6 {
            first.attempt_alive(&slot, &alive(counter)).await.unwrap();
            for _ in 0..10 {
                bench.clock.until_sleeping(1).await;
                bench.clock.advance(Duration::from_secs(5));
            }
            bench.clock.until_sleeping(1).await;
            assert!(!waiting.is_finished());
        }
        // A wall clock that jumps changes nothing; a minute without a sign does.
        bench.clock.jump_wall(86_400_000);
        bench.clock.advance(Duration::from_secs(5));
        bench.clock.until_sleeping(1).await;
        assert!(!waiting.is_finished());
        bench.clock.advance(Duration::from_secs(60));
        let Claimed::Ours(next, _) = waiting.await.unwrap() else { panic!("nothing was committed") };
        assert_eq!(next.epoch, Epoch(2));
    }
}

#[tokio::test]
async fn a_higher_retry_index_of_the_same_step_and_take_over_do_not_wait() {
    let bench = Bench::memory();
    let mut first = request(bench.owner(1), "a");
    first.retry_index = Some(0);
    claim(&bench.member(), &first).await;
    first.retry_index = Some(1);
    assert_eq!(claim(&bench.member(), &first).await.epoch, Epoch(2));
    let mut other = request(bench.owner(2), "b");
    other.take_over = true;
    assert_eq!(claim(&bench.member(), &other).await.epoch, Epoch(3));
    check(&bench.member(), &key("train")).await;
}

#[tokio::test]
async fn a_commit_that_came_in_while_a_start_was_made_is_reused_and_not_made_again() {
    for bench in Bench::each() {
        // A zombie's commit may land at any moment: here, right before the newcomer's start record.
        let store = bench.member();
        let slot = claim(&store, &request(bench.owner(1), "a")).await;
        bench.dies(1);
        assert_eq!(commit(&store, &slot, &bench.file("out", b"x")).await.unwrap(), Filled::Ours);
        let claimed = bench.member().claim(&request(bench.owner(2), "b"), &Words::default()).await.unwrap();
        assert!(matches!(claimed, Claimed::Reused(reused, _) if reused == slot));
        let view = store.look(&key("train")).await.unwrap();
        assert_eq!(view.slots.len(), 1, "{}", bench.name);
        let record = bench.objects.get(&Layout::start(&SlotId { key: key("train"), epoch: Epoch(2) })).await.unwrap();
        assert_eq!(record, None);
    }
}

#[tokio::test]
async fn a_claim_that_is_stopped_while_it_waits_takes_nothing() {
    for bench in Bench::each() {
        let slot = claim(&bench.member(), &request(bench.owner(1), "a")).await;
        let words = Words { impatient: true, ..Words::default() };
        // The clock stands: nothing but the stop ends the waiting.
        let claimed = bench.elsewhere().claim(&request(bench.owner(2), "b"), &words).await.unwrap();
        assert_eq!(claimed, Claimed::Stopped);
        let view = bench.member().look(&key("train")).await.unwrap();
        assert_eq!((view.slots.len(), view.highest()), (1, Some(slot.epoch)), "{}", bench.name);
    }
}

#[tokio::test]
async fn budgets_go_on_from_the_attempts_of_the_same_run_and_step_alone() {
    let bench = Bench::memory();
    let store = bench.member();
    for (pid, of) in [(1, "a"), (2, "b")] {
        let slot = claim(&store, &request(bench.owner(pid), of)).await;
        assert_eq!(store.close(&slot, closed(of)).await.unwrap(), Filled::Ours);
    }
    let view = store.look(&key("train")).await.unwrap();
    let newest = |of: &str, name: &str| view.newest_closed(&run(of), &step(name)).map(|(epoch, _)| epoch);
    assert_eq!((newest("a", "train"), newest("b", "train")), (Some(Epoch(1)), Some(Epoch(2))));
    assert_eq!((newest("c", "train"), newest("a", "other")), (None, None));
}
