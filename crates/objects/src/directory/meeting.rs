//! Whether a directory that several machines share shows each what the others did, at once.
//!
//! Every machine runs this at the same time. In turn each writes and then gives a sign, by a name that the others watch past
//! their caches; who sees the sign must see what was written before it. Whether names that were looked for before are found
//! then is what caches of NFS get wrong, and what the protocol's "list, then decide" rests on.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use prunella_sys::{Sys, random_hex};

use super::Directory;
use super::filesystem::FileSystem;
use crate::error::ObjectsError;
use crate::fitness::{Finding, Verdict, finding};
use crate::key::ObjectKey;
use crate::objects::{Created, Objects};

/// Who meets, and how long they wait for each other.
#[derive(Debug, Clone)]
pub struct Meeting {
    /// A word that all of them say; never the same twice.
    pub word: String,
    /// How many machines.
    pub machines: usize,
    /// How long one waits for another's next move.
    pub patience: Duration,
}

/// How often each machine writes for the others.
const ROUNDS: usize = 8;
/// How many names they race for.
const RACES: usize = 16;
/// How long between two looks for a sign.
const BETWEEN: Duration = Duration::from_millis(20);

/// Returns whether a store may be opened at `dir` from this machine.
///
/// # Errors
/// [`ObjectsError::Unfit`] if other machines may change it and it was not found fit from here.
pub(super) fn is_fit(sys: &Sys, dir: &Path, met: &Path) -> Result<(), ObjectsError> {
    let Some(system) = FileSystem::of(sys, dir).filter(FileSystem::is_foreign) else { return Ok(()) };
    if matches!(sys.fs.metadata(&note(&system, met)), Ok(Some(_))) {
        return Ok(());
    }
    let shown = dir.display();
    let missing = system.missing_options();
    let mount = match missing.is_empty() {
        true => String::new(),
        false => format!(" (mount it with `{}` first)", missing.join(",")),
    };
    let message = format!(
        "it lies on {}, which other machines share, and nobody has shown that each sees at once what the others do; run \
         `prunella store check dir://{shown} --meet WORD --machines N` on all of them at the same time{mount}",
        system.kind
    );
    Err(ObjectsError::Unfit { store: shown.to_string(), message })
}

/// Where it is noted that a file system, mounted as it is now, was found fit.
fn note(system: &FileSystem, met: &Path) -> PathBuf {
    let said = format!("{}\n{}\n{}\n{}", system.kind, system.source, system.options, system.point.display());
    met.join(format!("directory-{}", &blake3::hash(said.as_bytes()).to_hex()[..32]))
}

/// Meets the other machines in `dir`, and notes in `met` if all went well.
///
/// # Errors
/// What the file system says; [`ObjectsError::Unfit`] if the others do not come.
pub async fn meet(sys: &Sys, dir: &Path, meeting: &Meeting, met: &Path) -> Result<Finding, ObjectsError> {
    let place = dir.join(format!("meeting-{}", meeting.word));
    let store = Directory::open_anywhere(sys, &place)?;
    let me = random_hex(&*sys.random, 8);
    let side = Side { sys, store: &store, meeting, me: &me };
    let others = side.gather().await?;
    let found = match side.turns(&others).await? {
        Some(problem) => Some(problem),
        None => side.races(&others).await?,
    };
    // Whoever is last finds all of them gone, and removes the place.
    side.create(&format!("gone/{me}"), "").await.map(drop)?;
    let gone = store.list("gone/", None, usize::MAX).await?.len();
    if gone == meeting.machines {
        let _another_does = sys.fs.remove_dir_all(&place);
    }
    if let Some(problem) = found {
        return Ok(finding("machines", Verdict::Unfit, problem));
    }
    if let Some(system) = FileSystem::of(sys, dir) {
        // Not noted, they meet again.
        let _not_noted = sys.fs.create_dir_all(met).and_then(|_| sys.fs.create_new(&note(&system, met))?.flush());
    }
    let text = format!(
        "{} machines saw at once what each of them did, in {ROUNDS} rounds and {RACES} races",
        meeting.machines
    );
    Ok(finding("machines", Verdict::Good, text))
}

/// One machine at a meeting.
struct Side<'a> {
    sys: &'a Sys,
    store: &'a Directory,
    meeting: &'a Meeting,
    me: &'a str,
}

fn key(text: &str) -> ObjectKey {
    ObjectKey::new(text).expect("the names of a meeting are keys")
}

impl Side<'_> {
    async fn create(&self, name: &str, text: &str) -> Result<Created, ObjectsError> {
        self.store.create(&key(name), Bytes::copy_from_slice(text.as_bytes())).await
    }

    fn alone(&self, what: &str) -> ObjectsError {
        let message = format!("{what} within {} s", self.meeting.patience.as_secs());
        ObjectsError::Unfit { store: self.store.inner.dir.display().to_string(), message }
    }

    /// Waits for a sign. Before each look something is made beside it, so that no cache of its folder hides it.
    async fn sign(&self, folder: &str, name: &str) -> Result<(), ObjectsError> {
        let begun = self.sys.clock.monotonic();
        loop {
            let tick = key(&format!("{folder}/tick-{}-{}", self.me, random_hex(&*self.sys.random, 4)));
            let _new = self.store.create(&tick, Bytes::new()).await?;
            if self.store.get(&key(&format!("{folder}/{name}"))).await?.is_some() {
                return Ok(());
            }
            if self.sys.clock.monotonic().saturating_sub(begun) > self.meeting.patience {
                return Err(self.alone("another machine gave no sign"));
            }
            self.sys.clock.sleep(BETWEEN).await;
        }
    }

    /// Waits until all are there, and returns them in order.
    async fn gather(&self) -> Result<Vec<String>, ObjectsError> {
        let machine = self.sys.machine.machine_id();
        self.create(&format!("here/{}", self.me), &machine).await.map(drop)?;
        let begun = self.sys.clock.monotonic();
        let there = loop {
            let there = self.store.read_prefix("here/", usize::MAX).await?;
            if there.len() >= self.meeting.machines {
                break there;
            }
            if self.sys.clock.monotonic().saturating_sub(begun) > self.meeting.patience {
                return Err(self.alone(&format!("{} of {} machines came", there.len(), self.meeting.machines)));
            }
            self.sys.clock.sleep(BETWEEN).await;
        };
        let mut machines: Vec<_> = there.iter().map(|(_, machine)| machine.clone()).collect();
        machines.sort_unstable();
        machines.dedup();
        if there.len() > self.meeting.machines || machines.len() < there.len() {
            let dir = self.store.inner.dir.display();
            let message = format!(
                "{} came, from {} machines, and {} were to come: say another word, once on each machine",
                there.len(),
                machines.len(),
                self.meeting.machines
            );
            return Err(ObjectsError::Unfit { store: dir.to_string(), message });
        }
        let names = there.iter().filter_map(|(key, _)| key.as_str().rsplit('/').next().map(str::to_owned));
        Ok(names.collect())
    }

    /// Lets each write for the others; returns what was not seen.
    async fn turns(&self, all: &[String]) -> Result<Option<String>, ObjectsError> {
        let mut problem = None;
        for writer in all {
            for round in 0..ROUNDS {
                let turn = Turn { writer, round };
                if writer == self.me {
                    self.writes(&turn, all).await?;
                } else if let Some(missed) = self.reads(&turn).await? {
                    problem.get_or_insert(missed);
                }
            }
        }
        Ok(problem)
    }

    async fn writes(&self, turn: &Turn<'_>, all: &[String]) -> Result<(), ObjectsError> {
        for other in all.iter().filter(|other| *other != self.me) {
            self.sign(&turn.signs(), &format!("ready-{other}")).await?;
        }
        self.create(&turn.made(), "new").await.map(drop)?;
        self.store.overwrite(&key(&turn.hint()), turn.round.to_string().into()).await?;
        if turn.round > 0 {
            self.store.delete(&key(&Turn { round: turn.round - 1, ..*turn }.made())).await?;
        }
        self.create(&format!("{}/go", turn.signs()), "").await.map(drop)?;
        for other in all.iter().filter(|other| *other != self.me) {
            self.sign(&turn.signs(), &format!("seen-{other}")).await?;
        }
        Ok(())
    }

    async fn reads(&self, turn: &Turn<'_>) -> Result<Option<String>, ObjectsError> {
        let (new, hint) = (key(&turn.made()), key(&turn.hint()));
        // What is looked for now is what a cache may go on to say.
        let _absent = self.store.get(&new).await?;
        let _before = self.store.get(&hint).await?;
        let _names = self.store.list(&turn.folder(), None, usize::MAX).await?;
        self.create(&format!("{}/ready-{}", turn.signs(), self.me), "").await.map(drop)?;
        self.sign(&turn.signs(), "go").await?;
        let listed = self.store.list(&turn.folder(), None, usize::MAX).await?;
        let problem = if listed.iter().all(|listed| listed.key != new) {
            Some("what another machine had created was not listed")
        } else if self.store.get(&new).await?.is_none() {
            Some("what another machine had created was not found")
        } else if listed.len() > 1 {
            Some("what another machine had deleted was still listed")
        } else if self.store.get(&hint).await? != Some(turn.round.to_string().into()) {
            Some("what another machine had overwritten was read as it was before")
        } else {
            None
        };
        self.create(&format!("{}/seen-{}", turn.signs(), self.me), "").await.map(drop)?;
        Ok(problem.map(|text| format!("{text}: caches of this file system hide what other machines do")))
    }

    /// Lets all create the same names at once; returns what went wrong.
    async fn races(&self, all: &[String]) -> Result<Option<String>, ObjectsError> {
        for race in 0..RACES {
            let at = format!("race/{race}");
            self.create(&format!("{at}/ready-{}", self.me), "").await.map(drop)?;
            for other in all {
                self.sign(&at, &format!("ready-{other}")).await?;
            }
            let won = self.create(&format!("{at}/slot"), self.me).await? == Created::New;
            self.create(&format!("{at}/said-{}", self.me), if won { "won" } else { "lost" }).await.map(drop)?;
            let mut winners = 0;
            for other in all {
                self.sign(&at, &format!("said-{other}")).await?;
                let said = self.store.get(&key(&format!("{at}/said-{other}"))).await?;
                winners += usize::from(said.is_some_and(|said| said == "won"));
            }
            if winners != 1 {
                return Ok(Some(format!("{winners} machines were told that they had created the same name")));
            }
        }
        Ok(None)
    }
}

/// One machine's turn to write.
#[derive(Clone, Copy)]
struct Turn<'a> {
    writer: &'a str,
    round: usize,
}

impl Turn<'_> {
    fn folder(&self) -> String {
        format!("made/{}/", self.writer)
    }

    fn made(&self) -> String {
        format!("made/{}/{}", self.writer, self.round)
    }

    fn hint(&self) -> String {
        format!("hint-{}", self.writer)
    }

    fn signs(&self) -> String {
        format!("signs/{}-{}", self.writer, self.round)
    }
}
