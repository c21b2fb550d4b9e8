//! A step's process tree as the engine sees it: output, use, end.

use std::ffi::OsString;
use std::io;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use rustix::process::Signal;
use tokio::net::unix::pipe::Receiver;
use tokio::sync::{oneshot, watch};
use tokio::time::Sleep;

use crate::handle::Handle;
use crate::wire::{End, Request};

/// The most one [`ProcessEvent::Output`] carries, bytes.
const CHUNK: usize = 64 << 10;
/// The size of the first read, bytes.
const FIRST_CHUNK: usize = 4 << 10;
/// How long output is waited for once the whole tree is dead.
const DRAIN: Duration = Duration::from_secs(1);
/// What is still read when that time is over: as much as a pipe can hold.
const IN_THE_PIPE: usize = 1 << 20;

/// A command to start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpawnSpec {
    /// The value of [`crate::ATTEMPT_ID`], which is added to the environment: `store id/run/key/epoch`.
    pub attempt_id: String,
    /// The command's words. The first is a path, taken from `cwd` if relative, or a name looked for in `env`'s `PATH`.
    pub argv: Vec<OsString>,
    /// The complete environment; nothing is inherited.
    pub env: Vec<(OsString, OsString)>,
    /// The working directory.
    pub cwd: PathBuf,
    /// The memory at which the tree is killed, bytes.
    pub memory_limit: Option<u64>,
    /// Absolute paths that the tree cannot write, nor what is mounted below them, where the kernel lets us see to it.
    pub read_only: Vec<PathBuf>,
}

/// Which of its two streams a program wrote to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// What the living tree has used; told about once a second, first after one second.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// User and system time of the tree, also of its members that are gone.
    pub cpu: Duration,
    /// Memory, bytes: what the kernel charges in a control group; the sum of proportional shares near a limit;
    /// otherwise the sum of resident memory, in which shared pages count for each that shares them.
    pub memory: u64,
    /// Bytes read and written by the living members and the children they waited for, whatever the bytes were.
    pub io_bytes: u64,
}

/// How the main process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EndStatus {
    /// It exited with this code.
    Exited(i32),
    /// This signal killed it.
    Signaled(i32),
    /// The guardian died; the tree was killed without its end being seen.
    GuardianDied,
}

/// Why an end is taken for out of memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OomEvidence {
    /// The limit, bytes.
    pub limit: u64,
    /// The use at which the tree was killed, bytes.
    pub seen: u64,
    /// Whether the kernel killed in a control group (`memory.events`); else the guardian measured and killed.
    pub cgroup: bool,
}

/// How a step's tree ended, with the evidence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    /// How the main process ended.
    pub status: EndStatus,
    /// The largest memory use seen, bytes. For short attempts that of the largest single process, in which the
    /// guardian's own few MiB are the floor.
    pub memory_peak: u64,
    /// User and system time of the tree.
    pub cpu: Duration,
    /// Set if the tree was killed at its memory limit.
    pub out_of_memory: Option<OomEvidence>,
    /// How many processes were left when the main process ended, and were killed.
    pub leftovers_killed: u32,
    /// How many of them survive SIGKILL (they hang in the kernel).
    pub survivors: u32,
    /// The signals we sent to the tree before its main process ended, ascending: the others came from elsewhere.
    pub sent: Vec<i32>,
    /// Whether both streams were read to their end. If not, somebody outside the tree holds one open.
    pub drained: bool,
}

impl Ended {
    /// Says whether the main process was killed by a signal that we did not send.
    pub fn killed_from_outside(&self) -> bool {
        matches!(self.status, EndStatus::Signaled(signal) if !self.sent.contains(&signal))
    }
}

/// What happens to a running step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProcessEvent {
    /// The program wrote; pieces of one stream come in order, at most 64 KiB each.
    Output {
        /// Where to.
        stream: Stream,
        /// What.
        bytes: Bytes,
    },
    /// What the tree has used so far.
    Usage(Usage),
    /// The main process ended, the rest of its tree is dead, the output is read. Always the last event.
    Exited(Ended),
}

/// A started step under a guardian process. Dropping it before its end kills its tree.
#[derive(Debug)]
pub(crate) struct Tree {
    handle: Arc<Handle>,
    id: u64,
    pid: u32,
    /// The error number for which paths could not be made read-only; zero if they are.
    unprotected: i32,
    stdout: Option<Receiver>,
    stderr: Option<Receiver>,
    usage: watch::Receiver<Usage>,
    end: oneshot::Receiver<End>,
    ended: Option<(End, Pin<Box<Sleep>>)>,
    drained: bool,
    told: bool,
    /// How much is still read when draining is over.
    in_the_pipe: usize,
    buffer: Vec<u8>,
}

/// The engine's ends of what connects it to one attempt.
#[derive(Debug)]
pub(crate) struct Ends {
    pub stdout: Receiver,
    pub stderr: Receiver,
    pub usage: watch::Receiver<Usage>,
    pub end: oneshot::Receiver<End>,
}

enum Happened {
    Readable(Stream),
    Used(bool),
    Ended(Option<End>),
    Late,
}

impl Tree {
    pub(crate) fn new(handle: Arc<Handle>, id: u64, ends: Ends) -> Self {
        let Ends { stdout, stderr, usage, end } = ends;
        let (stdout, stderr) = (Some(stdout), Some(stderr));
        let (ended, drained, told, buffer) = (None, true, false, Vec::new());
        let in_the_pipe = 2 * IN_THE_PIPE;
        Self {
            handle,
            id,
            pid: 0,
            unprotected: 0,
            stdout,
            stderr,
            usage,
            end,
            ended,
            drained,
            told,
            in_the_pipe,
            buffer,
        }
    }

    pub(crate) fn started(&mut self, pid: u32, unprotected: i32) {
        (self.pid, self.unprotected) = (pid, unprotected);
    }

    /// Marks as never started: there is nothing to kill when this is dropped.
    pub(crate) fn not_started(&mut self) {
        self.told = true;
    }

    pub(crate) fn pid(&self) -> u32 {
        self.pid
    }

    pub(crate) fn unprotected(&self) -> Option<io::Error> {
        (self.unprotected != 0).then(|| io::Error::from_raw_os_error(self.unprotected))
    }

    pub(crate) fn usage(&self) -> Usage {
        *self.usage.borrow()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        self.handle.order(&Request::Signal { id: self.id, signal: signal.as_raw() });
    }

    pub(crate) fn kill_tree(&self) {
        self.handle.order(&Request::Kill { id: self.id });
    }

    pub(crate) async fn next(&mut self) -> Option<ProcessEvent> {
        if self.told {
            return None;
        }
        loop {
            if let (Some((end, _)), None, None) = (&self.ended, &self.stdout, &self.stderr) {
                self.told = true;
                let sent = (1..64).filter(|signal| end.sent & (1 << signal) != 0).collect();
                return Some(ProcessEvent::Exited(Ended {
                    status: end.status,
                    memory_peak: end.memory_peak,
                    cpu: end.cpu,
                    out_of_memory: end.out_of_memory,
                    leftovers_killed: end.leftovers_killed,
                    survivors: end.survivors,
                    sent,
                    drained: self.drained,
                }));
            }
            match self.wait().await {
                Happened::Readable(stream) => {
                    if let Some(output) = self.read(stream) {
                        return Some(output);
                    }
                }
                Happened::Used(true) => return Some(ProcessEvent::Usage(*self.usage.borrow_and_update())),
                Happened::Used(false) => (),
                Happened::Ended(end) => {
                    self.ended = Some((end.unwrap_or_else(End::unseen), Box::pin(tokio::time::sleep(DRAIN))));
                }
                Happened::Late => {
                    if let Some(output) = self.last_words() {
                        return Some(output);
                    }
                }
            }
        }
    }

    /// Waits for whatever comes first. Nothing is taken but an end, which is kept at once: the future may be dropped.
    async fn wait(&mut self) -> Happened {
        let Self { stdout, stderr, usage, end, ended, .. } = self;
        let alive = ended.is_none();
        tokio::select! {
            () = readable(stdout.as_ref()) => Happened::Readable(Stream::Stdout),
            () = readable(stderr.as_ref()) => Happened::Readable(Stream::Stderr),
            changed = usage.changed(), if alive => Happened::Used(changed.is_ok()),
            end = end, if alive => Happened::Ended(end.ok()),
            () = elapsed(ended.as_mut()) => Happened::Late,
        }
    }

    /// Reads what is there; none if nothing is, or if the stream ended.
    fn read(&mut self, stream: Stream) -> Option<ProcessEvent> {
        let receiver = match stream {
            Stream::Stdout => &mut self.stdout,
            Stream::Stderr => &mut self.stderr,
        };
        // Made when first needed, and larger as needed: most steps of a large run say little or nothing.
        if self.buffer.is_empty() {
            self.buffer.resize(FIRST_CHUNK, 0);
        }
        match receiver.as_ref()?.try_read(&mut self.buffer) {
            Ok(0) => *receiver = None,
            Ok(length) => {
                let bytes = Bytes::copy_from_slice(&self.buffer[..length]);
                if length == self.buffer.len() && length < CHUNK {
                    self.buffer.resize(CHUNK, 0);
                }
                return Some(ProcessEvent::Output { stream, bytes });
            }
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => (),
            Err(_) => {
                // A pipe of our own does not fail to be read; if it does, the rest is lost and that is said.
                self.drained = false;
                *receiver = None;
            }
        }
        None
    }

    /// Reads what a stream still holds although nobody of the tree is left to write, then gives it up.
    fn last_words(&mut self) -> Option<ProcessEvent> {
        self.drained = false;
        for stream in [Stream::Stdout, Stream::Stderr] {
            if self.in_the_pipe > 0
                && let Some(output) = self.read(stream)
            {
                self.in_the_pipe = self.in_the_pipe.saturating_sub(CHUNK);
                return Some(output);
            }
        }
        (self.stdout, self.stderr) = (None, None);
        None
    }
}

impl Drop for Tree {
    fn drop(&mut self) {
        if !self.told && self.ended.is_none() {
            self.kill_tree();
        }
    }
}

async fn readable(receiver: Option<&Receiver>) {
    match receiver {
        // An error shows again at the read, where it is dealt with.
        Some(receiver) => drop(receiver.readable().await),
        None => std::future::pending().await,
    }
}

async fn elapsed(ended: Option<&mut (End, Pin<Box<Sleep>>)>) {
    match ended {
        Some((_, patience)) => patience.as_mut().await,
        None => std::future::pending().await,
    }
}
