//! Reading the list that a step fans out over: a pure function of the producer's bytes.

use std::collections::BTreeSet;

use prunella_journal::{Event, StepIndex};
use prunella_model::{Class, ForEach, Item, MAX_ITEMS_BYTES, Reference, StepId, StepName, read_items};
use prunella_store::{Store, StoreError, records::StoredArtifact};

use crate::{EngineError, Plan, driver::Driver};

/// Why a list cannot be fanned out over.
pub(crate) enum NoList {
    /// It is not one, or lacks what a command refers to; trying again is useless.
    Wrong(String),
    /// Its bytes are lost.
    Lost(String),
}

impl Driver<'_> {
    /// Reads the list of a step and appends its items, or why there are none.
    pub(crate) async fn expand(&mut self, step: StepIndex) -> Result<(), EngineError> {
        let id = self.plan.id(step).clone();
        let Some(ForEach::Output { step: producer, output }) = self.plan.step(step).for_each.clone() else {
            return Ok(());
        };
        let place = self.plan.index(&StepId::plain(producer.clone()));
        let slot = place.and_then(|place| self.state.done(place)).map(|done| done.slot);
        let slot =
            slot.ok_or_else(|| EngineError::NotReady { step: id.clone(), need: StepId::plain(producer.clone()) })?;
        let stored = self.shelf.artifacts(&self.host.store, slot).await?.get(&output).cloned();
        let read = match stored {
            Some(stored) => read_list(&self.host.store, &stored).await?,
            None => Err(NoList::Wrong("its commit does not have it".to_owned())),
        };
        let checked = read.and_then(|items| match lacking(&self.plan, step, &items) {
            None => Ok(items),
            Some(problem) => Err(NoList::Wrong(problem)),
        });
        let event = match checked {
            Ok(items) => Event::StepExpanded { step: id, items },
            Err(NoList::Wrong(problem)) => {
                let why = format!("cannot fan out over `{producer}.{output}`: {problem}");
                Event::StepFailed { step: id, class: Class::Contract, why }
            }
            Err(NoList::Lost(problem)) => {
                let evidence = format!("{problem}; found by {id}");
                self.host.store.mark_damaged(&slot, "", &evidence).await?;
                Event::InputDamaged { step: id, producer: StepId::plain(producer), slot }
            }
        };
        self.append_if_legal(event)
    }
}

/// Reads the items of a stored list.
pub(crate) async fn read_list(
    store: &Store,
    stored: &StoredArtifact,
) -> Result<Result<Vec<Item>, NoList>, EngineError> {
    let bytes = match store.read_small(stored, MAX_ITEMS_BYTES).await {
        Ok(Some(bytes)) => bytes,
        Ok(None) => {
            let size = stored.artifact.size_bytes;
            return Ok(Err(NoList::Wrong(format!("it has {size} bytes; a file of at most {MAX_ITEMS_BYTES} is read"))));
        }
        Err(StoreError::Damaged { object, problem }) => {
            return Ok(Err(NoList::Lost(format!("`{object}`: {problem}"))));
        }
        Err(error) => return Err(error.into()),
    };
    Ok(match std::str::from_utf8(&bytes) {
        Ok(text) => read_items(text).map_err(|error| NoList::Wrong(error.to_string())),
        Err(_) => Err(NoList::Wrong("it is not UTF-8".to_owned())),
    })
}

/// Says what the command of a step that goes through these items refers to, and an item does not have.
pub(crate) fn lacking(plan: &Plan, leader: StepIndex, items: &[Item]) -> Option<String> {
    let groups = plan.indices().filter(|step| plan.topology().is_group(*step));
    let mut wanted: BTreeSet<(&Option<String>, &StepName)> = BTreeSet::new();
    for group in groups.filter(|group| plan.topology().go_together(*group, leader)) {
        for template in plan.step(group).run.templates() {
            wanted.extend(template.references().filter_map(|reference| match reference {
                Reference::Item(name) => Some((name, &plan.id(group).name)),
                Reference::Param(_) | Reference::Input(_) | Reference::Output(_) => None,
            }));
        }
    }
    items.iter().zip(1..).find_map(|(item, n)| {
        let (name, step) = wanted.iter().find(|(name, _)| item.word(name.as_deref()).is_none())?;
        let reference = Reference::Item((*name).clone());
        Some(format!("item {n}, `{}`, has nothing for `${{{{ {reference} }}}}` in `{step}`", item.label()))
    })
}
