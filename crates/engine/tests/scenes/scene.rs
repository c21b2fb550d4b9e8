//! What the tests share: a pipeline from text, a store, engines that die when told, and an eye on what happens.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use prunella_attempt::{Control, EnvironmentUse, Host, Redactor, Secret, Told, Way};
use prunella_engine::{
    Again, Capacity, DriveOptions, EngineError, Loaded, Outcome, Plan, Seen, Spectator, drive, load_state, summarize,
};
use prunella_journal::{Event, RunState, Stamped, StepIndex, metrics};
use prunella_manifest::{FileKind, Files, Overrides, Source, read};
use prunella_model::*;
use prunella_objects::{Embedded, ObjectKey};
use prunella_process::{Guardian, GuardianOptions};
use prunella_store::records::{Closed, End, Owner, ProcessId, StoredArtifact};
use prunella_store::{Moved, NewRun, Store};
use prunella_sys::{Accelerators, Sys};
use tokio::sync::{Notify, watch};

pub type Test = (&'static str, fn());

/// Names a test after its function, which is async.
#[macro_export]
macro_rules! tests {
    ($($name:ident),* $(,)?) => {
        pub const TESTS: &[$crate::scene::Test] = &[$((stringify!($name), || $crate::scene::run($name()))),*];
    };
}

/// Longer than anything here takes on a busy machine; only a failing test gets there.
pub const DEADLINE: Duration = Duration::from_secs(60);

pub fn run(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async { tokio::time::timeout(DEADLINE, test).await.expect("the test takes too long") });
    runtime.shutdown_background();
}

/// A directory with a store, and whatever steps leave outside of it.
pub struct Scene {
    pub scratch: tempfile::TempDir,
    pub sys: Sys,
    pub secrets: BTreeMap<EnvName, Secret>,
    store: PathBuf,
}

impl Scene {
    pub fn new() -> Self {
        let scratch = tempfile::tempdir().unwrap();
        let store = scratch.path().join("store");
        Self { scratch, sys: Sys::real(), secrets: BTreeMap::new(), store }
    }

    /// A scene whose store and workspaces lie elsewhere.
    pub fn with_store_at(store: PathBuf) -> Self {
        Self { store, ..Self::new() }
    }

    pub fn store_dir(&self) -> &Path {
        &self.store
    }

    /// A path outside of every workspace.
    pub fn outside(&self, name: &str) -> String {
        self.scratch.path().join(name).display().to_string()
    }

    /// How often each word was written into the file `ran` outside.
    pub fn ran(&self) -> BTreeMap<String, usize> {
        let mut count = BTreeMap::new();
        for line in std::fs::read_to_string(self.outside("ran")).unwrap_or_default().lines() {
            *count.entry(line.to_owned()).or_default() += 1;
        }
        count
    }

    /// The graph of these steps. `$OUT` in the text is the outside, `$EXE` this program.
    pub fn graph(&self, steps: &str) -> Graph {
        self.graph_with(steps, "")
    }

    /// The graph of these steps, with keys of the pipeline behind them.
    pub fn graph_with(&self, steps: &str, keys: &str) -> Graph {
        let exe = std::env::current_exe().unwrap();
        let here = |text: &str| {
            text.replace("$OUT", &self.scratch.path().display().to_string()).replace("$EXE", &exe.display().to_string())
        };
        let (steps, keys) = (here(steps), here(keys));
        let indented: String = steps.lines().map(|line| format!("  {line}\n")).collect();
        let text = format!("prunella: v1\nname: scene\nsteps:\n{indented}{keys}");
        let source = Source { name: "scene".into(), text };
        let read = read(&source, &Overrides::default(), &NoFiles).unwrap_or_else(|wrong| panic!("{wrong:#?}"));
        Graph {
            format: GRAPH_FORMAT,
            pipeline: read.pipeline,
            data: BTreeMap::new(),
            code: None,
            step_code: BTreeMap::new(),
            environment: None,
            platform: Platform { os: "linux".into(), arch: "x86_64".into() },
            force: BTreeMap::new(),
            warm: BTreeMap::new(),
        }
    }

    pub fn open(&self) -> Store {
        Store::new(Arc::new(Embedded::open(&self.sys, &self.store).unwrap()), self.sys.clone())
    }

    /// An engine with a guardian of its own; its records name a process that can be killed in its place.
    pub async fn engine(&self) -> Engine {
        self.engine_on(self.open()).await
    }

    /// As [`Scene::engine`], on a store of the caller's.
    pub async fn engine_on(&self, store: Store) -> Engine {
        let guardian = Guardian::start(GuardianOptions::default()).await.unwrap();
        let body = Command::new("sleep").arg("1000").stdin(Stdio::null()).spawn().unwrap();
        let identity = guardian.identity();
        let mut owner = store.this_owner(Some(ProcessId { pid: identity.pid, start_ticks: identity.start_ticks }));
        let start_ticks = self.sys.machine.process_start_ticks(body.id()).unwrap();
        owner.process = ProcessId { pid: body.id(), start_ticks };
        let sockets = tempfile::Builder::new().prefix("scene").tempdir_in("/tmp").unwrap();
        let redactor = Redactor::new(self.secrets.iter().map(|(name, value)| (name.as_str(), value.0.as_str())));
        let host = Host {
            work: self.store.join("work"),
            digests: self.store.clone(),
            sockets: sockets.path().to_owned(),
            store,
            sys: self.sys.clone(),
            guardian,
            owner,
            environment: EnvironmentUse::default(),
            secrets: Arc::new(self.secrets.clone()),
            redactor: Arc::new(redactor),
            margin: Duration::from_millis(100),
            inherited: Arc::new(self.sys.env.vars_os()),
            pool: Arc::default(),
            traced: false,
        };
        let (word, control) = watch::channel(Control::Run);
        Engine {
            host,
            base: self.scratch.path().to_owned(),
            body,
            word,
            control,
            eye: Arc::default(),
            accelerators: Accelerators::default(),
            _sockets: sockets,
        }
    }
}

struct NoFiles;

impl Files for NoFiles {
    fn kind(&self, _: &str) -> Option<FileKind> {
        None
    }
    fn glob_matches(&self, _: &str) -> usize {
        0
    }
}

/// Everything that an engine was seen to do.
#[derive(Default)]
pub struct Eye {
    seen: Mutex<(Vec<Event>, Vec<String>)>,
    not_copied: Mutex<Vec<String>>,
    moved: Mutex<Vec<(Way, Moved)>>,
    watched: Mutex<Vec<Owner>>,
    more: Notify,
}

impl Spectator for Eye {
    fn watches(&self, driver: &Owner) {
        self.watched.lock().unwrap().push(driver.clone());
        self.more.notify_waiters();
    }

    fn event(&self, event: &Stamped, _: &RunState, _: &Plan) {
        self.seen.lock().unwrap().0.push(event.event.clone());
        self.more.notify_waiters();
    }

    fn told(&self, _: StepIndex, told: &Told, _: &Plan) {
        if let Told::NotCopied { why, .. } = told {
            self.not_copied.lock().unwrap().push(why.clone());
        }
        if let Told::Moving { way, moved } = told {
            self.moved.lock().unwrap().push((*way, *moved));
        }
        if let Told::Line { text, .. } = told {
            self.seen.lock().unwrap().1.push(text.clone());
            self.more.notify_waiters();
        }
    }
}

impl Eye {
    /// Why commits of other stores were not used.
    pub fn not_copied(&self) -> Vec<String> {
        self.not_copied.lock().unwrap().clone()
    }

    /// How far transfers of attempts were, as they were told.
    pub fn moved(&self) -> Vec<(Way, Moved)> {
        self.moved.lock().unwrap().clone()
    }

    pub fn events(&self) -> Vec<Event> {
        self.seen.lock().unwrap().0.clone()
    }

    /// Waits until something was seen, and returns it.
    pub async fn until<T>(&self, what: impl Fn(&Event) -> Option<T>) -> T {
        self.until_all(|events| events.iter().find_map(&what)).await
    }

    /// Waits until all that was seen so far amounts to something, and returns it.
    pub async fn until_all<T>(&self, what: impl Fn(&[Event]) -> Option<T>) -> T {
        loop {
            let more = self.more.notified();
            tokio::pin!(more);
            more.as_mut().enable();
            if let Some(found) = what(&self.seen.lock().unwrap().0) {
                return found;
            }
            more.await;
        }
    }

    /// Waits until a driver of another machine is watched, and returns whose.
    pub async fn until_watching(&self) -> Owner {
        loop {
            let more = self.more.notified();
            tokio::pin!(more);
            more.as_mut().enable();
            if let Some(owner) = self.watched.lock().unwrap().first() {
                return owner.clone();
            }
            more.await;
        }
    }

    /// Waits until a step has written this line.
    pub async fn until_line(&self, line: &str) {
        loop {
            let more = self.more.notified();
            tokio::pin!(more);
            more.as_mut().enable();
            if self.seen.lock().unwrap().1.iter().any(|one| one == line) {
                return;
            }
            more.await;
        }
    }

    /// Waits until a checkpoint is durable.
    pub async fn until_durable(&self) -> CheckpointId {
        self.until(|event| match event {
            Event::CheckpointDurable { checkpoint, .. } => Some(*checkpoint),
            _ => None,
        })
        .await
    }

    /// Waits until the program of an attempt runs, and returns its process.
    pub async fn until_running(&self) -> u32 {
        self.until(|event| match event {
            Event::ProcessStarted { pid, .. } => Some(*pid),
            _ => None,
        })
        .await
    }

    /// The classes of all ended attempts, in order.
    pub fn classes(&self) -> Vec<Class> {
        let class = |event: &Event| match event {
            Event::AttemptEnded { class, .. } => Some(*class),
            _ => None,
        };
        self.events().iter().filter_map(class).collect()
    }
}

pub struct Engine {
    pub host: Host,
    base: PathBuf,
    body: Child,
    word: watch::Sender<Control>,
    control: watch::Receiver<Control>,
    pub eye: Arc<Eye>,
    pub accelerators: Accelerators,
    _sockets: tempfile::TempDir,
}

impl Engine {
    pub async fn begin(&self, run: &str, graph: &Graph) -> RunId {
        self.begin_with(run, graph, Vec::new()).await
    }

    /// Begins a run that brings this in.
    pub async fn begin_with(&self, run: &str, graph: &Graph, brought: Vec<StoredArtifact>) -> RunId {
        let run = RunId::new(run).unwrap();
        let new = NewRun {
            run: run.clone(),
            graph: graph.clone(),
            brought,
            targets: Vec::new(),
            base: Some(self.base.clone()),
        };
        self.host.store.create_run(new).await.unwrap();
        run
    }

    pub async fn try_drive(&self, run: &RunId) -> Result<Outcome, EngineError> {
        self.drive_again(run, Again::default()).await
    }

    /// Drives a run that may have ended, and does this of it again.
    pub async fn drive_again(&self, run: &RunId, again: Again) -> Result<Outcome, EngineError> {
        let options = DriveOptions {
            capacity: Capacity { jobs: 4, cpu_millis: 64_000, memory_bytes: 64 << 30, gpu: 0 },
            accelerators: self.accelerators.clone(),
            take_over: false,
            again,
            version: "test".into(),
        };
        drive(self.host.clone(), run.clone(), &options, self.control.clone(), self.eye.clone()).await
    }

    pub async fn drive(&self, run: &RunId) -> Outcome {
        match tokio::time::timeout(DEADLINE / 2, self.try_drive(run)).await {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(error)) => panic!("{error}: {:#?}", self.eye.events()),
            Err(_) => {
                let events = load_state(&self.host.store, run).await.unwrap().events;
                let lines: Vec<String> = events.iter().map(|one| format!("{} {:?}", one.mono, one.event)).collect();
                panic!("the run does not end:\n{}", lines.join("\n"));
            }
        }
    }

    /// Begins a run and drives it to its end.
    pub async fn complete(&self, run: &str, graph: &Graph) -> Outcome {
        let run = self.begin(run, graph).await;
        self.drive(&run).await
    }

    pub fn say(&self, word: Control) {
        self.word.send_modify(|said| *said = std::mem::take(said).and(word));
    }

    /// Dies as by SIGKILL, with its guardian: what was being driven has been dropped by the caller.
    pub async fn die(mut self) {
        self.body.kill().unwrap();
        self.body.wait().unwrap();
        self.host.guardian.clone().stop().await;
    }

    /// Deletes what lies behind an output of a step or an item, as a disk that loses bytes; says which commit's and where.
    pub async fn lose(&self, run: &RunId, of: &StepId, output: &str) -> (SlotId, String) {
        let slot = self.bound(run, of).await;
        let committed = self.host.store.committed(&slot).await.unwrap().unwrap();
        let object = committed.artifacts[&PortName::new(output).unwrap()].object.clone();
        assert!(self.host.store.objects().delete(&ObjectKey::new(&object).unwrap()).await.unwrap());
        (slot, object)
    }

    /// The commit that a step of the run is bound to; waits until that is written, which is a moment after the commit itself.
    pub async fn bound(&self, run: &RunId, step: &StepId) -> SlotId {
        loop {
            match self.host.store.binding(run, step).await.unwrap() {
                Some(slot) => return slot,
                None => tokio::task::yield_now().await,
            }
        }
    }

    /// The newest bytes of an output of a step, if it was committed in that run.
    pub async fn result(&self, run: &RunId, step: &str, output: &str) -> Option<Vec<u8>> {
        let step = StepId::plain(StepName::new(step).unwrap());
        let slot = self.host.store.binding(run, &step).await.unwrap()?;
        let committed = self.host.store.committed(&slot).await.unwrap()?;
        let stored = committed.artifacts[&PortName::new(output).unwrap()].clone();
        let to = tempfile::tempdir().unwrap();
        self.host.store.lay_out(&stored, &to.path().join("x")).await.unwrap();
        Some(std::fs::read(to.path().join("x")).unwrap())
    }

    /// The class of every closed slot of the step's key, in order.
    pub async fn closed(&self, slot: &SlotId) -> Vec<Closed> {
        let view = self.host.store.look(&slot.key).await.unwrap();
        let closed = |view: &prunella_store::SlotView| match &view.end.as_ref()?.end {
            End::Closed(closed) => Some(closed.clone()),
            End::Committed(_) => None,
        };
        view.slots.values().map(|view| &**view).filter_map(closed).collect()
    }

    /// Checks that the journal folds and that what it calls done verifies, and that a summary says the same.
    pub async fn check(&self, run: &RunId) {
        let Loaded { record, plan, state, events, .. } = load_state(&self.host.store, run).await.unwrap();
        summarize(&self.host.store, run).await.unwrap();
        let seen = Seen::of(&self.host.store, run).await.unwrap();
        assert!(seen.state == state && seen.figures == metrics(&events));
        for step in plan.indices().take(20) {
            let closer = seen.closer(&self.host.store, &BTreeSet::from([step])).await.unwrap();
            assert_eq!(closer.plan.step(step), plan.step(step));
            assert_eq!((closer.record.at_ms, &closer.record.brought), (record.at_ms, &record.brought));
            let about = |stamped: &&Stamped| stamped.event.step() == Some(plan.id(step));
            assert!(closer.events.iter().eq(events.iter().filter(about)));
        }
        for step in plan.indices() {
            let Some(done) = state.done(step) else { continue };
            for one in self.host.store.verify_slot(&done.slot).await.unwrap() {
                one.outcome.unwrap_or_else(|error| panic!("I1: {} of {}: {error}", one.port, plan.id(step)));
            }
        }
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        let _gone_before = self.body.kill();
        let _gone_before = self.body.wait();
    }
}

/// The slot of the first attempt that was started.
pub fn first_slot(eye: &Eye) -> SlotId {
    let slot = |event: &Event| match event {
        Event::AttemptStarted { slot, .. } => Some(*slot),
        _ => None,
    };
    eye.events().iter().find_map(slot).expect("an attempt was started")
}

/// Kills a process as anybody might.
pub fn kill(pid: u32) {
    let pid = rustix::process::Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
}

pub fn terminate(pid: u32) {
    let pid = rustix::process::Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
}
