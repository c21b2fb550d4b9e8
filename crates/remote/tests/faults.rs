//! Whatever a store does on the way, an answer says only what is known.
#![allow(clippy::disallowed_methods)]

mod place;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use prunella_bucketkit::{Asked, Fault};
use prunella_objects::{Created, CreatedFile, Freshness, ObjectKey, Objects, ObjectsError, TakeIn};
use prunella_remote::{Options, Remote};

use place::Place;

fn key(text: &str) -> ObjectKey {
    ObjectKey::new(text).unwrap()
}

async fn open(place: &Place) -> Remote {
    Remote::open(&place.sys, &place.url("store"), &place.options()).await.unwrap()
}

/// Lets the first `times` requests suffer a fault.
fn first(place: &Place, times: usize, fault: Fault) {
    let left = AtomicUsize::new(times);
    place.server.faults().plan(move |_| {
        let strikes = left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok();
        strikes.then(|| fault.clone())
    });
}

fn is_write(asked: &Asked) -> bool {
    matches!(asked.method.as_str(), "PUT" | "POST")
}

fn status(status: u16, code: &'static str) -> Fault {
    Fault::Status { status, code, retry_after: None }
}

/// What a store does for a while and then no more.
fn passing() -> Vec<Fault> {
    vec![
        status(500, "InternalError"),
        status(503, "SlowDown"),
        status(429, "TooManyRequests"),
        status(409, "ConditionalRequestConflict"),
        status(400, "RequestTimeout"),
        status(404, ""),
        Fault::Lost,
        Fault::LostReply,
        Fault::DoneAndStatus(500),
        Fault::DoneAndStatus(503),
        Fault::CutBody(3),
    ]
}

#[tokio::test]
async fn every_operation_gets_over_every_passing_fault() {
    for place in Place::each() {
        let remote = open(&place).await;
        for (n, fault) in passing().into_iter().enumerate() {
            let name = key(&format!("data/aa/{n}"));
            let body = Bytes::from(format!("body {n} which is not short"));
            first(&place, 2, fault.clone());
            // After a reply that was lost, what is there is one's own: the caller knows it by its writer id.
            let created = remote.create(&name, body.clone()).await.unwrap();
            assert!(created == Created::New || created == Created::There(body.clone()), "{fault:?}");
            first(&place, 2, fault.clone());
            assert_eq!(remote.get(&name).await.unwrap(), Some(body.clone()), "{fault:?}");
            first(&place, 2, fault.clone());
            assert_eq!(remote.list("data/aa/", None, 100).await.unwrap().len(), n + 1, "{fault:?}");
            let hint = key(&format!("x/{n}.alive.json"));
            first(&place, 2, fault.clone());
            remote.overwrite(&hint, "1".into()).await.unwrap();
            first(&place, 2, fault.clone());
            assert!(remote.delete(&hint).await.unwrap(), "{fault:?}");
            place.server.faults().none();
            assert_eq!(remote.get(&hint).await.unwrap(), None, "{fault:?}");
        }
        assert!(remote.traffic().retries() > 40);
    }
}

#[tokio::test]
async fn a_create_whose_replies_are_all_lost_is_undecided_and_never_called_failed() {
    for place in Place::each() {
        let remote = open(&place).await;
        let hasty = Options { patience: Duration::from_millis(300), ..place.options() };
        let hasty = Remote::open(&place.sys, &place.url("store"), &hasty).await.unwrap();
        for fault in [Fault::LostReply, Fault::Lost, Fault::DoneAndStatus(500), status(503, "SlowDown")] {
            let said = fault.clone();
            place.server.faults().plan(move |asked| is_write(asked).then(|| said.clone()));
            let name = key(&format!("slot-{}", place.server.faults().asked()));
            let outcome = hasty.create(&name, "mine".into()).await;
            assert!(matches!(outcome, Err(ObjectsError::Undecided { .. })), "{fault:?}: {outcome:?}");
        }
        // Nothing was done, and the store said so each time: that is no lost reply.
        place.server.faults().plan(|asked| is_write(asked).then(|| status(429, "TooManyRequests")));
        let refused = hasty.create(&key("not-done"), "mine".into()).await;
        assert!(matches!(refused, Err(ObjectsError::Unreachable { .. })), "{refused:?}");
        place.server.faults().none();
        assert_eq!(remote.get(&key("not-done")).await.unwrap(), None);
    }
}

#[tokio::test]
async fn what_may_have_been_done_stays_undecided_whatever_is_said_after_it() {
    for after in [status(403, "AccessDenied"), status(429, "TooManyRequests"), status(501, "NotImplemented")] {
        let place = Place::new();
        let hasty = Options { patience: Duration::from_millis(300), ..place.options() };
        let remote = Remote::open(&place.sys, &place.url("store"), &hasty).await.unwrap();
        let (begun, said) = (AtomicUsize::new(0), after.clone());
        place.server.faults().plan(move |_| match begun.fetch_add(1, Ordering::Relaxed) {
            0 => Some(Fault::LostReply),
            _ => Some(said.clone()),
        });
        let outcome = remote.create(&key("slot"), "mine".into()).await;
        assert!(matches!(outcome, Err(ObjectsError::Undecided { .. })), "{after:?}: {outcome:?}");
        place.server.faults().none();
        assert_eq!(remote.get(&key("slot")).await.unwrap(), Some("mine".into()), "it was done");
    }
}

#[tokio::test]
async fn who_is_told_that_something_is_there_and_finds_nothing_creates_it_again() {
    for place in Place::each() {
        let remote = open(&place).await;
        first(&place, 1, status(412, "PreconditionFailed"));
        assert_eq!(remote.create(&key("slot"), "mine".into()).await.unwrap(), Created::New);
        assert_eq!(remote.get(&key("slot")).await.unwrap(), Some("mine".into()));
        // A service that never makes up its mind is no success.
        place.server.faults().plan(|asked| is_write(asked).then(|| status(412, "PreconditionFailed")));
        let outcome = remote.create(&key("other"), "mine".into()).await;
        assert!(matches!(outcome, Err(ObjectsError::Undecided { .. })), "{outcome:?}");
    }
}

#[tokio::test]
async fn a_store_that_does_not_answer_is_no_absence() {
    for place in Place::each() {
        let hasty = Options { patience: Duration::from_millis(200), ..place.options() };
        let remote = Remote::open(&place.sys, &place.url("store"), &hasty).await.unwrap();
        let _new = remote.create(&key("a"), "1".into()).await.unwrap();
        // A proxy's own 404 and a store that is out of order say nothing about the object.
        for fault in [status(404, ""), status(404, "NotHere"), status(500, "InternalError"), Fault::Lost] {
            place.server.faults().plan(move |_| Some(fault.clone()));
            for name in ["a", "absent"] {
                let read = remote.get(&key(name)).await;
                assert!(matches!(read, Err(ObjectsError::Unreachable { .. })), "{read:?}");
                let opened = remote.open(&key(name)).await;
                assert!(matches!(opened, Err(ObjectsError::Unreachable { .. })), "{opened:?}");
                assert!(remote.list("", None, 9).await.is_err());
            }
        }
        place.server.faults().none();
        assert_eq!(remote.get(&key("absent")).await.unwrap(), None);
    }
}

#[tokio::test]
async fn refusals_end_at_once_and_are_named() {
    for place in Place::each() {
        let remote = open(&place).await;
        let asked = place.server.faults().asked();
        place.server.faults().plan(|_| Some(status(403, "AccessDenied")));
        let refused = remote.create(&key("a"), "1".into()).await;
        assert!(matches!(refused, Err(ObjectsError::Forbidden { .. })), "{refused:?}");
        place.server.faults().none();
        assert_eq!(place.server.faults().asked(), asked + 1, "what is refused is not asked again");
        place.server.objects().remove_bucket("bucket");
        let gone = remote.get(&key("a")).await;
        assert!(matches!(gone, Err(ObjectsError::NoBucket { .. })), "a lost bucket is no lost object: {gone:?}");
    }
}

#[tokio::test]
async fn a_store_that_asks_for_time_gets_it() {
    let place = Place::new();
    let remote = open(&place).await;
    first(&place, 1, Fault::Status { status: 503, code: "SlowDown", retry_after: Some(1) });
    let begun = place.sys.clock.monotonic();
    let _new = remote.create(&key("a"), "1".into()).await.unwrap();
    assert!(place.sys.clock.monotonic() - begun >= Duration::from_secs(1));
}

#[tokio::test]
async fn large_objects_come_and_go_whole_whatever_happens_on_the_way() {
    for place in Place::each() {
        let remote = open(&place).await;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("large");
        let size: u64 = (70 << 20) + 17;
        let mut bytes = vec![0; size as usize];
        place.sys.random.fill(&mut bytes);
        std::fs::write(&path, &bytes).unwrap();
        let count = Arc::new(AtomicUsize::new(0));
        let counted = count.clone();
        // Every fifth request goes wrong, each time in another way.
        place.server.faults().plan(move |_| {
            let n = counted.fetch_add(1, Ordering::Relaxed);
            let ways = passing();
            (n % 5 == 4).then(|| ways[(n / 5) % ways.len()].clone())
        });
        let created = remote.create_from_file(&key("data/aa/large"), &path, TakeIn::Copy).await.unwrap();
        assert!(
            matches!(created, CreatedFile::New { size_bytes } | CreatedFile::There { size_bytes } if size_bytes == size)
        );
        for fresh in [true, false, false] {
            let opened = if fresh {
                remote.open_fresh(&key("data/aa/large")).await
            } else {
                remote.open(&key("data/aa/large")).await
            };
            let mut read = Vec::new();
            std::io::Read::read_to_end(&mut opened.unwrap().unwrap(), &mut read).unwrap();
            assert!(read == bytes, "read whole");
        }
        assert!(count.load(Ordering::Relaxed) > 10, "the faults had something to strike");
    }
}

#[tokio::test]
async fn what_comes_is_handed_on_once_and_in_order_whatever_happens_on_the_way() {
    for place in Place::each() {
        let remote = open(&place).await;
        let mut bytes = vec![0; 1 << 20];
        place.sys.random.fill(&mut bytes);
        assert_eq!(remote.create(&key("data/aa/object"), Bytes::from(bytes.clone())).await.unwrap(), Created::New);
        let pour = async |offset: usize, size: usize| {
            let came = Mutex::new(Vec::new());
            let take = |piece: Bytes| came.lock().unwrap().extend_from_slice(&piece);
            let object = key("data/aa/object");
            let n = remote.pour_range(&object, offset as u64, size, Freshness::Fresh, &take).await.unwrap();
            assert_eq!(n, Some(came.lock().unwrap().len()));
            came.into_inner().unwrap()
        };
        for fault in passing().into_iter().chain([Fault::CutBody(300_000)]) {
            for (offset, size) in [(0, 1 << 20), (77_777, 600_000), ((1 << 20) - 5, 50), (1 << 20, 7)] {
                first(&place, 3, fault.clone());
                let end = (offset + size).min(bytes.len());
                assert!(pour(offset, size).await == bytes[offset.min(end)..end], "{fault:?} {offset} {size}");
            }
        }
        place.server.faults().none();
        let absent = key("data/aa/absent");
        assert_eq!(remote.pour_range(&absent, 0, 5, Freshness::Fresh, &|_| panic!("of nothing")).await.unwrap(), None);
    }
}

#[tokio::test]
async fn a_copy_on_this_machine_is_read_instead_and_never_believed_against_the_store() {
    let place = Place::new();
    let remote = open(&place).await;
    let name = key("data/aa/x");
    let _new = remote.create(&name, Bytes::from(vec![7; 100_000])).await.unwrap();
    let read = async |fresh: bool| {
        let opened = if fresh { remote.open_fresh(&name).await } else { remote.open(&name).await };
        let mut bytes = Vec::new();
        std::io::Read::read_to_end(&mut opened.unwrap().unwrap(), &mut bytes).unwrap();
        bytes
    };
    assert_eq!(read(false).await, vec![7; 100_000]);
    let asked = place.server.faults().asked();
    assert_eq!(read(false).await, vec![7; 100_000]);
    assert_eq!(place.server.faults().asked(), asked, "a copy costs no request");
    let copy = place.cache().join(remote.store_id()).join("data/aa/x");
    std::fs::remove_file(&copy).unwrap();
    std::fs::write(&copy, b"rotten").unwrap();
    assert_eq!(read(false).await, b"rotten", "whoever reads compares with the digest that was recorded");
    assert_eq!(read(true).await, vec![7; 100_000]);
    assert_eq!(read(false).await, vec![7; 100_000], "the bad copy was replaced");
}
