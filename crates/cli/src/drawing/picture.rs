//! What is drawn: the steps of a pipeline, the artifacts that go from one to another, and the order among them.

use std::collections::BTreeMap;

use prunella_model::{Handler, OutputRead, Pipeline, Source, StepName};

use crate::{
    condition::{Condition, StepCondition},
    skips::expression,
};

/// A pipeline, or the part of it that some steps need.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Picture {
    /// Its name.
    pub pipeline: String,
    /// Its steps, in the order of the file.
    pub steps: Vec<StepShown>,
    /// Data and outputs that steps use: data first, then outputs in the order of their steps.
    pub artifacts: Vec<Artifact>,
    /// Which step stands in whose `after`: the earlier one, then the later one.
    pub order: Vec<(usize, usize)>,
    /// Which step's output stands in whose condition.
    pub conditions: Vec<Decides>,
    /// The run whose states the steps show.
    pub run: Option<Shown>,
}

/// The run whose states are shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shown {
    /// Its id in full.
    pub id: String,
    /// As much of it as people are shown.
    pub short: String,
    /// How it is.
    pub condition: Condition,
}

/// A step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StepShown {
    /// Its name.
    pub name: String,
    /// How many steps stand at least above it, one over another.
    pub rank: usize,
    /// Under which condition it runs, on one line; empty without one.
    pub condition: String,
    /// When it runs, if it belongs to the end of a run.
    pub handler: Option<Handler>,
    /// How it is in the run that is shown; nothing if that run leaves it out.
    pub state: Option<StepCondition>,
}

/// A step of which an output decides whether another one runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decides {
    /// The one whose output is read.
    pub from: usize,
    /// The output.
    pub output: String,
    /// The one that has the condition.
    pub to: usize,
}

/// Something that steps use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Artifact {
    /// Where it comes from.
    pub from: Origin,
    /// Its name: that of the data, or of the output.
    pub name: String,
    /// Who uses it, and under which name.
    pub uses: Vec<(usize, String)>,
}

/// Where an artifact comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Origin {
    /// It is data of the pipeline.
    Data,
    /// The step with this place makes it.
    Step(usize),
}

impl Picture {
    /// Returns the picture of `targets` and all that they need; of every step if there are no targets.
    ///
    /// Pure. The pipeline has been checked: names of steps mean steps, and none needs itself.
    pub fn of(pipeline: &Pipeline, targets: &[StepName]) -> Self {
        let chosen = wanted(pipeline, targets);
        let mut places: BTreeMap<&StepName, usize> = BTreeMap::new();
        for name in pipeline.steps.keys().filter(|name| chosen.get(*name) == Some(&true)) {
            places.insert(name, places.len());
        }
        let mut artifacts: BTreeMap<(Origin, &str), Vec<(usize, String)>> = BTreeMap::new();
        let (mut order, mut conditions) = (Vec::new(), Vec::new());
        let mut needs: Vec<Vec<usize>> = vec![Vec::new(); places.len()];
        for (name, step) in &pipeline.steps {
            let Some(&place) = places.get(name) else { continue };
            for (input, source) in &step.inputs {
                let artifact = match source {
                    Source::Data(data) => (Origin::Data, data.as_str()),
                    Source::Step { step, output } => (Origin::Step(places[step]), output.as_str()),
                };
                artifacts.entry(artifact).or_default().push((place, input.to_string()));
            }
            order.extend(step.after.iter().map(|before| (places[before], place)));
            let decides =
                |read: &OutputRead| Decides { from: places[&read.step], output: read.output.to_string(), to: place };
            conditions.extend(step.when.iter().flat_map(|when| &when.reads).map(decides));
            needs[place].extend(step.needs().map(|need| places[need]));
        }
        let ranks = ranks(&needs);
        let last = ranks.iter().max().copied().unwrap_or(0);
        let mut names: Vec<&StepName> = places.keys().copied().collect();
        names.sort_by_key(|name| places[name]);
        let steps = names.iter().zip(ranks).map(|(name, rank)| {
            let step = &pipeline.steps[name.as_str()];
            let rank = if step.handler.is_some() { last + 1 } else { rank };
            let (condition, handler) = (expression(step), step.handler);
            StepShown { name: name.to_string(), rank, condition, handler, state: None }
        });
        let artifacts =
            artifacts.into_iter().map(|((from, name), uses)| Artifact { from, name: name.to_owned(), uses });
        Self {
            pipeline: pipeline.name.to_string(),
            steps: steps.collect(),
            artifacts: artifacts.collect(),
            order,
            conditions,
            run: None,
        }
    }
}

/// Returns which steps belong to the picture.
fn wanted<'a>(pipeline: &'a Pipeline, targets: &'a [StepName]) -> BTreeMap<&'a StepName, bool> {
    if targets.is_empty() {
        return pipeline.steps.keys().map(|name| (name, true)).collect();
    }
    let mut chosen = BTreeMap::new();
    let mut left: Vec<&StepName> = targets.iter().collect();
    while let Some(name) = left.pop() {
        if chosen.insert(name, true).is_none()
            && let Some(step) = pipeline.steps.get(name.as_str())
        {
            left.extend(step.needs());
        }
    }
    // Whatever was asked for, a run has an end.
    chosen.extend(pipeline.steps.iter().filter(|(_, step)| step.handler.is_some()).map(|(name, _)| (name, true)));
    chosen
}

/// Returns the length of the longest way to each step from one that needs nothing.
fn ranks(needs: &[Vec<usize>]) -> Vec<usize> {
    let mut consumers: Vec<Vec<usize>> = vec![Vec::new(); needs.len()];
    let mut missing: Vec<usize> = needs.iter().map(Vec::len).collect();
    for (step, list) in needs.iter().enumerate() {
        list.iter().for_each(|need| consumers[*need].push(step));
    }
    let mut rank = vec![0; needs.len()];
    let mut ready: Vec<usize> = (0..needs.len()).filter(|step| missing[*step] == 0).collect();
    while let Some(step) = ready.pop() {
        for &consumer in &consumers[step] {
            rank[consumer] = rank[consumer].max(rank[step] + 1);
            missing[consumer] -= 1;
            if missing[consumer] == 0 {
                ready.push(consumer);
            }
        }
    }
    rank
}
