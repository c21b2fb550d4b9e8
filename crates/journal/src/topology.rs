//! The shape of a run: its steps by dense index, what each needs and who needs it.

use std::sync::OnceLock;

use prunella_model::{Handler, StepId};
use serde::{Deserialize, Serialize};

use crate::fan::Group;
use crate::places::{FixedMap, Places};

/// The place of a step in a [`Topology`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct StepIndex(u32);

impl StepIndex {
    /// Returns the place with this number.
    pub const fn new(n: u32) -> Self {
        Self(n)
    }

    /// Returns the number.
    pub const fn get(self) -> u32 {
        self.0
    }

    /// Returns the number, to index with.
    pub const fn as_usize(self) -> usize {
        self.0 as usize
    }
}

/// A step as a [`Topology`] is made from it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// Its identity.
    pub id: StepId,
    /// The places of the steps that must be settled before it; repetitions count once.
    pub needs: Vec<StepIndex>,
    /// Those of them whose outputs it reads, as inputs or in its condition: without them it has nothing to do.
    pub reads: Vec<StepIndex>,
    /// Whether a condition says if it runs.
    pub conditional: bool,
    /// When it runs, if it belongs to the end of the run; nothing needs it, and it needs nothing.
    pub handler: Option<Handler>,
    /// Steps of one lane ask for the same resources, so that looking at the first of each lane is enough.
    pub lane: u16,
}

/// Why nodes make no topology.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TopologyError {
    /// Two steps have one identity.
    #[error("the step `{0}` stands twice")]
    Twice(StepId),
    /// A step needs one that is not there.
    #[error("the step `{step}` needs step number {need}, which is not there")]
    NoSuchStep {
        /// The step.
        step: StepId,
        /// The place that it names.
        need: u32,
    },
    /// More than `u32::MAX` steps.
    #[error("a run has at most 4294967295 steps")]
    TooMany,
}

/// Edges of every step, in one piece of memory; steps are added at the end.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Edges {
    ends: Vec<u32>,
    to: Vec<StepIndex>,
}

impl Edges {
    fn of(&self, step: StepIndex) -> &[StepIndex] {
        let i = step.as_usize();
        let start = if i == 0 { 0 } else { self.ends[i - 1] as usize };
        &self.to[start..self.ends[i] as usize]
    }

    fn push(&mut self, list: &[StepIndex]) -> Result<(), TopologyError> {
        self.to.extend_from_slice(list);
        self.ends.push(u32::try_from(self.to.len()).map_err(|_| TopologyError::TooMany)?);
        Ok(())
    }
}

/// The steps of a run and the order among them; grows by the items of steps that fan out ([`Topology::expand`]).
#[derive(Debug, Clone, Default)]
pub struct Topology {
    pub(crate) ids: Vec<StepId>,
    pub(crate) lanes: Vec<u16>,
    lane_count: usize,
    needs: Edges,
    reads: Edges,
    consumers: Vec<Vec<StepIndex>>,
    conditional: Vec<bool>,
    handlers: Vec<(StepIndex, Handler)>,
    /// Made when it is first asked for: who only lists the steps of a run needs none.
    by_id: OnceLock<Places>,
    /// For an item, the step that it is one of.
    pub(crate) group_of: Vec<Option<StepIndex>>,
    pub(crate) groups: FixedMap<StepIndex, Group>,
}

impl Topology {
    /// Returns the topology of these nodes; a node's place is its place in the list.
    ///
    /// Cycles are not looked for: the plan has refused them.
    ///
    /// # Errors
    /// [`TopologyError`] for the first node that cannot be.
    pub fn new(nodes: Vec<Node>) -> Result<Self, TopologyError> {
        let count = u32::try_from(nodes.len()).map_err(|_| TopologyError::TooMany)?;
        let mut this = Self::with_room(nodes.len());
        // Each step is looked for when it is pushed.
        let _new = this.by_id.set(Places::with_room(nodes.len()));
        for node in nodes {
            if let Some(need) = node.needs.iter().find(|need| need.0 >= count) {
                return Err(TopologyError::NoSuchStep { step: node.id, need: need.0 });
            }
            this.push(node, None)?;
        }
        this.count_lanes();
        Ok(this)
    }

    /// Returns a topology without steps that so many different ones can be pushed to, in any order of need.
    pub(crate) fn with_room(steps: usize) -> Self {
        Self { ids: Vec::with_capacity(steps), consumers: vec![Vec::new(); steps], ..Self::default() }
    }

    /// Knows the lanes of all steps there are; items that come later have that of their step.
    pub(crate) fn count_lanes(&mut self) {
        self.lane_count = self.lanes.iter().copied().max().map_or(0, |lane| usize::from(lane) + 1);
    }

    /// Adds a step at the end; whatever it needs is there, or among those that a plan adds with it.
    pub(crate) fn push(&mut self, node: Node, group: Option<StepIndex>) -> Result<StepIndex, TopologyError> {
        let Node { id, mut needs, mut reads, conditional, handler, lane } = node;
        let place = StepIndex(u32::try_from(self.ids.len()).map_err(|_| TopologyError::TooMany)?);
        if let Some(by_id) = self.by_id.get_mut()
            && !by_id.add(&self.ids, &id, place)
        {
            return Err(TopologyError::Twice(id));
        }
        if self.consumers.len() <= place.as_usize() {
            self.consumers.push(Vec::new());
        }
        for list in [&mut needs, &mut reads] {
            list.sort_unstable();
            list.dedup();
        }
        reads.retain(|step| needs.binary_search(step).is_ok());
        for need in &needs {
            self.consumers[need.as_usize()].push(place);
        }
        self.needs.push(&needs)?;
        self.reads.push(&reads)?;
        self.conditional.push(conditional);
        self.handlers.extend(handler.map(|handler| (place, handler)));
        self.lanes.push(lane);
        self.ids.push(id);
        self.group_of.push(group);
        Ok(place)
    }

    /// Returns the number of steps.
    pub fn len(&self) -> usize {
        self.ids.len()
    }

    /// Returns whether there is no step.
    pub fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }

    /// Returns every place, from the lowest.
    pub fn indices(&self) -> impl Iterator<Item = StepIndex> + use<> {
        (0..self.ids.len() as u32).map(StepIndex)
    }

    /// Returns the identity of the step at this place.
    pub fn id(&self, step: StepIndex) -> &StepId {
        &self.ids[step.as_usize()]
    }

    /// Returns the place of a step.
    pub fn index(&self, id: &StepId) -> Option<StepIndex> {
        self.by_id.get_or_init(|| Places::of(&self.ids)).get(&self.ids, id)
    }

    /// Returns the steps that must be settled before this one, each once.
    pub fn needs(&self, step: StepIndex) -> &[StepIndex] {
        self.needs.of(step)
    }

    /// Returns those of its needs whose outputs a step reads, each once.
    pub fn reads(&self, step: StepIndex) -> &[StepIndex] {
        self.reads.of(step)
    }

    /// Returns whether a step reads an output of another, by its place.
    pub fn is_read_by(&self, producer: StepIndex, step: StepIndex) -> bool {
        self.reads(step).binary_search(&producer).is_ok()
    }

    /// Returns whether a condition says if the step runs.
    pub fn is_conditional(&self, step: StepIndex) -> bool {
        self.conditional[step.as_usize()]
    }

    /// Returns the steps that need this one, each once.
    pub fn consumers(&self, step: StepIndex) -> &[StepIndex] {
        &self.consumers[step.as_usize()]
    }

    /// Returns the steps that belong to the end of the run.
    pub fn handlers(&self) -> &[(StepIndex, Handler)] {
        &self.handlers
    }

    /// Returns when a step runs, if it belongs to the end of the run.
    pub fn handler(&self, step: StepIndex) -> Option<Handler> {
        let place = self.handlers.binary_search_by_key(&step, |(step, _)| *step).ok()?;
        Some(self.handlers[place].1)
    }

    /// Returns the lane of a step.
    pub fn lane(&self, step: StepIndex) -> u16 {
        self.lanes[step.as_usize()]
    }

    /// Returns the number of lanes.
    pub fn lane_count(&self) -> usize {
        self.lane_count
    }
}
