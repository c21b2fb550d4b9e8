//! Members that have runs driven: one engine process after the other, each the product's, until the run has ended.

use std::{
    io::Write as _,
    path::PathBuf,
    sync::{Arc, Mutex},
    time::Duration,
};

use prunella_attempt::{Control, EnvironmentUse, Host};
use prunella_engine::{Again, Capacity, DriveOptions, EngineError, drive};
use prunella_journal::{Event, RunState, RunStatus};
use prunella_model::RunId;
use prunella_store::{
    NewRun, StoreError,
    records::{Owner, ProcessId},
};
use prunella_sys::{Accelerators, Fs};
use tokio::sync::watch;

use super::{
    eye::Eye,
    keeper::Keeper,
    scene,
    stage::{Ending, Stage, home},
};
use crate::machine::Process;

/// How many runs a member has driven, one after the other.
const RUNS: u64 = 2;
/// More processes than faults can end.
const LIVES: u64 = 200;

/// What is known of a run.
#[derive(Clone)]
pub(crate) struct Driven {
    /// What its name begins with.
    name: String,
    pub run: RunId,
    pub variant: u64,
    /// How it ended; nothing if it did not, or was given up by a collection.
    pub status: Option<RunStatus>,
    /// The state of its last driver at its end.
    pub state: Option<RunState>,
    /// What its last driver appended.
    pub events: Vec<Event>,
}

impl Driven {
    pub fn new(name: &str, variant: u64) -> Self {
        let run = RunId::new(name).expect("an id");
        Self { name: name.to_owned(), run, variant, status: None, state: None, events: Vec::new() }
    }
}

/// The runs of all members, for the judgement at the end.
pub(crate) type Book = Arc<Mutex<Vec<Driven>>>;

/// Has runs driven until each has ended.
pub(crate) async fn drives_runs(stage: Stage, member: usize, book: Book) {
    let (mut lives, mut place) = (0, Place::new(&stage, member));
    for number in 0..RUNS {
        let variant = stage.choice(10 + member as u64, number) % 2;
        let known = Driven::new(&format!("run-{member}-{number}"), variant);
        let known = Arc::new(Mutex::new(known));
        let mut ended = false;
        for life in 0..LIVES {
            lives += 1;
            let drawn = stage.choice(20 + member as u64, lives);
            let machine = place.next(&stage, drawn);
            let take_over = life > 0 && (drawn >> 8).is_multiple_of(12);
            let engine = Engine { member, machine, lives, take_over, known: known.clone() };
            match engine.lives(&stage).await {
                Some(Ending::Ended(RunStatus::Succeeded | RunStatus::Failed) | Ending::GivenUp) => ended = true,
                // Stopped, refused, or dead: another one goes on.
                Some(Ending::Ended(RunStatus::Stopped) | Ending::Left(_)) | None => {}
            }
            if stage.is_abandoned(member) {
                return;
            }
            if ended {
                break;
            }
            let most = 20_000 << life.min(3);
            stage.world.sleep_ms(1000 + (drawn >> 16) % most).await;
        }
        let driven = known.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).clone();
        if !ended {
            let what = format!("run {} did not end in {LIVES} processes", driven.run);
            stage.world.state().oracle.broken("I10", what);
        }
        book.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).push(driven);
    }
}

/// On which machine a member's next engine is.
struct Place {
    machine: usize,
}

impl Place {
    fn new(stage: &Stage, member: usize) -> Self {
        // In every third world both are on one machine.
        let together = stage.choice(3, 0).is_multiple_of(3);
        Self { machine: if together { 1000 } else { 1000 + member } }
    }

    fn next(&mut self, stage: &Stage, drawn: u64) -> usize {
        if stage.is_lost(self.machine) || drawn.is_multiple_of(4) {
            self.machine = stage.number();
        }
        self.machine
    }
}

/// One engine process.
pub(crate) struct Engine {
    pub member: usize,
    pub machine: usize,
    pub lives: u64,
    pub take_over: bool,
    pub known: Arc<Mutex<Driven>>,
}

impl Engine {
    /// Starts it and waits for its end; nothing is known of one that is killed.
    pub async fn lives(self, stage: &Stage) -> Option<Ending> {
        let (whom, member, machine) = (stage.number(), self.member, self.machine);
        let here = home(machine);
        let fs: Arc<dyn Fs> = Arc::new(stage.disk.of(machine));
        let sockets = here.join(format!("s{whom}"));
        for directory in [&here.join("work"), &sockets] {
            let _full = fs.create_dir_all(directory);
        }
        let process = Process::start_as(&stage.world, &fs, member, whom, machine, Some(whom));
        let keeper = Keeper::new(stage, (whom, member, machine));
        let (pid, guardian) = (process.pid, keeper.pid);
        stage.say(member, "engine", &format!("{whom} on machine {machine}"));
        let host = host(&process, keeper, here, sockets);
        let (word, control) = watch::channel(Control::Run);
        let stage_too = stage.clone();
        let main = Box::pin(async move { self.main(stage_too, process, host, control).await });
        let ending = stage.engine((whom, member, machine), (pid, guardian), word, main).await.ok();
        stage.say(member, "engine ends", &format!("{whom} {ending:?}"));
        ending
    }

    async fn main(self, stage: Stage, process: Process, host: Host, control: watch::Receiver<Control>) -> Ending {
        let store = process.store.clone();
        let (name, mut run, variant) = {
            let known = self.known.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
            (known.name.clone(), known.run.clone(), known.variant)
        };
        match store.graph(&run).await {
            Ok(_) => {}
            Err(StoreError::NoRun { .. }) => {
                // Whether an earlier process got as far as that nobody knows: each has a name of its own.
                run = RunId::new(&format!("{name}-{}", self.lives)).expect("an id");
                if let Err(error) = self.begins(&stage, &process, &run, variant).await {
                    return Ending::Left(error.to_string());
                }
                let mut known = self.known.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
                // One that stood still meanwhile begins a run of its own, and another may have ended one.
                if known.status.is_none() {
                    known.run = run.clone();
                }
            }
            Err(error) => return Ending::Left(error.to_string()),
        }
        let options = DriveOptions {
            capacity: Capacity { jobs: 4, cpu_millis: 64_000, memory_bytes: 64 << 30, gpu: 0 },
            accelerators: Accelerators::default(),
            take_over: self.take_over,
            again: Again::default(),
            version: "simulated".into(),
        };
        let eye = Eye::new(&stage, self.member, &run);
        let driven = drive(host, run.clone(), &options, control, eye.clone()).await;
        match driven {
            Ok(outcome) => {
                let mut known = self.known.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
                if outcome.status != RunStatus::Stopped {
                    known.run = run;
                    known.status = Some(outcome.status);
                    known.state = Some(outcome.state);
                    known.events = eye.events();
                }
                Ending::Ended(outcome.status)
            }
            Err(EngineError::Store(StoreError::GivenUp { .. })) => {
                stage.world.state().oracle.was_given_up(&run);
                Ending::GivenUp
            }
            Err(error) => Ending::Left(error.to_string()),
        }
    }

    async fn begins(&self, stage: &Stage, process: &Process, run: &RunId, variant: u64) -> Result<(), StoreError> {
        let store = &process.store;
        let path = home(self.machine).join(format!("raw-{}.txt", self.lives));
        let written = process.fs.create_new(&path).and_then(|mut file| file.write_all(&scene::raw(variant)));
        written.map_err(|source| StoreError::Io { path: path.clone(), source })?;
        let known = store.brought_before(&scene::name()).await?;
        let contents = scene::artifact(variant).into();
        let brought = store.bring_in(run, &path, &contents, &known, &PathBuf::from("/notes")).await?;
        let graph = scene::graph(variant);
        let new =
            NewRun { run: run.clone(), graph, brought: vec![brought], targets: Vec::new(), base: Some(scene::base()) };
        store.create_run(new).await?;
        stage.world.state().oracle.began(run);
        Ok(())
    }
}

fn host(process: &Process, keeper: Keeper, here: PathBuf, sockets: PathBuf) -> Host {
    let owner = Owner { guardian: Some(ProcessId { pid: keeper.pid, start_ticks: 1 }), ..process.owner.clone() };
    Host {
        store: process.store.clone(),
        sys: process.store.sys().clone(),
        guardian: keeper.guardian(),
        owner,
        work: here.join("work"),
        digests: here.clone(),
        sockets,
        environment: EnvironmentUse::default(),
        secrets: Arc::default(),
        redactor: Arc::default(),
        margin: Duration::from_secs(1),
        inherited: Arc::default(),
        pool: Arc::default(),
        traced: false,
    }
}
