//! Why a step's key is another one than it was: what changed between two graphs, in words.

use std::collections::BTreeMap;

use prunella_model::{Digest, Graph, ParamName, PortName, Reference, Step, StepName};

/// The content of a step's inputs by name, as far as it is known.
pub type Inputs = BTreeMap<PortName, Digest>;

/// Returns what changed about a step from one graph to another, in the order in which people look for it.
///
/// Pure. Answers nothing if nothing that enters a key has changed.
pub fn changes(step: &StepName, was: (&Graph, &Inputs), is: (&Graph, &Inputs)) -> Vec<String> {
    let (Some(old), Some(new)) = (was.0.pipeline.steps.get(step), is.0.pipeline.steps.get(step)) else {
        return vec!["it is new".to_owned()];
    };
    let mut found = Vec::new();
    let digest = |graph: &Graph| graph.code_of(step).map(|code| code.digest);
    if digest(was.0) != digest(is.0) {
        found.push("code changed".to_owned());
    }
    if old.run != new.run {
        found.push("command changed".to_owned());
    }
    found.extend(params(old, new, was.0, is.0));
    found.extend(inputs(old, new, was.1, is.1));
    if old.env != new.env {
        let names = old.env.keys().chain(new.env.keys()).filter(|name| old.env.get(*name) != new.env.get(*name));
        let mut names: Vec<&str> = names.map(|name| name.as_str()).collect();
        names.sort_unstable();
        names.dedup();
        found.push(format!("env {} changed", names.join(", ")));
    }
    let environment = |graph: &Graph| graph.environment.as_ref().map(|pin| pin.digest);
    if environment(was.0) != environment(is.0) {
        found.push("environment changed".to_owned());
    }
    match (was.0.warm.get(step), is.0.warm.get(step)) {
        (old, new) if old.map(|warm| warm.artifact.digest) == new.map(|warm| warm.artifact.digest) => {}
        (_, Some(new)) => found.push(format!("begins with checkpoint {} (`--warm`)", new.checkpoint)),
        (Some(old), None) => found.push(format!("no longer begins with checkpoint {} (`--warm`)", old.checkpoint)),
        (None, None) => {}
    }
    if old.outputs != new.outputs {
        found.push("outputs declared differently".to_owned());
    }
    if old.secrets != new.secrets {
        found.push("other secrets".to_owned());
    }
    if was.0.platform != is.0.platform {
        found.push(format!("another platform ({}-{})", is.0.platform.os, is.0.platform.arch));
    }
    if old.reuse != new.reuse {
        found.push("`reuse` changed".to_owned());
    }
    found
}

fn params(old: &Step, new: &Step, was: &Graph, is: &Graph) -> Vec<String> {
    let mut referenced: Vec<&ParamName> = [old, new]
        .into_iter()
        .flat_map(|step| step.run.templates())
        .flat_map(|template| template.references())
        .filter_map(|reference| match reference {
            Reference::Param(name) => Some(name),
            Reference::Input(_) | Reference::Output(_) | Reference::Item(_) => None,
        })
        .collect();
    referenced.sort_unstable();
    referenced.dedup();
    let value = |graph: &Graph, name: &ParamName| {
        graph.pipeline.params.get(name).map_or_else(|| "nothing".to_owned(), ToString::to_string)
    };
    referenced
        .into_iter()
        .filter(|name| was.pipeline.params.get(*name) != is.pipeline.params.get(*name))
        .map(|name| format!("{name} {} → {}", value(was, name), value(is, name)))
        .collect()
}

fn inputs(old: &Step, new: &Step, was: &Inputs, is: &Inputs) -> Vec<String> {
    let mut found = Vec::new();
    for (name, source) in &new.inputs {
        match (old.inputs.get(name), was.get(name), is.get(name)) {
            (None, ..) => found.push(format!("input {name} is new")),
            (Some(_), Some(before), Some(now)) if before != now => {
                found.push(format!("input {name} changed ({} → {})", before.short(), now.short()));
            }
            (Some(before), None, _) | (Some(before), _, None) if before != source => {
                found.push(format!("input {name} comes from elsewhere"));
            }
            _ => {}
        }
    }
    found.extend(
        old.inputs.keys().filter(|name| !new.inputs.contains_key(*name)).map(|name| format!("input {name} is gone")),
    );
    found
}
