//! The guardian of an engine, played: it starts programs, hears of their end, and dies.

use std::{fmt, io, path::Path, sync::Arc};

use async_trait::async_trait;
use prunella_process::{
    Connection, Guardian, Listens, ProcessError, ProcessEvent, ProcessIdentity, Signal, SpawnSpec, Spawned, Spawner,
    Swept, SweptProcess, Usage,
};
use tokio::sync::{Mutex, mpsc};

use super::{
    program::Program,
    stage::{Order, ProgramAt, Stage},
};

/// A guardian of an engine.
#[derive(Clone)]
pub(crate) struct Keeper {
    stage: Stage,
    member: usize,
    whom: usize,
    machine: usize,
    pub pid: u32,
}

impl Keeper {
    pub fn new(stage: &Stage, (whom, member, machine): (usize, usize, usize)) -> Self {
        Self { stage: stage.clone(), member, whom, machine, pid: stage.guardian(machine) }
    }

    pub fn guardian(self) -> Guardian {
        Guardian::played(Arc::new(self))
    }
}

impl fmt::Debug for Keeper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Keeper({})", self.pid)
    }
}

#[async_trait]
impl Spawner for Keeper {
    fn identity(&self) -> ProcessIdentity {
        ProcessIdentity { pid: self.pid, start_ticks: 1 }
    }

    async fn spawn(&self, spec: SpawnSpec) -> Result<Box<dyn Spawned>, ProcessError> {
        if self.stage.is_dying(self.pid) {
            return Err(ProcessError::GuardianDied);
        }
        let pid = self.stage.pid(self.machine);
        let (orders, heard) = mpsc::unbounded_channel();
        let (tell, events) = mpsc::unbounded_channel();
        let key = spec.attempt_id.split('/').nth(2).unwrap_or_default().to_owned();
        self.stage.say(self.member, "spawn", &spec.attempt_id);
        if let Some(stray) = self.stage.stray(self.machine, &key) {
            let what = format!(
                "a program of {} is started while one of {stray}, whose engine is dead, runs beside it",
                spec.attempt_id
            );
            self.stage.world.state().oracle.broken("I5", what);
        }
        self.stage.world.state().oracle.runs_program(&spec.attempt_id);
        let at = ProgramAt {
            attempt_id: spec.attempt_id.clone(),
            machine: self.machine,
            guardian: self.pid,
            member: self.member,
            orders,
        };
        self.stage.program(pid, at);
        let program = Program::new(&self.stage, (self.machine, pid, self.member), spec, tell);
        self.stage.enter(program.run(heard));
        // From here on dropping kills.
        let played = Played { stage: self.stage.clone(), pid, events, over: false };
        // A program is not there at once.
        self.stage.world.sleep_for(Some(self.whom), 1 + self.stage.choice(2, u64::from(pid)) % 30).await;
        Ok(Box::new(played))
    }

    fn is_dying(&self) -> bool {
        self.stage.is_dying(self.pid)
    }

    async fn died(&self) {
        self.stage.died(self.pid).await;
    }

    async fn successor(&self) -> Result<Guardian, ProcessError> {
        let next = Self::new(&self.stage, (self.whom, self.member, self.machine));
        self.stage.follows(self.whom, next.pid);
        Ok(next.guardian())
    }

    fn sweep(&self, prefix: &str) -> Result<Swept, ProcessError> {
        let killed = self.stage.sweep(self.machine, prefix).into_iter();
        let killed: Vec<SweptProcess> = killed.map(|(pid, attempt_id)| SweptProcess { pid, attempt_id }).collect();
        for swept in &killed {
            self.stage.say(self.member, "swept", &swept.attempt_id);
        }
        Ok(Swept { killed, unreadable: 0 })
    }

    fn listen(&self, path: &Path) -> io::Result<Box<dyn Listens>> {
        let (to, connections) = mpsc::unbounded_channel();
        self.stage.listens(self.machine, path, to);
        Ok(Box::new(Ear(Mutex::new(connections))))
    }
}

struct Ear(Mutex<mpsc::UnboundedReceiver<Connection>>);

#[async_trait]
impl Listens for Ear {
    async fn accept(&self) -> io::Result<Connection> {
        match self.0.lock().await.recv().await {
            Some(connection) => Ok(connection),
            None => std::future::pending().await,
        }
    }
}

/// A program as its engine sees it.
struct Played {
    stage: Stage,
    pid: u32,
    events: mpsc::UnboundedReceiver<ProcessEvent>,
    over: bool,
}

impl fmt::Debug for Played {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Played({})", self.pid)
    }
}

#[async_trait]
impl Spawned for Played {
    fn pid(&self) -> u32 {
        self.pid
    }

    fn usage(&self) -> Usage {
        Usage::default()
    }

    fn signal(&self, _: Signal) {
        self.stage.order(self.pid, Order::Term);
    }

    fn kill_tree(&self) {
        self.stage.order(self.pid, Order::Kill);
    }

    async fn next(&mut self) -> Option<ProcessEvent> {
        if self.over {
            return None;
        }
        let event = self.events.recv().await;
        self.over = matches!(event, None | Some(ProcessEvent::Exited(_)));
        event
    }
}

impl Drop for Played {
    fn drop(&mut self) {
        if !self.over {
            self.kill_tree();
        }
    }
}
