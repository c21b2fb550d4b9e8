//! How far a transfer is, for work that takes longer than a moment.

use std::{
    collections::VecDeque,
    future::Future,
    io::{IsTerminal, Write},
    time::Duration,
};

use prunella_attempt::Way;
use prunella_model::ByteSize;
use prunella_store::{Moved, Store};

use crate::{answer::note, args::Output, context::Context, present::lasting};

/// Nothing is said of what is done by then.
const PATIENCE: Duration = Duration::from_secs(2);
/// How often a line is drawn anew.
const REDRAW: Duration = Duration::from_millis(250);
/// How often a line is written where none can be drawn anew.
const WRITE: Duration = Duration::from_secs(10);
/// The speed is that of so long a time.
const LATELY: Duration = Duration::from_secs(5);

fn of(way: Way, store: &Store) -> Moved {
    match way {
        Way::Sending => store.transfers().sent(),
        Way::Fetching => store.transfers().fetched(),
    }
}

const fn word(way: Way) -> &'static str {
    match way {
        Way::Sending => "sending",
        Way::Fetching => "fetching",
    }
}

/// Does `work`, and shows how far its transfer is: speed, and how long it will still take.
pub async fn moving<T>(context: &Context, store: &Store, way: Way, work: impl Future<Output = T>) -> T {
    let before = of(way, store);
    let far = || {
        let now = of(way, store);
        Moved { done: now.done - before.done, all: now.all - before.all }
    };
    following(context, way, far, work).await
}

/// As [`moving`], of a transfer that is `far`.
pub async fn following<T>(context: &Context, way: Way, far: impl Fn() -> Moved, work: impl Future<Output = T>) -> T {
    if context.output != Output::Text {
        return work.await;
    }
    let clock = &context.sys.clock;
    let dumb = matches!(context.sys.env.var("TERM").as_deref(), None | Some("" | "dumb"));
    let in_place = std::io::stderr().is_terminal() && !dumb;
    let began = clock.monotonic();
    let (mut speed, mut written, mut drawn) = (Speed::default(), began, false);
    tokio::pin!(work);
    let done = loop {
        tokio::select! {
            biased;
            done = &mut work => break done,
            () = clock.sleep(REDRAW) => {}
        }
        let now = clock.monotonic();
        let moved = far();
        speed.see(now, moved.done);
        let soon = now.saturating_sub(began) < PATIENCE || moved.all == 0;
        match in_place {
            _ if soon => {}
            true => {
                let _nobody_reads = write!(std::io::stderr(), "\r\u{1b}[K{}", line(way, moved, speed.per_second()));
                drawn = true;
            }
            false if now.saturating_sub(written) >= WRITE || written == began => {
                note(&line(way, moved, speed.per_second()));
                written = now;
            }
            false => {}
        }
    };
    if drawn {
        let _nobody_reads = write!(std::io::stderr(), "\r\u{1b}[K");
    }
    done
}

/// What was done lately.
#[derive(Debug, Clone, Default)]
pub(super) struct Speed(VecDeque<(Duration, u64)>);

impl Speed {
    pub(super) fn see(&mut self, now: Duration, done: u64) {
        self.0.push_back((now, done));
        while self.0.len() > 2 && now.saturating_sub(self.0[1].0) >= LATELY {
            self.0.pop_front();
        }
    }

    /// Returns the speed; nothing as long as nothing moves.
    pub(super) fn per_second(&self) -> Option<u64> {
        let ((first, before), (last, after)) = (self.0.front()?, self.0.back()?);
        let seconds = last.saturating_sub(*first).as_secs_f64();
        let bytes = after.saturating_sub(*before);
        (seconds > 0.0 && bytes > 0).then(|| (bytes as f64 / seconds) as u64).filter(|speed| *speed > 0)
    }
}

pub(super) fn line(way: Way, moved: Moved, per_second: Option<u64>) -> String {
    let Moved { done, all } = moved;
    let mut text = format!("{}: {} of {}", word(way), ByteSize(done.min(all)), ByteSize(all));
    if let Some(per_second) = per_second {
        let left_ms = all.saturating_sub(done).saturating_mul(1000) / per_second;
        text += &format!(" · {}/s", ByteSize(per_second));
        if done < all {
            text += &format!(" · {} left", lasting(left_ms.max(1000)));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn the_speed_is_that_of_the_last_seconds_and_tells_what_is_left() {
        let mut speed = Speed::default();
        assert_eq!(speed.per_second(), None);
        for second in 0..20 {
            speed.see(second * SECOND, 100 << 20);
        }
        assert_eq!(speed.per_second(), None, "nothing moves");
        for second in 20..40 {
            speed.see(second * SECOND, (100 + 10 * u64::from(second - 19)) << 20);
        }
        assert_eq!(speed.per_second(), Some(10 << 20));
        let moved = Moved { done: 300 << 20, all: 1 << 30 };
        assert_eq!(
            line(Way::Sending, moved, speed.per_second()),
            "sending: 300 MiB of 1 GiB · 10 MiB/s · 1 min 12 s left"
        );
        assert_eq!(line(Way::Fetching, Moved { done: 5, all: 5 }, None), "fetching: 5 B of 5 B");
    }
}
