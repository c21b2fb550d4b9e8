//! Reuse against retirement and collection, searched exhaustively (docs/design/protocol.md, Slots: Reuse, Retirement).
//!
//! One committed slot with one object. Two runs want to reuse it, and each may stop being retained once it has it. Two
//! collectors may retire it when nobody retained uses it, and may then collect its object.
//!
//! I8: what a retained run relies on is there. I2: a run starts the next epoch only once the slot is retired.

mod models;

use models::{Action, Model, Outcome, Packer, Unpacker, explore};

/// A rule that is taken away or turned round.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mutation {
    /// The run looks for `retired` first and writes `uses` afterwards.
    LookFirst,
    /// The run writes no `uses`.
    NoUses,
    /// The collector does not read `uses` again once the slot is retired.
    NoReadAfterRetiring,
    /// The collector deletes the object without a second read of the roots.
    NoSecondRead,
    /// Both of the collector's later reads are left out.
    OneReadOnly,
    /// A retired slot is a root no more, also for the runs that wrote `uses` before.
    RetiredIsGone,
}

use Mutation as M;

struct Reuse {
    mutation: Option<Mutation>,
}

const RUNS: usize = 2;
const COLLECTORS: usize = 2;

/// Where a run stands.
const GUARD: u8 = 0;
const WROTE_USES: u8 = 1;
const LOOKED: u8 = 2;
const RELIES: u8 = 3;
const NEXT_EPOCH: u8 = 4;
const LET_GO: u8 = 5;

/// Where a collector stands.
const READ_USES: u8 = 0;
const RETIRE: u8 = 1;
const READ_AGAIN: u8 = 2;
const CONDEMN: u8 = 3;
const READ_LAST: u8 = 4;
const DELETE: u8 = 5;
const OFF: u8 = 6;

#[derive(Clone, Copy)]
struct State {
    runs: [u8; RUNS],
    /// Whether a `uses` record of the run stands.
    uses: [bool; RUNS],
    collectors: [u8; COLLECTORS],
    retired: bool,
    object: bool,
}

impl State {
    fn pack(&self) -> u128 {
        let mut p = Packer::default();
        for i in 0..RUNS {
            p.put(self.runs[i], 3);
            p.put(u8::from(self.uses[i]), 1);
        }
        for at in self.collectors {
            p.put(at, 3);
        }
        p.put(u8::from(self.retired), 1);
        p.put(u8::from(self.object), 1);
        p.bits()
    }

    fn unpack(bits: u128) -> Self {
        let mut u = Unpacker(bits);
        let (mut runs, mut uses) = ([0; RUNS], [false; RUNS]);
        for i in 0..RUNS {
            runs[i] = u.take(3);
            uses[i] = u.take(1) == 1;
        }
        let collectors = [(); COLLECTORS].map(|()| u.take(3));
        Self { runs, uses, collectors, retired: u.take(1) == 1, object: u.take(1) == 1 }
    }

    /// Returns whether a retained run uses the slot.
    fn used(&self) -> bool {
        (0..RUNS).any(|i| self.uses[i] && self.runs[i] != LET_GO)
    }
}

impl Reuse {
    fn has(&self, mutation: Mutation) -> bool {
        self.mutation == Some(mutation)
    }

    fn run(&self, i: usize, s: &State, step: &mut dyn FnMut(Action, u128)) {
        let mut t = *s;
        let decided = if s.retired { NEXT_EPOCH } else { RELIES };
        let what = match s.runs[i] {
            GUARD if self.has(M::LookFirst) => {
                t.runs[i] = if s.retired { NEXT_EPOCH } else { LOOKED };
                "run looks for retired"
            }
            GUARD => {
                t.uses[i] = !self.has(M::NoUses);
                t.runs[i] = WROTE_USES;
                "run writes uses"
            }
            WROTE_USES => {
                t.runs[i] = decided;
                "run looks for retired"
            }
            LOOKED => {
                t.uses[i] = true;
                t.runs[i] = RELIES;
                "run writes uses"
            }
            RELIES => {
                t.runs[i] = LET_GO;
                "run is no longer retained"
            }
            _ => return,
        };
        step((what, i as u8), t.pack());
    }

    fn collector(&self, k: usize, s: &State, step: &mut dyn FnMut(Action, u128)) {
        let mut t = *s;
        // A retired slot stays a root for the runs that use it; one that stands is a root anyway.
        let rooted = !s.retired || (s.used() && !self.has(M::RetiredIsGone));
        let unless_rooted = |next| if rooted { OFF } else { next };
        let (next, what) = match s.collectors[k] {
            READ_USES => (if s.used() { OFF } else { RETIRE }, "collector reads uses"),
            RETIRE => {
                t.retired = true;
                let next =
                    if self.has(M::NoReadAfterRetiring) || self.has(M::OneReadOnly) { CONDEMN } else { READ_AGAIN };
                (next, "collector retires")
            }
            READ_AGAIN => (unless_rooted(CONDEMN), "collector reads uses again"),
            CONDEMN => {
                let next = if self.has(M::NoSecondRead) || self.has(M::OneReadOnly) { DELETE } else { READ_LAST };
                (next, "collector condemns")
            }
            READ_LAST => (unless_rooted(DELETE), "collector reads the roots again"),
            DELETE => {
                t.object = false;
                (OFF, "collector deletes")
            }
            // The next collection, while there is still something to collect.
            _ if s.object => (READ_USES, "collector begins again"),
            _ => return,
        };
        t.collectors[k] = next;
        step((what, k as u8), t.pack());
    }
}

impl Model for Reuse {
    fn initial(&self) -> u128 {
        State {
            runs: [GUARD; RUNS],
            uses: [false; RUNS],
            collectors: [READ_USES; COLLECTORS],
            retired: false,
            object: true,
        }
        .pack()
    }

    fn successors(&self, state: u128, step: &mut dyn FnMut(Action, u128)) {
        let s = State::unpack(state);
        for i in 0..RUNS {
            self.run(i, &s, step);
        }
        for k in 0..COLLECTORS {
            self.collector(k, &s, step);
        }
    }

    fn violation(&self, state: u128) -> Option<String> {
        let s = State::unpack(state);
        for i in 0..RUNS {
            if s.runs[i] == RELIES && !s.object {
                return Some(format!("I8: run {i} relies on an object that was collected"));
            }
            if s.runs[i] == NEXT_EPOCH && !s.retired {
                return Some(format!("I2: run {i} starts an epoch beside a commit that stands"));
            }
        }
        None
    }
}

fn search(mutation: Option<Mutation>) -> Outcome {
    explore(&Reuse { mutation })
}

fn collects_what_is_relied_on(mutation: Mutation) {
    let (what, trace) = search(Some(mutation)).violated();
    assert!(what.starts_with("I8"), "{what}: {trace:?}");
}

#[test]
fn what_a_retained_run_reuses_is_never_collected() {
    assert_eq!(search(None).holds(), 1241);
}

#[test]
fn looking_for_retired_before_writing_uses_reuses_what_is_collected() {
    collects_what_is_relied_on(M::LookFirst);
}

#[test]
fn a_reuse_that_writes_no_uses_is_collected() {
    collects_what_is_relied_on(M::NoUses);
}

#[test]
fn a_retired_slot_stays_a_root_for_those_who_use_it() {
    collects_what_is_relied_on(M::RetiredIsGone);
}

#[test]
fn uses_are_read_again_once_the_slot_is_retired() {
    // One of the two later reads is enough for reuse: the other is the collection's own second read of all roots.
    collects_what_is_relied_on(M::OneReadOnly);
    assert_eq!(search(Some(M::NoReadAfterRetiring)).holds(), 1084);
    assert_eq!(search(Some(M::NoSecondRead)).holds(), 1003);
}
