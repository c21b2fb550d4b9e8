//! One question to a metadata service: plain HTTP/1.1, a connection each, and a limit to patience and size.

use std::{
    fmt,
    future::pending,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    str::FromStr,
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Limited};
use hyper::{Method, Request, StatusCode, client::conn::http1, header::HOST};
use hyper_util::rt::TokioIo;
use prunella_sys::Clock;
use tokio::net::TcpStream;

use crate::answers::Unreadable;

/// How long a connection may take: the service is inside the machine's host.
const CONNECT: Duration = Duration::from_secs(1);
/// More than any answer has.
const MOST: usize = 256 << 10;

/// Where a metadata service answers: an address, so that no name has to be looked up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Endpoint(SocketAddr);

impl Default for Endpoint {
    /// Returns the address that all clouds use.
    fn default() -> Self {
        Self(SocketAddr::new(IpAddr::V4(Ipv4Addr::new(169, 254, 169, 254)), 80))
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "http://{}", self.0)
    }
}

/// The text is no endpoint.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no endpoint: write `http://ADDRESS` or `http://ADDRESS:PORT` with an IP address")]
pub struct NoEndpoint(String);

impl FromStr for Endpoint {
    type Err = NoEndpoint;

    /// Reads `http://ADDRESS[:PORT]`, an IPv6 address in brackets; the scheme and a last `/` may be left out.
    fn from_str(text: &str) -> Result<Self, NoEndpoint> {
        let address = text.trim().trim_end_matches('/');
        let address = address.strip_prefix("http://").unwrap_or(address);
        let ip = address.strip_prefix('[').and_then(|inner| inner.strip_suffix(']')).unwrap_or(address);
        let bare = ip.parse::<IpAddr>().map(|ip| SocketAddr::new(ip, 80));
        address.parse().or(bare).map(Self).map_err(|_| NoEndpoint(text.to_owned()))
    }
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// Nobody listens, or the network refuses.
    #[error("no connection to {endpoint}: {source}")]
    NoConnection {
        /// Where.
        endpoint: Endpoint,
        /// Why.
        source: std::io::Error,
    },
    /// It took too long.
    #[error("{endpoint} does not answer within {} s", after.as_secs())]
    Silent {
        /// Where.
        endpoint: Endpoint,
        /// How long was waited.
        after: Duration,
    },
    /// What came back is no HTTP, or too long.
    #[error("{endpoint} does not speak HTTP: {source}")]
    Garbled {
        /// Where.
        endpoint: Endpoint,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The service refuses, or is in trouble.
    #[error("{endpoint} answers {status} for {path}")]
    Status {
        /// Where.
        endpoint: Endpoint,
        /// What was asked for.
        path: String,
        /// The answer.
        status: u16,
    },
    /// Somebody else answers there.
    #[error("{endpoint} is not the metadata service that was expected")]
    Stranger {
        /// Where.
        endpoint: Endpoint,
    },
    /// The answer makes no sense.
    #[error(transparent)]
    Unreadable(#[from] Unreadable),
}

/// An answer of a service.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) etag: Option<String>,
    pub(crate) flavor: Option<String>,
    pub(crate) body: String,
}

/// Asks one service.
#[derive(Clone)]
pub(crate) struct Asker {
    pub(crate) endpoint: Endpoint,
    pub(crate) clock: Arc<dyn Clock>,
}

impl Asker {
    /// Asks, and returns the answer whatever its status; dropped, it ends at once.
    pub(crate) async fn ask(
        &self,
        method: Method,
        path: &str,
        headers: &[(&'static str, &str)],
        patience: Duration,
    ) -> Result<Answer, AskError> {
        let endpoint = self.endpoint;
        let stream = tokio::select! {
            stream = TcpStream::connect(endpoint.0) => stream,
            () = self.clock.sleep(CONNECT) => return Err(AskError::Silent { endpoint, after: CONNECT }),
        };
        let stream = stream.map_err(|source| AskError::NoConnection { endpoint, source })?;
        tokio::select! {
            answer = self.exchange(stream, method, path, headers) => {
                answer.map_err(|source| AskError::Garbled { endpoint, source })
            }
            () = self.clock.sleep(patience) => Err(AskError::Silent { endpoint, after: patience }),
        }
    }

    async fn exchange(
        &self,
        stream: TcpStream,
        method: Method,
        path: &str,
        headers: &[(&'static str, &str)],
    ) -> Result<Answer, Box<dyn std::error::Error + Send + Sync>> {
        let mut request = Request::builder().method(method).uri(path).header(HOST, self.endpoint.0.to_string());
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Empty::<Bytes>::new())?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        let answer = async {
            let response = sender.send_request(request).await?;
            let header = |name| Some(response.headers().get(name)?.to_str().ok()?.to_owned());
            let (status, etag, flavor) = (response.status(), header("etag"), header("metadata-flavor"));
            let body = Limited::new(response.into_body(), MOST).collect().await?.to_bytes();
            Ok(Answer { status, etag, flavor, body: String::from_utf8_lossy(&body).into_owned() })
        };
        tokio::select! {
            answer = answer => answer,
            // The connection carries the question; when it is over, the answer has come or will say what is wrong.
            () = async { let _told_by_the_answer = connection.await; pending().await } => pending().await,
        }
    }

    /// Asks for something that must be there.
    pub(crate) async fn get(
        &self,
        path: &str,
        headers: &[(&'static str, &str)],
        patience: Duration,
    ) -> Result<Answer, AskError> {
        let answer = self.ask(Method::GET, path, headers, patience).await?;
        if answer.status == StatusCode::OK { Ok(answer) } else { Err(self.refused(path, &answer)) }
    }

    pub(crate) fn refused(&self, path: &str, answer: &Answer) -> AskError {
        AskError::Status { endpoint: self.endpoint, path: path.to_owned(), status: answer.status.as_u16() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_is_an_address() {
        let shown = |text: &str| text.parse::<Endpoint>().map(|endpoint| endpoint.to_string()).ok();
        assert_eq!(Endpoint::default().to_string(), "http://169.254.169.254:80");
        assert_eq!(shown("http://127.0.0.1:8080/").as_deref(), Some("http://127.0.0.1:8080"));
        assert_eq!(shown("169.254.169.254").as_deref(), Some("http://169.254.169.254:80"));
        assert_eq!(shown("http://[fd00:ec2::254]").as_deref(), Some("http://[fd00:ec2::254]:80"));
        assert_eq!(shown("[::1]:1338").as_deref(), Some("http://[::1]:1338"));
        for text in ["", "http://", "https://127.0.0.1", "http://metadata.google.internal", "http://127.0.0.1/latest"] {
            assert_eq!(shown(text), None, "{text}");
        }
    }
}
