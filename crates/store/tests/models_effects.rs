//! Publications of several runs on one target, searched exhaustively (docs/design/protocol.md, Effects; 0015-publications.md).
//!
//! Three runs in their order publish to one path. The first two may have a second process each, which takes over from one
//! that died; any process may die at any point. A collector gives the oldest run up and deletes what it alone needs.
//!
//! I3: an artifact replaces none of a newer run. I6: what is recorded as done is at the target, or something newer is. I8: a
//! process that publishes finds its bytes.

mod models;

use models::{Action, Model, Outcome, Packer, Unpacker, explore};

/// A rule that is taken away or turned round.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mutation {
    /// The target is changed without its lock; who changed it looks again, and goes on until the newest is there.
    PutThenLook,
    /// The newest is looked for before the lock is taken.
    LookFirst,
    /// The lock is let go before the target is changed.
    LetGoFirst,
    /// The effect is recorded as begun only when it is done.
    BeginLate,
    /// The effect is recorded as done before the target is changed.
    DoneFirst,
    /// A newer effect that was only begun counts as if it were done.
    TrustBegun,
    /// An own effect is put although a newer one was begun.
    PutOwn,
    /// Whether the target holds it already is asked before the lock is taken.
    CompareFirst,
    /// The mark of the collector is looked for first, and the effect recorded as begun afterwards.
    MarkFirst,
    /// The collector does not ask for open effects once it has marked the run.
    NoSecondLook,
}

use Mutation as M;

struct Effects {
    mutation: Option<Mutation>,
}

const RUNS: usize = 3;
/// The run of each process.
const DOERS: [u8; 5] = [0, 0, 1, 1, 2];
/// What the artifact of each run holds: the newest run makes once more what the oldest one made.
const CONTENT: [u8; RUNS] = [0, 1, 0];
/// How many processes may die.
const DEATHS: u8 = 3;

/// Where a process stands.
const IDLE: u8 = 0;
const RECORDED: u8 = 1;
/// What it carries is made beside the target; it may take the lock.
const MADE: u8 = 2;
const LOCKED: u8 = 3;
const LOOKED: u8 = 4;
const AFTER_PUT: u8 = 5;
const TELLS: u8 = 6;
const ENDED: u8 = 7;
const DEAD: u8 = 8;
const GIVEN_UP: u8 = 9;

/// Where the collector stands.
const WATCHES: u8 = 0;
const MARKED: u8 = 1;
const DELETES: u8 = 2;
const OFF: u8 = 3;

const NOBODY: u8 = 7;

#[derive(Clone, Copy)]
struct State {
    at: [u8; DOERS.len()],
    /// The run whose artifact the process would put.
    carries: [u8; DOERS.len()],
    /// Whether it has found the target as it should be, before it took the lock.
    same: [bool; DOERS.len()],
    begun: [bool; RUNS],
    done: [bool; RUNS],
    lock: u8,
    /// The run whose artifact is at the target, plus one.
    target: u8,
    /// The highest that ever was.
    highest: u8,
    deaths: u8,
    collector: u8,
    /// Whether the oldest run was given up, and whether its bytes are there.
    mark: bool,
    bytes: bool,
}

impl State {
    fn pack(&self) -> u128 {
        let mut p = Packer::default();
        for i in 0..DOERS.len() {
            p.put(self.at[i], 4);
            p.put(self.carries[i], 2);
            p.put(u8::from(self.same[i]), 1);
        }
        for i in 0..RUNS {
            p.put(u8::from(self.begun[i]), 1);
            p.put(u8::from(self.done[i]), 1);
        }
        for (value, bits) in
            [(self.lock, 3), (self.target, 2), (self.highest, 2), (self.deaths, 2), (self.collector, 2)]
        {
            p.put(value, bits);
        }
        p.put(u8::from(self.mark), 1);
        p.put(u8::from(self.bytes), 1);
        p.bits()
    }

    fn unpack(bits: u128) -> Self {
        let mut u = Unpacker(bits);
        let (mut at, mut carries, mut same) = ([0; DOERS.len()], [0; DOERS.len()], [false; DOERS.len()]);
        for i in 0..DOERS.len() {
            (at[i], carries[i], same[i]) = (u.take(4), u.take(2), u.take(1) == 1);
        }
        let (mut begun, mut done) = ([false; RUNS], [false; RUNS]);
        for i in 0..RUNS {
            (begun[i], done[i]) = (u.take(1) == 1, u.take(1) == 1);
        }
        Self {
            at,
            carries,
            same,
            begun,
            done,
            lock: u.take(3),
            target: u.take(2),
            highest: u.take(2),
            deaths: u.take(2),
            collector: u.take(2),
            mark: u.take(1) == 1,
            bytes: u.take(1) == 1,
        }
    }

    fn newest(&self) -> Option<u8> {
        (0..RUNS).rev().find(|i| self.begun[*i]).map(|i| i as u8)
    }

    fn put(&mut self, run: u8) {
        self.target = run + 1;
        self.highest = self.highest.max(self.target);
    }

    /// Returns whether the target holds what this run's artifact holds.
    fn holds(&self, run: u8) -> bool {
        self.target > 0 && CONTENT[usize::from(self.target - 1)] == CONTENT[usize::from(run)]
    }

    fn alive(&self, d: usize) -> bool {
        !matches!(self.at[d], IDLE | ENDED | DEAD | GIVEN_UP)
    }
}

impl Effects {
    fn has(&self, mutation: Mutation) -> bool {
        self.mutation == Some(mutation)
    }

    /// The process records that the effect is begun, and looks whether its run was given up meanwhile.
    fn begin(&self, s: &State, d: usize, t: &mut State) -> &'static str {
        let run = usize::from(DOERS[d]);
        let given_up = run == 0 && s.mark;
        match (s.at[d], self.has(M::MarkFirst)) {
            (IDLE, _) if s.done[run] => {
                t.at[d] = ENDED;
                "finds its effect done"
            }
            (IDLE, false) => {
                t.begun[run] = !self.has(M::BeginLate) || t.begun[run];
                t.at[d] = RECORDED;
                "records that it begins"
            }
            (IDLE, true) | (_, false) => {
                let next = if self.has(M::MarkFirst) { RECORDED } else { MADE };
                t.at[d] = if given_up { GIVEN_UP } else { next };
                "looks for the mark"
            }
            (_, true) => {
                (t.begun[run], t.at[d]) = (true, MADE);
                "records that it begins"
            }
        }
    }

    fn doer(&self, d: usize, s: &State, step: &mut dyn FnMut(Action, u128)) {
        let (mut t, own, carries) = (*s, DOERS[d], s.carries[d]);
        let what = match s.at[d] {
            IDLE | RECORDED => {
                let what = self.begin(s, d, &mut t);
                t.carries[d] = own;
                what
            }
            MADE if self.has(M::PutThenLook) => {
                t.put(carries);
                t.at[d] = AFTER_PUT;
                "puts what it has made"
            }
            MADE if self.has(M::LookFirst) || (self.has(M::CompareFirst) && !s.same[d] && s.holds(carries)) => {
                t.same[d] = s.holds(carries);
                t.at[d] = if self.has(M::LookFirst) { LOOKED } else { MADE };
                if self.has(M::LookFirst) {
                    self.look(s, d, &mut t);
                }
                "looks before it has the lock"
            }
            MADE if s.lock == NOBODY => {
                (t.lock, t.at[d]) = (d as u8, LOCKED);
                "takes the lock"
            }
            LOCKED => {
                self.look(s, d, &mut t);
                "looks for the newest"
            }
            LOOKED if self.has(M::LookFirst) && s.lock != d as u8 => {
                if s.lock != NOBODY {
                    return;
                }
                t.lock = d as u8;
                "takes the lock"
            }
            LOOKED if self.has(M::LetGoFirst) && s.lock == d as u8 => {
                t.lock = NOBODY;
                "lets the lock go"
            }
            LOOKED if self.has(M::DoneFirst) && !s.done[usize::from(own)] => {
                t.done[usize::from(own)] = true;
                "records that it is done"
            }
            LOOKED => {
                if !(self.has(M::CompareFirst) && s.same[d]) {
                    t.put(carries);
                }
                t.at[d] = TELLS;
                if s.lock == d as u8 {
                    t.lock = NOBODY;
                }
                "puts it there and lets the lock go"
            }
            AFTER_PUT => {
                match s.newest() {
                    Some(newest) if newest != carries => (t.carries[d], t.at[d]) = (newest, MADE),
                    _ => t.at[d] = TELLS,
                }
                "looks again"
            }
            TELLS => {
                t.begun[usize::from(own)] = true;
                t.done[usize::from(own)] = true;
                t.at[d] = ENDED;
                "records that it is done"
            }
            _ => return,
        };
        step((what, d as u8), t.pack());
    }

    /// The lock is held, unless that rule was taken away.
    fn look(&self, s: &State, d: usize, t: &mut State) {
        let newest = s.newest().unwrap_or(s.carries[d]);
        let own = DOERS[d];
        let settled = s.done[usize::from(newest)] || self.has(M::TrustBegun);
        let release = |t: &mut State, next| {
            t.at[d] = next;
            if t.lock == d as u8 {
                t.lock = NOBODY;
            }
        };
        if newest == s.carries[d] || self.has(M::PutOwn) {
            t.at[d] = LOOKED;
        } else if newest != own && settled {
            release(t, TELLS);
        } else {
            (t.carries[d], t.same[d]) = (newest, false);
            release(t, MADE);
        }
    }

    fn collector(&self, s: &State, step: &mut dyn FnMut(Action, u128)) {
        let mut t = *s;
        let open = s.begun[0] && !s.done[0];
        let (next, what) = match s.collector {
            WATCHES => {
                t.mark = true;
                (if self.has(M::NoSecondLook) { DELETES } else { MARKED }, "collector gives the oldest run up")
            }
            MARKED => (if open { OFF } else { DELETES }, "collector looks for open effects"),
            DELETES => {
                t.bytes = false;
                (OFF, "collector deletes")
            }
            _ => return,
        };
        t.collector = next;
        step((what, 0), t.pack());
    }
}

impl Model for Effects {
    fn initial(&self) -> u128 {
        State {
            at: [IDLE; DOERS.len()],
            carries: DOERS,
            same: [false; DOERS.len()],
            begun: [false; RUNS],
            done: [false; RUNS],
            lock: NOBODY,
            target: 0,
            highest: 0,
            deaths: 0,
            collector: WATCHES,
            mark: false,
            bytes: true,
        }
        .pack()
    }

    fn successors(&self, state: u128, step: &mut dyn FnMut(Action, u128)) {
        let s = State::unpack(state);
        for d in 0..DOERS.len() {
            self.doer(d, &s, step);
            if s.alive(d) && s.deaths < DEATHS {
                let mut t = s;
                (t.at[d], t.deaths) = (DEAD, s.deaths + 1);
                if t.lock == d as u8 {
                    // The operating system lets it go.
                    t.lock = NOBODY;
                }
                step(("dies", d as u8), t.pack());
            }
        }
        self.collector(&s, step);
    }

    fn violation(&self, state: u128) -> Option<String> {
        let s = State::unpack(state);
        if s.target < s.highest {
            return Some(format!("I3: run {} replaced what run {} had published", s.target - 1, s.highest - 1));
        }
        for run in 0..RUNS {
            if s.done[run] && !(run..RUNS).any(|newer| s.holds(newer as u8)) {
                return Some(format!("I6: the effect of run {run} is done and not at the target"));
            }
        }
        (0..DOERS.len())
            .find(|d| matches!(s.at[*d], MADE | LOCKED | LOOKED) && s.carries[*d] == 0 && DOERS[*d] == 0 && !s.bytes)
            .filter(|_| !s.done[0])
            .map(|d| format!("I8: process {d} is to publish bytes that were collected"))
    }
}

fn search(mutation: Option<Mutation>) -> Outcome {
    explore(&Effects { mutation })
}

/// Every rule that is taken away must break one of the invariants, and this one.
fn breaks(mutation: Mutation, invariant: &str) {
    let (what, trace) = search(Some(mutation)).violated();
    assert!(what.starts_with(invariant), "{what}: {trace:?}");
}

#[test]
fn a_target_only_ever_gets_newer_and_what_is_done_is_there() {
    assert_eq!(search(None).holds(), 1_339_401);
}

#[test]
fn looking_again_afterwards_is_no_substitute_for_the_lock() {
    breaks(M::PutThenLook, "I3");
}

#[test]
fn the_newest_is_looked_for_under_the_lock() {
    breaks(M::LookFirst, "I3");
}

#[test]
fn the_target_is_changed_under_the_lock() {
    breaks(M::LetGoFirst, "I3");
}

#[test]
fn an_effect_is_recorded_before_it_is_done() {
    breaks(M::BeginLate, "I8");
}

#[test]
fn an_effect_is_recorded_as_done_afterwards() {
    breaks(M::DoneFirst, "I6");
}

#[test]
fn a_newer_effect_that_was_only_begun_is_finished_and_not_believed() {
    breaks(M::TrustBegun, "I6");
}

#[test]
fn an_older_artifact_is_not_put_once_a_newer_one_was_begun() {
    breaks(M::PutOwn, "I3");
}

#[test]
fn the_target_is_compared_under_the_lock() {
    breaks(M::CompareFirst, "I6");
}

#[test]
fn an_effect_is_recorded_before_the_mark_is_looked_for() {
    breaks(M::MarkFirst, "I8");
}

#[test]
fn a_collector_asks_for_open_effects_once_it_has_marked_the_run() {
    breaks(M::NoSecondLook, "I8");
}
