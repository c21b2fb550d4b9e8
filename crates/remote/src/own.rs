//! Requests that the library does not make: over its transport, signed as it signs its own.
//!
//! A create of Google's in one request, with a checksum, since the library makes a resumable upload of every conditional one; the
//! rules of a bucket, which it does not know.

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, HOST};
use http::{Method, Request};
use opendal::raw::new_request_sign_error;
use opendal::{Buffer, Error, ErrorKind, HttpTransporter};
use prunella_sys::{Sys, random_hex};
use reqsign_core::{Context, OsEnv, ProvideCredentialChain, Signer, StaticEnv};
use reqsign_file_read_tokio::TokioFileRead;
use reqsign_google as google;

use crate::aws;
use crate::url::{Kind, StoreUrl};

/// A bucket, asked without the library.
pub(crate) struct Own {
    transport: HttpTransporter,
    signs: Signs,
    /// Where the service answers.
    endpoint: String,
    url: StoreUrl,
    sys: Sys,
}

enum Signs {
    /// Requests go without credentials.
    Nobody,
    Aws(Box<Signer<aws::Credential>>),
    Google(Box<Signer<google::Credential>>),
}

/// What the library asks Google for, too.
const GOOGLE_SCOPE: &str = "https://www.googleapis.com/auth/devstorage.read_write";
const GOOGLE: &str = "https://storage.googleapis.com";

impl Own {
    /// Returns the bucket at `url`; nothing for Azure, of which nothing is asked so.
    pub(crate) fn new(sys: &Sys, url: &StoreUrl, endpoint: Option<&str>, transport: &HttpTransporter) -> Option<Self> {
        let context = Context::new().with_file_read(TokioFileRead).with_http_send(transport.clone());
        let (signs, endpoint) = match url.kind {
            Kind::Azure => return None,
            Kind::S3 => {
                let region = aws::region(sys, url);
                let signer = Signer::new(
                    context.with_env(OsEnv),
                    aws::credentials(sys, url),
                    reqsign_aws_v4::RequestSigner::new("s3", &region),
                );
                (Signs::Aws(Box::new(signer)), aws::bucket_address(url, endpoint, &region))
            }
            Kind::Gcs => {
                let env = OsEnv;
                let mut envs = reqsign_core::Env::vars(&env);
                envs.insert("GOOGLE_SCOPE".to_owned(), GOOGLE_SCOPE.to_owned());
                let env = StaticEnv { home_dir: reqsign_core::Env::home_dir(&env), envs };
                let chain = ProvideCredentialChain::new().push(google::DefaultCredentialProvider::builder().build());
                let signer = google::RequestSigner::new("storage").with_scope(GOOGLE_SCOPE);
                let signer = Signer::new(context.with_env(env), chain, signer);
                (Signs::Google(Box::new(signer)), endpoint.unwrap_or(GOOGLE).to_owned())
            }
        };
        let signs = if url.anonymous { Signs::Nobody } else { signs };
        Some(Self { transport: transport.clone(), signs, endpoint, url: url.clone(), sys: sys.clone() })
    }

    /// Creates an object of Google's unless one is there; the service compares the checksum that is sent.
    ///
    /// `mark` is said beside its bytes.
    pub(crate) async fn create(&self, key: &str, bytes: Bytes, mark: Option<&str>) -> opendal::Result<()> {
        let name = self.url.in_bucket(key);
        let mut about = serde_json::json!({ "name": name, "crc32c": crc32c(&bytes) });
        if let Some(mark) = mark {
            about["metadata"] = serde_json::json!({ mark: "true" });
        }
        // No bytes of anybody contain it, but by guessing 128 bits.
        let boundary = random_hex(&*self.sys.random, 16);
        let head = format!(
            "--{boundary}\r\nContent-Type: application/json; charset=UTF-8\r\n\r\n{about}\r\n\
             --{boundary}\r\nContent-Type: application/octet-stream\r\n\r\n"
        );
        let tail = format!("\r\n--{boundary}--\r\n");
        let length = head.len() + bytes.len() + tail.len();
        let address = format!(
            "{}/upload/storage/v1/b/{}/o?uploadType=multipart&ifGenerationMatch=0",
            self.endpoint, self.url.bucket
        );
        let request = Request::post(address)
            .header(CONTENT_TYPE, format!("multipart/related; boundary={boundary}"))
            .header(CONTENT_LENGTH, length)
            .body(Buffer::from(vec![Bytes::from(head), bytes, Bytes::from(tail)]));
        self.send(request).await.map(drop)
    }

    /// Returns what the service says of the bucket: of Google's the resource, of S3 the named part.
    pub(crate) async fn rules(&self, part: &str) -> opendal::Result<Bytes> {
        let address = match self.url.kind {
            Kind::S3 => format!("{}/?{part}=", self.endpoint),
            _ => format!("{}/storage/v1/b/{}?projection=noAcl&fields={part}", self.endpoint, self.url.bucket),
        };
        self.send(Request::builder().method(Method::GET).uri(address).body(Buffer::new())).await
    }

    async fn send(&self, request: Result<Request<Buffer>, http::Error>) -> opendal::Result<Bytes> {
        let request = request.map_err(|error| Error::new(ErrorKind::Unexpected, error.to_string()))?;
        let (mut head, body) = request.into_parts();
        let signed = match &self.signs {
            Signs::Nobody => Ok(()),
            Signs::Aws(signer) => signer.sign(&mut head, None).await,
            Signs::Google(signer) => signer.sign(&mut head, None).await,
        };
        signed.map_err(|error| new_request_sign_error(error.into()))?;
        // As the library does: Google's servers refuse it with HTTP/2, and the client sets it itself.
        head.headers.remove(HOST);
        let answer = self.transport.send(Request::from_parts(head, body)).await?;
        let (status, text) = (answer.status(), answer.into_body().to_bytes());
        if status.is_success() {
            return Ok(text);
        }
        Err(Error::new(ErrorKind::Unexpected, String::from_utf8_lossy(&text).into_owned()))
    }
}

/// Returns a CRC-32C as Google's service writes it.
fn crc32c(bytes: &[u8]) -> String {
    use base64::Engine;
    let sum = crc_fast::checksum(crc_fast::CrcAlgorithm::Crc32Iscsi, bytes);
    base64::engine::general_purpose::STANDARD.encode(u32::try_from(sum).unwrap_or_default().to_be_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_checksum_is_written_as_the_service_reads_it() {
        assert_eq!(crc32c(b"123456789"), "4waSgw==");
    }
}
