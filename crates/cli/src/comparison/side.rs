//! One of two runs that are compared: what it was made from, and what became of each step.

use std::{collections::BTreeMap, sync::Arc};

use prunella_engine::{Loaded, Plan, load_state};
use prunella_journal::{Event, RunMetrics, RunState, Stamped, StepIndex, StepState, metrics};
use prunella_model::{
    Artifact, ArtifactKind, Class, ContentFormat, Digest, PortName, RunId, SlotId, Span, StepId, StepKey, StepName,
    TreeNode,
};
use prunella_store::{
    Store, StoreError,
    records::{Committed, GraphRecord, StoredArtifact},
};
use serde::Serialize;
use serde_json::Number;

use super::numbers::numbers;
use crate::{
    changes::Inputs,
    condition::{self, Bound, Condition, StepCondition},
    error::CliError,
    forecast::{Content, inputs},
    history,
};

/// A run.
pub struct Side {
    /// Its id.
    pub run: RunId,
    /// What it executes.
    pub record: Arc<GraphRecord>,
    /// How it is.
    pub condition: Condition,
    /// Its figures.
    pub figures: RunMetrics,
    /// The files of its code, by path.
    pub code: BTreeMap<String, Entry>,
    /// Its steps, and the items of those that fan out.
    pub steps: BTreeMap<StepId, StepSide>,
    /// The items of steps that fan out, in their order.
    pub items: BTreeMap<StepName, Vec<StepId>>,
}

/// What became of a step.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Made {
    /// How it is.
    pub state: StepCondition,
    /// Why it was given up, if it was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub class: Option<Class>,
    /// Its key, as far as it is known.
    pub key: Option<StepKey>,
    /// The number of the attempt whose commit stands for it.
    pub epoch: Option<u64>,
    /// How many attempts the run made.
    pub attempts: u32,
    /// Compute time of these attempts.
    #[serde(rename = "compute_ms")]
    pub compute: Span,
}

impl Made {
    /// Returns what became of it, as far as that is a result: whether it was made or reused does not matter.
    pub fn outcome(&self) -> (StepCondition, Option<Class>) {
        let state = if self.state == StepCondition::Reused { StepCondition::Done } else { self.state };
        (state, self.class)
    }
}

/// A step of a run.
pub struct StepSide {
    /// What became of it.
    pub made: Made,
    /// The content of its inputs, as far as it is known.
    pub inputs: Inputs,
    /// Its outputs.
    pub outputs: BTreeMap<String, Artifact>,
    /// What is in them.
    pub contents: BTreeMap<String, Inside>,
}

/// What is in an output.
#[derive(Debug, Clone, Default)]
pub struct Inside {
    /// The numbers of a JSON file.
    pub numbers: BTreeMap<String, Number>,
    /// The entries of a tree.
    pub files: BTreeMap<String, Entry>,
}

/// An entry of a tree that is no directory.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Entry {
    /// A file.
    File {
        /// Its content.
        digest: Digest,
        /// Its length.
        size_bytes: u64,
        /// Whether it may be executed.
        executable: bool,
    },
    /// A link, and where it leads.
    Link(String),
}

/// JSON larger than this is compared by its digest alone.
const LARGEST: u64 = 1 << 20;

impl Side {
    /// Returns what there is to know of a run. Contents of outputs are read by [`Side::look_into`].
    ///
    /// # Errors
    /// [`CliError`] if the store did not answer.
    pub async fn load(store: &Store, run: &RunId) -> Result<Self, CliError> {
        let Loaded { record, plan, state, events, damage } = load_state(store, run).await?;
        history::tell_damage(damage.as_deref(), "compared");
        let (_, condition) = condition::of(store, run, state.ended()).await?;
        let bound = store.bindings(run).await?;
        let mut content: Vec<Option<Content>> =
            plan.indices().map(|step| state.done(step).map(|done| done.artifacts.to_vec())).collect();
        for step in plan.indices() {
            if let Some(slot) = condition::untold(&bound, &plan, &state, step)
                && let Some(committed) = store.committed(&slot).await?
            {
                content[step.as_usize()] = Some(artifacts(&committed));
            }
        }
        let here =
            Here { plan: &plan, state: &state, told: told(&events), bound: &bound, condition, content: &content };
        let steps = plan.indices().map(|step| (plan.id(step).clone(), here.step(step))).collect();
        let of_group = |group: StepIndex| {
            let items = plan.topology().members(group).unwrap_or_default();
            (plan.id(group).name.clone(), items.iter().map(|item| plan.id(*item).clone()).collect())
        };
        let items = plan.topology().groups().map(of_group).collect();
        let code = code(store, &record).await?;
        Ok(Self { run: run.clone(), figures: metrics(&events), condition, code, steps, items, record })
    }

    /// Reads what is in these outputs: numbers of JSON, entries of trees. What cannot be read stays unknown.
    ///
    /// # Errors
    /// [`CliError`] if the store did not answer.
    pub async fn look_into(&mut self, store: &Store, wanted: &[(StepId, String)]) -> Result<(), CliError> {
        for (id, output) in wanted {
            let name = &id.name;
            let Some(step) = self.steps.get_mut(id) else { continue };
            let slot = step.made.key.zip(step.made.epoch);
            let Some((key, epoch)) = slot else { continue };
            let slot = SlotId { key, epoch: prunella_model::Epoch(epoch) };
            let Some(committed) = store.committed(&slot).await? else { continue };
            let declared = self.record.graph.pipeline.steps.get(name);
            let port = PortName::new(output).ok();
            let declared = declared.zip(port.as_ref()).and_then(|(step, port)| step.outputs.get(port));
            let Some((stored, declared)) = port.as_ref().and_then(|port| committed.artifacts.get(port)).zip(declared)
            else {
                continue;
            };
            let format = declared.check.format.unwrap_or_else(|| ContentFormat::of_name(declared.path.base_name()));
            let inside = match stored.artifact.kind {
                ArtifactKind::Tree => Inside { files: entries(store, stored).await?, ..Inside::default() },
                ArtifactKind::File if format == ContentFormat::Json => {
                    Inside { numbers: json(store, stored).await?, ..Inside::default() }
                }
                ArtifactKind::File => continue,
            };
            step.contents.insert(output.clone(), inside);
        }
        Ok(())
    }
}

/// A run's state, to make its steps from.
struct Here<'a> {
    plan: &'a Plan,
    state: &'a RunState,
    told: BTreeMap<&'a StepId, Told>,
    bound: &'a Bound,
    condition: Condition,
    content: &'a [Option<Content>],
}

/// What the journal tells of a step.
#[derive(Debug, Clone, Copy, Default)]
struct Told {
    /// The key that it was bound to last.
    key: Option<StepKey>,
    /// Compute time of its attempts.
    compute_ms: u64,
}

/// Returns what the journal tells of each step; goes through it once.
fn told(events: &[Stamped]) -> BTreeMap<&StepId, Told> {
    let mut told: BTreeMap<&StepId, Told> = BTreeMap::new();
    for Stamped { event, .. } in events {
        match event {
            Event::StepKeyed { step, key } => told.entry(step).or_default().key = Some(*key),
            Event::AttemptEnded { step, compute, .. } | Event::StepCommitted { step, compute, .. } => {
                told.entry(step).or_default().compute_ms += compute.as_millis();
            }
            _ => {}
        }
    }
    told
}

impl Here<'_> {
    fn step(&self, step: StepIndex) -> StepSide {
        let Self { plan, state, told, bound, condition, content } = self;
        let id: &StepId = plan.id(step);
        let slot = condition::untold(bound, plan, state, step).or_else(|| state.done(step).map(|done| done.slot));
        let told = told.get(id).copied().unwrap_or_default();
        let made = Made {
            state: StepCondition::with(bound, plan, state, step, *condition),
            class: match state.state(step) {
                StepState::Failed { class, .. } => Some(*class),
                _ => None,
            },
            key: slot.map(|slot| slot.key).or(told.key),
            epoch: slot.map(|slot| slot.epoch.0),
            attempts: state.attempts(step),
            compute: Span::from_millis(told.compute_ms),
        };
        let outputs = content[step.as_usize()].iter().flatten();
        let outputs = outputs.map(|(name, artifact)| (name.to_string(), *artifact)).collect();
        StepSide { made, inputs: inputs(plan, step, content), outputs, contents: BTreeMap::new() }
    }
}

fn artifacts(committed: &Committed) -> Content {
    committed.artifacts.iter().map(|(name, stored)| (name.clone(), stored.artifact)).collect()
}

/// Returns the files of all code that steps of the run see; all of it lies below one directory.
async fn code(store: &Store, record: &GraphRecord) -> Result<BTreeMap<String, Entry>, CliError> {
    let graph = &record.graph;
    let mut all = BTreeMap::new();
    for artifact in graph.code.iter().chain(graph.step_code.values()) {
        if let Some(stored) = record.brought.iter().find(|stored| stored.artifact == *artifact) {
            all.extend(entries(store, stored).await?);
        }
    }
    Ok(all)
}

/// Returns the entries of a tree; none if its manifest is lost, for its digest is known anyway.
async fn entries(store: &Store, stored: &StoredArtifact) -> Result<BTreeMap<String, Entry>, CliError> {
    let manifest = match store.manifest(stored).await {
        Err(StoreError::Damaged { .. }) => return Ok(BTreeMap::new()),
        manifest => manifest?,
    };
    let entries = manifest.entries.into_iter().filter_map(|stored| {
        let entry = match stored.entry.node {
            TreeNode::File { digest, size_bytes, executable } => Entry::File { digest, size_bytes, executable },
            TreeNode::Symlink { target } => Entry::Link(target),
            TreeNode::Directory => return None,
        };
        Some((stored.entry.path, entry))
    });
    Ok(entries.collect())
}

/// Returns the numbers of a JSON file; none if it is large, no JSON, or lost.
async fn json(store: &Store, stored: &StoredArtifact) -> Result<BTreeMap<String, Number>, CliError> {
    let bytes = match store.read_small(stored, LARGEST).await {
        Ok(Some(bytes)) => bytes,
        Ok(None) | Err(StoreError::Damaged { .. }) => return Ok(BTreeMap::new()),
        Err(error) => return Err(error.into()),
    };
    Ok(serde_json::from_slice(&bytes).map(|value| numbers(&value)).unwrap_or_default())
}
