//! What a server does wrong, on demand.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// A request that arrived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// How many came before it.
    pub number: u64,
    /// Its method.
    pub method: String,
    /// Its path and query.
    pub path: String,
}

/// What goes wrong with a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// It is answered with this status and nothing is done.
    Status {
        /// The status.
        status: u16,
        /// The code in the answer, as the service writes it.
        code: &'static str,
        /// What `Retry-After` says, in seconds.
        retry_after: Option<u64>,
    },
    /// The connection breaks before anything is done.
    Lost,
    /// It is done, and the connection breaks before the answer.
    LostReply,
    /// It is done, and answered with this status all the same.
    DoneAndStatus(u16),
    /// The answer's body ends after so many bytes, or half of it if that is less.
    CutBody(usize),
    /// One bit of the answer's body is another.
    FlipBody,
}

type Plan = dyn Fn(&Asked) -> Option<Fault> + Send + Sync;

/// The plan of a server, and what it counted.
#[derive(Clone, Default)]
pub struct Faults {
    inner: Arc<Inner>,
}

#[derive(Default)]
struct Inner {
    plan: Mutex<Option<Arc<Plan>>>,
    asked: AtomicU64,
    delay_us: AtomicU64,
}

impl Faults {
    /// Lets every request fail as the plan says, from now on.
    pub fn plan(&self, plan: impl Fn(&Asked) -> Option<Fault> + Send + Sync + 'static) {
        *self.lock() = Some(Arc::new(plan));
    }

    /// Lets nothing fail from now on.
    pub fn none(&self) {
        *self.lock() = None;
    }

    /// Delays every answer by this long.
    pub fn delay(&self, by: Duration) {
        self.inner.delay_us.store(u64::try_from(by.as_micros()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// Returns how many requests arrived.
    pub fn asked(&self) -> u64 {
        self.inner.asked.load(Ordering::Relaxed)
    }

    pub(crate) fn every(&self) -> Duration {
        Duration::from_micros(self.inner.delay_us.load(Ordering::Relaxed))
    }

    pub(crate) fn meet(&self, method: &str, path: &str) -> Option<Fault> {
        let number = self.inner.asked.fetch_add(1, Ordering::Relaxed);
        let plan = self.lock().clone()?;
        plan(&Asked { number, method: method.to_owned(), path: path.to_owned() })
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Arc<Plan>>> {
        self.inner.plan.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}
