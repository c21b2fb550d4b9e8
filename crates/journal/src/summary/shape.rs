//! The steps of a run and the order among them, in a summary.

use std::sync::Arc;

use prunella_model::{Handler, Item, StepId, StepName};
use serde::{Deserialize, Serialize};

use super::octets::{Put, Take};
use crate::fan::Group;
use crate::{Fan, Node, StepIndex, Topology};

/// A step that fans out.
#[derive(Serialize, Deserialize)]
struct GroupKept {
    group: StepIndex,
    fan: Fan,
    followers: Vec<StepIndex>,
    members: Option<Vec<StepIndex>>,
}

impl Topology {
    pub(crate) fn keep(&self, out: &mut Put) {
        out.number(self.len() as u64);
        let handlers: Vec<(StepIndex, Handler)> = self.handlers().to_vec();
        out.json(&handlers);
        let mut groups: Vec<GroupKept> = self
            .groups
            .iter()
            .map(|(group, Group { fan, followers, members })| GroupKept {
                group: *group,
                fan: fan.clone(),
                followers: followers.clone(),
                members: members.clone(),
            })
            .collect();
        groups.sort_by_key(|kept| kept.group);
        out.json(&groups);
        for step in self.indices() {
            let id = self.id(step);
            match (self.group_of(step), &id.item) {
                (Some(group), Some(item)) => {
                    out.number(u64::from(group.get()) + 1);
                    out.bytes(item.as_str().as_bytes());
                }
                _ => {
                    out.number(0);
                    out.bytes(id.name.as_str().as_bytes());
                }
            }
            out.number(u64::from(self.lane(step)) << 1 | u64::from(self.is_conditional(step)));
            for list in [self.needs(step), self.reads(step)] {
                out.number(list.len() as u64);
                let mut last = 0;
                for step in list {
                    // They are sorted.
                    out.number(u64::from(step.get() - last));
                    last = step.get();
                }
            }
        }
    }

    pub(crate) fn from_kept(from: &mut Take<'_>) -> Option<Self> {
        let count = from.count()?;
        let handlers: Vec<(StepIndex, Handler)> = from.json()?;
        let groups: Vec<GroupKept> = from.json()?;
        let mut topology = Self::with_room(count);
        let mut handlers = handlers.into_iter().peekable();
        for place in (0..u32::try_from(count).ok()?).map(StepIndex::new) {
            let group = from.number()?;
            let text = from.text()?;
            let (id, group) = match group.checked_sub(1) {
                None => (StepId::plain(StepName::new(text).ok()?), None),
                Some(group) => {
                    let group = StepIndex::new(u32::try_from(group).ok()?);
                    let name = topology.ids.get(group.as_usize())?.name.clone();
                    (StepId::of_item(name, Item::from_canonical(text)), Some(group))
                }
            };
            let lane = from.number()?;
            let (conditional, lane) = (lane & 1 == 1, u16::try_from(lane >> 1).ok()?);
            let (needs, reads) = (steps(from, count)?, steps(from, count)?);
            let handler = handlers.next_if(|(step, _)| *step == place).map(|(_, handler)| handler);
            topology.push(Node { id, needs, reads, conditional, handler, lane }, group).ok()?;
        }
        topology.count_lanes();
        let known = |step: &StepIndex| step.as_usize() < count;
        for GroupKept { group, fan, followers, members } in groups {
            if !followers.iter().chain(members.iter().flatten()).chain([&group]).all(known) {
                return None;
            }
            topology.groups.insert(group, Group { fan, followers, members });
        }
        handlers.next().is_none().then_some(topology)
    }

    /// Returns an equal topology behind the pointer that runs and plans share.
    pub(crate) fn shared_from_kept(from: &mut Take<'_>) -> Option<Arc<Self>> {
        Self::from_kept(from).map(Arc::new)
    }
}

fn steps(from: &mut Take<'_>, below: usize) -> Option<Vec<StepIndex>> {
    let count = from.count()?;
    let (mut list, mut last) = (Vec::with_capacity(count), 0u32);
    for _ in 0..count {
        last = last.checked_add(from.small()?)?;
        if last as usize >= below {
            return None;
        }
        list.push(StepIndex::new(last));
    }
    Some(list)
}
