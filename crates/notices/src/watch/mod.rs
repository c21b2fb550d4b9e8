//! Asking on and on, without ever being in the way.

mod aws;
mod azure;
mod gcp;

use std::{
    collections::BTreeSet,
    future::Future,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use prunella_sys::Clock;

use crate::{
    Cloud,
    answers::{CloudNotice, Seen},
    ask::{AskError, Asker, Endpoint},
};

/// How often a service is asked that answers at once.
const EVERY: Duration = Duration::from_secs(5);
/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// The longest wait after failures, while the service never answered.
const MOST_HIDDEN: Duration = Duration::from_secs(5 * 60);
/// The longest wait after failures of a service that has answered before: a notice may be short.
const MOST_KNOWN: Duration = Duration::from_secs(20);
/// A service that has answered before is said to be silent only after so many failures in a row.
const FAILURES: u32 = 3;
/// A deadline is earlier than another only by more than what rounding makes.
const EARLIER: Duration = Duration::from_secs(1);
/// More hints than these are not said.
const HINTS: usize = 32;

/// Whom to ask.
#[derive(Clone)]
pub struct Watch {
    /// Which cloud.
    pub cloud: Cloud,
    /// Where its service answers.
    pub endpoint: Endpoint,
    /// The time; the wall clock only turns a stated instant into what remains until it.
    pub clock: Arc<dyn Clock>,
}

/// What a watcher says.
#[derive(Debug)]
pub enum Said {
    /// The machine goes away; said again only if it does so earlier.
    Notice {
        /// What was announced.
        notice: CloudNotice,
        /// When, on the monotonic clock.
        at: Duration,
    },
    /// Something worth knowing; each once.
    Hint(String),
    /// The service does not answer; at most once. It is asked on, less and less often.
    Silent(AskError),
}

/// Asks a cloud's metadata service for ever and says what it hears; ends when it is dropped, at once.
///
/// `say` must not block. No failure ends it: it waits longer after each, from 5 s to 5 min, or 20 s once it was answered.
pub async fn watch(watch: Watch, say: impl Fn(Said) + Send + Sync) {
    let teller = Teller { clock: watch.clock.clone(), say, told: Mutex::default() };
    let asker = Asker { endpoint: watch.endpoint, clock: watch.clock };
    match watch.cloud {
        Cloud::Aws => follow(aws::Aws::new(asker), &teller).await,
        Cloud::Azure => follow(azure::Azure::new(asker), &teller).await,
        Cloud::Gcp => {
            let preempted = follow(gcp::Key::preempted(asker.clone()), &teller);
            tokio::join!(preempted, follow(gcp::Key::maintenance(asker), &teller));
        }
    }
}

/// Asks once, briefly, whether the service answers as it should; nothing is switched on by it.
///
/// # Errors
/// [`AskError`] with why it does not.
pub async fn probe(watch: Watch) -> Result<(), AskError> {
    let asker = Asker { endpoint: watch.endpoint, clock: watch.clock };
    match watch.cloud {
        Cloud::Aws => aws::Aws::new(asker).ask().await.map(drop),
        Cloud::Azure => azure::Azure::new(asker).name().await.map(drop),
        Cloud::Gcp => gcp::Key::preempted(asker).ask().await.map(drop),
    }
}

/// Something that can be asked again and again.
trait Source: Send {
    fn ask(&mut self) -> impl Future<Output = Result<Vec<Seen>, AskError>> + Send;

    /// Returns how long to wait after an answer that took `took`.
    fn rest(&self, took: Duration) -> Duration {
        let _every_answer_comes_at_once = took;
        EVERY
    }
}

async fn follow<S: Source, F: Fn(Said) + Send + Sync>(mut source: S, teller: &Teller<F>) {
    let (mut failures, mut answered) = (0, false);
    loop {
        let begun = teller.clock.monotonic();
        let wait = match source.ask().await {
            Ok(seen) => {
                (failures, answered) = (0, true);
                seen.into_iter().for_each(|seen| teller.take(seen));
                source.rest(teller.clock.monotonic().saturating_sub(begun))
            }
            Err(error) => {
                failures += 1;
                if !answered || failures >= FAILURES {
                    teller.silent(error);
                }
                backoff(failures, answered)
            }
        };
        teller.clock.sleep(wait).await;
    }
}

fn backoff(failures: u32, answered: bool) -> Duration {
    let most = if answered { MOST_KNOWN } else { MOST_HIDDEN };
    EVERY.saturating_mul(1 << failures.saturating_sub(1).min(16)).min(most)
}

/// Says everything once.
struct Teller<F> {
    clock: Arc<dyn Clock>,
    say: F,
    told: Mutex<Told>,
}

#[derive(Default)]
struct Told {
    deadline: Option<Duration>,
    hints: BTreeSet<String>,
    silent: bool,
}

impl<F: Fn(Said) + Send + Sync> Teller<F> {
    fn take(&self, seen: Seen) {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        match seen {
            Seen::Nothing => {}
            Seen::Notice(notice) => {
                let at = self.clock.monotonic() + notice.within;
                if told.deadline.is_none_or(|known| at + EARLIER < known) {
                    told.deadline = Some(at);
                    (self.say)(Said::Notice { notice, at });
                }
            }
            Seen::Hint(hint) => {
                if told.hints.len() < HINTS && told.hints.insert(hint.clone()) {
                    (self.say)(Said::Hint(hint));
                }
            }
        }
    }

    fn silent(&self, error: AskError) {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if !std::mem::replace(&mut told.silent, true) {
            (self.say)(Said::Silent(error));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_and_a_service_that_was_there_is_asked_more_often() {
        let waits = |answered| (1..10).map(|n| backoff(n, answered).as_secs()).collect::<Vec<_>>();
        assert_eq!(waits(false), [5, 10, 20, 40, 80, 160, 300, 300, 300]);
        assert_eq!(waits(true), [5, 10, 20, 20, 20, 20, 20, 20, 20]);
        assert_eq!(backoff(u32::MAX, false), MOST_HIDDEN);
    }
}
