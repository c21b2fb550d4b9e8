//! Requests that suffer what somebody asked for: in this process, since nobody between it and the service can sign or look into TLS.

use std::path::Path;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_util::Stream;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, RETRY_AFTER};
use http::{Method, StatusCode};
use opendal::{Buffer, Error, ErrorKind, HttpBody, HttpTransport};
use prunella_faults::{Act, Blow, Faults, Operation, Place};

/// Sends a request as `inner` does, unless it is to suffer something.
pub(crate) async fn fetch(
    faults: &Faults,
    inner: &impl HttpTransport,
    request: http::Request<Buffer>,
) -> opendal::Result<http::Response<HttpBody>> {
    let blow = {
        let path = request.uri().path();
        faults.pass(Operation { place: Place::Network, act: act_of(&request), what: Path::new(path) }).await
    };
    match blow {
        None => inner.fetch(request).await,
        Some(Blow::Throttled) => answered(StatusCode::SERVICE_UNAVAILABLE, "SlowDown"),
        Some(Blow::Error) => answered(StatusCode::INTERNAL_SERVER_ERROR, "InternalError"),
        Some(Blow::LostRequest | Blow::Full) => Err(reset()),
        Some(Blow::LostReply) => {
            let _nobody_hears = inner.fetch(request).await;
            Err(reset())
        }
        Some(Blow::Short) => Ok(inner.fetch(request).await?.map(cut)),
    }
}

fn act_of(request: &http::Request<Buffer>) -> Act {
    let query = request.uri().query().unwrap_or_default();
    match *request.method() {
        Method::HEAD => Act::Look,
        Method::GET if query.contains("list-type=") || query.contains("comp=list") || query.contains("prefix=") => {
            Act::Look
        }
        Method::GET => Act::Read,
        Method::DELETE => Act::Remove,
        _ => Act::Create,
    }
}

/// Returns an answer as a service gives it that has no time, or fails, before it has done anything.
fn answered(status: StatusCode, code: &str) -> opendal::Result<http::Response<HttpBody>> {
    let text = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>{code}</Code><Message>Please reduce your request rate.</Message></Error>"
    );
    let size = text.len() as u64;
    let body = HttpBody::new(Once(Some(Buffer::from(text))), Some(size));
    let mut answer = http::Response::builder().status(status).header(CONTENT_TYPE, "application/xml");
    answer = answer.header(CONTENT_LENGTH, size);
    if status == StatusCode::SERVICE_UNAVAILABLE {
        answer = answer.header(RETRY_AFTER, 1);
    }
    answer.body(body).map_err(|error| Error::new(ErrorKind::Unexpected, error.to_string()))
}

fn reset() -> Error {
    Error::new(ErrorKind::Unexpected, "the connection was reset").set_temporary()
}

/// Returns a body that ends after the first half of its first piece; who reads it knows how much there should be.
fn cut(body: HttpBody) -> HttpBody {
    body.map_inner(|inner| Box::new(Cut { inner, ended: false }))
}

type Pieces = Box<dyn Stream<Item = opendal::Result<Buffer>> + Send + Sync + Unpin>;

struct Cut {
    inner: Pieces,
    ended: bool,
}

impl Stream for Cut {
    type Item = opendal::Result<Buffer>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.ended {
            return Poll::Ready(Some(Err(Error::new(ErrorKind::Unexpected, "the answer broke off").set_temporary())));
        }
        let next = std::task::ready!(Pin::new(&mut self.inner).poll_next(context));
        self.ended = true;
        Poll::Ready(next.map(|piece| piece.map(|piece| piece.slice(..piece.len() / 2))))
    }
}

struct Once(Option<Buffer>);

impl Stream for Once {
    type Item = opendal::Result<Buffer>;

    fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        Poll::Ready(self.0.take().map(Ok))
    }
}
