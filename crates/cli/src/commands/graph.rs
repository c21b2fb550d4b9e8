//! `prunella graph`: the steps of a pipeline and what goes from one to another, as text or as a picture.

use clap::{Args, ValueEnum};
use prunella_engine::{Loaded, load_state};
use prunella_model::{Pipeline, RunId, StepId, StepName};
use prunella_objects::ObjectsError;
use prunella_store::{Store, StoreError};
use serde_json::{Value, json};

use super::{run::are_steps, which_run};
use crate::{
    answer::{say, say_json},
    args::{Output, Which},
    condition::{self, StepCondition},
    context::Context,
    drawing::{Artifact, Extent, Origin, Picture, Shown, listing, mermaid, svg},
    error::CliError,
    history, open,
    present::{Paint, short},
    project::{Place, find, read},
};

/// Draw the steps of a pipeline and what goes from one to another.
///
/// Needs no run. If the newest run of the pipeline was of a file that says the same, each step shows how it is there.
#[derive(Debug, Args)]
pub struct Graph {
    #[command(flatten)]
    pub which: Which,

    /// The form.
    #[arg(long, value_enum, default_value_t = Form::Terminal)]
    format: Form,

    /// Draw the pipeline of this run, as it was then, and how its steps are.
    #[arg(long, value_name = "RUN", conflicts_with_all = ["set", "no_run"])]
    run: Option<String>,

    /// Draw the pipeline only, and no run's states.
    #[arg(long)]
    no_run: bool,

    /// List every step, however many there are (form `terminal`).
    #[arg(long)]
    all: bool,
}

/// The form of a graph.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Form {
    /// Lines of text, layer by layer.
    Terminal,
    /// A flowchart in Mermaid's language.
    Mermaid,
    /// A picture, for light and dark.
    Svg,
    /// Steps and edges, for programs; also with `--output json`.
    Json,
}

/// Lines are not longer than this where nobody says how wide they may be.
const WIDTH: usize = 80;

impl Graph {
    /// Runs.
    ///
    /// # Errors
    /// [`CliError`] for a wrong pipeline file, or if there is no such run.
    pub async fn run(&self, context: &Context) -> Result<u8, CliError> {
        let (place, targets) = find(context, &self.which)?;
        let picture = match &self.run {
            Some(run) => {
                let store = open::store_read_only(context, &place.store).await?;
                let run = which_run(&store, Some(run)).await?;
                let pipeline = store.graph(&run).await?.graph.pipeline.clone();
                are_steps(&targets, &pipeline)?;
                with_states(Picture::of(&pipeline, &targets), &store, &run).await?
            }
            None => {
                let pipeline = read(context, &place, &self.which.set)?.pipeline;
                are_steps(&targets, &pipeline)?;
                self.newest(context, &place, &pipeline, &targets).await?
            }
        };
        match (self.format, context.output) {
            (Form::Json, _) | (_, Output::Json) => say_json(&as_json(&picture))?,
            (Form::Terminal, _) => {
                let extent = if self.all { Extent::All } else { Extent::Readable };
                say(&listing(&picture, Paint::of(context), width(), extent))?;
            }
            (Form::Mermaid, _) => say(&mermaid(&picture))?,
            (Form::Svg, _) => say(&svg(&picture).map_err(|_| {
                let hint = "name the steps that matter, or take `--format json` and a program for large graphs";
                let steps = picture.steps.len();
                CliError::Usage(format!("a drawing of these {steps} steps would be too large"), Some(hint.to_owned()))
            })?)?,
        }
        Ok(0)
    }

    /// Returns the picture, with the states of the pipeline's newest run if its file said the same.
    async fn newest(
        &self,
        context: &Context,
        place: &Place,
        pipeline: &Pipeline,
        targets: &[StepName],
    ) -> Result<Picture, CliError> {
        let picture = Picture::of(pipeline, targets);
        if self.no_run {
            return Ok(picture);
        }
        let store = match open::store_read_only(context, &place.store).await {
            // Nothing has run here yet.
            Err(CliError::Store(StoreError::Objects(ObjectsError::NoStore { .. }))) => return Ok(picture),
            store => store?,
        };
        let Some(newest) = store.runs_of(&pipeline.name, 1).await?.into_iter().next() else { return Ok(picture) };
        if store.graph(&newest.run).await?.graph.pipeline != *pipeline {
            return Ok(picture);
        }
        with_states(picture, &store, &newest.run).await
    }
}

async fn with_states(mut picture: Picture, store: &Store, run: &RunId) -> Result<Picture, CliError> {
    let Loaded { plan, state, damage, .. } = load_state(store, run).await?;
    history::tell_damage(damage.as_deref(), "shown");
    let (_, condition) = condition::of(store, run, state.ended()).await?;
    let states = StepCondition::of_all(store, run, &plan, &state, condition).await?;
    for step in &mut picture.steps {
        let name = StepName::new(&step.name).expect("it is the name of a step");
        step.state = plan.index(&StepId::plain(name)).map(|index| states[index.as_usize()]);
    }
    picture.run = Some(Shown { id: run.to_string(), short: short(run).to_owned(), condition });
    Ok(picture)
}

fn width() -> usize {
    let known = terminal_size::terminal_size_of(std::io::stdout());
    known.map_or(WIDTH, |(width, _)| usize::from(width.0)).max(40)
}

fn as_json(picture: &Picture) -> Value {
    let steps: Vec<Value> = picture
        .steps
        .iter()
        .map(|step| json!({ "step": step.name, "layer": step.rank + 1, "state": step.state }))
        .collect();
    let name = |step: usize| &picture.steps[step].name;
    let mut edges = Vec::new();
    for Artifact { from, name: artifact, uses } in &picture.artifacts {
        for (user, input) in uses {
            let mut edge = json!({ "kind": "data", "to": name(*user), "input": input });
            match from {
                Origin::Data => edge["data"] = artifact.as_str().into(),
                Origin::Step(maker) => {
                    edge["from"] = name(*maker).as_str().into();
                    edge["output"] = artifact.as_str().into();
                }
            }
            edges.push(edge);
        }
    }
    edges.extend(
        picture.order.iter().map(|(from, to)| json!({ "kind": "order", "from": name(*from), "to": name(*to) })),
    );
    edges.extend(picture.conditions.iter().map(|one| {
        let expression = &picture.steps[one.to].condition;
        json!({ "kind": "condition", "from": name(one.from), "output": one.output, "to": name(one.to), "expression": expression })
    }));
    let data: Vec<&str> = picture
        .artifacts
        .iter()
        .filter(|artifact| artifact.from == Origin::Data)
        .map(|artifact| artifact.name.as_str())
        .collect();
    json!({
        "pipeline": picture.pipeline,
        "run": picture.run.as_ref().map(|run| &run.id),
        "status": picture.run.as_ref().map(|run| run.condition),
        "steps": steps,
        "data": data,
        "edges": edges,
    })
}
