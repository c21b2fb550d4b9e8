//! One run of a script, from its start through its strikes to its end.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    os::unix::process::ExitStatusExt,
    process::{Child, Command, Stdio},
    time::{Duration, SystemTime},
};

use prunella_journal::Stamped;
use prunella_process::Signal;
use prunella_sys::Sys;

use super::{
    judge::{torn, wrong_outputs},
    ledger::Ledger,
    script::Script,
};
use crate::{
    fault::{Fault, Strike},
    find::{Found, processes},
    play::{Patience, TICK, kill, leave_nothing},
    subject::{MARKER, contents, marker},
};

/// What was done to a script, and what came out.
#[derive(Debug, Default)]
pub struct Scripted {
    /// What happened, in order: milliseconds since the begin, and words.
    pub timeline: Vec<(u64, String)>,
    /// How many strikes hit something.
    pub strikes: u32,
    /// How often the script was started.
    pub scripts: u32,
    /// How long it took, by the clock on the wall.
    pub wall: Duration,
    /// How the last script ended; nothing if it did not.
    pub code: Option<i32>,
    /// Outputs of finished steps and published files that could be seen other than the undisturbed run made them.
    pub corrupt: BTreeSet<String>,
    /// What the script did, as events of a journal.
    pub events: Vec<Stamped>,
    /// How many bytes the steps made that were taken as done.
    pub bytes: u64,
}

/// Runs a script once, disturbed as the plan says, and judges what can be seen of its artifacts: whenever a step is taken as done,
/// after every strike, and at the end.
///
/// Nothing of it is left running afterwards. Whoever sees it gone with its machine starts it again at once; a script that gives up
/// has failed.
///
/// # Errors
/// The script cannot be started.
pub async fn play_script(sys: &Sys, script: &Script, plan: &[Strike], patience: Patience) -> io::Result<Scripted> {
    let began = sys.clock.monotonic();
    let child = start(script)?;
    let ledger = Ledger::new(&script.lines);
    let mut live = Live {
        sys,
        script,
        child,
        replaced: None,
        began,
        ledger,
        read: 0,
        done: BTreeSet::new(),
        checkpoints: BTreeMap::new(),
        struck: false,
        last: None,
        ended: false,
        scripted: Scripted { scripts: 1, ..Scripted::default() },
    };
    live.ledger.start(Duration::ZERO);
    let outcome = live.whole(plan, patience).await;
    live.kill_everything().await;
    live.scripted.wall = sys.clock.monotonic() - began;
    outcome?;
    let Live { mut scripted, ledger, done, .. } = live;
    scripted.events = ledger.events();
    scripted.bytes = done.iter().map(|line| script.lines[*line].bytes).sum();
    Ok(scripted)
}

fn start(script: &Script) -> io::Result<Child> {
    let output = fs::OpenOptions::new().create(true).append(true).open(script.dir.join("output.log"))?;
    Command::new("/bin/sh")
        .arg(script.dir.join("run.sh"))
        .env_clear()
        .env("PATH", "/usr/local/bin:/usr/bin:/bin")
        .envs(script.secrets.iter().map(|(name, value)| (name, value)))
        .env(MARKER, &script.dir)
        .stdin(Stdio::null())
        .stdout(output.try_clone()?)
        .stderr(output)
        .spawn()
}

struct Live<'a> {
    sys: &'a Sys,
    script: &'a Script,
    child: Child,
    /// A script beside which another one was started.
    replaced: Option<Child>,
    began: Duration,
    ledger: Ledger<'a>,
    /// How much of what the scripts told was read.
    read: usize,
    /// Steps that were taken as done.
    done: BTreeSet<usize>,
    /// The entries of checkpoint directories, by step.
    checkpoints: BTreeMap<usize, BTreeMap<std::ffi::OsString, SystemTime>>,
    /// Whether something was done to the step that runs.
    struck: bool,
    /// The step that failed last.
    last: Option<usize>,
    ended: bool,
    scripted: Scripted,
}

impl Live<'_> {
    async fn whole(&mut self, plan: &[Strike], patience: Patience) -> io::Result<()> {
        for strike in plan {
            if self.wait(strike.after).await? {
                return Ok(());
            }
            if self.carry_out(strike.fault).await? {
                self.scripted.strikes += 1;
            }
            self.judge();
        }
        if !self.wait(patience.end).await? {
            self.note("the script does not end");
        }
        Ok(())
    }

    fn now(&self) -> Duration {
        self.sys.clock.monotonic() - self.began
    }

    fn note(&mut self, what: impl std::fmt::Display) {
        let at = u64::try_from(self.now().as_millis()).unwrap_or(u64::MAX);
        self.scripted.timeline.push((at, what.to_string()));
    }

    fn ours(&self) -> Vec<Found> {
        let marker = marker(&self.script.dir);
        processes(|variable| variable == marker)
    }

    /// Waits so long, or until the run has ended; says whether it has.
    async fn wait(&mut self, patience: Duration) -> io::Result<bool> {
        let until = self.sys.clock.monotonic() + patience;
        loop {
            self.look();
            if let Some(status) = self.child.try_wait()? {
                self.look();
                self.end(status.code());
                return Ok(true);
            }
            if self.sys.clock.monotonic() >= until {
                return Ok(false);
            }
            self.sys.clock.sleep(TICK).await;
        }
    }

    fn end(&mut self, code: Option<i32>) {
        if std::mem::replace(&mut self.ended, true) {
            return;
        }
        self.note(match code {
            Some(code) => format!("the script ended with {code}"),
            None => "the script was killed".to_owned(),
        });
        self.scripted.code = code;
        if let (true, Some(line)) = (code != Some(0), self.last) {
            self.ledger.give_up(self.now(), line);
        }
        self.judge();
        if let (Some(0), Some(expected)) = (code, &self.script.expected) {
            let there = contents(&Script::published(&self.script.dir));
            let missing = expected.keys().filter(|path| !there.contains_key(*path));
            self.scripted.corrupt.extend(missing.map(|path| format!("published {path}")));
        }
    }

    /// Looks at what the scripts told and at the checkpoints of the step that runs.
    fn look(&mut self) {
        self.look_at_checkpoints();
        let Ok(log) = fs::read(self.script.log()) else { return };
        let new = log.get(self.read..).unwrap_or_default();
        // A line that is being written is read next time.
        let whole = new.iter().rposition(|byte| *byte == b'\n').map_or(0, |last| last + 1);
        let lines = String::from_utf8_lossy(&new[..whole]).into_owned();
        self.read += whole;
        let present = self.child.id().to_string();
        for told in lines.lines() {
            let mut words = told.split(' ');
            let (from, what) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
            let Some(line) = words.next().and_then(|word| word.parse::<usize>().ok()) else { continue };
            self.hear(from == present, what, line);
        }
    }

    /// Hears a word; the figures are those of the present script only.
    fn hear(&mut self, present: bool, what: &str, line: usize) {
        let at = self.now();
        if matches!(what, "done" | "skip") {
            let new = self.done.insert(line);
            let wrong = self.judge_step(line);
            if what == "skip" && new {
                let name = self.script.lines[line].step.to_string();
                self.note(format!(
                    "{name}: what it makes is there, and it is taken as done{}",
                    match wrong {
                        true => ", although it is not whole",
                        false => "",
                    }
                ));
            }
            if present && what == "skip" {
                self.ledger.skip(at, line, !wrong);
            }
        }
        match what {
            _ if !present => {}
            "begin" => {
                self.struck = false;
                self.ledger.begin(at, line);
            }
            "fail" => {
                self.last = Some(line);
                self.ledger.fail(at, self.struck);
                self.note(format!("{} failed", self.script.lines[line].step));
            }
            "done" => self.ledger.done(at),
            _ => {}
        }
    }

    /// Sees which entries of the checkpoint directory are new; what is not in its place yet has a hidden or temporary name.
    fn look_at_checkpoints(&mut self) {
        let Some(line) = self.ledger.running() else { return };
        let Some(directory) = &self.script.lines[line].checkpoints else { return };
        let Ok(listed) = fs::read_dir(directory) else { return };
        let named = listed.flatten().filter(|entry| {
            let name = entry.file_name();
            let name = name.to_string_lossy();
            !name.starts_with('.') && !name.ends_with(".tmp") && !name.ends_with(".part")
        });
        let there = named.filter_map(|entry| Some((entry.file_name(), entry.metadata().ok()?.modified().ok()?)));
        let there: BTreeMap<_, _> = there.collect();
        let before = self.checkpoints.entry(line).or_default();
        if there.iter().any(|(name, time)| before.get(name) != Some(time)) {
            self.ledger.checkpoint(self.sys.clock.monotonic() - self.began);
        }
        self.checkpoints.insert(line, there);
    }

    /// Looks at everything that a reader could take for finished.
    fn judge(&mut self) {
        for line in self.done.clone() {
            self.judge_step(line);
        }
        if let Some(expected) = &self.script.expected {
            let wrong = torn(expected, &contents(&Script::published(&self.script.dir)));
            let new: Vec<String> = wrong.into_iter().map(|path| format!("published {path}")).collect();
            self.add_corrupt(new);
        }
    }

    /// Looks at the outputs of a step; says whether one is wrong.
    fn judge_step(&mut self, line: usize) -> bool {
        let wrong = wrong_outputs(&self.script.lines[line]);
        let any = !wrong.is_empty();
        self.add_corrupt(wrong);
        any
    }

    fn add_corrupt(&mut self, names: impl IntoIterator<Item = String>) {
        for name in names {
            if self.scripted.corrupt.insert(name.clone()) {
                self.note(format!("`{name}` is not what the undisturbed run made"));
            }
        }
    }

    /// Carries a fault out; says whether there was something to do it to.
    async fn carry_out(&mut self, fault: Fault) -> io::Result<bool> {
        self.look();
        let all = self.ours();
        let step = main_of(&all, self.child.id()).cloned();
        let name = step.as_ref().and_then(|found| found.step.clone()).unwrap_or_default();
        let script = all.iter().find(|found| found.pid == self.child.id());
        let hit = match fault {
            // A service that is stopped sends SIGTERM to all of its processes.
            Fault::Notice { .. } => all.iter().filter(|found| found.signal(Signal::TERM)).count() > 0,
            // Whoever starts scripts starts one.
            Fault::Machine | Fault::TwoEngines => kill(&all),
            Fault::Engine => script.is_some_and(|script| script.signal(Signal::KILL)),
            // A script has no guardian, holds nobody to a limit, and has no store.
            Fault::Guardian | Fault::Memory | Fault::Rot => false,
            Fault::Step => step.as_ref().is_some_and(|step| step.signal(Signal::KILL)),
            Fault::Freeze { .. } => of_step(&all, &name, Signal::STOP),
            Fault::Zombie => script.is_some_and(|script| script.signal(Signal::STOP)),
            // It has no storage but the disk, which nobody takes from it, and asks no clock.
            _ => false,
        };
        if !hit {
            return Ok(false);
        }
        self.struck = true;
        match fault {
            Fault::Step | Fault::Freeze { .. } => self.note(format!("{fault}: {name}")),
            Fault::Engine => self.note("script killed"),
            Fault::Zombie => self.note("script stopped, another one started, and the first one woken"),
            _ => self.note(fault),
        }
        match fault {
            Fault::Notice { grace, .. } => {
                self.ledger.notice(self.now());
                self.until_gone(grace).await;
                self.again().await?;
            }
            Fault::Machine | Fault::Engine | Fault::TwoEngines => self.again().await?,
            Fault::Freeze { lasting } => {
                self.wait(lasting).await?;
                of_step(&self.ours(), &name, Signal::CONT);
            }
            Fault::Zombie => {
                let other = start(self.script)?;
                self.ledger.gone(self.now());
                self.ledger.start(self.now());
                self.scripted.scripts += 1;
                let held = std::mem::replace(&mut self.child, other);
                let ended = self.wait(Duration::from_millis(500)).await;
                for found in self.ours().iter().filter(|found| found.pid == held.id()) {
                    found.signal(Signal::CONT);
                }
                self.replaced = Some(held);
                ended?;
            }
            _ => {}
        }
        Ok(true)
    }

    /// Waits until everything has ended by itself, or the time is over.
    async fn until_gone(&mut self, grace: Duration) {
        let until = self.sys.clock.monotonic() + grace;
        while self.sys.clock.monotonic() < until {
            self.look();
            let _reaped = self.child.try_wait();
            if self.ours().is_empty() {
                return;
            }
            self.sys.clock.sleep(TICK).await;
        }
    }

    /// Nothing of the script is left, and it is started again: as whoever runs it does, a queue or an init.
    ///
    /// One that came to its end meanwhile is not: it has ended.
    async fn again(&mut self) -> io::Result<()> {
        self.look();
        self.ledger.gone(self.now());
        self.kill_everything().await;
        self.look();
        self.judge();
        let status = self.child.wait()?;
        if status.signal().is_none() && status.code() == Some(0) {
            // Whoever waits for it next is told so.
            return Ok(());
        }
        self.child = start(self.script)?;
        self.scripted.scripts += 1;
        self.ledger.start(self.now());
        Ok(())
    }

    /// Kills everything that is left of the script, and waits until it is gone.
    async fn kill_everything(&mut self) {
        for child in self.replaced.iter_mut().chain([&mut self.child]) {
            let _ended = child.kill();
        }
        if let Some(mut replaced) = self.replaced.take() {
            let _ended = replaced.wait();
        }
        let _ended = self.child.wait();
        leave_nothing(self.sys, || self.ours(), Duration::from_secs(10)).await;
    }
}

/// Returns the process that the script waits for: of a step, and a child of the script.
fn main_of(all: &[Found], script: u32) -> Option<&Found> {
    all.iter().find(|found| found.step.is_some() && found.parent == script)
}

/// Sends a signal to every process of a step; says whether there was one.
fn of_step(all: &[Found], name: &str, signal: Signal) -> bool {
    let its = all.iter().filter(|found| found.step.as_deref() == Some(name) && !name.is_empty());
    its.filter(|found| found.signal(signal)).count() > 0
}
