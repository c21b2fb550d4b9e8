//! The state of a run in a summary: what events said is kept, what follows from it is worked out again.

use std::collections::BTreeSet;
use std::sync::Arc;

use prunella_model::{Epoch, SlotId, Span, StepKey};

use super::{Entry, Outcome, RunState, Whole};
use crate::agenda::Agenda;
use crate::effects::Effects;
use crate::keys::Keys;
use crate::state::{Done, SkippedBy, Stage, StepState};
use crate::summary::octets::{Put, Take};
use crate::{Next, StepIndex, StepSet, Topology};

const STALE: u8 = 1;
const DROPPED: u8 = 2;
/// It works on its key, and others of the same key wait for it.
const LEADS: u8 = 4;
const HAS_SPENT: u8 = 8;
const BASIS_NOTHING: u8 = 16;
const BASIS_MADE: u8 = 32;
const TURNED: u8 = 64;

impl RunState {
    /// Writes what is not to be worked out from the topology. `clock` is the driver's time of the newest event: what
    /// passed since is the driver's own.
    pub(crate) fn keep(&self, clock: Span, out: &mut Put) {
        out.json(&Whole { clock, ..self.whole.clone() });
        for (step, entry) in self.topology.indices().zip(&self.steps) {
            self.keep_step(step, entry, out);
        }
        let queued = |step: &StepIndex| match self.state(*step) {
            StepState::Queued { key } => Some(*key),
            _ => None,
        };
        let keys: BTreeSet<StepKey> = match self.count(Stage::Queued) {
            // Steps at the end of the run are not counted, and may be queued, too.
            0 if self.topology.handlers().is_empty() => BTreeSet::new(),
            _ => self.topology.indices().filter_map(|step| queued(&step)).collect(),
        };
        out.number(keys.len() as u64);
        for key in keys {
            out.digest(&key.0);
            let queue = self.keys.queued(key);
            out.number(queue.len() as u64);
            queue.iter().for_each(|step| out.number(u64::from(step.get())));
        }
        out.json(&self.effects.keep());
    }

    fn keep_step(&self, step: StepIndex, entry: &Entry, out: &mut Put) {
        // Whoever adds a field chooses: it is kept here, or worked out below.
        #[rustfmt::skip]
        let Entry {
            state, attempts, stale, spent, basis, dropped, turned,
            missing: _, unsettled_items: _, queued_items: _, dead: _, absent: _, settled: _, skipped: _, closed: _, issued: _,
            is_gone: _, gone: _,
        } = entry;
        let leads = state.key().is_some_and(|key| state.stage() != Stage::Done && self.keys.leads(key, step));
        let mut flags = 0;
        for (flag, holds) in [
            (STALE, *stale),
            (DROPPED, *dropped),
            (TURNED, *turned),
            (LEADS, leads),
            (HAS_SPENT, spent.is_some()),
            (BASIS_NOTHING, matches!(basis, Some(Outcome::Nothing))),
            (BASIS_MADE, matches!(basis, Some(Outcome::Made(_)))),
        ] {
            flags |= if holds { flag } else { 0 };
        }
        out.byte(flags);
        keep_state(state, out);
        out.number(u64::from(*attempts));
        if let Some(spent) = spent {
            out.json(spent);
        }
        if let Some(Outcome::Made(artifacts)) = basis {
            out.artifacts(artifacts);
        }
    }

    /// Returns the state that was kept; nothing if these bytes are none.
    pub(crate) fn from_kept(topology: Arc<Topology>, from: &mut Take<'_>) -> Option<Self> {
        let whole: Whole = from.json()?;
        let count = topology.len();
        let mut steps = Vec::with_capacity(count);
        let mut leaders = Vec::new();
        for place in topology.indices() {
            let flags = from.byte()?;
            let state = state_from_kept(from, count)?;
            if flags & LEADS != 0 {
                leaders.push((state.key()?, place));
            }
            let mut entry = Entry::new(state, 0);
            entry.stale = flags & STALE != 0;
            entry.dropped = flags & DROPPED != 0;
            entry.turned = flags & TURNED != 0;
            entry.attempts = from.small()?;
            if flags & HAS_SPENT != 0 {
                entry.spent = Some(from.json()?);
            }
            entry.basis = match (flags & BASIS_NOTHING != 0, flags & BASIS_MADE != 0) {
                (false, false) => None,
                (true, false) => Some(Outcome::Nothing),
                (false, true) => Some(Outcome::Made(from.artifacts()?)),
                (true, true) => return None,
            };
            steps.push(entry);
        }
        let mut keys = Keys::with_room(leaders.len());
        for (key, step) in leaders {
            keys.lead(key, step);
        }
        for _ in 0..from.count()? {
            let key = StepKey(from.digest()?);
            for _ in 0..from.count()? {
                keys.queue(key, step_below(from, count)?);
            }
        }
        let stands = |step: StepIndex| match &steps[step.as_usize()].state {
            StepState::Done(done) => Some(done.slot),
            _ => None,
        };
        let effects = Effects::from_kept(from.json()?, count, stands)?;
        let mut run = Self {
            whole,
            effects,
            steps,
            counts: [0; Stage::ALL.len()],
            open: 0,
            agenda: Agenda::new(count, topology.lane_count() + 1),
            keys,
            running: StepSet::new(count),
            vacated: StepSet::new(count),
            to_interrupt: StepSet::new(count),
            conclusion_issued: false,
            end_issued: false,
            topology,
        };
        run.work_out();
        Some(run)
    }

    /// Works out what the states of the steps bring with them: counters, lists, and who waits for whom.
    fn work_out(&mut self) {
        let topology = Arc::clone(&self.topology);
        for entry in &mut self.steps {
            use StepState as S;
            let stands = matches!(entry.state, S::Done(_) | S::Skipped { .. } | S::Gathered { .. });
            entry.settled = stands && !entry.stale;
            entry.skipped = entry.settled && matches!(entry.state, S::Skipped { .. });
            entry.closed = entry.settled || entry.is_dead() || entry.state == S::Dropped;
            entry.is_gone = entry.turned && entry.is_dead();
        }
        let due: BTreeSet<StepIndex> =
            self.whole.concluded.map(|status| self.due(status).collect()).unwrap_or_default();
        for step in topology.indices() {
            let at = |step: &StepIndex| &self.steps[step.as_usize()];
            let (mut missing, mut dead) = (0, 0);
            for need in topology.needs(step).iter().map(at) {
                missing += u32::from(!need.settled);
                dead += u32::from(need.is_dead());
            }
            let handler = topology.handler(step).is_some();
            missing += u32::from(handler && !due.contains(&step));
            let absent = topology.reads(step).iter().map(at).filter(|need| need.skipped).count() as u32;
            let gone = topology.reads(step).iter().map(at).filter(|need| need.is_gone).count() as u32;
            let members = topology.members(step).unwrap_or_default();
            let unsettled_items = members.iter().map(at).filter(|member| !member.settled).count() as u32;
            let queued = |member: &&Entry| member.state.stage() == Stage::Queued;
            let queued_items = members.iter().map(at).filter(queued).count() as u32;
            dead += members.iter().map(at).filter(|member| member.is_dead()).count() as u32;
            let stage = self.state(step).stage();
            if !handler {
                self.counts[stage as usize] += 1;
                self.open += u32::from(!at(&step).closed);
            }
            if stage == Stage::Running {
                self.running.insert(step);
            }
            let entry = &mut self.steps[step.as_usize()];
            (entry.missing, entry.dead, entry.absent, entry.gone) = (missing, dead, absent, gone);
            (entry.unsettled_items, entry.queued_items) = (unsettled_items, queued_items);
        }
        if self.whole.stopping.is_some() {
            self.to_interrupt = self.running.clone();
        }
        topology.indices().for_each(|step| self.refresh(step));
    }
}

impl Entry {
    fn is_dead(&self) -> bool {
        matches!(self.state, StepState::Failed { .. } | StepState::Blocked { .. })
    }
}

/// Those that many steps are at have a short form; docs/formats/summary.md.
fn keep_state(state: &StepState, out: &mut Put) {
    use StepState as S;
    match state {
        S::Waiting => out.byte(0),
        S::Undecided => out.byte(1),
        S::Bindable => out.byte(2),
        S::Keyed { key } => {
            out.byte(3);
            out.digest(&key.0);
        }
        S::Queued { key } => {
            out.byte(4);
            out.digest(&key.0);
        }
        S::Ready { key, next, not_before } if *next == Next::default() => {
            out.byte(5);
            out.digest(&key.0);
            out.number(not_before.as_millis());
        }
        S::Done(done) => {
            let Done { slot, reused, at, driver, artifacts } = &**done;
            out.byte(if *reused { 7 } else { 6 });
            out.digest(&slot.key.0);
            out.number(slot.epoch.0);
            out.number(at.as_millis());
            out.number(*driver);
            out.artifacts(artifacts);
        }
        S::Gathering => out.byte(8),
        S::Dropped => out.byte(9),
        S::Skipped { by: SkippedBy::Condition } => out.byte(10),
        S::Skipped { by: SkippedBy::Need(step) } => {
            out.byte(11);
            out.number(u64::from(step.get()));
        }
        S::Blocked { by } => {
            out.byte(12);
            out.number(u64::from(by.get()));
        }
        S::Ready { .. } | S::Held { .. } | S::Running(_) | S::Ended(_) | S::Failed { .. } | S::Gathered { .. } => {
            out.byte(13);
            out.json(state);
        }
    }
}

fn state_from_kept(from: &mut Take<'_>, count: usize) -> Option<StepState> {
    use StepState as S;
    let kind = from.byte()?;
    let key = match kind {
        3..=7 => Some(StepKey(from.digest()?)),
        _ => None,
    };
    Some(match (kind, key) {
        (0, _) => S::Waiting,
        (1, _) => S::Undecided,
        (2, _) => S::Bindable,
        (3, Some(key)) => S::Keyed { key },
        (4, Some(key)) => S::Queued { key },
        (5, Some(key)) => S::Ready { key, next: Next::default(), not_before: Span::from_millis(from.number()?) },
        (6 | 7, Some(key)) => S::Done(Box::new(Done {
            slot: SlotId { key, epoch: Epoch(from.number()?) },
            reused: kind == 7,
            at: Span::from_millis(from.number()?),
            driver: from.number()?,
            artifacts: from.artifacts()?,
        })),
        (8, _) => S::Gathering,
        (9, _) => S::Dropped,
        (10, _) => S::Skipped { by: SkippedBy::Condition },
        (11, _) => S::Skipped { by: SkippedBy::Need(step_below(from, count)?) },
        (12, _) => S::Blocked { by: step_below(from, count)? },
        (13, _) => from.json()?,
        _ => return None,
    })
}

fn step_below(from: &mut Take<'_>, count: usize) -> Option<StepIndex> {
    Some(StepIndex::new(from.small()?)).filter(|step| step.as_usize() < count)
}
