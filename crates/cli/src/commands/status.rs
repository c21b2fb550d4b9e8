//! `prunella status`: how a run and each of its steps is.

use std::collections::{BTreeSet, HashMap};

use clap::Args;
use prunella_engine::{Plan, Seen};
use prunella_journal::{RunMetrics, RunState, SkippedBy, Stamped, StepIndex, StepState};
use prunella_model::{RunId, SlotId, Span, StepId, StepKey};
use serde::{Serialize, Serializer};
use serde_json::{Value, json};

use super::{reading, which_run};
use crate::{
    answer::{leave, say, say_json_rows},
    args::Output,
    condition::{self, Binding, Bound, Condition, Driver, StepCondition},
    context::Context,
    error::CliError,
    history,
    present::{Paint, Table, Tone, attempt, count, hinted, lasting, moment, put, short},
    publications::Publications,
    skips::{at_end, expression, why_skipped},
};

/// Show how a run and each of its steps is.
///
/// Works while an engine drives the run, on any machine that can read the store.
#[derive(Debug, Args)]
pub struct Status {
    /// The run, or the beginning of its id [default: the newest].
    run: Option<String>,

    /// Exit as `prunella run` would have: 0 succeeded, 1 failed, 75 not finished, 78 a publication was given up.
    #[arg(long)]
    exit_status: bool,
}

struct Answer<'a> {
    run: &'a RunId,
    plan: &'a Plan,
    state: &'a RunState,
    /// What happened to the steps of which a line says so.
    events: HashMap<&'a StepId, Vec<&'a Stamped>>,
    started_at_ms: i64,
    driver: Option<Driver>,
    condition: Condition,
    figures: &'a RunMetrics,
    bound: Bound,
    publications: Publications,
    /// The steps of which they have something to say.
    published: BTreeSet<StepIndex>,
}

/// How a run is, for programs; the names in the order of the alphabet, as everywhere.
#[derive(Serialize)]
struct RunShown<'a> {
    driver: Value,
    figures: Value,
    pipeline: &'a str,
    run: &'a RunId,
    started_at_ms: i64,
    status: Condition,
    /// Written behind the others: there may be a hundred thousand.
    steps: [(); 0],
}

/// How a step is, for programs.
#[derive(Serialize)]
struct StepShown<'a> {
    attempts: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    checkpoint: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    class: Option<&'a str>,
    detail: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    epoch: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    item: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    items: Option<ItemsShown>,
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "as_hex")]
    key: Option<StepKey>,
    #[serde(skip_serializing_if = "Option::is_none")]
    publications: Option<Value>,
    state: StepCondition,
    #[serde(serialize_with = "as_text")]
    step: &'a StepId,
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<&'a str>,
}

#[derive(Serialize)]
struct ItemsShown {
    all: u32,
    done: u32,
}

impl Status {
    /// Runs.
    ///
    /// # Errors
    /// [`CliError`] if there is no such run, or the store does not answer.
    pub async fn run(&self, context: &Context) -> Result<u8, CliError> {
        let store = reading(context).await?;
        let run = which_run(&store, self.run.as_deref()).await?;
        let binding = Binding::begin(&store, &run).await?;
        let seen = Seen::of(&store, &run).await?;
        let publications = Publications::of(&store, &run).await?;
        let published = publications.steps(&seen.state);
        let closer = seen.closer(&store, &(&with_more_to_say(&seen.state) | &published)).await?;
        let (driver, condition) = condition::of(&store, &run, seen.state.ended()).await?;
        let mut events: HashMap<&StepId, Vec<&Stamped>> = HashMap::new();
        for stamped in &closer.events {
            if let Some(step) = stamped.event.step() {
                events.entry(step).or_default().push(stamped);
            }
        }
        let answer = Answer {
            run: &run,
            plan: &closer.plan,
            state: &seen.state,
            events,
            started_at_ms: closer.record.at_ms,
            driver,
            condition,
            figures: &seen.figures,
            bound: binding.of_open_steps(&store, &run, &seen.state).await?,
            publications,
            published,
        };
        history::tell_damage(seen.damage.as_deref(), "shown");
        match context.output {
            Output::Json => {
                let steps: Vec<StepIndex> = answer.plan.indices().collect();
                say_json_rows(&answer.as_json(), steps.len(), |row| answer.step_json(steps[row]))?;
            }
            Output::Text => say(&answer.text(Paint::of(context)))?,
        }
        let code = if self.exit_status { condition.code(&seen.state) } else { 0 };
        leave((seen, closer));
        Ok(code)
    }
}

impl Answer<'_> {
    fn as_json(&self) -> RunShown<'_> {
        let driver = self.driver.as_ref().map(|driver| {
            let owner = &driver.record.owner;
            json!({ "number": driver.number, "pid": owner.process.pid, "machine": owner.machine, "alive": driver.alive })
        });
        RunShown {
            driver: driver.into(),
            figures: json!(self.figures),
            pipeline: self.plan.graph().pipeline.name.as_str(),
            run: self.run,
            started_at_ms: self.started_at_ms,
            status: self.condition,
            steps: [],
        }
    }

    fn untold(&self, step: StepIndex) -> Option<SlotId> {
        condition::untold(&self.bound, self.plan, self.state, step)
    }

    fn condition_of(&self, step: StepIndex) -> StepCondition {
        StepCondition::with(&self.bound, self.plan, self.state, step, self.condition)
    }

    fn step_json(&self, step: StepIndex) -> StepShown<'_> {
        let id = self.plan.id(step);
        let state = self.state.state(step);
        let (class, why) = match state {
            StepState::Failed { class, why } => (Some(class.as_str()), Some(&**why)),
            _ => (None, None),
        };
        let checkpoint = match state {
            StepState::Running(running) => running.durable.or(running.restored),
            _ => None,
        };
        let has_items = self.plan.topology().members(step).is_some();
        let (done, all) = self.state.items_done(step);
        let published = self.published.contains(&step).then_some(());
        let mut detail = String::new();
        self.detail(step, &mut detail);
        StepShown {
            attempts: self.state.attempts(step),
            checkpoint: checkpoint.map(|checkpoint| checkpoint.to_string()),
            class,
            detail,
            epoch: self.untold(step).or_else(|| slot_of(state)).map(|slot| slot.epoch.0),
            item: id.item.as_ref().map(|item| serde_json::from_str(item.as_str()).unwrap_or_default()),
            items: has_items.then_some(ItemsShown { all, done }),
            key: state.key(),
            publications: published.and_then(|()| self.publications.as_json(self.plan, self.state, step)),
            state: self.condition_of(step),
            step: id,
            why,
        }
    }

    /// Writes what else there is to say about a step.
    fn detail(&self, step: StepIndex, out: &mut String) {
        let id = self.plan.id(step);
        let attempt = |out: &mut String, slot: &SlotId| put(out, format_args!("{id}@{}", slot.epoch));
        if let Some(slot) = self.untold(step) {
            return attempt(out, &slot);
        }
        match self.state.state(step) {
            StepState::Waiting => {
                if let Some(handler) = self.plan.topology().handler(step) {
                    return out.push_str(at_end(handler));
                }
                let needs = self.plan.topology().needs(step);
                let open: Vec<String> = needs
                    .iter()
                    .filter(|need| {
                        let state = self.state.state(**need);
                        state.artifacts().is_none() && !matches!(state, StepState::Skipped { .. })
                    })
                    .map(|need| self.plan.id(*need).to_string())
                    .collect();
                put(out, format_args!("waits for {}", open.join(", ")));
            }
            StepState::Undecided => {
                put(out, format_args!("its condition is being answered: {}", expression(self.plan.step(step))));
            }
            StepState::Bindable | StepState::Keyed { .. } => {}
            StepState::Queued { .. } => out.push_str("waits for an equal step"),
            // One that has never been tried has not failed.
            StepState::Ready { .. } if self.state.attempts(step) == 0 => {}
            StepState::Ready { .. } => out.push_str(&self.last_failure(step)),
            StepState::Held { slot, holder } => {
                put(out, format_args!("waits for {id}@{} of run {}", slot.epoch, short(holder)));
            }
            StepState::Running(running) => {
                attempt(out, &running.slot);
                if let (Some(pid), Condition::Running) = (running.pid, self.condition) {
                    put(out, format_args!(", process {pid}"));
                }
                if let Some(checkpoint) = running.durable {
                    put(out, format_args!(", checkpoint {checkpoint}"));
                } else if let Some(checkpoint) = running.restored {
                    put(out, format_args!(", back at checkpoint {checkpoint}"));
                }
                if let Some(every) = self.interval(step) {
                    put(out, format_args!(", a checkpoint every {}", lasting(every.as_millis())));
                }
            }
            StepState::Ended(_) => out.push_str(&self.last_failure(step)),
            StepState::Done(done) => {
                attempt(out, &done.slot);
                match self.state.attempts(step) {
                    _ if done.reused => {
                        if let Some(other) = history::copied_from(self.events.get(id).into_iter().flatten(), &done.slot)
                        {
                            put(out, format_args!(", copied from {other}"));
                        }
                    }
                    0 | 1 => {}
                    n => put(out, format_args!(", {} before it", count(n as usize - 1, "failed attempt"))),
                }
            }
            StepState::Skipped { by } => out.push_str(&why_skipped(self.plan, step, *by)),
            StepState::Failed { class, why } => put(out, format_args!("{class}: {why}")),
            StepState::Blocked { by } => put(out, format_args!("needs {}, which failed", self.plan.id(*by))),
            StepState::Gathering | StepState::Gathered { .. } => out.push_str(&items(self.state, step)),
            StepState::Dropped => out.push_str("its list has it no more"),
        }
    }

    /// Returns the interval that `every: auto` chose last, where it chooses.
    fn interval(&self, step: StepIndex) -> Option<Span> {
        self.plan.step(step).checkpoint.as_ref().filter(|checkpoint| checkpoint.auto)?;
        self.history(step).last()?.interval.map(|(every, _)| every)
    }

    fn history(&self, step: StepIndex) -> Vec<history::Attempt<'_>> {
        let id = self.plan.id(step);
        history::attempts(self.events.get(id).into_iter().flatten().copied(), id)
    }

    fn last_failure(&self, step: StepIndex) -> String {
        let attempts = self.history(step);
        let last = attempts.last().and_then(|last| last.failure.as_ref().map(|failure| (last.slot, failure)));
        last.map_or_else(String::new, |(slot, failure)| {
            let name = attempt(self.plan.id(step), &slot);
            match failure.healing {
                Some((_, remedy)) => format!("{name} ended as {}; {remedy}", failure.class),
                None => format!("{name} ended as {}", failure.class),
            }
        })
    }

    fn text(&self, paint: Paint) -> String {
        let tone = match self.condition {
            Condition::Succeeded => Tone::Good,
            Condition::Failed => Tone::Bad,
            Condition::Running | Condition::Interrupted | Condition::Stopped => Tone::Busy,
        };
        let pipeline = paint.tone(Tone::Strong, self.plan.graph().pipeline.name.as_str());
        let mut out = format!("{pipeline}  run {}  {}", self.run, paint.tone(tone, self.condition.as_str()));
        if let (Condition::Running, Some(driver)) = (self.condition, &self.driver) {
            out.push_str(&match driver.alive {
                Some(_) => format!(" (process {})", driver.record.owner.process.pid),
                None => " (on another machine)".to_owned(),
            });
        }
        out.push_str(&format!(
            "\nstarted {}, driven for {}\n",
            moment(self.started_at_ms),
            lasting(self.figures.wall.as_millis())
        ));
        let mut table = Table::default();
        for (step, is) in self.plan.indices().map(|step| (step, self.condition_of(step))) {
            if self.has_line(step, is) {
                let (tone, mark) = is.mark();
                table.cell(|text| put(text, format_args!("{mark} {}", self.plan.id(step))));
                table.cell(|text| text.push_str(is.as_str()));
                table.cell(|text| {
                    self.detail(step, text);
                    if self.published.contains(&step)
                        && let Some(published) = self.publications.words(self.plan, self.state, step)
                    {
                        put(text, format_args!(", {published}"));
                    }
                });
                table.end_line(tone);
            }
        }
        out.push_str(&table.laid_out(paint));
        for hint in &self.figures.hints {
            out.push_str(&hinted(hint));
        }
        out.push_str(&healed(self.figures));
        out.push_str(&self.next());
        out
    }

    /// Returns whether a step has a line of its own: of items those that something happens to, the others are counted.
    fn has_line(&self, step: StepIndex, is: StepCondition) -> bool {
        use StepCondition as C;
        let plain = self.plan.id(step).item.is_none();
        plain || matches!(is, C::Running | C::Interrupted | C::Healing | C::Failed | C::Held)
    }

    fn next(&self) -> String {
        let run = short(self.run);
        match self.condition {
            Condition::Running => format!("  next: prunella logs STEP --follow     prunella stop {run}\n"),
            Condition::Interrupted | Condition::Stopped => format!("  next: prunella resume {run}\n"),
            Condition::Failed => {
                let failed = self.plan.indices().find(|step| self.condition_of(*step) == StepCondition::Failed);
                if failed.is_none() && self.state.any_effects_given_up() {
                    return format!("  next: clear the way, then prunella resume {run}\n");
                }
                failed.map_or_else(String::new, |step| {
                    let step = self.plan.id(step);
                    format!("  next: prunella explain {run} {step}     prunella logs {run} {step}\n")
                })
            }
            Condition::Succeeded => String::new(),
        }
    }
}

/// Returns the steps of which a line says more than their state: of what happened to them, or of their conditions.
fn with_more_to_say(state: &RunState) -> BTreeSet<StepIndex> {
    let says_more = |step: &StepIndex| match state.state(*step) {
        StepState::Undecided | StepState::Skipped { by: SkippedBy::Condition } => true,
        StepState::Running(_) | StepState::Ended(_) => true,
        // One that has never been tried has not failed.
        StepState::Ready { .. } => state.attempts(*step) > 0,
        _ => false,
    };
    state.topology().indices().filter(says_more).collect()
}

/// Returns how many items of a step are done.
fn items(state: &RunState, step: StepIndex) -> String {
    let (done, all) = state.items_done(step);
    format!("{done} of {}", count(all as usize, "item"))
}

/// Returns what the interruptions of a run cost, as a line; nothing if there were none.
fn healed(figures: &RunMetrics) -> String {
    let all = figures.interruptions.len();
    if all == 0 {
        return String::new();
    }
    let mut out = match figures.healed as usize {
        0 => format!("{}, none healed", count(all, "interruption")),
        healed if healed == all => format!("{} healed", count(all, "interruption")),
        healed => format!("{healed} of {all} interruptions healed"),
    };
    if let Some(mean) = figures.mttr() {
        let average = if figures.healed > 1 { " on average" } else { "" };
        out.push_str(&format!(" in {}{average}", lasting(mean.as_millis())));
    }
    let (lost, compute) = (figures.lost.as_millis(), figures.compute.as_millis());
    out.push_str(&format!("; lost {} of {} ({:.1} %)\n", lasting(lost), lasting(compute), figures.waste() * 100.0));
    out
}

fn as_text<S: Serializer>(step: &StepId, serializer: S) -> Result<S::Ok, S::Error> {
    match step.item {
        None => serializer.serialize_str(step.name.as_str()),
        Some(_) => serializer.collect_str(step),
    }
}

fn as_hex<S: Serializer>(key: &Option<StepKey>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(key.as_ref().expect("it is skipped if there is none"))
}

fn slot_of(state: &StepState) -> Option<SlotId> {
    match state {
        StepState::Running(running) => Some(running.slot),
        StepState::Ended(ended) => Some(ended.slot),
        StepState::Done(done) => Some(done.slot),
        StepState::Held { slot, .. } => Some(*slot),
        StepState::Waiting
        | StepState::Undecided
        | StepState::Bindable
        | StepState::Skipped { .. }
        | StepState::Keyed { .. }
        | StepState::Queued { .. }
        | StepState::Ready { .. }
        | StepState::Failed { .. }
        | StepState::Blocked { .. }
        | StepState::Gathering
        | StepState::Gathered { .. }
        | StepState::Dropped => None,
    }
}
