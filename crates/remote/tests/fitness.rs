//! A bucket that would break the protocol is refused, for the right reason.
#![allow(clippy::disallowed_methods)]

mod place;

use prunella_bucketkit::{Conditions, Fault};
use prunella_objects::{Exhibit, Instead, ObjectsError, Showcases};
use prunella_remote::{Depth, Finding, Published, Remote, Report, Verdict, check};

use place::Place;

#[tokio::test]
async fn a_bucket_that_does_what_is_needed_is_called_fit_and_left_as_it_was() {
    for place in Place::each() {
        let report = check(&place.sys, &place.url("store"), &place.options(), Depth::Thorough).await.unwrap();
        let of_rules = ["life cycle", "unfinished uploads", "versions", "retention"];
        let good = |finding: &Finding| finding.verdict == Verdict::Good || of_rules.contains(&finding.name);
        assert!(report.is_fit() && report.findings.iter().all(good), "{:?}", report.findings);
        assert!(report.figures.is_some());
        assert_eq!(place.server.objects().keys("bucket"), Vec::<String>::new(), "nothing is left behind");
    }
}

#[tokio::test]
async fn a_store_that_ignores_the_condition_is_refused_before_anything_is_written() {
    for place in Place::each_with(Conditions::Ignored) {
        let report = check(&place.sys, &place.url("store"), &place.options(), Depth::Thorough).await.unwrap();
        assert!(report.reason().unwrap().contains("ignores the condition of a create"), "{:?}", report.findings);
        let refused = Remote::open(&place.sys, &place.url("store"), &place.options()).await.err();
        assert!(
            matches!(refused, Some(ObjectsError::Unfit { message, .. }) if message.contains("ignores the condition"))
        );
        assert_eq!(place.server.objects().keys("bucket"), Vec::<String>::new());
    }
}

#[tokio::test]
async fn a_store_that_checks_beside_the_write_is_found_out_by_a_race() {
    for place in Place::each_with(Conditions::Racing) {
        let refused = Remote::open(&place.sys, &place.url("store"), &place.options()).await.err();
        assert!(matches!(refused, Some(ObjectsError::Unfit { message, .. }) if message.contains("beside the write")));
    }
}

#[tokio::test]
async fn a_store_that_ignores_the_condition_of_large_uploads_is_refused_before_anything_is_written() {
    for place in Place::each_with(Conditions::Radosgw) {
        let reason = "it ignores the condition of an upload in parts";
        let report = check(&place.sys, &place.url("store"), &place.options(), Depth::Thorough).await.unwrap();
        assert!(report.reason().unwrap().contains(reason), "{:?}", report.findings);
        // What no upload in parts would find.
        assert_eq!(said(&report, "races").verdict, Verdict::Good);
        let refused = Remote::open(&place.sys, &place.url("store"), &place.options()).await.err();
        assert!(matches!(refused, Some(ObjectsError::Unfit { message, .. }) if message.contains(reason)));
        assert_eq!(place.server.objects().keys("bucket"), Vec::<String>::new());
    }
}

#[tokio::test]
async fn what_a_service_knows_of_versions_is_a_note_for_those_who_publish_there() {
    let replacement = async |conditions: Conditions| {
        let place = Place::with(conditions);
        let report = check(&place.sys, &place.url("store"), &place.options(), Depth::Thorough).await.unwrap();
        report.findings.into_iter().find(|finding| finding.name == "replacement")
    };
    assert_eq!(replacement(Conditions::Atomic).await.unwrap().verdict, Verdict::Good);
    let radosgw = replacement(Conditions::Radosgw).await.unwrap();
    assert_eq!(radosgw.verdict, Verdict::Note);
    assert!(radosgw.text.contains("an upload in parts asks for (`If-Match`): of two that publish"), "{radosgw:?}");
    // A bucket that is refused for its creates is not asked for more.
    assert!(replacement(Conditions::Ignored).await.is_none());
}

/// radosgw 16 refuses a tag in quotes although it is the one that it shows: asked for again and again, a publication would not end.
#[tokio::test]
async fn a_publication_ends_where_a_tag_in_quotes_is_never_the_one_that_is_there() {
    let place = Place::with(Conditions::Radosgw);
    let url = place.url("reports").to_string();
    let showcase = Published::new(&place.sys, place.options(), None).open(&url).await.unwrap();
    let put = async |text: &'static str, instead: Instead| {
        showcase.put("", Exhibit::Bytes(text.as_bytes().into()), text, &instead).await.unwrap()
    };
    let version = async || showcase.look("").await.unwrap().unwrap().version;
    assert!(put("one", Instead::OfNothing).await);
    let first = version().await;
    assert!(put("two", Instead::Of(first.clone())).await);
    assert_eq!(place.server.objects().get("bucket", "reports").unwrap().bytes, "two");
    // What another put there meanwhile stays.
    assert!(!put("three", Instead::Of(first)).await);
    assert_eq!(place.server.objects().get("bucket", "reports").unwrap().bytes, "two");
    // A service that knows no version at all: the last writer wins, whole.
    let second = version().await;
    let asked = place.server.faults().asked();
    place.server.faults().plan(move |got| {
        let refused = Fault::Status { status: 412, code: "PreconditionFailed", retry_after: None };
        // A write and a look, twice; the third write asks for nothing.
        (got.method == "PUT" && got.number < asked + 4).then_some(refused)
    });
    assert!(put("four", Instead::Of(second)).await);
    assert_eq!(place.server.objects().get("bucket", "reports").unwrap().bytes, "four");
}

#[tokio::test]
async fn that_a_bucket_is_fit_is_found_out_once_a_machine() {
    for place in Place::each() {
        let (url, options) = (place.url("store"), place.options());
        let _made = Remote::open(&place.sys, &url, &options).await.unwrap();
        let asked = place.server.faults().asked();
        let _again = Remote::open(&place.sys, &url, &options).await.unwrap();
        assert_eq!(place.server.faults().asked() - asked, 1, "one request opens a store that is known");
    }
}

fn said<'a>(report: &'a Report, name: &str) -> &'a Finding {
    report.findings.iter().find(|finding| finding.name == name).expect("it was looked at")
}

#[tokio::test]
async fn a_rule_that_would_delete_a_store_is_named_and_one_that_may_not_be_seen_is_no_failure() {
    let place = Place::gcs();
    let looked = async || check(&place.sys, &place.url("team/store"), &place.options(), Depth::Thorough).await.unwrap();
    let report = looked().await;
    assert_eq!(said(&report, "life cycle").verdict, Verdict::Good);
    assert!(said(&report, "unfinished uploads").text.contains("let one abort them"));
    let expiry = |prefix: &str| {
        serde_json::json!({
            "lifecycle": { "rule": [{ "action": { "type": "Delete" }, "condition": { "age": 9, "matchesPrefix": [prefix] } }] },
            "versioning": { "enabled": true },
        })
    };
    place.server.objects().set_rules(expiry("team/"));
    let report = looked().await;
    let text = &said(&report, "life cycle").text;
    assert!(!report.is_fit() && text.contains("rule 1 (Delete)") && text.contains("after 9 days"), "{text}");
    assert!(said(&report, "versions").text.contains("no danger"));
    place.server.objects().set_rules(expiry("other/"));
    assert!(looked().await.is_fit());
    place.server.objects().hide_rules();
    let report = looked().await;
    assert!(
        report.is_fit() && said(&report, "life cycle").text.contains("storage.buckets.get"),
        "{:?}",
        report.findings
    );
}
