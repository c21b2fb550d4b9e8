//! What differs between two runs, and why.

mod numbers;
mod side;
mod text;

use std::collections::{BTreeMap, BTreeSet};

use prunella_environment::{InterpreterId, PythonLock};
use prunella_model::{Artifact, Graph, Reuse, Step, StepId};
use serde::Serialize;

pub use side::{Side, StepSide};
pub use text::text;

use self::side::{Entry, Made};
use crate::{changes::changes, condition::StepCondition};

/// Something that is not the same in both runs; nothing on a side where it is not there.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Change<T> {
    /// Its name.
    pub name: String,
    /// What it was in the older run.
    pub old: Option<T>,
    /// What it is in the newer run.
    pub new: Option<T>,
}

/// An output that is not the same.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct OutputChange {
    /// What it was, and what it is.
    #[serde(flatten)]
    pub artifact: Change<Artifact>,
    /// The numbers in it that differ, if it is JSON in both runs.
    pub numbers: Vec<Change<serde_json::Number>>,
    /// The entries in it that differ, if it is a tree in both runs.
    pub files: Vec<Change<Entry>>,
}

/// What is not the same about a step; all empty if everything is.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct StepChange {
    /// The step, or the item of one.
    #[serde(skip)]
    pub id: StepId,
    /// Its name, as it is written.
    pub step: String,
    /// Whether its key, its outcome and its outputs are the same. Times and attempts do not count.
    pub same: bool,
    /// How it was; nothing if the older run has no such step.
    pub old: Option<Made>,
    /// How it is; nothing if the newer run has no such step.
    pub new: Option<Made>,
    /// The parts of its key that changed.
    pub why: Vec<String>,
    /// What changed and does not enter the key.
    pub settings: Vec<&'static str>,
    /// The outputs that differ.
    pub outputs: Vec<OutputChange>,
}

/// What differs between two runs.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Comparison {
    /// Parameters.
    pub params: Vec<Change<String>>,
    /// Data.
    pub data: Vec<Change<Artifact>>,
    /// Files of the code, by path.
    pub code: Vec<Change<Entry>>,
    /// Interpreter and packages of the environment, and the platform.
    pub environment: Vec<Change<String>>,
    /// All steps of both runs, in the order of the newer file.
    pub steps: Vec<StepChange>,
}

impl Comparison {
    /// Returns what differs between two runs.
    ///
    /// Pure.
    pub fn of(old: &Side, new: &Side) -> Self {
        let (was, is) = (&*old.record.graph, &*new.record.graph);
        let text = |side: &Graph| -> BTreeMap<String, String> {
            side.pipeline.params.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect()
        };
        let data = |side: &Graph| -> BTreeMap<String, Artifact> {
            side.data.iter().map(|(name, pin)| (name.to_string(), pin.artifact)).collect()
        };
        let all = is.pipeline.steps.iter().chain(&was.pipeline.steps);
        // What runs at the end of a run belongs to that run alone.
        let names = all.filter(|(_, step)| step.handler.is_none()).map(|(name, _)| name);
        let mut seen = BTreeSet::new();
        let steps = names.filter(|name| seen.insert(*name)).flat_map(|name| {
            // A step that fans out, then its items, those of the newer run first.
            let items = new.items.get(name).into_iter().chain(old.items.get(name)).flatten();
            let mut met = BTreeSet::new();
            let items: Vec<StepId> = items.filter(|id| met.insert(*id)).cloned().collect();
            std::iter::once(StepId::plain(name.clone())).chain(items)
        });
        let steps = steps.map(|id| step(&id, old, new));
        Self {
            params: differing(&text(was), &text(is)),
            data: differing(&data(was), &data(is)),
            code: differing(&old.code, &new.code),
            environment: differing(&environment(was), &environment(is)),
            steps: steps.collect(),
        }
    }

    /// Returns whether nothing differs that could be another result. Times and attempts do not count.
    pub fn is_same(&self) -> bool {
        let Self { params, data, code, environment, steps } = self;
        let inputs = params.is_empty() && data.is_empty() && code.is_empty() && environment.is_empty();
        inputs && steps.iter().all(|step| step.same)
    }
}

/// Returns the entries that are not the same in both, by name.
fn differing<T: Clone + PartialEq>(old: &BTreeMap<String, T>, new: &BTreeMap<String, T>) -> Vec<Change<T>> {
    let names: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    names
        .into_iter()
        .filter(|name| old.get(*name) != new.get(*name))
        .map(|name| Change { name: name.clone(), old: old.get(name).cloned(), new: new.get(name).cloned() })
        .collect()
}

/// Returns what makes up the environment, by name.
fn environment(graph: &Graph) -> BTreeMap<String, String> {
    let mut parts = BTreeMap::new();
    let Some(pin) = &graph.environment else {
        parts.insert("host".to_owned(), format!("{}-{}", graph.platform.os, graph.platform.arch));
        return parts;
    };
    // Of a lock that a newer program wrote, only the digest is known.
    if let Ok(lock) = PythonLock::from_json(&pin.lock) {
        let InterpreterId { version, implementation, abi, platform } = lock.interpreter;
        let known = [("version", version), ("implementation", implementation), ("abi", abi), ("platform", platform)];
        parts.extend(known.map(|(name, value)| (format!("python {name}"), value)));
        for package in lock.packages {
            let mut value = package.version;
            value.extend(package.source);
            parts.insert(package.name, value);
        }
    }
    parts.insert("lock".to_owned(), pin.digest.short());
    parts
}

fn step(id: &StepId, old: &Side, new: &Side) -> StepChange {
    let name = &id.name;
    let (was, is) = (old.steps.get(id), new.steps.get(id));
    let (mut why, mut settings) = (Vec::new(), Vec::new());
    if let (Some(before), Some(now)) = (was, is) {
        let (old_graph, new_graph) = (&*old.record.graph, &*new.record.graph);
        if before.made.key != now.made.key {
            why = changes(name, (old_graph, &before.inputs), (new_graph, &now.inputs));
            if old_graph.force.get(name) != new_graph.force.get(name) {
                why.push("made anew by `--force`".to_owned());
            }
            let reuse = new_graph.pipeline.steps.get(name).map(|step| step.reuse);
            if old.run != new.run && matches!(reuse, Some(Reuse::Run | Reuse::Never)) {
                why.push("`reuse` lets no earlier result stand for it".to_owned());
            }
            if why.is_empty() {
                why.push(match (before.made.key, now.made.key) {
                    (Some(_), Some(_)) => "something else in its key changed".to_owned(),
                    (None, _) if before.made.state == StepCondition::Skipped => {
                        "it was skipped in the older run".to_owned()
                    }
                    (_, None) if now.made.state == StepCondition::Skipped => {
                        "it was skipped in the newer run".to_owned()
                    }
                    (None, _) => "the older run did not get so far".to_owned(),
                    (_, None) => "the newer run did not get so far".to_owned(),
                });
            }
        }
        let step = |graph: &Graph| graph.pipeline.steps.get(name).cloned();
        // Of a step that fans out they are said once.
        if let (Some(before), Some(now), None) = (step(old_graph), step(new_graph), &id.item) {
            settings = outside_the_key(&before, &now);
        }
    }
    let none = BTreeMap::new();
    let outputs_of = |side: Option<&StepSide>| side.map_or(&none, |side| &side.outputs).clone();
    let outputs: Vec<OutputChange> = differing(&outputs_of(was), &outputs_of(is))
        .into_iter()
        .map(|change| {
            let of = |side: Option<&StepSide>| side.and_then(|side| side.contents.get(&change.name)).cloned();
            let (before, now) = (of(was).unwrap_or_default(), of(is).unwrap_or_default());
            let both = change.old.is_some() && change.new.is_some();
            OutputChange {
                numbers: if both { differing(&before.numbers, &now.numbers) } else { Vec::new() },
                files: if both { differing(&before.files, &now.files) } else { Vec::new() },
                artifact: change,
            }
        })
        .collect();
    let outcome = |side: Option<&StepSide>| side.map(|side| (side.made.outcome(), side.made.key));
    let same = outcome(was) == outcome(is) && outputs.is_empty();
    let made = |side: Option<&StepSide>| side.map(|side| side.made.clone());
    StepChange { id: id.clone(), step: id.to_string(), same, old: made(was), new: made(is), why, settings, outputs }
}

/// Returns the settings of a step that differ and do not enter its key.
fn outside_the_key(old: &Step, new: &Step) -> Vec<&'static str> {
    [
        ("checkpoint", old.checkpoint != new.checkpoint),
        ("resources", old.resources != new.resources),
        ("pass_env", old.pass_env != new.pass_env),
        ("secret files", old.secret_files != new.secret_files),
        ("retry", old.retry != new.retry),
        ("timeout", old.timeout != new.timeout),
        ("stall", old.stall != new.stall),
        ("deterministic", old.deterministic != new.deterministic),
        ("on_notice", old.on_notice != new.on_notice),
        ("after", old.after != new.after),
        ("when", old.when != new.when),
    ]
    .into_iter()
    .filter(|(_, differs)| *differs)
    .map(|(name, _)| name)
    .collect()
}

#[cfg(test)]
mod tests {
    use prunella_model::{Digest, EnvironmentPin, GRAPH_FORMAT, Pipeline, PipelineName, Platform};
    use serde_json::json;

    use super::*;

    fn graph(lock: Option<serde_json::Value>) -> Graph {
        let digest = Digest::of(lock.as_ref().map(ToString::to_string).unwrap_or_default().as_bytes());
        Graph {
            format: GRAPH_FORMAT,
            pipeline: Pipeline {
                name: PipelineName::new("p").expect("a name"),
                params: BTreeMap::new(),
                data: BTreeMap::new(),
                mounted: Default::default(),
                referenced: Default::default(),
                code: Vec::new(),
                environment: None,
                steps: Default::default(),
            },
            data: BTreeMap::new(),
            code: None,
            step_code: BTreeMap::new(),
            environment: lock.map(|lock| EnvironmentPin { digest, lock }),
            platform: Platform { os: "linux".to_owned(), arch: "x86_64".to_owned() },
            force: BTreeMap::new(),
            warm: BTreeMap::new(),
        }
    }

    fn lock(version: &str, packages: &[(&str, &str)]) -> serde_json::Value {
        let packages: Vec<_> =
            packages.iter().map(|(name, version)| json!({ "name": name, "version": version })).collect();
        json!({
            "format": 1,
            "interpreter": { "version": version, "implementation": "cpython", "abi": "a", "platform": "linux-x86_64" },
            "packages": packages,
            "requirements_digest": Digest::of(b"requirements"),
        })
    }

    fn names(old: Option<serde_json::Value>, new: Option<serde_json::Value>) -> Vec<String> {
        let show = |side: Option<String>| side.unwrap_or_else(|| "none".to_owned());
        differing(&environment(&graph(old)), &environment(&graph(new)))
            .into_iter()
            .filter(|change| change.name != "lock")
            .map(|change| format!("{} {} → {}", change.name, show(change.old), show(change.new)))
            .collect()
    }

    #[test]
    fn environments_are_compared_by_interpreter_and_package() {
        let old = lock("3.12.1", &[("numpy", "2.1.0"), ("scipy", "1.0")]);
        let new = lock("3.12.2", &[("numpy", "2.2.0"), ("polars", "3")]);
        let expected = ["numpy 2.1.0 → 2.2.0", "polars none → 3", "python version 3.12.1 → 3.12.2", "scipy 1.0 → none"];
        assert_eq!(names(Some(old.clone()), Some(new)), expected);
        assert_eq!(names(Some(old.clone()), Some(old.clone())), Vec::<String>::new());
        assert!(names(None, Some(old)).contains(&"host linux-x86_64 → none".to_owned()));
        // What cannot be understood still has its digest.
        let strange = differing(&environment(&graph(Some(json!(1)))), &environment(&graph(Some(json!(2)))));
        assert_eq!(strange.iter().map(|change| change.name.as_str()).collect::<Vec<_>>(), ["lock"]);
    }
}
