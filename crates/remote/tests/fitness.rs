//! A bucket that would break the protocol is refused, for the right reason.
#![allow(clippy::disallowed_methods)]

mod place;

use prunella_bucketkit::Conditions;
use prunella_objects::ObjectsError;
use prunella_remote::{Depth, Finding, Remote, Report, Verdict, check};

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
async fn a_store_that_ignores_the_condition_of_large_uploads_is_named() {
    for place in Place::each_with(Conditions::IgnoredForParts) {
        let report = check(&place.sys, &place.url("store"), &place.options(), Depth::Thorough).await.unwrap();
        assert!(report.reason().unwrap().contains("an upload in parts"), "{:?}", report.findings);
    }
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
