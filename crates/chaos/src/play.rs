//! One run, from its start through its strikes to its end.

use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::OsString,
    io,
    os::unix::process::ExitStatusExt,
    path::Path,
    process::Child,
    time::Duration,
};

use prunella_model::Digest;
use prunella_process::Signal;
use prunella_sys::{Random, Sys};

use crate::{
    adhoc::torn,
    fault::{Fault, Platform, Strike},
    find::{Found, mains, processes},
    metadata::Metadata,
    oracle::{Broken, Oracle, broken},
    site::Sites,
    storm::Sky,
    subject::{Arena, Subject, environment},
};

/// How long one waits for what must come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// For the end of a run that nobody disturbs any more.
    pub end: Duration,
    /// For an engine to end that was told to, or found itself replaced.
    pub engine: Duration,
}

/// What a run made.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Made {
    /// The content of every output, by name.
    pub results: BTreeMap<String, Digest>,
    /// The content of every file that was published to a path.
    pub published: BTreeMap<String, Digest>,
}

/// What was done to a run, and what came out.
#[derive(Debug, Default)]
pub struct Played {
    /// What happened, in order: milliseconds since the begin, and words.
    pub timeline: Vec<(u64, String)>,
    /// How many strikes hit something.
    pub strikes: u32,
    /// How often an engine was started.
    pub engines: u32,
    /// How long it took, by the clock on the wall.
    pub wall: Duration,
    /// What the run made; nothing if it did not succeed.
    pub made: Option<Made>,
    /// How the run ended: the exit code of its last engine.
    pub code: Option<i32>,
    /// The first invariant that did not hold.
    pub broken: Option<Broken>,
    /// The last words of the engines, if not all is well.
    pub last_words: Vec<String>,
}

pub(crate) const TICK: Duration = Duration::from_millis(2);

/// A run that is under way.
pub(crate) struct Live<'a> {
    pub(crate) sys: &'a Sys,
    pub(crate) subject: &'a Subject,
    pub(crate) arena: Arena,
    pub(crate) oracle: Oracle,
    pub(crate) random: &'a dyn Random,
    pub(crate) patience: Patience,
    pub(crate) sky: Sky,
    /// The id of the store, once there is one.
    store: Option<String>,
    pub(crate) engine: Child,
    /// An engine that was taken over from, until it has ended.
    replaced: Option<Child>,
    /// Another engine that was started at the same time, until one of the two has ended.
    pub(crate) rival: Option<Child>,
    /// The service that gives notice, where one is asked.
    metadata: Option<Metadata>,
    /// The steps that were made to take more memory than they say.
    pub(crate) exhausted: BTreeSet<String>,
    began: Duration,
    pub(crate) played: Played,
}

/// Runs the pipeline once in the empty directory `dir`, disturbed as the plan says, and checks that nothing was lost.
///
/// Nothing of the run is left running afterwards, whatever came out. `random` chooses which step is hit.
///
/// # Errors
/// The program cannot be started.
pub async fn play(
    sys: &Sys,
    subject: &Subject,
    dir: &Path,
    plan: &[Strike],
    random: &dyn Random,
    patience: Patience,
) -> io::Result<Played> {
    let mut live = Live::begin(sys, subject, dir, random, patience, (plan, &[]))?;
    let outcome = live.whole(plan).await;
    live.told(outcome).await
}

pub(crate) enum Ended {
    Broken(Broken),
    Start(io::Error),
}

impl From<Broken> for Ended {
    fn from(broken: Broken) -> Self {
        Self::Broken(broken)
    }
}

/// The exit code of an engine that ended and can be gone on from.
pub(crate) const RESUMABLE: i32 = 75;

impl<'a> Live<'a> {
    /// Starts the first engine, with these variables beside the others.
    pub(crate) fn begin(
        sys: &'a Sys,
        subject: &'a Subject,
        dir: &Path,
        random: &'a dyn Random,
        patience: Patience,
        (plan, variables): (&[Strike], &[(&str, OsString)]),
    ) -> io::Result<Self> {
        sys.fs.create_dir_all(dir)?;
        let arena = Arena::new(dir, &subject.sites);
        let oracle = Oracle::new(sys, arena.site());
        let metadata = Metadata::of(plan)?;
        let mut sky = Sky::before(plan, arena.faults(), random.u64());
        let all = environment(variables, metadata.as_ref(), sky.over_engine(&*sys.fs, 1)?, subject);
        let engine = arena.start(subject, false, &all)?;
        let played = Played { engines: 1, ..Played::default() };
        let (began, store, replaced, rival) = (sys.clock.monotonic(), None, None, None);
        let exhausted = BTreeSet::new();
        Ok(Self {
            sys,
            subject,
            arena,
            oracle,
            random,
            patience,
            sky,
            store,
            engine,
            replaced,
            rival,
            metadata,
            exhausted,
            began,
            played,
        })
    }

    /// Leaves nothing running, and tells what came out.
    pub(crate) async fn told(mut self, outcome: Result<(), Ended>) -> io::Result<Played> {
        self.kill_everything().await;
        self.played.wall = self.sys.clock.monotonic() - self.began;
        match outcome {
            Ok(()) => {}
            Err(Ended::Broken(broken)) => self.played.broken = Some(broken),
            Err(Ended::Start(error)) => return Err(error),
        }
        if self.played.made.is_none() || self.played.broken.is_some() {
            self.played.last_words = self.arena.last_words(40);
        }
        Ok(self.played)
    }
}

impl Live<'_> {
    pub(crate) async fn whole(&mut self, plan: &[Strike]) -> Result<(), Ended> {
        for strike in plan {
            if self.wait(strike.after).await?.is_some() {
                return self.end().await;
            }
            if self.carry_out(strike.fault).await? {
                self.played.strikes += 1;
            }
            self.oracle.check().await?;
            self.published_is_whole()?;
        }
        if self.wait(self.patience.end).await?.is_none() {
            return Err(broken("I10 ends", "the run does not end").into());
        }
        self.end().await
    }

    /// I1: what is published is at every instant what it is in the end, or not there.
    pub(crate) fn published_is_whole(&self) -> Result<(), Broken> {
        let Some(expected) = &self.subject.published else { return Ok(()) };
        match torn(expected, &self.arena.published()).first() {
            None => Ok(()),
            Some(path) => Err(broken("I1 visible", format!("published `{path}` is not what the undisturbed run made"))),
        }
    }

    /// Looks at what a run left that has ended.
    pub(crate) async fn end(&mut self) -> Result<(), Ended> {
        if self.oracle.has_rotten() {
            self.mend().await?;
        }
        self.oracle.check().await?;
        let published = self.arena.published();
        if self.played.code == Some(0) {
            if self.oracle.has_rotten() {
                self.oracle.results_are_whole(&self.subject.pipeline).await?;
            }
            let results = self.oracle.results(&self.subject.pipeline).await?;
            self.played.made = Some(Made { results, published });
        }
        self.learn().await;
        let until = self.sys.clock.monotonic() + self.patience.engine;
        loop {
            match self.ours().first() {
                None => return Ok(()),
                Some(_) if self.sys.clock.monotonic() < until => self.sys.clock.sleep(TICK).await,
                Some(left) => {
                    let what = format!("process {} of {:?} is left running", left.pid, left.attempt);
                    return Err(broken("I5 fence", what).into());
                }
            }
        }
    }

    pub(crate) fn note(&mut self, what: impl std::fmt::Display) {
        let at = self.sys.clock.monotonic() - self.began;
        self.played.timeline.push((u64::try_from(at.as_millis()).unwrap_or(u64::MAX), what.to_string()));
    }

    pub(crate) fn ours(&self) -> Vec<Found> {
        ours(&self.arena, self.store.as_deref())
    }

    /// Learns whose attempts are ours, as soon as there is a store.
    async fn learn(&mut self) {
        if self.store.is_none() {
            self.store = id_of(&self.oracle).await;
        }
    }

    /// Waits so long, or until the run has ended; an engine that ended and can be gone on from is started again.
    pub(crate) async fn wait(&mut self, patience: Duration) -> Result<Option<i32>, Ended> {
        let until = self.sys.clock.monotonic() + patience;
        loop {
            if let Some(status) = self.engine.try_wait().map_err(Ended::Start)? {
                match status.code() {
                    Some(RESUMABLE) => self.again().await?,
                    Some(code) => {
                        self.note(format!("the run ended with {code}"));
                        self.played.code = Some(code);
                        return Ok(Some(code));
                    }
                    None => return Err(broken("I10 ends", format!("an engine ended by itself with {status}")).into()),
                }
            }
            self.clear_up().await?;
            if self.sys.clock.monotonic() >= until {
                return Ok(None);
            }
            self.sys.clock.sleep(TICK).await;
        }
    }

    pub(crate) fn go_on(&mut self) -> Result<(), Ended> {
        self.go_on_with(&[])
    }

    /// Starts the next engine, with these variables beside the others; one that was to take over, and could not, is to do so still.
    pub(crate) fn go_on_with(&mut self, variables: &[(&str, OsString)]) -> Result<(), Ended> {
        if let Some(metadata) = &self.metadata {
            metadata.of_another_machine();
        }
        // One that was to take over, and could not, is to do so still.
        self.engine = self.another(self.replaced.is_some(), variables)?;
        Ok(())
    }

    /// Starts an engine beside the one that is there.
    pub(crate) fn another(&mut self, take_over: bool, variables: &[(&str, OsString)]) -> Result<Child, Ended> {
        self.played.engines += 1;
        let faults = self.sky.over_engine(&*self.sys.fs, self.played.engines).map_err(Ended::Start)?;
        let all = environment(variables, self.metadata.as_ref(), faults, self.subject);
        self.arena.start(self.subject, take_over, &all).map_err(Ended::Start)
    }

    /// Returns one of these, chosen at random.
    pub(crate) fn one_of<'t, T>(&self, all: &'t [T]) -> Option<&'t T> {
        all.get(usize::try_from(self.random.u64() % all.len().max(1) as u64).unwrap_or(0))
    }

    /// Carries a fault out; says whether there was something to do it to.
    async fn carry_out(&mut self, fault: Fault) -> Result<bool, Ended> {
        if self.weather_changes(fault).map_err(Ended::Start)? {
            self.note(fault);
            return Ok(true);
        }
        self.learn().await;
        let all = self.ours();
        let engine = all.iter().find(|found| found.pid == self.engine.id()).cloned();
        let guardian = all.iter().find(|found| found.guardian && found.parent == self.engine.id()).cloned();
        let step = self.one_of(&mains(&all)).map(|found| (*found).clone());
        let name = step.as_ref().and_then(|found| found.step.clone()).unwrap_or_default();
        let hit = match fault {
            Fault::Notice { by, .. } => engine.as_ref().is_some_and(|engine| self.give_notice(engine, by)),
            Fault::Machine | Fault::TwoEngines => kill(&all),
            Fault::Engine => engine.as_ref().is_some_and(|engine| engine.signal(Signal::KILL)),
            Fault::Guardian => guardian.is_some_and(|guardian| guardian.signal(Signal::KILL)),
            Fault::Step => step.as_ref().is_some_and(|step| step.signal(Signal::KILL)),
            Fault::Freeze { .. } => step.as_ref().is_some_and(|step| of_attempt(&all, step, Signal::STOP)),
            Fault::Zombie => engine.as_ref().is_some_and(|engine| engine.signal(Signal::STOP)),
            // These tell by themselves what they hit.
            Fault::Memory => return self.exhaust(&all).await,
            Fault::Rot => return Ok(self.rot()),
            // That was the weather.
            _ => false,
        };
        if !hit {
            return Ok(false);
        }
        match fault {
            Fault::Step | Fault::Freeze { .. } => self.note(format!("{fault}: {name}")),
            _ => self.note(fault),
        }
        match fault {
            Fault::Notice { grace, .. } => self.machine_goes(grace).await?,
            Fault::Machine | Fault::Engine => self.engine_is_gone().await?,
            Fault::Freeze { lasting } => {
                let ended = self.wait(lasting).await;
                let _gone = step.is_some_and(|step| of_attempt(&self.ours(), &step, Signal::CONT));
                ended?;
            }
            Fault::Zombie => self.come_back(engine).await?,
            Fault::TwoEngines => self.two_go_on().await?,
            _ => {}
        }
        Ok(true)
    }

    /// Gives word that the machine goes, in the way of whoever gives it.
    fn give_notice(&self, engine: &Found, by: Option<Platform>) -> bool {
        match &self.metadata {
            Some(metadata) if by == Some(metadata.platform()) => {
                metadata.give_notice(self.sys.clock.wall_ms());
                true
            }
            _ => engine.signal(Signal::TERM),
        }
    }

    /// The engine has been told; when the time is over, all is killed that is still there.
    async fn machine_goes(&mut self, grace: Duration) -> Result<(), Ended> {
        let until = self.sys.clock.monotonic() + grace;
        let mut status = None;
        while status.is_none() && self.sys.clock.monotonic() < until {
            self.clear_up().await?;
            self.sys.clock.sleep(TICK).await;
            status = self.engine.try_wait().map_err(Ended::Start)?;
        }
        match status {
            None => self.note("the time of the notice is over: killed"),
            Some(status) => self.note(format!("the engine was ready before: {status}")),
        }
        kill(&self.ours());
        let code = status.and_then(|status| status.code());
        let early = status.is_some_and(|status| status.signal().is_some());
        if !matches!(code, None | Some(0 | RESUMABLE)) && !early {
            return Err(broken("I10 ends", format!("after a notice the engine ended with {code:?}")).into());
        }
        self.engine_is_gone().await
    }

    /// Waits until the engine that was killed is gone, and starts another one as an orchestrator would.
    ///
    /// It may have been done with everything at that very moment: then whoever waits for it next is told so.
    async fn engine_is_gone(&mut self) -> Result<(), Ended> {
        let until = self.sys.clock.monotonic() + self.patience.engine;
        loop {
            match self.engine.try_wait().map_err(Ended::Start)?.map(|status| status.code()) {
                None if self.sys.clock.monotonic() > until => {
                    return Err(broken("I10 ends", "a killed engine does not end").into());
                }
                None => self.sys.clock.sleep(TICK).await,
                Some(None | Some(RESUMABLE)) => return self.go_on(),
                Some(Some(_)) => return Ok(()),
            }
        }
    }

    /// Another engine takes the run over from one that stands still, which then wakes and must end by itself.
    async fn come_back(&mut self, held: Option<Found>) -> Result<(), Ended> {
        let other = self.another(true, &[])?;
        self.replaced = Some(std::mem::replace(&mut self.engine, other));
        // It has taken over as soon as it works; if the run ends meanwhile, so much the better.
        let ended = self.wait(Duration::from_millis(500)).await;
        let _gone = held.is_some_and(|held| held.signal(Signal::CONT));
        ended?;
        let mut until = self.sys.clock.monotonic() + self.patience.engine;
        while let Some(zombie) = &mut self.replaced {
            if let Some(status) = zombie.try_wait().map_err(Ended::Start)? {
                self.replaced = None;
                self.note(format!("the engine that came back ended with {status}"));
                break;
            }
            if self.sys.clock.monotonic() > until {
                return Err(broken("I10 ends", "an engine that was replaced does not end").into());
            }
            self.clear_up().await?;
            if self.sky.is_stormy() {
                // Until it is over, perhaps nobody can take over.
                until = self.sys.clock.monotonic() + self.patience.engine;
            }
            if self.engine.try_wait().map_err(Ended::Start)?.and_then(|status| status.code()) == Some(RESUMABLE) {
                self.again().await?;
            }
            self.sys.clock.sleep(TICK).await;
        }
        Ok(())
    }

    async fn kill_everything(&mut self) {
        for child in self.replaced.iter_mut().chain(&mut self.rival).chain([&mut self.engine]) {
            let _ended = child.kill();
            let _ended = child.wait();
        }
        self.learn().await;
        leave_nothing(self.sys, || self.ours(), self.patience.engine).await;
    }
}

/// Kills all of these; says whether there was one.
pub(crate) fn kill(all: &[Found]) -> bool {
    all.iter().filter(|found| found.signal(Signal::KILL)).count() > 0
}

/// Sends a signal to every process of an attempt; says whether there was one.
fn of_attempt(all: &[Found], main: &Found, signal: Signal) -> bool {
    all.iter().filter(|found| found.attempt == main.attempt && found.signal(signal)).count() > 0
}

/// Kills all that runs in directories below `dir`: what was begun there and is not waited for any more.
pub async fn kill_all(sys: &Sys, sites: &Sites, dir: &Path) {
    for home in sys.fs.list(dir).unwrap_or_default() {
        let arena = Arena::new(&dir.join(home.name), sites);
        let store = id_of(&Oracle::new(sys, arena.site())).await;
        leave_nothing(sys, || ours(&arena, store.as_deref()), Duration::from_secs(2)).await;
    }
}

async fn id_of(oracle: &Oracle) -> Option<String> {
    oracle.store().await.ok().flatten().map(|store| store.id().to_owned())
}

/// Kills all that a run has left, for so long: who is killed may have begun somebody at that moment.
pub(crate) async fn leave_nothing(sys: &Sys, ours: impl Fn() -> Vec<Found>, patience: Duration) {
    let until = sys.clock.monotonic() + patience;
    while sys.clock.monotonic() < until {
        let left = ours();
        if left.is_empty() {
            return;
        }
        kill(&left);
        sys.clock.sleep(TICK).await;
    }
}

/// Returns the engines of a run, their guardians, and the processes of its steps.
fn ours(arena: &Arena, store: Option<&str>) -> Vec<Found> {
    let marker = arena.marker();
    let attempts = store.map(|id| format!("{}={id}/", prunella_process::ATTEMPT_ID).into_bytes());
    processes(|variable| variable == marker || attempts.as_ref().is_some_and(|prefix| variable.starts_with(prefix)))
}
