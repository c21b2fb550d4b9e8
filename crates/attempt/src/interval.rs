//! The least time between two snapshots of an attempt: as the user says, or chosen from what is seen.

use std::time::Duration;

use prunella_healing::{
    Announced, CheckpointCost, Chosen, Grace, INTERFERENCE, Interruptions, Machine, Outlook, expected_waste, interval,
};
use prunella_model::{Checkpoint, RunId, Span, Step};
use prunella_store::{
    KeyView, Layout, Store,
    records::{AliveRecord, CheckpointMark, End, EndRecord, Timeline},
};
use prunella_sys::Fs;

use crate::{Request, Told, life::ALIVE, tell::Tell};

/// Attempts further back than this say little of today.
const LOOK_BACK: usize = 32;

/// What is known before the program runs.
#[derive(Debug, Clone, Default)]
pub(crate) struct Known {
    interruptions: Interruptions,
    costs: Costs,
}

impl Known {
    /// Returns what the attempts of this key and of this run tell.
    ///
    /// Lives and costs are those that each attempt measured on its own clock. Of one that could not write its end, the
    /// last sign of life tells how long it lived; a store that does not answer tells less.
    pub(crate) async fn of(store: &Store, request: &Request, view: &KeyView) -> Self {
        let known = Self { interruptions: request.interruptions.clone().unwrap_or_default(), costs: Costs::default() };
        // The engine has counted those of its own run.
        let counted: Option<&RunId> = request.interruptions.is_some().then_some(&request.run);
        known.and_of(store, view, counted).await
    }

    /// Returns this and what the attempts of a key tell, but for those of one run that were counted.
    async fn and_of(mut self, store: &Store, view: &KeyView, counted: Option<&RunId>) -> Self {
        for (epoch, slot) in view.slots.iter().rev().take(LOOK_BACK).collect::<Vec<_>>().into_iter().rev() {
            let Some(EndRecord { end, .. }) = &slot.end else { continue };
            let (class, timeline) = match end {
                End::Committed(committed) => (None, &committed.timeline),
                End::Closed(closed) => (Some(closed.class), &closed.timeline),
            };
            timeline.checkpoints.iter().for_each(|mark| self.costs.measured(mark, None));
            self.costs.next_attempt();
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
            self.interruptions.add(class, lived, announced(timeline));
        }
        self
    }
}

/// Returns what a notice saved: a checkpoint that was taken after it and became durable.
fn announced(timeline: &Timeline) -> Announced {
    match (timeline.notice_ms, timeline.checkpoints.last()) {
        (None, _) => Announced::No,
        (Some(notice), Some(last)) if last.taken_ms >= notice => Announced::Saved,
        (Some(_), _) => Announced::InVain,
    }
}

/// What checkpoints of a step cost, as measured so far.
#[derive(Debug, Clone, Copy, Default)]
struct Costs {
    newest: Option<CheckpointCost>,
    /// The longest that one took to be stored: the whole state.
    longest: Span,
    /// When the one before was taken, in this attempt.
    before: Option<u64>,
}

impl Costs {
    /// Notes a checkpoint that became durable, and what storing took from the program's speed, if that was measured.
    fn measured(&mut self, mark: &CheckpointMark, interference: Option<f64>) {
        let persist = Span::from_millis(mark.durable_ms.saturating_sub(mark.taken_ms));
        let since = self.before.replace(mark.taken_ms).map(|before| mark.taken_ms.saturating_sub(before));
        self.longest = self.longest.max(persist);
        // Storing one soon after another takes clearly less than storing the whole: only what changed is stored.
        let changes = since.filter(|since| *since > 0 && 3 * persist.as_millis() < 2 * self.longest.as_millis());
        let mut cost = CheckpointCost::whole(Span::from_millis(mark.took_ms), persist);
        if let Some(interference) = interference {
            cost.interference = interference;
        }
        if let Some(since) = changes {
            cost.per_second = Some(persist.as_millis() as f64 / since as f64);
        }
        self.newest = Some(cost);
    }

    /// Notes that what follows was measured by another clock.
    fn next_attempt(&mut self) {
        self.before = None;
    }
}

/// What history says of the interval that `every: auto` would choose, for whoever asks before anything runs.
#[derive(Debug, Clone, PartialEq)]
pub struct Foreseen {
    /// The interval at the start of an attempt, and from which figures.
    pub chosen: Chosen,
    /// The share of the time that will be wasted, from 0 to 1.
    pub waste: f64,
    /// Whether a checkpoint that begins with a notice is durable before the end.
    pub fits: bool,
    /// The time from a notice to the end.
    pub grace: Span,
}

/// Returns what `every: auto` would choose for a step by the attempts of this key; nothing before a checkpoint was measured.
pub async fn foresee(
    store: &Store,
    step: &Step,
    view: &KeyView,
    machine: Machine,
    margin: Duration,
) -> Option<Foreseen> {
    let checkpoint = step.checkpoint.as_ref().filter(|checkpoint| checkpoint.auto)?;
    let known = Known::default().and_of(store, view, None).await;
    let (cost, grace) = (known.costs.newest?, grace_of(checkpoint, margin));
    let outlook = known.interruptions.outlook(machine);
    // What an attempt takes until the program goes on was measured where one was restored.
    let restored = view.slots.values().rev().find_map(|slot| match &slot.end {
        Some(EndRecord { end: End::Committed(committed), .. }) => committed.timeline.restored,
        Some(EndRecord { end: End::Closed(closed), .. }) => closed.timeline.restored,
        None => None,
    });
    let restore = restored.map_or(cost.persist, |(_, took_ms)| Span::from_millis(took_ms));
    let whole = CheckpointCost { persist: known.costs.longest, per_second: None, ..cost };
    Some(Foreseen {
        chosen: interval(cost, &outlook, Span::default(), Some(&grace)),
        waste: expected_waste(cost, &outlook, restore, Some(&grace)),
        fits: if cost.per_second.is_some() { cost.fits(&grace) } else { whole.fits(&grace) },
        grace: checkpoint.grace,
    })
}

/// Returns the kind of machine that a step runs on here.
pub fn machine_of(step: &Step, fs: &dyn Fs) -> Machine {
    let prefer = step.capacity.and_then(|capacity| capacity.prefer);
    // Read only where the answer matters.
    let cloud = prefer.and_then(|_| prunella_notices::detect(fs));
    Machine::of(prefer, cloud.map(prunella_notices::Cloud::as_str))
}

fn grace_of(checkpoint: &Checkpoint, margin: Duration) -> Grace {
    Grace { grace: checkpoint.grace, margin: margin.into() }
}

fn lived(timeline: &Timeline) -> Option<Span> {
    (timeline.ended_ms > 0).then(|| Span::from_millis(timeline.ended_ms))
}

/// The least time between two snapshots.
pub(crate) struct Interval {
    /// As the user says; nothing for `auto`.
    fixed: Option<Duration>,
    /// Halved after interruptions in a row without progress.
    sooner: bool,
    known: Known,
    machine: Machine,
    grace: Option<Grace>,
    /// What is to be expected, and how long the attempt had lived when that was reckoned.
    outlook: Option<(Duration, Outlook)>,
    chosen: Option<Chosen>,
    told: Option<Span>,
}

impl Interval {
    pub(crate) fn new(
        checkpoint: Option<&Checkpoint>,
        sooner: bool,
        known: Known,
        machine: Machine,
        margin: Duration,
    ) -> Self {
        let fixed = checkpoint
            .is_none_or(|checkpoint| !checkpoint.auto)
            .then(|| checkpoint.map_or(Duration::ZERO, |checkpoint| checkpoint.every.duration()));
        let grace = checkpoint.map(|checkpoint| grace_of(checkpoint, margin));
        Self { fixed, sooner, known, machine, grace, outlook: None, chosen: None, told: None }
    }

    /// Returns it, for an attempt that has lived so long; tells what was chosen where that is new.
    ///
    /// Before anything was measured each entry is taken, the first one at once: it shows what a checkpoint costs.
    pub(crate) fn every(&mut self, lived: Duration, tell: &dyn Tell) -> Duration {
        let every = match (self.fixed, self.known.costs.newest) {
            (Some(fixed), _) => fixed,
            (None, None) => Duration::ZERO,
            (None, Some(cost)) => {
                let grace = self.grace;
                let chosen = interval(cost, self.outlook(lived), lived.into(), grace.as_ref());
                self.chosen = Some(chosen);
                self.say(&chosen, tell);
                chosen.every.duration()
            }
        };
        if self.sooner { every / 2 } else { every }
    }

    /// Returns what is to be expected; reckoned anew when the attempt has lived a quarter longer.
    fn outlook(&mut self, lived: Duration) -> &Outlook {
        if self.outlook.as_ref().is_none_or(|(at, _)| lived * 4 >= *at * 5 && lived > *at) {
            let seen = self.known.interruptions.and_living(lived.into());
            self.outlook = Some((lived, seen.outlook(self.machine)));
        }
        &self.outlook.as_ref().expect("it was just made").1
    }

    /// Notes what the newest checkpoint cost, and the share of its speed that the program loses beside one, if that is known.
    pub(crate) fn measured(&mut self, mark: &CheckpointMark, interference: Option<f64>) {
        self.known.costs.measured(mark, interference);
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
        let fit = if chosen.for_notice { ", short enough for what changes to fit the grace time" } else { "" };
        let half = if self.sooner { ", halved for want of progress" } else { "" };
        tell.tell(Told::IntervalChosen {
            every_ms: if self.sooner { ms / 2 } else { ms },
            why: format!("{}{fit}{half}", words(chosen)),
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
    let minutes = (chosen.mean.as_millis() + 30_000) / 60_000;
    let mean = if minutes >= 120 { format!("{} h", (minutes + 30) / 60) } else { format!("{minutes} min") };
    // What is only assumed is not told.
    let slower = if chosen.cost.interference.to_bits() == INTERFERENCE.to_bits() {
        String::new()
    } else {
        format!(" ({:.0} % slower meanwhile)", 100.0 * chosen.cost.interference)
    };
    format!(
        "a checkpoint takes {} to read and {} to store{slower}, an interruption comes every {mean} ({seen})",
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

    fn plain(checkpoint: Option<&Checkpoint>, sooner: bool) -> Interval {
        Interval::new(checkpoint, sooner, Known::default(), Machine::Unknown, Duration::ZERO)
    }

    #[test]
    fn what_changes_is_told_from_the_whole_by_how_long_it_takes() {
        let mut costs = Costs::default();
        let stored = |taken_ms: u64, takes: u64| CheckpointMark {
            seq: 1,
            taken_ms,
            durable_ms: taken_ms + takes,
            took_ms: 10,
            bytes: 1,
        };
        costs.measured(&stored(1000, 50_000), None);
        assert_eq!(costs.newest.and_then(|cost| cost.per_second), None, "the first is the whole");
        costs.measured(&stored(101_000, 20_000), None);
        assert_eq!(costs.newest.and_then(|cost| cost.per_second), Some(0.2));
        costs.measured(&stored(201_000, 45_000), None);
        assert_eq!(costs.newest.and_then(|cost| cost.per_second), None, "nearly all has changed");
        costs.next_attempt();
        costs.measured(&stored(500, 20_000), None);
        assert_eq!(costs.newest.and_then(|cost| cost.per_second), None, "another clock");
    }

    #[test]
    fn a_checkpoint_after_the_notice_is_what_a_notice_saves() {
        let mut timeline = Timeline { checkpoints: vec![mark(5, 5)], ..Timeline::default() };
        assert_eq!(announced(&timeline), Announced::No);
        timeline.notice_ms = Some(1000);
        assert_eq!(announced(&timeline), Announced::Saved);
        timeline.notice_ms = Some(1001);
        assert_eq!(announced(&timeline), Announced::InVain);
    }

    #[test]
    fn a_fixed_interval_is_halved_for_want_of_progress_and_nothing_is_told() {
        let quiet = |told: Told| panic!("{told:?}");
        let mut interval = plain(Some(&checkpoint(false)), true);
        assert_eq!(interval.every(Duration::ZERO, &quiet), Duration::from_secs(300));
        let mut none = plain(None, false);
        assert_eq!(none.every(Duration::ZERO, &quiet), Duration::ZERO);
    }

    #[test]
    fn auto_takes_the_first_entry_at_once_and_chooses_when_it_knows_the_cost() {
        let told = Mutex::new(Vec::new());
        let tell = |one: Told| told.lock().expect("one thread").push(one);
        // The mean is then 4 h, as believed.
        let mut interval = plain(Some(&checkpoint(true)), false);
        assert_eq!(interval.every(Duration::from_secs(5), &tell), Duration::ZERO);
        assert!(told.lock().expect("one thread").is_empty());
        interval.measured(&mark(1000, 0), None);
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
        interval.measured(&mark(4000, 0), None);
        interval.every(Duration::from_secs(60), &tell);
        assert_eq!(told.lock().expect("one thread").len(), 2, "twice as long is new");
        interval.measured(&mark(4000, 600_000), Some(0.25));
        interval.every(Duration::from_secs(60), &tell);
        let told = told.lock().expect("one thread");
        let Told::IntervalChosen { every_ms, why } = &told[2] else { panic!("{told:?}") };
        assert!(why.contains("600.00 s to store (25 % slower meanwhile)"), "{why}");
        assert!(
            (2000..2300).contains(&(every_ms / 1000)),
            "as 4 + 0.25 · 600 s would that hold the program up: {every_ms}"
        );
    }
}
