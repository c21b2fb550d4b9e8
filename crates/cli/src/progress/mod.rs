//! What a run shows while it goes on: a screen redrawn in place, lines one after the other, or events for programs.

mod coverage;
mod ending;
mod environment;
mod frame;
mod model;
mod plain;
mod terminal;
mod text;
mod transfer;

#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{IsTerminal, Write},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use prunella_attempt::Told;
use prunella_engine::{Outcome, Plan, Spectator};
use prunella_healing::Evidence;
use prunella_journal::{Event, RunState, Stage, Stamped, StepIndex, StepState, StopHow, write_line};
use prunella_model::{PipelineName, RunId, SlotId, Span};
use prunella_store::records::Owner;
use prunella_sys::{Clock, Fs};

pub use coverage::Coverage;
pub use environment::environment;
pub use prunella_attempt::Way;
pub use transfer::{following, moving};

use self::{
    ending::{End, GivenUp},
    frame::frame,
    model::Model,
    plain::{Plain, effect_words, output_line, stopping},
    terminal::{InPlace, size},
};
use crate::{
    answer::note,
    args::Output,
    context::Context,
    mounted::unprotected,
    open::not_read_from,
    present::{Paint, short},
};

/// How often the screen looks whether there is something to draw.
const LOOK: Duration = Duration::from_millis(100);
/// Output that has gathered to this many bytes is written at once.
const FULL: usize = 64 << 10;

/// How a run is shown.
enum Mode {
    /// Redrawn in place, with lines above that are not drawn yet; also lines of steps, if they are wanted.
    InPlace { terminal: InPlace, above: Vec<String>, verbose: bool },
    /// Line by line.
    Lines(Plain),
    /// Events for programs.
    Json,
}

struct Inner {
    mode: Mode,
    model: Model,
    title: String,
    out: Vec<u8>,
    /// Whether nobody reads any more: the run goes on all the same.
    closed: bool,
    /// The clock's time at which the driver's began.
    began: Option<Duration>,
    /// The last attempts of steps that may be given up.
    last_seen: BTreeMap<StepIndex, (SlotId, Box<Evidence>)>,
    /// Stores of others of which it was said that steps are copied from there.
    copied_from: BTreeSet<String>,
}

/// The screen of a run.
pub struct Screen {
    inner: Mutex<Inner>,
    clock: Arc<dyn Clock>,
    fs: Arc<dyn Fs>,
    work: PathBuf,
    paint: Paint,
    /// Whether it was said that steps could write to mounted data.
    unprotected: AtomicBool,
}

impl Screen {
    /// Returns a screen for this run, whose workspaces are in the store's directory.
    pub fn new(context: &Context, pipeline: &PipelineName, run: &RunId, store: &Path, verbose: bool) -> Self {
        let dumb = matches!(context.sys.env.var("TERM").as_deref(), None | Some("" | "dumb"));
        let paint = Paint::of(context);
        let (mode, shown) = match context.output {
            Output::Json => (Mode::Json, run.as_str()),
            Output::Text if std::io::stdout().is_terminal() && !dumb => {
                (Mode::InPlace { terminal: InPlace::new(paint), above: Vec::new(), verbose }, short(run))
            }
            Output::Text => (Mode::Lines(Plain::new(verbose)), run.as_str()),
        };
        let inner = Inner {
            mode,
            model: Model::default(),
            title: format!("{pipeline}  run {shown}"),
            out: Vec::new(),
            closed: false,
            began: None,
            last_seen: BTreeMap::new(),
            copied_from: BTreeSet::new(),
        };
        let (clock, fs) = (context.sys.clock.clone(), context.sys.fs.clone());
        let work = store.strip_prefix(".").unwrap_or(store).join("work").join(run.as_str());
        Self { inner: Mutex::new(inner), clock, fs, work, paint, unprotected: AtomicBool::new(false) }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells that the run was asked to stop, before its engine has taken that up.
    pub fn stopping(&self, times: u32) {
        let how = if times > 1 { StopHow::Now } else { StopHow::Checkpoint };
        let mut inner = self.inner();
        if matches!(inner.mode, Mode::InPlace { .. }) {
            inner.model.stopping = inner.model.stopping.max(Some(how));
            inner.draw(self.clock.monotonic());
        } else if matches!(inner.mode, Mode::Lines(_)) && inner.model.topology.is_none() {
            // The event that says so comes later, if at all.
            inner.lines(vec![stopping(how).to_owned()]);
            inner.write();
        }
    }

    /// Shows a line that belongs to no step.
    pub fn say(&self, line: &str) {
        let mut inner = self.inner();
        match &mut inner.mode {
            Mode::InPlace { above, .. } => above.push(line.to_owned()),
            Mode::Lines(_) => inner.lines(vec![line.to_owned()]),
            // What programs read is the journal's alone.
            Mode::Json => note(line),
        }
        inner.write();
    }

    /// Draws and writes from time to time, until the task is aborted.
    pub fn tick(self: Arc<Self>, clock: Arc<dyn Clock>) -> tokio::task::JoinHandle<()> {
        tokio::spawn(async move {
            loop {
                clock.sleep(LOOK).await;
                self.inner().draw(clock.monotonic());
            }
        })
    }

    /// Leaves what is shown as it is and writes the rest of it: an error follows.
    pub fn clear(&self) {
        let mut inner = self.inner();
        inner.draw(self.clock.monotonic());
        if let Mode::InPlace { terminal, .. } = &mut inner.mode {
            terminal.leave();
        }
    }

    /// Shows how the run came out.
    pub fn end(&self, outcome: &Outcome, exit_code: u8) {
        let inner = &mut *self.inner();
        let figures = inner.model.figures.finish();
        let coverage = Coverage::of(&outcome.plan, &outcome.state);
        let given_up = self.given_up(inner, outcome);
        let end = End { outcome, figures: &figures, coverage: &coverage, given_up: &given_up };
        inner.draw(self.clock.monotonic());
        match &mut inner.mode {
            Mode::Json => {
                let last = end.json(exit_code).to_string();
                inner.lines(vec![last]);
            }
            Mode::InPlace { terminal, .. } => {
                terminal.leave();
                let lines = self.painted(&end);
                inner.lines(lines);
            }
            Mode::Lines(plain) => {
                let mut lines = Vec::new();
                plain.flush(&inner.model, &mut lines);
                inner.lines(lines);
                let lines = self.painted(&end);
                inner.lines(lines);
            }
        }
        inner.write();
    }

    fn painted(&self, end: &End<'_>) -> Vec<String> {
        let paint = |line: Vec<_>| line.iter().map(|(tone, text): &(_, String)| self.paint.tone(*tone, text)).collect();
        end.lines().into_iter().map(paint).collect()
    }

    fn given_up(&self, inner: &Inner, outcome: &Outcome) -> Vec<GivenUp> {
        let (plan, state) = (&outcome.plan, &outcome.state);
        let at_end = |(step, _): &(StepIndex, _)| matches!(state.state(*step), StepState::Failed { .. });
        if state.count(Stage::Failed) == 0 && !state.topology().handlers().iter().any(at_end) {
            return Vec::new();
        }
        let failed = plan.indices().filter_map(|step| {
            let StepState::Failed { class, why } = state.state(step) else { return None };
            let last = inner.last_seen.get(&step).cloned();
            let workspace = last.as_ref().and_then(|(slot, _)| self.workspace(plan, step, slot));
            Some(GivenUp { step: plan.id(step).clone(), class: *class, why: why.to_string(), last, workspace })
        });
        failed.collect()
    }

    /// Returns where the files of an attempt were kept, if they were.
    fn workspace(&self, plan: &Plan, step: StepIndex, slot: &SlotId) -> Option<PathBuf> {
        let prefix = format!("{}@{}.{}-", plan.id(step).segment(), slot.key.short(), slot.epoch);
        let entries = self.fs.list(&self.work).ok()?;
        let found = entries.into_iter().find(|entry| {
            let name = entry.name.to_string_lossy();
            name.starts_with(&prefix) && !name[prefix.len()..].contains('.')
        })?;
        Some(self.work.join(found.name))
    }
}

impl Inner {
    fn now(&self, clock: Duration) -> Span {
        self.began.map_or(Span::default(), |began| clock.saturating_sub(began).into())
    }

    fn lines(&mut self, lines: Vec<String>) {
        for line in lines {
            self.out.extend_from_slice(line.as_bytes());
            self.out.push(b'\n');
        }
    }

    fn draw(&mut self, clock: Duration) {
        let now = self.now(clock);
        match &mut self.mode {
            Mode::InPlace { terminal, above, .. } => {
                let rows = frame(&self.model, &self.title, now, size());
                let above = std::mem::take(above);
                if !above.is_empty() {
                    terminal.clear(&mut self.out);
                }
                terminal.draw(&mut self.out, &above, &rows);
            }
            Mode::Lines(plain) => {
                let mut lines = Vec::new();
                plain.tick(now, &self.model, &mut lines);
                self.lines(lines);
            }
            Mode::Json => {}
        }
        self.write();
    }

    /// Writes what has gathered; a reader that is gone stops nothing.
    fn write(&mut self) {
        if !self.out.is_empty() && !self.closed {
            let mut out = std::io::stdout().lock();
            self.closed = out.write_all(&self.out).and_then(|()| out.flush()).is_err();
        }
        self.out.clear();
    }
}

impl Spectator for Screen {
    fn watches(&self, driver: &Owner) {
        let seconds = prunella_store::LEASE.as_secs();
        note(&format!(
            "the run's engine is on another machine ({}): watched for a sign of life, up to {seconds} s; `--take-over` does \
             not wait",
            driver.machine
        ));
    }

    fn begins(&self, earlier: &[Stamped], state: &RunState, _plan: &Plan) {
        let inner = &mut *self.inner();
        inner.model.begin(earlier, state);
        if let Mode::Lines(plain) = &mut inner.mode {
            let mut lines = Vec::new();
            plain.begin(&inner.title, &inner.model, &mut lines);
            inner.lines(lines);
        }
    }

    fn event(&self, event: &Stamped, state: &RunState, plan: &Plan) {
        let inner = &mut *self.inner();
        if matches!(event.event, Event::DriverStarted { .. }) {
            inner.began = Some(self.clock.monotonic().saturating_sub(event.mono.duration()));
        }
        inner.model.push(event, state);
        let step = event.event.step().and_then(|step| plan.index(step));
        if let (Some(step), Event::AttemptEnded { slot, evidence, .. }) = (step, &event.event) {
            inner.last_seen.insert(step, (*slot, evidence.clone()));
        }
        match &mut inner.mode {
            Mode::InPlace { above, .. } => match &event.event {
                // Each step says that it is reused; once for each store is enough of where from.
                Event::StepReused { copied_from: Some(other), .. } if inner.copied_from.insert(other.clone()) => {
                    above.push(format!("copying from {other}"));
                }
                Event::EffectsDone { step, effects, .. } => {
                    let new = effects.iter().filter(|effect| !effect.before);
                    above.extend(new.map(|effect| effect_words(effect, step, plan)));
                }
                Event::DriverStarted { damaged: Some(why), .. } => {
                    above.push(format!("{}; {}", text::line(why), text::AFTER_DAMAGE));
                }
                Event::EffectFailed { step, output, why, .. } => {
                    above.push(format!("{step}.{output} could not be published: {}", text::line(why)));
                }
                _ => {}
            },
            Mode::Lines(plain) => {
                let mut lines = Vec::new();
                plain.event(event, step, &inner.model, plan, &mut lines);
                inner.lines(lines);
            }
            Mode::Json => write_line(&mut inner.out, event),
        }
        if inner.out.len() >= FULL {
            inner.write();
        }
    }

    fn told(&self, step: StepIndex, told: &Told, plan: &Plan) {
        // Of a machine, not of a step: once is enough.
        if let Told::Unprotected { why } = told
            && !self.unprotected.swap(true, Ordering::Relaxed)
        {
            self.say(&unprotected(why));
        }
        if let Told::NotCopied { store, why } = told {
            self.say(&not_read_from(store, &format!("{}: {why}", plan.id(step))));
        }
        let inner = &mut *self.inner();
        match &mut inner.mode {
            Mode::InPlace { above, verbose, .. } => {
                inner.model.tell(step, told);
                if let Told::Moving { way, moved } = told {
                    inner.model.moves(step, self.clock.monotonic(), *way, *moved);
                }
                if let (true, Told::Line { text, .. }) = (*verbose, told) {
                    above.push(output_line(&plan.id(step).to_string(), 0, text));
                    if above.len() >= 1000 {
                        inner.draw(self.clock.monotonic());
                    }
                }
            }
            Mode::Lines(plain) => {
                // What it said last is the name of the place where it comes back.
                inner.model.tell(step, told);
                let mut lines = Vec::new();
                plain.told(step, told, &inner.model, plan, &mut lines);
                inner.lines(lines);
            }
            Mode::Json => {}
        }
        if inner.out.len() >= FULL {
            inner.write();
        }
    }
}
