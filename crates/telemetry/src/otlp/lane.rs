//! The way of spans, or of log records, to their receiver: a bounded queue, and a task that empties it.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use prunella_sys::Sys;
use tokio::sync::{Notify, watch};

use super::sender::{Sender, Sent};

/// So many wait at most; what comes then is dropped and counted.
const ROOM: usize = 16 * 1024;
/// So many go in one request.
const BATCH: usize = 512;
/// Less than a batch waits so long for more.
const GATHER: Duration = Duration::from_secs(2);
/// How long one batch is tried while the run goes on.
const PATIENCE: Duration = Duration::from_secs(60);
/// The first wait before another try; it doubles.
const FIRST_WAIT: Duration = Duration::from_millis(500);
const LONGEST_WAIT: Duration = Duration::from_secs(15);

/// When the end comes, on the monotonic clock; nothing while the run goes on.
pub type Closing = watch::Receiver<Option<Duration>>;

/// What became of what was given to a lane.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tally {
    /// What the receiver took.
    pub taken: u64,
    /// What there was no room for.
    pub dropped: u64,
    /// What was not delivered.
    pub lost: u64,
    /// Why, the last time.
    pub why: String,
    /// What the receiver took a request without.
    pub rejected: u64,
    /// What it said of that, the last time.
    pub remark: String,
}

/// A bounded queue that never makes anybody wait.
#[derive(Debug)]
pub struct Lane<T> {
    held: Mutex<Held<T>>,
    woken: Notify,
}

#[derive(Debug)]
struct Held<T> {
    queue: VecDeque<T>,
    tally: Tally,
}

impl<T> Default for Lane<T> {
    fn default() -> Self {
        Self { held: Mutex::new(Held { queue: VecDeque::new(), tally: Tally::default() }), woken: Notify::new() }
    }
}

impl<T> Lane<T> {
    fn held(&self) -> MutexGuard<'_, Held<T>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts these in the queue, as far as there is room.
    pub fn put(&self, items: impl IntoIterator<Item = T>) {
        let mut held = self.held();
        for item in items {
            if held.queue.len() < ROOM {
                held.queue.push_back(item);
            } else {
                held.tally.dropped += 1;
            }
        }
        if held.queue.len() >= BATCH {
            self.woken.notify_one();
        }
    }

    /// Returns what became of everything; what still waits is lost.
    pub fn close(&self) -> Tally {
        let mut held = self.held();
        held.tally.lost += held.queue.len() as u64;
        held.queue.clear();
        held.tally.clone()
    }

    fn take(&self) -> Vec<T> {
        let mut held = self.held();
        let n = held.queue.len().min(BATCH);
        held.queue.drain(..n).collect()
    }

    fn len(&self) -> usize {
        self.held().queue.len()
    }
}

/// Carries what is in the lane to its receiver, until the end has come and the lane is empty or its time is over.
pub async fn carry<T>(
    lane: Arc<Lane<T>>,
    sender: Sender,
    sys: Sys,
    mut closing: Closing,
    pack: impl Fn(&Sender, Vec<T>) -> Vec<u8>,
) {
    loop {
        let is_closing = closing.borrow().is_some();
        if !is_closing && lane.len() < BATCH {
            tokio::select! {
                () = sys.clock.sleep(GATHER) => {}
                () = lane.woken.notified() => {}
                changed = closing.changed() => if changed.is_err() { return },
            }
        }
        let batch = lane.take();
        if batch.is_empty() {
            if is_closing {
                return;
            }
            continue;
        }
        let n = batch.len() as u64;
        // Whoever ends this task at the end must find it counted.
        lane.held().tally.lost += n;
        let sent = deliver(&sender, &sys, &mut closing, pack(&sender, batch)).await;
        let mut held = lane.held();
        match sent {
            Ok(partial) => {
                held.tally.lost -= n;
                let rejected =
                    partial.as_ref().map_or(0, |partial| u64::try_from(partial.rejected).unwrap_or(0).min(n));
                held.tally.taken += n - rejected;
                held.tally.rejected += rejected;
                held.tally.remark = partial.map_or_else(
                    || std::mem::take(&mut held.tally.remark),
                    |partial| super::sender::shown(&partial.error_message),
                );
            }
            Err(why) => held.tally.why = why,
        }
    }
}

/// Sends a body until it is taken, refused, or given up.
///
/// At the end it is sent once; another try follows only if the receiver said when, and that is in time.
pub async fn deliver(
    sender: &Sender,
    sys: &Sys,
    closing: &mut Closing,
    body: Vec<u8>,
) -> Result<Option<super::wire::PartialSuccess>, String> {
    let begun = sys.clock.monotonic();
    let mut wait = FIRST_WAIT;
    loop {
        let began_closing = closing.borrow().is_some();
        let sent = tokio::select! {
            sent = sender.send(body.clone()) => sent,
            () = over(sys, closing.clone()) => return Err("it did not answer in time".to_owned()),
        };
        let (after, why) = match sent {
            Sent::Taken(partial) => return Ok(partial),
            Sent::Refused(why) => return Err(why),
            Sent::Later(after, why) => (after, why),
        };
        if began_closing && after.is_none() {
            return Err(why);
        }
        let again = sys.clock.monotonic() + after.unwrap_or(wait);
        wait = (wait * 2).min(LONGEST_WAIT);
        if again > closing.borrow().unwrap_or(begun + PATIENCE) {
            return Err(why);
        }
        tokio::select! {
            () = sys.clock.sleep(again.saturating_sub(sys.clock.monotonic())) => {}
            end = ends(closing.clone()) => match after {
                // It said when.
                Some(_) if again <= end => sys.clock.sleep(again.saturating_sub(sys.clock.monotonic())).await,
                Some(_) => return Err(why),
                None => {}
            },
        }
    }
}

/// Waits until the end comes, and returns when everything has to be over.
pub async fn ends(mut closing: Closing) -> Duration {
    let end = closing.wait_for(Option::is_some).await.ok().and_then(|end| *end);
    match end {
        Some(end) => end,
        // Nobody is there any more who could say.
        None => std::future::pending().await,
    }
}

/// Waits until everything has to be over.
pub async fn over(sys: &Sys, closing: Closing) {
    let end = ends(closing).await;
    sys.clock.sleep(end.saturating_sub(sys.clock.monotonic())).await;
}
