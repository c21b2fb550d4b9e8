//! A run as lines one after the other, where nobody looks at a terminal: one a line for what matters, no control codes.

use std::collections::{BTreeMap, HashMap};

use prunella_attempt::Told;
use prunella_engine::Plan;
use prunella_healing::Evidence;
use prunella_journal::{EffectDone, Event, NextTry, Stamped, StepIndex, StopHow};
use prunella_model::{EffectHow, PortName, Span, StepId};

use super::{
    model::{Model, Phase, word},
    text::line,
};
use crate::{
    evidence::in_words,
    present::{count, lasting},
};

/// Runs with more steps are summed up about once a second; what goes wrong is told always.
const EACH: usize = 200;
/// The milliseconds between two sums.
const SUM_EVERY: u64 = 1000;
/// The most names in a list.
const NAMES: usize = 8;

/// Names of steps: some, and how many more.
#[derive(Debug, Default)]
struct Names {
    some: Vec<String>,
    more: usize,
}

impl Names {
    fn add(&mut self, step: &StepId) {
        if self.some.len() < NAMES { self.some.push(step.to_string()) } else { self.more += 1 }
    }

    /// Returns how many there are and what they are called, if there are any.
    fn said(&self) -> Option<(usize, String)> {
        let more = if self.more > 0 { format!(" and {} more", self.more) } else { String::new() };
        let all = self.some.len() + self.more;
        (all > 0).then(|| (all, format!("{}{more}", self.some.join(", "))))
    }
}

/// Turns events into lines.
#[derive(Debug, Default)]
pub struct Plain {
    verbose: bool,
    width: usize,
    reused: Names,
    /// By the store of others from which they were copied.
    copied: BTreeMap<String, Names>,
    blocked: usize,
    /// How attempts ended about which nothing is decided yet.
    ended: HashMap<StepIndex, String>,
    summed: Option<(Span, super::model::Tally)>,
}

impl Plain {
    /// Returns one; with `verbose` it shows what steps write.
    pub fn new(verbose: bool) -> Self {
        Self { verbose, ..Self::default() }
    }

    /// The run begins.
    pub fn begin(&mut self, title: &str, model: &Model, out: &mut Vec<String>) {
        let Some(topology) = &model.topology else { return };
        if topology.len() <= EACH {
            let names = topology.indices().map(|step| topology.id(step).to_string().chars().count());
            self.width = names.max().unwrap_or(0).min(24);
        }
        let tally = model.tally;
        let before = if tally.done > 0 { format!(", {} done before", tally.done) } else { String::new() };
        out.push(format!("{title}  {}{before}", count(tally.steps as usize, "step")));
    }

    /// Says what an event means to people; `model` has taken it already.
    pub fn event(
        &mut self,
        stamped: &Stamped,
        step: Option<StepIndex>,
        model: &Model,
        plan: &Plan,
        out: &mut Vec<String>,
    ) {
        let now = stamped.mono;
        let each = model.tally.steps as usize <= EACH;
        let shown = step.and_then(|step| model.shown.get(&step));
        let text = match &stamped.event {
            Event::StepReused { step: id, copied_from, .. } => {
                match copied_from {
                    None => self.reused.add(id),
                    Some(other) => self.copied.entry(other.clone()).or_default().add(id),
                }
                return;
            }
            Event::StepBlocked { .. } => {
                self.blocked += 1;
                return;
            }
            Event::AttemptStarted { slot, .. } if each => format!("attempt {} begins", slot.epoch),
            Event::ProcessStarted { slot, .. } => {
                // Only a step that comes back has a story.
                let Some(story) = shown.and_then(|shown| shown.story.as_ref()) else { return };
                format!("attempt {} runs: {story}", slot.epoch)
            }
            Event::CheckpointSkipped { checkpoint, why, .. } => {
                format!("checkpoint {checkpoint} cannot be used: {why}")
            }
            Event::SnapshotSkipped { entry, why, .. } => format!("`{entry}` is not taken: {why}"),
            Event::CheckpointIntervalChosen { every, why, .. } => {
                format!("a checkpoint every {}: {why}", lasting(every.as_millis()))
            }
            Event::NoticeReceived { source, grace, .. } if source != "stop" => {
                let grace = grace.map_or_else(String::new, |grace| format!(", {} left", lasting(grace.as_millis())));
                format!("notice from {source}{grace}: it is told to checkpoint")
            }
            Event::AttemptEnded { slot, class, evidence, .. } => {
                let text = format!("attempt {} {}: {}", slot.epoch, word(*class), line(&telling(evidence)));
                match step {
                    // What is done about it comes at once, unless the run stops.
                    Some(step) if model.stopping.is_none() => {
                        self.ended.insert(step, text);
                        return;
                    }
                    _ => text,
                }
            }
            Event::StepHealing { next, remedy, .. } => {
                let ended = step.and_then(|step| self.ended.remove(&step));
                let has_checkpoint = step.is_some_and(|step| plan.step(step).checkpoint.is_some());
                let remedy = remedy_words(next, if has_checkpoint { remedy } else { "again" });
                ended.map_or_else(|| remedy.clone(), |ended| format!("{ended}; {remedy}"))
            }
            Event::StepFailed { class, why, .. } => {
                let ended = step.and_then(|step| self.ended.remove(&step));
                let why = line(why);
                ended.map_or_else(|| format!("{}: {why}", word(*class)), |ended| format!("{ended}; given up: {why}"))
            }
            Event::InputDamaged { producer, .. } => {
                let ended = step.and_then(|step| self.ended.remove(&step)).map(|ended| ended + "; ");
                format!("{}its input from {producer} is made again", ended.unwrap_or_default())
            }
            Event::CommitDamaged { slot, .. } => format!("the bytes of attempt {} are lost: made again", slot.epoch),
            Event::StepWaiting { holder, .. } if each => format!("waits for run {holder}, which does the same work"),
            Event::StepCommitted { .. } if each => match shown.map(|shown| &shown.phase) {
                Some(Phase::Done { took }) => format!("done in {}", lasting(took.as_millis())),
                _ => "done".to_owned(),
            },
            Event::StepDecided { run: false, .. } | Event::StepSkipped { .. } if each => {
                match shown.map(|shown| &shown.phase) {
                    Some(Phase::Skipped { why }) => format!("skipped: {why}"),
                    _ => "skipped".to_owned(),
                }
            }
            Event::EffectsDone { step: id, effects, .. } => {
                self.flush(model, out);
                for effect in effects.iter().filter(|effect| !effect.before) {
                    out.push(self.at(now, &id.to_string(), &effect_words(effect, id, plan)));
                }
                return;
            }
            Event::EffectFailed { step: id, output, target, why, .. } => {
                let shown = step.map_or_else(|| target.clone(), |step| place_of(plan, step, output, target));
                format!("{id}.{output} could not be published to {shown}: {}", line(why))
            }
            Event::EffectsGivenUp { why, .. } => format!("publishing is given up: {}", line(why)),
            Event::StopRequested { how } => {
                self.flush(model, out);
                out.push(stopping(*how).to_owned());
                return;
            }
            _ => return,
        };
        self.flush(model, out);
        let name = stamped.event.step().map(ToString::to_string).unwrap_or_default();
        out.push(self.at(now, &name, &text));
    }

    /// Says what an attempt told, if that is wanted.
    pub fn told(&mut self, step: StepIndex, told: &Told, model: &Model, plan: &Plan, out: &mut Vec<String>) {
        if self.verbose
            && let Told::Line { text, .. } = told
        {
            self.flush(model, out);
            out.push(output_line(&plan.id(step).to_string(), self.width, text));
        }
    }

    /// Time passes: what is waiting to be said is said, and a large run is summed up.
    pub fn tick(&mut self, now: Span, model: &Model, out: &mut Vec<String>) {
        if model.topology.is_none() {
            return;
        }
        self.flush(model, out);
        if model.tally.steps as usize <= EACH {
            return;
        }
        let due = self.summed.is_none_or(|(then, _)| now.as_millis() >= then.as_millis().saturating_add(SUM_EVERY));
        if due && self.summed.is_none_or(|(_, before)| before != model.tally) {
            out.push(self.at(now, "", &sum(model)));
            self.summed = Some((now, model.tally));
        }
    }

    /// Says what is still waiting to be said, before the end.
    pub fn flush(&mut self, model: &Model, out: &mut Vec<String>) {
        let steps = || count(model.tally.steps as usize, "step");
        if let Some((all, names)) = std::mem::take(&mut self.reused).said() {
            out.push(format!("reused {all} of {}: {names}", steps()));
        }
        for (other, copied) in std::mem::take(&mut self.copied) {
            if let Some((all, names)) = copied.said() {
                out.push(format!("copied {all} of {} from {other}: {names}", steps()));
            }
        }
        if self.blocked > 0 {
            let need = if self.blocked == 1 { "needs" } else { "need" };
            out.push(format!("not run: {} {need} what was given up", count(self.blocked, "step")));
            self.blocked = 0;
        }
    }

    fn at(&self, now: Span, name: &str, text: &str) -> String {
        let name = if name.is_empty() { String::new() } else { format!("{name:0$}  ", self.width) };
        format!("{:>8}  {name}{text}", lasting(now.as_millis()))
    }
}

/// Returns a line of a step's output, behind the step's name.
pub fn output_line(name: &str, width: usize, text: &str) -> String {
    format!("{name:width$} | {}", line(text))
}

/// Returns what became of an effect: `published report.page → out/report.html`.
pub fn effect_words(effect: &EffectDone, step: &StepId, plan: &Plan) -> String {
    let place = plan
        .index(step)
        .map_or_else(|| effect.target.clone(), |index| place_of(plan, index, &effect.output, &effect.target));
    let name = format!("{step}.{}", effect.output);
    match (effect.how, &effect.by) {
        (EffectHow::Superseded, Some(by)) => format!("{name} is not published to {place}: the newer run {by} is there"),
        (EffectHow::Superseded, None) => format!("{name} is not published to {place}: something newer is there"),
        (EffectHow::Unchanged, _) => format!("published {name} → {place} (it was there)"),
        _ => format!("published {name} → {place}"),
    }
}

/// Returns a target as the pipeline file names it.
fn place_of(plan: &Plan, step: StepIndex, output: &PortName, target: &str) -> String {
    plan.step(step).publish.get(output).map_or_else(|| target.to_owned(), |publication| publication.path.clone())
}

/// Returns what a request to stop means.
pub fn stopping(how: StopHow) -> &'static str {
    match how {
        StopHow::Checkpoint => "stopping: letting steps checkpoint (again: now)",
        StopHow::Now => "stopping now",
    }
}

/// Returns what was seen, in one line: how the program ended, and what explains it best.
fn telling(evidence: &Evidence) -> String {
    let mut said = in_words(evidence);
    said.truncate(2);
    said.join(", ")
}

fn remedy_words(next: &NextTry, remedy: &str) -> String {
    match next.delay.as_millis() {
        0 => remedy.to_owned(),
        delay => format!("{remedy}, after {}", lasting(delay)),
    }
}

fn sum(model: &Model) -> String {
    let tally = model.tally;
    let mut text = format!("{} of {} done", tally.done, count(tally.steps as usize, "step"));
    for (n, what) in
        [(tally.running, "running"), (tally.skipped, "skipped"), (tally.failed, "failed"), (tally.blocked, "blocked")]
    {
        if n > 0 {
            text.push_str(&format!(", {n} {what}"));
        }
    }
    text
}
