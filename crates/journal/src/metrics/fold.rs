//! The fold from events to figures.

mod keep;

use std::collections::BTreeMap;

use prunella_model::{Artifact, CheckpointId, Digest, PortName, SlotId, Span, StepId, StepKey};
use serde::{Deserialize, Serialize};

use super::chain::{Kept, Outcome, Taken, Try, Used, kept};
use super::recovery::Recovering;
use super::{
    HintSeen, Interruption, LossReason, RunMetrics, StepCounts, is_interruption, mean, minus, percentile, plus,
};
use crate::places::FixedMap;
use crate::{Event, Stamped};

/// How a step stands, as far as figures need it.
#[derive(Debug, Clone, Copy)]
enum Stands {
    Reused,
    Run { key: StepKey, content: u64 },
    Failed,
    Blocked,
    Skipped,
}

/// What is known of one step on the way to its commit.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Way {
    tries: Vec<Try>,
    recovering: Vec<Recovering>,
}

/// How the checkpoints of one step went, over all its attempts.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Pace {
    took: Vec<Span>,
    durable: Vec<Span>,
    /// From a process to its first checkpoint.
    first: Vec<Span>,
    /// Between two checkpoints of one attempt.
    between: Vec<Span>,
    restores: Vec<Span>,
    restarts: u32,
    /// Per interruption: how long the program had run, and the notice it had.
    interrupted: Vec<(Span, Span)>,
}

/// Figures in the making: takes the events of a run one by one.
///
/// An event costs the same whatever the size of the run; a step that is done keeps a few words.
#[derive(Debug, Clone, Default)]
pub struct MetricsFold {
    driver: u64,
    /// When it took the run, on its clock.
    began: Span,
    /// The time and the wall time of the last event.
    last: (Span, u64),
    /// How long no driver ran before this one, by wall clocks.
    down: Span,
    ways: FixedMap<StepId, Way>,
    stands: FixedMap<StepId, Stands>,
    /// How those stand that no further event is about: a summary counts them.
    others: StepCounts,
    paces: BTreeMap<StepId, Pace>,
    figures: RunMetrics,
}

impl MetricsFold {
    /// Takes the next event.
    pub fn push(&mut self, stamped: &Stamped) {
        let Stamped { at_ms, mono, event } = stamped;
        let now = *mono;
        match event {
            Event::DriverStarted { driver, retried, .. } => self.start_driver(*driver, now, *at_ms, retried.as_deref()),
            Event::StepReused { step, .. } => self.settle(step, Outcome::Lost, Stands::Reused),
            Event::AttemptStarted { step, slot, .. } => {
                self.figures.attempts += 1;
                let way = self.ways.entry(step.clone()).or_default();
                way.recovering.iter_mut().for_each(|recovering| recovering.claim(now));
                way.tries.push(Try::new(*slot, self.driver, now));
            }
            Event::StateRestored { step, slot, checkpoint, took } => {
                if let Some(last) = self.attempt(step, slot) {
                    last.restored = Some(*checkpoint);
                    self.pace(step).restores.push(*took);
                }
            }
            Event::ProcessStarted { step, slot, .. } => self.start_process(step, slot, now),
            Event::CheckpointTaken { step, slot, checkpoint, took, .. } => {
                self.take(step, slot, *checkpoint, minus(now, *took), *took);
            }
            Event::CheckpointDurable { step, slot, checkpoint, took, .. } => {
                if let Some(last) = self.attempt(step, slot) {
                    let taken = last.taken.iter_mut().rev().find(|taken| taken.id == *checkpoint);
                    taken.into_iter().for_each(|taken| taken.durable = true);
                    self.pace(step).durable.push(*took);
                    self.progress(step, now, Some(*checkpoint));
                }
            }
            Event::NoticeReceived { step, slot, .. } => {
                if let Some(last) = self.attempt(step, slot) {
                    last.notice.get_or_insert(now);
                }
            }
            Event::HintReceived { source, what } => {
                let (source, what) = (source.clone(), what.clone());
                self.figures.hints.push(HintSeen { source, what, driver: self.driver, at: now });
            }
            Event::AttemptEnded { .. } => self.end_attempt(event, now),
            Event::StepHealing { step, next, .. } => {
                if let Some(way) = self.ways.get_mut(step) {
                    way.recovering.iter_mut().for_each(|recovering| recovering.decide(now, next.delay));
                }
            }
            Event::StepCommitted { step, slot, artifacts, compute } => {
                self.commit(step, slot, artifacts, *compute, now)
            }
            Event::InputDamaged { .. } | Event::CommitDamaged { .. } => self.figures.damaged += 1,
            // Not settled: resumed, the step may go on from what these attempts left.
            Event::StepFailed { step, .. } => _ = self.stands.insert(step.clone(), Stands::Failed),
            Event::StepBlocked { step, .. } => _ = self.stands.insert(step.clone(), Stands::Blocked),
            Event::StepDecided { step, run: false, .. } | Event::StepSkipped { step, .. } => {
                _ = self.stands.insert(step.clone(), Stands::Skipped);
            }
            Event::RunStarted { .. }
            | Event::StepDecided { .. }
            | Event::StepKeyed { .. }
            | Event::StepExpanded { .. }
            | Event::StepMissed { .. }
            | Event::StepWaiting { .. }
            | Event::CheckpointSkipped { .. }
            | Event::SnapshotSkipped { .. }
            | Event::CheckpointIntervalChosen { .. }
            | Event::StepRebound { .. }
            | Event::EffectsDone { .. }
            | Event::EffectFailed { .. }
            | Event::EffectsGivenUp { .. }
            | Event::StopRequested { .. }
            | Event::RunConcluded { .. }
            | Event::RunEnded { .. } => {}
        }
        self.last = (self.last.0.max(now), *at_ms);
    }

    /// Returns the newest interruption or failure of the step that its running process has recovered from.
    pub fn recovered(&self, step: &StepId) -> Option<&Interruption> {
        let recovering = self.ways.get(step)?.recovering.iter().rev().find(|recovering| recovering.is_ready())?;
        let list = if recovering.interruption { &self.figures.interruptions } else { &self.figures.failures };
        list.get(recovering.place)
    }

    /// Returns the figures as they stand.
    pub fn finish(&self) -> RunMetrics {
        let mut figures = self.figures.clone();
        let mut restarts: BTreeMap<&StepId, u32> =
            self.paces.iter().map(|(step, pace)| (step, pace.restarts)).collect();
        for (step, way) in &self.ways {
            let given_up = matches!(self.stands.get(step), Some(Stands::Failed | Stands::Blocked));
            let outcome = if given_up { Outcome::Lost } else { Outcome::Open };
            let (used, kept) = self.account(way, outcome, &mut figures.lost_by);
            figures.compute = plus(figures.compute, used);
            figures.lost = plus(figures.lost, minus(used, kept.span));
            *restarts.entry(step).or_default() += kept.restarts;
        }
        for (step, restarts) in restarts {
            let start = self.paces.get(step).map_or(Span::default(), Pace::start);
            let again = times(start, u64::from(restarts)).min(minus(figures.compute, figures.lost));
            if again > Span::default() {
                figures.lost = plus(figures.lost, again);
                let sum = figures.lost_by.entry(LossReason::Restart).or_default();
                *sum = plus(*sum, again);
            }
        }
        figures.bound = self.paces.values().map(Pace::bound).fold(Span::default(), plus).min(figures.compute);
        figures.healed = figures.interruptions.iter().filter(|i| i.recovery.is_some()).count() as u32;
        figures.wall = plus(figures.wall, self.last.0);
        figures.steps = self.others;
        for stands in self.stands.values() {
            *match stands {
                Stands::Reused => &mut figures.steps.reused,
                Stands::Run { .. } => &mut figures.steps.run,
                Stands::Failed => &mut figures.steps.failed,
                Stands::Blocked => &mut figures.steps.blocked,
                Stands::Skipped => &mut figures.steps.skipped,
            } += 1;
        }
        figures
    }

    fn attempt(&mut self, step: &StepId, slot: &SlotId) -> Option<&mut Try> {
        self.ways.get_mut(step)?.tries.last_mut().filter(|last| last.slot == *slot && last.ran.is_none())
    }

    fn pace(&mut self, step: &StepId) -> &mut Pace {
        // Most steps have no checkpoints, and none of them gets here.
        self.paces.entry(step.clone()).or_default()
    }

    fn start_driver(&mut self, driver: u64, now: Span, at_ms: u64, retried: Option<&[StepId]>) {
        let (last, wall) = self.last;
        if self.driver > 0 {
            self.down = Span::from_millis(at_ms.saturating_sub(wall));
            self.figures.wall = plus(self.figures.wall, last);
        }
        let dead = self.driver;
        for way in self.ways.values_mut() {
            way.recovering.retain(|recovering| !recovering.is_ready());
            way.recovering.iter_mut().for_each(|recovering| recovering.change_driver(last, now));
            for open in way.tries.iter_mut().filter(|open| open.ran.is_none() && open.driver == dead) {
                // It lived at least as long as its driver gave a sign of life.
                open.ran = Some(open.process.map_or(Span::default(), |process| minus(last, process)));
                if open.process.is_none() {
                    open.process = Some(last);
                }
            }
        }
        // The figures of failed steps stand; a resumed run begins with what failed.
        let stays = |step: &StepId| retried.is_some_and(|retried| !retried.contains(step));
        self.stands.retain(|step, stands| match stands {
            Stands::Reused | Stands::Run { .. } | Stands::Skipped => true,
            Stands::Failed => stays(step),
            Stands::Blocked => false,
        });
        self.driver = driver;
        self.began = now;
        self.last = (now, at_ms);
        self.figures.drivers += 1;
    }

    fn start_process(&mut self, step: &StepId, slot: &SlotId, now: Span) {
        let Some(last) = self.attempt(step, slot) else { return };
        last.process = Some(now);
        let restored = last.restored;
        let Some(way) = self.ways.get_mut(step) else { return };
        for recovering in way.recovering.iter_mut().filter(|recovering| !recovering.is_ready()) {
            let recovery = recovering.run(now, restored);
            let figures = &mut self.figures;
            let list = if recovering.interruption { &mut figures.interruptions } else { &mut figures.failures };
            list[recovering.place].recovery = Some(recovery);
        }
    }

    fn take(&mut self, step: &StepId, slot: &SlotId, checkpoint: CheckpointId, covers: Span, took: Span) {
        let Some(last) = self.attempt(step, slot) else { return };
        let (process, before) = (last.process, last.taken.last().map(|taken| taken.covers));
        last.taken.push(Taken { id: checkpoint, covers, durable: false });
        let pace = self.pace(step);
        pace.took.push(took);
        match (process, before) {
            (_, Some(before)) => pace.between.push(minus(covers, before)),
            (Some(process), None) => pace.first.push(minus(covers, process)),
            (None, None) => {}
        }
    }

    /// Notes the first progress after every recovery of the step.
    fn progress(&mut self, step: &StepId, now: Span, checkpoint: Option<CheckpointId>) {
        let Some(way) = self.ways.get_mut(step) else { return };
        let figures = &mut self.figures;
        way.recovering.retain(|recovering| {
            let Some(replay) = recovering.progress(now, checkpoint) else { return true };
            let list = if recovering.interruption { &mut figures.interruptions } else { &mut figures.failures };
            if let Some(recovery) = &mut list[recovering.place].recovery {
                recovery.replay = Some(replay);
            }
            false
        });
    }

    fn end_attempt(&mut self, event: &Event, now: Span) {
        let Event::AttemptEnded { step, slot, class, compute, lost, .. } = event else { return };
        let (driver, began, down) = (self.driver, self.began, self.down);
        let interruption = is_interruption(*class);
        let way = self.ways.entry(step.clone()).or_default();
        way.recovering.retain(|recovering| !recovering.is_ready());
        let mut seen = (Span::default(), Span::default());
        let (mut detect, mut orphan) = (Span::default(), false);
        if let Some(last) = way.tries.last_mut().filter(|last| last.slot == *slot) {
            last.class = Some(*class);
            orphan = last.driver != driver;
            if orphan {
                // Nobody saw it end: its record may say less than its driver's last event.
                last.ran = last.ran.max(Some(*compute));
                detect = minus(now, began);
            } else {
                let known = last.process.map_or(Span::default(), |process| minus(now, process));
                last.ran = Some(if compute.as_millis() == 0 { known } else { *compute });
                detect = minus(known, last.ran.unwrap_or_default());
                if last.process.is_none() {
                    last.process = Some(now);
                }
            }
            let gone = last.process.map(|process| plus(process, last.ran.unwrap_or_default()));
            let notice = last.notice.zip(gone).map_or(Span::default(), |(notice, gone)| minus(gone, notice));
            seen = (last.ran.unwrap_or_default(), notice);
        }
        let list = if interruption { &mut self.figures.interruptions } else { &mut self.figures.failures };
        way.recovering.push(Recovering::new(interruption, list.len(), detect, now));
        list.push(Interruption {
            step: step.clone(),
            slot: *slot,
            class: *class,
            driver,
            at: now,
            lost: *lost,
            down: orphan.then_some(down),
            recovery: None,
        });
        if interruption {
            self.pace(step).interrupted.push(seen);
        }
    }

    fn commit(
        &mut self,
        step: &StepId,
        slot: &SlotId,
        artifacts: &BTreeMap<PortName, Artifact>,
        compute: Span,
        now: Span,
    ) {
        if let Some(last) = self.ways.get_mut(step).and_then(|way| way.tries.last_mut()) {
            // One that was found committed after its driver died may have been known less of.
            last.ran = last.ran.max(Some(compute));
            last.process.get_or_insert(now);
        }
        self.progress(step, now, None);
        let content = content_of(artifacts.iter());
        let before = self.stands.get(step).copied();
        let same_key = matches!(before, Some(Stands::Run { key, .. }) if key == slot.key);
        let same = matches!(before, Some(Stands::Run { content: earlier, .. }) if earlier == content);
        if same_key && !same {
            self.figures.corrupt += 1;
        }
        if !(same_key && same) {
            let mut seen = Vec::new();
            for artifact in artifacts.values().filter(|artifact| artifact.size_bytes > 0) {
                if !seen.contains(&artifact.digest) {
                    seen.push(artifact.digest);
                    self.figures.committed_bytes = self.figures.committed_bytes.saturating_add(artifact.size_bytes);
                }
            }
        }
        self.settle(step, Outcome::Committed, Stands::Run { key: slot.key, content });
    }

    /// Ends the way of a step: what its attempts used and lost enters the sums.
    fn settle(&mut self, step: &StepId, outcome: Outcome, stands: Stands) {
        if let Some(way) = self.ways.remove(step) {
            let mut by = std::mem::take(&mut self.figures.lost_by);
            let (used, kept) = self.account(&way, outcome, &mut by);
            self.figures.lost_by = by;
            self.figures.compute = plus(self.figures.compute, used);
            self.figures.lost = plus(self.figures.lost, minus(used, kept.span));
            if kept.restarts > 0 {
                self.pace(step).restarts += kept.restarts;
            }
        }
        self.stands.insert(step.clone(), stands);
    }

    fn account(&self, way: &Way, outcome: Outcome, by: &mut BTreeMap<LossReason, Span>) -> (Span, Kept) {
        let used: Vec<Used> = way
            .tries
            .iter()
            .map(|one| {
                let known = one.process.map_or(Span::default(), |process| minus(self.last.0, process));
                Used { brought: one.brought(self.last.0), ran: one.ran.unwrap_or(known) }
            })
            .collect();
        let total = used.iter().map(|used| used.total()).fold(Span::default(), plus);
        let kept = kept(&way.tries, &used, outcome);
        kept.lost_by(&way.tries, &used, by);
        (total, kept)
    }
}

impl Pace {
    /// The program's start: what its first checkpoint took longer than the usual interval; 0 where that is not known.
    fn start(&self) -> Span {
        match (self.first.iter().min(), median(&self.between)) {
            (Some(first), Some(between)) => minus(*first, between),
            _ => Span::default(),
        }
    }

    fn bound(&self) -> Span {
        let restore = self.restores.iter().min().copied().unwrap_or_default();
        let checkpoint = median(&self.took).zip(median(&self.durable)).map(|(c, d)| plus(c, d));
        let unavoidable = |(ran, notice): &(Span, Span)| match checkpoint {
            Some(needed) if *notice >= needed => Span::default(),
            Some(needed) => needed.min(*ran),
            // Without a checkpoint nothing can be saved.
            None => *ran,
        };
        let each = plus(self.start(), restore);
        self.interrupted.iter().map(|seen| plus(each, unavoidable(seen))).fold(Span::default(), plus)
    }
}

fn median(spans: &[Span]) -> Option<Span> {
    let mut sorted = spans.to_vec();
    sorted.sort_unstable();
    let middle = [percentile(&sorted, 50)?, sorted[sorted.len() / 2]];
    mean(&middle)
}

fn times(span: Span, n: u64) -> Span {
    Span::from_millis(span.as_millis().saturating_mul(n))
}

/// A short print of what was committed, to tell whether it is the same again; kept in summaries.
fn content_of<'a>(artifacts: impl Iterator<Item = (&'a PortName, &'a Artifact)>) -> u64 {
    let mut content = Vec::new();
    for (name, artifact) in artifacts {
        content.extend_from_slice(name.as_str().as_bytes());
        content.extend_from_slice(artifact.digest.as_bytes());
    }
    let print = Digest::of(&content);
    print.as_bytes().iter().take(8).fold(0, |print, byte| print << 8 | u64::from(*byte))
}
