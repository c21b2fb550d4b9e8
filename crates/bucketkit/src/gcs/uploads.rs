//! Uploads: at once, with what is said beside the bytes, and resumable ones.

use std::collections::HashMap;

use bytes::{Bytes, BytesMut};
use hyper::header::{HOST, HeaderMap, HeaderValue, LOCATION, RANGE};
use hyper::{Method, Response};
use s3s::Body;
use serde_json::Value;

use super::requests::{Query, chunk, related};
use super::said::{Refusal, empty, generation, resource, said};
use super::service::Service;
use crate::objects::{Held, Stored};
use crate::s3::Conditions;

/// A resumable upload.
#[derive(Default)]
pub(crate) struct Session {
    bucket: String,
    name: String,
    metadata: HashMap<String, String>,
    /// The generation that must be there; 0 for nothing.
    condition: Option<u64>,
    have: BytesMut,
    /// What it made.
    done: Option<Stored>,
}

/// All chunks but the last are multiples of this.
const CHUNK: usize = 256 << 10;

impl Service {
    /// Begins, carries on or ends an upload.
    pub(super) async fn upload(
        &self,
        method: &Method,
        bucket: &str,
        query: &Query,
        headers: &HeaderMap,
        body: Bytes,
    ) -> Result<Response<Body>, Refusal> {
        if let Some(id) = query.get("upload_id") {
            return match *method {
                Method::PUT => self.carry_on(id, headers, &body),
                Method::DELETE => {
                    self.objects.held().sessions.remove(id);
                    Ok(empty(499))
                }
                _ => Err(Refusal::Invalid),
            };
        }
        if *method != Method::POST || !self.objects.held().buckets.contains_key(bucket) {
            return Err(if *method == Method::POST { Refusal::NoBucket } else { Refusal::Invalid });
        }
        let condition = match query.get("ifGenerationMatch").map(str::parse) {
            Some(Ok(wanted)) => Some(wanted),
            Some(Err(_)) => return Err(Refusal::Invalid),
            None => None,
        };
        let (about, bytes) = match query.get("uploadType") {
            Some("media") => (Value::Null, body),
            Some("multipart") => related(headers, &body).ok_or(Refusal::Invalid)?,
            Some("resumable") => {
                let about = if body.is_empty() { Ok(Value::Null) } else { serde_json::from_slice(&body) };
                return self.begin(bucket, query, headers, condition, &about.map_err(|_| Refusal::Invalid)?);
            }
            _ => return Err(Refusal::Invalid),
        };
        let name = name(query, &about)?;
        if about["crc32c"].as_str().is_some_and(|said| said != crc32c_said(&bytes)) {
            return Err(Refusal::Invalid);
        }
        let condition = match self.conditions {
            Conditions::Atomic | Conditions::Radosgw => condition,
            Conditions::Ignored => None,
            Conditions::Racing => {
                holds(&self.objects.held(), bucket, &name, condition)?;
                // Others come between the look and the write.
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
                None
            }
        };
        let stored = write(&mut self.objects.held(), bucket, &name, bytes, metadata(&about), condition)?;
        Ok(said(200, resource(bucket, &name, &stored)))
    }

    fn begin(
        &self,
        bucket: &str,
        query: &Query,
        headers: &HeaderMap,
        condition: Option<u64>,
        about: &Value,
    ) -> Result<Response<Body>, Refusal> {
        let name = name(query, about)?;
        let mut held = self.objects.held();
        if !matches!(self.conditions, Conditions::Ignored | Conditions::Radosgw) {
            holds(&held, bucket, &name, condition)?;
        }
        // Who looks only now does not look again when the bytes are there.
        let condition = condition.filter(|_| self.conditions == Conditions::Atomic);
        let id = format!("session-{}", held.next());
        let host = headers.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
        let place = format!("http://{host}/upload/storage/v1/b/{bucket}/o?uploadType=resumable&upload_id={id}");
        let metadata = metadata(about);
        let bucket = bucket.to_owned();
        held.sessions.insert(id, Session { bucket, name, metadata, condition, ..Session::default() });
        let mut response = empty(200);
        response.headers_mut().insert(LOCATION, HeaderValue::from_str(&place).map_err(|_| Refusal::Invalid)?);
        Ok(response)
    }

    fn carry_on(&self, id: &str, headers: &HeaderMap, body: &Bytes) -> Result<Response<Body>, Refusal> {
        let (from, whole) = chunk(headers).ok_or(Refusal::Invalid)?;
        let mut held = self.objects.held();
        let session = held.sessions.get_mut(id).ok_or(Refusal::NoUpload)?;
        if let Some(done) = &session.done {
            return Ok(said(200, resource(&session.bucket, &session.name, done)));
        }
        if let Some(from) = from {
            let have = session.have.len() as u64;
            let end = from + body.len() as u64;
            // What it has already is left out of a chunk that comes again.
            if from > have || (whole.is_none() && !body.len().is_multiple_of(CHUNK)) {
                return Err(Refusal::Invalid);
            }
            if end > have {
                session.have.extend_from_slice(&body[usize::try_from(have - from).unwrap_or(0)..]);
            }
        }
        let have = session.have.len() as u64;
        if whole != Some(have) {
            let mut response = empty(308);
            if have > 0 {
                let range = HeaderValue::from_str(&format!("bytes=0-{}", have - 1)).map_err(|_| Refusal::Invalid)?;
                response.headers_mut().insert(RANGE, range);
            }
            return Ok(response);
        }
        let (bucket, name) = (session.bucket.clone(), session.name.clone());
        let (bytes, metadata, condition) = (session.have.clone().freeze(), session.metadata.clone(), session.condition);
        let stored = write(&mut held, &bucket, &name, bytes, metadata, condition)?;
        let answer = said(200, resource(&bucket, &name, &stored));
        if let Some(session) = held.sessions.get_mut(id) {
            *session = Session { bucket, name, done: Some(stored), ..Session::default() };
        }
        Ok(answer)
    }
}

fn name(query: &Query, about: &Value) -> Result<String, Refusal> {
    query.get("name").or(about["name"].as_str()).map(str::to_owned).ok_or(Refusal::Invalid)
}

fn metadata(about: &Value) -> HashMap<String, String> {
    let said = about["metadata"].as_object().into_iter().flatten();
    said.filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned()))).collect()
}

/// Refuses if what is there is not what the condition wants.
fn holds(held: &Held, bucket: &str, name: &str, condition: Option<u64>) -> Result<(), Refusal> {
    let there = held.buckets.get(bucket).ok_or(Refusal::NoBucket)?.get(name);
    let there = there.map_or(0, |stored| generation(stored.version));
    if condition.is_some_and(|wanted| wanted != there) { Err(Refusal::Condition) } else { Ok(()) }
}

/// Writes an object if the condition holds: all of it under one lock.
fn write(
    held: &mut Held,
    bucket: &str,
    name: &str,
    bytes: Bytes,
    metadata: HashMap<String, String>,
    condition: Option<u64>,
) -> Result<Stored, Refusal> {
    holds(held, bucket, name, condition)?;
    let stored = Stored { bytes, version: held.next(), metadata };
    held.buckets.get_mut(bucket).ok_or(Refusal::NoBucket)?.insert(name.to_owned(), stored.clone());
    Ok(stored)
}

/// Returns the CRC-32C of bytes as the service says it: big-endian, in base 64.
fn crc32c_said(bytes: &[u8]) -> String {
    let mut crc = !0_u32;
    for byte in bytes {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = if crc & 1 == 1 { (crc >> 1) ^ 0x82F6_3B78 } else { crc >> 1 };
        }
    }
    let [a, b, c, d] = (!crc).to_be_bytes().map(u32::from);
    let sextets = [a >> 2, (a & 3) << 4 | b >> 4, (b & 15) << 2 | c >> 6, c & 63, d >> 2, (d & 3) << 4];
    let letter = |n: u32| b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"[n as usize] as char;
    sextets.into_iter().map(letter).chain("==".chars()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The check value of CRC-32C is 0xE3069283.
    #[test]
    fn a_checksum_is_said_as_the_service_says_it() {
        assert_eq!(crc32c_said(b"123456789"), "4waSgw==");
        assert_eq!(crc32c_said(b""), "AAAAAA==");
    }
}
