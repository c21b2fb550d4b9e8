//! The world of one schedule: one time, one store, one queue of what happens next.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap, HashMap},
    fmt::Write as _,
    ops::Bound,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use bytes::Bytes;
use prunella_model::RunId;
use prunella_objects::{Listed, ObjectKey};
use tokio::sync::oneshot;

use crate::{
    draw::draw,
    oracle::Oracle,
    plan::{Fault, Plan},
};

/// What a member asks of the store.
#[derive(Debug, Clone)]
pub(crate) enum Ask {
    Create {
        key: ObjectKey,
        bytes: Bytes,
    },
    Overwrite {
        key: ObjectKey,
        bytes: Bytes,
    },
    Get {
        key: ObjectKey,
    },
    List {
        prefix: String,
        after: Option<String>,
        limit: usize,
    },
    /// The objects among these that are still there, with their bytes.
    Read {
        keys: Vec<ObjectKey>,
    },
    /// What begins with this, listed and read at one moment.
    ReadPrefix {
        prefix: String,
        limit: usize,
    },
    Delete {
        key: ObjectKey,
    },
}

/// What the store says.
#[derive(Debug, Clone)]
pub(crate) enum Answer {
    New,
    There(Bytes),
    /// A hint was created once, as if it were a record.
    Immutable,
    Got(Option<Bytes>),
    Listed(Vec<Listed>),
    Read(Vec<(ObjectKey, Bytes)>),
    Deleted(bool),
}

/// Who asks: the member, its process, and the number of the operation.
#[derive(Debug, Clone, Copy)]
pub(crate) struct From {
    pub member: usize,
    pub life: usize,
    pub nth: u32,
    pub whom: Whom,
}

/// Who has to be polled when something happened: a process with a runtime of its own, or nobody in particular.
pub(crate) type Whom = Option<usize>;

/// What happened next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Happened {
    /// Something that this one may have waited for.
    For(Whom),
    /// Something between the store and its requests.
    Nothing,
    /// Nothing is left to happen.
    TheEnd,
}

enum Event {
    /// A request arrives.
    Land { from: From, ask: Ask, reply: Option<oneshot::Sender<Answer>>, back_ms: u64, again: bool },
    /// An answer arrives.
    Reply { whom: Whom, reply: oneshot::Sender<Answer>, answer: Answer },
    /// Somebody has waited long enough.
    Wake { whom: Whom, wake: oneshot::Sender<()> },
}

struct Object {
    bytes: Bytes,
    hint: bool,
}

/// Everything that members share.
pub(crate) struct State {
    plan: Plan,
    faults: HashMap<(usize, u32), Fault>,
    now_ms: u64,
    next: u64,
    queue: BinaryHeap<Reverse<(u64, u64, u64)>>,
    events: HashMap<u64, Event>,
    objects: BTreeMap<ObjectKey, Object>,
    /// What goes wrong with the next operations of members.
    armed: BTreeMap<usize, Vec<Fault>>,
    /// How many operations each member began.
    begun: BTreeMap<usize, u32>,
    log: Option<String>,
    digest: u64,
    pub oracle: Oracle,
    /// Living processes by machine and number.
    pub processes: BTreeMap<(usize, u32), u64>,
    pub next_pid: u32,
    /// By how much the wall clocks of machines were moved, in milliseconds.
    pub wall_jumps: BTreeMap<usize, i64>,
    /// What the journals say: the driver under which a run ended.
    pub ended: BTreeMap<RunId, u64>,
    pub events_done: u64,
}

/// A handle on the world.
#[derive(Clone)]
pub(crate) struct World(Arc<Mutex<State>>);

impl World {
    pub fn new(plan: &Plan, log: bool) -> Self {
        let faults = plan.faults.iter().map(|at| ((at.member, at.nth), at.fault)).collect();
        Self(Arc::new(Mutex::new(State {
            plan: plan.clone(),
            faults,
            now_ms: 1_000_000,
            next: 0,
            queue: BinaryHeap::new(),
            events: HashMap::new(),
            objects: BTreeMap::new(),
            armed: BTreeMap::new(),
            begun: BTreeMap::new(),
            log: log.then(String::new),
            digest: 0,
            oracle: Oracle::default(),
            processes: BTreeMap::new(),
            next_pid: 100,
            wall_jumps: BTreeMap::new(),
            ended: BTreeMap::new(),
            events_done: 0,
        })))
    }

    pub fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    pub fn seed(&self) -> u64 {
        self.state().plan.seed
    }

    /// Returns the number of a member's next operation, and what goes wrong with it.
    pub fn begin(&self, member: usize) -> (u32, Option<Fault>) {
        let mut state = self.state();
        let nth = state.begun.entry(member).or_insert(0);
        let this = *nth;
        *nth += 1;
        let fault = state.faults.get(&(member, this)).copied();
        let armed = fault.or_else(|| state.armed.get_mut(&member)?.pop());
        (this, armed)
    }

    /// Returns a number for a choice that a member has to make before its next operation.
    pub fn chance(&self, member: usize) -> u64 {
        let state = self.state();
        let nth = state.begun.get(&member).copied().unwrap_or(0);
        draw(state.plan.seed, 3000 + member as u64, u64::from(nth))
    }

    /// Sends a request that arrives after `there_ms`, and whose answer takes `back_ms`.
    pub fn send(&self, from: From, ask: Ask, there_ms: u64, back_ms: u64, again: bool) -> oneshot::Receiver<Answer> {
        let (reply, heard) = oneshot::channel();
        let mut state = self.state();
        let reply = (!again).then_some(reply);
        state.push(there_ms, Event::Land { from, ask, reply, back_ms, again });
        heard
    }

    pub async fn sleep_ms(&self, ms: u64) {
        self.sleep_for(None, ms).await;
    }

    /// Sleeps as somebody who is polled only when something happened for them.
    pub async fn sleep_for(&self, whom: Whom, ms: u64) {
        let (wake, woken) = oneshot::channel();
        self.state().push(ms, Event::Wake { whom, wake });
        let _world_ended = woken.await;
    }

    /// Lets this go wrong with the member's next operation.
    pub fn arm(&self, member: usize, fault: Fault) {
        self.state().armed.entry(member).or_default().push(fault);
    }

    pub fn now(&self) -> Duration {
        Duration::from_millis(self.state().now_ms)
    }

    /// Lets the next thing happen.
    pub fn step(&self) -> Happened {
        let mut state = self.state();
        loop {
            let Some(Reverse((at, _, id))) = state.queue.pop() else { return Happened::TheEnd };
            let event = state.events.remove(&id).expect("what is in the queue is there");
            // Whoever gave up waiting, or is dead, is woken by nothing.
            if matches!(&event, Event::Wake { wake, .. } if wake.is_closed()) {
                continue;
            }
            state.now_ms = at;
            state.events_done += 1;
            return match event {
                Event::Wake { whom, wake } => {
                    let _dead = wake.send(());
                    Happened::For(whom)
                }
                Event::Reply { whom, reply, answer } => {
                    let _dead = reply.send(answer);
                    Happened::For(whom)
                }
                Event::Land { from, ask, reply, back_ms, again } => {
                    let answer = state.land(from, &ask, again);
                    if let Some(reply) = reply {
                        state.push(back_ms, Event::Reply { whom: from.whom, reply, answer });
                    }
                    Happened::Nothing
                }
            };
        }
    }

    /// Lets the storage itself change or lose an object or a record, if there is one that a drawn number can mean.
    pub fn rot(&self, from: From, how: Fault) {
        let mut state = self.state();
        let all = state.objects.iter().filter(|(key, object)| match how {
            Fault::RotRecord => !object.hint && may_rot(key.as_str()),
            _ => is_made(key),
        });
        let all: Vec<ObjectKey> = all.map(|(key, _)| key.clone()).collect();
        if all.is_empty() {
            return;
        }
        let drawn = draw(state.plan.seed, 77, u64::from(from.nth));
        let key = all[drawn as usize % all.len()].clone();
        state.note(from, "rot", key.as_str(), if how == Fault::Vanish { "vanished" } else { "changed" });
        state.oracle.rotten(key.as_str());
        if how == Fault::Vanish {
            state.objects.remove(&key);
        } else if let Some(object) = state.objects.get_mut(&key) {
            object.bytes = flipped(&object.bytes, drawn);
        }
    }

    /// Returns the log, if one is kept.
    pub fn log(&self) -> Option<String> {
        self.state().log.take()
    }

    pub fn digest(&self) -> u64 {
        self.state().digest
    }

    pub fn say(&self, from: From, what: &str, about: &str) {
        self.state().note(from, what, about, "");
    }

    /// Returns the store's object, past all members.
    pub fn object(&self, key: &str) -> Option<Bytes> {
        self.state().objects.get(key).map(|object| object.bytes.clone())
    }

    /// Returns the names of all objects that begin with `prefix`.
    pub fn keys(&self, prefix: &str) -> Vec<String> {
        let state = self.state();
        let from = (Bound::Included(prefix), Bound::Unbounded);
        let keys = state.objects.range::<str, _>(from).map(|(key, _)| key.to_string());
        keys.take_while(|key| key.starts_with(prefix)).collect()
    }
}

/// What runs brought in has no producer: its loss ends a run, as it must, and shows nothing.
fn is_made(key: &ObjectKey) -> bool {
    key.as_str().starts_with("data/") && !key.as_str().contains("/run-")
}

/// Returns whether a record is one of those whose damage costs work and no run (0030): the others end their run or keep
/// collections from deleting anything, as they must, and show nothing more.
fn may_rot(key: &str) -> bool {
    let (kind, rest) = key.split_once('/').unwrap_or((key, ""));
    match kind {
        "attempts" => rest.ends_with(".end.json") || rest.ends_with(".start.json"),
        "gc" => !rest.ends_with(".done.json"),
        "runs" => rest.contains("/drivers/"),
        "checkpoints" | "names" => true,
        _ => false,
    }
}

/// Returns the bytes with one bit changed.
pub(crate) fn flipped(bytes: &Bytes, drawn: u64) -> Bytes {
    let mut changed = bytes.to_vec();
    let length = changed.len().max(1);
    if let Some(byte) = changed.get_mut((drawn >> 8) as usize % length) {
        *byte ^= 1 << (drawn % 8);
    }
    changed.into()
}

impl State {
    fn push(&mut self, after_ms: u64, event: Event) {
        let id = self.next;
        self.next += 1;
        let tie = draw(self.plan.seed, 99, id);
        self.queue.push(Reverse((self.now_ms + after_ms, tie, id)));
        self.events.insert(id, event);
    }

    fn land(&mut self, from: From, ask: &Ask, again: bool) -> Answer {
        let now = self.now_ms;
        match ask {
            Ask::Create { key, bytes } => {
                let answer = match self.objects.get(key) {
                    Some(there) => Answer::There(there.bytes.clone()),
                    None => {
                        self.objects.insert(key.clone(), Object { bytes: bytes.clone(), hint: false });
                        let objects = &self.objects;
                        let there = |key: &str| objects.get(key).map(|object| object.bytes.clone());
                        self.oracle.created(now, key.as_str(), bytes, &there);
                        Answer::New
                    }
                };
                let said = match (&answer, again) {
                    (Answer::New, false) => "new",
                    (Answer::New, true) => "new, again",
                    (_, false) => "there",
                    (_, true) => "there, again",
                };
                self.note(from, "create", key.as_str(), said);
                answer
            }
            Ask::Overwrite { key, bytes } => {
                self.note(from, "overwrite", key.as_str(), "");
                match self.objects.get(key) {
                    Some(there) if !there.hint => Answer::Immutable,
                    _ => {
                        self.objects.insert(key.clone(), Object { bytes: bytes.clone(), hint: true });
                        Answer::New
                    }
                }
            }
            Ask::Get { key } => {
                let got = self.objects.get(key).map(|object| object.bytes.clone());
                self.note(from, "get", key.as_str(), if got.is_some() { "there" } else { "absent" });
                Answer::Got(got)
            }
            Ask::List { prefix, after, limit } => {
                let begin = match after.as_deref() {
                    Some(after) if after >= prefix.as_str() => Bound::Excluded(after),
                    _ => Bound::Included(prefix.as_str()),
                };
                let found = self.objects.range::<str, _>((begin, Bound::Unbounded));
                let found = found.take_while(|(key, _)| key.as_str().starts_with(prefix.as_str())).take(*limit);
                let listed: Vec<Listed> =
                    found.map(|(key, object)| Listed { key: key.clone(), size: object.bytes.len() as u64 }).collect();
                self.note(from, "list", prefix, &listed.len().to_string());
                Answer::Listed(listed)
            }
            Ask::Read { keys } => {
                let found = keys.iter().filter_map(|key| Some((key.clone(), self.objects.get(key)?.bytes.clone())));
                let found: Vec<(ObjectKey, Bytes)> = found.collect();
                self.note(from, "read", keys.first().map_or("", |key| key.as_str()), &found.len().to_string());
                Answer::Read(found)
            }
            Ask::ReadPrefix { prefix, limit } => {
                let begin = Bound::Included(prefix.as_str());
                let found = self.objects.range::<str, _>((begin, Bound::Unbounded));
                let found = found.take_while(|(key, _)| key.as_str().starts_with(prefix.as_str())).take(*limit);
                let found: Vec<_> = found.map(|(key, object)| (key.clone(), object.bytes.clone())).collect();
                self.note(from, "list and read", prefix, &found.len().to_string());
                Answer::Read(found)
            }
            Ask::Delete { key } => {
                let there = self.objects.contains_key(key);
                if there {
                    let ended = &self.ended;
                    self.oracle.deleting(key.as_str(), &|run: &RunId| ended.contains_key(run));
                    self.objects.remove(key);
                }
                self.note(from, "delete", key.as_str(), if there { "done" } else { "absent" });
                Answer::Deleted(there)
            }
        }
    }

    /// Notes what happened: in the digest always, in words if a log is kept.
    fn note(&mut self, from: From, what: &str, about: &str, outcome: &str) {
        let mut hash = self.digest ^ self.now_ms ^ ((from.member as u64) << 56) ^ (u64::from(from.nth) << 32);
        for text in [what, about, outcome] {
            for chunk in text.as_bytes().chunks(8) {
                let mut word = [0; 8];
                word[..chunk.len()].copy_from_slice(chunk);
                hash = (hash.rotate_left(5) ^ u64::from_le_bytes(word)).wrapping_mul(0x517c_c1b7_2722_0a95);
            }
        }
        self.digest = hash;
        if let Some(log) = &mut self.log {
            let From { member, life, nth, .. } = from;
            let _written = writeln!(log, "{} {member}.{life} #{nth} {what} {about} {outcome}", self.now_ms);
        }
    }
}
