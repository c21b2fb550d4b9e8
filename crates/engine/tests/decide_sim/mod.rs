//! A driver without a machine: it carries out what `decide` says against a store in memory, in virtual time.
#![allow(dead_code, reason = "each test binary uses its own part")]

mod disturb;
mod graph;
mod publishing;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use prunella_engine::{Capacity, Command, Plan, decide};
use prunella_healing::{Ending, Evidence, InputDamaged, Phase, Spent, assess};
use prunella_journal::*;
use prunella_model::*;

#[allow(unused_imports, reason = "each test binary uses its own part")]
pub use graph::{Spec, graph, id, name, spec};
#[allow(unused_imports, reason = "each test binary uses its own part")]
pub use publishing::Bar;

pub const ROOMY: Capacity = Capacity { jobs: 4, cpu_millis: 64_000, memory_bytes: 64 << 30, gpu: 8 };

/// How an attempt turns out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fate {
    /// It commits an output with this content.
    Commits(String),
    /// Somebody kills it.
    Killed,
    /// It exits with 1 and always the same words.
    Fails,
    /// The bytes of its first input are lost.
    FindsDamage,
    /// Another run has the key: it waits, and then finds a commit with this content.
    Waits(String),
}

#[derive(Debug, Clone)]
struct Commit {
    slot: SlotId,
    artifacts: BTreeMap<PortName, Artifact>,
    damaged: bool,
}

#[derive(Debug, Clone)]
enum Doing {
    Guarding(StepKey),
    Claiming(StepKey),
    Working(SlotId, Fate),
    Watching(SlotId, String),
    /// A condition is being answered, from these commits.
    Deciding(Vec<SlotId>, bool),
}

/// The answer of every condition of these graphs: a function of the content that it reads.
pub fn holds(artifact: &Artifact) -> bool {
    artifact.digest.short().bytes().next().is_some_and(|first| first % 2 == 0)
}

/// The list that a step makes: a function of its content, none to four of the items 0 to 4.
pub fn listed(artifact: &Artifact) -> Vec<Item> {
    let bits = artifact.digest.short().bytes().fold(7u32, |bits, byte| bits.wrapping_mul(31) ^ u32::from(byte));
    let (count, first, apart) = ((bits >> 8) % 5, bits % 5, 1 + (bits >> 4) % 2);
    (0..count).map(|n| numbered((first + n * apart) % 5)).collect()
}

/// The item of this number.
pub fn numbered(n: u32) -> Item {
    Item::from_canonical(&n.to_string())
}

/// What decides how each attempt of a step turns out: the step, the key, and how many attempts of the key were.
pub type Fates<'a> = Box<dyn FnMut(&StepId, StepKey, u64) -> Fate + 'a>;

/// A run in virtual time.
pub struct Sim<'a> {
    pub plan: Plan,
    pub state: RunState,
    pub journal: Vec<Stamped>,
    pub capacity: Capacity,
    pub now: u64,
    pub starts: BTreeMap<String, u32>,
    pub most_at_once: usize,
    driver: u64,
    /// The steps before any list was read.
    planned: Arc<Topology>,
    fates: Fates<'a>,
    commits: BTreeMap<StepKey, Vec<Commit>>,
    epochs: BTreeMap<StepKey, u64>,
    doing: BTreeMap<StepIndex, (u64, Doing)>,
    /// Items that went while something was under way about them: it comes to nothing.
    went: BTreeSet<StepIndex>,
    /// Publications under way: when they are done, and of which commit.
    publishing: BTreeMap<StepIndex, (u64, SlotId)>,
    /// What lies outside, of each step the commit that was published last; and how often publishing it failed.
    pub outside: BTreeMap<StepIndex, SlotId>,
    refused: BTreeMap<(StepIndex, SlotId), u32>,
    /// What is in the way of the publications of steps, by name.
    pub bars: BTreeMap<String, Bar>,
    random: u64,
}

impl<'a> Sim<'a> {
    pub fn new(graph: Arc<Graph>, capacity: Capacity, seed: u64, fates: Fates<'a>) -> Self {
        let plan = Plan::build(graph, &[]).expect("a plan");
        let state = RunState::new(Arc::clone(plan.topology()));
        let mut sim = Self {
            planned: Arc::clone(plan.topology()),
            plan,
            state,
            journal: Vec::new(),
            capacity,
            now: 0,
            starts: BTreeMap::new(),
            most_at_once: 0,
            driver: 0,
            fates,
            commits: BTreeMap::new(),
            epochs: BTreeMap::new(),
            doing: BTreeMap::new(),
            went: BTreeSet::new(),
            publishing: BTreeMap::new(),
            outside: BTreeMap::new(),
            refused: BTreeMap::new(),
            bars: BTreeMap::new(),
            random: seed | 1,
        };
        let graph = sim.plan.graph().digest();
        let pipeline = sim.plan.graph().pipeline.name.clone();
        let run = RunId::new("run-1").expect("a run id");
        sim.tell(Event::RunStarted { run, pipeline, graph, params: BTreeMap::new() });
        sim.new_driver();
        sim
    }

    pub fn random(&mut self, below: u64) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random % below
    }

    fn tell(&mut self, event: Event) {
        if matches!(event, Event::RunConcluded { .. }) {
            self.all_is_published("the end is told");
        }
        if let Event::EffectsGivenUp { step, .. } = &event {
            self.may_give_up(step);
        }
        let stamped = Stamped { at_ms: 0, mono: Span::from_millis(self.now), event };
        self.state.apply(&stamped).unwrap_or_else(|e| panic!("{e}: {:?}", stamped.event));
        if matches!(stamped.event, Event::StepExpanded { .. }) {
            self.plan.follow(Arc::clone(self.state.topology()));
            let dropped = |step: &&StepIndex| self.state.state(**step).stage() == Stage::Dropped;
            self.went.extend(self.doing.keys().filter(dropped));
        }
        self.journal.push(stamped);
    }

    fn tell_if_legal(&mut self, event: Event) {
        if self.state.check(&event).is_ok() {
            self.tell(event);
        }
    }

    fn new_driver(&mut self) {
        let had_ended = self.state.ended().is_some();
        self.driver += 1;
        self.now = 0;
        let driver = self.driver;
        self.tell(Event::DriverStarted {
            driver,
            engine: "test".to_owned(),
            continues: Position::START,
            budgets_reset: false,
            retried: None,
            damaged: None,
        });
        assert!(!had_ended || !self.state.any_effects_given_up(), "what was given up is tried again");
    }

    fn committed(&mut self, step: StepIndex, slot: SlotId, artifacts: BTreeMap<PortName, Artifact>) {
        let step = self.plan.id(step).clone();
        self.tell(Event::StepCommitted { step, slot, artifacts, compute: Span::from_millis(1) });
    }

    fn ended(&mut self, step: StepIndex, slot: SlotId, evidence: Evidence) {
        let before = self.state.spent(step).cloned().unwrap_or_default();
        let (class, spent): (Class, Spent) = assess(&before, &evidence, &self.plan.traits(step));
        let id = self.plan.id(step).clone();
        self.tell(Event::AttemptEnded {
            step: id,
            slot,
            class,
            evidence: Box::new(evidence),
            spent: Box::new(spent),
            compute: Span::from_millis(1),
            lost: Span::from_millis(1),
        });
    }

    fn newest(&self, key: StepKey) -> Option<Commit> {
        self.commits.get(&key)?.last().filter(|commit| !commit.damaged).cloned()
    }

    fn commit(&mut self, slot: SlotId, content: &str) -> Commit {
        let artifact = Artifact {
            kind: ArtifactKind::File,
            digest: Digest::of(content.as_bytes()),
            size_bytes: content.len() as u64,
        };
        let artifacts = BTreeMap::from([(PortName::new("out").expect("a name"), artifact)]);
        let commit = Commit { slot, artifacts, damaged: false };
        self.commits.entry(slot.key).or_default().push(commit.clone());
        commit
    }

    fn do_later(&mut self, step: StepIndex, doing: Doing) {
        let at = self.now + self.random(20);
        let before = self.doing.insert(step, (at, doing));
        assert!(before.is_none() || self.went.remove(&step), "two things at once about one step");
    }

    /// Asks `decide`, carries out what it says, and checks what must hold; answers how the run ends, if it does.
    pub fn ask(&mut self) -> Option<RunStatus> {
        loop {
            let now = Span::from_millis(self.now);
            let mut twin = self.state.clone();
            let commands = decide(&mut self.state, &self.plan, now, &self.capacity);
            assert_eq!(commands, decide(&mut twin, &self.plan, now, &self.capacity), "equal states, equal commands");
            let again = decide(&mut twin, &self.plan, now, &self.capacity);
            for command in again {
                let twice = commands.contains(&command) && !matches!(command, Command::WakeAt(_));
                assert!(!twice, "given twice: {command:?}");
            }
            let mut told = false;
            for command in commands {
                told |= !matches!(
                    command,
                    Command::Decide { .. }
                        | Command::Guard { .. }
                        | Command::StartAttempt { .. }
                        | Command::Watch { .. }
                        | Command::DoEffects { .. }
                        | Command::WakeAt(_)
                );
                if let Command::EndRun { status } = command {
                    self.tell(Event::RunEnded { status });
                    return Some(status);
                }
                self.carry_out(command);
            }
            self.check();
            if !told {
                return None;
            }
        }
    }

    fn carry_out(&mut self, command: Command) {
        match command {
            Command::Expand { step } => {
                assert!(self.plan.topology().leads(step), "the others go through what their leader has");
                let list = self.plan.topology().needs(step).first().expect("only what waits for a list reads one");
                let done = self.state.done(*list).expect("its list is there");
                let items = done.artifacts.iter().flat_map(|(_, artifact)| listed(artifact)).collect();
                self.tell(Event::StepExpanded { step: self.plan.id(step).clone(), items });
            }
            Command::BindKey { step } => {
                let scope = KeyScope { run: RunId::new("run-1").expect("a run id"), driver: self.driver };
                let key = self.plan.key(&self.state, step, &scope).expect("every producer is done");
                self.tell(Event::StepKeyed { step: self.plan.id(step).clone(), key });
            }
            Command::Decide { step } => {
                let inputs = self.plan.condition_inputs(&self.state, step).expect("what it reads is done");
                let holds = inputs.iter().all(|input| {
                    let done = self.state.done(input.producer).expect("what it reads is done");
                    done.artifacts.iter().all(|(_, artifact)| holds(artifact))
                });
                self.do_later(step, Doing::Deciding(inputs.iter().map(|input| input.slot).collect(), holds));
            }
            Command::Guard { step, key } => self.do_later(step, Doing::Guarding(key)),
            Command::StartAttempt { step, key, .. } => {
                assert!(self.state.stopping().is_none(), "nothing starts while the run stops");
                for need in self.plan.topology().needs(step) {
                    let skipped = self.state.state(*need).stage() == Stage::Skipped;
                    let only_before = skipped && !self.plan.topology().is_read_by(*need, step);
                    let done = self.state.state(*need).artifacts().is_some();
                    // Of the same work, and waiting for this very attempt.
                    let items = self.plan.topology().members(*need).unwrap_or_default();
                    let behind = std::iter::once(need)
                        .chain(items)
                        .any(|need| matches!(self.state.state(*need), StepState::Queued { key: same } if *same == key));
                    assert!(done || only_before || behind, "a step starts before its producer has committed");
                }
                let scope = KeyScope { run: RunId::new("run-1").expect("a run id"), driver: self.driver };
                assert_eq!(
                    self.plan.key(&self.state, step, &scope),
                    Ok(key),
                    "a step starts on what is no longer its input"
                );
                self.do_later(step, Doing::Claiming(key));
            }
            Command::Watch { step, slot, .. } => {
                let content = format!("theirs of {}", slot.key.short());
                self.do_later(step, Doing::Watching(slot, content));
            }
            Command::Interrupt { step, .. } => {
                let stopped = Evidence { stop_requested: true, ..Evidence::of(Ending::Exited { code: 0 }, Phase::Run) };
                let Some((_, Doing::Working(slot, _))) = self.doing.remove(&step) else {
                    panic!("interrupts what does not run")
                };
                self.ended(step, slot, stopped);
            }
            Command::Reproduce { step, producer, slot, .. } => {
                for commit in self.commits.get_mut(&slot.key).into_iter().flatten().filter(|commit| commit.slot == slot)
                {
                    commit.damaged = true;
                }
                let (step, producer) = (self.plan.id(step).clone(), self.plan.id(producer).clone());
                self.tell(Event::InputDamaged { step, producer, slot });
            }
            Command::Append(event) => self.tell(event),
            Command::WakeAt(at) => assert!(at.as_millis() > self.now, "wakes in the past"),
            Command::DoEffects { step, slot } => {
                assert!(self.state.stopping().is_none(), "nothing is published while the run stops");
                assert!(!self.plan.step(step).publish.is_empty(), "it publishes nothing");
                let scope = KeyScope { run: RunId::new("run-1").expect("a run id"), driver: self.driver };
                let key = self.plan.key(&self.state, step, &scope);
                assert_eq!(key, Ok(slot.key), "{} goes out, made of what is replaced", self.plan.id(step));
                let at = self.now + self.random(20);
                self.publishing.insert(step, (at, slot));
            }
            Command::EndRun { .. } => unreachable!("looked at before"),
        }
    }

    /// What must hold at every instant.
    fn check(&mut self) {
        let mut keys = BTreeSet::new();
        let (mut cpu, mut memory, mut gpu, mut attempts) = (0, 0, 0, 0);
        for (step, (_, doing)) in self.doing.iter().filter(|(step, _)| !self.went.contains(step)) {
            let key = match doing {
                Doing::Claiming(key) => *key,
                Doing::Working(slot, _) => slot.key,
                Doing::Guarding(_) | Doing::Watching(..) | Doing::Deciding(..) => continue,
            };
            assert!(keys.insert(key), "two attempts of one key at once");
            let memory_now = match self.state.state(*step) {
                StepState::Running(running) => running.next.memory,
                StepState::Ready { next, .. } => next.memory,
                _ => None,
            };
            let demand = self.plan.demand(*step, memory_now);
            cpu += demand.cpu_millis;
            memory += demand.memory_bytes;
            gpu += demand.gpu;
            attempts += 1;
        }
        self.most_at_once = self.most_at_once.max(attempts);
        assert!(attempts <= self.capacity.jobs);
        assert!(gpu <= self.capacity.gpu, "accelerators that are not there");
        let over = cpu > self.capacity.cpu_millis || memory > self.capacity.memory_bytes;
        assert!(!over || attempts == 1, "more than the machine has, and not alone");
    }

    /// Lets time pass until something happens, and answers whether anything can.
    pub fn pass(&mut self) -> bool {
        let next = self.doing.iter().map(|(step, (at, _))| (*at, *step)).min();
        let timers = self.state.next_timer().into_iter().chain(self.state.next_effects()).min();
        let timer = timers.map(Span::as_millis).filter(|_| self.state.stopping().is_none());
        let first = next.map(|(at, _)| at).into_iter().chain(timer).min();
        if self.publishes_before(first) {
            return true;
        }
        match (next, timer) {
            (None, None) => return false,
            (Some((at, step)), timer) if timer.is_none_or(|timer| at <= timer) => {
                self.now = self.now.max(at);
                let (_, doing) = self.doing.remove(&step).expect("it was just seen");
                self.happens(step, doing);
            }
            (_, timer) => self.now = self.now.max(timer.unwrap_or(0)),
        }
        true
    }

    fn happens(&mut self, step: StepIndex, doing: Doing) {
        if self.went.remove(&step) {
            return;
        }
        let id = self.plan.id(step).clone();
        match doing {
            Doing::Guarding(key) => match self.newest(key) {
                Some(Commit { slot, artifacts, .. }) => {
                    self.tell(Event::StepReused { step: id, slot, artifacts, copied_from: None })
                }
                None => self.tell(Event::StepMissed { step: id }),
            },
            Doing::Claiming(key) => {
                if let Some(Commit { slot, artifacts, .. }) = self.newest(key) {
                    return self.tell(Event::StepReused { step: id, slot, artifacts, copied_from: None });
                }
                let epoch = self.epochs.entry(key).or_insert(0);
                *epoch += 1;
                let slot = SlotId { key, epoch: Epoch(*epoch) };
                let fate = (self.fates)(&id, key, slot.epoch.0);
                if let Fate::Waits(_) = fate {
                    let holder = RunId::new("run-2").expect("a run id");
                    return self.tell(Event::StepWaiting { step: id, slot, holder });
                }
                *self.starts.entry(id.name.as_str().to_owned()).or_insert(0) += 1;
                self.tell(Event::AttemptStarted { step: id, slot, writer: WriterId::from_random(1) });
                self.do_later(step, Doing::Working(slot, fate));
            }
            Doing::Deciding(slots, run) => {
                let now = self.plan.condition_inputs(&self.state, step);
                let same = now.is_some_and(|now| now.iter().map(|input| input.slot).eq(slots));
                let event = Event::StepDecided { step: id, run, saw: Vec::new() };
                // Something else that it needs may be made anew meanwhile: it is asked again then.
                if same && self.state.check(&event).is_ok() {
                    self.tell(event);
                } else {
                    self.state.release(step);
                }
            }
            Doing::Watching(slot, content) => {
                let Commit { artifacts, .. } = self.commit(slot, &content);
                self.tell(Event::StepReused { step: id, slot, artifacts, copied_from: None });
            }
            Doing::Working(slot, fate) => self.works_out(step, slot, fate),
        }
    }

    fn works_out(&mut self, step: StepIndex, slot: SlotId, fate: Fate) {
        let exit = |code| Evidence::of(Ending::Exited { code }, Phase::Run);
        match fate {
            Fate::Commits(content) => {
                let artifacts = self.commit(slot, &content).artifacts;
                // The commit stands; now and then the engine dies before it can say so.
                if self.random(40) == 0 && self.driver < 4 {
                    return self.crash();
                }
                self.committed(step, slot, artifacts);
            }
            Fate::Killed => {
                self.ended(step, slot, Evidence::of(Ending::Signaled { signal: 9, by_us: None }, Phase::Run));
            }
            Fate::Fails => self.ended(step, slot, exit(1)),
            Fate::FindsDamage => {
                let input = self.plan.step(step).inputs.keys().next().expect("only steps with inputs find damage");
                // Of several items it is one whose bytes are lost.
                let producer = self.plan.producer(step, input.as_str());
                let items = producer.and_then(|producer| self.plan.topology().members(producer));
                let lost = items.map(|items| items.iter().find(|item| self.state.done(**item).is_some()));
                if let Some(None) = lost {
                    return self.ended(step, slot, exit(1));
                }
                let item = lost.flatten().and_then(|item| Some(self.plan.id(*item).item.as_ref()?.as_str().to_owned()));
                let damaged = InputDamaged { input: input.as_str().to_owned(), item, detail: "gone".to_owned() };
                let evidence = Evidence { input_damaged: Some(damaged), ..exit(0) };
                self.ended(step, slot, evidence);
            }
            Fate::Waits(_) => unreachable!("never claims a slot"),
        }
    }

    pub fn stages(&self) -> Vec<(String, Stage)> {
        let of = |step| (self.plan.id(step).to_string(), self.state.state(step).stage());
        self.plan.indices().map(of).collect()
    }

    pub fn stage(&self, step: &str) -> Stage {
        self.state.state(self.plan.index(&id(step)).expect("a step")).stage()
    }

    pub fn done(&self) -> BTreeSet<String> {
        let done = |step: &StepIndex| self.state.state(*step).stage() == Stage::Done && !self.state.is_stale(*step);
        self.plan.indices().filter(done).map(|step| self.plan.id(step).to_string()).collect()
    }

    pub fn started(&self, step: &str) -> u32 {
        self.starts.get(step).copied().unwrap_or(0)
    }
}
