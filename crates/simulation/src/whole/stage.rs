//! Who lives on which machine: engines, guardians, programs; how they die, and who hears of it.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard},
};

use prunella_attempt::Control;
use prunella_process::Connection;
use prunella_sys::Fs;
use tokio::sync::{mpsc, oneshot, watch};

use super::disk::Disk;
use crate::{
    draw::draw,
    world::{From, World},
};

/// Something that happens beside engines: it is polled when it is woken.
pub(crate) type Plain = Pin<Box<dyn Future<Output = ()> + Send>>;
/// What an engine's process does from its beginning to its end.
pub(crate) type Main = Pin<Box<dyn Future<Output = Ending> + Send>>;

/// How the process of an engine ended by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Ending {
    /// The run ended, or was stopped.
    Ended(prunella_journal::RunStatus),
    /// A collection gave the run up.
    GivenUp,
    /// It could not drive on, and said why.
    Left(String),
}

/// Who comes to life.
pub(crate) enum Entering {
    Plain(Plain),
    Engine(usize, Main),
}

/// What a program hears of the world.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Order {
    /// SIGTERM, from its engine.
    Term,
    /// SIGKILL, from its engine.
    Kill,
    /// SIGKILL, from somebody else.
    Outside,
    /// Its memory limit is reached.
    Memory,
    /// It fails by itself.
    Fail,
    /// Its guardian died, and it with it.
    Orphaned,
}

struct EngineAt {
    member: usize,
    machine: usize,
    pid: u32,
    guardian: u32,
    paused: bool,
    word: watch::Sender<Control>,
    done: Option<oneshot::Sender<Ending>>,
}

struct GuardianAt {
    machine: usize,
    dying: bool,
    died: watch::Sender<bool>,
}

/// A program that runs.
pub(crate) struct ProgramAt {
    pub attempt_id: String,
    pub machine: usize,
    pub guardian: u32,
    pub member: usize,
    pub orders: mpsc::UnboundedSender<Order>,
}

#[derive(Default)]
struct Inner {
    entering: Vec<Entering>,
    leaving: Vec<usize>,
    engines: BTreeMap<usize, EngineAt>,
    guardians: BTreeMap<u32, GuardianAt>,
    programs: BTreeMap<u32, ProgramAt>,
    sockets: BTreeMap<(usize, PathBuf), mpsc::UnboundedSender<Connection>>,
    lost: BTreeSet<usize>,
    abandoned: BTreeSet<usize>,
    numbers: usize,
    started: u64,
}

/// Everything that is not the store; cheap to clone.
#[derive(Clone)]
pub(crate) struct Stage {
    pub world: World,
    pub disk: Disk,
    inner: Arc<Mutex<Inner>>,
}

impl Stage {
    pub fn new(world: World) -> Self {
        Self { world, disk: Disk::new(), inner: Arc::default() }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// Notes something in the log.
    pub fn say(&self, member: usize, what: &str, about: &str) {
        self.world.say(From { member, life: 0, nth: 0, whom: None }, what, about);
    }

    /// Returns a number for the `n`-th choice of somebody.
    pub fn choice(&self, who: u64, n: u64) -> u64 {
        draw(self.world.seed(), (1 << 42) + who, n)
    }

    /// Returns a number that nothing has: of an engine, or of a machine.
    pub fn number(&self) -> usize {
        let mut inner = self.inner();
        inner.numbers += 1;
        inner.numbers
    }

    /// Returns a process number of its own on a machine.
    pub fn pid(&self, machine: usize) -> u32 {
        let mut state = self.world.state();
        state.next_pid += 1;
        let pid = state.next_pid;
        state.processes.insert((machine, pid), 1);
        pid
    }

    fn gone(&self, machine: usize, pid: u32) {
        self.world.state().processes.remove(&(machine, pid));
    }

    pub fn enter(&self, plain: impl Future<Output = ()> + Send + 'static) {
        self.inner().entering.push(Entering::Plain(Box::pin(plain)));
    }

    /// Returns who has come to life since the last time.
    pub fn entering(&self) -> Vec<Entering> {
        std::mem::take(&mut self.inner().entering)
    }

    /// Returns the engines that are dead since the last time.
    pub fn leaving(&self) -> Vec<usize> {
        std::mem::take(&mut self.inner().leaving)
    }

    /// Starts the process of an engine; what is returned hears how it ended, or that it is dead.
    pub fn engine(
        &self,
        (whom, member, machine): (usize, usize, usize),
        (pid, guardian): (u32, u32),
        word: watch::Sender<Control>,
        main: Main,
    ) -> oneshot::Receiver<Ending> {
        let (done, wait) = oneshot::channel();
        let mut inner = self.inner();
        let engine = EngineAt { member, machine, pid, guardian, paused: false, word, done: Some(done) };
        inner.engines.insert(whom, engine);
        inner.entering.push(Entering::Engine(whom, main));
        wait
    }

    /// Notes a guardian that lives.
    pub fn guardian(&self, machine: usize) -> u32 {
        let pid = self.pid(machine);
        let died = watch::Sender::new(false);
        self.inner().guardians.insert(pid, GuardianAt { machine, dying: false, died });
        pid
    }

    /// Says that an engine has a new guardian.
    pub fn follows(&self, whom: usize, guardian: u32) {
        if let Some(engine) = self.inner().engines.get_mut(&whom) {
            engine.guardian = guardian;
        }
    }

    /// Returns whether a guardian is dead or dying.
    pub fn is_dying(&self, guardian: u32) -> bool {
        self.inner().guardians.get(&guardian).is_none_or(|guardian| guardian.dying)
    }

    /// Waits until a guardian is dead, with everything that it had started.
    pub async fn died(&self, guardian: u32) {
        let died = self.inner().guardians.get(&guardian).map(|guardian| guardian.died.subscribe());
        if let Some(mut died) = died {
            let _gone = died.wait_for(|died| *died).await;
        }
    }

    /// Notes a program that runs.
    pub fn program(&self, pid: u32, program: ProgramAt) {
        let mut inner = self.inner();
        inner.started += 1;
        inner.programs.insert(pid, program);
    }

    pub fn programs_started(&self) -> u64 {
        self.inner().started
    }

    /// Returns whether somebody who lives has a program of this key running on the machine, and the attempt's id, if nobody does.
    pub fn stray(&self, machine: usize, key: &str) -> Option<String> {
        let inner = self.inner();
        let of_key = inner.programs.values().filter(|program| program.machine == machine);
        let mut strays = of_key.filter(|program| {
            let owned = inner.engines.values().any(|engine| engine.guardian == program.guardian);
            !owned && program.attempt_id.split('/').nth(2) == Some(key)
        });
        strays.next().map(|program| program.attempt_id.clone())
    }

    /// Notes that a program is gone.
    pub fn ended(&self, machine: usize, pid: u32) {
        self.inner().programs.remove(&pid);
        self.gone(machine, pid);
    }

    pub fn order(&self, pid: u32, order: Order) {
        if let Some(program) = self.inner().programs.get(&pid) {
            let _gone = program.orders.send(order);
        }
    }

    /// Kills the programs of the machine whose attempt begins so; returns their numbers and attempts.
    pub fn sweep(&self, machine: usize, prefix: &str) -> Vec<(u32, String)> {
        let here = |(_, program): &(&u32, &ProgramAt)| program.machine == machine;
        let below = |id: &str| {
            let whole = prefix.trim_end_matches('/');
            id.strip_prefix(whole).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        let inner = self.inner();
        let found = inner.programs.iter().filter(here).filter(|(_, program)| below(&program.attempt_id));
        let found: Vec<(u32, String)> = found.map(|(pid, program)| (*pid, program.attempt_id.clone())).collect();
        drop(inner);
        found.iter().for_each(|(pid, _)| self.forget(*pid));
        found
    }

    /// A program is gone at once: its orders end, and it does nothing more.
    fn forget(&self, pid: u32) {
        let program = self.inner().programs.remove(&pid);
        if let Some(program) = program {
            self.gone(program.machine, pid);
        }
    }

    /// Returns a program of the member that runs, if one does.
    pub fn some_program(&self, member: usize, drawn: u64) -> Option<u32> {
        let inner = self.inner();
        let of: Vec<u32> = inner.programs.iter().filter(|(_, one)| one.member == member).map(|(pid, _)| *pid).collect();
        (!of.is_empty()).then(|| of[(drawn % of.len() as u64) as usize])
    }

    /// Returns the newest engine of the member that lives, and its machine.
    pub fn engine_of(&self, member: usize) -> Option<(usize, usize)> {
        let inner = self.inner();
        let newest = inner.engines.iter().rev().find(|(_, engine)| engine.member == member);
        newest.map(|(whom, engine)| (*whom, engine.machine))
    }

    pub fn is_paused(&self, whom: usize) -> bool {
        self.inner().engines.get(&whom).is_some_and(|engine| engine.paused)
    }

    /// Lets an engine stand still, or go on. Whoever watches over it may give it up meanwhile.
    pub fn pause(&self, whom: usize, paused: bool, given_up: bool) {
        let done = self.inner().engines.get_mut(&whom).and_then(|engine| {
            engine.paused = paused;
            if given_up { engine.done.take() } else { None }
        });
        drop(done);
    }

    /// Says a word to an engine.
    pub fn tell(&self, whom: usize, word: Control) {
        if let Some(engine) = self.inner().engines.get(&whom) {
            engine.word.send_modify(|said| *said = std::mem::take(said).and(word));
        }
    }

    /// The process of an engine is gone, by itself or not; its guardian, if it lives, kills what it started and leaves.
    pub fn engine_gone(&self, whom: usize, ending: Option<Ending>, with_guardian: bool) {
        let Some(engine) = self.inner().engines.remove(&whom) else { return };
        self.gone(engine.machine, engine.pid);
        if ending.is_none() {
            self.inner().leaving.push(whom);
        }
        if let (Some(done), Some(ending)) = (engine.done, ending) {
            let _given_up = done.send(ending);
        }
        if with_guardian {
            self.inner().guardians.remove(&engine.guardian);
            self.gone(engine.machine, engine.guardian);
        } else {
            let (stage, guardian) = (self.clone(), engine.guardian);
            self.enter(async move { stage.guardian_leaves(guardian).await });
        }
    }

    async fn guardian_leaves(self, guardian: u32) {
        self.world.sleep_ms(1 + self.choice(1, u64::from(guardian)) % 20).await;
        self.end_programs(guardian, Order::Kill).await;
        let machine = self.inner().guardians.remove(&guardian).map(|guardian| guardian.machine);
        if let Some(machine) = machine {
            self.gone(machine, guardian);
        }
    }

    /// A guardian is killed: its programs die with it, before anybody hears of it.
    pub fn kill_guardian(&self, whom: usize) {
        let mut inner = self.inner();
        let Some(guardian) = inner.engines.get(&whom).map(|engine| engine.guardian) else { return };
        let Some(at) = inner.guardians.get_mut(&guardian) else { return };
        if std::mem::replace(&mut at.dying, true) {
            return;
        }
        let machine = at.machine;
        drop(inner);
        self.gone(machine, guardian);
        let stage = self.clone();
        self.enter(async move {
            stage.end_programs(guardian, Order::Orphaned).await;
            if let Some(guardian) = stage.inner().guardians.get(&guardian) {
                guardian.died.send_replace(true);
            }
        });
    }

    fn programs_of(&self, guardian: u32) -> Vec<u32> {
        let inner = self.inner();
        inner.programs.iter().filter(|(_, one)| one.guardian == guardian).map(|(pid, _)| *pid).collect()
    }

    async fn end_programs(&self, guardian: u32, order: Order) {
        loop {
            let of = self.programs_of(guardian);
            if of.is_empty() {
                return;
            }
            of.iter().for_each(|pid| self.order(*pid, order));
            self.world.sleep_ms(1).await;
        }
    }

    /// A machine goes, with all that lives and lies on it.
    pub fn lose(&self, machine: usize) {
        let inner = &mut *self.inner();
        inner.lost.insert(machine);
        let engines: Vec<usize> =
            inner.engines.iter().filter(|(_, one)| one.machine == machine).map(|(whom, _)| *whom).collect();
        for whom in engines {
            inner.engines.remove(&whom);
            inner.leaving.push(whom);
        }
        inner.guardians.retain(|_, guardian| guardian.machine != machine);
        inner.programs.retain(|_, program| program.machine != machine);
        inner.sockets.retain(|(of, _), _| *of != machine);
        self.world.state().processes.retain(|(of, _), _| *of != machine);
        let _nothing_there = self.disk.remove_dir_all(&home(machine));
    }

    /// Nobody goes on with what a member had driven.
    pub fn abandon(&self, member: usize) {
        self.inner().abandoned.insert(member);
    }

    pub fn is_abandoned(&self, member: usize) -> bool {
        self.inner().abandoned.contains(&member)
    }

    pub fn is_lost(&self, machine: usize) -> bool {
        self.inner().lost.contains(&machine)
    }

    /// Everybody dies: what comes afterwards is alone.
    pub fn clear(&self) {
        let mut inner = self.inner();
        let engines: Vec<usize> = inner.engines.keys().copied().collect();
        inner.leaving.extend(engines);
        inner.engines.clear();
        inner.guardians.clear();
        inner.programs.clear();
        inner.entering.clear();
        drop(inner);
        self.world.state().processes.clear();
    }

    pub fn listens(&self, machine: usize, path: &Path, to: mpsc::UnboundedSender<Connection>) {
        self.inner().sockets.insert((machine, path.to_owned()), to);
    }

    /// Connects to a socket of the machine, if somebody listens there.
    pub fn connect(&self, machine: usize, path: &Path) -> Option<tokio::io::DuplexStream> {
        let (ours, theirs) = tokio::io::duplex(64 << 10);
        let inner = self.inner();
        inner.sockets.get(&(machine, path.to_owned()))?.send(Box::new(theirs)).ok()?;
        Some(ours)
    }
}

/// Returns where the files of a machine lie.
pub(crate) fn home(machine: usize) -> PathBuf {
    PathBuf::from(format!("/m{machine}"))
}
