//! How long to wait before the next try, and how many requests run at once.

use std::sync::Mutex;
use std::time::Duration;

use tokio::sync::{Semaphore, SemaphorePermit};

/// The longest wait between two tries, unless the store asks for more.
const LONGEST: Duration = Duration::from_secs(20);

/// Returns how long to wait after the `failed`-th failure (from 1): anything up to a limit that doubles ("full jitter").
///
/// `random` decides where in it. A store that asks for more time gets it. Source: M. Brooker, "Exponential Backoff And Jitter",
/// AWS Architecture Blog, 2015.
pub(crate) fn wait(failed: u32, throttled: bool, retry_after: Option<Duration>, random: u64) -> Duration {
    let first = if throttled { Duration::from_millis(500) } else { Duration::from_millis(50) };
    let limit = first.saturating_mul(2_u32.saturating_pow(failed.saturating_sub(1).min(16))).min(LONGEST);
    let drawn = limit.mul_f64(random as f64 / u64::MAX as f64);
    drawn.max(retry_after.unwrap_or_default())
}

/// How many requests run at once: fewer when the store asks for that, slowly more again while it does not.
///
/// Half of them after a throttled answer, one more after as many good ones as run at once (additive increase, multiplicative
/// decrease).
pub(crate) struct Flow {
    permits: Semaphore,
    now: Mutex<Now>,
    most: usize,
}

struct Now {
    limit: usize,
    good: usize,
    /// Permits to take out of use when they come back.
    owed: usize,
}

/// A request that runs.
pub(crate) struct Running<'a> {
    flow: &'a Flow,
    permit: Option<SemaphorePermit<'a>>,
}

impl Flow {
    /// Returns a flow of at most `most` requests at once.
    pub(crate) fn new(most: usize) -> Self {
        let most = most.max(1);
        Self { permits: Semaphore::new(most), now: Mutex::new(Now { limit: most, good: 0, owed: 0 }), most }
    }

    /// Waits until one more request may run.
    pub(crate) async fn enter(&self) -> Running<'_> {
        let permit = self.permits.acquire().await.ok();
        Running { flow: self, permit }
    }

    /// Hears that a request was answered well.
    pub(crate) fn good(&self) {
        let mut now = self.now();
        now.good += 1;
        if now.good >= now.limit && now.limit < self.most {
            now.good = 0;
            now.limit += 1;
            if now.owed > 0 {
                now.owed -= 1;
            } else {
                self.permits.add_permits(1);
            }
        }
    }

    /// Hears that the store asks for fewer requests.
    pub(crate) fn throttled(&self) {
        let mut now = self.now();
        let fewer = now.limit / 2;
        now.limit -= fewer;
        now.good = 0;
        now.owed += fewer - self.permits.forget_permits(fewer);
    }

    /// Returns how many may run at once.
    #[cfg(test)]
    fn limit(&self) -> usize {
        self.now().limit
    }

    fn now(&self) -> std::sync::MutexGuard<'_, Now> {
        self.now.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        let mut now = self.flow.now();
        if now.owed > 0
            && let Some(permit) = self.permit.take()
        {
            now.owed -= 1;
            permit.forget();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_up_to_a_limit_and_honour_what_the_store_asks() {
        assert_eq!(wait(1, false, None, u64::MAX), Duration::from_millis(50));
        assert_eq!(wait(3, false, None, u64::MAX), Duration::from_millis(200));
        assert_eq!(wait(60, false, None, u64::MAX), LONGEST);
        assert_eq!(wait(60, true, None, 0), Duration::ZERO, "anything from nothing on is drawn");
        assert_eq!(wait(1, true, Some(Duration::from_secs(30)), 0), Duration::from_secs(30));
    }

    #[tokio::test]
    async fn throttling_halves_what_runs_at_once_and_good_answers_bring_it_back() {
        let flow = Flow::new(8);
        let held = [flow.enter().await, flow.enter().await, flow.enter().await, flow.enter().await, flow.enter().await];
        flow.throttled();
        assert_eq!(flow.limit(), 4);
        assert_eq!(flow.permits.available_permits(), 0, "five run, three were free, four are taken out of use");
        drop(held);
        assert_eq!(flow.permits.available_permits(), 4);
        flow.throttled();
        flow.throttled();
        flow.throttled();
        assert_eq!((flow.limit(), flow.permits.available_permits()), (1, 1), "one always runs");
        for _ in 0..100 {
            flow.good();
        }
        assert_eq!((flow.limit(), flow.permits.available_permits()), (8, 8));
    }
}
