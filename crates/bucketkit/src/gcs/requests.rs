//! What a request asks for.

use std::collections::BTreeMap;

use bytes::Bytes;
use hyper::header::{CONTENT_RANGE, CONTENT_TYPE, HeaderMap, RANGE};

/// The place that a path names.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// `/v1/token`, of the token service.
    Token,
    /// `/storage/v1/b/B`.
    Bucket(String),
    /// `/storage/v1/b/B/o`.
    Listing(String),
    /// `/storage/v1/b/B/o/O`.
    Object(String, String),
    /// `/upload/storage/v1/b/B/o`.
    Upload(String),
}

/// Reads a path; nothing if it is none of the service's.
pub(super) fn place(path: &str) -> Option<Place> {
    if path == "/v1/token" {
        return Some(Place::Token);
    }
    if let Some(rest) = path.strip_prefix("/upload/storage/v1/b/") {
        return rest.strip_suffix("/o").map(|bucket| Place::Upload(decoded(bucket)));
    }
    let rest = path.strip_prefix("/storage/v1/b/")?;
    Some(match rest.split('/').collect::<Vec<_>>().as_slice() {
        [bucket] => Place::Bucket(decoded(bucket)),
        [bucket, "o"] => Place::Listing(decoded(bucket)),
        // A name's slashes are escaped.
        [bucket, "o", object] => Place::Object(decoded(bucket), decoded(object)),
        _ => return None,
    })
}

/// What a request asks for beside the place.
#[derive(Debug, Default)]
pub(super) struct Query(BTreeMap<String, String>);

impl Query {
    pub(super) fn of(text: &str) -> Self {
        let pairs = text.split('&').filter(|pair| !pair.is_empty());
        Self(
            pairs
                .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
                .map(|(k, v)| (decoded(k), decoded(v)))
                .collect(),
        )
    }

    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }
}

/// Returns a text without its `%xx`.
pub(super) fn decoded(text: &str) -> String {
    let (mut bytes, mut rest) = (Vec::new(), text.as_bytes());
    while let Some((&byte, after)) = rest.split_first() {
        let escaped = (byte == b'%').then(|| after.get(..2)).flatten();
        let escaped = escaped.and_then(|hex| u8::from_str_radix(std::str::from_utf8(hex).ok()?, 16).ok());
        bytes.push(escaped.unwrap_or(byte));
        rest = if escaped.is_some() { &after[2..] } else { after };
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Returns the bytes that `Range` asks for of `size`: all if it asks for none, nothing if there are none of them.
pub(super) fn range(headers: &HeaderMap, size: u64) -> Option<(u64, u64)> {
    let Some(said) = headers.get(RANGE).and_then(|value| value.to_str().ok()?.strip_prefix("bytes=")) else {
        return Some((0, size));
    };
    let (from, to) = said.split_once('-')?;
    let (from, to) = match (from.parse::<u64>(), to.parse::<u64>()) {
        (Ok(from), Ok(to)) => (from, to.saturating_add(1).min(size)),
        (Ok(from), Err(_)) => (from, size),
        (Err(_), Ok(last)) => (size.saturating_sub(last), size),
        (Err(_), Err(_)) => return None,
    };
    (from < to).then_some((from, to))
}

/// What `Content-Range` of a chunk says: where it begins (nothing for a question), and the size of the whole if it is known.
pub(super) fn chunk(headers: &HeaderMap) -> Option<(Option<u64>, Option<u64>)> {
    let said = headers.get(CONTENT_RANGE)?.to_str().ok()?.strip_prefix("bytes ")?;
    let (stretch, whole) = said.split_once('/')?;
    let from = match stretch {
        "*" => None,
        stretch => Some(stretch.split_once('-')?.0.parse().ok()?),
    };
    Some((from, if whole == "*" { None } else { Some(whole.parse().ok()?) }))
}

/// Takes `multipart/related` apart: what is said of the object, and its bytes.
pub(super) fn related(headers: &HeaderMap, body: &Bytes) -> Option<(serde_json::Value, Bytes)> {
    let kind = headers.get(CONTENT_TYPE)?.to_str().ok()?;
    let boundary = kind.split(';').find_map(|part| part.trim().strip_prefix("boundary="))?.trim_matches('"');
    let (between, end) = (format!("--{boundary}\r\n"), format!("\r\n--{boundary}"));
    let (mut parts, mut at) = (Vec::new(), find(body, between.as_bytes(), 0)? + between.len());
    loop {
        let begin = find(body, b"\r\n\r\n", at)? + 4;
        let stop = find(body, end.as_bytes(), begin)?;
        parts.push(body.slice(begin..stop));
        let after = stop + end.len();
        if !body.get(after..)?.starts_with(b"\r\n") {
            break;
        }
        at = after + 2;
    }
    let [said, bytes] = parts.try_into().ok()?;
    Some((serde_json::from_slice(&said).ok()?, bytes))
}

fn find(body: &[u8], what: &[u8], from: usize) -> Option<usize> {
    body.get(from..)?.windows(what.len()).position(|window| window == what).map(|at| at + from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_read_with_their_escapes() {
        assert_eq!(place("/storage/v1/b/b/o/a%2Fb%2Bc"), Some(Place::Object("b".into(), "a/b+c".into())));
        assert_eq!(place("/storage/v1/b/b/o"), Some(Place::Listing("b".into())));
        assert_eq!(place("/upload/storage/v1/b/b/o"), Some(Place::Upload("b".into())));
        assert_eq!(place("/storage/v1/b/b"), Some(Place::Bucket("b".into())));
        assert_eq!(place("/b/o"), None);
    }

    #[test]
    fn ranges_end_with_the_object() {
        let asked = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(RANGE, text.parse().unwrap());
            range(&headers, 10)
        };
        assert_eq!(asked("bytes=2-5"), Some((2, 6)));
        assert_eq!(asked("bytes=2-"), Some((2, 10)));
        assert_eq!(asked("bytes=-3"), Some((7, 10)));
        assert_eq!(asked("bytes=8-99"), Some((8, 10)));
        assert_eq!(asked("bytes=10-"), None);
        assert_eq!(range(&HeaderMap::new(), 0), Some((0, 0)));
    }

    #[test]
    fn related_parts_come_apart_whatever_is_in_them() {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, "multipart/related; boundary=x".parse().unwrap());
        let body = Bytes::from(
            "--x\r\nContent-Type: application/json\r\n\r\n{\"name\":\"n\"}\r\n--x\r\nContent-Type: t\r\n\r\na\r\n--y\r\n\r\n--x--\r\n",
        );
        let (said, bytes) = related(&headers, &body).unwrap();
        assert_eq!((said["name"].as_str(), &bytes[..]), (Some("n"), &b"a\r\n--y\r\n"[..]));
        for cut in 0..body.len() - 4 {
            assert!(related(&headers, &body.slice(..cut)).is_none());
        }
    }
}
