//! What the tests share: stores, members of the protocol, and a machine that dies when told.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use prunella_bucketkit::{ACCESS_KEY, Faults, GcsServer, S3Server, SECRET_KEY};
use prunella_model::*;
use prunella_objects::{Directory, Embedded, Memory, Objects, Packing};
use prunella_remote::{Options, Remote};
use prunella_store::records::{Closed, Owner, ProcessId, Provenance, StartRecord};
use prunella_store::{ClaimRequest, Claimed, Claimer, Filled, KeyView, ReadyCommit, Store, StoreError};
use prunella_sys::{FakeMachine, ManualClock, MapEnv, Sys};
use prunella_testkit::records;

/// One store, its machine and its clock; every member is a [`Store`] with a writer id of its own.
pub struct Bench {
    pub name: &'static str,
    pub objects: Arc<dyn Objects>,
    pub clock: ManualClock,
    pub machine: Arc<FakeMachine>,
    pub sys: Sys,
    pub scratch: tempfile::TempDir,
    /// Lives as long as its store is used.
    server: Option<Server>,
}

/// A service that holds a bucket.
enum Server {
    S3(S3Server),
    Google(GcsServer),
}

impl Bench {
    pub fn memory() -> Self {
        Self::of("memory", |sys, _| Arc::new(Memory::new(sys)))
    }

    pub fn embedded() -> Self {
        Self::of("embedded", |sys, dir| Arc::new(Embedded::open(sys, dir).unwrap()))
    }

    /// In a directory of plain files.
    pub fn plain() -> Self {
        Self::of("plain", |sys, dir| Arc::new(Directory::open(sys, dir, &dir.join("met")).unwrap()))
    }

    /// In a bucket of a server that speaks S3.
    pub fn bucket() -> Self {
        let server = S3Server::start("bucket");
        let url = server.url("bucket", "store");
        Self::remote("bucket", &url, Server::S3(server))
    }

    /// In a bucket of a server that speaks Google's protocol.
    pub fn google() -> Self {
        let server = GcsServer::start("bucket");
        let url = format!("{}&anonymous=true", server.url("bucket", "store"));
        Self::remote("google", &url, Server::Google(server))
    }

    /// One in a bucket of every service.
    pub fn buckets() -> [Self; 2] {
        [Self::bucket(), Self::google()]
    }

    fn remote(name: &'static str, url: &str, server: Server) -> Self {
        let url = url.parse().unwrap();
        let mut bench = Self::of(name, |sys, dir| {
            let env = MapEnv::new("/").with("AWS_ACCESS_KEY_ID", ACCESS_KEY).with("AWS_SECRET_ACCESS_KEY", SECRET_KEY);
            // The network's time is not the members' time.
            let sys = Sys { env: Arc::new(env), clock: Sys::real().clock, ..sys.clone() };
            let options = Options::new(dir.join("cache"));
            // In a thread of its own: the test's runtime is busy with the test.
            std::thread::scope(|scope| {
                let open = || {
                    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
                    runtime.block_on(Remote::open(&sys, &url, &options)).unwrap()
                };
                Arc::new(scope.spawn(open).join().unwrap())
            })
        });
        bench.server = Some(server);
        bench
    }

    /// What goes wrong with the requests to the bucket.
    pub fn faults(&self) -> &Faults {
        match self.server.as_ref().expect("only a bucket has requests") {
            Server::S3(server) => server.faults(),
            Server::Google(server) => server.faults(),
        }
    }

    /// One of every backend that wants large files in chunks.
    pub fn in_chunks() -> [Self; 3] {
        let memory = Self::of("memory", |sys, _| Arc::new(Memory::packing(sys, Packing::Chunks)));
        [memory, Self::bucket(), Self::google()]
    }

    /// What the bucket holds, behind everybody's back.
    pub fn held(&self) -> &prunella_bucketkit::Objects {
        match self.server.as_ref().expect("only a bucket is held by a server") {
            Server::S3(server) => server.objects(),
            Server::Google(server) => server.objects(),
        }
    }

    /// One of every backend.
    pub fn each() -> [Self; 5] {
        [Self::memory(), Self::embedded(), Self::plain(), Self::bucket(), Self::google()]
    }

    fn of(name: &'static str, open: impl Fn(&Sys, &std::path::Path) -> Arc<dyn Objects>) -> Self {
        let scratch = tempfile::tempdir().unwrap();
        let (clock, machine) = (ManualClock::new(), Arc::new(FakeMachine::new("m")));
        let sys = Sys { clock: Arc::new(clock.clone()), machine: machine.clone(), ..Sys::real() };
        let objects = open(&sys, &scratch.path().join("store"));
        Self { name, objects, clock, machine, sys, scratch, server: None }
    }

    pub fn member(&self) -> Store {
        Store::new(self.objects.clone(), self.sys.clone())
    }

    /// A member on another machine, where process 100 asks.
    pub fn elsewhere(&self) -> Store {
        let sys = Sys { machine: Arc::new(FakeMachine::new("elsewhere")), ..self.sys.clone() };
        Store::new(self.objects.clone(), sys)
    }

    /// The owner that is process `pid` of this machine; it lives from now on.
    pub fn owner(&self, pid: u32) -> Owner {
        self.machine.processes.lock().unwrap().insert(pid, 1);
        Owner { machine: "m".into(), boot: "boot-1".into(), process: ProcessId { pid, start_ticks: 1 }, guardian: None }
    }

    pub fn dies(&self, pid: u32) {
        self.machine.processes.lock().unwrap().remove(&pid);
    }

    /// Lets time pass whenever everybody waits.
    pub fn hurry(&self) -> tokio::task::JoinHandle<()> {
        let clock = self.clock.clone();
        // Over a network, or for a disk, others do something while one sleeps, and that takes real time.
        let waits = self.server.is_some() || self.name == "plain";
        let network = waits.then(|| Sys::real().clock);
        tokio::spawn(async move {
            loop {
                clock.until_sleeping(1).await;
                if let Some(real) = &network {
                    real.sleep(Duration::from_millis(5)).await;
                }
                clock.advance(Duration::from_millis(200));
                tokio::task::yield_now().await;
            }
        })
    }

    /// A file with this content, to be taken in.
    pub fn file(&self, name: &str, content: &[u8]) -> PathBuf {
        let path = self.scratch.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, content).unwrap();
        path
    }
}

pub fn key(text: &str) -> StepKey {
    StepKey(Digest::of(text.as_bytes()))
}

pub fn run(text: &str) -> RunId {
    RunId::new(text).unwrap()
}

pub fn step(text: &str) -> StepId {
    StepId::plain(StepName::new(text).unwrap())
}

pub fn port(text: &str) -> PortName {
    PortName::new(text).unwrap()
}

pub fn request(owner: Owner, of_run: &str) -> ClaimRequest {
    ClaimRequest {
        run: run(of_run),
        step: step("train"),
        key: key("train"),
        owner,
        retry_index: None,
        take_over: false,
        expected: None,
        observed: Default::default(),
    }
}

/// Closes in the name of whoever started, and counts how often it had to wait and to sweep.
#[derive(Default)]
pub struct Words {
    pub waited: AtomicUsize,
    pub swept: AtomicUsize,
    /// Whether it gives up once it has to wait.
    pub impatient: bool,
    pub gives_up: tokio::sync::Notify,
}

impl Words {
    pub fn waited(&self) -> usize {
        self.waited.load(Ordering::Relaxed)
    }
}

#[async_trait]
impl Claimer for Words {
    async fn sweep(&self, _slot: &SlotId, _start: &StartRecord) -> bool {
        self.swept.fetch_add(1, Ordering::Relaxed);
        true
    }

    async fn closing(&self, _: &KeyView, _: &SlotId, start: &StartRecord, _: bool) -> Result<Closed, StoreError> {
        Ok(closed(start.run.as_str()))
    }

    fn waiting(&self, _slot: &SlotId, _start: &StartRecord) {
        self.waited.fetch_add(1, Ordering::Relaxed);
        self.gives_up.notify_one();
    }

    async fn stopped(&self) {
        while !self.impatient || self.waited() == 0 {
            self.gives_up.notified().await;
        }
    }
}

pub fn closed(of_run: &str) -> Closed {
    records::closed(run(of_run), step("train"))
}

pub fn provenance() -> Provenance {
    records::provenance(PipelineName::new("test").unwrap())
}

/// Claims and expects the slot to be one's own.
pub async fn claim(store: &Store, request: &ClaimRequest) -> SlotId {
    match store.claim(request, &Words::default()).await.unwrap() {
        Claimed::Ours(slot, _) => slot,
        Claimed::Reused(slot, _) => panic!("{slot} was reused"),
        Claimed::Stopped => panic!("nobody stopped it"),
    }
}

/// Takes in and commits one file.
pub async fn commit(store: &Store, slot: &SlotId, path: &std::path::Path) -> Result<Filled, StoreError> {
    let taken = store.take_output(slot, path, ArtifactKind::File).await?;
    let artifacts = BTreeMap::from([(port("out"), taken.stored)]);
    let ready =
        ReadyCommit { artifacts, objects: taken.objects, provenance: provenance(), timeline: Default::default() };
    store.commit(slot, ready).await
}

/// Checks I1 and I2 of a key, and that nothing was started above an open slot; returns the valid commit.
pub async fn check(store: &Store, key: &StepKey) -> Option<SlotId> {
    let view = store.look(key).await.unwrap();
    let highest = view.highest();
    let mut valid = None;
    for (epoch, slot) in &view.slots {
        assert!(slot.start.is_some(), "an end without a start: {epoch}");
        assert!(slot.end.is_some() || Some(*epoch) == highest, "{epoch} is open below a higher one");
        if let Some(committed) = slot.reusable() {
            for one in store.verify_commit(committed).await {
                one.outcome.unwrap_or_else(|error| panic!("I1: {} of {epoch}: {error}", one.port));
            }
            assert_eq!(valid.replace(SlotId { key: *key, epoch: *epoch }), None, "I2: two valid commits");
        }
    }
    valid
}

/// A graph of one step, for runs whose content does not matter.
pub fn graph(pipeline: &str) -> Graph {
    records::graph(PipelineName::new(pipeline).unwrap())
}
