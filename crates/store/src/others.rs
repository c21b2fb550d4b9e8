//! Stores of others, from which commits are copied: only read, and believed of no byte.

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use prunella_model::{SlotId, StepKey};
use prunella_objects::Remedy;

use crate::{Layout, Looked, Store, StoreError, records::Committed};

/// A store of another domain; cheap to clone.
///
/// Nothing is written there: no `uses`, no pin, no start. What it holds may go at any time, and is what it says only once every
/// byte was compared.
#[derive(Clone)]
pub struct OtherStore(Arc<Inner>);

struct Inner {
    name: String,
    store: Store,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// What a look at many keys found, until it is asked for; nothing for a key without a commit.
    known: HashMap<StepKey, Option<(SlotId, Box<Committed>)>>,
    /// Whether it did not answer, and is left alone since.
    silent: bool,
}

/// So many looks are remembered at once.
const AHEAD: usize = 4096;

impl OtherStore {
    /// Returns the store that people know by this name; the handle is one for reading.
    pub fn new(name: String, store: Store) -> Self {
        Self(Arc::new(Inner { name, store, state: Mutex::default() }))
    }

    /// Returns its address, as people read it.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// Returns the handle.
    pub fn store(&self) -> &Store {
        &self.0.store
    }

    /// Looks for commits of all these keys together, so that each need not be looked for by itself.
    ///
    /// What goes wrong shows again when one of them is asked for.
    pub async fn look_ahead(&self, keys: &[StepKey]) {
        let asked: Vec<StepKey> = {
            let state = self.state();
            let room = AHEAD.saturating_sub(state.known.len());
            keys.iter().filter(|key| !state.silent && !state.known.contains_key(key)).take(room).copied().collect()
        };
        if asked.len() < 2 {
            return;
        }
        // One record that cannot be understood would hide all others: then each is looked for by itself.
        let Ok(looked) = self.0.store.look_for_commits(&asked).await else { return };
        let mut state = self.state();
        let sound = asked.into_iter().zip(looked).filter_map(|(key, looked)| Some((key, committed(looked).ok()?)));
        state.known.extend(sound);
    }

    /// Returns a commit of the key that may be reused there.
    ///
    /// # Errors
    /// [`StoreError`] if it did not answer, or a record cannot be understood. After one that did not answer it is left alone:
    /// nothing is found there any more.
    pub async fn find(&self, key: &StepKey) -> Result<Option<(SlotId, Box<Committed>)>, StoreError> {
        {
            let mut state = self.state();
            if let Some(known) = state.known.remove(key) {
                return Ok(known);
            }
            if state.silent {
                return Ok(None);
            }
        }
        match self.0.store.look_for_commits(std::slice::from_ref(key)).await {
            Ok(looked) => looked.into_iter().next().map_or(Ok(None), committed),
            Err(error) => {
                self.leave_alone_after(&error);
                Err(error)
            }
        }
    }

    /// Lets nothing be found there any more, if this error is one of the store and not of what it holds.
    pub fn leave_alone_after(&self, error: &StoreError) {
        let of_the_store = match error {
            StoreError::Objects(error) => matches!(error.remedy(), Remedy::TryAgain | Remedy::AskUser),
            // A record that is wrong, or bytes that are, say nothing of the next ones.
            _ => false,
        };
        self.state().silent |= of_the_store;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for OtherStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("OtherStore").field(&self.0.name).finish()
    }
}

fn committed(looked: Looked) -> Result<Option<(SlotId, Box<Committed>)>, StoreError> {
    match looked {
        Looked::Committed(slot, committed) => Ok(Some((slot, committed))),
        Looked::Open | Looked::Free(_) => Ok(None),
        Looked::Lost(slot) => Err(StoreError::DamagedRecord {
            key: Layout::end(&slot),
            problem: "how the attempt ended is lost".to_owned(),
        }),
    }
}

impl Store {
    /// Returns a handle that knows stores of others, in the order in which they are asked.
    #[must_use]
    pub fn reading_from(mut self, others: Vec<OtherStore>) -> Self {
        self.others = others.into();
        self
    }

    /// Returns the stores of others from which commits are copied.
    pub fn others(&self) -> &[OtherStore] {
        &self.others
    }
}
