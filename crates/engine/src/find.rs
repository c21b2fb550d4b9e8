//! Which step of a plan people mean.

use prunella_journal::{StepIndex, Topology};
use prunella_model::{Item, StepAddress, StepId, StepName};

use crate::Plan;

/// Why an address names no step of a plan.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoSuchStep {
    /// No step has the name.
    #[error("there is no step `{0}`")]
    Name(StepName),
    /// The step has no items.
    #[error("the step `{0}` does not fan out, so it has no items")]
    NoItems(StepName),
    /// The list is not known yet.
    #[error("the items of `{0}` are not known yet")]
    NotExpanded(StepName),
    /// No item's label begins so.
    #[error("no item of `{step}` begins with `{label}`; its items are {}", shown(items))]
    Item {
        /// The step.
        step: StepName,
        /// What was asked for.
        label: String,
        /// The labels there are.
        items: Vec<String>,
    },
    /// More than one item's label begins so.
    #[error("`{step}:{label}` could be {}", shown(items))]
    Ambiguous {
        /// The step.
        step: StepName,
        /// What was asked for.
        label: String,
        /// The labels that begin so.
        items: Vec<String>,
    },
}

/// As many as a line holds.
fn shown(items: &[String]) -> String {
    const MOST: usize = 8;
    let some: Vec<String> = items.iter().take(MOST).map(|item| format!("`{item}`")).collect();
    match items.len().checked_sub(MOST) {
        Some(more) if more > 0 => format!("{} and {more} more", some.join(", ")),
        _ if items.is_empty() => "none".to_owned(),
        _ => some.join(", "),
    }
}

impl Plan {
    /// Returns the step, or the item, that people mean by an address.
    ///
    /// # Errors
    /// [`NoSuchStep`] if there is none, or if the beginning of a label is that of several.
    pub fn find(&self, address: &StepAddress) -> Result<StepIndex, NoSuchStep> {
        find(self.topology(), address)
    }
}

/// Returns the step, or the item, that people mean by an address, in a run that has these steps.
pub(crate) fn find(topology: &Topology, address: &StepAddress) -> Result<StepIndex, NoSuchStep> {
    let name = &address.name;
    let step = topology.index(&StepId::plain(name.clone())).ok_or_else(|| NoSuchStep::Name(name.clone()))?;
    let Some(label) = &address.item else { return Ok(step) };
    if !topology.is_group(step) {
        return Err(NoSuchStep::NoItems(name.clone()));
    }
    let members = topology.members(step).ok_or_else(|| NoSuchStep::NotExpanded(name.clone()))?;
    let label_of = |member: &StepIndex| topology.id(*member).item.as_ref().map(Item::label).unwrap_or_default();
    let labels: Vec<(StepIndex, String)> = members.iter().map(|member| (*member, label_of(member))).collect();
    if let Some((exact, _)) = labels.iter().find(|(_, of)| of == label) {
        return Ok(*exact);
    }
    let begins: Vec<&(StepIndex, String)> = labels.iter().filter(|(_, of)| of.starts_with(label)).collect();
    let (step, label) = (name.clone(), label.clone());
    match begins.as_slice() {
        [(only, _)] => Ok(*only),
        [] => Err(NoSuchStep::Item { step, label, items: labels.into_iter().map(|(_, label)| label).collect() }),
        several => {
            let items = several.iter().map(|(_, label)| label.clone()).collect();
            Err(NoSuchStep::Ambiguous { step, label, items })
        }
    }
}
