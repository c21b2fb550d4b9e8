//! One request at a time to a bucket: tried again while that may help, with an outcome that says only what is known.

mod hints;
pub(crate) mod others;
mod parts;
pub(crate) mod pour;
mod shown;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::TryStreamExt;
use opendal::{HttpTransporter, Metadata, OperationContext, Operator};
use prunella_objects::{Frames, Listed, ObjectKey, ObjectsError};
use prunella_sys::{Sys, mutated};

use crate::answer::{Answer, answer, is_unsigned};
use crate::options::Options;
use crate::own::Own;
use crate::pace::{Flow, wait};
use crate::rate::Rate;
use crate::service::{endpoint, operator};
use crate::transport::{Traffic, Transport, hearing};
use crate::url::{Kind, StoreUrl};
use hints::HINT;
use others::Versions;
pub(crate) use parts::PART_BYTES;
pub(crate) use shown::{Asks, unquoted};

/// A bucket, and how patient its user is.
#[derive(Clone)]
pub(crate) struct Bucket {
    op: Operator,
    own: Option<Arc<Own>>,
    url: Arc<StoreUrl>,
    sys: Sys,
    flow: Arc<Flow>,
    rate: Rate,
    traffic: Arc<Traffic>,
    patience: Duration,
    endpoint: Arc<str>,
}

/// The outcome of a conditional write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Put {
    /// It was written now.
    New,
    /// The condition did not hold; after an answer that was lost, what is there may be one's own.
    There,
}

/// Why the tries ended.
enum Ended {
    Absent,
    There,
    Error(ObjectsError),
}

/// What a request may have to wait for beside its bytes.
const ANSWER: Duration = Duration::from_secs(30);

/// How long a machine's service for credentials may stumble; where there is none, there is none.
const CREDENTIALS: Duration = Duration::from_secs(10);

/// The slowest transfer that is waited for.
const SLOWEST_BYTES_PER_SECOND: u64 = 64 << 10;

impl Bucket {
    /// Returns the bucket at `url`; nothing is asked yet.
    ///
    /// # Errors
    /// [`ObjectsError::Unfit`] if the environment lacks what is needed to ask.
    pub(crate) fn new(sys: &Sys, url: &StoreUrl, options: &Options) -> Result<Self, ObjectsError> {
        let (traffic, patience) = (Arc::<Traffic>::default(), options.patience);
        let unfit = |message: String| ObjectsError::Unfit { store: url.to_string(), message };
        let transport =
            Transport::new(traffic.clone(), options.faults.clone()).map_err(|error| unfit(error.to_string()))?;
        let transport = HttpTransporter::new(transport);
        let context = OperationContext::new().with_http_transport(transport.clone());
        let endpoint = endpoint(sys, url);
        let own = Own::new(sys, url, endpoint.as_deref(), &transport).map(Arc::new);
        let op = operator(sys, url, endpoint.as_deref()).map_err(|error| unfit(error.message().to_owned()))?;
        let (op, endpoint) = (op.with_context(context), endpoint.unwrap_or_default().into());
        let flow = Arc::new(Flow::new(options.at_once));
        let rate = options.rate.clone();
        Ok(Self { op, own, url: Arc::new(url.clone()), sys: sys.clone(), flow, rate, traffic, patience, endpoint })
    }

    /// Returns the address of the service, as it was made up of address, environment and what is usual.
    pub(crate) fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// Returns what went over the network.
    pub(crate) fn traffic(&self) -> &Traffic {
        &self.traffic
    }

    /// Returns the bucket, to be asked without the library.
    pub(crate) fn own(&self) -> Option<&Own> {
        self.own.as_deref()
    }

    /// Returns the address.
    pub(crate) fn url(&self) -> &StoreUrl {
        &self.url
    }

    /// Writes an object unless one is there.
    ///
    /// # Errors
    /// [`ObjectsError::Undecided`] if it may have been written and no later answer told.
    pub(crate) async fn put_new(&self, key: &ObjectKey, bytes: Bytes) -> Result<Put, ObjectsError> {
        self.put_new_marked(key, bytes, None).await
    }

    /// Writes a hint unless something is there.
    ///
    /// # Errors
    /// As [`Bucket::put_new`].
    pub(crate) async fn put_new_hint(&self, key: &ObjectKey, bytes: Bytes) -> Result<Put, ObjectsError> {
        self.put_new_marked(key, bytes, Some(HINT)).await
    }

    async fn put_new_marked(
        &self,
        key: &ObjectKey,
        bytes: Bytes,
        mark: Option<&'static str>,
    ) -> Result<Put, ObjectsError> {
        let size = bytes.len() as u64;
        let write = || {
            let (op, bytes, key) = (self.op.clone(), bytes.clone(), key.clone());
            // The library makes a resumable upload of it at Google's: two requests, and no checksum.
            let own = self.own.clone().filter(|_| self.url.kind == Kind::Gcs);
            async move {
                if let Some(own) = own {
                    return own.create(key.as_str(), bytes, mark).await;
                }
                let mut write = op.write_with(key.as_str(), bytes).if_not_exists(!mutated(49));
                if let Some(mark) = mark {
                    write = write.user_metadata([(mark.to_owned(), "true".to_owned())]);
                }
                write.await.map(drop)
            }
        };
        self.line(size).await;
        match self.tried(Some(key), size, write).await {
            Ok(()) => Ok(Put::New),
            Err(Ended::There) => Ok(Put::There),
            Err(Ended::Absent) => Err(self.odd("a write was answered with `absent`")),
            Err(Ended::Error(error)) => Err(error),
        }
    }

    /// Returns an object's bytes; nothing only if it is definitely absent.
    ///
    /// # Errors
    /// [`ObjectsError::TooLarge`] above `limit`.
    pub(crate) async fn get(&self, key: &ObjectKey, limit: u64) -> Result<Option<Bytes>, ObjectsError> {
        match self.get_begin(key, limit).await? {
            None => Ok(None),
            Some((frames, size)) if size == frames.len() as u64 => Ok(Some(frames.into_bytes())),
            Some((_, size_bytes)) => Err(ObjectsError::TooLarge { key: key.clone(), size_bytes, limit_bytes: limit }),
        }
    }

    /// Returns an object's first bytes, all of it if it has at most `limit`, and its size; nothing only if it is definitely absent.
    pub(crate) async fn get_begin(&self, key: &ObjectKey, limit: u64) -> Result<Option<(Frames, u64)>, ObjectsError> {
        let read = || {
            let (op, key) = (self.op.clone(), key.clone());
            async move {
                let mut stream = op.reader(key.as_str()).await?.into_stream(..).await?;
                let size = stream.metadata().await?.content_length();
                let (mut parts, mut have) = (Vec::new(), 0);
                while have < limit.min(size) {
                    let Some(some) = stream.try_next().await? else { break };
                    have += some.len() as u64;
                    parts.extend(some);
                }
                if have < size.min(limit) || have > size {
                    let cut = format!("{have} bytes came of {size}");
                    return Err(opendal::Error::new(opendal::ErrorKind::Unexpected, cut).set_temporary());
                }
                Ok((Frames::from_iter(parts), size))
            }
        };
        let read = self.unconditional(self.tried(None, limit.min(SIZE_UNKNOWN), read).await)?;
        // How much it is was not known before: whoever comes next waits for it.
        let bytes = read.as_ref().map_or(0, |(bytes, _)| bytes.len() as u64);
        let _next_waits = self.rate.take(self.sys.clock.monotonic(), bytes);
        Ok(read)
    }

    /// Returns up to `limit` objects whose key begins with `prefix` and is greater than `after`, in byte order.
    pub(crate) async fn list(
        &self,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<Listed>, ObjectsError> {
        // What is no key was put there by somebody else, and is none of ours.
        let ours = |name: String, size| Some(Listed { key: ObjectKey::new(name).ok()?, size });
        self.listed(prefix, after, limit, ours).await
    }

    /// Returns what `wanted` makes of up to `limit` names that it wants, in byte order.
    async fn listed<T>(
        &self,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
        wanted: impl Fn(String, u64) -> Option<T>,
    ) -> Result<Vec<T>, ObjectsError> {
        let (mut found, mut from) = (Vec::new(), after.map(str::to_owned));
        while found.len() < limit {
            // Page by page, so that a failure does not begin the whole listing anew.
            let behind = from.clone().filter(|from| from.as_str() >= prefix);
            // Where a listing begins at the prefix, each page by itself would read all that is before it.
            let page = (limit - found.len()).min(if self.lists_from_anywhere() { PAGE } else { usize::MAX });
            let take = |name: &str, meta: &Metadata| Some((name.to_owned(), meta.content_length()));
            let Page { found: names, last, ended } = self.page(prefix, behind, page, Versions::AsListed, take).await?;
            from = last.or(from);
            found.extend(names.into_iter().filter_map(|(name, size)| wanted(name, size)));
            if ended {
                break;
            }
        }
        Ok(found)
    }

    /// Returns whether a listing can begin anywhere; otherwise it begins at the prefix, whatever is asked for.
    pub(crate) fn lists_from_anywhere(&self) -> bool {
        self.op.info().capability().list_with_start_after
    }

    /// Returns what `take` makes of one page of so many names.
    async fn page<T>(
        &self,
        prefix: &str,
        after: Option<String>,
        limit: usize,
        versions: Versions,
        take: impl Fn(&str, &Metadata) -> Option<T>,
    ) -> Result<Page<T>, ObjectsError> {
        let knows = self.lists_from_anywhere();
        // Its pages are made again one by one then.
        let op = if knows { self.op.clone() } else { self.by_part() };
        let ask = || {
            let (op, after, prefix, take) = (op.clone(), after.clone(), prefix.to_owned(), &take);
            async move {
                let mut asked = op.lister_with(&prefix).recursive(true).limit(limit.min(PAGE));
                if versions == Versions::Wanted {
                    asked = asked.versions(true);
                }
                if let Some(after) = after.as_deref().filter(|_| knows) {
                    asked = asked.start_after(after);
                }
                let mut lister = asked.await?;
                let (mut names, mut page) = (0, Page { found: Vec::new(), last: None, ended: false });
                while names < limit {
                    let Some(entry) = lister.try_next().await? else { return Ok(Page { ended: true, ..page }) };
                    let name = entry.path();
                    // A service without `start_after` lists from the beginning.
                    let seen = after.as_deref().is_some_and(|after| name <= after);
                    if !seen && name.starts_with(&prefix) && !name.ends_with('/') {
                        names += 1;
                        page.found.extend(take(name, entry.metadata()));
                        page.last = Some(name.to_owned());
                    }
                }
                Ok(page)
            }
        };
        let page = self.unconditional(self.tried(None, SIZE_UNKNOWN, ask).await)?;
        Ok(page.unwrap_or(Page { found: Vec::new(), last: None, ended: true }))
    }

    /// Returns what is said beside an object's bytes; nothing if it is absent.
    async fn about(&self, name: &str) -> Result<Option<Metadata>, ObjectsError> {
        // A HEAD that finds nothing says so without words, so that its absence proves nothing: only listing does.
        let listed = self.listed(name, None, 1, |name, _| Some(name)).await?;
        if listed.first().is_none_or(|listed| listed != name) {
            return Ok(None);
        }
        let stat = || {
            let (op, name) = (self.op.clone(), name.to_owned());
            async move { op.stat(&name).await }
        };
        self.unconditional(self.tried(None, 0, stat).await)
    }

    /// Deletes an object; done as well if it was absent.
    pub(crate) async fn delete(&self, key: &ObjectKey) -> Result<(), ObjectsError> {
        let delete = || {
            let (op, key) = (self.op.clone(), key.clone());
            async move { op.delete(key.as_str()).await }
        };
        self.unconditional(self.tried(Some(key), 0, delete).await).map(drop)
    }

    /// Waits until so many bytes may go over the network.
    async fn line(&self, bytes: u64) {
        let wait = self.rate.take(self.sys.clock.monotonic(), bytes);
        if !wait.is_zero() {
            self.sys.clock.sleep(wait).await;
        }
    }

    /// Returns the outcome of a request without a condition; nothing if the object is absent.
    fn unconditional<T>(&self, outcome: Result<T, Ended>) -> Result<Option<T>, ObjectsError> {
        match outcome {
            Ok(done) => Ok(Some(done)),
            Err(Ended::Absent) => Ok(None),
            Err(Ended::There) => Err(self.odd("a request without a condition was answered with one")),
            Err(Ended::Error(error)) => Err(error),
        }
    }

    fn odd(&self, message: &str) -> ObjectsError {
        ObjectsError::Unreachable { store: self.url.to_string(), message: message.to_owned() }
    }

    /// Makes a request until its answer is one that the same request would get again, or patience ends.
    ///
    /// `written` names what a write writes: if it may have been done, the end is [`ObjectsError::Undecided`].
    async fn tried<T, F>(&self, written: Option<&ObjectKey>, bytes: u64, request: impl Fn() -> F) -> Result<T, Ended>
    where
        F: Future<Output = opendal::Result<T>>,
    {
        let limit = ANSWER + Duration::from_secs(bytes / SLOWEST_BYTES_PER_SECOND);
        let (began, mut failed, mut undecided) = (self.sys.clock.monotonic(), 0, false);
        loop {
            let running = self.flow.enter().await;
            let (outcome, heard) = hearing(tokio::time::timeout(limit, request())).await;
            drop(running);
            let mut unsigned = false;
            let (meaning, message) = match outcome {
                Ok(Ok(done)) => {
                    self.flow.good();
                    return Ok(done);
                }
                Ok(Err(error)) => {
                    unsigned = is_unsigned(error.message());
                    (answer(self.url.kind, &error, heard), said(&error, heard.status))
                }
                Err(_) => {
                    let waited = format!("no answer within {} s", limit.as_secs());
                    (Answer::Again { throttled: false, maybe_done: true }, waited)
                }
            };
            let store = self.url.to_string();
            let ended = match meaning {
                Answer::Absent => return Err(Ended::Absent),
                Answer::There => return Err(Ended::There),
                Answer::Forbidden => ObjectsError::Forbidden { store, message },
                Answer::NoBucket => ObjectsError::NoBucket { store, message },
                Answer::Unfit => ObjectsError::Unfit { store, message },
                Answer::Again { throttled, maybe_done } => {
                    undecided |= maybe_done;
                    failed += 1;
                    if throttled {
                        self.flow.throttled();
                    }
                    let mut bits = [0; 8];
                    self.sys.random.fill(&mut bits);
                    let pause = wait(failed, throttled, heard.retry_after, u64::from_le_bytes(bits));
                    let patience = if unsigned { self.patience.min(CREDENTIALS) } else { self.patience };
                    if self.sys.clock.monotonic().saturating_sub(began) + pause < patience {
                        self.traffic.retried();
                        self.sys.clock.sleep(pause).await;
                        continue;
                    }
                    match unsigned {
                        true => ObjectsError::Forbidden { store, message },
                        false => ObjectsError::Unreachable { store, message },
                    }
                }
            };
            // What is refused now may have been done before, unheard.
            return Err(Ended::Error(match written.filter(|_| undecided) {
                Some(key) => ObjectsError::Undecided { key: key.clone(), message: ended.to_string() },
                None => ended,
            }));
        }
    }
}

/// What the library says if an answer is whole and has fewer bytes than were asked for.
const TOO_FEW: &str = "reader got too little data";

/// How the library says that the range of an answer ends before it begins.
const NOTHING_LEFT: &str = "end is less than start";

/// What an answer of unknown size is reckoned with.
const SIZE_UNKNOWN: u64 = 8 << 20;

/// A part of a listing.
struct Page<T> {
    found: Vec<T>,
    /// The last name that was looked at.
    last: Option<String>,
    ended: bool,
}

/// How many names one listing asks for; the most that S3 gives.
const PAGE: usize = 1000;

/// Returns what an error says, in one line and without what the library adds for its own authors.
fn said(error: &opendal::Error, status: Option<u16>) -> String {
    let mut text = error.message().split_whitespace().collect::<Vec<_>>().join(" ");
    let mut source = std::error::Error::source(error);
    while let Some(inner) = source {
        text.push_str(": ");
        text.push_str(&inner.to_string());
        source = inner.source();
    }
    if let Some(status) = status {
        text = format!("{text} (HTTP {status})");
    }
    if text.len() > SAID_BYTES {
        let end = (0..=SAID_BYTES).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
        text.truncate(end);
        text.push('…');
    }
    text
}

const SAID_BYTES: usize = 600;
