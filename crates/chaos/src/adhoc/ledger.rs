//! What a script did, as the events that the figures of docs/metrics.md are computed from. Pure.
//!
//! Nobody writes a journal for a script: what it told is put down as the same events that an engine would have written, so that both
//! rows of the table come from one formula and one code. What an engine cannot see, the moment of its own death, is left out here, too.

use std::{collections::BTreeMap, time::Duration};

use prunella_journal::{Event, Position, Stamped};
use prunella_model::{ByteSize, CheckpointId, Class, Epoch, SlotId, Span, WriterId};

use super::script::Line;

/// An attempt that goes on, or whose script died.
#[derive(Debug, Clone, Copy)]
struct Open {
    line: usize,
    slot: SlotId,
    began: Duration,
    noticed: bool,
    /// When it was gone, if that was seen.
    gone: Option<Duration>,
}

/// Takes what a script tells, in order, and the times at which it was heard.
#[derive(Debug)]
pub(super) struct Ledger<'a> {
    lines: &'a [Line],
    script: u64,
    /// When the present script began.
    began: Duration,
    open: Option<Open>,
    epochs: BTreeMap<usize, Epoch>,
    newest: BTreeMap<usize, CheckpointId>,
    events: Vec<Stamped>,
}

impl<'a> Ledger<'a> {
    pub(super) fn new(lines: &'a [Line]) -> Self {
        let (epochs, newest, events) = Default::default();
        Self { lines, script: 0, began: Duration::ZERO, open: None, epochs, newest, events }
    }

    /// Returns what happened.
    pub(super) fn events(self) -> Vec<Stamped> {
        self.events
    }

    /// Returns the step that runs.
    pub(super) fn running(&self) -> Option<usize> {
        self.open.as_ref().map(|open| open.line)
    }

    /// The script was started: what the one before did not finish was interrupted.
    pub(super) fn start(&mut self, at: Duration) {
        let left = self.open.take();
        self.script += 1;
        self.began = at;
        let (driver, engine) = (self.script, "sh".to_owned());
        let (continues, budgets_reset, retried, damaged) = (Position::START, false, None, None);
        self.push(at, Event::DriverStarted { driver, engine, continues, budgets_reset, retried, damaged });
        if let Some(left) = left {
            match left.noticed {
                true => self.end(at, left, Class::Preempted, left.gone.unwrap_or(at)),
                // Of an attempt whose engine died a journal knows no more than its last event; that of a script is to know no more,
                // or its row would lose what Prunella's does not count.
                false => self.end(at, left, Class::Killed, left.began),
            }
        }
    }

    /// A step was begun.
    pub(super) fn begin(&mut self, at: Duration, line: usize) {
        let Some(spec) = self.lines.get(line) else { return };
        let epoch = self.epochs.get(&line).map_or(Epoch::FIRST, |last| last.next());
        self.epochs.insert(line, epoch);
        let slot = SlotId { key: spec.key, epoch };
        let step = || spec.step.clone();
        self.push(at, Event::AttemptStarted { step: step(), slot, writer: WriterId::from_random(epoch.0.into()) });
        if let Some(checkpoint) = self.newest.get(&line).copied() {
            // It lies where it lay: the program reads it by itself.
            self.push(at, Event::StateRestored { step: step(), slot, checkpoint, took: Span::default() });
        }
        self.push(at, Event::ProcessStarted { step: step(), slot, pid: 0, accelerators: Vec::new() });
        self.open = Some(Open { line, slot, began: at, noticed: false, gone: None });
    }

    /// The step that runs has a new entry in its checkpoint directory.
    pub(super) fn checkpoint(&mut self, at: Duration) {
        let Some(Open { line, slot, gone: None, .. }) = self.open else { return };
        let seq = match self.newest.get(&line) {
            Some(newest) if newest.slot == slot => newest.seq + 1,
            _ => 1,
        };
        let checkpoint = CheckpointId { slot, seq };
        self.newest.insert(line, checkpoint);
        let (step, size, took) = (self.lines[line].step.clone(), ByteSize(0), Span::default());
        self.push(at, Event::CheckpointTaken { step: step.clone(), slot, checkpoint, size, took });
        self.push(at, Event::CheckpointDurable { step, slot, checkpoint, size, took });
    }

    /// The machine was told that it goes away.
    pub(super) fn notice(&mut self, at: Duration) {
        let Some(open) = &mut self.open else { return };
        open.noticed = true;
        let (line, slot) = (open.line, open.slot);
        let (step, source) = (self.lines[line].step.clone(), "sigterm".to_owned());
        self.push(at, Event::NoticeReceived { step, slot, source, grace: None });
    }

    /// Nothing of the script runs any more.
    pub(super) fn gone(&mut self, at: Duration) {
        if let Some(open) = &mut self.open {
            open.gone.get_or_insert(at);
        }
    }

    /// A step failed, and the script goes on; `killed` says whether that was done to it.
    pub(super) fn fail(&mut self, at: Duration, killed: bool) {
        if let Some(open) = self.open.take() {
            self.end(at, open, if killed { Class::Killed } else { Class::Error }, at);
        }
    }

    /// A step came to its end.
    pub(super) fn done(&mut self, at: Duration) {
        if let Some(open) = self.open.take() {
            let (step, slot, compute) = (self.lines[open.line].step.clone(), open.slot, span(at - open.began));
            self.push(at, Event::StepCommitted { step, slot, artifacts: BTreeMap::new(), compute });
        }
    }

    /// What a step makes is there, and so the script takes it as done.
    ///
    /// If it is `whole`, its last try has come to its end without a word. If not, nothing of that try counts: nobody will bring
    /// it to its end.
    pub(super) fn skip(&mut self, at: Duration, line: usize, whole: bool) {
        let Some(spec) = self.lines.get(line) else { return };
        let slot = SlotId { key: spec.key, epoch: self.epochs.get(&line).copied().unwrap_or(Epoch::FIRST) };
        let (step, artifacts) = (spec.step.clone(), BTreeMap::new());
        self.push(
            at,
            match whole {
                true => Event::StepCommitted { step, slot, artifacts, compute: Span::default() },
                false => Event::StepReused { step, slot, artifacts, copied_from: None },
            },
        );
    }

    /// The script has given up: what failed last has failed for good.
    pub(super) fn give_up(&mut self, at: Duration, line: usize) {
        if let Some(spec) = self.lines.get(line) {
            let (step, why) = (spec.step.clone(), "the script gave up".to_owned());
            self.push(at, Event::StepFailed { step, class: Class::Error, why });
        }
    }

    fn end(&mut self, at: Duration, open: Open, class: Class, gone: Duration) {
        let (step, slot) = (self.lines[open.line].step.clone(), open.slot);
        let (compute, lost) = (span(gone.saturating_sub(open.began)), Span::default());
        let (evidence, spent) = Default::default();
        self.push(at, Event::AttemptEnded { step, slot, class, evidence, spent, compute, lost });
    }

    fn push(&mut self, at: Duration, event: Event) {
        self.events.push(Stamped { at_ms: 0, mono: span(at.saturating_sub(self.began)), event });
    }
}

fn span(time: Duration) -> Span {
    Span::from_millis(u64::try_from(time.as_millis()).unwrap_or(u64::MAX))
}
