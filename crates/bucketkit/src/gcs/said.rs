//! What the service says, as it writes it.

use bytes::Bytes;
use hyper::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderValue};
use hyper::{Response, StatusCode};
use s3s::Body;
use serde_json::{Value, json};

use crate::objects::Stored;

/// The generations of the service are times in microseconds.
const FIRST_GENERATION: u64 = 1_660_000_000_000_000;

/// Returns the generation of an object's bytes.
pub(super) fn generation(version: u64) -> u64 {
    FIRST_GENERATION + version
}

/// Why something is not done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    NoBucket,
    NoObject,
    Condition,
    Invalid,
    Range,
    Token,
    Forbidden,
    NoUpload,
}

impl Refusal {
    fn words(self) -> (u16, &'static str, &'static str) {
        match self {
            Self::NoBucket => (404, "notFound", "The specified bucket does not exist."),
            Self::NoObject => (404, "notFound", "No such object: it is not there"),
            Self::Condition => {
                (412, "conditionNotMet", "At least one of the pre-conditions you specified did not hold.")
            }
            Self::Invalid => (400, "invalid", "Invalid argument."),
            Self::Range => (416, "requestedRangeNotSatisfiable", "Request range not satisfiable"),
            Self::Token => (401, "authError", "Invalid Credentials"),
            Self::Forbidden => (403, "forbidden", "the caller does not have storage.buckets.get access"),
            Self::NoUpload => (410, "uploadBroken", "The upload is gone."),
        }
    }

    /// Returns the answer.
    pub(super) fn answer(self) -> Response<Body> {
        let (status, reason, message) = self.words();
        said(status, refusal(status, reason, message))
    }

    /// Returns the answer to a download, which is plain text.
    pub(super) fn of_download(self) -> Response<Body> {
        let (status, _, message) = self.words();
        let mut response = Response::new(Body::from(Bytes::from(message)));
        *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/html; charset=UTF-8"));
        response
    }
}

/// Returns the text of a refusal.
pub(super) fn refusal(status: u16, reason: &str, message: &str) -> Value {
    let error = json!({ "message": message, "domain": "global", "reason": reason });
    json!({ "error": { "code": status, "message": message, "errors": [error] } })
}

/// Returns an answer in JSON.
pub(super) fn said(status: u16, value: Value) -> Response<Body> {
    let bytes = Bytes::from(value.to_string());
    let length = bytes.len();
    let mut response = Response::new(Body::from(bytes));
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json; charset=UTF-8"));
    response.headers_mut().insert(CONTENT_LENGTH, length.into());
    response
}

/// Returns an answer without a body.
pub(super) fn empty(status: u16) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    response
}

/// Returns what is said of an object.
pub(super) fn resource(bucket: &str, name: &str, stored: &Stored) -> Value {
    let generation = generation(stored.version);
    let mut resource = json!({
        "kind": "storage#object",
        "id": format!("{bucket}/{name}/{generation}"),
        "name": name,
        "bucket": bucket,
        "generation": generation.to_string(),
        "metageneration": "1",
        "contentType": "application/octet-stream",
        "storageClass": "STANDARD",
        "size": stored.bytes.len().to_string(),
        "etag": tag(stored.version),
        "timeCreated": "2026-01-01T00:00:00.000Z",
        "updated": "2026-01-01T00:00:00.000Z",
    });
    if !stored.metadata.is_empty() {
        resource["metadata"] = json!(stored.metadata);
    }
    resource
}

/// Returns an entity tag.
pub(super) fn tag(version: u64) -> String {
    format!("C{:x}=", generation(version))
}
