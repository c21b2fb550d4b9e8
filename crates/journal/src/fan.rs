//! Steps that fan out: a group, its items, and how a topology grows by them.

use std::collections::HashSet;
use std::sync::Arc;

use prunella_model::{Artifact, Item, PortName, StepId, fan_in};
use serde::{Deserialize, Serialize};

use crate::state::Artifacts;
use crate::{Node, StepIndex, Topology, TopologyError};

/// What an item of a group needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Need {
    /// A step as a whole.
    Whole(StepIndex),
    /// The same item of another group.
    SameItem(StepIndex),
}

/// How a step fans out, as a [`Topology`] is told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fan {
    /// The group that has a list; this one goes through the same items. Nothing if this one has the list.
    pub follows: Option<StepIndex>,
    /// What each item needs.
    pub needs: Vec<Need>,
    /// Those of them whose outputs it reads.
    pub reads: Vec<Need>,
    /// Whether each item has a condition.
    pub conditional: bool,
    /// The outputs of each item, with the base names of their paths.
    pub outputs: Vec<(PortName, Arc<str>)>,
}

/// A step that fans out.
#[derive(Debug, Clone)]
pub(crate) struct Group {
    pub(crate) fan: Fan,
    /// The groups that go through its items, in their order.
    pub(crate) followers: Vec<StepIndex>,
    /// Its items now, in their order; nothing before they are known.
    pub(crate) members: Option<Vec<StepIndex>>,
}

/// What an expansion changed about one group.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Expansion {
    /// Items that came, whether they are new or had been there before.
    pub(crate) came: Vec<StepIndex>,
    /// Items that are there no more.
    pub(crate) went: Vec<StepIndex>,
}

impl Topology {
    /// Makes a step a group; whatever it follows must be one already.
    ///
    /// # Panics
    /// If the step, or what it follows, is not in the topology.
    pub fn fan_out(&mut self, step: StepIndex, fan: Fan) {
        if let Some(leader) = fan.follows {
            self.groups.get_mut(&leader).expect("a group is made before those that follow it").followers.push(step);
        }
        self.groups.insert(step, Group { fan, followers: Vec::new(), members: None });
    }

    /// Returns the steps that fan out, in no order.
    pub fn groups(&self) -> impl Iterator<Item = StepIndex> + '_ {
        self.groups.keys().copied()
    }

    /// Returns whether the step fans out.
    pub fn is_group(&self, step: StepIndex) -> bool {
        self.groups.contains_key(&step)
    }

    /// Returns whether the step has a list of its own that it fans out over.
    pub fn leads(&self, step: StepIndex) -> bool {
        self.groups.get(&step).is_some_and(|group| group.fan.follows.is_none())
    }

    /// Returns the step that this one is an item of, also if its list has this item no more.
    pub fn group_of(&self, step: StepIndex) -> Option<StepIndex> {
        self.group_of[step.as_usize()]
    }

    /// Returns the items of a group in their order; nothing if it is none or its list is not known.
    pub fn members(&self, step: StepIndex) -> Option<&[StepIndex]> {
        self.groups.get(&step)?.members.as_deref()
    }

    /// Returns what every item of a group needs; empty if it is none.
    pub fn item_needs(&self, step: StepIndex) -> &[Need] {
        self.groups.get(&step).map_or(&[], |group| &group.fan.needs)
    }

    /// Returns whether two steps are groups, or items of groups, that go through one list.
    pub fn go_together(&self, one: StepIndex, other: StepIndex) -> bool {
        let leader = |step: StepIndex| {
            let group = self.group_of(step).unwrap_or(step);
            self.groups.get(&group).map(|found| found.fan.follows.unwrap_or(group))
        };
        leader(one).is_some() && leader(one) == leader(other)
    }

    /// Returns what waits for this step: its consumers, and the group that it is an item of.
    pub fn dependents(&self, step: StepIndex) -> impl Iterator<Item = StepIndex> + '_ {
        self.consumers(step).iter().copied().chain(self.group_of(step))
    }

    /// Returns the outputs of a group as a whole, from what each item made; an item without an output is left out.
    pub fn gather<'a>(
        &self,
        group: StepIndex,
        made: impl Fn(StepIndex) -> Option<&'a [(PortName, Artifact)]>,
    ) -> Artifacts {
        let Some(found) = self.groups.get(&group) else { return Box::default() };
        let members = found.members.as_deref().unwrap_or_default();
        let whole = |(port, base_name): &(PortName, Arc<str>)| {
            let parts: Vec<(&Item, Artifact)> = members
                .iter()
                .filter_map(|member| {
                    let artifact = made(*member)?.iter().find(|(name, _)| name == port)?.1;
                    Some((self.ids[member.as_usize()].item.as_ref()?, artifact))
                })
                .collect();
            (port.clone(), fan_in(base_name, &parts))
        };
        found.fan.outputs.iter().map(whole).collect()
    }

    /// Gives a group that has a list, and all that follow it, these items: new ones are added at the end.
    ///
    /// What went stays in the topology and is no member any more.
    ///
    /// # Errors
    /// [`TopologyError::Twice`] for an item that stands twice.
    pub fn expand(&mut self, leader: StepIndex, items: &[Item]) -> Result<(), TopologyError> {
        self.expand_groups(leader, items).map(drop)
    }

    pub(crate) fn expand_groups(
        &mut self,
        leader: StepIndex,
        items: &[Item],
    ) -> Result<Vec<(StepIndex, Expansion)>, TopologyError> {
        let mut seen = HashSet::with_capacity(items.len());
        if let Some(item) = items.iter().find(|item| !seen.insert(*item)) {
            return Err(TopologyError::Twice(StepId::of_item(self.ids[leader.as_usize()].name.clone(), item.clone())));
        }
        let Some(found) = self.groups.get(&leader) else { return Ok(Vec::new()) };
        let groups: Vec<StepIndex> = std::iter::once(leader).chain(found.followers.iter().copied()).collect();
        let mut expansions = Vec::with_capacity(groups.len());
        for group in groups {
            expansions.push((group, self.expand_one(group, items)?));
        }
        Ok(expansions)
    }

    fn expand_one(&mut self, group: StepIndex, items: &[Item]) -> Result<Expansion, TopologyError> {
        let (name, lane) = (self.ids[group.as_usize()].name.clone(), self.lanes[group.as_usize()]);
        let found = self.groups.get_mut(&group).expect("it is a group");
        let before = found.members.take().unwrap_or_default();
        let fan = found.fan.clone();
        let were: HashSet<StepIndex> = before.iter().copied().collect();
        let (mut members, mut came) = (Vec::with_capacity(items.len()), Vec::new());
        for item in items {
            let id = StepId::of_item(name.clone(), item.clone());
            let member = match self.index(&id) {
                Some(there) => there,
                None => {
                    let same = |of: StepIndex| {
                        let id = StepId::of_item(self.ids[of.as_usize()].name.clone(), item.clone());
                        self.index(&id).expect("groups are expanded in the order in which they need each other")
                    };
                    let place = |need: &Need| match need {
                        Need::Whole(step) => *step,
                        Need::SameItem(group) => same(*group),
                    };
                    let (needs, reads) = (fan.needs.iter().map(place).collect(), fan.reads.iter().map(place).collect());
                    let node = Node { id, needs, reads, conditional: fan.conditional, handler: None, lane };
                    self.push(node, Some(group))?
                }
            };
            if !were.contains(&member) {
                came.push(member);
            }
            members.push(member);
        }
        let are: HashSet<StepIndex> = members.iter().copied().collect();
        let went = before.into_iter().filter(|member| !are.contains(member)).collect();
        self.groups.get_mut(&group).expect("it is a group").members = Some(members);
        Ok(Expansion { came, went })
    }
}
