//! One request to a receiver, and what its answer means.

use std::{error::Error, io::Write, time::Duration};

use flate2::{Compression, write::GzEncoder};
use http::{
    HeaderMap, HeaderValue, StatusCode,
    header::{CONTENT_ENCODING, CONTENT_TYPE, RETRY_AFTER},
};
use prost::Message;
use prunella_sys::Sys;
use reqwest::{Certificate, Client, Response, redirect::Policy};
use serde::{Serialize, de::DeserializeOwned};

use super::{
    settings::{Encoding, Receiver},
    wire::{Answer, PartialSuccess, Refusal},
};

/// So much of an answer is read.
const MOST_OF_ANSWER: usize = 64 * 1024;
/// So much of what a receiver says is shown.
const MOST_SHOWN: usize = 200;

/// What came of a request.
#[derive(Debug, Clone, PartialEq)]
pub enum Sent {
    /// It was taken; perhaps not all of it.
    Taken(Option<PartialSuccess>),
    /// It was not, and never will be.
    Refused(String),
    /// It may be taken later: after so long, if that was said.
    Later(Option<Duration>, String),
}

/// Sends to one receiver.
#[derive(Debug, Clone)]
pub struct Sender {
    client: Client,
    receiver: Receiver,
    headers: HeaderMap,
}

impl Sender {
    /// Returns a sender to the receiver.
    ///
    /// # Errors
    /// What is wrong with its certificates, for people.
    pub fn new(sys: &Sys, receiver: Receiver) -> Result<Self, String> {
        let mut client = Client::builder()
            .timeout(receiver.timeout)
            .redirect(Policy::none())
            .user_agent(concat!("prunella/", env!("CARGO_PKG_VERSION")));
        if let Some(file) = &receiver.certificate {
            let wrong = |why: &dyn Error| format!("the certificates in `{}`: {why}", file.display());
            let pem = sys.fs.read(file).map_err(|error| wrong(&error))?;
            client = client.tls_certs_merge(Certificate::from_pem_bundle(&pem).map_err(|error| wrong(&error))?);
        }
        let mut headers: HeaderMap = receiver.headers.iter().cloned().collect();
        headers.insert(
            CONTENT_TYPE,
            HeaderValue::from_static(match receiver.encoding {
                Encoding::Protobuf => "application/x-protobuf",
                Encoding::Json => "application/json",
            }),
        );
        if receiver.gzip {
            headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        }
        let client = client.build().map_err(|error| innermost(&error))?;
        Ok(Self { client, receiver, headers })
    }

    /// Returns whom it sends to, for people.
    pub fn receiver(&self) -> String {
        self.receiver.shown()
    }

    /// Returns a message as it is sent.
    pub fn body<M: Message + Serialize>(&self, message: &M) -> Vec<u8> {
        let plain = match self.receiver.encoding {
            Encoding::Protobuf => message.encode_to_vec(),
            Encoding::Json => serde_json::to_vec(message).expect("texts, numbers and lists"),
        };
        if !self.receiver.gzip {
            return plain;
        }
        let mut small = GzEncoder::new(Vec::new(), Compression::fast());
        small.write_all(&plain).and_then(|()| small.finish()).expect("memory takes all")
    }

    /// Sends a body once.
    pub async fn send(&self, body: Vec<u8>) -> Sent {
        let request = self.client.post(self.receiver.url.clone()).headers(self.headers.clone()).body(body);
        let mut response = match request.send().await {
            Ok(response) => response,
            Err(error) if error.is_builder() => return Sent::Refused(innermost(&error)),
            Err(error) if error.is_timeout() => return Sent::Later(None, "it did not answer in time".to_owned()),
            Err(error) => return Sent::Later(None, innermost(&error)),
        };
        let status = response.status();
        let after = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.trim().parse().ok());
        let json =
            response.headers().get(CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(b"application/json"));
        let answer = read(&mut response).await;
        if status.is_success() {
            // An answer that cannot be read is an answer: what was sent is there.
            let answer: Answer = understood(json, &answer).unwrap_or_default();
            let partial = answer.partial_success;
            return Sent::Taken(partial.filter(|partial| partial.rejected > 0 || !partial.error_message.is_empty()));
        }
        let said =
            understood::<Refusal>(json, &answer).map(|refusal| shown(&refusal.message)).filter(|said| !said.is_empty());
        let why = match said {
            None => format!("HTTP {status}"),
            Some(said) => format!("HTTP {status}: {said}"),
        };
        match status {
            StatusCode::TOO_MANY_REQUESTS
            | StatusCode::BAD_GATEWAY
            | StatusCode::SERVICE_UNAVAILABLE
            | StatusCode::GATEWAY_TIMEOUT => Sent::Later(after.map(Duration::from_secs), why),
            _ => Sent::Refused(why),
        }
    }
}

/// Returns the first bytes of an answer, as far as they come.
async fn read(response: &mut Response) -> Vec<u8> {
    let mut answer = Vec::new();
    while answer.len() < MOST_OF_ANSWER {
        match response.chunk().await {
            Ok(Some(chunk)) => answer.extend_from_slice(&chunk),
            Ok(None) | Err(_) => break,
        }
    }
    answer.truncate(MOST_OF_ANSWER);
    answer
}

fn understood<M: Message + Default + DeserializeOwned>(json: bool, answer: &[u8]) -> Option<M> {
    if json { serde_json::from_slice(answer).ok() } else { M::decode(answer).ok() }
}

/// Returns the beginning of what somebody else wrote, on one line and without what a terminal would obey.
pub fn shown(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(MOST_SHOWN).collect()
}

/// Returns the cause below all others; those above name the address, which may have a password in it.
fn innermost(error: &dyn Error) -> String {
    let mut cause = error;
    while let Some(below) = cause.source() {
        cause = below;
    }
    shown(&cause.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_understood_in_both_forms_and_garbage_is_none() {
        let rejected =
            |json, answer: &[u8]| understood::<Answer>(json, answer).and_then(|answer| answer.partial_success);
        let json = br#"{"partialSuccess":{"rejectedSpans":"3","errorMessage":"too old"}}"#;
        let some = PartialSuccess { rejected: 3, error_message: "too old".to_owned() };
        assert_eq!(rejected(true, json), Some(some.clone()));
        assert_eq!(
            rejected(true, br#"{"partialSuccess":{"rejectedLogRecords":3,"errorMessage":"too old"}}"#),
            Some(some.clone())
        );
        let binary = Answer { partial_success: Some(some.clone()) }.encode_to_vec();
        assert_eq!(rejected(false, &binary), Some(some));
        assert_eq!(rejected(true, b"{}"), None);
        assert_eq!(rejected(false, b""), None);
        for garbage in [b"<html>".as_slice(), &[0xff; 40], b"[]"] {
            assert_eq!(rejected(true, garbage), None);
            assert_eq!(rejected(false, garbage), None);
        }
    }

    #[test]
    fn what_a_receiver_says_cannot_move_the_cursor() {
        assert_eq!(shown("no\u{1b}[2J\nmore"), "no [2J more");
        assert_eq!(shown(&"é".repeat(1000)).chars().count(), MOST_SHOWN);
    }
}
