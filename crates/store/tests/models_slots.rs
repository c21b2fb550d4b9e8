//! Slots, pins and collection, searched exhaustively (docs/design/protocol.md, Slots).
//!
//! Three attempts: two of one key, the second of which may suspect the first at any time, and one of another key. One or
//! two collectors, whose suspicion may be wrong too. A commit's request may land at any later time, or never. One
//! content, whose physical copies are `g` (old and unreferenced at the start) and one fresh upload of each attempt.
//!
//! I1: a commit's object is there, unless the storage itself lost it. I2: at most one committed slot of a key is not
//! damaged. Every rule that is taken away has a test: with a counterexample, or with the reason why there is none.

mod models;

use models::{Action, Model, Outcome, Packer, Unpacker, explore};

/// A rule that is taken away or turned round.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mutation {
    /// The successor starts without filling its predecessor's slot.
    NoFence,
    /// An attempt looks whether an object exists and pins it afterwards.
    ReadFirst,
    /// An attempt pins nothing.
    NoPin,
    /// An attempt relies on an object although it is condemned.
    NoCondemnedCheck,
    /// Pins time out while their slot is open.
    PinsExpire,
    /// The collector never closes a slot.
    NoCollectorClose,
    /// The collector reads the commits before the pins.
    CommitsFirst,
    /// The collector does not read the roots again before it deletes.
    NoSecondRead,
    /// An object that was spared may be relied on anew.
    Unspare,
    /// A list of condemned objects names only the new ones, so that the newest hides those before it.
    OnlyTheNewCondemned,
    /// Two uploads of one content share a name.
    SameName,
    /// Pins hold also after their slot was committed.
    PinsOutliveCommit,
    /// The next epoch starts over lost bytes without a mark.
    NoDamageMark,
    /// A reader marks a commit damaged although its bytes are there.
    MarkWrongly,
}

use Mutation as M;

/// How much of the world takes part.
#[derive(Debug, Clone)]
struct Slots {
    mutations: u32,
    collectors: usize,
    /// Whether the storage may lose one committed object, once.
    storage_loses: bool,
}

const ATTEMPTS: usize = 3;
const COLLECTORS: usize = 2;

/// Copies of the content; sets of them are bits.
const G: u8 = 0;
const fn own(attempt: usize) -> u8 {
    attempt as u8 + 1
}
const fn one(copy: u8) -> u8 {
    1 << copy
}

/// `None` as a copy, in packed fields.
const NOTHING: u8 = 7;

/// Ends: a committed copy is its number.
const CLOSED: u8 = 6;

/// Where an attempt stands.
const START: u8 = 0;
const PIN: u8 = 1;
const LOOK: u8 = 2;
const PIN_AFTER: u8 = 3;
const UPLOAD: u8 = 4;
const SEND: u8 = 5;
const END: u8 = 6;

/// Where a collector stands.
const LIST_1: u8 = 0;
const LIST_2: u8 = 1;
const CONDEMN: u8 = 2;
const RELIST_1: u8 = 3;
const RELIST_2: u8 = 4;
const DELETE: u8 = 5;
const OFF: u8 = 6;

#[derive(Clone, Copy)]
struct State {
    ends: [u8; ATTEMPTS],
    started: u8,
    pins: [u8; ATTEMPTS],
    objects: u8,
    condemned: u8,
    in_flight: [u8; ATTEMPTS],
    /// (where, chosen copy)
    attempts: [(u8, u8); ATTEMPTS],
    /// (where, condemned set, roots read so far)
    collectors: [(u8, u8, u8); COLLECTORS],
    damaged: u8,
    lost: u8,
}

impl State {
    fn pack(&self) -> u128 {
        let mut p = Packer::default();
        for i in 0..ATTEMPTS {
            p.put(self.ends[i], 3);
            p.put(self.pins[i], 4);
            p.put(self.in_flight[i], 3);
            p.put(self.attempts[i].0, 3);
            p.put(self.attempts[i].1, 3);
        }
        for (at, condemned, roots) in self.collectors {
            p.put(at, 3);
            p.put(condemned, 4);
            p.put(roots, 4);
        }
        p.put(self.started, 3);
        p.put(self.objects, 4);
        p.put(self.condemned, 4);
        p.put(self.damaged, 3);
        p.put(self.lost, 4);
        p.bits()
    }

    fn unpack(bits: u128) -> Self {
        let mut u = Unpacker(bits);
        let (mut ends, mut pins, mut in_flight, mut attempts) = ([0; 3], [0; 3], [0; 3], [(0, 0); 3]);
        for i in 0..ATTEMPTS {
            ends[i] = u.take(3);
            pins[i] = u.take(4);
            in_flight[i] = u.take(3);
            attempts[i] = (u.take(3), u.take(3));
        }
        let collectors = [(); COLLECTORS].map(|()| (u.take(3), u.take(4), u.take(4)));
        Self {
            ends,
            pins,
            in_flight,
            attempts,
            collectors,
            started: u.take(3),
            objects: u.take(4),
            condemned: u.take(4),
            damaged: u.take(3),
            lost: u.take(4),
        }
    }

    fn committed(&self, i: usize) -> Option<u8> {
        (self.ends[i] != NOTHING && self.ends[i] != CLOSED).then_some(self.ends[i])
    }
}

impl Slots {
    fn protocol() -> Self {
        Self { mutations: 0, collectors: 2, storage_loses: false }
    }

    fn with(mut self, mutation: Mutation) -> Self {
        self.mutations |= 1 << mutation as u32;
        self
    }

    fn has(&self, mutation: Mutation) -> bool {
        self.mutations & (1 << mutation as u32) != 0
    }

    fn pin_roots(&self, s: &State) -> u8 {
        if self.has(M::PinsExpire) {
            return 0;
        }
        (0..ATTEMPTS)
            .filter(|&i| s.ends[i] == NOTHING || (s.ends[i] != CLOSED && self.has(M::PinsOutliveCommit)))
            .fold(0, |roots, i| roots | s.pins[i])
    }

    fn commit_roots(s: &State) -> u8 {
        (0..ATTEMPTS).filter_map(|i| s.committed(i)).fold(0, |roots, copy| roots | one(copy))
    }

    /// Pins before commits: what moves from one to the other in between is seen.
    fn first_roots(&self, s: &State) -> u8 {
        if self.has(M::CommitsFirst) { Self::commit_roots(s) } else { self.pin_roots(s) }
    }

    fn second_roots(&self, s: &State) -> u8 {
        if self.has(M::CommitsFirst) { self.pin_roots(s) } else { Self::commit_roots(s) }
    }

    fn attempt(&self, i: usize, s: &State, step: &mut dyn FnMut(Action, u128)) {
        let who = i as u8;
        let (at, copy) = s.attempts[i];
        let mut t = *s;
        let relied_on = |chosen: u8| if chosen == G { (SEND, chosen) } else { (UPLOAD, chosen) };
        match at {
            START if i == 1 => {
                // The successor may suspect the first attempt at any time after its start, wrongly too.
                if s.started & 1 == 0 {
                    return;
                }
                if !self.has(M::NoFence) && t.ends[0] == NOTHING {
                    t.ends[0] = CLOSED;
                }
                let lost = self.storage_loses && t.committed(0).is_some_and(|copy| t.objects & one(copy) == 0);
                let wrong = self.has(M::MarkWrongly) && t.committed(0).is_some();
                if (lost && !self.has(M::NoDamageMark)) || wrong {
                    // A definite 404: the mark comes first, and allows the next epoch.
                    t.damaged |= 1;
                }
                if self.has(M::NoFence) || t.ends[0] == CLOSED || lost || wrong {
                    t.started |= 2;
                    t.attempts[1] = (PIN, NOTHING);
                } else {
                    t.attempts[1] = (END, NOTHING);
                }
                step(("close 0 and start", who), t.pack());
            }
            START => {
                t.started |= 1 << i;
                t.attempts[i] = (PIN, NOTHING);
                step(("start", who), t.pack());
            }
            PIN if self.has(M::ReadFirst) => {
                let there = s.objects & !s.condemned & one(G) != 0;
                t.attempts[i] = (PIN_AFTER, if there { G } else { own(i) });
                step(("look", who), t.pack());
            }
            PIN => {
                if !self.has(M::NoPin) {
                    t.pins[i] |= one(G) | one(own(i));
                }
                t.attempts[i] = (LOOK, NOTHING);
                step(("pin", who), t.pack());
            }
            PIN_AFTER => {
                t.pins[i] |= one(copy);
                t.attempts[i] = relied_on(copy);
                step(("pin after the look", who), t.pack());
            }
            LOOK => {
                let fit = s.objects & one(G) != 0 && (self.has(M::NoCondemnedCheck) || s.condemned & one(G) == 0);
                t.attempts[i] = relied_on(if fit { G } else { own(i) });
                step(("look", who), t.pack());
            }
            UPLOAD => {
                let name = if self.has(M::SameName) { G } else { copy };
                t.objects |= one(name);
                t.attempts[i] = (SEND, name);
                step(("upload", who), t.pack());
            }
            SEND => {
                t.in_flight[i] = copy;
                t.attempts[i] = (END, copy);
                step(("send commit", who), t.pack());
            }
            _ => {}
        }
        if s.in_flight[i] != NOTHING {
            let mut t = *s;
            t.in_flight[i] = NOTHING;
            let lost = t;
            if t.ends[i] == NOTHING {
                t.ends[i] = s.in_flight[i];
            }
            step(("commit lands", who), t.pack());
            step(("commit is lost", who), lost.pack());
        }
    }

    fn collector(&self, k: usize, s: &State, step: &mut dyn FnMut(Action, u128)) {
        let (at, set, roots) = s.collectors[k];
        let mut t = *s;
        let what = match at {
            LIST_1 => {
                t.collectors[k] = (LIST_2, self.first_roots(s), 0);
                "collector lists the first roots"
            }
            LIST_2 => {
                t.collectors[k] = (CONDEMN, s.objects & !set & !self.second_roots(s), 0);
                "collector lists the second roots"
            }
            CONDEMN => {
                t.condemned = if self.has(M::OnlyTheNewCondemned) { set } else { s.condemned | set };
                t.collectors[k] = (if self.has(M::NoSecondRead) { DELETE } else { RELIST_1 }, set, 0);
                "collector condemns"
            }
            RELIST_1 => {
                t.collectors[k] = (RELIST_2, set, self.first_roots(s));
                "collector lists the first roots again"
            }
            RELIST_2 => {
                let rooted = roots | self.second_roots(s);
                if self.has(M::Unspare) {
                    t.condemned &= !(set & rooted);
                }
                t.collectors[k] = (DELETE, set & !rooted, 0);
                "collector lists the second roots again"
            }
            DELETE if set != 0 => {
                let first = set & set.wrapping_neg();
                t.objects &= !first;
                t.collectors[k] = (DELETE, set & !first, 0);
                "collector deletes"
            }
            DELETE => {
                t.collectors[k] = (OFF, 0, 0);
                "collector ends"
            }
            _ => return,
        };
        step((what, k as u8), t.pack());
    }
}

impl Model for Slots {
    fn initial(&self) -> u128 {
        let mut state = State {
            ends: [NOTHING; ATTEMPTS],
            started: 0,
            pins: [0; ATTEMPTS],
            objects: one(G),
            condemned: 0,
            in_flight: [NOTHING; ATTEMPTS],
            attempts: [(START, NOTHING); ATTEMPTS],
            collectors: [(LIST_1, 0, 0); COLLECTORS],
            damaged: 0,
            lost: 0,
        };
        for idle in &mut state.collectors[self.collectors..] {
            *idle = (OFF, 0, 0);
        }
        state.pack()
    }

    fn successors(&self, state: u128, step: &mut dyn FnMut(Action, u128)) {
        let s = State::unpack(state);
        for i in 0..ATTEMPTS {
            self.attempt(i, &s, step);
        }
        for i in 0..ATTEMPTS {
            if s.started & (1 << i) != 0 && s.ends[i] == NOTHING && !self.has(M::NoCollectorClose) {
                let mut t = s;
                t.ends[i] = CLOSED;
                step(("collector closes attempt", i as u8), t.pack());
            }
        }
        for k in 0..COLLECTORS {
            self.collector(k, &s, step);
        }
        if self.storage_loses && s.lost == 0 {
            for copy in (0..=own(ATTEMPTS - 1)).filter(|&copy| Self::commit_roots(&s) & s.objects & one(copy) != 0) {
                let mut t = s;
                t.objects &= !one(copy);
                t.lost |= one(copy);
                step(("storage loses copy", copy), t.pack());
            }
        }
    }

    fn violation(&self, state: u128) -> Option<String> {
        let s = State::unpack(state);
        for i in 0..ATTEMPTS {
            if let Some(copy) = s.committed(i)
                && (s.objects | s.lost) & one(copy) == 0
            {
                return Some(format!("I1: commit {i} names missing copy {copy}"));
            }
        }
        let stands = |i: usize| s.committed(i).is_some() && s.damaged & (1 << i) == 0;
        (stands(0) && stands(1)).then(|| "I2: two commits of one key stand".to_owned())
    }
}

fn search(mutation: Mutation) -> Outcome {
    explore(&Slots::protocol().with(mutation))
}

/// Asserts that taking the rule away breaks this invariant.
fn breaks(mutation: Mutation, invariant: &str) {
    let (what, trace) = search(mutation).violated();
    assert!(what.starts_with(invariant), "{what}: {trace:?}");
}

#[test]
fn the_rules_hold_in_every_state_of_three_attempts_and_two_collectors() {
    assert_eq!(explore(&Slots::protocol()).holds(), 3_294_578);
}

#[test]
fn without_the_fence_two_commits_of_one_key_stand() {
    breaks(M::NoFence, "I2");
}

#[test]
fn an_object_looked_at_before_it_is_pinned_is_collected() {
    breaks(M::ReadFirst, "I1");
}

#[test]
fn an_object_that_is_not_pinned_is_collected() {
    breaks(M::NoPin, "I1");
}

#[test]
fn a_condemned_object_must_not_be_relied_on() {
    breaks(M::NoCondemnedCheck, "I1");
}

#[test]
fn pins_must_not_time_out_while_their_slot_is_open() {
    breaks(M::PinsExpire, "I1");
}

#[test]
fn commits_read_before_pins_miss_what_is_committed_in_between() {
    breaks(M::CommitsFirst, "I1");
}

#[test]
fn deleting_without_a_second_read_deletes_what_was_committed_meanwhile() {
    breaks(M::NoSecondRead, "I1");
}

#[test]
fn an_object_that_was_spared_stays_condemned() {
    // It takes two collectors: the first spares and forgives what the second has already decided to delete.
    breaks(M::Unspare, "I1");
    let alone = Slots { collectors: 1, ..Slots::protocol() };
    explore(&alone.with(M::Unspare)).holds();
}

#[test]
fn a_list_that_names_only_the_new_ones_hides_what_a_slower_collector_still_deletes() {
    breaks(M::OnlyTheNewCondemned, "I1");
    let alone = Slots { collectors: 1, ..Slots::protocol() };
    explore(&alone.with(M::OnlyTheNewCondemned)).holds();
}

#[test]
fn an_upload_under_a_name_that_was_used_before_is_deleted() {
    breaks(M::SameName, "I1");
}

#[test]
fn a_collector_that_closes_nothing_is_safe_but_collects_less() {
    // Closing is for the end of collection, not for safety: what a dead attempt pinned would stay for ever.
    assert_eq!(search(M::NoCollectorClose).holds(), 805_230);
    let outlive = Slots::protocol().with(M::NoCollectorClose).with(M::PinsOutliveCommit);
    assert_eq!(explore(&outlive).holds(), 730_262);
}

#[test]
fn pins_that_outlive_a_commit_are_safe_and_would_forgive_the_reading_order() {
    assert_eq!(search(M::PinsOutliveCommit).holds(), 3_131_497);
    // So it is the rule that a commit ends its pins which makes the order of reading necessary.
    let either = Slots::protocol().with(M::CommitsFirst).with(M::PinsOutliveCommit);
    assert_eq!(explore(&either).holds(), 914_947);
}

fn with_loss() -> Slots {
    Slots { storage_loses: true, collectors: 1, ..Slots::protocol() }
}

#[test]
fn a_marked_commit_allows_the_next_epoch_and_never_a_second_that_stands() {
    assert_eq!(explore(&with_loss()).holds(), 77_633);
}

#[test]
fn a_new_epoch_over_lost_bytes_without_a_mark_leaves_two_commits() {
    let (what, _) = explore(&with_loss().with(M::NoDamageMark)).violated();
    assert!(what.starts_with("I2"), "{what}");
}

#[test]
fn a_wrong_damage_mark_costs_work_but_never_safety() {
    explore(&with_loss().with(M::MarkWrongly)).holds();
}
