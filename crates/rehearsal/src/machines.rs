//! The machines of a run: who takes them when, and when there is another.

use prunella_interruptions::{Draws, Shocks};

use crate::World;

/// A machine that is there, or comes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Machine {
    /// When it starts.
    pub(crate) from: f64,
    /// When it goes; endless if nobody takes it away.
    pub(crate) until: f64,
    /// Whether that is announced.
    pub(crate) announced: bool,
    /// Whether it is one that nobody takes away.
    pub(crate) on_demand: bool,
}

/// A place for one machine at a time.
pub(crate) struct Places {
    machines: Vec<Option<Machine>>,
    busy: Vec<bool>,
    born: u64,
    shaken: Option<prunella_interruptions::Shaken>,
}

impl Places {
    pub(crate) fn new(count: usize, shocks: Option<Shocks>, seed: u64) -> Self {
        let shaken = shocks.map(|shocks| shocks.of(seed));
        Self { machines: vec![None; count], busy: vec![false; count], born: seed.rotate_left(17), shaken }
    }

    /// Takes a place, and returns it with its machine: the one that is there, or the next that comes.
    pub(crate) fn take(&mut self, world: &World, now: f64, on_demand: bool, draws: &mut Draws) -> (usize, Machine) {
        // One whose machine is there, if there is one.
        let free = |place: &usize| !self.busy[*place];
        let there = |place: &usize| self.machines[*place].is_some_and(|machine| machine.until > now);
        let places = 0..self.busy.len();
        let place = places.clone().filter(free).find(there).or_else(|| places.clone().find(free)).unwrap_or(0);
        self.busy[place] = true;
        if on_demand {
            return (place, Machine { from: now, until: f64::INFINITY, announced: false, on_demand: true });
        }
        if let Some(machine) = self.machines[place].filter(|machine| machine.until > now) {
            return (place, machine);
        }
        let machine = self.next(world, self.machines[place], now, draws);
        if !machine.on_demand {
            self.machines[place] = Some(machine);
        }
        (place, machine)
    }

    /// Gives a place back.
    pub(crate) fn give_back(&mut self, place: usize) {
        self.busy[place] = false;
    }

    fn next(&mut self, world: &World, gone: Option<Machine>, now: f64, draws: &mut Draws) -> Machine {
        let capacity = &world.capacity;
        // The first one is there; after one was taken away there is none for a while.
        let gap = match (&capacity.gaps, gone) {
            (Some(gaps), Some(gone)) => (gone.until + gaps.draw(draws) - now).max(0.0),
            _ => 0.0,
        };
        if let (Some(patience), Some(_)) = (capacity.patience, capacity.on_demand_price)
            && gap > patience
        {
            return Machine { from: now + patience, until: f64::INFINITY, announced: false, on_demand: true };
        }
        let from = now + gap;
        self.born += 1;
        let mut until = from + world.lives.draw(draws);
        if let Some(at) = self.shaken.as_mut().and_then(|shaken| shaken.takes(self.born, from, until)) {
            until = at;
        }
        Machine { from, until, announced: draws.happens(world.notices.recall), on_demand: false }
    }
}
