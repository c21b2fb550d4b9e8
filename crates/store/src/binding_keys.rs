//! Which steps of a run have bindings, read without the bindings: there may be a hundred thousand, of which few are asked for.

use std::{
    borrow::Cow,
    collections::{BTreeMap, HashSet},
};

use foldhash::fast::FixedState;
use prunella_model::{RunId, SlotId, StepId};
use prunella_objects::ObjectKey;

use crate::{Layout, Store, StoreError, bound::hold, records::BindingRecord};

/// For each step that is bound, the key of the binding that holds; without what all have in common.
#[derive(Debug, Clone, Default)]
pub struct BindingKeys {
    text: String,
    ends: Vec<usize>,
    /// Records of many bindings, the newest first.
    together: Vec<ObjectKey>,
}

impl BindingKeys {
    /// Adds the next key of a listing. Of each step the first listed is the highest, which holds.
    fn push(&mut self, key: &str) {
        let (begin, known) = (self.text.len(), self.iter().next_back());
        if known.is_none_or(|known| segment_in(known) != segment_in(key)) {
            self.text.push_str(key);
            self.ends.push(begin + key.len());
        }
    }

    fn iter(&self) -> impl DoubleEndedIterator<Item = &str> {
        let begin = |at: usize| at.checked_sub(1).map_or(0, |before| self.ends[before]);
        (0..self.ends.len()).map(move |at| &self.text[begin(at)..self.ends[at]])
    }
}

fn segment_in(key: &str) -> &str {
    key.split('/').next().unwrap_or_default()
}

impl Store {
    /// Returns the keys of the bindings of a run that hold.
    ///
    /// # Errors
    /// [`StoreError::Objects`] if the store did not answer.
    pub async fn binding_keys(&self, run: &RunId) -> Result<BindingKeys, StoreError> {
        let (mut keys, prefix) = (BindingKeys::default(), Layout::bindings(run));
        self.objects.see_keys(&prefix, &mut |key| keys.push(&key[prefix.len()..])).await?;
        let together = self.objects.list(&Layout::all_bound(run), None, usize::MAX).await?;
        keys.together = together.into_iter().map(|listed| listed.key).collect();
        Ok(keys)
    }

    /// Returns the keys of the bindings that hold for these steps, looked for one by one.
    ///
    /// # Errors
    /// [`StoreError::Objects`] if the store did not answer.
    pub async fn binding_keys_of(&self, run: &RunId, steps: &[&StepId]) -> Result<BindingKeys, StoreError> {
        let (mut keys, prefix) = (BindingKeys::default(), Layout::bindings(run));
        for step in steps {
            for listed in self.objects.list(&Layout::bindings_of(run, step), None, 1).await? {
                keys.push(&listed.key.as_str()[prefix.len()..]);
            }
        }
        Ok(keys)
    }

    /// Returns what [`Store::bindings`] does, of these steps only: of `keys`, which are all there are, theirs are read. Of
    /// records of many bindings only those of which the journal does not tell yet.
    ///
    /// # Errors
    /// [`StoreError::Record`] if a record cannot be understood.
    pub async fn bindings_at(
        &self,
        run: &RunId,
        steps: &[&StepId],
        keys: &BindingKeys,
    ) -> Result<BTreeMap<StepId, (u64, SlotId)>, StoreError> {
        let mut wanted: HashSet<Cow<'_, str>, FixedState> =
            HashSet::with_capacity_and_hasher(steps.len(), FixedState::default());
        wanted.extend(steps.iter().map(|step| segment_of(step)));
        let (prefix, mut bindings) = (Layout::bindings(run), BTreeMap::new());
        for key in keys.iter().filter(|key| wanted.contains(segment_in(key))) {
            let key = ObjectKey::new(format!("{prefix}{key}"))?;
            let Some(record) = self.read::<BindingRecord>(&key).await? else { continue };
            bindings.insert(record.step, (Layout::number(key.as_str()).unwrap_or(0), record.slot));
        }
        for (step, (n, slot)) in self.untold(run, &keys.together).await? {
            if wanted.contains(&*segment_of(&step)) {
                hold(&mut bindings, step, n, slot);
            }
        }
        Ok(bindings)
    }
}

/// Returns [`StepId::segment`], without a copy of a name.
fn segment_of(step: &StepId) -> Cow<'_, str> {
    match step.item {
        None => step.name.as_str().into(),
        Some(_) => step.segment().into(),
    }
}
