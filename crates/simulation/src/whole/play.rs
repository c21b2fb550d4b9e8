//! Playing whole runs: one thread, one order, one outcome.
//!
//! The process of an engine is a runtime of its own, on this thread, without a clock and without I/O: its tasks are polled in the
//! order in which they were woken, and dropping it kills them all. Between two events every runtime that may have something
//! to do runs until nothing in it is ready any more; nothing but the queue of the world says what is next.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
};

use prunella_model::Digest;
use prunella_sys::{Fs, stay_on_this_thread};
use tokio::runtime::{Builder, Runtime};

use super::{
    engines::{Book, drives_runs},
    faults::go_wrong,
    judge,
    plan::{ENGINES, WholePlan},
    stage::{Ending, Entering, Main, Plain, Stage},
};
use crate::{
    caretaking::{audit, collect},
    engine::TARGET,
    oracle::Violation,
    plan::Plan,
    play::Counts,
    world::{Happened, World},
};

/// More than any schedule needs that comes to its end.
const MOST_EVENTS: u64 = 1_000_000;

/// So often the main part of an engine wakes itself without time passing.
const MOST_ROUNDS: u32 = 100_000;

/// How a schedule of whole runs came out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WholeOutcome {
    /// What was broken first.
    pub violation: Option<Violation>,
    /// A digest of everything that happened, in order.
    pub digest: u64,
    /// Everything that happened, a line each, if that was asked for.
    pub log: Option<String>,
    /// How many things happened.
    pub events: u64,
    /// How long it was, in virtual milliseconds.
    pub ms: u64,
    /// What members were told, so that nobody mistakes an idle schedule for a good one.
    pub counts: WholeCounts,
}

/// What happened in schedules of whole runs that matters.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct WholeCounts {
    /// What happened in the store.
    pub store: Counts,
    /// Faults that came to pass.
    pub faults: u64,
    /// Programs that were started.
    pub programs: u64,
    /// Runs that succeeded.
    pub succeeded: u64,
    /// Runs that failed.
    pub failed: u64,
}

impl WholeCounts {
    /// Adds those of another schedule.
    pub fn add(&mut self, other: &Self) {
        self.store.add(&other.store);
        self.faults += other.faults;
        self.programs += other.programs;
        self.succeeded += other.succeeded;
        self.failed += other.failed;
    }
}

/// Plays whole runs to their end, or to the first invariant that is broken.
pub fn play_whole(plan: &WholePlan) -> WholeOutcome {
    play(plan, false)
}

/// Plays whole runs and keeps the log of everything that happens.
pub fn play_whole_logged(plan: &WholePlan) -> WholeOutcome {
    play(plan, true)
}

fn play(plan: &WholePlan, log: bool) -> WholeOutcome {
    let _here = stay_on_this_thread();
    let store = Plan { seed: plan.seed, members: BTreeSet::new(), faults: Vec::new() };
    let world = World::new(&store, log);
    let stage = Stage::new(world.clone());
    for directory in ["/out", "/work"] {
        stage.disk.create_dir_all(directory.as_ref()).expect("an empty file system takes directories");
    }
    let book = Book::default();
    let began = world.now();
    let mut house = House::new(stage.clone());
    for member in 0..ENGINES {
        house.essential(Box::pin(drives_runs(stage.clone(), member, book.clone())));
    }
    let fs: Arc<dyn Fs> = Arc::new(stage.disk.clone());
    house.essential(Box::pin(collect(world.clone(), fs.clone(), 3)));
    house.essential(Box::pin(audit(world.clone(), fs, 5)));
    house.plain(Box::pin(go_wrong(stage.clone(), plan.faults.clone())));
    house.plays();
    let ms = u64::try_from(world.now().saturating_sub(began).as_millis()).unwrap_or(u64::MAX);
    if world.state().oracle.violation().is_none() {
        house.clears();
        house.essential(Box::pin(judge::afterwards(stage.clone(), book.clone())));
        house.plays();
    }
    drop(house);
    let runs = book.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).clone();
    let ended = |status| runs.iter().filter(|driven| driven.status == Some(status)).count() as u64;
    let (digest, log) = (world.digest(), world.log());
    let state = world.state();
    let oracle = &state.oracle;
    let counts = WholeCounts {
        store: Counts {
            commits: oracle.commits,
            durables: oracle.durables,
            restores: oracle.restores,
            deletions: oracle.deletions,
        },
        faults: plan.faults.iter().filter(|at| at.ms <= ms).count() as u64,
        programs: stage.programs_started(),
        succeeded: ended(prunella_journal::RunStatus::Succeeded),
        failed: ended(prunella_journal::RunStatus::Failed),
    };
    WholeOutcome { violation: oracle.violation().cloned(), digest, log, events: state.events_done, ms, counts }
}

/// Wakes something plain: it is polled in the order in which it was woken.
struct Woken {
    number: usize,
    ready: Arc<Mutex<VecDeque<usize>>>,
}

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        let mut ready = self.ready.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        if !ready.contains(&self.number) {
            ready.push_back(self.number);
        }
    }
}

/// Says that the main part of an engine was woken.
struct Stirred(AtomicBool);

impl Wake for Stirred {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// The process of an engine.
struct EngineProcess {
    // Dropped first: what the engine itself holds, then its tasks.
    main: Main,
    runtime: Runtime,
    stirred: Arc<Stirred>,
    waker: Waker,
}

impl EngineProcess {
    fn new(main: Main) -> Self {
        // So large that a turn ends only when nothing is ready any more.
        let runtime =
            Builder::new_current_thread().event_interval(1 << 30).build().expect("nothing of the machine is needed");
        let stirred = Arc::new(Stirred(AtomicBool::new(true)));
        let waker = stirred.clone().into();
        Self { main, runtime, stirred, waker }
    }

    /// Runs until nothing is ready; answers how it ended, if it did.
    fn turn(&mut self) -> Option<Ending> {
        let (main, stirred) = (&mut self.main, &self.stirred);
        let mut context = Context::from_waker(&self.waker);
        self.runtime.block_on(async {
            for _ in 0..MOST_ROUNDS {
                if stirred.0.swap(false, Ordering::Relaxed)
                    && let Poll::Ready(ending) = main.as_mut().poll(&mut context)
                {
                    return Some(ending);
                }
                // Comes back when nothing else is ready.
                tokio::task::yield_now().await;
                if !stirred.0.load(Ordering::Relaxed) {
                    return None;
                }
            }
            panic!("an engine does something for ever, and no time passes")
        })
    }
}

/// Everybody who acts.
struct House {
    stage: Stage,
    ready: Arc<Mutex<VecDeque<usize>>>,
    plains: BTreeMap<usize, (Plain, Waker)>,
    next: usize,
    essential: BTreeSet<usize>,
    engines: BTreeMap<usize, EngineProcess>,
    /// Engines that may have something to do.
    stirred: BTreeSet<usize>,
    shown: Option<Vec<u8>>,
}

impl House {
    fn new(stage: Stage) -> Self {
        Self {
            stage,
            ready: Arc::default(),
            plains: BTreeMap::new(),
            next: 0,
            essential: BTreeSet::new(),
            engines: BTreeMap::new(),
            stirred: BTreeSet::new(),
            shown: None,
        }
    }

    fn plain(&mut self, plain: Plain) -> usize {
        let number = self.next;
        self.next += 1;
        let waker = Arc::new(Woken { number, ready: self.ready.clone() }).into();
        self.plains.insert(number, (plain, waker));
        self.ready.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).push_back(number);
        number
    }

    /// Adds somebody without whose end there is no end.
    fn essential(&mut self, plain: Plain) {
        let number = self.plain(plain);
        self.essential.insert(number);
    }

    /// Everybody is dead.
    fn clears(&mut self) {
        self.stage.clear();
        self.plains.clear();
        self.engines.clear();
        self.stirred.clear();
        self.stage.clear();
        let _dead = self.stage.leaving();
    }

    /// Lets things happen until whoever counts has come to an end.
    fn plays(&mut self) {
        loop {
            self.everybody_acts();
            if self.judged() || self.essential.is_empty() {
                return;
            }
            match self.stage.world.step() {
                Happened::TheEnd => {
                    let mut world = self.stage.world.state();
                    return world.oracle.broken("I10", "somebody waits for what never comes".to_owned());
                }
                Happened::For(Some(whom)) => drop(self.stirred.insert(whom)),
                Happened::For(None) | Happened::Nothing => {}
            }
        }
    }

    /// Lets everybody act who has something to do, until nobody has.
    fn everybody_acts(&mut self) {
        loop {
            self.comes_and_goes();
            let ready = self.ready.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).pop_front();
            if let Some(ready) = ready {
                let Some((plain, waker)) = self.plains.get_mut(&ready) else { continue };
                if plain.as_mut().poll(&mut Context::from_waker(waker)).is_ready() {
                    self.plains.remove(&ready);
                    self.essential.remove(&ready);
                }
                // What it did may be for any of them.
                self.stirred.extend(self.engines.keys());
                continue;
            }
            let stage = &self.stage;
            let Some(whom) = self.stirred.iter().copied().find(|whom| !stage.is_paused(*whom)) else { return };
            self.stirred.remove(&whom);
            let Some(engine) = self.engines.get_mut(&whom) else { continue };
            if let Some(ending) = engine.turn() {
                self.engines.remove(&whom);
                self.stage.engine_gone(whom, Some(ending), false);
            }
        }
    }

    fn comes_and_goes(&mut self) {
        for whom in self.stage.leaving() {
            self.engines.remove(&whom);
        }
        for entering in self.stage.entering() {
            match entering {
                Entering::Plain(plain) => drop(self.plain(plain)),
                Entering::Engine(whom, main) => {
                    self.engines.insert(whom, EngineProcess::new(main));
                    self.stirred.insert(whom);
                }
            }
        }
    }

    /// Returns whether an invariant is broken.
    fn judged(&mut self) -> bool {
        let now = self.stage.disk.read(TARGET.as_ref()).ok();
        let mut state = self.stage.world.state();
        if now != self.shown {
            state.oracle.target(now.as_ref().map(|bytes| Digest::of(bytes)));
            self.shown = now;
        }
        if state.events_done > MOST_EVENTS {
            state.oracle.broken("I10", "it does not end".to_owned());
        }
        state.oracle.violation().is_some()
    }
}
