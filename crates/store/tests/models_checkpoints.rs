//! The chain of checkpoints of one key, searched exhaustively (docs/design/protocol.md, One attempt: Restore).
//!
//! Three attempts, each of which may be suspected wrongly and goes on then; each may create two checkpoints, whose
//! progress is that of the one restored and one more each.
//!
//! I4: what an attempt restores is at least every progress that an earlier attempt was told is `durable`. That includes
//! I5 for checkpoints: an answer `durable` after the fence would be such a progress.

mod models;

use models::{Action, Model, Outcome, Packer, Unpacker, explore};

/// A rule that is taken away or turned round.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mutation {
    /// The attempt looks at its own slot before it creates the manifest, not afterwards.
    CheckFirst,
    /// The attempt says `durable` without a look at its own slot.
    AnswerBlindly,
    /// The successor lists checkpoints before it closes its predecessor.
    ListFirst,
    /// The successor does not record what it restored as a checkpoint of its own.
    NoBase,
    /// The successor lists its direct predecessor's checkpoints only.
    OnlyPredecessor,
    /// The storage may lose one checkpoint, once.
    StorageLoses,
}

use Mutation as M;

struct Checkpoints {
    mutations: u32,
}

const ATTEMPTS: usize = 3;
const EACH: u8 = 2;

/// Where an attempt stands.
const IDLE: u8 = 0;
const READY: u8 = 1;
const RUN: u8 = 2;
const CHECKED: u8 = 3;
const MADE: u8 = 4;
const DEAD: u8 = 5;
const LISTED: u8 = 6;
const CLOSED_PREVIOUS: u8 = 7;
const BASED: u8 = 8;

/// Nobody restored less than was acknowledged.
const NOBODY: u8 = 3;

#[derive(Clone, Copy, Default)]
struct Attempt {
    at: u8,
    /// The progress that it restored.
    base: u8,
    seq: u8,
    acknowledged: u8,
    /// What it listed too early (only with [`Mutation::ListFirst`]).
    listed: u8,
    /// The checkpoints that exist: bit `seq`; 0 is the base itself.
    made: u8,
    closed: bool,
}

#[derive(Clone, Copy)]
struct State {
    attempts: [Attempt; ATTEMPTS],
    /// The attempt that restored less than was acknowledged.
    regressed: u8,
    /// The highest progress that the storage lost.
    lost: u8,
}

impl State {
    fn pack(&self) -> u128 {
        let mut p = Packer::default();
        for a in self.attempts {
            p.put(a.at, 4);
            p.put(a.base, 3);
            p.put(a.seq, 2);
            p.put(a.acknowledged, 3);
            p.put(a.listed, 3);
            p.put(a.made, 3);
            p.put(u8::from(a.closed), 1);
        }
        p.put(self.regressed, 2);
        p.put(self.lost, 3);
        p.bits()
    }

    fn unpack(bits: u128) -> Self {
        let mut u = Unpacker(bits);
        let attempts = [(); ATTEMPTS].map(|()| Attempt {
            at: u.take(4),
            base: u.take(3),
            seq: u.take(2),
            acknowledged: u.take(3),
            listed: u.take(3),
            made: u.take(3),
            closed: u.take(1) == 1,
        });
        Self { attempts, regressed: u.take(2), lost: u.take(3) }
    }

    /// Returns the progress of the highest (epoch, seq) among these attempts.
    fn newest(&self, listed: std::ops::Range<usize>) -> u8 {
        let last = self.attempts[listed].iter().rev().find(|a| a.made != 0);
        last.map_or(0, |a| a.base + 7 - (a.made.leading_zeros() as u8))
    }
}

impl Checkpoints {
    fn with(mutations: &[Mutation]) -> Self {
        Self { mutations: mutations.iter().fold(0, |all, m| all | 1 << *m as u32) }
    }

    fn has(&self, mutation: Mutation) -> bool {
        self.mutations & (1 << mutation as u32) != 0
    }
}

impl Model for Checkpoints {
    fn initial(&self) -> u128 {
        let mut attempts = [Attempt::default(); ATTEMPTS];
        attempts[0].at = READY;
        State { attempts, regressed: NOBODY, lost: 0 }.pack()
    }

    fn successors(&self, state: u128, step: &mut dyn FnMut(Action, u128)) {
        let s = State::unpack(state);
        for i in 0..ATTEMPTS {
            let listed = if self.has(M::OnlyPredecessor) { i.saturating_sub(1)..i } else { 0..i };
            let mut t = s;
            let a = &mut t.attempts[i];
            let what = match a.at {
                READY | RUN if a.seq < EACH => {
                    if self.has(M::CheckFirst) {
                        a.at = if a.closed { DEAD } else { CHECKED };
                        "look at the slot"
                    } else {
                        a.at = MADE;
                        a.seq += 1;
                        a.made |= 1 << a.seq;
                        "create a checkpoint"
                    }
                }
                CHECKED => {
                    a.at = RUN;
                    a.seq += 1;
                    a.made |= 1 << a.seq;
                    a.acknowledged = a.base + a.seq;
                    "create a checkpoint and say durable"
                }
                MADE if a.closed && !self.has(M::AnswerBlindly) => {
                    a.at = DEAD;
                    "see the fence"
                }
                MADE => {
                    a.at = RUN;
                    a.acknowledged = a.base + a.seq;
                    "say durable"
                }
                IDLE if !matches!(s.attempts[i - 1].at, IDLE | LISTED | CLOSED_PREVIOUS) => {
                    if self.has(M::ListFirst) {
                        a.at = LISTED;
                        a.listed = s.newest(listed);
                        "list checkpoints"
                    } else {
                        a.at = CLOSED_PREVIOUS;
                        t.attempts[i - 1].closed = true;
                        "close the predecessor"
                    }
                }
                LISTED => {
                    a.at = BASED;
                    (a.base, a.listed) = (a.listed, 0);
                    t.attempts[i - 1].closed = true;
                    "close the predecessor"
                }
                CLOSED_PREVIOUS => {
                    a.at = BASED;
                    a.base = s.newest(listed);
                    "list checkpoints"
                }
                BASED => {
                    a.at = RUN;
                    if !self.has(M::NoBase) {
                        a.made |= 1;
                    }
                    let base = a.base;
                    let told = s.attempts[..i].iter().map(|earlier| earlier.acknowledged).max().unwrap_or(0);
                    // I4: it goes back only over a checkpoint that the storage lost, to the one before it.
                    if base < told && (s.lost != told || base + 1 < told) {
                        t.regressed = i as u8;
                    }
                    "restore"
                }
                _ => continue,
            };
            step((what, i as u8), t.pack());
        }
        if self.has(M::StorageLoses) && s.lost == 0 {
            for (i, a) in s.attempts.iter().enumerate() {
                for seq in (0..=EACH).filter(|seq| a.made & (1 << seq) != 0 && a.base + seq > 0) {
                    let mut t = s;
                    t.attempts[i].made &= !(1 << seq);
                    t.lost = a.base + seq;
                    step(("storage loses a checkpoint of", i as u8), t.pack());
                }
            }
        }
    }

    fn violation(&self, state: u128) -> Option<String> {
        let regressed = State::unpack(state).regressed;
        (regressed != NOBODY).then(|| format!("I4: attempt {regressed} restores less than was acknowledged as durable"))
    }
}

fn search(mutations: &[Mutation]) -> Outcome {
    explore(&Checkpoints::with(mutations))
}

fn breaks_the_ratchet(mutation: Mutation) {
    let (what, trace) = search(&[mutation]).violated();
    assert!(what.starts_with("I4"), "{what}: {trace:?}");
}

#[test]
fn restored_progress_is_never_less_than_what_was_called_durable() {
    assert_eq!(search(&[]).holds(), 1006);
}

#[test]
fn a_look_at_the_slot_before_the_manifest_is_no_proof() {
    breaks_the_ratchet(M::CheckFirst);
}

#[test]
fn durable_said_without_a_look_at_the_slot_is_a_lie() {
    breaks_the_ratchet(M::AnswerBlindly);
}

#[test]
fn checkpoints_listed_before_the_predecessor_is_closed_miss_its_last() {
    breaks_the_ratchet(M::ListFirst);
}

#[test]
fn recording_what_was_restored_is_not_needed_because_lists_reach_over_all_epochs() {
    // Harmless: the newest of all earlier epochs is found by the list itself, so attempts need not copy it forward.
    assert_eq!(search(&[M::NoBase]).holds(), 1006);
}

#[test]
fn a_list_of_the_direct_predecessor_alone_misses_what_it_had_not_yet_recorded() {
    breaks_the_ratchet(M::OnlyPredecessor);
}

#[test]
fn a_lost_checkpoint_sets_back_no_further_than_itself() {
    assert_eq!(search(&[M::StorageLoses]).holds(), 6502);
    assert_eq!(search(&[M::StorageLoses, M::NoBase]).holds(), 5226);
}
