//! The way of every request: what was sent is counted, and what was heard is kept for whoever asked.

use std::cell::Cell;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use http::header::RETRY_AFTER;
use opendal::{Buffer, HttpBody, HttpTransport};
use opendal_http_transport_reqwest::ReqwestTransport;
use prunella_sys::{Operation, crash_point};

use prunella_faults::Faults;

use crate::answer::Heard;
use crate::suffering;

tokio::task_local! {
    /// The last answer in this task.
    static HEARD: Cell<Heard>;
}

/// What went over the network since the store was opened.
#[derive(Debug, Default)]
pub struct Traffic {
    requests: AtomicU64,
    sent_bytes: AtomicU64,
    retries: AtomicU64,
}

impl Traffic {
    /// Returns how many requests were sent, tries included.
    pub fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }

    /// Returns the bytes of all bodies that were sent.
    pub fn sent_bytes(&self) -> u64 {
        self.sent_bytes.load(Ordering::Relaxed)
    }

    /// Returns how many requests were made again.
    pub fn retries(&self) -> u64 {
        self.retries.load(Ordering::Relaxed)
    }

    pub(crate) fn retried(&self) {
        self.retries.fetch_add(1, Ordering::Relaxed);
    }
}

/// The transport of one store.
pub(crate) struct Transport {
    inner: ReqwestTransport,
    traffic: Arc<Traffic>,
    faults: Option<Faults>,
}

impl Transport {
    /// Returns a transport that counts in `traffic`, and whose requests suffer what `faults` ask for.
    ///
    /// # Errors
    /// What the TLS library says if it cannot be set up.
    pub(crate) fn new(traffic: Arc<Traffic>, faults: Option<Faults>) -> Result<Self, reqwest::Error> {
        // How long an answer may take is decided by the caller, who knows its size.
        let client = reqwest::Client::builder()
            .connect_timeout(CONNECT)
            .pool_idle_timeout(IDLE)
            .tcp_nodelay(true)
            .redirect(reqwest::redirect::Policy::none())
            .user_agent(concat!("prunella/", env!("CARGO_PKG_VERSION")))
            .build()?;
        Ok(Self { inner: ReqwestTransport::new(client), traffic, faults })
    }
}

const CONNECT: Duration = Duration::from_secs(5);
const IDLE: Duration = Duration::from_secs(60);

impl HttpTransport for Transport {
    async fn fetch(&self, request: http::Request<Buffer>) -> opendal::Result<http::Response<HttpBody>> {
        self.traffic.requests.fetch_add(1, Ordering::Relaxed);
        self.traffic.sent_bytes.fetch_add(request.body().len() as u64, Ordering::Relaxed);
        let changes = !matches!(*request.method(), http::Method::GET | http::Method::HEAD);
        let point = changes
            .then(|| crash_point(Operation::Request, || format!("{} {}", request.method(), request.uri().path())));
        let answered = match &self.faults {
            None => self.inner.fetch(request).await,
            Some(faults) => suffering::fetch(faults, &self.inner, request).await,
        };
        if let Some(point) = point
            && answered.is_ok()
        {
            point.done();
        }
        let heard = match &answered {
            Err(_) => Heard::default(),
            Ok(response) => Heard {
                status: Some(response.status().as_u16()),
                retry_after: response.headers().get(RETRY_AFTER).and_then(|value| seconds(value.to_str().ok()?)),
            },
        };
        // Outside of a request that asks for it, nobody listens.
        let _nobody = HEARD.try_with(|kept| kept.set(heard));
        answered
    }
}

/// Reads `Retry-After` in seconds; a date is of the store's clock, which is compared with nothing here.
fn seconds(value: &str) -> Option<Duration> {
    value.trim().parse().ok().map(Duration::from_secs)
}

/// Runs one request and returns with its outcome what was heard.
pub(crate) async fn hearing<T>(request: impl Future<Output = T>) -> (T, Heard) {
    HEARD
        .scope(Cell::new(Heard::default()), async {
            let outcome = request.await;
            (outcome, HEARD.with(Cell::get))
        })
        .await
}
