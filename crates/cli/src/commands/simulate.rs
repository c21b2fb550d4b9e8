//! `prunella simulate`: what interruptions would cost, in virtual time.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use clap::Args;
use prunella_engine::load_state;
use prunella_journal::Event;
use prunella_model::{PipelineName, Span, StepName};
use prunella_rehearsal::{PlayError, Played, Work, one_step, play};
use serde_json::{Value, json};

use super::run::are_steps;
use crate::{
    answer::{say, say_json},
    args::{Output, Which},
    context::Context,
    error::CliError,
    open,
    present::{Line, Paint, Tone, columns},
    project::{Footprint, Place, Strictness, find, prepare, read},
    rehearsing::{Answers, Assumed, Curve, picture, traces},
};

/// Say what interruptions would cost: waste, time to recover, finishing time, cost.
///
/// Nothing is run: machines, checkpoints and notices are as the options say, time is virtual, and a seed decides. What is
/// started when, what a failure is, what is done about it and how often to checkpoint is decided by the code that decides it
/// in a real run. With a pipeline file its steps are played, without one a single long step.
#[derive(Debug, Args)]
pub struct Simulate {
    #[command(flatten)]
    pub which: Which,

    /// How long a step works: for all that nothing else is known of, or `STEP=TIME`. Known from earlier runs otherwise; 24h
    /// without a pipeline file.
    #[arg(long, value_name = "[STEP=]TIME")]
    work: Vec<String>,

    /// How many items a step has whose list another step makes.
    #[arg(long, value_name = "STEP=N")]
    items: Vec<String>,

    #[command(flatten)]
    assumed: Assumed,

    /// How many runs.
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    runs: u32,

    /// The seed of the first run; the ones after it have the numbers that follow.
    #[arg(long, value_name = "S", default_value_t = 1)]
    seed: u64,

    /// Once for each of these values of an option: `every=5m,10m,auto`.
    #[arg(long, value_name = "OPTION=A,B,…")]
    sweep: Option<String>,

    /// Draw the waste of the sweep into this file, as SVG; a file that is there is not replaced.
    #[arg(long, value_name = "FILE", requires = "sweep")]
    plot: Option<PathBuf>,
}

impl Simulate {
    /// Runs.
    ///
    /// # Errors
    /// [`CliError`] if what is assumed cannot be, or the pipeline cannot be played.
    pub async fn run(&self, context: &Context) -> Result<u8, CliError> {
        // Before minutes are spent on a picture that has no place.
        if let Some(file) = &self.plot
            && context.sys.fs.metadata(file).map_err(CliError::io(file))?.is_some()
        {
            return Err(CliError::io(file)(std::io::ErrorKind::AlreadyExists.into()));
        }
        let work = self.work_of(context).await?;
        let (parameter, values) = self.swept()?;
        let trace = traces(context, &self.assumed.trace)?;
        let mut answers: Vec<(String, Answers)> = Vec::new();
        for value in values {
            let mut assumed = self.assumed.clone();
            if let (Some(parameter), Some(value)) = (&parameter, &value)
                && !assumed.set(parameter, value)
            {
                let hint = "those of lives, checkpoints, notices and machines can be; see `prunella simulate --help`";
                return Err(CliError::Usage(format!("`{parameter}` cannot be swept"), Some(hint.to_owned())));
            }
            let world = assumed.world(trace.as_ref())?;
            let played: Result<Vec<Played>, PlayError> =
                (0..u64::from(self.runs)).map(|n| play(&world, &work, self.seed.wrapping_add(n))).collect();
            answers.push((value.unwrap_or_default(), Answers::of(&played.map_err(unplayable)?)));
        }
        if let (Some(file), Some(parameter)) = (&self.plot, &parameter) {
            self.draw(context, file, parameter, &answers)?;
        }
        match context.output {
            Output::Json => say_json(&self.as_json(parameter.as_deref(), &answers))?,
            Output::Text => say(&self.text(Paint::of(context), parameter.as_deref(), &answers))?,
        }
        Ok(0)
    }

    /// Returns the option that is swept and its values; one nameless value without a sweep.
    fn swept(&self) -> Result<(Option<String>, Vec<Option<String>>), CliError> {
        let Some(sweep) = &self.sweep else { return Ok((None, vec![None])) };
        let wrong = || CliError::Usage(format!("--sweep: `{sweep}` is not OPTION=A,B,…"), None);
        let (name, values) = sweep.split_once('=').ok_or_else(wrong)?;
        // Values that have commas themselves are parted by blanks.
        let by = if values.contains(' ') { ' ' } else { ',' };
        let values: Vec<_> =
            values.split(by).filter(|value| !value.is_empty()).map(|value| Some(value.to_owned())).collect();
        if values.is_empty() { Err(wrong()) } else { Ok((Some(name.to_owned()), values)) }
    }

    async fn work_of(&self, context: &Context) -> Result<Work, CliError> {
        let (mut otherwise, mut seconds) = (None, BTreeMap::new());
        for text in &self.work {
            let (step, time) = text.split_once('=').map_or((None, text.as_str()), |(step, time)| (Some(step), time));
            let span = time.parse::<Span>().map_err(|error| CliError::Usage(format!("--work: {error}"), None))?;
            let time = span.duration().as_secs_f64();
            match step {
                Some(step) => drop(seconds.insert(name(step)?, time)),
                None => otherwise = Some(time),
            }
        }
        let there = context.sys.fs.metadata(Path::new("pipeline.yaml")).ok().flatten().is_some();
        if self.which.words.is_empty() && !there {
            if let Some(step) = seconds.keys().next() {
                return Err(CliError::Usage(format!("there is no pipeline file, and so no step `{step}`"), None));
            }
            return Ok(one_step(otherwise.unwrap_or(24.0 * 3600.0)));
        }
        let (place, targets) = find(context, &self.which)?;
        let pipeline = read(context, &place, &self.which.set)?.pipeline;
        are_steps(&targets, &pipeline)?;
        let names: Vec<StepName> = pipeline.steps.keys().cloned().collect();
        if let Some(step) = seconds.keys().find(|step| !names.contains(step)) {
            return Err(CliError::Usage(format!("--work: there is no step `{step}`"), None));
        }
        for (step, time) in history(context, &place, &pipeline.name).await {
            seconds.entry(step).or_insert(time);
        }
        let handler = |step: &StepName| pipeline.steps.get(step).is_some_and(|step| step.handler.is_some());
        let unknown: Vec<&str> = names
            .iter()
            .filter(|step| !seconds.contains_key(*step) && !handler(step) && otherwise.is_none())
            .map(StepName::as_str)
            .collect();
        if !unknown.is_empty() {
            let what = format!("how long {} work is not known", unknown.join(", "));
            return Err(CliError::Usage(what, Some("say `--work TIME` or `--work STEP=TIME`".to_owned())));
        }
        let mut items = BTreeMap::new();
        for text in &self.items {
            let parsed = text.split_once('=').and_then(|(step, n)| Some((step, n.parse::<u32>().ok()?)));
            let wrong = || CliError::Usage(format!("--items: `{text}` is not STEP=N"), None);
            let (step, n) = parsed.ok_or_else(wrong)?;
            items.insert(name(step)?, n);
        }
        let strictness = Strictness::AllowUnpinned;
        let graph = prepare(context, &place, pipeline, strictness, Footprint::Nothing, &[]).await?.graph;
        let otherwise = otherwise.unwrap_or(0.0);
        Ok(Work { graph: std::sync::Arc::new(graph), targets, seconds, otherwise, items })
    }

    fn draw(
        &self,
        context: &Context,
        file: &Path,
        parameter: &str,
        answers: &[(String, Answers)],
    ) -> Result<(), CliError> {
        let points: Vec<_> = answers.iter().filter_map(|(value, one)| Some((value.clone(), one.waste()?))).collect();
        let title = format!("waste, mean of {} runs with its 95 % confidence interval", self.runs);
        let text = picture(&Curve { title: &title, parameter: &format!("--{parameter}"), points: &points });
        let written = context.sys.fs.create_new(file).and_then(|mut file| file.write_all(text.as_bytes()));
        written.map_err(CliError::io(file))
    }

    fn as_json(&self, parameter: Option<&str>, answers: &[(String, Answers)]) -> Value {
        let of = |(value, one): &(String, Answers)| {
            let mut figures = one.json();
            if parameter.is_some() {
                figures["value"] = value.as_str().into();
            }
            figures
        };
        let all: Vec<Value> = answers.iter().map(of).collect();
        json!({ "runs": self.runs, "seed": self.seed, "confidence": 0.95, "sweep": parameter, "answers": all })
    }

    fn text(&self, paint: Paint, parameter: Option<&str>, answers: &[(String, Answers)]) -> String {
        let heads = ["succeeded", "waste", "finished after", "90 % within", "interruptions", "MTTR p50 / p99", "cost"];
        let mut head: Vec<String> = heads.map(str::to_owned).to_vec();
        if let Some(parameter) = parameter {
            head.insert(0, parameter.to_owned());
        }
        let mut lines = vec![Line(Tone::Dim, head)];
        for (value, one) in answers {
            let mut cells = one.cells();
            if parameter.is_some() {
                cells.insert(0, value.clone());
            }
            lines.push(Line(Tone::Plain, cells));
        }
        let mut out = columns(paint, &lines);
        if let Some(why) = answers.iter().find_map(|(_, one)| one.failure()) {
            out.push_str(&format!("the first run that failed: {why}\n"));
        }
        out.push_str(&format!(
            "{} runs from seed {}; means with their 95 % confidence intervals (Student's t over runs)\n",
            self.runs, self.seed
        ));
        out
    }
}

fn name(step: &str) -> Result<StepName, CliError> {
    StepName::new(step).map_err(|error| CliError::Usage(format!("`{step}`: {error}"), None))
}

fn unplayable(error: PlayError) -> CliError {
    match error {
        PlayError::UnknownItems(step) => {
            let what = format!("the items of `{step}` are known only when another step has run");
            CliError::Usage(what, Some(format!("say how many: `--items {step}=N`")))
        }
        PlayError::Plan(error) => CliError::Usage(error.to_string(), None),
        other => CliError::Refused(other.to_string(), None),
    }
}

/// Returns how long steps worked in the newest attempt that committed; a store that is not there tells nothing.
async fn history(context: &Context, place: &Place, pipeline: &PipelineName) -> BTreeMap<StepName, f64> {
    const LOOK_BACK: usize = 8;
    let mut found = BTreeMap::new();
    let Ok(store) = open::store_read_only(context, &place.store).await else { return found };
    for run in store.runs_of(pipeline, LOOK_BACK).await.unwrap_or_default() {
        let Ok(loaded) = load_state(&store, &run.run).await else { continue };
        let mut here = BTreeMap::new();
        for stamped in &loaded.events {
            if let Event::StepCommitted { step, compute, .. } = &stamped.event {
                here.insert(step.name.clone(), compute.duration().as_secs_f64());
            }
        }
        for (step, time) in here {
            found.entry(step).or_insert(time);
        }
    }
    found
}
