//! The store as a member sees it: over a network that errs where the plan says so.

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
};

use async_trait::async_trait;
use bytes::Bytes;
use prunella_objects::{Created, CreatedFile, Listed, ObjectKey, ObjectReader, Objects, ObjectsError, TakeIn};
use tokio::sync::Notify;

use crate::{
    draw::{draw, spread},
    plan::{Fault, Role},
    world::{Answer, Ask, From, Whom, World, flipped},
};

/// How long a member asks before it gives a request up, in milliseconds: that of `remote::Options`.
const PATIENCE_MS: u64 = 60_000;

/// The store of one process.
pub(crate) struct Service {
    world: World,
    member: usize,
    life: usize,
    whom: Whom,
    remote: bool,
    killed: Arc<Notify>,
    /// What will happen to the next bytes of an artifact that are read.
    passing: Mutex<Option<Fault>>,
    /// Until when nothing gets through.
    outage_until_ms: AtomicU64,
}

/// What a member knows of a request that was not answered.
enum Unheard {
    /// It may have been done.
    Maybe,
    /// It was not.
    Not,
}

impl Service {
    pub fn new(world: &World, member: usize, life: usize, killed: Arc<Notify>) -> Self {
        Self {
            world: world.clone(),
            member,
            life,
            whom: None,
            remote: false,
            killed,
            passing: Mutex::default(),
            outage_until_ms: AtomicU64::new(0),
        }
    }

    /// Returns the same for a process with a runtime of its own, which is told whether the store is far away.
    pub fn of(mut self, whom: Whom, remote: bool) -> Self {
        (self.whom, self.remote) = (whom, remote);
        self
    }

    async fn sleep_ms(&self, ms: u64) {
        self.world.sleep_for(self.whom, ms).await;
    }

    async fn ask(&self, ask: Ask) -> Result<Answer, Unheard> {
        let (nth, fault) = self.world.begin(self.member);
        let from = From { member: self.member, life: self.life, nth, whom: self.whom };
        let drawn = draw(self.world.seed(), self.member as u64, u64::from(nth));
        // Mostly quick; now and then a request takes its time, so that others come between.
        let long = match Role::of(self.member) {
            // Slow, so that much comes between what they read and what they do.
            Role::Collector if drawn.is_multiple_of(3) => 8_000,
            _ if drawn.is_multiple_of(16) => 20_000,
            _ => 400,
        };
        let (there, back) = (spread(drawn >> 8, 1, long), spread(drawn >> 24, 1, long));
        if let Some(fault) = fault {
            self.world.say(from, "fault", &fault.to_string());
        }
        let now_ms = u64::try_from(self.world.now().as_millis()).unwrap_or(u64::MAX);
        if let Some(Fault::Outage(seconds)) = fault {
            self.outage_until_ms.store(now_ms + seconds * 1000, Ordering::Relaxed);
        }
        let fault = match (drawn >> 40) % 3 {
            _ if now_ms >= self.outage_until_ms.load(Ordering::Relaxed) => fault,
            0 => Some(Fault::Lost),
            1 => Some(Fault::LostReply),
            _ => Some(Fault::Late(600)),
        };
        let answered = match fault {
            Some(Fault::Outage(_)) => unreachable!("an outage is one of the three"),
            None | Some(Fault::Flip | Fault::Cut) => self.heard(from, ask, there, back).await,
            Some(Fault::Lost) => {
                self.sleep_ms(PATIENCE_MS).await;
                Err(Unheard::Maybe)
            }
            Some(Fault::LostReply) => {
                let _nobody_hears = self.world.send(from, ask, there, back, true);
                self.sleep_ms(PATIENCE_MS).await;
                Err(Unheard::Maybe)
            }
            Some(Fault::DoneAndRefused) => {
                let _nobody_hears = self.world.send(from, ask, there, back, true);
                self.sleep_ms(there + back).await;
                Err(Unheard::Maybe)
            }
            Some(Fault::Late(seconds)) => {
                let _nobody_hears = self.world.send(from, ask, there + seconds * 1000, back, true);
                self.sleep_ms(PATIENCE_MS).await;
                Err(Unheard::Maybe)
            }
            Some(Fault::Echo(seconds)) => {
                let _second_time = self.world.send(from, ask.clone(), there + seconds * 1000, back, true);
                self.heard(from, ask, there, back).await
            }
            Some(Fault::Throttled(seconds)) if seconds * 1000 >= PATIENCE_MS => {
                self.sleep_ms(PATIENCE_MS).await;
                Err(Unheard::Not)
            }
            Some(Fault::Throttled(seconds)) => {
                self.sleep_ms(seconds * 1000).await;
                self.heard(from, ask, there, back).await
            }
            Some(Fault::Stall(seconds)) => {
                self.sleep_ms(seconds * 1000).await;
                self.heard(from, ask, there, back).await
            }
            Some(Fault::Kill) => self.killed().await,
            Some(Fault::KillAfter) => {
                let _nobody_hears = self.world.send(from, ask, there, back, true);
                self.killed().await
            }
            Some(rot @ (Fault::Rot | Fault::Vanish | Fault::RotRecord)) => {
                self.world.rot(from, rot);
                self.heard(from, ask, there, back).await
            }
        };
        answered.map(|answer| self.passed(fault, answer, drawn))
    }

    /// What becomes of an answer on its way.
    fn passed(&self, fault: Option<Fault>, answer: Answer, drawn: u64) -> Answer {
        let mut passing = self.passing.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        if let Some(fault @ (Fault::Flip | Fault::Cut)) = fault {
            *passing = Some(fault);
        }
        match answer {
            Answer::Got(Some(bytes)) => Answer::Got(Some(match passing.take() {
                Some(Fault::Flip) => flipped(&bytes, drawn),
                Some(_) => bytes.slice(..bytes.len() / 2),
                None => bytes,
            })),
            answer => answer,
        }
    }

    async fn heard(&self, from: From, ask: Ask, there: u64, back: u64) -> Result<Answer, Unheard> {
        Ok(self.world.send(from, ask, there, back, false).await.expect("the world outlives its members"))
    }

    async fn killed(&self) -> Result<Answer, Unheard> {
        self.killed.notify_one();
        std::future::pending().await
    }

    fn unwritten(key: &ObjectKey) -> impl FnOnce(Unheard) -> ObjectsError {
        |unheard| match unheard {
            Unheard::Maybe => ObjectsError::Undecided { key: key.clone(), message: "no answer".to_owned() },
            Unheard::Not => unread(unheard),
        }
    }

    /// As [`Objects::get`]; only bytes of artifacts are changed on their way, since records carry no digest here.
    async fn bytes(&self, key: &ObjectKey) -> Result<Option<Bytes>, ObjectsError> {
        match self.ask(Ask::Get { key: key.clone() }).await.map_err(unread)? {
            Answer::Got(bytes) => Ok(bytes),
            _ => unreachable!("a read is answered with bytes"),
        }
    }
}

fn unread(_: Unheard) -> ObjectsError {
    ObjectsError::Unreachable { store: "simulated".to_owned(), message: "no answer".to_owned() }
}

#[async_trait]
impl Objects for Service {
    async fn create(&self, key: &ObjectKey, bytes: Bytes) -> Result<Created, ObjectsError> {
        let asked = self.ask(Ask::Create { key: key.clone(), bytes }).await;
        match asked.map_err(Self::unwritten(key))? {
            Answer::New => Ok(Created::New),
            Answer::There(bytes) => Ok(Created::There(bytes)),
            _ => unreachable!("a create is answered with new or there"),
        }
    }

    async fn overwrite(&self, key: &ObjectKey, bytes: Bytes) -> Result<(), ObjectsError> {
        let asked = self.ask(Ask::Overwrite { key: key.clone(), bytes }).await;
        match asked.map_err(Self::unwritten(key))? {
            Answer::Immutable => Err(ObjectsError::Immutable { key: key.clone() }),
            _ => Ok(()),
        }
    }

    async fn get(&self, key: &ObjectKey) -> Result<Option<Bytes>, ObjectsError> {
        // Over the network a changed record is noticed by the transport: what is read here is whole.
        let read = self.ask(Ask::Read { keys: vec![key.clone()] }).await.map_err(unread)?;
        match read {
            Answer::Read(found) => Ok(found.into_iter().next().map(|(_, bytes)| bytes)),
            _ => unreachable!("a read is answered with bytes"),
        }
    }

    async fn list(&self, prefix: &str, after: Option<&str>, limit: usize) -> Result<Vec<Listed>, ObjectsError> {
        let ask = Ask::List { prefix: prefix.to_owned(), after: after.map(str::to_owned), limit };
        match self.ask(ask).await.map_err(unread)? {
            Answer::Listed(listed) => Ok(listed),
            _ => unreachable!("a listing is answered with a list"),
        }
    }

    async fn read_prefix(&self, prefix: &str, limit: usize) -> Result<Vec<(ObjectKey, Bytes)>, ObjectsError> {
        // At one moment most of the time, which is one of the ways in which it can go; now and then it is listed first and
        // read later, so that what is deleted in between is left out.
        let once = !self.world.chance(self.member).is_multiple_of(4);
        if once {
            let ask = Ask::ReadPrefix { prefix: prefix.to_owned(), limit };
            return match self.ask(ask).await.map_err(unread)? {
                Answer::Read(found) => Ok(found),
                _ => unreachable!("a read is answered with bytes"),
            };
        }
        let keys: Vec<ObjectKey> = self.list(prefix, None, limit).await?.into_iter().map(|one| one.key).collect();
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        // What was created never changes, so that reading all of it later at one moment shows nothing that reading one
        // after the other could not; only what is deleted between the listing and that moment is left out.
        match self.ask(Ask::Read { keys }).await.map_err(unread)? {
            Answer::Read(found) => Ok(found),
            _ => unreachable!("a read is answered with bytes"),
        }
    }

    async fn delete(&self, key: &ObjectKey) -> Result<bool, ObjectsError> {
        let asked = self.ask(Ask::Delete { key: key.clone() }).await;
        match asked.map_err(Self::unwritten(key))? {
            Answer::Deleted(there) => Ok(there),
            _ => unreachable!("a deletion is answered as one"),
        }
    }

    async fn sync(&self) -> Result<(), ObjectsError> {
        Ok(())
    }

    async fn create_from_file(&self, key: &ObjectKey, source: &Path, _: TakeIn) -> Result<CreatedFile, ObjectsError> {
        let what = "schedules take in small files only".to_owned();
        Err(ObjectsError::Corrupt { key: Some(key.clone()), path: source.to_owned(), what })
    }

    async fn local_path(&self, _key: &ObjectKey) -> Result<Option<PathBuf>, ObjectsError> {
        Ok(None)
    }

    async fn open(&self, key: &ObjectKey) -> Result<Option<ObjectReader>, ObjectsError> {
        Ok(self.bytes(key).await?.map(ObjectReader::from_bytes))
    }

    fn is_remote(&self) -> bool {
        self.remote
    }

    fn store_id(&self) -> &str {
        "00000000000000000000000000000000"
    }
}
