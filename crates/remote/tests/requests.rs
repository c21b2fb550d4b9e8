//! What an operation costs in requests.
#![allow(clippy::disallowed_methods)]

mod place;

use std::collections::HashSet;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use prunella_objects::{Created, Exhibit, Instead, ObjectKey, Objects, ObjectsError, Showcases};
use prunella_remote::{Published, Remote};

use place::Place;

fn key(text: &str) -> ObjectKey {
    ObjectKey::new(text).unwrap()
}

#[tokio::test]
async fn each_operation_costs_as_few_requests_as_it_can() {
    for place in Place::each() {
        let remote = Remote::open(&place.sys, &place.url("store"), &place.options()).await.unwrap();
        let faults = place.server.faults();
        let mut last = faults.asked();
        let mut cost = || {
            let asked = faults.asked();
            asked - std::mem::replace(&mut last, asked)
        };
        assert_eq!(remote.create(&key("a"), "1".into()).await.unwrap(), Created::New);
        assert_eq!(cost(), 1, "a create");
        assert_eq!(remote.create(&key("a"), "2".into()).await.unwrap(), Created::There("1".into()));
        assert_eq!(cost(), 2, "a create that is told what is there");
        assert_eq!(remote.get(&key("a")).await.unwrap(), Some("1".into()));
        assert_eq!(cost(), 1, "a read");
        assert_eq!(remote.list("", None, 9).await.unwrap().len(), 1);
        assert_eq!(cost(), 1, "a short listing");
        remote.overwrite(&key("h"), "1".into()).await.unwrap();
        assert_eq!(cost(), 1, "a hint that is new");
        remote.overwrite(&key("h"), "2".into()).await.unwrap();
        assert_eq!(cost(), 1, "a hint that is known");
        remote.delete_seen(&key("a")).await.unwrap();
        assert_eq!(cost(), 1, "the deletion of what was seen");
        assert!(remote.delete(&key("h")).await.unwrap());
        assert_eq!(cost(), 2, "a deletion that says whether something was there");
        assert_eq!(remote.get(&key("a")).await.unwrap(), None);
    }
}

#[tokio::test]
async fn another_handle_renews_a_hint_and_overwrites_no_record() {
    for place in Place::each() {
        let open = async || Remote::open(&place.sys, &place.url("store"), &place.options()).await.unwrap();
        let (one, other) = (open().await, open().await);
        one.overwrite(&key("h"), "1".into()).await.unwrap();
        other.overwrite(&key("h"), "2".into()).await.unwrap();
        assert_eq!(one.get(&key("h")).await.unwrap(), Some("2".into()));
        assert_eq!(one.create(&key("r"), "1".into()).await.unwrap(), Created::New);
        let refused = other.overwrite(&key("r"), "2".into()).await;
        assert!(matches!(refused, Err(ObjectsError::Immutable { .. })), "{refused:?}");
        assert_eq!(one.get(&key("r")).await.unwrap(), Some("1".into()));
    }
}

#[tokio::test]
async fn names_of_others_below_the_prefix_are_passed_over_however_many_they_are() {
    let place = Place::new();
    let remote = Remote::open(&place.sys, &place.url("store"), &place.options()).await.unwrap();
    assert_eq!(remote.create(&key("data/key"), "1".into()).await.unwrap(), Created::New);
    // More than the listing asks for, of a character that no key has, and all of them before the key.
    let others = Published::new(&place.sys, place.options(), None);
    let others = others.open(&place.url("store/data").to_string()).await.unwrap();
    for n in 0..12 {
        let put = others.put(&format!("!{n:02}"), Exhibit::Bytes("x".into()), "none", &Instead::OfNothing).await;
        assert!(put.unwrap());
    }
    let listed = remote.list("data/", None, 5).await.unwrap();
    assert_eq!(listed.iter().map(|listed| listed.key.as_str()).collect::<Vec<_>>(), ["data/key"]);
    assert_eq!(others.list("!", 20).await.unwrap().len(), 12, "who publishes sees them all");
}

#[tokio::test]
async fn large_records_are_on_their_way_one_after_the_other_and_small_ones_beside_each_other() {
    const DELAY: Duration = Duration::from_millis(100);
    for place in Place::each() {
        let remote = Remote::open(&place.sys, &place.url("store"), &place.options()).await.unwrap();
        for n in 0..4_u8 {
            let bytes = vec![n; (3 << 20) + usize::from(n)];
            assert_eq!(remote.create(&key(&format!("r/large-{n}")), bytes.into()).await.unwrap(), Created::New);
        }
        for n in 0..16 {
            assert_eq!(remote.create(&key(&format!("r/small-{n}")), "x".into()).await.unwrap(), Created::New);
        }
        let faults = place.server.faults();
        let rests: Arc<Mutex<(HashSet<String>, Vec<Instant>)>> = Arc::default();
        let seen = rests.clone();
        faults.plan(move |asked| {
            let (begun, rests) = &mut *seen.lock().unwrap();
            if asked.path.contains("large-") && !begun.insert(asked.path.clone()) {
                rests.push(Instant::now());
            }
            None
        });
        faults.delay(DELAY);
        let found = remote.read_prefix("r/", usize::MAX).await.unwrap();
        faults.none();
        faults.delay(Duration::ZERO);
        assert_eq!(found.len(), 20);
        for (n, (_, bytes)) in found.iter().take(4).enumerate() {
            assert!(bytes.len() == (3 << 20) + n && bytes.iter().all(|byte| usize::from(*byte) == n));
        }
        let rests = &rests.lock().unwrap().1;
        assert_eq!(rests.len(), 4, "each is asked for its rest once");
        assert!(rests.windows(2).all(|pair| pair[1] - pair[0] >= DELAY), "one after the other: {rests:?}");
    }
}
