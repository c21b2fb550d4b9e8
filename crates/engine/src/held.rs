//! Waiting for another run's attempt to end or die, without holding a place of one's own.

use std::time::Duration;

use prunella_model::SlotId;
use prunella_store::{KeyState, LEASE, Layout, Observer, Store, StoreError};

const LOOK_AGAIN: Duration = Duration::from_millis(200);

/// Answers when the attempt no longer stands in the way: it committed, was closed, or its owner is dead; with what was seen of its
/// signs of life. Who takes the work up goes on from there: a watch that began anew would hand it back, again and again.
pub(crate) async fn until_free(store: &Store, slot: &SlotId) -> Result<Observer, StoreError> {
    let mut observer = Observer::default();
    loop {
        let view = store.look(&slot.key).await?;
        match view.state() {
            KeyState::Open(open, start) if open == *slot => {
                if store.owner_gone(&start.owner) == Some(true)
                    || observer.expired(store, &Layout::alive(slot), LEASE).await?
                {
                    return Ok(observer);
                }
            }
            KeyState::Open(..) | KeyState::Committed(..) | KeyState::Lost(..) | KeyState::Free(_) => {
                return Ok(observer);
            }
        }
        store.sys().clock.sleep(LOOK_AGAIN).await;
    }
}
