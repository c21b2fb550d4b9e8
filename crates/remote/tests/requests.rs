//! What an operation costs in requests.
#![allow(clippy::disallowed_methods)]

mod place;

use prunella_objects::{Created, ObjectKey, Objects, ObjectsError};
use prunella_remote::Remote;

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
