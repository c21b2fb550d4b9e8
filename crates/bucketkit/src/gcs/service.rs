//! Which request does what.

use std::ops::Bound;
use std::sync::Arc;

use bytes::Bytes;
use hyper::body::Incoming;
use hyper::header::{AUTHORIZATION, CONTENT_RANGE, ETAG, HeaderMap, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use s3s::Body;
use serde_json::{Value, json};

use super::Access;
use super::requests::{Place, Query, place, range};
use super::said::{Refusal, empty, generation, refusal, resource, said, tag};
use crate::objects::{Objects, Stored};
use crate::s3::Conditions;
use crate::server::{Broken, Speaks};

/// What a workload shows to the token service; it opens nothing but this server.
pub const SUBJECT_TOKEN: &str = "loopback-subject-token-word";
/// What requests show then.
pub const ACCESS_TOKEN: &str = "loopback-access-token-word";

/// The JSON API over a map.
pub(super) struct Service {
    pub(super) objects: Arc<Objects>,
    pub(super) conditions: Conditions,
    pub(super) access: Access,
}

impl Speaks for Arc<Service> {
    async fn call(&self, request: Request<Incoming>) -> Result<Response<Body>, Broken> {
        let (head, body) = request.into_parts();
        let body = http_body_util::BodyExt::collect(body).await.map_err(|_| Broken)?.to_bytes();
        let query = Query::of(head.uri.query().unwrap_or_default());
        let Some(place) = place(head.uri.path()) else {
            return Ok(said(404, refusal(404, "notFound", "Not Found")));
        };
        let download = query.get("alt") == Some("media");
        let answered = self.answer(&head.method, place, &query, &head.headers, body).await;
        Ok(match answered {
            Ok(response) => response,
            Err(refusal) if download => refusal.of_download(),
            Err(refusal) => refusal.answer(),
        })
    }

    fn refusal(&self, status: u16, code: &str) -> (&'static str, String) {
        ("application/json; charset=UTF-8", refusal(status, code, "on demand").to_string())
    }
}

impl Service {
    async fn answer(
        &self,
        method: &Method,
        place: Place,
        query: &Query,
        headers: &HeaderMap,
        body: Bytes,
    ) -> Result<Response<Body>, Refusal> {
        if place == Place::Token {
            let form = Query::of(std::str::from_utf8(&body).map_err(|_| Refusal::Invalid)?);
            let known = form.get("subject_token") == Some(SUBJECT_TOKEN);
            let token = json!({ "access_token": ACCESS_TOKEN, "token_type": "Bearer", "expires_in": 3600 });
            return if known { Ok(said(200, token)) } else { Err(Refusal::Token) };
        }
        let shown = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
        let resumed = query.get("upload_id").is_some();
        // A session's address is its own credential.
        if self.access == Access::Token && !resumed && shown != Some(&format!("Bearer {ACCESS_TOKEN}")) {
            return Err(Refusal::Token);
        }
        match (method, place) {
            (_, Place::Upload(bucket)) => self.upload(method, &bucket, query, headers, body).await,
            (&Method::GET, Place::Bucket(bucket)) => self.bucket(&bucket),
            (&Method::GET, Place::Listing(bucket)) => self.list(&bucket, query),
            (&Method::GET, Place::Object(bucket, name)) => {
                let stored = self.find(&bucket, &name)?;
                match query.get("alt") {
                    Some("media") => download(&stored, headers),
                    _ => Ok(said(200, resource(&bucket, &name, &stored))),
                }
            }
            (&Method::DELETE, Place::Object(bucket, name)) => {
                self.find(&bucket, &name)?;
                self.objects.lose(&bucket, &name);
                Ok(empty(204))
            }
            _ => Err(Refusal::Invalid),
        }
    }

    fn find(&self, bucket: &str, name: &str) -> Result<Stored, Refusal> {
        let held = self.objects.held();
        held.buckets.get(bucket).ok_or(Refusal::NoBucket)?.get(name).cloned().ok_or(Refusal::NoObject)
    }

    fn bucket(&self, bucket: &str) -> Result<Response<Body>, Refusal> {
        let held = self.objects.held();
        if !held.buckets.contains_key(bucket) {
            return Err(Refusal::NoBucket);
        }
        if held.rules_hidden {
            return Err(Refusal::Forbidden);
        }
        let mut resource = json!({ "kind": "storage#bucket", "id": bucket, "name": bucket });
        if let (Some(all), Some(rules)) = (resource.as_object_mut(), held.rules.as_object()) {
            all.extend(rules.clone());
        }
        Ok(said(200, resource))
    }

    fn list(&self, bucket: &str, query: &Query) -> Result<Response<Body>, Refusal> {
        let held = self.objects.held();
        let objects = held.buckets.get(bucket).ok_or(Refusal::NoBucket)?;
        let prefix = query.get("prefix").unwrap_or_default();
        let most = query.get("maxResults").map_or(Ok(1000), str::parse).map_err(|_| Refusal::Invalid)?.clamp(1, 1000);
        // The offset itself is listed; what a token names is not.
        let from = match (query.get("pageToken"), query.get("startOffset")) {
            (Some(token), _) => Bound::Excluded(token.strip_prefix("after:").ok_or(Refusal::Invalid)?),
            (None, Some(offset)) if offset > prefix => Bound::Included(offset),
            _ => Bound::Included(prefix),
        };
        let mut matching: Vec<_> = objects
            .range::<str, _>((from, Bound::Unbounded))
            .take_while(|(name, _)| name.starts_with(prefix))
            .take(most + 1)
            .collect();
        let more = matching.len() > most;
        matching.truncate(most);
        let mut page = json!({ "kind": "storage#objects" });
        if let Some((last, _)) = matching.last().filter(|_| more) {
            page["nextPageToken"] = Value::from(format!("after:{last}"));
        }
        if !matching.is_empty() {
            page["items"] = matching.iter().map(|(name, stored)| resource(bucket, name, stored)).collect();
        }
        Ok(said(200, page))
    }
}

fn download(stored: &Stored, headers: &HeaderMap) -> Result<Response<Body>, Refusal> {
    let size = stored.bytes.len() as u64;
    let (from, to) = range(headers, size).ok_or(Refusal::Range)?;
    let place = usize::try_from(from).unwrap_or(0)..usize::try_from(to).unwrap_or(0);
    let mut response = Response::new(Body::from(stored.bytes.slice(place)));
    let said = response.headers_mut();
    let header = |text: String| HeaderValue::from_str(&text).map_err(|_| Refusal::Invalid);
    said.insert(ETAG, header(tag(stored.version))?);
    said.insert("x-goog-generation", header(generation(stored.version).to_string())?);
    said.insert("content-length", (to - from).into());
    if headers.contains_key(hyper::header::RANGE) {
        said.insert(CONTENT_RANGE, header(format!("bytes {from}-{}/{size}", to - 1))?);
        *response.status_mut() = StatusCode::PARTIAL_CONTENT;
    }
    Ok(response)
}
