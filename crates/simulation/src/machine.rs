//! Machines, clocks and processes of a schedule.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use prunella_store::{
    Store,
    records::{Owner, ProcessId},
};
use prunella_sys::{Clock, Fs, Machine, MapEnv, OsArch, SeededRandom, Sys};
use tokio::sync::Notify;

use crate::{
    draw::draw,
    service::Service,
    world::{Whom, World},
};

/// A process of a member on a machine.
#[derive(Clone)]
pub(crate) struct Process {
    pub world: World,
    pub member: usize,
    pub life: usize,
    pub store: Store,
    pub owner: Owner,
    pub fs: Arc<dyn Fs>,
    pub machine: usize,
    pub pid: u32,
    killed: Arc<Notify>,
}

impl Process {
    /// Starts a process of this member on a machine.
    pub fn start(world: &World, fs: &Arc<dyn Fs>, member: usize, life: usize, machine: usize) -> Self {
        Self::start_as(world, fs, member, life, machine, None)
    }

    /// As [`Process::start`], perhaps of a process with a runtime of its own.
    pub fn start_as(world: &World, fs: &Arc<dyn Fs>, member: usize, life: usize, machine: usize, whom: Whom) -> Self {
        let pid = {
            let mut state = world.state();
            state.next_pid += 1;
            let pid = state.next_pid;
            state.processes.insert((machine, pid), 1);
            pid
        };
        let seed = draw(world.seed(), 1000 + member as u64, life as u64);
        let clock = Time {
            world: world.clone(),
            whom,
            machine,
            seed,
            offset: Duration::from_secs(1000 * (machine as u64 + 1)),
        };
        let sys = Sys {
            clock: Arc::new(clock),
            random: Arc::new(SeededRandom::new(seed)),
            env: Arc::new(MapEnv::new("/")),
            machine: Arc::new(Place { world: world.clone(), machine, pid }),
            fs: fs.clone(),
        };
        let killed = Arc::new(Notify::new());
        // Half of the worlds have a store that is far away, of which an engine asks otherwise.
        let remote = whom.is_some() && world.seed() % 2 == 1;
        let service = Service::new(world, member, life, killed.clone()).of(whom, remote);
        let process = ProcessId { pid, start_ticks: 1 };
        let owner = Owner { machine: name(machine), boot: "boot".to_owned(), process, guardian: None };
        let store = Store::new(Arc::new(service), sys);
        Self { world: world.clone(), member, life, store, owner, fs: fs.clone(), machine, pid, killed }
    }

    /// Runs until the work is done or the process is killed; it is dead afterwards either way.
    pub async fn run<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        let done = tokio::select! {
            biased;
            () = self.killed.notified() => None,
            done = work => Some(done),
        };
        self.world.state().processes.remove(&(self.machine, self.pid));
        done
    }

    pub async fn sleep(&self, seconds: u64) {
        self.store.sys().clock.sleep(Duration::from_secs(seconds)).await;
    }

    /// Returns a number for the `n`-th choice of this member.
    pub fn choice(&self, n: u64) -> u64 {
        draw(self.world.seed(), 2000 + self.member as u64, n)
    }
}

fn name(machine: usize) -> String {
    format!("machine-{machine}")
}

/// A clock that oversleeps, as a busy machine does; each machine has a time of its own.
struct Time {
    world: World,
    whom: Whom,
    machine: usize,
    seed: u64,
    offset: Duration,
}

#[async_trait]
impl Clock for Time {
    fn monotonic(&self) -> Duration {
        self.world.now() + self.offset
    }

    fn wall_ms(&self) -> i64 {
        const BEGAN: i64 = 1_767_225_600_000;
        if self.whom.is_none() {
            return BEGAN;
        }
        let (now, jumped) = (self.world.now(), self.world.state().wall_jumps.get(&self.machine).copied().unwrap_or(0));
        BEGAN + i64::try_from(now.as_millis()).unwrap_or(0) + jumped
    }

    async fn sleep(&self, d: Duration) {
        let ms = u64::try_from(d.as_millis()).unwrap_or(u64::MAX).max(1);
        let drawn = draw(self.seed, 3, u64::try_from(self.world.now().as_millis()).unwrap_or(0));
        // Short waits are those that are repeated: they are what is overslept most.
        let factor = match ms {
            // Whole runs wait often enough as it is.
            _ if self.whom.is_some() && !drawn.is_multiple_of(32) => 1,
            0..50 => 1 << (drawn % 11),
            50..1000 => 1 << (drawn % 7),
            _ => 1,
        };
        self.world.sleep_for(self.whom, ms * factor + drawn % 7).await;
    }
}

struct Place {
    world: World,
    machine: usize,
    pid: u32,
}

impl Machine for Place {
    fn machine_id(&self) -> String {
        name(self.machine)
    }

    fn boot_id(&self) -> String {
        "boot".to_owned()
    }

    fn pid(&self) -> u32 {
        self.pid
    }

    fn process_start_ticks(&self, pid: u32) -> Option<u64> {
        self.world.state().processes.get(&(self.machine, pid)).copied()
    }

    fn cpu_count(&self) -> usize {
        1
    }

    fn memory_total(&self) -> u64 {
        4 << 30
    }

    fn shared_memory_total(&self) -> Option<u64> {
        None
    }

    fn os_arch(&self) -> OsArch {
        OsArch { os: "linux", arch: "x86_64" }
    }

    fn hostname(&self) -> String {
        name(self.machine)
    }
}
