//! Amazon EC2: interruptions of spot instances, and recommendations to leave.

use std::time::Duration;

use serde::Deserialize;

use super::{CloudNotice, Seen, Unreadable, moment::rfc3339, span_until, unreadable};

/// Notices are given two minutes ahead.
pub const MOST: Duration = Duration::from_secs(120);

#[derive(Deserialize)]
struct InstanceAction {
    action: String,
    time: String,
}

#[derive(Deserialize)]
struct Recommendation {
    #[serde(rename = "noticeTime")]
    notice_time: String,
}

/// Reads `spot/instance-action`; `now_ms` is the wall clock when it was answered.
///
/// `stop`, `terminate` and `hibernate` all end what runs, and so does an action that is not known yet.
///
/// # Errors
/// [`Unreadable`] if it is not JSON with `action` and `time`.
pub fn instance_action(body: &str, now_ms: i64) -> Result<Seen, Unreadable> {
    let wrong = || unreadable("instance-action", body);
    let read: InstanceAction = serde_json::from_str(body).map_err(|_| wrong())?;
    let at_ms = rfc3339(&read.time).ok_or_else(wrong)?;
    let what = read.action.chars().filter(|c| c.is_ascii_alphanumeric() || *c == '-').take(40).collect();
    Ok(Seen::Notice(CloudNotice { within: span_until(at_ms, now_ms, MOST), what }))
}

/// Reads `events/recommendations/rebalance`: the machine is more likely than usual to be interrupted.
///
/// # Errors
/// [`Unreadable`] if it is not JSON with an instant.
pub fn rebalance(body: &str) -> Result<Seen, Unreadable> {
    let wrong = || unreadable("rebalance", body);
    let read: Recommendation = serde_json::from_str(body).map_err(|_| wrong())?;
    rfc3339(&read.notice_time).ok_or_else(wrong)?;
    Ok(Seen::Hint("rebalance recommendation: this machine is more likely to be interrupted".to_owned()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// 2017-09-18T08:20:00Z
    const NOW: i64 = 1_505_722_800_000;

    fn within(body: &str, now_ms: i64) -> Duration {
        match instance_action(body, now_ms) {
            Ok(Seen::Notice(notice)) => notice.within,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_documents_examples_are_read() {
        let body = r#"{"action": "stop", "time": "2017-09-18T08:22:00Z"}"#;
        let notice = CloudNotice { within: Duration::from_secs(120), what: "stop".into() };
        assert_eq!(instance_action(body, NOW), Ok(Seen::Notice(notice)));
        let body = r#"{"action": "terminate", "time": "2017-09-18T08:22:00Z"}"#;
        assert_eq!(within(body, NOW + 20_500), Duration::from_millis(99_500));
        assert!(matches!(rebalance(r#"{"noticeTime": "2020-10-27T08:22:00Z"}"#), Ok(Seen::Hint(_))));
    }

    #[test]
    fn a_wall_clock_that_is_wrong_neither_kills_at_once_nor_waits_longer_than_promised() {
        let body = r#"{"action": "terminate", "time": "2017-09-18T08:22:00Z"}"#;
        assert_eq!(within(body, NOW + 3_600_000), super::super::LEAST);
        assert_eq!(within(body, NOW - 3_600_000), MOST);
        assert_eq!(within(body, i64::MIN), MOST);
        assert_eq!(within(body, i64::MAX), super::super::LEAST);
    }

    #[test]
    fn what_is_no_answer_is_said() {
        for body in ["", "<html>", "null", "[]", r#"{"action":"stop"}"#, r#"{"action":1,"time":2}"#] {
            assert!(instance_action(body, NOW).is_err() && rebalance(body).is_err(), "{body}");
        }
        let error = instance_action("{\"action\":\"stop\",\"time\":\"\u{1b}[2Jsoon\"}", NOW).expect_err("no instant");
        assert!(!error.to_string().contains('\u{1b}'), "{error}");
    }

    proptest! {
        #[test]
        fn no_text_panics(body in ".*", time in ".*", now: i64) {
            let _any = (instance_action(&body, now), rebalance(&body));
            let body = serde_json::json!({ "action": body, "time": time, "noticeTime": time }).to_string();
            let _any = (instance_action(&body, now), rebalance(&body));
        }

        #[test]
        fn notices_stay_within_what_is_promised(now in 0i64..4_000_000_000_000) {
            let left = within(r#"{"action": "stop", "time": "2017-09-18T08:22:00Z"}"#, now);
            prop_assert!(left <= MOST && left >= super::super::LEAST);
        }
    }
}
