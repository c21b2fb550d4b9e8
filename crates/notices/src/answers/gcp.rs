//! Google Compute Engine: preemption, and maintenance of the host.

use std::time::Duration;

use super::{CloudNotice, Seen, Unreadable, unreadable};

/// A machine that is preempted has this long.
pub const PREEMPTED: Duration = Duration::from_secs(30);
/// A machine whose host is maintained has at least this long; one with accelerators has an hour, but nothing says so here.
pub const MAINTENANCE: Duration = Duration::from_secs(60);

/// Reads `instance/preempted`.
///
/// # Errors
/// [`Unreadable`] if it is neither `TRUE` nor `FALSE`.
pub fn preempted(body: &str) -> Result<Seen, Unreadable> {
    match body.trim() {
        "TRUE" => Ok(Seen::Notice(CloudNotice { within: PREEMPTED, what: "preempted".to_owned() })),
        "FALSE" => Ok(Seen::Nothing),
        _ => Err(unreadable("preempted", body)),
    }
}

/// Reads `instance/maintenance-event`: a live migration is a hint, a termination a notice.
///
/// # Errors
/// [`Unreadable`] if it is none of the documented words.
pub fn maintenance(body: &str) -> Result<Seen, Unreadable> {
    match body.trim() {
        "NONE" => Ok(Seen::Nothing),
        "TERMINATE_ON_HOST_MAINTENANCE" => {
            Ok(Seen::Notice(CloudNotice { within: MAINTENANCE, what: "host maintenance".to_owned() }))
        }
        "MIGRATE_ON_HOST_MAINTENANCE" => Ok(Seen::Hint("live migration: this machine stands still briefly".to_owned())),
        _ => Err(unreadable("maintenance-event", body)),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_documents_words_are_read() {
        let notice = |seen| matches!(seen, Ok(Seen::Notice(CloudNotice { within, .. })) if within == PREEMPTED);
        assert!(notice(preempted("TRUE")) && notice(preempted("TRUE\n")));
        assert_eq!(preempted("FALSE"), Ok(Seen::Nothing));
        assert_eq!(maintenance("NONE"), Ok(Seen::Nothing));
        assert!(matches!(maintenance("MIGRATE_ON_HOST_MAINTENANCE"), Ok(Seen::Hint(_))));
        let seen = maintenance("TERMINATE_ON_HOST_MAINTENANCE");
        assert!(matches!(seen, Ok(Seen::Notice(CloudNotice { within, .. })) if within == MAINTENANCE));
    }

    #[test]
    fn what_is_no_answer_is_said() {
        for body in ["", "true", "TRUE TRUE", "<html>TRUE</html>", "0"] {
            assert!(preempted(body).is_err() && maintenance(body).is_err(), "{body}");
        }
    }

    proptest! {
        #[test]
        fn no_text_panics_and_none_but_one_word_preempts(body in ".*") {
            let _any = maintenance(&body);
            prop_assert!(body.trim() == "TRUE" || !matches!(preempted(&body), Ok(Seen::Notice(_))));
        }
    }
}
