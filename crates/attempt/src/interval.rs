//! The least time between two snapshots of an attempt: as the user says, or chosen from what is seen.

use std::time::Duration;

use prunella_healing::{CheckpointCost, Chosen, Interruptions, interval};
use prunella_model::{Checkpoint, RunId, Span};
use prunella_store::{
    KeyView, Layout, Store,
    records::{AliveRecord, CheckpointMark, End, EndRecord, Timeline},
};

use crate::{Request, Told, life::ALIVE, tell::Tell};

/// Attempts further back than this say little of today.
const LOOK_BACK: usize = 32;

/// What is known before the program runs.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Known {
    interruptions: Interruptions,
    cost: Option<CheckpointCost>,
}

impl Known {
    /// Returns what the attempts of this key and of this run tell.
    ///
    /// Lives and costs are those that each attempt measured on its own clock. Of one that could not write its end, the
    /// last sign of life tells how long it lived; a store that does not answer tells less.
    pub(crate) async fn of(store: &Store, request: &Request, view: &KeyView) -> Self {
        let mut known = Self { interruptions: request.interruptions.unwrap_or_default(), cost: None };
        // The engine has counted those of its own run.
        let counted: Option<&RunId> = request.interruptions.is_some().then_some(&request.run);
        for (epoch, slot) in view.slots.iter().rev().take(LOOK_BACK) {
            let Some(EndRecord { end, .. }) = &slot.end else { continue };
            let (class, timeline) = match end {
                End::Committed(committed) => (None, &committed.timeline),
                End::Closed(closed) => (Some(closed.class), &closed.timeline),
            };
            known.cost = known.cost.or_else(|| timeline.checkpoints.last().map(cost_of));
            if slot.start.as_ref().is_some_and(|start| Some(&start.run) == counted) {
                continue;
            }
            let lived = match lived(timeline) {
                Some(lived) => lived,
                None => {
                    let slot = prunella_model::SlotId { key: view.key, epoch: *epoch };
                    let alive: Option<AliveRecord> = store.read(&Layout::alive(&slot)).await.unwrap_or_default();
                    Span::from(ALIVE.saturating_mul(alive.map_or(0, |alive| u32::try_from(alive.counter).unwrap_or(0))))
                }
            };
            known.interruptions.add(class, lived);
        }
        known
    }
}

fn lived(timeline: &Timeline) -> Option<Span> {
    (timeline.ended_ms > 0).then(|| Span::from_millis(timeline.ended_ms))
}

fn cost_of(mark: &CheckpointMark) -> CheckpointCost {
    CheckpointCost {
        blocking: Span::from_millis(mark.took_ms),
        persist: Span::from_millis(mark.durable_ms.saturating_sub(mark.taken_ms)),
    }
}

/// The least time between two snapshots.
pub(crate) struct Interval {
    /// As the user says; nothing for `auto`.
    fixed: Option<Duration>,
    /// Halved after interruptions in a row without progress.
    sooner: bool,
    known: Known,
    chosen: Option<Chosen>,
    told: Option<Span>,
}

impl Interval {
    pub(crate) fn new(checkpoint: Option<&Checkpoint>, sooner: bool, known: Known) -> Self {
        let fixed = checkpoint
            .is_none_or(|checkpoint| !checkpoint.auto)
            .then(|| checkpoint.map_or(Duration::ZERO, |checkpoint| checkpoint.every.duration()));
        Self { fixed, sooner, known, chosen: None, told: None }
    }

    /// Returns it, for an attempt that has lived so long; tells what was chosen where that is new.
    ///
    /// Before anything was measured each entry is taken, the first one at once: it shows what a checkpoint costs.
    pub(crate) fn every(&mut self, lived: Duration, tell: &dyn Tell) -> Duration {
        let every = match (self.fixed, self.known.cost) {
            (Some(fixed), _) => fixed,
            (None, None) => Duration::ZERO,
            (None, Some(cost)) => {
                let mut seen = self.known.interruptions;
                seen.add(None, lived.into());
                let chosen = interval(cost, &seen);
                self.chosen = Some(chosen);
                self.say(&chosen, tell);
                chosen.every.duration()
            }
        };
        if self.sooner { every / 2 } else { every }
    }

    /// Notes what the newest checkpoint cost.
    pub(crate) fn measured(&mut self, mark: &CheckpointMark) {
        self.known.cost = Some(cost_of(mark));
    }

    /// Returns what holds now, if there is a least time at all.
    pub(crate) fn now(&self) -> Option<Span> {
        let every = self.fixed.map(Span::from).or(self.chosen.map(|chosen| chosen.every));
        every.filter(|every| every.as_millis() > 0)
    }

    /// Tells what was chosen, unless about the same was told already.
    fn say(&mut self, chosen: &Chosen, tell: &dyn Tell) {
        let ms = chosen.every.as_millis();
        if self.told.is_some_and(|told| ms.abs_diff(told.as_millis()) <= told.as_millis() / 4) {
            return;
        }
        self.told = Some(chosen.every);
        let half = if self.sooner { ", halved for want of progress" } else { "" };
        tell.tell(Told::IntervalChosen {
            every_ms: if self.sooner { ms / 2 } else { ms },
            why: format!("{}{half}", words(chosen)),
        });
    }
}

/// Returns the figures that an interval was chosen from.
fn words(chosen: &Chosen) -> String {
    let seconds = |span: Span| format!("{:.2} s", span.duration().as_secs_f64());
    let seen = match chosen.seen {
        0 => "none seen".to_owned(),
        n => format!("{n} seen"),
    };
    let minutes = chosen.mean.as_millis() / 60_000;
    let mean = if minutes >= 120 { format!("{} h", minutes / 60) } else { format!("{minutes} min") };
    format!(
        "a checkpoint takes {} to read and {} to store, an interruption comes every {mean} ({seen})",
        seconds(chosen.cost.blocking),
        seconds(chosen.cost.persist),
    )
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use prunella_model::CheckpointFormat;

    use super::*;

    fn checkpoint(auto: bool) -> Checkpoint {
        Checkpoint {
            format: CheckpointFormat::Files,
            every: Span::from_secs(if auto { 0 } else { 600 }),
            auto,
            keep: 2,
            grace: Span::default(),
            sealed: false,
            ranks: None,
        }
    }

    fn mark(took_ms: u64, store_ms: u64) -> CheckpointMark {
        CheckpointMark { seq: 1, taken_ms: 1000, durable_ms: 1000 + store_ms, took_ms, bytes: 1 }
    }

    #[test]
    fn a_fixed_interval_is_halved_for_want_of_progress_and_nothing_is_told() {
        let quiet = |told: Told| panic!("{told:?}");
        let mut interval = Interval::new(Some(&checkpoint(false)), true, Known::default());
        assert_eq!(interval.every(Duration::ZERO, &quiet), Duration::from_secs(300));
        let mut none = Interval::new(None, false, Known::default());
        assert_eq!(none.every(Duration::ZERO, &quiet), Duration::ZERO);
    }

    #[test]
    fn auto_takes_the_first_entry_at_once_and_chooses_when_it_knows_the_cost() {
        let told = Mutex::new(Vec::new());
        let tell = |one: Told| told.lock().expect("one thread").push(one);
        // The mean is then 4 h, as believed.
        let mut interval = Interval::new(Some(&checkpoint(true)), false, Known::default());
        assert_eq!(interval.every(Duration::from_secs(5), &tell), Duration::ZERO);
        assert!(told.lock().expect("one thread").is_empty());
        interval.measured(&mark(1000, 0));
        let every = interval.every(Duration::ZERO, &tell);
        assert!((168..=172).contains(&every.as_secs()), "sqrt(2 · 14400 · 1) is 169.7: {every:?}");
        let again = interval.every(Duration::from_secs(60), &tell);
        assert!(again > every, "a longer life without an interruption");
        {
            let told = told.lock().expect("one thread");
            assert_eq!(told.len(), 1, "about the same is not told again");
            let Told::IntervalChosen { why, .. } = &told[0] else { panic!("{told:?}") };
            let expected =
                "a checkpoint takes 1.00 s to read and 0.00 s to store, an interruption comes every 4 h (none seen)";
            assert_eq!(why, expected);
        }
        interval.measured(&mark(4000, 0));
        interval.every(Duration::from_secs(60), &tell);
        assert_eq!(told.lock().expect("one thread").len(), 2, "twice as long is new");
    }
}
