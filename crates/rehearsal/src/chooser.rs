//! How often the attempts of a run checkpoint.

use prunella_healing::{Announced, Interruptions, Outlook, interval};
use prunella_interruptions::theory::{daly, exact, young};
use prunella_model::{Class, Span};

use crate::{World, world::span};

/// How often to checkpoint.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Every {
    /// After so much work, whatever happens.
    Work(f64),
    /// By Young's formula, for the mean that lives have.
    Young,
    /// By Daly's.
    Daly,
    /// By the exact optimum of lives that do not age.
    Exact,
    /// As `checkpoint: every: auto` does, which knows of lives what it sees.
    Auto,
    /// The same, but it has seen enough before: what it knows stays.
    Known,
    /// Only on notice.
    Never,
}

/// Chooses the work between two checkpoints, and learns from what ends attempts.
pub struct Chooser {
    every: Every,
    /// The work, where it does not depend on age.
    fixed: Option<f64>,
    seen: Interruptions,
    outlook: Option<Outlook>,
    /// How many interruptions the outlook was reckoned from.
    known: u32,
    /// The work that was chosen, until an age, for the checkpoint cost of then, halved or not.
    memory: Option<(f64, f64, f64)>,
}

impl Chooser {
    /// Returns one that has seen nothing.
    pub fn new(world: &World) -> Self {
        let (mean, held_up) = (world.lives.mean(), world.checkpoints.beside().held_up());
        let fixed = match world.every {
            Every::Work(work) => Some(work),
            Every::Young => Some(young(mean, held_up)),
            Every::Daly => Some(daly(mean, held_up)),
            Every::Exact => Some(exact(mean, held_up)),
            Every::Never => Some(f64::INFINITY),
            Every::Auto | Every::Known => None,
        };
        Self { every: world.every, fixed, seen: Interruptions::default(), outlook: None, known: 0, memory: None }
    }

    /// Returns one that has seen what these attempts were; it learns nothing more if the world says `Known`.
    pub fn having_seen(world: &World, seen: Interruptions) -> Self {
        Self { seen, ..Self::new(world) }
    }

    /// Notes how an attempt ended.
    pub fn learn(&mut self, class: Option<Class>, lived: f64, announced: Announced) {
        if self.fixed.is_some() || self.every == Every::Known {
            return;
        }
        self.seen.add(class, span(lived), announced);
        // An engine reckons at every attempt; what an eighth more lives change is little.
        if self.seen.number < 20 || self.seen.number >= self.known + self.known / 8 {
            self.outlook = None;
        }
        self.memory = None;
    }

    /// Returns the time from the begin of one checkpoint to that of the next, for an attempt of this age.
    pub fn period(&mut self, world: &World, age: f64, since: f64) -> f64 {
        if let Some(work) = self.fixed {
            return work + world.checkpoints.blocking;
        }
        if let Some((until, period, of)) = self.memory
            && age < until
            && (since - of).abs() < 0.05 * of
        {
            return period;
        }
        if self.outlook.is_none() {
            self.outlook = Some(self.seen.outlook(world.machine));
            self.known = self.seen.number;
        }
        let outlook = self.outlook.as_ref().expect("it was just made");
        let grace = (world.notices.recall > 0.0).then(|| world.notices.grace());
        let chosen = interval(world.checkpoints.measured(since), outlook, span(age), grace.as_ref());
        let period = seconds(chosen.every);
        // Right before a cap every second counts; elsewhere danger changes slowly.
        self.memory = Some((age * 1.01, period, since));
        period
    }
}

fn seconds(span: Span) -> f64 {
    span.duration().as_secs_f64()
}
