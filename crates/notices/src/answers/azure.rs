//! Microsoft Azure: scheduled events.

use std::time::Duration;

use serde::Deserialize;

use super::{CloudNotice, LEAST, Seen, Unreadable, moment, span_until, unreadable};

/// No event is announced longer ahead than a quarter of an hour.
pub const MOST: Duration = Duration::from_secs(15 * 60);

#[derive(Deserialize)]
struct Document {
    #[serde(rename = "Events")]
    events: Vec<Event>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Event {
    event_type: String,
    #[serde(default)]
    event_status: Option<String>,
    #[serde(default)]
    resources: Vec<String>,
    #[serde(default)]
    not_before: Option<String>,
    #[serde(default)]
    duration_in_seconds: Option<i64>,
}

/// Reads `scheduledevents`: everything that it says of this machine, notices first, the earliest first.
///
/// The list is that of a whole scale set or availability set: events that name only other machines are passed over. Without
/// `name`, the machine's own, every event counts. `now_ms` is the wall clock when it was answered.
///
/// # Errors
/// [`Unreadable`] if it is not a document of events.
pub fn scheduled_events(body: &str, name: Option<&str>, now_ms: i64) -> Result<Vec<Seen>, Unreadable> {
    let document: Document = serde_json::from_str(body).map_err(|_| unreadable("scheduledevents", body))?;
    let mut seen = Vec::new();
    for event in &document.events {
        if event.concerns(name) {
            seen.extend(event.means(now_ms));
        }
    }
    seen.sort_by_key(|seen| match seen {
        Seen::Notice(notice) => notice.within,
        Seen::Hint(_) | Seen::Nothing => Duration::MAX,
    });
    Ok(seen)
}

impl Event {
    fn concerns(&self, name: Option<&str>) -> bool {
        let Some(name) = name else { return true };
        self.resources.is_empty() || self.resources.iter().any(|resource| resource.eq_ignore_ascii_case(name))
    }

    fn means(&self, now_ms: i64) -> Option<Seen> {
        let over = matches!(self.event_status.as_deref(), Some("Completed" | "Canceled"));
        match self.event_type.as_str() {
            _ if over => None,
            "Preempt" | "Terminate" | "Reboot" | "Redeploy" => {
                let what = self.event_type.clone();
                Some(Seen::Notice(CloudNotice { within: self.within(now_ms), what }))
            }
            "Freeze" => Some(Seen::Hint(self.freeze())),
            // An event that is not known yet is not known to end anything.
            other => {
                let name: String = other.chars().filter(char::is_ascii_alphanumeric).take(40).collect();
                Some(Seen::Hint(format!("event {name}, which is not known")))
            }
        }
    }

    /// Without a readable instant the event has begun, or may at any moment.
    fn within(&self, now_ms: i64) -> Duration {
        let stated = self.not_before.as_deref().unwrap_or_default();
        let at_ms = moment::rfc1123(stated).or_else(|| moment::rfc3339(stated));
        at_ms.map_or(LEAST, |at_ms| span_until(at_ms, now_ms, MOST))
    }

    fn freeze(&self) -> String {
        match self.duration_in_seconds {
            Some(seconds) if seconds >= 0 => format!("freeze: this machine stands still for about {seconds} s"),
            _ => "freeze: this machine stands still briefly".to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// 2022-08-09T17:07:02Z
    const NOW: i64 = 1_660_064_822_000;

    fn event(kind: &str, resources: &str, rest: &str) -> String {
        format!(
            r#"{{"DocumentIncarnation": 1, "Events": [{{"EventId": "C1BF8322-4CBF-4FC4-9C45-B40CF3106D0E",
                "EventStatus": "Scheduled", "EventType": "{kind}", "ResourceType": "VirtualMachine",
                "Resources": [{resources}], "Description": "", "EventSource": "Platform"{rest}}}]}}"#
        )
    }

    const SOON: &str = r#", "NotBefore": "Tue, 09 Aug 2022 17:07:32 GMT", "DurationInSeconds": -1"#;

    fn notice(seconds: u64, what: &str) -> Seen {
        Seen::Notice(CloudNotice { within: Duration::from_secs(seconds), what: what.into() })
    }

    #[test]
    fn an_eviction_is_a_notice_until_its_instant() {
        let body = event("Preempt", r#""vm-spot""#, SOON);
        assert_eq!(scheduled_events(&body, Some("vm-spot"), NOW), Ok(vec![notice(30, "Preempt")]));
        assert_eq!(scheduled_events(&body, Some("VM-Spot"), NOW), Ok(vec![notice(30, "Preempt")]));
        assert_eq!(scheduled_events(&body, None, NOW), Ok(vec![notice(30, "Preempt")]));
        for kind in ["Terminate", "Reboot", "Redeploy"] {
            assert_eq!(scheduled_events(&event(kind, "", SOON), Some("vm"), NOW), Ok(vec![notice(30, kind)]));
        }
    }

    #[test]
    fn nothing_planned_and_events_of_others_say_nothing() {
        assert_eq!(scheduled_events(r#"{"DocumentIncarnation": 0, "Events": []}"#, None, NOW), Ok(vec![]));
        let others = event("Preempt", r#""vmss_1", "vmss_2""#, SOON);
        assert_eq!(scheduled_events(&others, Some("vmss_0"), NOW), Ok(vec![]));
        assert_eq!(scheduled_events(&others, Some("vmss_2"), NOW), Ok(vec![notice(30, "Preempt")]));
        let over = event("Reboot", r#""vm""#, SOON).replace("Scheduled", "Canceled");
        assert_eq!(scheduled_events(&over, Some("vm"), NOW), Ok(vec![]));
    }

    #[test]
    fn an_event_that_has_begun_states_no_instant_and_leaves_little() {
        let begun = event("Preempt", r#""vm""#, r#", "NotBefore": """#).replace("Scheduled", "Started");
        assert_eq!(scheduled_events(&begun, Some("vm"), NOW), Ok(vec![notice(5, "Preempt")]));
    }

    #[test]
    fn a_freeze_and_an_unknown_event_are_hints() {
        let freeze = event("Freeze", r#""vm""#, r#", "NotBefore": "", "DurationInSeconds": 5"#);
        let seen = scheduled_events(&freeze, Some("vm"), NOW).expect("it is one");
        assert!(matches!(&seen[..], [Seen::Hint(hint)] if hint.contains("5 s")), "{seen:?}");
        let seen = scheduled_events(&event("Levitate", "", SOON), None, NOW).expect("it is one");
        assert!(matches!(&seen[..], [Seen::Hint(hint)] if hint.contains("Levitate")), "{seen:?}");
    }

    #[test]
    fn the_earliest_notice_is_the_first() {
        let later = event("Reboot", r#""vm""#, r#", "NotBefore": "Tue, 09 Aug 2022 17:17:02 GMT""#);
        let inner = |text: &str| text[text.find('[').expect("a list") + 1..text.rfind(']').expect("a list")].to_owned();
        let freeze = event("Freeze", r#""vm""#, "");
        let preempt = event("Preempt", r#""vm""#, SOON);
        let all = format!(r#"{{"Events": [{}, {}, {}]}}"#, inner(&freeze), inner(&later), inner(&preempt));
        let seen = scheduled_events(&all, Some("vm"), NOW).expect("it is one");
        assert_eq!(seen[..2], [notice(30, "Preempt"), notice(600, "Reboot")]);
    }

    #[test]
    fn what_is_no_answer_is_said() {
        for body in ["", "[]", "{}", r#"{"Events": null}"#, r#"{"Events": [1]}"#, r#"{"error": "bad api-version"}"#] {
            assert!(scheduled_events(body, None, NOW).is_err(), "{body}");
        }
    }

    proptest! {
        #[test]
        fn no_text_panics(body in ".*", kind in "Preempt|Freeze|.*", at in ".*", status in ".*", now: i64) {
            let _any = scheduled_events(&body, None, now);
            let event = serde_json::json!({ "EventType": kind, "NotBefore": at, "EventStatus": status });
            for seen in scheduled_events(&serde_json::json!({ "Events": [event] }).to_string(), Some("vm"), now).unwrap() {
                if let Seen::Notice(notice) = seen {
                    prop_assert!(notice.within >= LEAST && notice.within <= MOST);
                }
            }
        }
    }
}
