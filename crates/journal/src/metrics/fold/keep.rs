//! Figures in the making in a summary.

use std::collections::BTreeMap;

use prunella_model::{Span, StepId, StepKey};
use serde::{Deserialize, Serialize};

use super::{MetricsFold, Pace, Stands, Way, content_of};
use crate::metrics::{RunMetrics, StepCounts};
use crate::places::FixedMap;
use crate::state::{Done, StepState};
use crate::summary::octets::{Put, Take};
use crate::{RunState, StepIndex, StepSet};

#[derive(Serialize, Deserialize)]
struct Kept {
    driver: u64,
    began: Span,
    last: (Span, u64),
    down: Span,
    figures: RunMetrics,
    ways: Vec<(StepId, Way)>,
    paces: Vec<(StepId, Pace)>,
}

impl MetricsFold {
    /// Returns the time of the newest event, on the clock of the driver that saw it.
    pub(crate) fn clock(&self) -> Span {
        self.last.0
    }

    /// Writes the figures beside the state that the same events fold to: what a step that is done stands for is in that.
    pub(crate) fn keep(&self, state: &RunState, out: &mut Put) {
        let Self { driver, began, last, down, ways, stands, others: _, paces, figures } = self;
        let mut ways: Vec<(StepId, Way)> = ways.iter().map(|(step, way)| (step.clone(), way.clone())).collect();
        ways.sort_by(|(one, _), (other, _)| one.cmp(other));
        out.json(&Kept {
            driver: *driver,
            began: *began,
            last: *last,
            down: *down,
            figures: figures.clone(),
            ways,
            paces: paces.iter().map(|(step, pace)| (step.clone(), pace.clone())).collect(),
        });
        let told = |step: &StepIndex| implied(state.state(*step)).is_none();
        let of = |step| stands.get(state.topology().id(step)).map(|stands| (step, *stands));
        let told: Vec<(StepIndex, Stands)> = state.topology().indices().filter(told).filter_map(of).collect();
        out.number(told.len() as u64);
        for (step, stands) in told {
            out.number(u64::from(step.get()));
            match stands {
                Stands::Reused => out.byte(0),
                Stands::Run { key, content } => {
                    out.byte(1);
                    out.digest(&key.0);
                    out.number(content);
                }
                Stands::Failed => out.byte(2),
                Stands::Blocked => out.byte(3),
                Stands::Skipped => out.byte(4),
            }
        }
    }

    /// Returns the figures as they were kept, to go on with events of `steps` only; nothing if these bytes are none.
    ///
    /// Other steps that are done are counted, no more.
    pub(crate) fn from_kept(state: &RunState, steps: &StepSet, from: &mut Take<'_>) -> Option<Self> {
        let this = Self::without_stands(from)?;
        let mut stands: FixedMap<StepId, Stands> = FixedMap::default();
        let topology = state.topology();
        for _ in 0..from.count()? {
            let step = StepIndex::new(from.small().filter(|step| (*step as usize) < topology.len())?);
            let stand = match from.byte()? {
                0 => Stands::Reused,
                1 => Stands::Run { key: StepKey(from.digest()?), content: from.number()? },
                2 => Stands::Failed,
                3 => Stands::Blocked,
                4 => Stands::Skipped,
                _ => return None,
            };
            stands.insert(topology.id(step).clone(), stand);
        }
        let mut others = StepCounts::default();
        for step in topology.indices() {
            let state = state.state(step);
            match implied(state) {
                Some(stand) if steps.contains(step) => _ = stands.insert(topology.id(step).clone(), stand.of(state)),
                Some(Implied::Reused) => others.reused += 1,
                Some(Implied::Run) => others.run += 1,
                Some(Implied::Skipped) => others.skipped += 1,
                None => {}
            }
        }
        Some(Self { stands, others, ..this })
    }

    /// Returns the figures as they were kept but for how steps stand: enough for what interruptions cost.
    pub(crate) fn without_stands(from: &mut Take<'_>) -> Option<Self> {
        let Kept { driver, began, last, down, figures, ways, paces } = from.json()?;
        let ways = ways.into_iter().collect();
        let paces: BTreeMap<StepId, Pace> = paces.into_iter().collect();
        let (stands, others) = (FixedMap::default(), StepCounts::default());
        Some(Self { driver, began, last, down, ways, stands, others, paces, figures })
    }
}

/// What a step stands for by its state alone: the event that led there said so, and no other could since.
#[derive(Clone, Copy)]
enum Implied {
    Reused,
    Run,
    Skipped,
}

impl Implied {
    fn of(self, state: &StepState) -> Stands {
        match (self, state) {
            (Self::Run, StepState::Done(done)) => {
                let Done { slot, artifacts, .. } = &**done;
                Stands::Run { key: slot.key, content: content_of(artifacts.iter().map(|(name, made)| (name, made))) }
            }
            (Self::Reused | Self::Run, _) => Stands::Reused,
            (Self::Skipped, _) => Stands::Skipped,
        }
    }
}

fn implied(state: &StepState) -> Option<Implied> {
    match state {
        StepState::Done(done) if done.reused => Some(Implied::Reused),
        StepState::Done(_) => Some(Implied::Run),
        StepState::Skipped { .. } => Some(Implied::Skipped),
        // A failure is forgotten by the next driver although the state may stay.
        _ => None,
    }
}
