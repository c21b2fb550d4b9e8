//! The guardian's loop: orders in, ends out, and nothing left behind.

use std::collections::HashMap;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use prunella_sys::{Clock, RealClock};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Mode, OFlags};
use rustix::process::{Pid, Signal};

use crate::guardian::attempt::{Attempt, Phase};
use crate::guardian::census::{Census, Look, Member, Owner};
use crate::guardian::cgroup::CgroupRoot;
use crate::guardian::channel::{Channel, Order, Received};
use crate::guardian::launch::launch;
use crate::guardian::measure::Measured;
use crate::kernel::{self, Children};
use crate::procfs::{self, Stat, Variable};
use crate::running::{OomEvidence, Usage};
use crate::wire::{Reply, SpawnRequest};

/// How often the use of an attempt is reported; those younger are not measured at all.
const REPORT_EVERY: Duration = Duration::from_secs(1);
/// How often memory is compared with a limit that the kernel does not keep.
const COMPARE_EVERY: Duration = Duration::from_millis(100);
/// How long the end of an attempt is held back by processes that survive SIGKILL.
const PATIENCE: Duration = Duration::from_secs(10);
/// How soon killed processes are looked for again, if no end of a child tells before.
const LOOK_AGAIN: Duration = Duration::from_millis(5);

pub(super) struct Warden {
    channel: Channel,
    ended_children: OwnedFd,
    census: Census,
    attempts: HashMap<u64, Attempt>,
    mains: HashMap<u32, u64>,
    /// Looked for when first needed.
    cgroups: Option<Option<CgroupRoot>>,
    /// Whether something was spawned since ended children were looked for.
    spawned: bool,
    compared: Duration,
    /// Measuring may take no more than a twentieth of the time.
    compare_every: Duration,
    /// When to look again for what belongs to no attempt.
    strays_at: Option<Duration>,
}

impl Warden {
    pub(super) fn set_up() -> io::Result<Self> {
        kernel::close_inherited();
        let ended_children = kernel::take_signals()?;
        let socket = rustix::io::fcntl_dupfd_cloexec(io::stdin().as_fd(), 3)?;
        let null = rustix::fs::open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())?;
        rustix::stdio::dup2_stdin(&null)?;
        rustix::process::set_child_subreaper(Some(rustix::process::getpid()))?;
        // The program was started as /proc/self/exe, so it would be listed as `exe`.
        rustix::thread::set_name(c"prunella-guard")?;
        let mut channel = Channel::new(socket)?;
        channel.send(&Reply::Hello);
        Ok(Self {
            channel,
            ended_children,
            census: Census::new(std::process::id()),
            attempts: HashMap::new(),
            mains: HashMap::new(),
            cgroups: None,
            spawned: false,
            compared: Duration::ZERO,
            compare_every: COMPARE_EVERY,
            strays_at: None,
        })
    }

    /// Serves the engine until it is gone, then kills every descendant.
    pub(super) fn serve(mut self) {
        loop {
            let (socket, children) = self.wait();
            if socket.intersects(PollFlags::HUP | PollFlags::RDHUP | PollFlags::ERR | PollFlags::NVAL) {
                break;
            }
            if children {
                self.reap();
            }
            if socket.contains(PollFlags::OUT) {
                self.channel.flush();
            }
            if socket.contains(PollFlags::IN) && self.channel.receive() == Received::End {
                break;
            }
            while let Some(order) = self.channel.next_order() {
                self.obey(order);
            }
            if std::mem::take(&mut self.spawned) {
                // The end of a child may have been told while the signals were open, to nobody.
                self.reap();
            }
            self.on_time();
        }
        self.kill_everything();
    }

    /// Waits for the socket, a child's end or the next deadline.
    fn wait(&self) -> (PollFlags, bool) {
        let mut interest = PollFlags::IN | PollFlags::RDHUP;
        if self.channel.wants_to_write() {
            interest |= PollFlags::OUT;
        }
        let socket = self.channel.socket();
        let mut polled = [PollFd::from_borrowed_fd(socket, interest), PollFd::new(&self.ended_children, PollFlags::IN)];
        let timeout = self.deadline().map(|at| timespec(at.saturating_sub(now())));
        // Interrupted or not: what is ready is looked at, and the loop comes round.
        let _ = poll(&mut polled, timeout.as_ref());
        let children = polled[1].revents().contains(PollFlags::IN);
        if children {
            drain(&self.ended_children);
        }
        (polled[0].revents(), children)
    }

    fn deadline(&self) -> Option<Duration> {
        let of_attempt = |attempt: &Attempt| match attempt.phase {
            Phase::Ending { look_at, .. } => look_at,
            Phase::Running if self.compares(attempt) => {
                (self.compared + self.compare_every).min(attempt.reported + REPORT_EVERY)
            }
            Phase::Running => attempt.reported + REPORT_EVERY,
        };
        self.attempts.values().map(of_attempt).chain(self.strays_at).min()
    }

    fn compares(&self, attempt: &Attempt) -> bool {
        attempt.limit.is_some() && attempt.cgroup.is_none() && attempt.out_of_memory.is_none()
    }

    fn obey(&mut self, order: Order) {
        match order {
            Order::Spawn { request, stdout, stderr } => self.spawn(request, stdout, stderr),
            Order::Signal { id, signal } => {
                let Some(attempt) = self.attempts.get_mut(&id).filter(|attempt| attempt.running()) else { return };
                if let Some(named) = Signal::from_named_raw(signal) {
                    attempt.note_sent(signal);
                    kill_group(attempt.main, named);
                }
            }
            Order::Kill { id } => self.kill_attempt(id),
        }
    }

    fn spawn(&mut self, request: SpawnRequest, stdout: OwnedFd, stderr: OwnedFd) {
        let id = request.id;
        if self.attempts.contains_key(&id) {
            return self.channel.send(&Reply::Malformed);
        }
        let (attempt_id, limit) = (request.attempt_id.clone(), request.memory_limit);
        let cgroup = limit.and_then(|limit| {
            let root = self.cgroups.get_or_insert_with(|| CgroupRoot::find(std::process::id()));
            root.as_ref()?.make(id, limit)
        });
        let entrance = cgroup.as_ref().and_then(|cgroup| cgroup.entrance());
        let cgroup = cgroup.filter(|_| entrance.is_some());
        self.spawned = true;
        let started = now();
        match launch(request, stdout, stderr, entrance) {
            Ok((pid, unprotected)) => {
                self.census.spawned(pid, id);
                self.mains.insert(pid, id);
                self.attempts.insert(id, Attempt::new(attempt_id, pid, limit, cgroup, started));
                self.channel.send(&Reply::Spawned { id, pid, unprotected });
            }
            Err(problem) => self.channel.send(&Reply::SpawnFailed { id, problem }),
        }
    }

    /// Kills all there is of an attempt. Its end follows when its main process is reaped.
    fn kill_attempt(&mut self, id: u64) {
        let Some(attempt) = self.attempts.get_mut(&id).filter(|attempt| attempt.running()) else { return };
        attempt.note_sent(libc::SIGKILL);
        kill_group(attempt.main, Signal::KILL);
        self.look(Look::Walk);
        for (pid, member) in self.census.members() {
            if member.owner == Owner::Attempt(id) && !member.main {
                kill_member(pid, &member.stat);
            }
        }
    }

    fn look(&mut self, look: Look) {
        let attempts = &self.attempts;
        self.census.look(look, now(), |pid, stat| claim(attempts, pid, stat));
    }

    /// Reaps every ended child and sees to the ends of attempts.
    fn reap(&mut self) {
        let now = now();
        loop {
            match kernel::peek_children() {
                Children::None => {
                    self.strays_at = None;
                    self.census.clear();
                    // Nothing descends from the guardian: whatever was ending has ended, without a look.
                    let ended: Vec<u64> = self.attempts.keys().copied().collect();
                    return ended.into_iter().for_each(|id| self.finish(id, 0));
                }
                Children::Running => break,
                Children::Ended(pid) => {
                    let main = self.mains.remove(&pid);
                    let known = self.census.reaped(pid).map(|member| member.owner);
                    let stranger = || Stat::read(pid).map(|stat| claim(&self.attempts, pid, &stat));
                    let owner = known.or_else(stranger);
                    let Some(reaped) = kernel::reap(pid) else { break };
                    let Some(Owner::Attempt(id)) = owner else { continue };
                    let Some(attempt) = self.attempts.get_mut(&id) else { continue };
                    attempt.note_reaped(&reaped);
                    if main.is_some() {
                        attempt.phase = Phase::Ending { exit: reaped.exit, since: now, look_at: now };
                    }
                }
            }
        }
        for attempt in self.attempts.values_mut() {
            if let Phase::Ending { look_at, .. } = &mut attempt.phase {
                *look_at = now;
            }
        }
        self.strays_at = self.attempts.is_empty().then_some(now);
    }

    /// Does what is due.
    fn on_time(&mut self) {
        let now = now();
        let due = |attempt: &Attempt| matches!(attempt.phase, Phase::Ending { look_at, .. } if look_at <= now);
        if self.attempts.values().any(due) {
            self.end_attempts(now);
        }
        if self.strays_at.is_some_and(|at| at <= now) {
            self.kill_strays(now);
        }
        let compare = now.saturating_sub(self.compared) >= self.compare_every;
        let due = |attempt: &Attempt| {
            attempt.running()
                && (now.saturating_sub(attempt.reported) >= REPORT_EVERY || (compare && self.compares(attempt)))
        };
        if self.attempts.values().any(due) {
            self.measure(now);
        }
    }

    /// Kills what is left of attempts whose main process is gone, and tells the end of those that left nothing.
    fn end_attempts(&mut self, at: Duration) {
        let ended = self.attempts.values().filter(|attempt| !attempt.running());
        let Some(first) = ended.min_by_key(|attempt| attempt.started) else { return };
        self.look(Look::Since { main: first.main, started: first.started });
        let mut left: HashMap<u64, u32> = HashMap::new();
        let mut unsettled = false;
        let members: Vec<(u32, Member)> = self.census.members().map(|(pid, member)| (pid, member.clone())).collect();
        for (pid, member) in members {
            if member.main || member.stat.dead() {
                continue;
            }
            let owners: Vec<u64> = match member.owner {
                Owner::Attempt(id) if self.attempts.get(&id).is_some_and(Attempt::running) => continue,
                Owner::Attempt(id) => vec![id],
                // It should have gone with its attempt and was missed, which must not last.
                Owner::Gone => vec![],
                Owner::Unnamed | Owner::Blank(_) if self.may_be_of_a_running_attempt(&member.stat) => {
                    unsettled |= member.owner.unsettled();
                    continue;
                }
                // It hid its origin, and no running attempt can be its origin: every ending one waits for its death.
                Owner::Unnamed | Owner::Blank(_) => self.ending().collect(),
            };
            match owners.first().and_then(|id| self.attempts.get(id)) {
                Some(attempt) if member.stat.pgrp == attempt.main => kill_group(attempt.main, Signal::KILL),
                Some(_) | None => kill_member(pid, &member.stat),
            }
            for id in owners {
                *left.entry(id).or_default() += 1;
                if let Some(attempt) = self.attempts.get_mut(&id) {
                    attempt.note_leftover(pid, member.stat.start_ticks);
                }
            }
        }
        for id in self.ending().collect::<Vec<_>>() {
            let Some(attempt) = self.attempts.get_mut(&id) else { continue };
            let Phase::Ending { since, look_at, .. } = &mut attempt.phase else { continue };
            let survivors = left.get(&id).copied().unwrap_or(0);
            if (survivors == 0 && !unsettled) || at.saturating_sub(*since) > PATIENCE {
                self.finish(id, survivors);
            } else {
                *look_at = at + LOOK_AGAIN;
            }
        }
        if self.attempts.is_empty() {
            // No attempt, so there should be no child either; the look that finds out is exact.
            self.reap();
        }
    }

    fn ending(&self) -> impl Iterator<Item = u64> + '_ {
        self.attempts.iter().filter(|(_, attempt)| !attempt.running()).map(|(id, _)| *id)
    }

    fn may_be_of_a_running_attempt(&self, stat: &Stat) -> bool {
        self.attempts
            .values()
            .filter(|attempt| attempt.running())
            .any(|attempt| Stat::read(attempt.main).is_none_or(|main| main.start_ticks <= stat.start_ticks))
    }

    /// Kills what belongs to no attempt although no attempt is there.
    fn kill_strays(&mut self, at: Duration) {
        if !self.attempts.is_empty() {
            self.strays_at = None;
            return;
        }
        self.look(Look::Walk);
        for (pid, member) in self.census.members() {
            kill_member(pid, &member.stat);
        }
        self.strays_at = Some(at + COMPARE_EVERY);
    }

    fn finish(&mut self, id: u64, survivors: u32) {
        let Some(attempt) = self.attempts.get(&id) else { return };
        let Phase::Ending { exit, .. } = attempt.phase else { return };
        let Some(attempt) = self.attempts.remove(&id) else { return };
        self.channel.send(&Reply::Ended { id, end: attempt.end(exit, survivors) });
    }

    /// Measures all attempts, kills those over their limit and reports those whose turn it is.
    fn measure(&mut self, at: Duration) {
        self.look(Look::Use);
        self.compared = at;
        let all = Measured::all(&self.census);
        let mut over = Vec::new();
        for (id, attempt) in self.attempts.iter_mut().filter(|(_, attempt)| attempt.running()) {
            let Some(measured) = all.get(id) else { continue };
            let mut memory = measured.resident;
            if let Some(cgroup) = &attempt.cgroup {
                memory = cgroup.current().unwrap_or(memory);
            } else if let (Some(limit), None) = (attempt.limit, attempt.out_of_memory) {
                memory = measured.against(limit);
                if memory >= limit {
                    attempt.out_of_memory = Some(OomEvidence { limit, seen: memory, cgroup: false });
                    over.push(*id);
                }
            }
            attempt.peak = attempt.peak.max(memory);
            if at.saturating_sub(attempt.reported) >= REPORT_EVERY {
                attempt.reported = at;
                let usage = Usage { cpu: measured.cpu + attempt.cpu_reaped, memory, io_bytes: measured.io_bytes() };
                if !self.channel.crowded() {
                    self.channel.send(&Reply::Usage { id: *id, usage });
                }
            }
        }
        over.into_iter().for_each(|id| self.kill_attempt(id));
        self.compare_every = COMPARE_EVERY.max(now().saturating_sub(at) * 20);
    }

    /// Kills every descendant, until there is none.
    fn kill_everything(mut self) {
        loop {
            for main in self.mains.keys() {
                kill_group(*main, Signal::KILL);
            }
            self.look(Look::Walk);
            for (pid, member) in self.census.members() {
                kill_member(pid, &member.stat);
            }
            loop {
                match kernel::peek_children() {
                    Children::None => return,
                    Children::Running => break,
                    Children::Ended(pid) => {
                        self.mains.remove(&pid);
                        self.census.reaped(pid);
                        if kernel::reap(pid).is_none() {
                            break;
                        }
                    }
                }
            }
            let mut polled = [PollFd::new(&self.ended_children, PollFlags::IN)];
            // The next end of a child, or a moment: what was killed may be a grandchild, whose end is not told here.
            let _ = poll(&mut polled, Some(&timespec(LOOK_AGAIN)));
            drain(&self.ended_children);
        }
    }
}

/// Says to which attempt a process belongs, by its group, its session or its environment.
fn claim(attempts: &HashMap<u64, Attempt>, pid: u32, stat: &Stat) -> Owner {
    let of_group = |attempt: &Attempt| attempt.main == stat.pgrp || attempt.main == stat.session;
    if let Some((id, _)) = attempts.iter().find(|(_, attempt)| of_group(attempt)) {
        return Owner::Attempt(*id);
    }
    let named = match procfs::variable(pid, crate::ATTEMPT_ID) {
        Variable::Set(named) => named,
        Variable::Unset | Variable::Hidden => return Owner::Unnamed,
        Variable::UnderWay => return Owner::Blank(0),
    };
    let of_name = |attempt: &Attempt| attempt.attempt_id.as_bytes() == named;
    attempts.iter().find(|(_, attempt)| of_name(attempt)).map_or(Owner::Gone, |(id, _)| Owner::Attempt(*id))
}

fn kill_group(main: u32, signal: Signal) {
    if let Some(group) = i32::try_from(main).ok().and_then(Pid::from_raw) {
        // Gone already is as good.
        let _ = rustix::process::kill_process_group(group, signal);
    }
}

fn kill_member(pid: u32, stat: &Stat) {
    crate::orphans::kill(pid, Some(stat.start_ticks).filter(|ticks| *ticks > 0));
}

fn drain(signals: &OwnedFd) {
    let mut buffer = [0u8; 1024];
    while rustix::io::read(signals, &mut buffer).is_ok_and(|length| length > 0) {}
}

fn now() -> Duration {
    RealClock.monotonic()
}

fn timespec(duration: Duration) -> Timespec {
    Timespec { tv_sec: i64::try_from(duration.as_secs()).unwrap_or(i64::MAX), tv_nsec: duration.subsec_nanos().into() }
}
