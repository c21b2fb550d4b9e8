//! What a run's journal says of the attempts of a step.

use prunella_journal::{Event, NextTry, Stamped};
use prunella_model::{CheckpointId, Class, SlotId, Span, StepId, StepKey};

use crate::{answer::note, present::lasting, warm::back_at};

/// One attempt of a step, as far as the journal knows it.
#[derive(Debug, Clone)]
pub struct Attempt<'a> {
    /// Its slot.
    pub slot: SlotId,
    /// Its program's process.
    pub pid: Option<u32>,
    /// The accelerators that it was lent.
    pub accelerators: &'a [String],
    /// The checkpoint that it went on from, and how long laying it out took.
    pub restored: Option<(CheckpointId, Span)>,
    /// Checkpoints that could not be used, and why.
    pub skipped: Vec<(CheckpointId, &'a str)>,
    /// Entries of the checkpoint directory that were not taken, and why.
    pub untaken: Vec<(&'a str, &'a str)>,
    /// The interval between checkpoints that was chosen last, and why.
    pub interval: Option<(Span, &'a str)>,
    /// Its durable checkpoints.
    pub durable: Vec<CheckpointId>,
    /// Where a notice came from.
    pub notice: Option<&'a str>,
    /// How it ended, if it did so without a commit.
    pub failure: Option<Failure<'a>>,
    /// Whether it committed.
    pub committed: bool,
    /// Compute time used.
    pub compute: Option<Span>,
}

impl Attempt<'_> {
    /// Returns what happened to its checkpoints, a line each.
    pub fn about_checkpoints(&self) -> Vec<String> {
        let mut lines = Vec::new();
        for (checkpoint, why) in &self.skipped {
            lines.push(format!("checkpoint {checkpoint} was not used: {why}"));
        }
        if let Some((checkpoint, took)) = &self.restored {
            lines.push(format!("{} in {}", back_at(checkpoint, &self.slot), lasting(took.as_millis())));
        }
        if let Some((every, why)) = self.interval {
            lines.push(format!("a checkpoint every {}: {why}", lasting(every.as_millis())));
        }
        for (entry, why) in &self.untaken {
            lines.push(format!("`{entry}` was not taken: {why}"));
        }
        if let (Some(first), Some(last)) = (self.durable.first(), self.durable.last()) {
            lines.push(match self.durable.len() {
                1 => format!("checkpoint {first} became durable"),
                n => format!("{n} checkpoints became durable, the last {last}"),
            });
        }
        lines
    }
}

/// How an attempt ended, and what was done about it.
#[derive(Debug, Clone)]
pub struct Failure<'a> {
    /// The class.
    pub class: Class,
    /// Compute time whose result is lost.
    pub lost: Span,
    /// What was done: the conditions of the next attempt, in words too.
    pub healing: Option<(NextTry, &'a str)>,
}

/// Says that a damaged journal is not `done` with to its end.
pub fn tell_damage(damage: Option<&str>, done: &str) {
    if let Some(damage) = damage {
        note(&format!("{damage}: what happened after that is not {done}"));
        note("  help: `prunella resume` goes on from the records; `prunella verify` names all that is damaged");
    }
}

/// Returns the store of others from which a run copied the commit that stands for a step.
pub fn copied_from<'a>(events: impl IntoIterator<Item = &'a &'a Stamped>, slot: &SlotId) -> Option<&'a str> {
    events.into_iter().find_map(|stamped| match &stamped.event {
        Event::StepReused { slot: reused, copied_from, .. } if reused == slot => copied_from.as_deref(),
        _ => None,
    })
}

/// Returns the attempts of a step, in order.
pub fn attempts<'a>(events: impl IntoIterator<Item = &'a Stamped>, step: &StepId) -> Vec<Attempt<'a>> {
    let mut all: Vec<Attempt<'a>> = Vec::new();
    for Stamped { event, .. } in events.into_iter().filter(|stamped| stamped.event.step() == Some(step)) {
        if let Event::AttemptStarted { slot, .. } = event {
            all.push(Attempt {
                slot: *slot,
                pid: None,
                accelerators: &[],
                restored: None,
                skipped: Vec::new(),
                untaken: Vec::new(),
                interval: None,
                durable: Vec::new(),
                notice: None,
                failure: None,
                committed: false,
                compute: None,
            });
            continue;
        }
        let Some(last) = all.last_mut() else { continue };
        match event {
            Event::ProcessStarted { pid, accelerators, .. } => {
                (last.pid, last.accelerators) = (Some(*pid), accelerators);
            }
            Event::StateRestored { checkpoint, took, .. } => last.restored = Some((*checkpoint, *took)),
            Event::CheckpointSkipped { checkpoint, why, .. } => last.skipped.push((*checkpoint, why)),
            Event::SnapshotSkipped { entry, why, .. } => last.untaken.push((entry, why)),
            Event::CheckpointIntervalChosen { every, why, .. } => last.interval = Some((*every, why)),
            Event::CheckpointDurable { checkpoint, .. } => last.durable.push(*checkpoint),
            Event::NoticeReceived { source, .. } => last.notice = Some(source),
            Event::AttemptEnded { slot, class, compute, lost, .. } if *slot == last.slot => {
                last.compute = Some(*compute);
                last.failure = Some(Failure { class: *class, lost: *lost, healing: None });
            }
            Event::StepHealing { next, remedy, .. } => {
                if let Some(failure) = &mut last.failure {
                    failure.healing.get_or_insert((*next, remedy));
                }
            }
            Event::StepCommitted { slot, compute, .. } if *slot == last.slot => {
                last.compute = Some(*compute);
                last.committed = true;
            }
            _ => {}
        }
    }
    all
}

/// Returns the keys that the step was bound to in this run, the newest last.
pub fn keys(events: &[Stamped], step: &StepId) -> Vec<StepKey> {
    let mut keys = Vec::new();
    for stamped in events {
        if let Event::StepKeyed { step: of, key } = &stamped.event
            && of == step
        {
            keys.retain(|known| known != key);
            keys.push(*key);
        }
    }
    keys
}

#[cfg(test)]
mod tests {
    use prunella_healing::{Evidence, Spent};
    use prunella_journal::Position;
    use prunella_model::{Digest, Epoch, StepName, WriterId};

    use super::*;

    fn step() -> StepId {
        StepId::plain(StepName::new("train").expect("a name"))
    }

    fn slot(epoch: u64) -> SlotId {
        SlotId { key: StepKey(Digest::of(b"key")), epoch: Epoch(epoch) }
    }

    fn at(event: Event) -> Stamped {
        Stamped { at_ms: 0, mono: Span::default(), event }
    }

    fn driver(driver: u64) -> Stamped {
        let (engine, continues) = ("test".to_owned(), Position::START);
        at(Event::DriverStarted { driver, engine, continues, budgets_reset: false, retried: None, damaged: None })
    }

    fn started(epoch: u64) -> Stamped {
        at(Event::AttemptStarted { step: step(), slot: slot(epoch), writer: WriterId::from_random(1) })
    }

    fn failed(epoch: u64) -> Stamped {
        at(Event::AttemptEnded {
            step: step(),
            slot: slot(epoch),
            class: Class::Killed,
            evidence: Box::new(Evidence::default()),
            spent: Box::new(Spent::default()),
            compute: Span::from_millis(100),
            lost: Span::from_millis(40),
        })
    }

    #[test]
    fn an_attempt_knows_how_it_ended_and_what_was_done_about_it() {
        let healing = Event::StepHealing {
            step: step(),
            class: Class::Killed,
            next: NextTry::default(),
            remedy: "at once".to_owned(),
        };
        let events = [driver(1), started(1), failed(1), at(healing), started(2)];
        let attempts = attempts(&events, &step());
        assert_eq!(attempts.iter().map(|attempt| attempt.slot).collect::<Vec<_>>(), [slot(1), slot(2)]);
        let failure = attempts[0].failure.as_ref().expect("it failed");
        assert_eq!((failure.class, failure.lost), (Class::Killed, Span::from_millis(40)));
        assert_eq!(failure.healing.map(|(_, remedy)| remedy), Some("at once"));
        assert!(attempts[1].failure.is_none());
    }
}
