//! Which steps of a plan fan out, over which items, and what each item needs.

use std::sync::Arc;

use prunella_journal::{Fan, Need, Node, StepIndex, Topology, TopologyError};
use prunella_model::{ForEach, Graph, Source, Step, StepId, StepName};

use crate::PlanError;

/// Returns the topology of these nodes, with everything that fans out; lists that the graph has are expanded.
pub(crate) fn fanned_out(graph: &Graph, nodes: Vec<Node>) -> Result<Topology, PlanError> {
    let steps = &graph.pipeline.steps;
    let fanning: Vec<StepIndex> = (0u32..)
        .zip(&nodes)
        .filter(|(_, node)| steps.get(&node.id.name).is_some_and(|step| step.for_each.is_some()))
        .map(|(place, _)| StepIndex::new(place))
        .collect();
    let names: Vec<StepName> = fanning.iter().map(|step| nodes[step.as_usize()].id.name.clone()).collect();
    if fanning.is_empty() {
        return Ok(Topology::new(nodes).expect("names are unique in a graph, and needs were looked up in it"));
    }
    let mut nodes = nodes;
    let places: std::collections::HashMap<StepName, StepIndex> =
        (0u32..).zip(&nodes).map(|(place, node)| (node.id.name.clone(), StepIndex::new(place))).collect();
    let place = |name: &StepName| *places.get(name).expect("a plan has all that its steps need");
    let mut leaders = Vec::with_capacity(names.len());
    for (step, name) in fanning.iter().zip(&names) {
        let leader = leader_of(graph, name)?;
        let needs = match &steps[name].for_each {
            Some(ForEach::Output { step, .. }) => vec![place(step)],
            Some(ForEach::Step(_)) => vec![place(&leader)],
            Some(ForEach::Items(_)) | None => Vec::new(),
        };
        nodes[step.as_usize()].reads = needs.clone();
        nodes[step.as_usize()].needs = needs;
        leaders.push(leader);
    }
    let mut topology = Topology::new(nodes).expect("names are unique in a graph, and needs were looked up in it");
    let leader_by_name: std::collections::HashMap<&StepName, &StepName> = names.iter().zip(&leaders).collect();
    for name in in_order_of_need(graph, &names, &leader_by_name) {
        let (step, leader) = (&steps[name], leader_by_name[name]);
        let read = item_reads(step).map(|(producer, of_item)| {
            let together = of_item && leader_by_name.get(producer).is_some_and(|other| *other == leader);
            if together { Need::SameItem(place(producer)) } else { Need::Whole(place(producer)) }
        });
        let reads: Vec<Need> = read.collect();
        let after = step.after.iter().map(|after| Need::Whole(place(after)));
        let needs = reads.iter().copied().chain(after).collect();
        let outputs =
            step.outputs.iter().map(|(port, output)| (port.clone(), Arc::from(output.path.base_name()))).collect();
        let follows = (leader != name).then(|| place(leader));
        let conditional = step.when.is_some();
        topology.fan_out(place(name), Fan { follows, needs, reads, conditional, outputs });
    }
    for (step, name) in fanning.iter().zip(&names) {
        if let Some(ForEach::Items(items)) = &steps[name].for_each {
            topology.expand(*step, items).map_err(|error| items_wrong(error, topology.id(*step)))?;
        }
    }
    Ok(topology)
}

pub(crate) fn items_wrong(error: TopologyError, of: &StepId) -> PlanError {
    match error {
        TopologyError::Twice(id) => {
            let item = id.item.as_ref().map_or_else(String::new, |item| item.as_str().to_owned());
            PlanError::TwoItems { step: of.name.clone(), item }
        }
        TopologyError::NoSuchStep { .. } | TopologyError::TooMany => PlanError::TooManySteps,
    }
}

/// Returns every step that an item reads, and whether it is an input: of those it reads the same item.
fn item_reads(step: &Step) -> impl Iterator<Item = (&StepName, bool)> {
    let producers = step.inputs.values().filter_map(|source| match source {
        Source::Step { step, .. } => Some((step, true)),
        Source::Data(_) => None,
    });
    producers.chain(step.when.iter().flat_map(|when| when.reads.iter().map(|read| (&read.step, false))))
}

/// Returns the step whose list a fanned-out step goes through.
fn leader_of(graph: &Graph, name: &StepName) -> Result<StepName, PlanError> {
    let mut at = name;
    // As many hops as there are steps: circles have been refused.
    for _ in 0..=graph.pipeline.steps.len() {
        match graph.pipeline.steps.get(at).and_then(|step| step.for_each.as_ref()) {
            Some(ForEach::Step(of)) => at = of,
            Some(ForEach::Items(_) | ForEach::Output { .. }) => return Ok(at.clone()),
            None => break,
        }
    }
    Err(PlanError::NoItems { step: name.clone(), of: at.clone() })
}

/// Returns the steps so that each stands after those of its own list that its items need, and leaders first.
fn in_order_of_need<'a>(
    graph: &Graph,
    names: &'a [StepName],
    leaders: &std::collections::HashMap<&StepName, &StepName>,
) -> Vec<&'a StepName> {
    let by_name: std::collections::HashMap<&StepName, &'a StepName> = names.iter().map(|name| (name, name)).collect();
    let mut done = std::collections::HashSet::new();
    let mut order = Vec::with_capacity(names.len());
    for root in names {
        let mut stack = vec![(root, false)];
        while let Some((name, ready)) = stack.pop() {
            if ready {
                order.push(name);
                continue;
            }
            if !done.insert(name) {
                continue;
            }
            stack.push((name, true));
            let step = &graph.pipeline.steps[name];
            let together = step.needs().filter(|need| leaders.get(need).is_some_and(|other| *other == leaders[name]));
            stack.extend(together.filter_map(|need| by_name.get(need)).map(|need| (*need, false)));
            // The leader stands before everyone that follows it, also where a name is all that they share.
            stack.extend(by_name.get(leaders[name]).filter(|leader| **leader != name).map(|leader| (*leader, false)));
        }
    }
    order
}
