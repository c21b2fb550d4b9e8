//! Programs, played: they read what lies in their workspace, compute, write checkpoints and outputs, and may die.
//!
//! What they write follows from what they read alone, so that every result is known beforehand ([`made_of`], [`trained`]).

use std::{
    io::{self, Write as _},
    path::{Path, PathBuf},
    time::Duration,
};

use bytes::Bytes;
use prunella_model::Digest;
use prunella_process::{EndStatus, Ended, OomEvidence, ProcessEvent, SpawnSpec, Stream, Usage};
use prunella_sys::Fs;
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    sync::mpsc::{UnboundedReceiver, UnboundedSender},
};

use super::{
    disk::Disk,
    stage::{Order, Stage},
};

/// One program.
pub(crate) struct Program {
    stage: Stage,
    disk: Disk,
    machine: usize,
    pid: u32,
    member: usize,
    spec: SpawnSpec,
    tell: UnboundedSender<ProcessEvent>,
    draws: u64,
}

/// What a program does.
enum What<'a> {
    Works(&'a str, u64),
    /// What it still does after SIGTERM.
    Saves,
}

/// Why a program leaves what it does.
#[derive(PartialEq, Eq)]
enum Leaves {
    Done(i32),
    Told,
    Ordered(Order),
}

/// What a step without checkpoints makes of its inputs.
pub(crate) fn made_of(what: &str, inputs: &[&[u8]]) -> Vec<u8> {
    let mut text = what.as_bytes().to_vec();
    inputs.iter().for_each(|input| text.extend_from_slice(Digest::of(input).to_string().as_bytes()));
    text
}

/// What a training is before its first step.
pub(crate) fn untrained(input: &[u8]) -> String {
    Digest::of(input).to_string()
}

/// What a training is after one more step: every step counts, once, in order.
pub(crate) fn trained(state: &str, n: u64) -> String {
    Digest::of(format!("{state} {n}").as_bytes()).to_string()
}

impl Program {
    pub fn new(
        stage: &Stage,
        (machine, pid, member): (usize, u32, usize),
        spec: SpawnSpec,
        tell: UnboundedSender<ProcessEvent>,
    ) -> Self {
        let disk = stage.disk.of(machine);
        Self { stage: stage.clone(), disk, machine, pid, member, spec, tell, draws: 0 }
    }

    /// Runs until it ends, is ended, or is gone with its machine.
    pub async fn run(mut self, mut orders: UnboundedReceiver<Order>) {
        let command = self.spec.argv.last().map(|word| word.to_string_lossy().into_owned()).unwrap_or_default();
        let mut words = command.split_whitespace().map(str::to_owned);
        let (what, count) = (words.next().unwrap_or_default(), words.next());
        let steps = count.and_then(|count| count.parse().ok()).unwrap_or(0);
        // Some programs do not care.
        let (mut sent, cares) = (Vec::new(), !self.draw().is_multiple_of(4));
        let mut leaves = self.until(&mut orders, &mut sent, cares, What::Works(&what, steps)).await;
        if leaves == Some(Leaves::Told) {
            leaves = self.until(&mut orders, &mut sent, false, What::Saves).await;
        }
        // Swept, or gone with its machine: nothing of it is left, and nobody hears of it.
        let Some(leaves) = leaves else { return };
        let (mut status, mut memory) = (EndStatus::Signaled(9), None);
        match leaves {
            Leaves::Done(code) => status = EndStatus::Exited(code),
            Leaves::Ordered(Order::Memory) => {
                let limit = self.spec.memory_limit.unwrap_or(1 << 30);
                memory = Some(OomEvidence { limit, seen: limit, cgroup: true });
                sent.push(9);
            }
            Leaves::Ordered(Order::Fail) => {
                self.says(Stream::Stderr, &format!("ValueError: bad luck {}", self.pid));
                status = EndStatus::Exited(1);
            }
            Leaves::Ordered(Order::Orphaned) => status = EndStatus::GuardianDied,
            Leaves::Ordered(Order::Kill) => sent.push(9),
            Leaves::Ordered(Order::Outside | Order::Term) | Leaves::Told => {}
        }
        sent.sort_unstable();
        sent.dedup();
        self.stage.ended(self.machine, self.pid);
        self.stage.say(self.member, "exits", &format!("{} {status:?}", self.spec.attempt_id));
        let ended = Ended {
            status,
            memory_peak: 1 << 20,
            cpu: Duration::from_secs(1),
            out_of_memory: memory,
            leftovers_killed: 0,
            survivors: 0,
            sent,
            drained: true,
        };
        let _nobody_hears = self.tell.send(ProcessEvent::Exited(ended));
    }

    /// Does something until it is done, or has to be left: after SIGTERM where it cares for that, and after everything else.
    async fn until(
        &mut self,
        orders: &mut UnboundedReceiver<Order>,
        sent: &mut Vec<i32>,
        cares: bool,
        what: What<'_>,
    ) -> Option<Leaves> {
        let does = async {
            match what {
                What::Works(what, steps) => self.works(what, steps).await,
                What::Saves => self.saves().await,
            }
        };
        tokio::pin!(does);
        loop {
            tokio::select! {
                biased;
                order = orders.recv() => match order? {
                    Order::Term => {
                        sent.push(15);
                        if cares {
                            return Some(Leaves::Told);
                        }
                    }
                    order => return Some(Leaves::Ordered(order)),
                },
                code = &mut does => return Some(Leaves::Done(code)),
            }
        }
    }

    fn draw(&mut self) -> u64 {
        self.draws += 1;
        self.stage.choice(1000 + u64::from(self.pid), self.draws)
    }

    async fn sleep(&mut self, least_ms: u64, most_ms: u64) {
        let ms = least_ms + self.draw() % (most_ms - least_ms);
        self.stage.world.sleep_ms(ms).await;
    }

    fn says(&self, stream: Stream, line: &str) {
        let bytes = Bytes::from(format!("{line}\n"));
        let _nobody_hears = self.tell.send(ProcessEvent::Output { stream, bytes });
    }

    fn variable(&self, name: &str) -> Option<PathBuf> {
        self.spec.env.iter().find(|(known, _)| known == name).map(|(_, value)| PathBuf::from(value))
    }

    async fn works(&mut self, what: &str, steps: u64) -> i32 {
        let done = match what {
            "train" => self.trains(steps).await,
            _ => self.makes(what).await,
        };
        match done {
            Ok(()) => 0,
            Err(error) => {
                self.says(Stream::Stderr, &format!("OSError: {error}"));
                1
            }
        }
    }

    /// Reads all inputs, takes its time, and writes its output.
    async fn makes(&mut self, what: &str) -> io::Result<()> {
        self.sleep(2_000, 40_000).await;
        let inputs = self.inputs()?;
        let inputs: Vec<&[u8]> = inputs.iter().map(Vec::as_slice).collect();
        self.writes_output(&made_of(what, &inputs))
    }

    /// Trains from the newest checkpoint on that lies there, and writes one after every step.
    async fn trains(&mut self, steps: u64) -> io::Result<()> {
        let inputs = self.inputs()?;
        let input = inputs.first().ok_or(io::ErrorKind::NotFound)?;
        let directory = self.variable("PRUNELLA_CHECKPOINT_DIR").ok_or(io::ErrorKind::NotFound)?;
        let (mut n, mut state) = self.newest(&directory)?.unwrap_or_else(|| (0, untrained(input)));
        let socket = self.variable("PRUNELLA_SOCKET").filter(|_| self.draw().is_multiple_of(3));
        let mut socket = socket.and_then(|path| self.stage.connect(self.machine, &path)).map(BufReader::new);
        while n < steps {
            self.sleep(3_000, 20_000).await;
            n += 1;
            state = trained(&state, n);
            self.says(Stream::Stdout, &format!("step {n} of {steps}"));
            let usage = Usage { cpu: Duration::from_secs(n), memory: 1 << 20, io_bytes: n };
            let _nobody_hears = self.tell.send(ProcessEvent::Usage(usage));
            // Half of it stands there for a moment, as of a file that is being written.
            let (part, whole) = (directory.join(format!("e{n}.tmp")), directory.join(format!("e{n}")));
            let text = format!("{n} {state}");
            let mut file = self.disk.create_new(&part)?;
            file.write_all(&text.as_bytes()[..text.len() / 2])?;
            self.sleep(1, 50).await;
            file.write_all(&text.as_bytes()[text.len() / 2..])?;
            self.disk.rename(&part, &whole)?;
            if let Some(socket) = &mut socket {
                self.asks(socket, n).await?;
            }
            if n > 2 {
                let _gone_before = self.disk.remove_file(&directory.join(format!("e{}", n - 2)));
            }
        }
        self.writes_output(state.as_bytes())
    }

    /// Says that a checkpoint is there, and waits until it was taken, or was not.
    async fn asks(&mut self, socket: &mut BufReader<tokio::io::DuplexStream>, n: u64) -> io::Result<()> {
        let line = format!("{{\"type\":\"checkpoint\",\"path\":\"e{n}\",\"progress\":{n}}}\n");
        if socket.write_all(line.as_bytes()).await.is_err() {
            return Ok(());
        }
        let mut heard = String::new();
        while !["taken", "missed", "superseded", "failed", "error"].iter().any(|word| heard.contains(word)) {
            heard.clear();
            if socket.read_line(&mut heard).await.unwrap_or(0) == 0 {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Ends as programs do that were told to: its checkpoints lie there already.
    async fn saves(&mut self) -> i32 {
        self.sleep(10, 3_000).await;
        143
    }

    fn inputs(&self) -> io::Result<Vec<Vec<u8>>> {
        let of = self.spec.env.iter().filter(|(name, _)| name.to_string_lossy().starts_with("PRUNELLA_INPUT_"));
        of.map(|(_, path)| self.disk.read(Path::new(path))).collect()
    }

    fn writes_output(&self, bytes: &[u8]) -> io::Result<()> {
        let output = self.spec.env.iter().find(|(name, _)| name.to_string_lossy().starts_with("PRUNELLA_OUTPUT_"));
        let (_, path) = output.ok_or(io::ErrorKind::NotFound)?;
        self.disk.create_new(Path::new(path))?.write_all(bytes)
    }

    /// Returns the newest checkpoint in the directory: the step, and what the training is after it.
    fn newest(&self, directory: &Path) -> io::Result<Option<(u64, String)>> {
        let mut newest = None;
        for entry in self.disk.list(directory)? {
            let name = entry.name.to_string_lossy().into_owned();
            if name.strip_prefix('e').is_none_or(|n| n.parse::<u64>().is_err()) {
                continue;
            }
            let text = String::from_utf8_lossy(&self.disk.read(&directory.join(&name))?).into_owned();
            let (n, state) = text.split_once(' ').ok_or(io::ErrorKind::InvalidData)?;
            let n = n.parse::<u64>().map_err(|_| io::ErrorKind::InvalidData)?;
            newest = newest.max(Some((n, state.to_owned())));
        }
        Ok(newest)
    }
}
