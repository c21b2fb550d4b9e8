//! The loop while the program runs: output, deadlines, checkpoints, messages.

use std::{sync::Arc, time::Duration};

use prunella_healing::{Ending, Evidence, KillReason, NoticeSeen, OutOfMemory, Pace, Phase};
use prunella_model::{ByteSize, CheckpointId, SlotId, Span, Step};
use prunella_process::{EndStatus, Ended, ProcessEvent, Running, Signal};
use prunella_store::{Layout, StoreError, records::CheckpointMark};
use tokio::sync::watch;

use crate::{
    Control, Host, Request, Told,
    interference::Interference,
    interval::{Interval, Known, machine_of},
    life::Life,
    log::LogWriter,
    snapshots::{Snapshots, Stored, Wanted, millis},
    socket::{Reply, Said, Socket, mark},
    tell::Tell,
    watcher::Watcher,
    workspace::Workspace,
};

/// How often the checkpoint directory is looked at.
const LOOK: Duration = Duration::from_millis(50);
/// How often gathered output is stored.
const LOGS: Duration = Duration::from_secs(1);
/// The grace of a step that declares none.
const GRACE: Duration = Duration::from_secs(10);
/// A step that shows no sign of life for so long is stalled, unless it says otherwise.
const STALL: Duration = Duration::from_secs(30 * 60);
/// Processor time in one second below which a tree counts as idle.
const IDLE_CPU: Duration = Duration::from_millis(10);

/// What the loop saw.
pub(crate) struct Watched {
    pub(crate) evidence: Evidence,
    pub(crate) ended: Option<Ended>,
    pub(crate) checkpoints: Vec<CheckpointMark>,
    pub(crate) fenced: bool,
    /// The last piece of output, to be stored with the end.
    pub(crate) last_log: Option<(prunella_objects::ObjectKey, bytes::Bytes)>,
    pub(crate) trouble: Option<StoreError>,
    pub(crate) ended_ms: u64,
}

pub(crate) struct Supervision<'a> {
    pub(crate) host: &'a Host,
    pub(crate) request: &'a Request,
    pub(crate) step: &'a Step,
    pub(crate) slot: SlotId,
    pub(crate) workspace: &'a Workspace,
    pub(crate) control: watch::Receiver<Control>,
    pub(crate) tell: Arc<dyn Tell>,
    pub(crate) life: &'a Life,
    /// When the attempt began, on the monotonic clock.
    pub(crate) begun: Duration,
    pub(crate) restored: Option<CheckpointId>,
    /// What earlier attempts tell of checkpoints and interruptions.
    pub(crate) known: Known,
}

/// Everything that changes while the loop goes on.
struct State<'a> {
    log: LogWriter<'a>,
    log_n: u64,
    snapshots: Snapshots,
    interval: Interval,
    interference: Interference,
    watcher: Option<Watcher>,
    evidence: Evidence,
    checkpoints: Vec<CheckpointMark>,
    fenced: bool,
    trouble: Option<StoreError>,
    killed: Option<KillReason>,
    kill_at: Option<Duration>,
    /// Whether the next entry that is complete is taken whatever the interval: the machine may go away.
    hinted: bool,
    last_life: Duration,
    cpu_seen: Duration,
    io_seen: u64,
}

impl Supervision<'_> {
    fn now(&self) -> Duration {
        self.host.sys.clock.monotonic()
    }

    fn at_ms(&self) -> u64 {
        millis(self.now().saturating_sub(self.begun))
    }

    /// Runs until the process tree is gone and everything it left is stored.
    pub(crate) async fn run(mut self, mut running: Running, mut socket: Socket, watcher: Option<Watcher>) -> Watched {
        let now = self.now();
        let sooner = self.request.checkpoint_sooner;
        let redactor = self.host.redactor.clone();
        let machine = machine_of(self.step, &*self.host.sys.fs);
        let mut state = State {
            log: LogWriter::new(&redactor),
            log_n: 0,
            snapshots: Snapshots::new(self.slot),
            interval: Interval::new(
                self.step.checkpoint.as_ref(),
                sooner,
                self.known.clone(),
                machine,
                self.host.margin,
            ),
            interference: Interference::default(),
            watcher,
            evidence: Evidence { phase: Phase::Run, restored: self.restored, ..Evidence::default() },
            checkpoints: Vec::new(),
            fenced: false,
            trouble: None,
            killed: None,
            kill_at: None,
            hinted: false,
            last_life: now,
            cpu_seen: Duration::ZERO,
            io_seen: 0,
        };
        let timeout = self.step.timeout.map(|timeout| now + timeout.duration());
        let stall = self.step.stall.map_or(STALL, |stall| stall.duration());
        let mut next_log = now + LOGS;
        let clock = self.host.sys.clock.clone();
        let mut control = self.control.clone();
        // A word that came before the program was started counts too.
        let first = control.borrow_and_update().clone();
        self.obey(&first, &running, &mut state, &mut socket);
        let ended = loop {
            let now = self.now();
            let mut wake = state.last_life + stall;
            wake = [timeout.filter(|_| !state.evidence.timeout), state.kill_at]
                .into_iter()
                .flatten()
                .fold(wake, Duration::min);
            if state.log.has_piece() {
                wake = wake.min(next_log);
            }
            if state.watcher.is_some() {
                wake = wake.min(now + LOOK);
            }
            tokio::select! {
                // What is rare comes first: a program that says very much hides neither a word of the engine nor a snapshot.
                biased;
                changed = control.changed() => {
                    let word = if changed.is_ok() { control.borrow_and_update().clone() } else { Control::Kill };
                    self.obey(&word, &running, &mut state, &mut socket);
                    if changed.is_err() {
                        // The engine is gone: nobody would hear the verdict.
                        control = watch::channel(Control::Kill).1;
                    }
                }
                stored = state.snapshots.finished() => self.stored(stored, &mut state, &running),
                (said, reply) = socket.next() => self.hear(said, reply, &mut state),
                event = running.next() => match event {
                    Some(ProcessEvent::Output { stream, bytes }) => {
                        state.last_life = self.now();
                        let at_ms = self.at_ms();
                        let tell = &self.tell;
                        state.log.push(at_ms, stream, &bytes, |line| {
                            tell.tell(Told::Line { stream, text: String::from_utf8_lossy(line).into_owned() });
                        });
                        self.store_log(&mut state, false).await;
                    }
                    Some(ProcessEvent::Usage(usage)) => {
                        if usage.cpu.saturating_sub(state.cpu_seen) >= IDLE_CPU || usage.io_bytes != state.io_seen {
                            state.last_life = self.now();
                        }
                        (state.cpu_seen, state.io_seen) = (usage.cpu, usage.io_bytes);
                        state.interference.saw(self.now(), usage.cpu, state.snapshots.storing());
                        self.life.uses(usage.memory);
                    }
                    Some(ProcessEvent::Exited(ended)) => break Some(ended),
                    None => break None,
                },
                () = clock.sleep(wake.saturating_sub(now)) => {}
            }
            let now = self.now();
            if state.watcher.is_some() {
                self.look_for_entries(&mut state, now);
                self.start_snapshot(&mut state, now, false);
            }
            if now >= next_log {
                self.store_log(&mut state, true).await;
                next_log = now + LOGS;
            }
            if timeout.is_some_and(|timeout| now >= timeout) && !state.evidence.timeout {
                state.evidence.timeout = true;
                state.killed = Some(KillReason::Timeout);
                // A notice may have come before it.
                let kill_at = now + self.grace();
                state.kill_at = Some(state.kill_at.map_or(kill_at, |known| known.min(kill_at)));
                running.signal(Signal::TERM);
            }
            if now.saturating_sub(state.last_life) >= stall && !state.evidence.stalled {
                state.evidence.stalled = true;
                state.killed = Some(KillReason::Stall);
                running.kill_tree();
            }
            if state.kill_at.is_some_and(|at| now >= at) {
                state.kill_at = None;
                state.killed.get_or_insert(KillReason::Notice);
                running.kill_tree();
            }
        };
        // Settling takes time of its own, in which the program no longer runs.
        let ended_ms = self.at_ms();
        // Whatever survived could still speak for this attempt, or work in its directory: nothing is used again then.
        let gone = ended.as_ref().is_some_and(|ended| ended.survivors == 0 && ended.drained);
        if gone {
            self.host.pool.keep_socket(socket.clear().await);
        } else {
            self.workspace.taint();
        }
        self.settle(&mut state).await;
        self.finish(state, ended, ended_ms).await
    }

    fn sealed(&self) -> bool {
        self.step.checkpoint.as_ref().is_some_and(|checkpoint| checkpoint.sealed)
    }

    fn grace(&self) -> Duration {
        self.step.checkpoint.as_ref().map_or(GRACE, |checkpoint| checkpoint.grace.duration())
    }

    /// Asks for a checkpoint, passes a notice on, or kills. A deadline only ever gets earlier.
    fn obey(&self, word: &Control, running: &Running, state: &mut State<'_>, socket: &mut Socket) {
        let now = self.now();
        match word {
            Control::Run => {}
            Control::Hint(_) => {
                if self.step.checkpoint.is_some() {
                    state.hinted = true;
                    socket.broadcast(&Reply::Hint);
                }
            }
            Control::Kill => {
                state.evidence.stop_requested = true;
                state.killed = Some(KillReason::Stop);
                running.kill_tree();
            }
            Control::Notice(deadline) => {
                let source = &deadline.source;
                let kill_at = deadline.kill_at(now, self.grace()).saturating_sub(self.host.margin).max(now);
                let kill_at = state.kill_at.map_or(kill_at, |known| known.min(kill_at));
                state.kill_at = Some(kill_at);
                let grace_ms = millis(kill_at.saturating_sub(now));
                if state.evidence.notice.is_none() {
                    state.evidence.stop_requested = source == "stop";
                    let at_ms = self.at_ms();
                    let deadline_ms = Some(at_ms + grace_ms);
                    state.evidence.notice = Some(NoticeSeen { source: source.clone(), at_ms, deadline_ms });
                    self.life.is_noticed();
                    state.evidence.phase = Phase::Notice;
                    state.killed = Some(if source == "stop" { KillReason::Stop } else { KillReason::Notice });
                    running.signal(Signal::TERM);
                    self.tell.tell(Told::Noticed { source: source.clone(), grace_ms });
                }
                socket.broadcast(&Reply::Notice { grace_ms });
            }
        }
    }

    fn hear(&self, said: Said, reply: tokio::sync::mpsc::UnboundedSender<Reply>, state: &mut State<'_>) {
        state.last_life = self.now();
        match said {
            Said::Done => {
                state.evidence.said_done = true;
                let _gone = reply.send(Reply::Ok);
            }
            Said::Progress { value } => {
                state.evidence.progress_since_restore = true;
                state.evidence.progress = mark(&value).or(state.evidence.progress);
                self.tell.tell(Told::Progress { value });
                let _gone = reply.send(Reply::Ok);
            }
            Said::Checkpoint { path, sealed, progress } => {
                if self.step.checkpoint.is_none() {
                    let problem = "the step declares no `checkpoint`".to_owned();
                    let _gone = reply.send(Reply::Error { problem });
                    return;
                }
                state.evidence.progress_since_restore = true;
                state.evidence.progress = progress.as_ref().and_then(mark).or(state.evidence.progress);
                let sealed = sealed || self.sealed();
                state.snapshots.want(Wanted { entry: path, sealed, progress, reply: Some(reply) });
                self.start_snapshot(state, self.now(), true);
            }
        }
    }

    fn look_for_entries(&self, state: &mut State<'_>, now: Duration) {
        let Some(watcher) = &mut state.watcher else { return };
        if let Some(entry) = watcher.newest(&*self.host.sys.fs) {
            state.last_life = now;
            state.snapshots.want(Wanted { entry, sealed: self.sealed(), progress: None, reply: None });
        }
        if let Some(entry) = watcher.puzzled() {
            let why = "several processes write it, and nobody says how many, so it may lack files of some; say \
                       `checkpoint: { ranks: N }`";
            self.tell.tell(Told::SnapshotSkipped { entry, why: why.to_owned() });
        }
    }

    fn start_snapshot(&self, state: &mut State<'_>, now: Duration, now_please: bool) {
        let now_please = now_please || state.hinted || state.evidence.notice.is_some();
        // Only what waits can be due: nothing is chosen while there is nothing to take.
        if state.snapshots.busy() {
            let lived = now.saturating_sub(self.begun);
            state.snapshots.set_every(state.interval.every(lived, &*self.tell));
        }
        let directories = (&*self.workspace.checkpoint, &*self.workspace.staged);
        if state.snapshots.start(self.host, directories, &self.tell, now, now_please) {
            state.hinted = false;
        }
    }

    fn stored(&self, stored: Stored, state: &mut State<'_>, running: &Running) {
        self.note(stored, state);
        if state.fenced {
            state.killed = Some(KillReason::Fenced);
            running.kill_tree();
        }
    }

    fn note(&self, stored: Stored, state: &mut State<'_>) {
        match stored {
            Stored::Durable(mut mark) => {
                let begun = millis(self.begun);
                mark.taken_ms = mark.taken_ms.saturating_sub(begun);
                mark.durable_ms = mark.durable_ms.saturating_sub(begun);
                state.interval.measured(&mark, state.interference.share());
                state.evidence.newer_checkpoint = Some(CheckpointId { slot: self.slot, seq: mark.seq });
                state.evidence.progress_since_restore = true;
                state.checkpoints.push(mark);
            }
            Stored::Missed(entry) => {
                if let Some(watcher) = &mut state.watcher {
                    watcher.missed(&entry);
                }
            }
            Stored::NoRoom => {}
            Stored::Fenced => state.fenced = true,
            // The last durable checkpoint stands; what cannot be stored is said with the end, if that fails too.
            Stored::Failed(error) => state.trouble = Some(error),
        }
    }

    /// After the program is gone: its last complete entry is stored, so that nothing it finished is lost.
    async fn settle(&self, state: &mut State<'_>) {
        if self.step.checkpoint.is_none() {
            return;
        }
        // What is on its way may have missed the program's last moments, so it is waited for before the last look.
        while state.snapshots.busy() && !state.fenced {
            self.start_snapshot(state, self.now(), true);
            let stored = state.snapshots.finished().await;
            self.note(stored, state);
        }
        if state.fenced {
            return;
        }
        let Some(mut watcher) = state.watcher.take() else { return };
        if let Some(entry) = watcher.last(&*self.host.sys.fs) {
            state.snapshots.want(Wanted { entry, sealed: self.sealed(), progress: None, reply: None });
            self.start_snapshot(state, self.now(), true);
            let stored = state.snapshots.finished().await;
            self.note(stored, state);
        }
    }

    async fn finish(&mut self, mut state: State<'_>, ended: Option<Ended>, ended_ms: u64) -> Watched {
        let at_ms = self.at_ms();
        let tell = self.tell.clone();
        state.log.finish(at_ms, |stream, line| {
            tell.tell(Told::Line { stream, text: String::from_utf8_lossy(line).into_owned() });
        });
        let last_log = state.log.take_piece(true).map(|piece| (self.log_key(state.log_n), piece));
        state.evidence.stderr_tail = state.log.tail();
        state.evidence.ended = match &ended {
            Some(Ended { status: EndStatus::Exited(code), .. }) => Ending::Exited { code: *code },
            Some(Ended { status: EndStatus::Signaled(signal), sent, .. }) => {
                let by_us = sent.contains(signal).then_some(()).and(state.killed);
                Ending::Signaled { signal: *signal, by_us }
            }
            Some(Ended { status: EndStatus::GuardianDied, .. }) | None => Ending::SupervisorDied,
        };
        state.evidence.pace = Some(self.pace(&state, at_ms));
        state.evidence.out_of_memory = ended.as_ref().and_then(|ended| ended.out_of_memory).map(|oom| OutOfMemory {
            limit: Some(ByteSize(oom.limit)),
            seen: Some(ByteSize(oom.seen)),
            cgroup: oom.cgroup,
        });
        Watched {
            evidence: state.evidence,
            ended,
            checkpoints: state.checkpoints,
            fenced: state.fenced,
            last_log,
            trouble: state.trouble,
            ended_ms,
        }
    }

    /// Returns the times that say whether a checkpoint can be durable before the next interruption.
    fn pace(&self, state: &State<'_>, at_ms: u64) -> Pace {
        let notice = state.evidence.notice.as_ref();
        let last = state.checkpoints.last();
        let measured = match state.checkpoints.as_slice() {
            [.., before, last] => Some(last.taken_ms.saturating_sub(before.taken_ms)),
            _ => state.interval.now().map(Span::as_millis),
        };
        Pace {
            lived: Span::from_millis(at_ms),
            grace: notice.and_then(|n| Some(Span::from_millis(n.deadline_ms?.saturating_sub(n.at_ms)))),
            checkpoint: last
                .map(|mark| Span::from_millis(mark.took_ms + mark.durable_ms.saturating_sub(mark.taken_ms))),
            interval: measured.map(Span::from_millis),
        }
    }

    fn log_key(&self, n: u64) -> prunella_objects::ObjectKey {
        Layout::log(&self.request.run, &self.request.step, self.slot.epoch, n)
    }

    /// Stores gathered output. A store that refuses loses log lines, never the step.
    async fn store_log(&self, state: &mut State<'_>, all: bool) {
        if let Some(piece) = state.log.take_piece(all) {
            let key = self.log_key(state.log_n);
            state.log_n += 1;
            if let Err(error) = self.host.store.objects().create(&key, piece).await {
                state.trouble = Some(error.into());
            }
        }
    }
}
