//! Many lives, one after the other: one step without an end.

use prunella_healing::Announced;
use prunella_interruptions::Draws;
use prunella_model::Class;

use crate::{
    Chooser, World,
    attempt::{Task, false_alarms},
    live,
};

/// What came of many lives.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Survey {
    /// How many.
    pub lives: u64,
    /// The time that machines ran.
    pub used: f64,
    /// The time in which there was none.
    pub waited: f64,
    /// The work that stays done.
    pub useful: f64,
    /// How many cost next to nothing, because of a notice.
    pub saved: u64,
}

impl Survey {
    /// Returns the share of the machines' time that was wasted.
    pub fn waste(&self) -> f64 {
        1.0 - self.useful / self.used
    }

    /// Returns the same of all time, waiting for machines included.
    pub fn waste_of_time(&self) -> f64 {
        1.0 - self.useful / (self.used + self.waited)
    }

    fn add(&mut self, other: &Self) {
        self.lives += other.lives;
        self.used += other.used;
        self.waited += other.waited;
        self.useful += other.useful;
        self.saved += other.saved;
    }
}

/// Plays these lives in this order.
pub fn survey(world: &World, chooser: &mut Chooser, lives: impl IntoIterator<Item = f64>, draws: &mut Draws) -> Survey {
    let mut all = Survey::default();
    for life in lives {
        let announced = draws.happens(world.notices.recall);
        let task = Task {
            life,
            announced,
            left: f64::INFINITY,
            until_ready: world.start + world.restore,
            checkpoints: true,
            sooner: false,
        };
        let alarms = false_alarms(world, life, draws);
        let lived = live(world, chooser, &task, &alarms);
        let gap = world.capacity.gaps.as_ref().map_or(0.0, |gaps| gaps.draw(draws));
        let saved = u64::from(lived.saved_on_notice);
        all.add(&Survey { lives: 1, used: life, waited: gap, useful: lived.durable, saved });
        let (class, what) = match (announced, lived.saved_on_notice) {
            (false, _) => (Class::Killed, Announced::No),
            (true, false) => (Class::Preempted, Announced::InVain),
            (true, true) => (Class::Preempted, Announced::Saved),
        };
        chooser.learn(Some(class), life, what);
    }
    all
}
