//! A server on a port of loopback, in a thread of its own.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::TryStreamExt;
use hyper::body::Incoming;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use s3s::Body;
use s3s::auth::SimpleAuth;
use s3s::service::{S3Service, S3ServiceBuilder};
use tokio::net::TcpListener;
use tokio::sync::oneshot;

use crate::faults::{Fault, Faults};
use crate::objects::Objects;
use crate::s3::{Conditions, Service};

/// The key id that the server takes.
pub const ACCESS_KEY: &str = "loopback";
/// The secret that goes with it; it opens nothing but this server.
pub const SECRET_KEY: &str = "loopback-secret-word";
/// The region that it says it is in.
pub const REGION: &str = "us-east-1";

/// An S3 server. It ends when it is dropped.
pub struct S3Server {
    loopback: Loopback,
    objects: Arc<Objects>,
}

/// What a server says, beside its faults.
pub(crate) trait Speaks: Clone + Send + Sync + 'static {
    /// Answers a request; an error breaks the connection.
    fn call(&self, request: Request<Incoming>) -> impl Future<Output = Result<Response<Body>, Broken>> + Send;

    /// Returns the kind and the text of a refusal, as the service writes it.
    fn refusal(&self, status: u16, code: &str) -> (&'static str, String);
}

/// A port of loopback, and the thread that answers there.
pub(crate) struct Loopback {
    address: SocketAddr,
    faults: Faults,
    end: Option<oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl S3Server {
    /// Starts a server with one empty bucket.
    ///
    /// # Panics
    /// If loopback cannot be listened on.
    pub fn start(bucket: &str) -> Self {
        Self::with_conditions(bucket, Conditions::Atomic)
    }

    /// Starts a server that treats conditions as it is told.
    ///
    /// # Panics
    /// As [`S3Server::start`].
    pub fn with_conditions(bucket: &str, conditions: Conditions) -> Self {
        let objects = Arc::new(Objects::default());
        objects.make_bucket(bucket);
        let mut builder = S3ServiceBuilder::new(Service(objects.clone(), conditions));
        builder.set_auth(SimpleAuth::from_single(ACCESS_KEY, SECRET_KEY));
        Self { loopback: Loopback::start("s3", S3(builder.build())), objects }
    }

    /// Returns the address, as an endpoint.
    pub fn endpoint(&self) -> String {
        self.loopback.endpoint()
    }

    /// Returns the address of a store in a bucket of this server.
    pub fn url(&self, bucket: &str, prefix: &str) -> String {
        format!("s3://{bucket}/{prefix}?endpoint={}&region={REGION}", self.endpoint())
    }

    /// Returns what it holds.
    pub fn objects(&self) -> &Objects {
        &self.objects
    }

    /// Returns what goes wrong.
    pub fn faults(&self) -> &Faults {
        self.loopback.faults()
    }
}

/// S3, signatures included.
#[derive(Clone)]
struct S3(S3Service);

impl Speaks for S3 {
    async fn call(&self, request: Request<Incoming>) -> Result<Response<Body>, Broken> {
        self.0.call(request.map(Body::from)).await.map_err(|_| Broken)
    }

    fn refusal(&self, _status: u16, code: &str) -> (&'static str, String) {
        let text = format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?><Error><Code>{code}</Code><Message>on demand</Message></Error>"
        );
        ("application/xml", text)
    }
}

impl Loopback {
    /// Answers on a free port from now on.
    pub(crate) fn start(name: &str, speaks: impl Speaks) -> Self {
        let faults = Faults::default();
        let meet = faults.clone();
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("loopback can be listened on");
        let address = listener.local_addr().expect("a listener has an address");
        listener.set_nonblocking(true).expect("a listener can be asked without waiting");
        let (end, ended) = oneshot::channel();
        let thread = std::thread::Builder::new().name(name.to_owned()).spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime starts");
            runtime.block_on(async move {
                let listener = TcpListener::from_std(listener).expect("the listener is fit");
                tokio::select! {
                    () = serve(listener, speaks, meet) => {}
                    _ = ended => {}
                }
            });
        });
        Self { address, faults, end: Some(end), thread: Some(thread.expect("a thread starts")) }
    }

    pub(crate) fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(crate) fn faults(&self) -> &Faults {
        &self.faults
    }
}

impl Drop for Loopback {
    fn drop(&mut self) {
        drop(self.end.take());
        if let Some(thread) = self.thread.take() {
            let _panicked_already = thread.join();
        }
    }
}

async fn serve(listener: TcpListener, service: impl Speaks, faults: Faults) {
    loop {
        let Ok((stream, _)) = listener.accept().await else { continue };
        let _slower = stream.set_nodelay(true);
        let (service, faults) = (service.clone(), faults.clone());
        tokio::spawn(async move {
            let answer = hyper::service::service_fn(move |request| {
                let (service, faults) = (service.clone(), faults.clone());
                async move { answer(&service, &faults, request).await }
            });
            let connection = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), answer);
            // A client that went away is its own business.
            let _went_away = connection.await;
        });
    }
}

/// Says that the connection breaks now.
#[derive(Debug)]
pub(crate) struct Broken;

impl std::fmt::Display for Broken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the connection was broken on demand")
    }
}

impl std::error::Error for Broken {}

async fn answer(service: &impl Speaks, faults: &Faults, request: Request<Incoming>) -> Result<Response<Body>, Broken> {
    let path = request.uri().path_and_query().map(ToString::to_string).unwrap_or_default();
    let fault = faults.meet(request.method().as_str(), &path);
    let every = faults.every();
    if !every.is_zero() {
        tokio::time::sleep(every).await;
    }
    match &fault {
        Some(Fault::Status { status, code, retry_after }) => {
            // The body is read first: a server that closes early looks like a broken connection.
            let _whole = http_body_util::BodyExt::collect(request.into_body()).await;
            return Ok(refusal(service, *status, code, *retry_after));
        }
        Some(Fault::Lost) => return Err(Broken),
        _ => {}
    }
    let done = service.call(request).await?;
    match fault {
        Some(Fault::LostReply) => Err(Broken),
        Some(Fault::DoneAndStatus(status)) => Ok(refusal(service, status, "InternalError", None)),
        Some(Fault::CutBody(after)) => {
            let (parts, body) = done.into_parts();
            let bytes = collected(body).await?;
            let cut = bytes.slice(..after.min(bytes.len() / 2));
            let broken = futures_util::stream::iter([Ok(cut), Err(std::io::Error::other("cut on demand"))]);
            let body = http_body_util::StreamBody::new(broken.map_ok(hyper::body::Frame::data));
            Ok(Response::from_parts(parts, Body::http_body_unsync(body)))
        }
        Some(Fault::FlipBody) => {
            let (parts, body) = done.into_parts();
            let mut bytes = collected(body).await?.to_vec();
            let middle = bytes.len() / 2;
            if let Some(byte) = bytes.get_mut(middle) {
                *byte ^= 1;
            }
            Ok(Response::from_parts(parts, Body::from(Bytes::from(bytes))))
        }
        _ => Ok(done),
    }
}

async fn collected(body: Body) -> Result<Bytes, Broken> {
    Ok(http_body_util::BodyExt::collect(body).await.map_err(|_| Broken)?.to_bytes())
}

fn refusal(service: &impl Speaks, status: u16, code: &str, retry_after: Option<u64>) -> Response<Body> {
    let (kind, text) = service.refusal(status, code);
    let mut response = Response::new(Body::from(Bytes::from(text)));
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    response.headers_mut().insert("content-type", hyper::header::HeaderValue::from_static(kind));
    if let Some(seconds) = retry_after {
        response.headers_mut().insert("retry-after", seconds.into());
    }
    response
}
