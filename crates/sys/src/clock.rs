//! Time: monotonic for decisions, wall for display.

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::{Notify, oneshot};

/// Tells the time and waits.
#[async_trait]
pub trait Clock: Send + Sync {
    /// Returns the time since some fixed instant of this boot; it stands still while the machine is suspended.
    fn monotonic(&self) -> Duration;

    /// Returns milliseconds since 1970 UTC, for display only: it can jump, and decides nothing.
    fn wall_ms(&self) -> i64;

    /// Waits until `d` has passed on the monotonic clock.
    async fn sleep(&self, d: Duration);
}

/// The machine's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct RealClock;

#[async_trait]
impl Clock for RealClock {
    fn monotonic(&self) -> Duration {
        monotonic()
    }

    fn wall_ms(&self) -> i64 {
        let t = rustix::time::clock_gettime(rustix::time::ClockId::Realtime);
        #[allow(clippy::useless_conversion, clippy::unnecessary_cast)]
        // the widths differ between targets
        let ms = (t.tv_sec as i64).saturating_mul(1000).saturating_add(t.tv_nsec as i64 / 1_000_000);
        ms
    }

    async fn sleep(&self, d: Duration) {
        tokio::time::sleep(d).await;
    }
}

/// A clock on which several seconds pass in one; its wall clock is that of the clock below it.
#[derive(Clone)]
pub struct HurriedClock {
    inner: Arc<dyn Clock>,
    by: f64,
}

impl HurriedClock {
    /// Returns a clock on which `by` seconds pass in one; `by` is finite and above 0.
    pub fn new(inner: Arc<dyn Clock>, by: f64) -> Self {
        Self { inner, by }
    }
}

#[async_trait]
impl Clock for HurriedClock {
    fn monotonic(&self) -> Duration {
        self.inner.monotonic().mul_f64(self.by)
    }

    fn wall_ms(&self) -> i64 {
        self.inner.wall_ms()
    }

    async fn sleep(&self, d: Duration) {
        self.inner.sleep(d.div_f64(self.by)).await;
    }
}

/// Linux's CLOCK_MONOTONIC excludes suspend.
#[cfg(target_os = "linux")]
fn monotonic() -> Duration {
    let t = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    Duration::new(t.tv_sec.try_into().unwrap_or(0), t.tv_nsec.try_into().unwrap_or(0))
}

/// Apple's CLOCK_MONOTONIC includes suspend; the standard library's `Instant` uses the one that does not.
#[cfg(not(target_os = "linux"))]
fn monotonic() -> Duration {
    static START: std::sync::OnceLock<std::time::Instant> = std::sync::OnceLock::new();
    START.get_or_init(std::time::Instant::now).elapsed()
}

/// A clock that moves only when told; for tests. Clones share one time.
#[derive(Clone)]
pub struct ManualClock {
    shared: Arc<Shared>,
}

struct Shared {
    state: Mutex<State>,
    changed: Notify,
}

struct State {
    now: Duration,
    wall_ms: i64,
    sleepers: Vec<(Duration, oneshot::Sender<()>)>,
}

impl ManualClock {
    /// Returns a clock that stands at monotonic 1,000 s and 2026-01-01T00:00:00Z.
    pub fn new() -> Self {
        let state = State { now: Duration::from_secs(1000), wall_ms: 1_767_225_600_000, sleepers: Vec::new() };
        ManualClock { shared: Arc::new(Shared { state: Mutex::new(state), changed: Notify::new() }) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.shared.state.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// Moves both clocks forward by `d` and wakes whoever has slept long enough.
    pub fn advance(&self, d: Duration) {
        let mut state = self.state();
        state.now += d;
        state.wall_ms += i64::try_from(d.as_millis()).unwrap_or(i64::MAX);
        let now = state.now;
        let (due, waiting): (Vec<_>, Vec<_>) = state.sleepers.drain(..).partition(|(at, _)| *at <= now);
        state.sleepers = waiting;
        drop(state);
        for (_, wake) in due {
            // A sleeper that was dropped meanwhile is not an error.
            let _ = wake.send(());
        }
    }

    /// Moves the wall clock alone, also backwards, as an administrator or NTP would.
    pub fn jump_wall(&self, ms: i64) {
        self.state().wall_ms += ms;
    }

    /// Returns how long it is until the next sleeper is due.
    pub fn next_due(&self) -> Option<Duration> {
        let mut state = self.state();
        state.sleepers.retain(|(_, wake)| !wake.is_closed());
        let now = state.now;
        state.sleepers.iter().map(|(at, _)| at.saturating_sub(now)).min()
    }

    /// Waits until at least `n` sleeps are pending, so that a test advances only when its subject waits.
    pub async fn until_sleeping(&self, n: usize) {
        loop {
            let changed = self.shared.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            {
                let mut state = self.state();
                state.sleepers.retain(|(_, wake)| !wake.is_closed());
                if state.sleepers.len() >= n {
                    return;
                }
            }
            changed.await;
        }
    }
}

impl Default for ManualClock {
    fn default() -> Self {
        Self::new()
    }
}

#[async_trait]
impl Clock for ManualClock {
    fn monotonic(&self) -> Duration {
        self.state().now
    }

    fn wall_ms(&self) -> i64 {
        self.state().wall_ms
    }

    async fn sleep(&self, d: Duration) {
        if d.is_zero() {
            return;
        }
        let (wake, woken) = oneshot::channel();
        {
            let mut state = self.state();
            let at = state.now + d;
            state.sleepers.push((at, wake));
        }
        self.shared.changed.notify_waiters();
        // The sender lives in the clock, which outlives this call through `self`.
        let _ = woken.await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_monotonic_clock_never_goes_back() {
        let first = RealClock.monotonic();
        assert!(RealClock.monotonic() >= first);
        assert!(RealClock.wall_ms() > 1_700_000_000_000);
    }

    #[tokio::test]
    async fn a_sleeper_wakes_when_its_time_has_come_and_not_before() {
        let clock = ManualClock::new();
        let other = clock.clone();
        let sleeper = tokio::spawn(async move { other.sleep(Duration::from_secs(5)).await });
        clock.until_sleeping(1).await;
        clock.advance(Duration::from_secs(4));
        assert_eq!(clock.next_due(), Some(Duration::from_secs(1)));
        assert!(!sleeper.is_finished());
        clock.advance(Duration::from_secs(1));
        sleeper.await.unwrap();
        assert_eq!(clock.next_due(), None);
    }

    #[test]
    fn a_jump_of_the_wall_clock_leaves_monotonic_time_alone() {
        let clock = ManualClock::new();
        let before = clock.monotonic();
        clock.jump_wall(-3_600_000);
        assert_eq!(clock.monotonic(), before);
        assert_eq!(clock.wall_ms(), 1_767_225_600_000 - 3_600_000);
    }
}
