//! How many bytes may go over the network in a second.

use std::num::NonZeroU64;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// So much that was not used before may be used at once.
const SAVED: Duration = Duration::from_millis(250);

/// A line of a certain width, shared by all requests of whoever has it, both ways.
///
/// A request waits until the line is free and takes it for as long as its bytes need; so the average holds, and a single
/// request is as fast as the network.
///
/// Clones are one line.
#[derive(Debug, Clone, Default)]
pub struct Rate {
    per_second: Option<NonZeroU64>,
    /// When the line is free, on the monotonic clock.
    free: Arc<Mutex<Duration>>,
}

impl Rate {
    /// Returns a line of so many bytes a second; without a number, of any.
    pub fn new(per_second: Option<NonZeroU64>) -> Self {
        Self { per_second, free: Arc::default() }
    }

    /// Takes the line for so many bytes and returns how long to wait before they go.
    pub(crate) fn take(&self, now: Duration, bytes: u64) -> Duration {
        let Some(per_second) = self.per_second else { return Duration::ZERO };
        let mut free = self.free.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let (wait, later) = taken(*free, now, bytes, per_second);
        *free = later;
        wait
    }
}

/// Returns how long to wait, and when the line is free again. Pure.
fn taken(free: Duration, now: Duration, bytes: u64, per_second: NonZeroU64) -> (Duration, Duration) {
    let from = free.max(now.saturating_sub(SAVED));
    let needed = Duration::from_secs_f64(bytes as f64 / per_second.get() as f64);
    (from.saturating_sub(now), from.saturating_add(needed))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn over_time_no_more_goes_than_was_said() {
        let rate = Rate::new(NonZeroU64::new(1000));
        let (mut now, mut sent) = (Duration::ZERO, 0_u64);
        for n in 0..500 {
            let bytes = 1 + n * 37 % 900;
            now += rate.take(now, bytes);
            sent += bytes;
            if n % 50 == 0 {
                // Nobody sends for a while: not all of it is made up for.
                now += 10 * SECOND;
            }
        }
        let most = 1000.0 * (now - 100 * SECOND + 11 * SECOND).as_secs_f64();
        assert!((sent as f64) < most, "{sent} bytes, {most} may go");
        assert!((sent as f64) > 0.8 * most, "{sent} bytes: it is used");
    }

    #[test]
    fn the_first_goes_at_once_and_the_next_waits_for_it() {
        let per_second = NonZeroU64::new(1000).expect("it is not zero");
        let now = 60 * SECOND;
        let (wait, free) = taken(Duration::ZERO, now, 2250, per_second);
        assert_eq!((wait, free), (Duration::ZERO, now + 2 * SECOND));
        assert_eq!(taken(free, now, 1000, per_second), (2 * SECOND, now + 3 * SECOND));
        assert_eq!(Rate::new(None).take(now, u64::MAX), Duration::ZERO, "without a number nobody waits");
    }
}
