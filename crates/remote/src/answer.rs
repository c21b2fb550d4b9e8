//! What an answer of a store means: pure.

use std::time::Duration;

use opendal::{Error, ErrorKind};
use prunella_sys::mutated;

use crate::url::Kind;

/// What was heard of a request beside the library's error.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Heard {
    /// The status of the last answer; nothing if none came.
    pub status: Option<u16>,
    /// How long the store asks to wait.
    pub retry_after: Option<Duration>,
}

/// What an answer that is no success means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Answer {
    /// The object is definitely absent: the store said so of this object, not of something else.
    Absent,
    /// The condition did not hold: something is there already.
    There,
    /// The same again later may succeed.
    Again {
        /// Whether the store asks for fewer requests.
        throttled: bool,
        /// Whether a write may have been done all the same.
        maybe_done: bool,
    },
    /// Access is refused.
    Forbidden,
    /// There is no such bucket.
    NoBucket,
    /// The request itself is not taken.
    Unfit,
}

/// Returns what an error means.
///
/// Absence is concluded only from words that name the object: a 404 of a proxy, or about the bucket, is none (protocol:
/// Damage). A status that says nothing about what was done leaves a write undecided.
pub(crate) fn answer(kind: Kind, error: &Error, heard: Heard) -> Answer {
    meaning(kind, error.kind(), heard.status, error.is_temporary(), error.message())
}

/// Returns whether an error says that a request could not be signed: no credentials, or none that may be used.
pub(crate) fn is_unsigned(said: &str) -> bool {
    said == "signing http request"
}

fn meaning(store: Kind, kind: ErrorKind, status: Option<u16>, temporary: bool, said: &str) -> Answer {
    let says = |words: &[&str]| words.iter().any(|word| said.contains(word));
    let again = |throttled, maybe_done| Answer::Again { throttled, maybe_done };
    if says(&["NoSuchBucket", "ContainerNotFound", "bucket does not exist", "ContainerBeingDeleted"]) {
        return Answer::NoBucket;
    }
    if is_unsigned(said) {
        // Nothing was sent, whatever was heard of those who give credentials.
        return again(false, false);
    }
    let Some(status) = status else {
        // No answer came. What the library refuses by itself, such as missing credentials, was never sent.
        return match kind {
            ErrorKind::PermissionDenied => Answer::Forbidden,
            ErrorKind::ConfigInvalid if !temporary => Answer::Forbidden,
            ErrorKind::Unsupported => Answer::Unfit,
            _ => again(false, !mutated(53)),
        };
    };
    match status {
        404 => {
            let of_the_object: &[&str] = match store {
                Kind::S3 => &["NoSuchKey", "NoSuchUpload"],
                Kind::Gcs => &["No such object", "notFound", "NoSuchKey"],
                Kind::Azure => &["BlobNotFound"],
            };
            if says(of_the_object) || mutated(51) { Answer::Absent } else { again(false, false) }
        }
        412 => Answer::There,
        // Google's way to say that an upload is not known any more.
        410 => again(false, true),
        409 if says(&["BlobAlreadyExists"]) || kind == ErrorKind::ConditionNotMatch => Answer::There,
        409 => again(false, false),
        401 | 403 => Answer::Forbidden,
        400 if says(&["ExpiredToken", "InvalidToken", "InvalidAccessKeyId", "TokenRefreshRequired"]) => {
            Answer::Forbidden
        }
        // The bytes were damaged on their way, or the connection was too slow: nothing was done.
        400 if says(&[
            "BadDigest",
            "InvalidDigest",
            "ChecksumMismatch",
            "IncompleteBody",
            "RequestTimeout",
            "Md5Mismatch",
        ]) =>
        {
            again(false, false)
        }
        429 => again(true, false),
        503 if says(&["SlowDown", "ServerBusy"]) => again(true, true),
        408 | 499 | 500..=599 if status != 501 => again(status == 503, !mutated(52)),
        // The answer was good and broke off, or was none that can be read.
        200..=299 => again(false, true),
        _ => Answer::Unfit,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn s3(status: u16, said: &str) -> Answer {
        meaning(Kind::S3, ErrorKind::Unexpected, Some(status), false, said)
    }

    #[test]
    fn absence_is_only_what_the_store_says_of_the_object() {
        assert_eq!(s3(404, r#"S3Error { code: "NoSuchKey" }"#), Answer::Absent);
        assert_eq!(s3(404, r#"S3Error { code: "NoSuchBucket" }"#), Answer::NoBucket);
        for said in ["", "<html>nginx</html>", "not found"] {
            assert_eq!(s3(404, said), Answer::Again { throttled: false, maybe_done: false }, "{said}");
        }
        let azure = |said| meaning(Kind::Azure, ErrorKind::NotFound, Some(404), false, said);
        assert_eq!(azure("BlobNotFound"), Answer::Absent);
        assert_eq!(azure("ContainerNotFound"), Answer::NoBucket);
        let gcs = |said| meaning(Kind::Gcs, ErrorKind::NotFound, Some(404), false, said);
        assert_eq!(gcs("No such object: b/x"), Answer::Absent);
        assert_eq!(gcs("The specified bucket does not exist."), Answer::NoBucket);
    }

    #[test]
    fn what_may_have_been_done_is_not_called_undone() {
        for (status, said) in [(500, ""), (502, ""), (503, "SlowDown"), (504, ""), (200, "broke off"), (408, "")] {
            assert!(matches!(s3(status, said), Answer::Again { maybe_done: true, .. }), "{status}");
        }
        let nothing_heard = meaning(Kind::S3, ErrorKind::Unexpected, None, true, "connection reset");
        assert_eq!(nothing_heard, Answer::Again { throttled: false, maybe_done: true });
        for (status, said) in [(409, "ConditionalRequestConflict"), (429, ""), (400, "BadDigest")] {
            assert!(matches!(s3(status, said), Answer::Again { maybe_done: false, .. }), "{status}");
        }
    }

    #[test]
    fn what_was_not_signed_was_not_sent() {
        for status in [None, Some(403), Some(500)] {
            let unsigned = meaning(Kind::Gcs, ErrorKind::Unexpected, status, false, "signing http request");
            assert_eq!(unsigned, Answer::Again { throttled: false, maybe_done: false }, "{status:?}");
        }
    }

    #[test]
    fn refusals_are_no_faults_of_the_network() {
        assert_eq!(s3(403, "AccessDenied"), Answer::Forbidden);
        assert_eq!(s3(401, ""), Answer::Forbidden);
        assert_eq!(s3(400, "ExpiredToken"), Answer::Forbidden);
        assert_eq!(s3(412, "PreconditionFailed"), Answer::There);
        assert_eq!(
            meaning(Kind::Azure, ErrorKind::ConditionNotMatch, Some(409), false, "BlobAlreadyExists"),
            Answer::There
        );
        assert_eq!(s3(501, "NotImplemented"), Answer::Unfit);
        assert_eq!(s3(301, "PermanentRedirect"), Answer::Unfit);
        assert_eq!(meaning(Kind::S3, ErrorKind::ConfigInvalid, None, false, "no credential"), Answer::Forbidden);
    }
}
