//! A member that drives runs: one process after the other, each as the product's engine orders its steps.

use std::{
    collections::BTreeMap,
    io::Write as _,
    path::{Path, PathBuf},
    time::Duration,
};

use async_trait::async_trait;
use prunella_model::{
    Artifact, ArtifactKind, Digest, PipelineName, PortName, RunId, SlotId, StepId, StepKey, StepName, Target,
};
use prunella_objects::ObjectsError;
use prunella_store::{
    Caretaker, ClaimRequest, Claimed, Claimer, DriverLease, Effect, Filled, Guarded, KeyView, NewRun, ReadyCommit,
    Snapshot, Store, StoreError,
    records::{AliveRecord, Closed, StartRecord, StoredArtifact},
};
use prunella_testkit::records::{closed, graph, provenance};

use crate::{machine::Process, world::World};

/// Where all runs publish.
pub(crate) const TARGET: &str = "/out/page";
/// How many runs an engine drives, one after the other.
pub(crate) const RUNS: u64 = 2;
/// More processes than faults can end.
const LIVES: usize = 24;
const STEPS: usize = 2;

/// How a run came out for one of its processes.
enum Out {
    Succeeded,
    /// It was given up by a collection.
    GivenUp,
}

/// Why a process leaves a run without a word from the store: another has it, or it does not come on.
enum Left {
    Store(StoreError),
    Fenced,
    NotMine,
}

impl From<StoreError> for Left {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

/// Drives runs until they have succeeded; returns how many did not.
pub(crate) async fn drive_runs(
    world: World,
    fs: std::sync::Arc<dyn prunella_sys::Fs>,
    member: usize,
    runs: u64,
) -> usize {
    let mut life = 0;
    let mut unfinished = 0;
    for number in 0..runs {
        let mut name = RunId::new(&format!("run-{member}-{number}")).expect("an id");
        let mut done = false;
        for _ in 0..LIVES {
            let machine =
                if life == 0 { member % 2 } else { (crate::draw::draw(world.seed(), 5, life as u64) % 2) as usize };
            let process = Process::start(&world, &fs, member, life, machine);
            life += 1;
            let mut engine =
                Engine { process: &process, variant: process.choice(100 + number) % 2, number, name: &mut name };
            match process.run(engine.run()).await {
                Some(Ok(Out::Succeeded)) => done = true,
                // Only a run that fell out of retention may be given up, and that after all faults is none.
                Some(Ok(Out::GivenUp)) => done = member < crate::plan::MEMBERS,
                Some(Err(Left::Store(_) | Left::Fenced | Left::NotMine)) | None => {}
            }
            if done {
                break;
            }
            // Longer and longer, as an orchestrator waits: somebody who stands still for hours must not use them all up.
            let most = 60_000 << (life % LIVES).min(8);
            world.sleep_ms(1000 + process.choice(200 + life as u64) % most).await;
        }
        unfinished += usize::from(!done);
    }
    unfinished
}

struct Engine<'a> {
    process: &'a Process,
    /// Which of two contents the run has.
    variant: u64,
    number: u64,
    name: &'a mut RunId,
}

/// What a step of a run has.
#[derive(Clone)]
struct Have {
    slot: SlotId,
    stored: StoredArtifact,
}

impl Engine<'_> {
    async fn run(&mut self) -> Result<Out, Left> {
        let store = &self.process.store;
        let record = match store.graph(self.name).await {
            Ok(record) => record,
            Err(StoreError::NoRun { .. }) => {
                *self.name = RunId::new(&format!("run-{}-{}-{}", self.process.member, self.number, self.process.life))
                    .expect("an id");
                self.create().await?
            }
            Err(error) => return Err(error.into()),
        };
        let run = self.name.clone();
        let n = match self.lease(&run).await {
            Ok(n) => n,
            Err(Left::Store(StoreError::GivenUp { .. })) => return Ok(self.given_up(&run)),
            Err(left) => return Err(left),
        };
        let work = async {
            let haves = self.steps(&run, n, &record.brought[0]).await?;
            self.ends(&run, n, record.order, &haves).await
        };
        tokio::select! {
            biased;
            out = work => match out {
                Err(Left::Store(StoreError::GivenUp { .. })) => Ok(self.given_up(&run)),
                out => out,
            },
            () = self.beat(|counter| { let run = run.clone(); async move { store.driver_alive(&run, n, counter).await } }) => {
                unreachable!("a heart beats for ever")
            }
        }
    }

    fn given_up(&self, run: &RunId) -> Out {
        self.process.world.state().oracle.was_given_up(run);
        Out::GivenUp
    }

    async fn beat<F: Future<Output = Result<(), StoreError>>>(&self, alive: impl Fn(u64) -> F) {
        for counter in 1.. {
            self.process.sleep(10).await;
            let _a_hint = alive(counter).await;
        }
    }

    async fn create(&self) -> Result<prunella_store::records::GraphRecord, Left> {
        let (store, run) = (&self.process.store, self.name.clone());
        let bytes = format!("data {}", self.variant).into_bytes();
        let path = self.file("data", &bytes)?;
        let known = store.brought_before(&pipeline()).await?;
        let artifact =
            Artifact { kind: ArtifactKind::File, digest: Digest::of(&bytes), size_bytes: bytes.len() as u64 };
        let notes = PathBuf::from("/notes");
        let brought = store.bring_in(&run, &path, &artifact.into(), &known, &notes).await?;
        let new = NewRun { run, graph: graph(pipeline()), brought: vec![brought], targets: Vec::new(), base: None };
        let record = store.create_run(new).await?;
        self.process.world.state().oracle.began(self.name);
        Ok(record)
    }

    async fn lease(&self, run: &RunId) -> Result<u64, Left> {
        let take_over = self.process.choice(300 + self.process.life as u64).is_multiple_of(12);
        for _ in 0..8 {
            match self.process.store.drive(run, &self.process.owner, take_over, false).await? {
                DriverLease::Ours { n, .. } => return Ok(n),
                DriverLease::Live(..) => self.process.sleep(25).await,
            }
        }
        Err(Left::NotMine)
    }

    /// Does all steps; what is found damaged is made anew, its producer first.
    async fn steps(&self, run: &RunId, n: u64, brought: &StoredArtifact) -> Result<Vec<Have>, Left> {
        let store = &self.process.store;
        let mut haves: Vec<Have> = Vec::new();
        for round in 0..14 {
            let at = haves.len();
            if at == STEPS {
                return Ok(haves);
            }
            store.still_driving(run, n).await?;
            let input = haves.last().map_or(brought, |have| &have.stored).clone();
            if !self.reads(run, &input).await? {
                let Some(producer) = haves.pop() else { return Err(Left::NotMine) };
                store.mark_damaged(&producer.slot, &input.object, "it could not be read").await?;
                continue;
            }
            let step = step(at);
            let key = StepKey(Digest::of(format!("{at} {}", input.artifact.digest).as_bytes()));
            let have = self.step(run, &step, key, at, round).await?;
            let binding = Store::binding_op(run, &step, 100 * n + round, have.slot);
            store.objects().batch(vec![binding]).await.map_err(|error| Left::Store(error.into()))?;
            haves.push(have);
        }
        Err(Left::NotMine)
    }

    /// Reads an input as an attempt does; false if it is damaged.
    async fn reads(&self, run: &RunId, stored: &StoredArtifact) -> Result<bool, Left> {
        let to = self.directory("input")?.join("it");
        match self.process.store.lay_out(stored, &to).await {
            Ok(_) => {
                let bytes = self.process.fs.read(&to).map_err(|source| io(&to, source))?;
                self.process.world.state().oracle.was_read(stored, &bytes);
                Ok(true)
            }
            Err(StoreError::Damaged { .. }) => {
                self.process.world.state().oracle.was_lost(&format!("run {run}"), stored);
                Ok(false)
            }
            Err(error) => Err(error.into()),
        }
    }

    async fn step(&self, run: &RunId, step: &StepId, key: StepKey, at: usize, round: u64) -> Result<Have, Left> {
        let store = &self.process.store;
        let drawn = self.process.choice(1000 + 100 * self.process.life as u64 + 10 * round + at as u64);
        let mut expected = None;
        if !drawn.is_multiple_of(3) {
            match store.guard(run, &[key]).await?.pop() {
                Some(Guarded::Committed(slot, committed)) => return Ok(self.uses(run, slot, &committed.artifacts)),
                Some(Guarded::Missed(epoch)) => expected = epoch,
                None => {}
            }
        }
        let request = ClaimRequest {
            run: run.clone(),
            step: step.clone(),
            key,
            owner: self.process.owner.clone(),
            retry_index: drawn.is_multiple_of(5).then_some(self.process.life as u64),
            take_over: drawn.is_multiple_of(11),
            expected,
            observed: Default::default(),
        };
        match store.claim(&request, &Words).await? {
            Claimed::Reused(slot, committed) => Ok(self.uses(run, slot, &committed.artifacts)),
            Claimed::Stopped => Err(Left::NotMine),
            Claimed::Ours(slot, _) => {
                self.process.world.state().oracle.claimed(&slot, store.writer().as_str());
                let alive = |counter| {
                    let alive = AliveRecord::of(store.writer(), counter);
                    async move { store.attempt_alive(&slot, &alive).await }
                };
                tokio::select! {
                    biased;
                    have = self.attempt(run, step, slot, at, drawn) => have,
                    () = self.beat(alive) => unreachable!("a heart beats for ever"),
                }
            }
        }
    }

    fn uses(&self, run: &RunId, slot: SlotId, artifacts: &BTreeMap<PortName, StoredArtifact>) -> Have {
        self.process.world.state().oracle.relies(run, &slot);
        Have { slot, stored: artifacts.values().next().expect("every step has an output").clone() }
    }

    async fn attempt(&self, run: &RunId, step: &StepId, slot: SlotId, at: usize, drawn: u64) -> Result<Have, Left> {
        let store = &self.process.store;
        let directory = self.directory("restored")?;
        let restored = store.restore_newest(&slot, &directory, |_| true, |_, _| {}).await?;
        if let Some((_, record)) = &restored {
            let path = directory.join(&record.entry);
            let bytes = self.process.fs.read(&path).map_err(|source| io(&path, source))?;
            self.process.world.state().oracle.was_read(&record.stored, &bytes);
        }
        let from = restored.map(|(id, _)| id);
        self.process.world.state().oracle.restored(&slot, from.as_ref());
        let count = (drawn >> 8) % 3;
        for seq in 1..=count {
            let path = self.file("staged", format!("{slot} after {seq}").as_bytes())?;
            match store.put_checkpoint(&slot, seq, "state", &path, None).await? {
                Snapshot::Durable { id, .. } => self.process.world.state().oracle.durable(&id),
                Snapshot::Fenced => return Err(Left::Fenced),
            }
            self.process.sleep(1 + (drawn >> 16) % 20).await;
        }
        if (drawn >> 24).is_multiple_of(4) {
            store.close(&slot, closed(run.clone(), step.clone())).await?;
            return Err(Left::NotMine);
        }
        // Every second world has programs that never make the same bytes twice.
        let once = if self.process.world.seed().is_multiple_of(2) { format!(" {slot}") } else { String::new() };
        let path = self.file("output", format!("step {at} of {}{once}", slot.key).as_bytes())?;
        let taken = store.take_output(&slot, &path, ArtifactKind::File).await?;
        let stored = taken.stored.clone();
        let ready = ReadyCommit {
            artifacts: BTreeMap::from([(PortName::new("out").expect("a name"), taken.stored)]),
            objects: taken.objects,
            provenance: provenance(pipeline()),
            timeline: Default::default(),
        };
        match store.commit(&slot, ready).await? {
            Filled::Ours => {
                let mut state = self.process.world.state();
                state.oracle.committed(&slot, store.writer().as_str());
                state.oracle.relies(run, &slot);
                Ok(Have { slot, stored })
            }
            Filled::Theirs(_) => Err(Left::Fenced),
        }
    }

    /// Publishes, moves the names, and ends the run.
    async fn ends(&self, run: &RunId, n: u64, order: u64, haves: &[Have]) -> Result<Out, Left> {
        let store = &self.process.store;
        store.still_driving(run, n).await?;
        let last = haves.last().expect("there are steps");
        let effect = Effect {
            run: run.clone(),
            pipeline: pipeline(),
            order,
            binding: 100 * n,
            step: step(STEPS - 1),
            output: PortName::new("out").expect("a name"),
            slot: last.slot,
            stored: last.stored.clone(),
            target: Target::Path(TARGET.into()),
            mirror: false,
            base: None,
        };
        match store.do_effect(&self.process.owner, &effect, false).await {
            Ok(_) => {}
            Err(StoreError::Damaged { object, problem }) => {
                self.process.world.state().oracle.was_lost(&format!("run {run}"), &last.stored);
                store.mark_damaged(&last.slot, &object, &problem).await?;
                return Err(Left::NotMine);
            }
            Err(error) => return Err(error.into()),
        }
        store.still_driving(run, n).await?;
        let artifacts =
            haves.iter().zip(0..).map(|(have, at)| (format!("{}.out", step(at)), (have.slot, have.stored.clone())));
        store.move_names(&pipeline(), order, run, artifacts.collect()).await?;
        self.process.world.state().ended.insert(run.clone(), n);
        Ok(Out::Succeeded)
    }

    fn directory(&self, name: &str) -> Result<PathBuf, Left> {
        let mut state = self.process.world.state();
        state.next_pid += 1;
        let path = PathBuf::from(format!("/work/{name}-{}", state.next_pid));
        drop(state);
        self.process.fs.create_dir_all(&path).map_err(|source| io(&path, source))?;
        Ok(path)
    }

    fn file(&self, name: &str, bytes: &[u8]) -> Result<PathBuf, Left> {
        let path = self.directory(name)?.join("file");
        let written = self.process.fs.create_new(&path).and_then(|mut file| file.write_all(bytes));
        written.map_err(|source| io(&path, source))?;
        Ok(path)
    }
}

fn io(path: &Path, source: std::io::Error) -> Left {
    Left::Store(StoreError::Objects(ObjectsError::Io { path: path.to_owned(), source }))
}

/// Closes in the name of whoever started; nothing of a dead process runs on.
pub(crate) struct Words;

#[async_trait]
impl Claimer for Words {
    async fn sweep(&self, _: &SlotId, _: &StartRecord) -> bool {
        true
    }

    async fn closing(&self, _: &KeyView, _: &SlotId, start: &StartRecord, _: bool) -> Result<Closed, StoreError> {
        Ok(closed(start.run.clone(), start.step.clone()))
    }

    fn waiting(&self, _: &SlotId, _: &StartRecord) {}
}

/// What a collector asks of the journals of this world.
pub(crate) struct Journals(pub World);

#[async_trait]
impl Caretaker for Journals {
    async fn ended(&self, run: &RunId) -> Result<Option<u64>, StoreError> {
        Ok(self.0.state().ended.get(run).copied())
    }

    async fn sweep(&self, _: &SlotId, _: &StartRecord) -> bool {
        true
    }

    async fn closing(&self, _: &KeyView, _: &SlotId, start: &StartRecord) -> Result<Closed, StoreError> {
        Ok(closed(start.run.clone(), start.step.clone()))
    }
}

fn step(at: usize) -> StepId {
    StepId::plain(StepName::new(["first", "second"][at]).expect("a name"))
}

pub(crate) fn pipeline() -> PipelineName {
    PipelineName::new("simulated").expect("a name")
}

/// How long a collector waits before it collects again.
pub(crate) fn pause(process: &Process, n: u64) -> Duration {
    Duration::from_secs(crate::draw::spread(process.choice(500 + n), 1, 200))
}
