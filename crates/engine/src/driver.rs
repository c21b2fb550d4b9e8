//! The loop that carries a run through: decide, do, append, wait.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Duration,
};

use prunella_attempt::{AtEnd, Control, Deadline, Host, Told, Verdict};
use prunella_healing::{Announced, Evidence, Interruptions};
use prunella_journal::{Event, Position, RunState, RunStatus, Stage, StepIndex, read_sound};
use prunella_model::{Epoch, KeyScope, RunId, SlotId, Span, StepKey};
use prunella_store::{
    DriverLease, Observer,
    records::{BoundStep, GraphRecord, ProcessId},
};
use prunella_sys::{Accelerators, mutated};
use tokio::{
    sync::{mpsc, watch},
    task::AbortHandle,
};

use crate::{
    Again, Capacity, EngineError, Outcome, Plan, Spectator,
    bind::Shelf,
    conditions::Permits,
    heard::{Heard, Nth, time_of},
    lease::lease,
    notebook::Notebook,
    rack::Rack,
    recover::{clear_after, end_running},
    reuse_walk::walk,
    summarize::{Summarizer, whereabouts},
    told::event_of,
    verdicts::{Follows, follow},
};

/// How a run is driven.
#[derive(Debug, Clone)]
pub struct DriveOptions {
    /// What attempts may take of the machine.
    pub capacity: Capacity,
    /// The accelerators that attempts are lent; as many of them as [`Capacity::gpu`] says.
    pub accelerators: Accelerators,
    /// Whether to replace a driver that lives.
    pub take_over: bool,
    /// What of an ended run is done again.
    pub again: Again,
    /// The program's version, for the journal.
    pub version: String,
}

/// How often the driver gives a sign of life and looks for a newer driver.
const ALIVE: Duration = Duration::from_secs(10);
/// How often it looks for a request to stop.
const STOP_LOOK: Duration = Duration::from_millis(500);

pub(crate) struct Active {
    pub(crate) n: u64,
    pub(crate) control: watch::Sender<Control>,
    pub(crate) abort: AbortHandle,
    pub(crate) slot: Option<SlotId>,
}

pub(crate) struct Driver<'a> {
    pub(crate) host: Host,
    pub(crate) run: RunId,
    pub(crate) record: Arc<GraphRecord>,
    pub(crate) plan: Arc<Plan>,
    pub(crate) state: RunState,
    pub(crate) scope: KeyScope,
    pub(crate) options: &'a DriveOptions,
    pub(crate) notebook: Notebook,
    pub(crate) shelf: Shelf,
    pub(crate) permits: Permits,
    /// What steps at the end of the run see of it, once that is known.
    pub(crate) at_end: Option<Arc<AtEnd>>,
    pub(crate) active: BTreeMap<StepIndex, Active>,
    /// Attempts started so far.
    pub(crate) started: u64,
    pub(crate) unclaimed: HashMap<StepIndex, u32>,
    pub(crate) bindings: HashMap<StepIndex, u64>,
    /// Epochs that a look just found free.
    pub(crate) free: HashMap<StepIndex, Epoch>,
    /// What was seen of the signs of life of those who held the work of these steps.
    pub(crate) observed: HashMap<StepIndex, Observer>,
    pub(crate) heard: mpsc::UnboundedSender<Heard>,
    /// How often attempts of this run were interrupted.
    pub(crate) interruptions: Interruptions,
    pub(crate) spectator: Arc<dyn Spectator>,
    pub(crate) word: Control,
    pub(crate) rack: Rack,
    summarizer: Summarizer,
}

/// Drives a run to its end: succeeded, failed, or stopped and resumable.
///
/// A run that another engine drove is taken up once that engine is proved dead (or with `take_over`).
///
/// # Errors
/// [`EngineError::Driven`] if another engine lives; others if the run could not be driven on. What was committed stands.
pub async fn drive(
    host: Host,
    run: RunId,
    options: &DriveOptions,
    mut control: watch::Receiver<Control>,
    spectator: Arc<dyn Spectator>,
) -> Result<Outcome, EngineError> {
    let record = Arc::new(host.store.graph(&run).await?);
    let mut plan = Plan::build(record.graph.clone(), &record.targets)?;
    let lease = lease(&host, &run, options, &mut control, &*spectator).await?;
    let (driver, before) = match lease {
        DriverLease::Ours { n, before } => (n, before),
        DriverLease::Live(_, there) => return Err(EngineError::Driven { run, owner: Box::new(there.owner) }),
    };
    if let Some(before) = before {
        clear_after(&host, &run, &before).await?;
    }
    let (read, damage) = read_sound(&**host.store.objects(), &run).await?;
    let state = RunState::fold(plan.topology().clone(), &read.events)
        .map_err(|source| EngineError::Illegal { run: run.clone(), source })?;
    plan.follow(state.topology().clone());
    let plan = Arc::new(plan);
    let continues = read.position;
    let (heard, mut hearing) = mpsc::unbounded_channel();
    let notebook = Notebook::open(
        host.store.objects().clone(),
        host.sys.clone(),
        (run.clone(), driver),
        whereabouts(&read, plan.topology()),
        plan.places().to_vec(),
    );
    let scope = KeyScope { run: run.clone(), driver };
    let rack = Rack::new(options.accelerators.clone(), plan.most_accelerators());
    let mut this = Driver {
        host,
        run,
        record,
        plan,
        state,
        scope,
        options,
        notebook,
        shelf: Shelf::default(),
        permits: Permits::default(),
        at_end: None,
        active: BTreeMap::new(),
        started: 0,
        unclaimed: HashMap::new(),
        bindings: HashMap::new(),
        free: HashMap::new(),
        observed: HashMap::new(),
        heard,
        interruptions: Interruptions::default(),
        spectator,
        word: Control::Run,
        rack,
        summarizer: Summarizer::default(),
    };
    for earlier in &read.events {
        this.learn(&earlier.event);
        this.summarizer.hear(earlier);
    }
    this.spectator.begins(&read.events, &this.state, &this.plan);
    drop(read);
    this.begin(driver, continues, damage.map(|damage| damage.to_string())).await?;
    let driven = this.go(&mut control, &mut hearing).await;
    if driven.is_err() {
        // Nothing may run on unseen: the trees die with their attempts.
        for active in this.active.values() {
            active.abort.abort();
        }
    }
    driven
}

impl Driver<'_> {
    async fn begin(&mut self, driver: u64, continues: Position, damaged: Option<String>) -> Result<(), EngineError> {
        if self.state.run().is_none() {
            let pipeline = &self.record.graph.pipeline;
            self.append(Event::RunStarted {
                run: self.run.clone(),
                pipeline: pipeline.name.clone(),
                graph: self.record.graph.digest(),
                params: pipeline.params.clone(),
            })?;
        }
        let again = &self.options.again;
        let (engine, budgets_reset, retried) =
            (self.options.version.clone(), again.reset_budgets, again.retried.clone());
        self.append(Event::DriverStarted { driver, engine, continues, budgets_reset, retried, damaged })?;
        for (id, (n, _)) in self.host.store.bindings(&self.run).await? {
            if let Some(step) = self.plan.index(&id) {
                self.bindings.insert(step, n);
            }
        }
        for event in end_running(&self.host.store, &self.plan, &self.state).await? {
            self.append(event)?;
        }
        for (step, slot) in &again.damaged {
            // Unless another commit stands for the step by now.
            self.append_if_legal(Event::CommitDamaged { step: step.clone(), slot: *slot })?;
        }
        self.reuse_what_is_there().await
    }

    /// Finds in one walk every commit that this run can reuse, and records them together.
    async fn reuse_what_is_there(&mut self) -> Result<(), EngineError> {
        let walked = walk(&self.host.store, &self.plan, Some(&self.state), &self.scope).await?;
        let (found, rest): (Vec<_>, Vec<_>) = walked.into_iter().partition(|walked| walked.found.is_some());
        for part in found.chunks(4096) {
            let slots: Vec<SlotId> =
                part.iter().filter_map(|walked| walked.found.as_ref().map(|found| found.slot)).collect();
            let confirmed = self.host.store.reuse_all(&self.run, &slots).await?;
            for (walked, confirmed) in part.iter().zip(confirmed) {
                let (Some(found), Some(key), true) = (&walked.found, walked.key, confirmed) else { continue };
                self.notebook.room().await?;
                let step = self.plan.id(walked.step).clone();
                if self.state.state(walked.step).stage() == Stage::Bindable {
                    self.append(Event::StepKeyed { step: step.clone(), key })?;
                }
                let artifacts = found.artifacts.iter().map(|(name, stored)| (name.clone(), stored.artifact)).collect();
                let event = Event::StepReused { step, slot: found.slot, artifacts, copied_from: None };
                // A second step of the same key waits for the first and is guarded by the loop.
                if self.state.check(&event).is_ok() {
                    self.shelf.keep(found.slot, &found.artifacts);
                    self.append(event)?;
                }
            }
        }
        let missed: Vec<StepKey> = rest.iter().filter(|walked| walked.free.is_some()).filter_map(|it| it.key).collect();
        self.look_ahead(&missed).await;
        // The look that found nothing is the guard of these steps.
        for walked in rest {
            let (Some(key), Some(epoch)) = (walked.key, walked.free) else { continue };
            self.notebook.room().await?;
            if self.state.state(walked.step).stage() == Stage::Bindable {
                let step = self.plan.id(walked.step).clone();
                self.append(Event::StepKeyed { step: step.clone(), key })?;
                self.append_if_legal(Event::StepMissed { step })?;
                self.free.insert(walked.step, epoch);
            }
        }
        Ok(())
    }

    async fn go(
        &mut self,
        control: &mut watch::Receiver<Control>,
        hearing: &mut mpsc::UnboundedReceiver<Heard>,
    ) -> Result<Outcome, EngineError> {
        let clock = self.host.sys.clock.clone();
        let start = clock.monotonic();
        let (mut next_alive, mut next_look, mut alive) = (start + ALIVE, start + STOP_LOOK, 0);
        let first = control.borrow_and_update().clone();
        self.obey(first)?;
        let mut batch = Vec::new();
        loop {
            let mut wake = None;
            if self.host.guardian.is_dying() {
                // The ends of its steps are heard before its own: what is started next must not die with it.
                self.host.guardian.died().await;
                self.new_guardian().await?;
            }
            if let Some(status) = self.carry_out(&mut wake).await? {
                return self.end(status).await;
            }
            let now = clock.monotonic();
            let until = wake.map_or(Duration::MAX, |at: Span| {
                let left = at.as_millis().saturating_sub(self.notebook.now().as_millis());
                now + Duration::from_millis(left)
            });
            let until = until.min(next_alive).min(next_look);
            tokio::select! {
                biased;
                n = hearing.recv_many(&mut batch, 256) => {
                    debug_assert!(n > 0, "the driver holds a sender");
                    for heard in batch.drain(..) {
                        self.hear(heard).await?;
                    }
                }
                changed = control.changed() => {
                    let word = if changed.is_ok() { control.borrow_and_update().clone() } else { Control::Kill };
                    self.obey(word)?;
                    if changed.is_err() {
                        *control = watch::channel(Control::Kill).1;
                    }
                }
                () = self.host.guardian.died() => self.new_guardian().await?,
                error = self.notebook.failed() => return Err(error),
                () = clock.sleep(until.saturating_sub(now)) => {}
            }
            let now = clock.monotonic();
            if now >= next_look {
                next_look = now + STOP_LOOK;
                match self.host.store.asked_to_stop(&self.run, self.scope.driver).await {
                    Ok(Some(true)) => self.obey(Control::Kill)?,
                    Ok(Some(false)) if !self.word.ends() => {
                        self.obey(Control::Notice(Deadline::in_own_grace("stop")))?;
                    }
                    // Not asked, or the store does not answer: it is asked again soon.
                    Ok(_) | Err(_) => {}
                }
            }
            if now >= next_alive {
                next_alive = now + ALIVE;
                alive += 1;
                let _hint = self.host.store.driver_alive(&self.run, self.scope.driver, alive).await;
                self.host.store.still_driving(&self.run, self.scope.driver).await?;
            }
        }
    }

    /// Applies an event, shows it, and gives it to the writer.
    pub(crate) fn append(&mut self, event: Event) -> Result<(), EngineError> {
        let stamped = self.notebook.stamp(event);
        self.learn(&stamped.event);
        let grows = matches!(stamped.event, Event::StepExpanded { .. });
        if grows {
            Arc::make_mut(&mut self.plan).let_go();
        }
        let applied = self.state.apply(&stamped);
        if grows {
            Arc::make_mut(&mut self.plan).follow(self.state.topology().clone());
        }
        applied.map_err(|source| EngineError::Illegal { run: self.run.clone(), source })?;
        let step = stamped.event.step().and_then(|step| self.plan.index(step));
        let record = match (&stamped.event, step) {
            (Event::StepReused { step, slot, .. } | Event::StepCommitted { step, slot, .. }, Some(index)) => {
                let n = self.bindings.entry(index).or_insert(0);
                *n += 1;
                Some(BoundStep(step.clone(), *n, *slot))
            }
            _ => None,
        };
        self.spectator.event(&stamped, &self.state, &self.plan);
        self.summarizer.hear(&stamped);
        self.notebook.write(stamped, step, record);
        if let Some((kept, turn)) = self.summarizer.due(&self.state) {
            self.notebook.summarize(kept, turn);
        }
        Ok(())
    }

    fn learn(&mut self, event: &Event) {
        if let Some(step) = event.step().and_then(|id| self.plan.index(id)) {
            self.rack.hear(step, event);
        }
        match event {
            Event::AttemptEnded { class, evidence, compute, lost, .. } => {
                self.interruptions.add(Some(*class), *compute, announced(evidence, *lost));
            }
            Event::StepCommitted { compute, .. } => self.interruptions.add(None, *compute, Announced::No),
            _ => {}
        }
    }

    /// Appends an event unless the run has overtaken it meanwhile.
    pub(crate) fn append_if_legal(&mut self, event: Event) -> Result<(), EngineError> {
        if self.state.check(&event).is_ok() { self.append(event) } else { Ok(()) }
    }

    async fn hear(&mut self, heard: Heard) -> Result<(), EngineError> {
        match heard {
            Heard::Told(Nth { step, n }, told) => {
                let Some(active) = self.active.get_mut(&step).filter(|active| active.n == n) else { return Ok(()) };
                if let Told::Claimed { slot } = &told {
                    active.slot = Some(*slot);
                }
                let event = event_of(self.plan.id(step), active.slot, self.host.store.writer(), &told);
                if matches!(told, Told::Claimed { .. }) && self.state.state(step).stage() == Stage::Dropped {
                    // Its item went while it claimed: nobody wants what it would make.
                    active.control.send_replace(Control::Kill);
                }
                if matches!(told, Told::Waiting { .. }) {
                    // Waiting needs no place of its own: the attempt ends here and the key is watched.
                    active.abort.abort();
                    self.active.remove(&step);
                    self.rack.take_back(n);
                }
                if matches!(told, Told::Storing) {
                    self.state.vacate(step);
                    self.rack.take_back(n);
                }
                self.spectator.told(step, &told, &self.plan);
                event.map_or(Ok(()), |event| self.append_if_legal(event))
            }
            Heard::BrokenOff(nth) => match self.over(nth) {
                true => Err(EngineError::BrokenOff { step: self.plan.id(nth.step).clone() }),
                false => Ok(()),
            },
            Heard::Ended(nth, verdict) => {
                if !self.over(nth) {
                    return Ok(());
                }
                let step = nth.step;
                if let Some((slot, timeline)) = time_of(&verdict) {
                    self.spectator.came_out(slot, timeline);
                }
                if let Verdict::Committed(success) | Verdict::Reused(success) = &*verdict {
                    self.shelf.keep(success.slot, &success.artifacts);
                }
                let unclaimed = self.unclaimed.entry(step).or_insert(0);
                match follow(&self.host.store, self.plan.id(step), *verdict, unclaimed).await? {
                    Follows::Event(event) => self.append_if_legal(event),
                    Follows::Nothing => {
                        self.state.release(step);
                        Ok(())
                    }
                }
            }
            Heard::Effects(step, slot, done) => self.hear_effects(step, slot, *done),
            Heard::Free(step, free) => {
                self.observed.insert(step, free?);
                self.append_if_legal(Event::StepMissed { step: self.plan.id(step).clone() })
            }
            Heard::Decided(step, slots, decision) => self.hear_decision(step, &slots, *decision).await,
        }
    }

    /// Takes an attempt off the list; answers whether it was still on it.
    fn over(&mut self, Nth { step, n }: Nth) -> bool {
        let over = self.active.get(&step).is_some_and(|active| active.n == n) && self.active.remove(&step).is_some();
        if over {
            self.rack.take_back(n);
        }
        over
    }

    /// Replaces a guardian that was killed; its steps are dead and end by themselves.
    async fn new_guardian(&mut self) -> Result<(), EngineError> {
        let guardian = self.host.guardian.successor().await?;
        let identity = guardian.identity();
        self.host.owner.guardian = Some(ProcessId { pid: identity.pid, start_ticks: identity.start_ticks });
        self.host.guardian = guardian;
        Ok(())
    }

    /// Makes durable what was promised, moves the names if the whole pipeline succeeded, and ends the run.
    async fn end(&mut self, status: RunStatus) -> Result<Outcome, EngineError> {
        self.host.store.still_driving(&self.run, self.scope.driver).await?;
        self.notebook.flush().await?;
        if status == RunStatus::Succeeded && self.record.targets.is_empty() {
            let mut artifacts = BTreeMap::new();
            for step in self.plan.indices() {
                // A step without outputs has nothing that a name could mean: its record need not be read.
                let done = self.state.done(step).filter(|done| !done.artifacts.is_empty());
                let Some(slot) = done.map(|done| done.slot) else { continue };
                for (port, stored) in self.shelf.artifacts(&self.host.store, slot).await?.iter() {
                    artifacts.insert(format!("{}.{port}", self.plan.id(step)), (slot, stored.clone()));
                }
            }
            let pipeline = &self.record.graph.pipeline.name;
            self.host.store.move_names(pipeline, self.record.order, &self.run, artifacts).await?;
        }
        self.append(Event::RunEnded { status })?;
        if let Some((kept, turn)) = self.summarizer.due_at_end(&self.state).await {
            self.notebook.summarize(kept, turn);
        }
        if !mutated(122) {
            self.notebook.settle().await?;
        }
        if status == RunStatus::Succeeded {
            // Workspaces of attempts that failed on the way were kept for inspection until now.
            let _left_over = self.host.sys.fs.remove_dir_all(&self.host.work.join(self.run.as_str()));
        }
        Ok(Outcome {
            run: self.run.clone(),
            status,
            wall: self.notebook.now(),
            // The run is over: nobody asks the driver for it any more, and it may be large.
            state: std::mem::replace(&mut self.state, RunState::new(Arc::default())),
            plan: self.plan.clone(),
        })
    }
}

/// Returns what a notice saved: all but what came after it, if no more than that is lost.
fn announced(evidence: &Evidence, lost: Span) -> Announced {
    let Some(notice) = &evidence.notice else { return Announced::No };
    let left = notice.deadline_ms.map(|deadline| deadline.saturating_sub(notice.at_ms));
    match left {
        Some(left) if evidence.newer_checkpoint.is_some() && lost.as_millis() <= left => Announced::Saved,
        _ => Announced::InVain,
    }
}
