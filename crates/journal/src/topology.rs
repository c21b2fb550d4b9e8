//! The shape of a run: its steps by dense index, what each needs and who needs it.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, DefaultHasher};

use prunella_model::StepId;

/// A map whose hashes are the same in every process; nothing iterates over it.
pub(crate) type FixedMap<K, V> = HashMap<K, V, BuildHasherDefault<DefaultHasher>>;

/// The place of a step in a [`Topology`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
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

/// Edges of every step, in one piece of memory.
#[derive(Debug, Clone, PartialEq, Eq)]
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

    fn collect<'a>(lists: impl Iterator<Item = &'a [StepIndex]>) -> Result<Self, TopologyError> {
        let (mut ends, mut to) = (Vec::new(), Vec::new());
        for list in lists {
            to.extend_from_slice(list);
            ends.push(u32::try_from(to.len()).map_err(|_| TopologyError::TooMany)?);
        }
        Ok(Self { ends, to })
    }
}

/// The steps of a run and the order among them; never changes while the run is driven.
#[derive(Debug, Clone)]
pub struct Topology {
    ids: Vec<StepId>,
    lanes: Vec<u16>,
    lane_count: usize,
    needs: Edges,
    reads: Edges,
    consumers: Edges,
    conditional: Vec<bool>,
    by_id: FixedMap<StepId, StepIndex>,
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
        let mut by_id = FixedMap::with_capacity_and_hasher(nodes.len(), BuildHasherDefault::default());
        let (mut ids, mut lanes) = (Vec::with_capacity(nodes.len()), Vec::with_capacity(nodes.len()));
        let mut needs: Vec<Vec<StepIndex>> = Vec::with_capacity(nodes.len());
        let mut reads: Vec<Vec<StepIndex>> = Vec::with_capacity(nodes.len());
        let mut conditional = Vec::with_capacity(nodes.len());
        let mut consumers: Vec<Vec<StepIndex>> = vec![Vec::new(); nodes.len()];
        for (place, node) in (0..count).map(StepIndex).zip(nodes) {
            let mut list = node.needs;
            list.sort_unstable();
            list.dedup();
            if let Some(need) = list.iter().find(|need| need.0 >= count) {
                return Err(TopologyError::NoSuchStep { step: node.id, need: need.0 });
            }
            for need in &list {
                consumers[need.as_usize()].push(place);
            }
            if by_id.insert(node.id.clone(), place).is_some() {
                return Err(TopologyError::Twice(node.id));
            }
            let mut read = node.reads;
            read.sort_unstable();
            read.dedup();
            read.retain(|step| list.binary_search(step).is_ok());
            needs.push(list);
            reads.push(read);
            conditional.push(node.conditional);
            lanes.push(node.lane);
            ids.push(node.id);
        }
        Ok(Self {
            lane_count: lanes.iter().copied().max().map_or(0, |lane| usize::from(lane) + 1),
            needs: Edges::collect(needs.iter().map(Vec::as_slice))?,
            reads: Edges::collect(reads.iter().map(Vec::as_slice))?,
            consumers: Edges::collect(consumers.iter().map(Vec::as_slice))?,
            conditional,
            ids,
            lanes,
            by_id,
        })
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
        self.by_id.get(id).copied()
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
        self.consumers.of(step)
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
