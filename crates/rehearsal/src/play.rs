//! A whole run: `decide` says what is started, `healing` what is done about an end, and this carries it out in virtual time.

use std::{collections::BTreeMap, sync::Arc};

use prunella_engine::{Capacity as Room, Command, Plan, PlanError, decide};
use prunella_healing::{Announced, Ending, Evidence, NoticeSeen, Phase, assess};
use prunella_interruptions::Draws;
use prunella_journal::{Event, IllegalEvent, Position, RunState, RunStatus, Stamped, StepIndex};
use prunella_model::{
    Artifact, ArtifactKind, CheckpointId, Digest, Epoch, Item, KeyScope, RunId, SlotId, Span, StepId, StepKey,
    StepName, WriterId,
};

use crate::{
    Chooser, Lived, Work, World,
    attempt::{Task, false_alarms, live},
    machines::{Machine, Places},
    world::span,
};

/// Says why a run cannot be played.
#[derive(Debug, thiserror::Error)]
pub enum PlayError {
    /// There is no plan.
    #[error("this cannot be run")]
    Plan(#[from] PlanError),
    /// The items of a step are known only when another has run.
    #[error("the items of `{0}` are known only when another step has run")]
    UnknownItems(StepName),
    /// The state does not take an event: a mistake of this program.
    #[error("the run took a step that it cannot take")]
    Illegal(#[from] Box<IllegalEvent>),
    /// A key cannot be reckoned, or something was asked for that has no place in virtual time.
    #[error("the run asks for what cannot be played: {0}")]
    Unplayable(String),
    /// It does not end.
    #[error("the run did not end after {0} attempts")]
    Endless(u64),
}

/// What came of a run. Times are seconds.
#[derive(Debug, Clone, PartialEq)]
pub struct Played {
    /// How it ended.
    pub status: RunStatus,
    /// When.
    pub finished: f64,
    /// The time that machines worked for attempts.
    pub used: f64,
    /// What of it did not enter a commit: restores, checkpoints, what was done twice.
    pub lost: f64,
    /// The time that attempts waited for machines.
    pub waited: f64,
    /// What the machines cost.
    pub cost: f64,
    /// What of the time machines worked that nobody takes away.
    pub on_demand: f64,
    /// How many attempts were interrupted.
    pub interruptions: u32,
    /// How many of them lost next to nothing, because of a notice.
    pub saved: u32,
    /// How many checkpoints became durable.
    pub checkpoints: u64,
    /// From each interruption to a program that goes on.
    pub recoveries: Vec<f64>,
    /// Why it failed, if it did.
    pub why: Option<String>,
}

impl Played {
    /// Returns the share of the machines' time that was wasted.
    pub fn waste(&self) -> f64 {
        if self.used > 0.0 { self.lost / self.used } else { 0.0 }
    }
}

/// More attempts than any run has that ends.
const ENDLESS: u64 = 2_000_000;

struct Doing {
    ends: f64,
    slot: SlotId,
    place: usize,
    begun: f64,
    machine: Machine,
    lived: Lived,
}

struct Player<'a> {
    world: &'a World,
    work: &'a Work,
    plan: Plan,
    state: RunState,
    room: Room,
    scope: KeyScope,
    now: f64,
    draws: Draws,
    places: Places,
    chooser: Chooser,
    doing: BTreeMap<StepIndex, Doing>,
    /// The work of steps that stays done, and the checkpoint that it is in.
    durable: BTreeMap<StepIndex, (f64, CheckpointId)>,
    epochs: BTreeMap<StepKey, u64>,
    /// When steps were interrupted that have not gone on since.
    interrupted: BTreeMap<StepIndex, f64>,
    useful: f64,
    attempts: u64,
    played: Played,
}

/// Plays a run to its end. Equal arguments give equal runs.
///
/// # Errors
/// [`PlayError`] if it cannot be played.
pub fn play(world: &World, work: &Work, seed: u64) -> Result<Played, PlayError> {
    let plan = Plan::build(work.graph.clone(), &work.targets)?;
    let run = RunId::new("simulated").expect("a run id");
    let room = Room { jobs: world.machines, cpu_millis: u64::MAX / 4, memory_bytes: u64::MAX / 4, gpu: u32::MAX / 4 };
    let mut player = Player {
        state: RunState::new(Arc::clone(plan.topology())),
        world,
        work,
        plan,
        room,
        scope: KeyScope { run: run.clone(), driver: 1 },
        now: 0.0,
        draws: Draws::new(seed),
        places: Places::new(world.machines, world.shocks, seed),
        chooser: Chooser::new(world),
        doing: BTreeMap::new(),
        durable: BTreeMap::new(),
        epochs: BTreeMap::new(),
        interrupted: BTreeMap::new(),
        useful: 0.0,
        attempts: 0,
        played: Played {
            status: RunStatus::Failed,
            finished: 0.0,
            used: 0.0,
            lost: 0.0,
            waited: 0.0,
            cost: 0.0,
            on_demand: 0.0,
            interruptions: 0,
            saved: 0,
            checkpoints: 0,
            recoveries: Vec::new(),
            why: None,
        },
    };
    let pipeline = work.graph.pipeline.name.clone();
    player.tell(Event::RunStarted { run, pipeline, graph: work.graph.digest(), params: BTreeMap::new() })?;
    player.tell(Event::DriverStarted {
        driver: 1,
        engine: "simulate".to_owned(),
        continues: Position::START,
        budgets_reset: false,
        retried: None,
        damaged: None,
    })?;
    player.finish()
}

impl Player<'_> {
    fn finish(mut self) -> Result<Played, PlayError> {
        loop {
            let mut told = true;
            while told {
                told = false;
                // A timer that is due is due: no engine wakes before its millisecond is over.
                let now = Span::from_millis((self.now * 1000.0).ceil() as u64);
                for command in decide(&mut self.state, &self.plan, now, &self.room) {
                    if let Command::EndRun { status } = command {
                        self.played.status = status;
                        self.played.finished = self.now;
                        self.played.lost = self.played.used - self.useful;
                        return Ok(self.played);
                    }
                    told |= self.carry_out(command)?;
                }
            }
            let next = self.doing.iter().map(|(step, doing)| (doing.ends, *step)).min_by(|a, b| a.0.total_cmp(&b.0));
            let timers = self.state.next_timer().into_iter().chain(self.state.next_effects()).min();
            let timer = timers.map(|timer| timer.duration().as_secs_f64().max(self.now));
            match (next, timer) {
                (Some((ends, step)), timer) if timer.is_none_or(|timer| ends <= timer) => {
                    self.now = self.now.max(ends);
                    self.ends(step)?;
                }
                (_, Some(timer)) => self.now = timer,
                (_, None) => {
                    return Err(PlayError::Unplayable("nothing is under way, and it has not ended".to_owned()));
                }
            }
        }
    }

    fn tell(&mut self, event: Event) -> Result<(), PlayError> {
        let stamped = Stamped { at_ms: 0, mono: span(self.now), event };
        self.state.apply(&stamped).map_err(Box::new)?;
        if matches!(stamped.event, Event::StepExpanded { .. }) {
            self.plan.follow(Arc::clone(self.state.topology()));
        }
        Ok(())
    }

    /// Carries a command out; answers whether anything was told.
    fn carry_out(&mut self, command: Command) -> Result<bool, PlayError> {
        let event = match command {
            Command::WakeAt(_) => return Ok(false),
            Command::StartAttempt { step, key, next } => {
                self.start(step, key, next.checkpoint_sooner)?;
                return Ok(true);
            }
            Command::BindKey { step } => {
                let key = self.plan.key(&self.state, step, &self.scope);
                let key = key.map_err(|error| PlayError::Unplayable(format!("{error:?}")))?;
                Event::StepKeyed { step: self.id(step), key }
            }
            // Every condition is taken to hold: what it reads has no content.
            Command::Decide { step } => Event::StepDecided { step: self.id(step), run: true, saw: Vec::new() },
            Command::Guard { step, .. } => Event::StepMissed { step: self.id(step) },
            Command::Expand { step } => {
                let id = self.id(step);
                let count = self.work.items.get(&id.name).ok_or_else(|| PlayError::UnknownItems(id.name.clone()))?;
                let items = (0..*count).map(|n| Item::from_canonical(&n.to_string())).collect();
                Event::StepExpanded { step: id, items }
            }
            Command::DoEffects { step, slot } => Event::EffectsDone { step: self.id(step), slot, effects: Vec::new() },
            Command::Append(event) => {
                if let Event::StepFailed { step, why, .. } = &event {
                    self.played.why.get_or_insert_with(|| format!("{step}: {why}"));
                }
                event
            }
            other => return Err(PlayError::Unplayable(format!("{other:?}"))),
        };
        self.tell(event)?;
        Ok(true)
    }

    fn id(&self, step: StepIndex) -> StepId {
        self.plan.id(step).clone()
    }

    fn start(&mut self, step: StepIndex, key: StepKey, sooner: bool) -> Result<(), PlayError> {
        self.attempts += 1;
        if self.attempts > ENDLESS {
            return Err(PlayError::Endless(ENDLESS));
        }
        let epoch = self.epochs.entry(key).or_insert(0);
        *epoch += 1;
        let slot = SlotId { key, epoch: Epoch(*epoch) };
        self.tell(Event::AttemptStarted { step: self.id(step), slot, writer: WriterId::from_random(1) })?;
        let (place, machine) = self.places.take(self.world, self.now, false, &mut self.draws);
        let begun = machine.from.max(self.now);
        let checkpoints = self.plan.step(step).checkpoint.is_some();
        let restored = self.durable.get(&step).copied();
        let until_ready = self.world.start + restored.map_or(0.0, |_| self.world.restore);
        let task = Task {
            life: machine.until - begun,
            announced: machine.announced,
            left: self.work.of(&self.plan.id(step).name) - restored.map_or(0.0, |(done, _)| done),
            until_ready,
            checkpoints,
            sooner,
        };
        let alarms = false_alarms(self.world, task.life, &mut self.draws);
        let lived = live(self.world, &mut self.chooser, &task, &alarms);
        if let Some(at) = self.interrupted.get(&step).copied()
            && lived.took >= until_ready
        {
            self.played.recoveries.push(begun + until_ready - at);
            self.interrupted.remove(&step);
        }
        self.played.waited += begun - self.now;
        self.doing.insert(step, Doing { ends: begun + lived.took, slot, place, begun, machine, lived });
        Ok(())
    }

    fn ends(&mut self, step: StepIndex) -> Result<(), PlayError> {
        let Some(Doing { slot, place, machine, lived, begun, .. }) = self.doing.remove(&step) else { return Ok(()) };
        self.places.give_back(place);
        let (hours, capacity) = (lived.took / 3600.0, &self.world.capacity);
        self.played.used += lived.took;
        self.played.checkpoints += u64::from(lived.stored);
        if machine.on_demand {
            self.played.on_demand += lived.took;
        }
        let price = if machine.on_demand { capacity.on_demand_price.unwrap_or(capacity.price) } else { capacity.price };
        self.played.cost += hours * price;
        self.useful += lived.durable;
        if lived.finished {
            self.durable.remove(&step);
            self.chooser.learn(None, lived.took, Announced::No);
            return self.commit(step, slot, lived.took);
        }
        self.interrupt(step, slot, machine, lived, begun)
    }

    fn commit(&mut self, step: StepIndex, slot: SlotId, took: f64) -> Result<(), PlayError> {
        let outputs = self.plan.step(step).outputs.iter().map(|(port, output)| {
            let digest = Digest::of(format!("{slot:?} {port:?}").as_bytes());
            let kind = if output.tree { ArtifactKind::Tree } else { ArtifactKind::File };
            (port.clone(), Artifact { kind, digest, size_bytes: 1 })
        });
        let artifacts = outputs.collect();
        self.tell(Event::StepCommitted { step: self.id(step), slot, artifacts, compute: span(took) })
    }

    fn interrupt(
        &mut self,
        step: StepIndex,
        slot: SlotId,
        machine: Machine,
        lived: Lived,
        begun: f64,
    ) -> Result<(), PlayError> {
        let before = self.durable.get(&step).copied();
        let newer = (lived.stored > 0).then(|| CheckpointId { slot, seq: u64::from(lived.stored) });
        if let Some(checkpoint) = newer {
            self.durable.insert(step, (before.map_or(0.0, |(done, _)| done) + lived.durable, checkpoint));
        }
        let notice = machine.announced.then(|| {
            let ends = span(lived.took).as_millis();
            let at_ms = span(lived.took - self.world.notices.grace).as_millis();
            NoticeSeen { source: "simulate".to_owned(), at_ms, deadline_ms: Some(ends) }
        });
        let ended =
            if notice.is_some() { Ending::Exited { code: 0 } } else { Ending::Signaled { signal: 9, by_us: None } };
        let evidence = Evidence {
            notice,
            restored: before.map(|(_, checkpoint)| checkpoint),
            newer_checkpoint: newer,
            progress_since_restore: newer.is_some(),
            ..Evidence::of(ended, Phase::Run)
        };
        let spent = self.state.spent(step).cloned().unwrap_or_default();
        let (class, spent) = assess(&spent, &evidence, &self.plan.traits(step));
        self.played.interruptions += 1;
        self.played.saved += u32::from(lived.saved_on_notice);
        self.interrupted.entry(step).or_insert(begun + lived.took);
        let announced = match (machine.announced, lived.saved_on_notice) {
            (false, _) => Announced::No,
            (true, false) => Announced::InVain,
            (true, true) => Announced::Saved,
        };
        self.chooser.learn(Some(class), lived.took, announced);
        self.tell(Event::AttemptEnded {
            step: self.id(step),
            slot,
            class,
            evidence: Box::new(evidence),
            spent: Box::new(spent),
            compute: span(lived.took),
            lost: span(lived.took - lived.durable),
        })
    }
}
