//! A wall clock that jumps.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use prunella_sys::Clock;

use crate::faults::Faults;

/// A clock whose time of day is wrong by as much as the file says; the monotonic one is right.
pub(crate) struct WrongClock {
    inner: Arc<dyn Clock>,
    faults: Faults,
}

impl WrongClock {
    pub fn new(inner: Arc<dyn Clock>, faults: Faults) -> Self {
        Self { inner, faults }
    }
}

#[async_trait]
impl Clock for WrongClock {
    fn monotonic(&self) -> Duration {
        self.inner.monotonic()
    }

    fn wall_ms(&self) -> i64 {
        self.inner.wall_ms().saturating_add(self.faults.clock_ms())
    }

    async fn sleep(&self, d: Duration) {
        self.inner.sleep(d).await;
    }
}
