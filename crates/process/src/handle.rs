//! The engine's handle on its guardian: starting it, giving it orders, learning of its death.

use std::collections::{HashMap, HashSet, VecDeque};
use std::ffi::OsString;
use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{AddressFamily, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketFlags, SocketType};
use rustix::pipe::PipeFlags;
use rustix::process::{Pid, PidfdFlags};
use tokio::io::Interest;
use tokio::net::UnixStream;
use tokio::net::unix::pipe::Receiver;
use tokio::sync::{Notify, oneshot, watch};

use crate::error::{ProcessError, SpawnProblem};
use crate::identity::ProcessIdentity;
use crate::orphans;
use crate::running::{Ends, SpawnSpec, Tree, Usage};
use crate::wire::{End, Frames, MAX_FRAME, Malformed, Reply, Request, SpawnRequest, Taken};

/// How long a guardian may take to greet; it has nothing else to do.
const GREETING: Duration = Duration::from_secs(10);

/// How to start a guardian.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GuardianOptions {
    /// The program, which calls [`crate::guardian_main`] when started with `args`.
    pub exe: PathBuf,
    /// Its arguments.
    pub args: Vec<OsString>,
}

impl Default for GuardianOptions {
    /// Returns the running program itself with [`crate::GUARDIAN_ARG`]; it works also when its file was replaced.
    fn default() -> Self {
        Self { exe: PathBuf::from("/proc/self/exe"), args: vec![crate::GUARDIAN_ARG.into()] }
    }
}

/// A guardian process: the parent of every step. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct GuardianProcess {
    handle: Arc<Handle>,
}

/// What keeps a guardian alive.
#[derive(Debug)]
pub(crate) struct Handle {
    shared: Arc<Shared>,
    identity: ProcessIdentity,
    died: watch::Receiver<bool>,
}

/// What handle and listener share.
#[derive(Debug)]
struct Shared {
    stream: UnixStream,
    outbox: Mutex<VecDeque<Letter>>,
    /// Wakes the listener when something waits in the outbox.
    waiting: Notify,
    attempts: Mutex<Attempts>,
    next_id: AtomicU64,
}

#[derive(Debug)]
struct Letter {
    frame: Vec<u8>,
    sent: usize,
    descriptors: Vec<OwnedFd>,
}

#[derive(Debug, Default)]
struct Attempts {
    by_id: HashMap<u64, Line>,
    /// Set once the guardian is gone: nothing can be added any more.
    closed: bool,
}

/// The way from the listener to one attempt.
#[derive(Debug)]
struct Line {
    attempt_id: String,
    started: Option<oneshot::Sender<Result<(u32, i32), SpawnProblem>>>,
    usage: watch::Sender<Usage>,
    end: oneshot::Sender<End>,
}

impl GuardianProcess {
    pub(crate) async fn start(options: GuardianOptions) -> Result<Self, ProcessError> {
        let failed = |source| ProcessError::GuardianNotStarted { exe: options.exe.clone(), source };
        rustix::process::set_child_subreaper(Some(rustix::process::getpid())).map_err(|error| failed(error.into()))?;
        let (ours, theirs) =
            rustix::net::socketpair(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)
                .map_err(|error| failed(error.into()))?;
        let mut command = Command::new(&options.exe);
        command.args(&options.args).stdin(Stdio::from(theirs)).stdout(Stdio::null());
        crate::kernel::in_own_session(&mut command);
        let child = {
            // Held over the start: whoever cleans up after another guardian must not take this one for an orphan.
            let mut living = orphans::living();
            let child = command.spawn().map_err(failed)?;
            living.push(child.id());
            child
        };
        // Closes the guardian's end of the socket, or its death would not show.
        drop(command);
        let pid = child.id();
        let socket = ours.try_clone().map_err(failed)?;
        let started = Started { child, socket };
        let ours = std::os::unix::net::UnixStream::from(ours);
        ours.set_nonblocking(true).map_err(failed)?;
        let stream = UnixStream::from_std(ours).map_err(failed)?;
        let mut frames = Frames::default();
        let greeting = tokio::time::timeout(GREETING, next_reply(&stream, &mut frames)).await;
        let silent = match greeting {
            Ok(Ok(Reply::Hello)) => None,
            Ok(Ok(_)) => Some(io::Error::other("the program answers but is no guardian")),
            Ok(Err(error)) => Some(error),
            Err(_) => Some(io::ErrorKind::TimedOut.into()),
        };
        if let Some(error) = silent {
            // Whatever it is, it does not go by itself when the socket closes.
            started.bury();
            return Err(failed(error));
        }
        let identity = ProcessIdentity::of(pid).ok_or_else(|| failed(io::ErrorKind::NotFound.into()))?;
        let (tell_death, died) = watch::channel(false);
        let shared = Arc::new(Shared {
            stream,
            outbox: Mutex::default(),
            waiting: Notify::new(),
            attempts: Mutex::default(),
            next_id: AtomicU64::new(1),
        });
        tokio::spawn(listen(shared.clone(), frames, started, tell_death));
        Ok(Self { handle: Arc::new(Handle { shared, identity, died }) })
    }

    pub(crate) fn identity(&self) -> ProcessIdentity {
        self.handle.identity
    }

    pub(crate) async fn spawn(&self, spec: SpawnSpec) -> Result<Tree, ProcessError> {
        let program = spec.argv.first().map(|word| word.to_string_lossy().into_owned()).unwrap_or_default();
        let resources = |source| ProcessError::Resources { what: "pipes for the output", source };
        let (stdout, stdout_end) = pipe().map_err(resources)?;
        let (stderr, stderr_end) = pipe().map_err(resources)?;
        let shared = &self.handle.shared;
        let id = shared.next_id.fetch_add(1, Ordering::Relaxed);
        let mut env = spec.env;
        env.retain(|(name, _)| name != crate::ATTEMPT_ID);
        env.push((crate::ATTEMPT_ID.into(), spec.attempt_id.clone().into()));
        let frame = Request::Spawn(SpawnRequest {
            id,
            attempt_id: spec.attempt_id.clone(),
            memory_limit: spec.memory_limit,
            cwd: spec.cwd,
            argv: spec.argv,
            env,
            read_only: spec.read_only,
        })
        .encode();
        if frame.len() > MAX_FRAME {
            return Err(ProcessError::TooLarge { size: frame.len(), limit: MAX_FRAME });
        }
        let (started, start) = oneshot::channel();
        let (usage, usage_end) = watch::channel(Usage::default());
        let (end, end_end) = oneshot::channel();
        {
            let mut attempts = lock(&shared.attempts);
            if attempts.closed {
                return Err(ProcessError::GuardianDied);
            }
            attempts.by_id.insert(id, Line { attempt_id: spec.attempt_id, started: Some(started), usage, end });
        }
        // From here on dropping kills.
        let ends = Ends { stdout, stderr, usage: usage_end, end: end_end };
        let mut running = Tree::new(self.handle.clone(), id, ends);
        shared.send(frame, vec![stdout_end, stderr_end]);
        match start.await {
            Ok(Ok((pid, unprotected))) => {
                running.started(pid, unprotected);
                Ok(running)
            }
            Ok(Err(problem)) => {
                running.not_started();
                Err(ProcessError::Spawn { program, problem })
            }
            Err(_) => {
                running.not_started();
                Err(ProcessError::GuardianDied)
            }
        }
    }

    pub(crate) fn is_dying(&self) -> bool {
        lock(&self.handle.shared.attempts).closed
    }

    pub(crate) async fn died(&self) {
        let mut died = self.handle.died.clone();
        // An error means that the listener is gone with its runtime, and with it the guardian.
        let _ = died.wait_for(|died| *died).await;
    }

    pub(crate) async fn stop(self) {
        self.handle.shared.hang_up();
        self.died().await;
    }
}

impl Handle {
    /// Gives an order that needs no answer.
    pub(crate) fn order(&self, request: &Request) {
        self.shared.send(request.encode(), Vec::new());
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.shared.hang_up();
    }
}

impl Shared {
    /// Sends a frame after those that wait, at once if the socket takes it.
    fn send(&self, frame: Vec<u8>, descriptors: Vec<OwnedFd>) {
        lock(&self.outbox).push_back(Letter { frame, sent: 0, descriptors });
        if !self.flush() {
            self.waiting.notify_one();
        }
    }

    /// Sends what waits; false if the socket takes no more now.
    fn flush(&self) -> bool {
        let mut outbox = lock(&self.outbox);
        while let Some(letter) = outbox.front_mut() {
            match self.stream.try_io(Interest::WRITABLE, || letter.send(&self.stream)) {
                Ok(()) if letter.sent == letter.frame.len() => drop(outbox.pop_front()),
                Ok(()) => (),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return false,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => (),
                // The guardian is gone; the listener learns it at the other end of the stream.
                Err(_) => outbox.clear(),
            }
        }
        true
    }

    fn hang_up(&self) {
        // Fails only if the guardian is gone.
        let _ = rustix::net::shutdown(&self.stream, rustix::net::Shutdown::Write);
    }

    fn deliver(&self, reply: Reply) -> Result<(), Malformed> {
        let mut attempts = lock(&self.attempts);
        match reply {
            Reply::Spawned { id, pid, unprotected } => {
                let line = attempts.by_id.get_mut(&id).ok_or(Malformed)?;
                // Nobody waits if the spawn was given up; dropping it has ordered the kill.
                let _ = line.started.take().ok_or(Malformed)?.send(Ok((pid, unprotected)));
            }
            Reply::SpawnFailed { id, problem } => {
                let line = attempts.by_id.remove(&id).ok_or(Malformed)?;
                let _ = line.started.ok_or(Malformed)?.send(Err(problem));
            }
            Reply::Usage { id, usage } => drop(attempts.by_id.get(&id).ok_or(Malformed)?.usage.send(usage)),
            Reply::Ended { id, end } => drop(attempts.by_id.remove(&id).ok_or(Malformed)?.end.send(end)),
            Reply::Hello | Reply::Malformed => return Err(Malformed),
        }
        Ok(())
    }
}

impl Letter {
    /// Sends once. The descriptors go with the first byte.
    fn send(&mut self, stream: &UnixStream) -> io::Result<()> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(2))];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        let borrowed: Vec<_> = self.descriptors.iter().map(AsFd::as_fd).collect();
        if !borrowed.is_empty() {
            ancillary.push(SendAncillaryMessage::ScmRights(&borrowed));
        }
        let rest = &self.frame[self.sent..];
        let sent = rustix::net::sendmsg(stream, &[IoSlice::new(rest)], &mut ancillary, SendFlags::NOSIGNAL)?;
        self.sent += sent;
        // The guardian has them now; ours would keep the pipes open.
        self.descriptors.clear();
        Ok(())
    }
}

/// A started guardian: hung up and reaped when dropped, and then off the list of the living.
#[derive(Debug)]
struct Started {
    child: Child,
    socket: OwnedFd,
}

impl Started {
    /// Makes sure that the guardian is dead and reaps it. Its children are handed on before its end shows.
    fn bury(mut self) {
        // It closes its end of the socket only by ending, so it has killed what it had to kill, or can no more.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    fn ends_within(&self, patience: &Timespec) -> bool {
        let number = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw).expect("a child's number is positive");
        let Ok(held) = rustix::process::pidfd_open(number, PidfdFlags::empty()) else { return true };
        poll(&mut [PollFd::new(&held, PollFlags::IN)], Some(patience)).is_ok_and(|ready| ready > 0)
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        // Dead already, as a rule. If the runtime is being dropped it still serves: then it must not be killed, since
        // on end of file it kills what it had spawned.
        let _ = rustix::net::shutdown(&self.socket, rustix::net::Shutdown::Both);
        self.ends_within(&Timespec { tv_sec: 2, tv_nsec: 0 });
        if self.child.try_wait().is_ok_and(|status| status.is_some()) {
            orphans::living().retain(|pid| *pid != self.child.id());
        }
    }
}

/// Hears the guardian until it is gone, then cleans up after it.
async fn listen(shared: Arc<Shared>, mut frames: Frames, started: Started, tell_death: watch::Sender<bool>) {
    loop {
        let reply = tokio::select! {
            reply = next_reply(&shared.stream, &mut frames) => reply,
            () = keep_flushing(&shared) => continue,
        };
        let understood = match reply {
            Ok(reply) => shared.deliver(reply).is_ok(),
            Err(error) if error.kind() == io::ErrorKind::InvalidData => false,
            Err(_) => break,
        };
        if !understood {
            // Two ends of one program that do not understand each other: the guardian cannot be trusted any more.
            break;
        }
    }
    let guardian = started.child.id();
    let attempts: HashSet<String> = {
        let mut attempts = lock(&shared.attempts);
        attempts.closed = true;
        attempts.by_id.values().map(|line| line.attempt_id.clone()).collect()
    };
    let cleaning = tokio::task::spawn_blocking(move || {
        started.bury();
        orphans::kill_orphans(guardian, &attempts)
    });
    let killed = cleaning.await.ok().and_then(Result::ok);
    for (_, line) in lock(&shared.attempts).by_id.drain() {
        let _ = line.end.send(End { leftovers_killed: killed.unwrap_or(0), ..End::unseen() });
    }
    let _ = tell_death.send(true);
}

/// Sends what waits until the future is dropped. What is still unsent then is found again by the next call.
async fn keep_flushing(shared: &Shared) {
    loop {
        if shared.flush() {
            shared.waiting.notified().await;
        } else if shared.stream.writable().await.is_err() {
            // The runtime is going; so is whoever waits.
            return std::future::pending().await;
        }
    }
}

/// Returns the guardian's next word. Dropping the future loses nothing.
async fn next_reply(stream: &UnixStream, frames: &mut Frames) -> io::Result<Reply> {
    loop {
        match frames.take() {
            Taken::Frame { kind, payload, .. } => {
                return Reply::decode(kind, &payload).map_err(|Malformed| io::ErrorKind::InvalidData.into());
            }
            Taken::Bad { .. } => return Err(io::ErrorKind::InvalidData.into()),
            Taken::Nothing => (),
        }
        stream.readable().await?;
        let mut chunk = [0u8; 4096];
        match stream.try_read(&mut chunk) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(length) => frames.push(&chunk[..length]),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => (),
            Err(error) => return Err(error),
        }
    }
}

fn pipe() -> io::Result<(Receiver, OwnedFd)> {
    let (read, write) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC)?;
    Ok((Receiver::from_owned_fd(read)?, write))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing is done under these locks that could leave their content half-changed.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
