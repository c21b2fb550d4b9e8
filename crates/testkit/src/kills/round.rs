//! One run, from its start through its kills to its end.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::Child;
use std::time::{Duration, Instant};

use prunella_chaos::{Broken, Found, broken, mains, processes};
use prunella_model::{Digest, Epoch, SlotId, StepKey};
use prunella_sys::{Random, SeededRandom};
use rustix::process::Signal;

use super::latency::Latencies;
use super::oracle::{Oracle, Started, has_checkpoint};
use super::project::{Params, Project};
use super::{Action, Failure};

/// What one round did.
#[derive(Debug, Clone, Default)]
pub struct Round {
    /// Actions carried out, by kind.
    pub done: BTreeMap<Action, u64>,
    /// Kill of a step with a newer checkpoint, to its program started again with its state restored.
    pub step: Latencies,
    /// The same without a newer checkpoint: a wait may come first.
    pub step_again: Latencies,
    /// Start of `run` after the kill of an engine, to a program started again with its state restored.
    pub engine: Latencies,
    /// Start of an `exec` after another ended, to its program started again with its state restored.
    pub exec: Latencies,
    /// What took longer than half a second, with what came before it.
    pub slow: Vec<String>,
    /// How often an engine was started.
    pub engines: u64,
}

/// Longer than any healing here takes on a busy machine; only a failing round gets there.
pub(super) const DEADLINE: Duration = Duration::from_secs(60);
const SLOW: Duration = Duration::from_millis(500);
const TICK: Duration = Duration::from_millis(1);

pub(super) struct Killed {
    step: String,
    epoch: u64,
    at: Instant,
    fresh: bool,
}

pub(super) struct Live<'a> {
    pub(super) project: &'a Project,
    pub(super) params: Params,
    pub(super) engine: Child,
    pub(super) started: Vec<Started>,
    read: u64,
    pub(super) killed: Vec<Killed>,
    /// When the engine was started again after a kill, until a program of it has started.
    pub(super) taken_up: Option<Instant>,
    /// The same of an `exec`.
    pub(super) exec_up: Option<Instant>,
    pub(super) plan: Vec<String>,
    pub(super) begun: Instant,
    pub(super) round: Round,
}

/// Carries out one round with `actions` of them, and checks that nothing was lost.
pub(crate) fn round(binary: &Path, scratch: &Path, seed: u64, actions: usize) -> Result<Round, Failure> {
    let random = SeededRandom::new(seed);
    let params = Params { seed: seed % 1000 + 1, epochs: 40, pace_ms: 20 };
    let undisturbed = undisturbed(binary, &scratch.join("undisturbed"), params);
    let project = Project::new(&scratch.join("disturbed"), binary);
    let mut oracle = Oracle::new(&project.store());
    let mut live = Live {
        project: &project,
        params,
        engine: project.run(params),
        started: Vec::new(),
        read: 0,
        killed: Vec::new(),
        taken_up: None,
        exec_up: None,
        plan: Vec::new(),
        begun: Instant::now(),
        round: Round { engines: 1, ..Round::default() },
    };
    let outcome = undisturbed
        .and_then(|expected| {
            let by_exec = seed.is_multiple_of(4);
            let disturbed = match by_exec {
                true => live.by_exec(&random, actions, &mut oracle),
                false => live.disturb(&random, actions, &mut oracle),
            };
            disturbed.map(|()| expected)
        })
        .and_then(|expected| live.finish(&mut oracle, &expected));
    let plan = std::mem::take(&mut live.plan);
    let round = std::mem::take(&mut live.round);
    match outcome {
        Ok(()) => Ok(round),
        Err(broken) => {
            live.kill_everything();
            let output = fs::read_to_string(project.output()).unwrap_or_default();
            let tail: Vec<&str> = output.lines().rev().take(60).collect();
            let tail = tail.into_iter().rev().collect::<Vec<_>>().join("\n");
            Err(Failure { seed, broken, plan, output: tail })
        }
    }
}

/// What comes out when nobody disturbs: what was made, and what lies where others read it.
struct Expected {
    results: BTreeMap<String, Digest>,
    published: BTreeMap<String, Digest>,
}

/// Returns what comes out when nobody disturbs.
fn undisturbed(binary: &Path, dir: &Path, params: Params) -> Result<Expected, Broken> {
    let project = Project::new(dir, binary);
    let mut engine = project.run(params);
    let status = engine.wait().expect("the engine is our child");
    if !status.success() {
        let output = fs::read_to_string(project.output()).unwrap_or_default();
        return Err(broken("I10 ends", format!("an undisturbed run ends with {status}:\n{output}")));
    }
    let results = Oracle::new(&project.store()).results();
    let published = project.published();
    let _scratch = fs::remove_dir_all(dir);
    Ok(Expected { results: results?, published })
}

impl Live<'_> {
    fn ours(&self) -> Vec<Found> {
        let marker = format!("KILLS_LOG={}", self.project.log().display()).into_bytes();
        processes(|variable| variable == marker)
    }

    pub(super) fn note(&mut self, what: impl std::fmt::Display) {
        let at = self.begun.elapsed().as_millis();
        self.plan.push(format!("{at} ms: {what}"));
    }

    /// Looks once at what has happened; says how the engine ended, if it has.
    pub(super) fn tick(&mut self) -> Option<std::process::ExitStatus> {
        let mut text = String::new();
        if let Ok(mut log) = fs::File::open(self.project.log())
            && log.seek(SeekFrom::Start(self.read)).is_ok()
            && log.read_to_string(&mut text).is_ok()
        {
            let now = Instant::now();
            // A line that is only half there is read the next time.
            let whole = text.rfind('\n').map_or(0, |end| end + 1);
            self.read += whole as u64;
            let lines: Vec<Started> = text[..whole].lines().filter_map(Started::parse).collect();
            lines.into_iter().for_each(|line| self.hear(line, now));
        }
        self.engine.try_wait().expect("the engine is our child")
    }

    fn hear(&mut self, line: Started, now: Instant) {
        self.note(format!("{line:?}"));
        if line.restored {
            let waited =
                [self.taken_up, self.exec_up, self.killed.iter().find(|one| one.step == line.step).map(|one| one.at)];
            if waited.iter().flatten().any(|since| now - *since > SLOW) {
                let last: Vec<&str> = self.plan.iter().rev().take(8).map(String::as_str).collect();
                let output = fs::read_to_string(self.project.output()).unwrap_or_default();
                let said: Vec<&str> = output.lines().rev().take(12).collect();
                let said = said.into_iter().rev().collect::<Vec<_>>().join("\n  | ");
                let last = last.into_iter().rev().collect::<Vec<_>>().join("; ");
                let waits = super::oracle::waits(&self.project.store()).join("\n  > ");
                self.round.slow.push(format!("{last}\n  | {said}\n  > {waits}"));
            }
            if let Some(since) = self.taken_up.take() {
                self.round.engine.add(now - since);
            }
            if let Some(since) = self.exec_up.take() {
                self.round.exec.add(now - since);
            }
            if let Some(killed) = self.killed.iter().find(|one| one.step == line.step && one.epoch < line.epoch) {
                let latency = now - killed.at;
                if killed.fresh { self.round.step.add(latency) } else { self.round.step_again.add(latency) }
            }
        }
        self.killed.retain(|one| one.step != line.step);
        self.started.push(line);
    }

    /// Waits for `patience`, or until the engine ends.
    pub(super) fn wait(&mut self, patience: Duration) -> Option<std::process::ExitStatus> {
        let until = Instant::now() + patience;
        loop {
            if let Some(status) = self.tick() {
                return Some(status);
            }
            if Instant::now() >= until {
                return None;
            }
            std::thread::sleep(TICK);
        }
    }

    fn disturb(&mut self, random: &dyn Random, actions: usize, oracle: &mut Oracle) -> Result<(), Broken> {
        for _ in 0..actions {
            let delay = Duration::from_micros(random.u64() % 300_000);
            if let Some(status) = self.wait(delay) {
                if status.success() {
                    return Ok(());
                }
                self.ended(status)?;
                continue;
            }
            let action = Action::choose(random);
            if self.act(action, random) {
                *self.round.done.entry(action).or_default() += 1;
                if action.ends_engine() {
                    // A notice lets steps checkpoint first.
                    let Some(status) = self.wait(DEADLINE) else {
                        return Err(broken("I10 ends", format!("the engine does not end after {action:?}")));
                    };
                    self.note(format!("engine ended with {status}"));
                    if status.success() {
                        return Ok(());
                    }
                    // Before it listens for notices it dies of the signal: nothing has begun then.
                    let unheard = status.signal() == Some(Signal::TERM.as_raw());
                    if action == Action::Notice && status.code() != Some(75) && !unheard {
                        return Err(broken("I10 ends", format!("after a notice the engine ended with {status}")));
                    }
                    self.go_on();
                }
                oracle.check(&self.started)?;
            }
        }
        Ok(())
    }

    /// An engine that ended although nobody ended it.
    fn ended(&mut self, status: std::process::ExitStatus) -> Result<(), Broken> {
        self.note(format!("engine ended by itself with {status}"));
        if status.code() != Some(75) {
            return Err(broken("I10 ends", format!("the engine ended by itself with {status}")));
        }
        self.go_on();
        Ok(())
    }

    pub(super) fn go_on(&mut self) {
        self.killed.clear();
        self.taken_up = Some(Instant::now());
        self.engine = self.project.run(self.params);
        self.round.engines += 1;
    }

    /// Carries out an action; says whether there was something to do it to.
    pub(super) fn act(&mut self, action: Action, random: &dyn Random) -> bool {
        let all = self.ours();
        let any = |among: &[&Found]| -> Option<Found> {
            let at = usize::try_from(random.u64() % among.len().max(1) as u64).expect("a small number");
            among.get(at).map(|found| (*found).clone())
        };
        let guardians: Vec<&Found> = all.iter().filter(|found| found.guardian).collect();
        let guardian = guardians.iter().copied().find(|found| found.parent == self.engine.id()).cloned();
        let engine = all.iter().find(|found| found.pid == self.engine.id()).cloned();
        let kill = |found: Option<Found>| found.is_some_and(|found| found.signal(Signal::KILL));
        let did = match action {
            Action::Step => {
                let Some(main) = any(&mains(&all)) else { return false };
                let at = Instant::now();
                let did = main.signal(Signal::KILL);
                self.remember(&main, at);
                did
            }
            Action::AnyOfTree => {
                let members: Vec<&Found> = all.iter().filter(|found| found.attempt.is_some()).collect();
                kill(any(&members))
            }
            Action::Guardian => kill(guardian),
            Action::Engine | Action::Exec => kill(engine),
            Action::EngineThenGuardian => kill(engine) | kill(guardian),
            Action::GuardianThenEngine => kill(guardian) | kill(engine),
            Action::Notice => engine.is_some_and(|engine| engine.signal(Signal::TERM)),
        };
        if did {
            self.note(format!("{action:?}"));
        }
        did
    }

    /// Notes the kill of a step's main process, for its latency.
    fn remember(&mut self, main: &Found, at: Instant) {
        let (Some(id), Some(step)) = (&main.attempt, &main.step) else { return };
        let mut parts = id.split('/').skip(2);
        let key = parts.next().and_then(|hex| Digest::from_hex(hex).ok()).map(StepKey);
        let epoch = parts.next().and_then(|epoch| epoch.parse().ok()).map(Epoch);
        let (Some(key), Some(epoch)) = (key, epoch) else { return };
        let fresh = has_checkpoint(&self.project.store(), SlotId { key, epoch });
        self.killed.retain(|one| one.step != *step);
        self.killed.push(Killed { step: step.clone(), epoch: epoch.0, at, fresh });
    }

    fn finish(&mut self, oracle: &mut Oracle, expected: &Expected) -> Result<(), Broken> {
        let until = Instant::now() + DEADLINE;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            match self.wait(left) {
                None => return Err(broken("I10 ends", "the run does not end")),
                Some(status) if status.success() => break,
                Some(status) => self.ended(status)?,
            }
        }
        self.tick();
        oracle.check(&self.started)?;
        let results = oracle.results()?;
        if results != expected.results {
            let what = format!("other bytes than undisturbed: {results:?} instead of {:?}", expected.results);
            return Err(broken("I1 visible", what));
        }
        let published = self.project.published();
        if published != expected.published {
            let what = format!("published {published:?} instead of {:?}", expected.published);
            return Err(broken("I3 whole", what));
        }
        let until = Instant::now() + Duration::from_secs(5);
        loop {
            let left = self.ours();
            match left.first() {
                None => return Ok(()),
                Some(_) if Instant::now() < until => std::thread::sleep(TICK * 10),
                Some(one) => return Err(broken("I5 fence", format!("{one:?} is left running"))),
            }
        }
    }

    fn kill_everything(&mut self) {
        let until = Instant::now() + Duration::from_secs(5);
        let _ended = self.engine.kill();
        let _ended = self.engine.wait();
        while Instant::now() < until {
            let left = self.ours();
            if left.is_empty() {
                return;
            }
            for found in &left {
                let _gone = found.signal(Signal::KILL);
            }
            std::thread::sleep(TICK * 10);
        }
    }
}
