//! The plan of a run: made once from the graph, without keys; it grows by the items of steps that fan out.

use std::collections::HashMap;
use std::sync::Arc;

use prunella_healing::Traits;
use prunella_journal::{Node, StepIndex, Topology};
use prunella_model::{ByteSize, Graph, Item, Resources, Step, StepId, StepName};

use crate::plan_items::{fanned_out, items_wrong};

/// Says why a graph cannot be run.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// A target is no step.
    #[error("there is no step `{target}`")]
    UnknownTarget {
        /// What was asked for.
        target: StepName,
    },
    /// A step needs one that is not there.
    #[error("the step `{step}` needs `{need}`, which is no step")]
    UnknownStep {
        /// The step.
        step: StepName,
        /// What it needs.
        need: StepName,
    },
    /// Steps need each other in a circle.
    #[error("the steps need each other in a circle: {}", path.iter().map(StepName::as_str).collect::<Vec<_>>().join(" → "))]
    Cycle {
        /// The circle; the first step is repeated at the end.
        path: Vec<StepName>,
    },
    /// A step goes through the items of one that has none.
    #[error("the step `{step}` goes through the items of `{of}`, which does not fan out")]
    NoItems {
        /// The step.
        step: StepName,
        /// Whose items it wants.
        of: StepName,
    },
    /// An item stands twice.
    #[error("the item `{item}` of `{step}` stands twice")]
    TwoItems {
        /// The step.
        step: StepName,
        /// The item.
        item: String,
    },
    /// There are more steps than places for them.
    #[error("a run has at most 4294967295 steps")]
    TooManySteps,
}

/// What an attempt takes of the machine while it runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Demand {
    /// Thousandths of a processor.
    pub cpu_millis: u64,
    /// Memory; 0 if the step does not say.
    pub memory_bytes: u64,
    /// Accelerators.
    pub gpu: u32,
}

impl Demand {
    fn of(resources: &Resources) -> Self {
        Self {
            cpu_millis: u64::from(resources.cpu_millis),
            memory_bytes: resources.memory.map_or(0, ByteSize::bytes),
            gpu: resources.gpu,
        }
    }
}

/// Which steps run, in which order, and what each takes.
#[derive(Debug, Clone)]
pub struct Plan {
    graph: Arc<Graph>,
    topology: Arc<Topology>,
    /// The place in the graph of each step of the plan; items follow, and have that of their step.
    places: Vec<u32>,
    /// What the steps of each lane take.
    lanes: Vec<Demand>,
}

/// Steps with more kinds of demand than this share one lane.
const LANES: usize = 64;

impl Plan {
    /// Makes the plan of `targets` and all that they need; of every step if there are no targets.
    ///
    /// Steps stand in the order of the file. Pure, and linear in the size of the graph.
    ///
    /// # Errors
    /// [`PlanError`] for the first thing that makes it impossible.
    pub fn build(graph: Arc<Graph>, targets: &[StepName]) -> Result<Self, PlanError> {
        let needs = needs_of(&graph)?;
        let places = wanted(&graph, &needs, targets)?;
        refuse_cycles(&graph, &needs, &places)?;
        let mut renumbered = vec![u32::MAX; needs.len()];
        for (new, old) in (0u32..).zip(&places) {
            renumbered[*old as usize] = new;
        }
        let (mut lanes, mut lane_of) = (Vec::new(), HashMap::new());
        let mut nodes = Vec::with_capacity(places.len());
        for &old in &places {
            let (name, step) = graph.pipeline.steps.get_index(old as usize).expect("places are of this graph");
            let demand = Demand::of(&step.resources);
            let lane = *lane_of.entry(demand).or_insert_with(|| {
                if lanes.len() < LANES {
                    lanes.push(demand);
                }
                lanes.len() - 1
            });
            let needs = match &step.for_each {
                None => needs[old as usize].iter().map(|need| StepIndex::new(renumbered[*need as usize])).collect(),
                // What its items need is theirs to wait for; the group waits for its list.
                Some(_) => Vec::new(),
            };
            nodes.push(Node {
                id: StepId::plain(name.clone()),
                needs,
                reads: reads_of(&graph, step).map(|need| StepIndex::new(renumbered[need])).collect(),
                // Of a step that fans out each item has the condition.
                conditional: step.when.is_some() && step.for_each.is_none(),
                handler: step.handler,
                lane: u16::try_from(lane).expect("there are at most 64 lanes"),
            });
        }
        let topology = fanned_out(&graph, nodes)?;
        Ok(Self { topology: Arc::new(topology), graph, places, lanes })
    }

    /// Returns the plan of a run that is only looked at: of all its steps, though its graph has only some of them.
    ///
    /// [`Plan::step`] and what needs it are for those that the graph has.
    pub(crate) fn seen(graph: Arc<Graph>, topology: Arc<Topology>) -> Self {
        let mut places = vec![u32::MAX; topology.len()];
        for (place, name) in (0..).zip(graph.pipeline.steps.keys()) {
            if let Some(step) = topology.index(&StepId::plain(name.clone())) {
                places[step.as_usize()] = place;
            }
        }
        Self { graph, topology, places, lanes: Vec::new() }
    }

    /// Returns the place in the graph of each step that is no item.
    pub(crate) fn places(&self) -> &[u32] {
        &self.places
    }

    /// Returns the graph.
    pub fn graph(&self) -> &Arc<Graph> {
        &self.graph
    }

    /// Returns the steps and the order among them.
    pub fn topology(&self) -> &Arc<Topology> {
        &self.topology
    }

    /// Takes over the steps that a run has got since: those of `topology`, which has grown from the plan's own.
    pub fn follow(&mut self, topology: Arc<Topology>) {
        self.topology = topology;
    }

    /// Lets go of the steps, so that a run that shares them can grow without copying them; [`Plan::follow`] comes next.
    pub(crate) fn let_go(&mut self) {
        self.topology = Arc::default();
    }

    /// Gives a step that fans out over a list of its own, and those that follow it, these items.
    ///
    /// # Errors
    /// [`PlanError::TwoItems`] if an item stands twice.
    pub fn expand(&mut self, step: StepIndex, items: &[Item]) -> Result<(), PlanError> {
        Arc::make_mut(&mut self.topology).expand(step, items).map_err(|error| items_wrong(error, self.id(step)))
    }

    /// Returns the number of steps, items included.
    pub fn len(&self) -> usize {
        self.topology.len()
    }

    /// Returns whether there is nothing to run.
    pub fn is_empty(&self) -> bool {
        self.topology.is_empty()
    }

    /// Returns every step's place, from the first.
    pub fn indices(&self) -> impl Iterator<Item = StepIndex> + use<> {
        self.topology.indices()
    }

    /// Returns the identity of a step.
    pub fn id(&self, step: StepIndex) -> &StepId {
        self.topology.id(step)
    }

    /// Returns the place of a step.
    pub fn index(&self, id: &StepId) -> Option<StepIndex> {
        self.topology.index(id)
    }

    /// Returns what the file says of a step.
    pub fn step(&self, step: StepIndex) -> &Step {
        let place = self.places[self.topology.group_of(step).unwrap_or(step).as_usize()] as usize;
        self.graph.pipeline.steps.get_index(place).expect("places are of this graph").1
    }

    /// Returns what healing has to know of a step.
    pub fn traits(&self, step: StepIndex) -> Traits {
        Traits::of(self.step(step))
    }

    /// Returns what an attempt of the step takes, with `memory` in place of what it declares if that has grown.
    pub fn demand(&self, step: StepIndex, memory: Option<ByteSize>) -> Demand {
        let demand = Demand::of(&self.step(step).resources);
        Demand { memory_bytes: memory.map_or(demand.memory_bytes, ByteSize::bytes), ..demand }
    }

    /// Returns the most accelerators that one step of the whole pipeline needs.
    pub fn most_accelerators(&self) -> u32 {
        self.graph.pipeline.steps.values().map(|step| step.resources.gpu).max().unwrap_or(0)
    }

    /// Returns the number of different demands that are told apart.
    pub fn lanes(&self) -> usize {
        self.lanes.len()
    }
}

/// Returns the places of the steps whose outputs a step reads.
fn reads_of(graph: &Graph, step: &Step) -> impl Iterator<Item = usize> {
    step.reads().filter_map(|name| graph.pipeline.steps.get_index_of(name))
}

type Needs = Vec<Vec<u32>>;

fn needs_of(graph: &Graph) -> Result<Needs, PlanError> {
    let steps = &graph.pipeline.steps;
    let count = u32::try_from(steps.len()).map_err(|_| PlanError::TooManySteps)?;
    let mut needs = Vec::with_capacity(count as usize);
    for (name, step) in steps {
        let mut list = Vec::new();
        for need in step.needs() {
            let place = steps.get_index_of(need);
            let place = place.ok_or_else(|| PlanError::UnknownStep { step: name.clone(), need: need.clone() })?;
            list.push(u32::try_from(place).map_err(|_| PlanError::TooManySteps)?);
        }
        list.sort_unstable();
        list.dedup();
        needs.push(list);
    }
    Ok(needs)
}

/// Returns the places of the targets and of all that they need, in the order of the file.
fn wanted(graph: &Graph, needs: &Needs, targets: &[StepName]) -> Result<Vec<u32>, PlanError> {
    let count = u32::try_from(needs.len()).map_err(|_| PlanError::TooManySteps)?;
    if targets.is_empty() {
        return Ok((0..count).collect());
    }
    let mut chosen = vec![false; needs.len()];
    let mut stack = Vec::new();
    for target in targets {
        let place = graph.pipeline.steps.get_index_of(target);
        stack.push(place.ok_or_else(|| PlanError::UnknownTarget { target: target.clone() })?);
    }
    while let Some(place) = stack.pop() {
        if !std::mem::replace(&mut chosen[place], true) {
            stack.extend(needs[place].iter().map(|need| *need as usize));
        }
    }
    // Whatever was asked for, the run has an end.
    let steps = &graph.pipeline.steps;
    let at_end = |place: u32| steps.get_index(place as usize).is_some_and(|(_, step)| step.handler.is_some());
    Ok((0..count).filter(|place| chosen[*place as usize] || at_end(*place)).collect())
}

fn refuse_cycles(graph: &Graph, needs: &Needs, places: &[u32]) -> Result<(), PlanError> {
    #[derive(Clone, Copy, PartialEq)]
    enum Mark {
        New,
        Open,
        Closed,
    }
    let name = |place: u32| graph.pipeline.steps.get_index(place as usize).expect("places are of this graph").0.clone();
    let mut marks = vec![Mark::New; needs.len()];
    // A stack of its own: a chain of 100,000 steps would overflow the thread's.
    let mut path: Vec<(u32, usize)> = Vec::new();
    for &root in places {
        if marks[root as usize] != Mark::New {
            continue;
        }
        path.push((root, 0));
        marks[root as usize] = Mark::Open;
        while let Some((place, next)) = path.last_mut() {
            let Some(&need) = needs[*place as usize].get(*next) else {
                marks[*place as usize] = Mark::Closed;
                path.pop();
                continue;
            };
            *next += 1;
            match marks[need as usize] {
                Mark::Closed => {}
                Mark::New => {
                    marks[need as usize] = Mark::Open;
                    path.push((need, 0));
                }
                Mark::Open => {
                    let from = path.iter().position(|(place, _)| *place == need).unwrap_or(0);
                    let mut circle: Vec<StepName> = path[from..].iter().map(|(place, _)| name(*place)).collect();
                    circle.push(name(need));
                    return Err(PlanError::Cycle { path: circle });
                }
            }
        }
    }
    Ok(())
}
