//! Playing a plan: one thread, one order, one outcome.

use std::{
    collections::VecDeque,
    path::Path,
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll, Wake, Waker},
};

use prunella_model::Digest;
use prunella_sys::Fs;
use prunella_testkit::CrashFs;

use crate::{
    caretaking::{LEAST, audit, audit_once, collect},
    engine::{Journals, RUNS, TARGET, drive_runs},
    machine::Process,
    oracle::Violation,
    plan::{MEMBERS, Plan, Role},
    world::{Happened, World},
};

/// More than any schedule needs that comes to its end.
const MOST_EVENTS: u64 = 400_000;

/// How a schedule came out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// What was broken first.
    pub violation: Option<Violation>,
    /// A digest of everything that happened, in order.
    pub digest: u64,
    /// Everything that happened, a line each, if that was asked for.
    pub log: Option<String>,
    /// How many things happened.
    pub events: u64,
    /// What members were told, so that nobody mistakes an idle schedule for a good one.
    pub counts: Counts,
}

/// What happened in a schedule that matters.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Commits that were answered.
    pub commits: u64,
    /// Checkpoints that were called durable.
    pub durables: u64,
    /// Attempts that went on from a checkpoint.
    pub restores: u64,
    /// Objects that were deleted.
    pub deletions: u64,
}

impl Counts {
    /// Adds those of another schedule.
    pub fn add(&mut self, other: &Self) {
        self.commits += other.commits;
        self.durables += other.durables;
        self.restores += other.restores;
        self.deletions += other.deletions;
    }
}

type Member = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Wakes a member: it is polled in the order in which members were woken.
struct Woken {
    member: usize,
    ready: Arc<Mutex<VecDeque<usize>>>,
}

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        let mut ready = self.ready.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        if !ready.contains(&self.member) {
            ready.push_back(self.member);
        }
    }
}

/// Plays a plan to its end, or to the first invariant that it breaks.
pub fn play(plan: &Plan) -> Outcome {
    play_with(plan, false)
}

/// Plays a plan and keeps the log of everything that happens.
pub fn play_logged(plan: &Plan) -> Outcome {
    play_with(plan, true)
}

fn play_with(plan: &Plan, log: bool) -> Outcome {
    let world = World::new(plan, log);
    let fs: Arc<dyn Fs> = Arc::new(CrashFs::new());
    let made = fs.create_dir_all(Path::new("/out")).and_then(|_| fs.create_dir_all(Path::new("/work")));
    made.expect("an empty file system takes directories");
    let members = plan.members.iter().filter(|member| **member < MEMBERS).map(|member| {
        let (world, fs, member) = (world.clone(), fs.clone(), *member);
        let acts: Member = match Role::of(member) {
            Role::Engine => Box::pin(async move {
                let unfinished = drive_runs(world.clone(), fs, member, RUNS).await;
                if unfinished > 0 {
                    world.state().oracle.broken("I10", format!("{unfinished} runs of member {member} did not end"));
                }
            }),
            Role::Collector => Box::pin(collect(world, fs, member)),
            Role::Auditor => Box::pin(audit(world, fs, member)),
        };
        acts
    });
    let mut shown = None;
    until_all_ended(&world, &fs, &mut shown, members.collect());
    if world.state().oracle.violation().is_none() {
        let aftermath: Member = Box::pin(aftermath(world.clone(), fs.clone()));
        until_all_ended(&world, &fs, &mut shown, vec![aftermath]);
    }
    let digest = world.digest();
    let log = world.log();
    let state = world.state();
    let counts = Counts {
        commits: state.oracle.commits,
        durables: state.oracle.durables,
        restores: state.oracle.restores,
        deletions: state.oracle.deletions,
    };
    Outcome { violation: state.oracle.violation().cloned(), digest, log, events: state.events_done, counts }
}

/// Lets things happen until nothing is left; `shown` is what was published last.
fn until_all_ended(world: &World, fs: &Arc<dyn Fs>, shown: &mut Option<Vec<u8>>, members: Vec<Member>) {
    let ready = Arc::new(Mutex::new((0..members.len()).collect::<VecDeque<_>>()));
    let wakers: Vec<Waker> =
        (0..members.len()).map(|member| Arc::new(Woken { member, ready: ready.clone() }).into()).collect();
    let mut members: Vec<Option<Member>> = members.into_iter().map(Some).collect();
    loop {
        loop {
            let next = ready.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).pop_front();
            let Some(next) = next else { break };
            let Some(member) = &mut members[next] else { continue };
            if let Poll::Ready(()) = member.as_mut().poll(&mut Context::from_waker(&wakers[next])) {
                members[next] = None;
            }
        }
        let now = fs.read(Path::new(TARGET)).ok();
        {
            let mut state = world.state();
            if now != *shown {
                state.oracle.target(now.as_ref().map(|bytes| Digest::of(bytes)));
                *shown = now;
            }
            if state.oracle.violation().is_some() {
                return;
            }
            if state.events_done > MOST_EVENTS {
                return state.oracle.broken("I10", "it does not end".to_owned());
            }
        }
        if world.step() == Happened::TheEnd {
            break;
        }
    }
    if members.iter().any(Option::is_some) {
        world.state().oracle.broken("I10", "somebody waits for what never comes".to_owned());
    }
}

/// What comes after all faults: one run more, which must succeed, an audit, and collections that leave nothing needless.
async fn aftermath(world: World, fs: Arc<dyn Fs>) {
    let member = MEMBERS;
    let unfinished = drive_runs(world.clone(), fs.clone(), member, 1).await;
    if unfinished > 0 {
        world.state().oracle.broken("I10", format!("{unfinished} runs did not end though nothing went wrong"));
    }
    let process = Process::start(&world, &fs, member, 100, 0);
    let collected = process.run(async {
        audit_once(&process).await?;
        process.store.collect(&Journals(world.clone()), &LEAST).await
    });
    if let Some(Err(error)) = collected.await {
        world.state().oracle.broken("I10", format!("a collection fails in peace: {error}"));
    }
    let (data, there) = (world.keys("data/"), |key: &str| world.object(key));
    let objects: std::collections::BTreeMap<String, _> =
        data.iter().filter_map(|key| Some((key.clone(), there(key)?))).collect();
    let mut state = world.state();
    state.oracle.at_the_end(&|key| objects.get(key).cloned());
    if let Some(waste) = data.iter().find(|key| !state.oracle.is_wanted(key)) {
        let what = format!("`{waste}` is needed by nothing, and collections leave it");
        state.oracle.broken("I8", what);
    }
}
