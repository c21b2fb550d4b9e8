//! The endpoint that Prometheus asks while a run goes on.

use std::{convert::Infallible, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
};

/// So many are answered at a time; whoever comes then waits.
const AT_ONCE: usize = 8;
/// Nobody is listened to for longer.
const LONGEST: Duration = Duration::from_secs(10);
/// What the text is.
const TEXT_FORMAT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Answers `GET /metrics` with what `figures` returns, until the future is dropped.
///
/// Never ends by itself: a connection that fails is one that fails.
pub async fn serve(listener: TcpListener, figures: impl Fn() -> String + Send + Sync + 'static) {
    let (figures, room) = (Arc::new(figures), Arc::new(Semaphore::new(AT_ONCE)));
    loop {
        let permit = room.clone().acquire_owned().await.expect("it is never closed");
        match listener.accept().await {
            Ok((stream, _)) => {
                let figures = figures.clone();
                tokio::spawn(async move {
                    let _slow = tokio::time::timeout(LONGEST, answer(stream, &*figures)).await;
                    drop(permit);
                });
            }
            // Out of descriptors, most likely: the run needs them more.
            Err(_) => tokio::time::sleep(Duration::from_secs(1)).await,
        }
    }
}

async fn answer(stream: TcpStream, figures: &(dyn Fn() -> String + Send + Sync)) {
    let service = service_fn(|request: Request<Incoming>| async move { Ok::<_, Infallible>(reply(&request, figures)) });
    // One question a connection: whoever keeps it open would keep others out.
    let connection = http1::Builder::new().keep_alive(false).serve_connection(TokioIo::new(stream), service);
    let _reader_gone = connection.await;
}

fn reply<B>(request: &Request<B>, figures: &(dyn Fn() -> String + Send + Sync)) -> Response<Full<Bytes>> {
    let (status, kind, text) = match (request.method(), request.uri().path()) {
        (&Method::GET | &Method::HEAD, "/metrics") => (StatusCode::OK, TEXT_FORMAT, figures()),
        (&Method::GET | &Method::HEAD, _) => {
            (StatusCode::NOT_FOUND, "text/plain", "the figures are at /metrics\n".into())
        }
        _ => (StatusCode::METHOD_NOT_ALLOWED, "text/plain", "only GET is answered\n".into()),
    };
    let mut response = Response::new(Full::new(Bytes::from(text)));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static(kind));
    response
}
