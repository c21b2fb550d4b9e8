//! Breadth-first search through every state of a small model, with the shortest counterexample.

use std::fmt::Write as _;

/// A model whose states fit into 128 bits.
pub trait Model {
    /// Returns the state at the start.
    fn initial(&self) -> u128;
    /// Calls `step` with every action possible in `state` and the state after it.
    fn successors(&self, state: u128, step: &mut dyn FnMut(Action, u128));
    /// Returns what is wrong with `state`, if an invariant does not hold.
    fn violation(&self, state: u128) -> Option<String>;
}

/// What an actor does, for the counterexample: a word and the number of the actor.
pub type Action = (&'static str, u8);

/// What a search found.
#[derive(Debug)]
pub enum Outcome {
    /// Every reachable state was seen and all invariants hold in each.
    Holds {
        /// How many states there are.
        states: usize,
    },
    /// A shortest way to a state in which one does not hold.
    Violated {
        /// What is wrong with the last state.
        what: String,
        /// The actions that lead there.
        trace: Vec<String>,
    },
}

impl Outcome {
    /// Returns the number of states.
    ///
    /// # Panics
    /// With the counterexample, if there is one.
    pub fn holds(self) -> usize {
        match self {
            Self::Holds { states } => states,
            Self::Violated { what, trace } => {
                let mut text = format!("{what}, after {} actions:", trace.len());
                for action in trace {
                    let _ = write!(text, "\n  {action}");
                }
                panic!("{text}");
            }
        }
    }

    /// Returns the counterexample: what is wrong, and the actions that lead there.
    ///
    /// # Panics
    /// If there is none.
    pub fn violated(self) -> (String, Vec<String>) {
        match self {
            Self::Holds { states } => panic!("no counterexample in {states} states: the mutation is harmless"),
            Self::Violated { what, trace } => {
                println!("{what}: {}", trace.join(" > "));
                (what, trace)
            }
        }
    }
}

/// Searches every state reachable from the start, or up to the first in which an invariant does not hold.
pub fn explore(model: &impl Model) -> Outcome {
    let mut seen = Seen::new();
    seen.insert(model.initial(), u32::MAX);
    let mut at = 0;
    while at < seen.states.len() {
        let state = seen.states[at];
        if let Some(what) = model.violation(state) {
            return Outcome::Violated { what, trace: seen.trace(model, at) };
        }
        let from = u32::try_from(at).expect("a model of fewer than 2^32 states");
        model.successors(state, &mut |_, next| seen.insert(next, from));
        at += 1;
    }
    Outcome::Holds { states: at }
}

/// The states in the order in which they were found, each with its predecessor, and a hash table over them.
struct Seen {
    states: Vec<u128>,
    parents: Vec<u32>,
    table: Vec<u32>,
}

const FREE: u32 = u32::MAX;

impl Seen {
    fn new() -> Self {
        Self { states: Vec::new(), parents: Vec::new(), table: vec![FREE; 1 << 12] }
    }

    fn place(&self, state: u128) -> usize {
        let mut hash = (state as u64) ^ ((state >> 64) as u64).rotate_left(29);
        hash = (hash ^ (hash >> 32)).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        hash = (hash ^ (hash >> 29)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mask = self.table.len() - 1;
        let mut place = (hash >> 32) as usize & mask;
        while self.table[place] != FREE && self.states[self.table[place] as usize] != state {
            place = (place + 1) & mask;
        }
        place
    }

    fn insert(&mut self, state: u128, parent: u32) {
        let place = self.place(state);
        if self.table[place] != FREE {
            return;
        }
        self.table[place] = self.states.len() as u32;
        self.states.push(state);
        self.parents.push(parent);
        if self.states.len() * 2 > self.table.len() {
            self.table = vec![FREE; self.table.len() * 2];
            for index in 0..self.states.len() {
                let place = self.place(self.states[index]);
                self.table[place] = index as u32;
            }
        }
    }

    fn trace(&self, model: &impl Model, mut at: usize) -> Vec<String> {
        let mut trace = Vec::new();
        while let Some(&from) = self.states.get(self.parents[at] as usize) {
            let mut name = None;
            model.successors(from, &mut |(what, actor), next| {
                if next == self.states[at] && name.is_none() {
                    name = Some(format!("{what} {actor}"));
                }
            });
            trace.push(name.expect("a state follows from its predecessor"));
            at = self.parents[at] as usize;
        }
        trace.reverse();
        trace
    }
}

/// Packs fields of known width into 128 bits, the first lowest.
#[derive(Default)]
pub struct Packer {
    bits: u128,
    at: u32,
}

impl Packer {
    /// Adds a field of `width` bits.
    pub fn put(&mut self, value: u8, width: u32) {
        debug_assert!(u32::from(value) < 1 << width && self.at + width <= 128);
        self.bits |= u128::from(value) << self.at;
        self.at += width;
    }

    /// Returns all fields.
    pub fn bits(&self) -> u128 {
        self.bits
    }
}

/// Takes the fields out again, in the same order.
pub struct Unpacker(pub u128);

impl Unpacker {
    /// Returns the next field, `width` bits wide.
    pub fn take(&mut self, width: u32) -> u8 {
        let value = (self.0 & ((1 << width) - 1)) as u8;
        self.0 >>= width;
        value
    }
}
