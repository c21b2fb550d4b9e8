//! What is to be done next: a pure function of state, plan, time and capacity.

use prunella_healing::{JitterSeed, Remedy, Spent, memory_for, remedy};
use prunella_journal::{
    Ended, Event, NextTry, RestoreFrom, RunState, RunStatus, Stage, StepIndex, StepState, StopHow, Todo,
};
use prunella_model::{Class, Epoch, Item, RunId, SlotId, Span, StepId, StepKey};

use crate::admission::{Capacity, Taken};
use crate::effects::{decide_effects, sort_effects};
use crate::plan::Plan;

/// Something that the driver is to do. Doing it twice is harmless: whatever decides is created once in the store.
#[derive(Debug, Clone, PartialEq)]
pub enum Command {
    /// Answer the step's condition; append `StepDecided`.
    Decide {
        /// The step.
        step: StepIndex,
    },
    /// Compute the step's key ([`Plan::key`]) and append `StepKeyed`.
    BindKey {
        /// The step.
        step: StepIndex,
    },
    /// Read the list that the step fans out over, and append `StepExpanded` or `StepFailed`.
    Expand {
        /// The step.
        step: StepIndex,
    },
    /// Look for a commit of the key; append `StepReused`, `StepMissed`, or `StepWaiting`.
    Guard {
        /// The step.
        step: StepIndex,
        /// Its key.
        key: StepKey,
    },
    /// Claim a slot and start an attempt; append `AttemptStarted`, `StepReused` or `StepWaiting`.
    StartAttempt {
        /// The step.
        step: StepIndex,
        /// Its key.
        key: StepKey,
        /// Its conditions; the wait is over.
        next: NextTry,
    },
    /// Wait for another run's attempt to end or die; append `StepReused`, `StepMissed`, or `StepWaiting` for another.
    Watch {
        /// The step.
        step: StepIndex,
        /// The slot.
        slot: SlotId,
        /// The run that holds it.
        holder: RunId,
    },
    /// Tell a running attempt that the run stops.
    Interrupt {
        /// The step.
        step: StepIndex,
        /// Its slot.
        slot: SlotId,
        /// How.
        how: StopHow,
    },
    /// Mark the producer's commit as damaged in the store, and append `InputDamaged`.
    Reproduce {
        /// The consumer that found the damage.
        step: StepIndex,
        /// Its attempt that found it.
        attempt: SlotId,
        /// The producer.
        producer: StepIndex,
        /// The commit.
        slot: SlotId,
        /// What is wrong with its bytes.
        problem: String,
    },
    /// Do what the step does to the outside; append `EffectsDone` or `EffectFailed`.
    DoEffects {
        /// The step.
        step: StepIndex,
        /// The commit that stands for it.
        slot: SlotId,
    },
    /// Append this event; there is nothing else to do.
    Append(Event),
    /// Ask again at this time of the driver's clock.
    WakeAt(Span),
    /// Make what was promised durable, append `RunEnded`, and leave.
    EndRun {
        /// How it ends.
        status: RunStatus,
    },
}

/// Returns what is to be done now, and notes it as under way, so that asking again gives nothing twice.
///
/// Costs what changed since the last time, not the size of the graph: it reads the lists that the fold keeps. No I/O, no
/// clock, no randomness: equal arguments give equal commands, in the same order. A command that could not be carried out
/// is given back by [`RunState::release`]; [`Command::WakeAt`] is repeated as long as it holds. Ask again after carrying out
/// anything but waiting: what may take back what was done (`Reproduce`, `StepRebound`, `Expand`, `StepSkipped`) is never given
/// together with starts.
#[must_use]
pub fn decide(state: &mut RunState, plan: &Plan, now: Span, capacity: &Capacity) -> Vec<Command> {
    let mut commands = Vec::new();
    if state.ended().is_some() || state.driver() == 0 {
        return commands;
    }
    state.advance(now);
    while let Some((step, how)) = state.take_interrupt() {
        if let StepState::Running(running) = state.state(step) {
            commands.push(Command::Interrupt { step, slot: running.slot, how });
        }
    }
    sort_effects(state, plan);
    if state.stopping().is_none() {
        go_on(state, plan, capacity, &mut commands);
    }
    // What is to be planned anew looks settled until it is told.
    if commands.iter().any(takes_back) {
        return commands;
    }
    // What is published is there before the end is told.
    if state.stopping().is_none()
        && !state.has_open_effects()
        && let Some(status) = state.conclusion().filter(|_| state.list(Todo::Starting).is_empty())
        && state.issue_conclusion()
    {
        commands.push(Command::Append(Event::RunConcluded { status }));
    }
    if let Some(status) = end_of(state)
        && state.issue_end()
    {
        commands.push(Command::EndRun { status });
    }
    commands
}

fn go_on(state: &mut RunState, plan: &Plan, capacity: &Capacity, commands: &mut Vec<Command>) {
    // What is planned anew comes first, so that nothing starts on what it replaces.
    while let Some(step) = state.list(Todo::Rebind).first() {
        let stale = state.is_stale(step);
        // Without new content behind it, it may have no reason any more once the others are planned anew.
        if !stale && !commands.is_empty() {
            return;
        }
        state.issue(step);
        commands.push(Command::Append(Event::StepRebound { step: plan.id(step).clone() }));
        if !stale {
            return;
        }
    }
    while let Some(step) = next(state, Todo::Heal) {
        commands.push(heal(state, plan, step));
    }
    // These take back what is done: what could be started now may not be startable after them, so they go alone.
    if commands.iter().any(takes_back) {
        return;
    }
    let before = commands.len();
    // A list that was made anew may lack items that could go on now.
    while let Some(step) = next(state, Todo::Expand) {
        commands.push(Command::Expand { step });
    }
    if commands.len() > before {
        return;
    }
    // One by one: what rested on something else before it was skipped is planned anew, and others may have to wait for that.
    if let Some(step) = next(state, Todo::Skip) {
        let skipped = |need: &&StepIndex| matches!(state.state(**need), StepState::Skipped { .. });
        if let Some(by) = state.topology().reads(step).iter().find(skipped) {
            commands
                .push(Command::Append(Event::StepSkipped { step: plan.id(step).clone(), by: plan.id(*by).clone() }));
        }
    }
    if commands.len() > before {
        return;
    }
    block(state, plan, commands);
    while let Some(step) = next(state, Todo::Decide) {
        commands.push(Command::Decide { step });
    }
    while let Some(step) = next(state, Todo::Bind) {
        commands.push(Command::BindKey { step });
    }
    while let Some(step) = next(state, Todo::Guard) {
        let key = state.state(step).key().expect("a step to guard has its key");
        commands.push(Command::Guard { step, key });
    }
    while let Some(step) = next(state, Todo::Watch) {
        if let StepState::Held { slot, holder } = state.state(step) {
            commands.push(Command::Watch { step, slot: *slot, holder: holder.clone() });
        }
    }
    admit(state, plan, capacity, commands);
    let effects = decide_effects(state, plan, state.clock(), commands);
    if let Some(at) = state.next_timer().into_iter().chain(effects).min() {
        commands.push(Command::WakeAt(at));
    }
}

fn takes_back(command: &Command) -> bool {
    matches!(command, Command::Reproduce { .. } | Command::Append(Event::StepRebound { .. }))
}

fn next(state: &mut RunState, todo: Todo) -> Option<StepIndex> {
    let step = state.list(todo).first()?;
    state.issue(step);
    Some(step)
}

fn heal(state: &RunState, plan: &Plan, step: StepIndex) -> Command {
    let StepState::Ended(ended) = state.state(step) else { unreachable!("only ended attempts are on this list") };
    let id = plan.id(step).clone();
    let none = Spent::default();
    let spent = state.spent(step).unwrap_or(&none);
    let run = state.run().expect("an attempt has ended, so the run has begun");
    let (policy, traits) = (&plan.step(step).retry, plan.traits(step));
    let seed = JitterSeed { run, step: &id, attempt: Epoch(ended.slot.epoch.0) };
    let healing = |next: NextTry, remedy: String| {
        Command::Append(Event::StepHealing { step: id.clone(), class: ended.class, next, remedy })
    };
    match remedy(policy, &traits, ended.class, &ended.evidence, spent, &seed) {
        Remedy::Retry(retry) => {
            let next = NextTry::from(retry);
            healing(next, words(&next))
        }
        Remedy::Wait { delay } => {
            let next = NextTry { delay: delay.into(), ..as_before(ended, spent, plan, step) };
            healing(next, "waits for a machine".to_owned())
        }
        Remedy::Reproduce { input } => match producer_of(plan, step, &input, ended) {
            Some(producer) => match damaged_slot(state, ended, producer) {
                Some(slot) => {
                    let problem =
                        ended.evidence.input_damaged.as_ref().map_or_else(String::new, |seen| seen.detail.clone());
                    Command::Reproduce { step, attempt: ended.slot, producer, slot, problem }
                }
                None => {
                    let next = as_before(ended, spent, plan, step);
                    healing(next, format!("again, once `{}` is made anew", plan.id(producer)))
                }
            },
            None => failed(&id, Class::InputDamaged, format!("the data behind its input `{input}` is lost")),
        },
        Remedy::GiveUp { class, why, hint, .. } => {
            let why = if hint.is_empty() || why == hint { why } else { format!("{why}; {hint}") };
            failed(&id, class, why)
        }
        // It was stopped by someone, and this driver is asked to go on.
        Remedy::None => {
            let next = as_before(ended, spent, plan, step);
            healing(next, words(&next))
        }
    }
}

/// The step, or the item of it, whose bytes were found lost.
fn producer_of(plan: &Plan, step: StepIndex, input: &str, ended: &Ended) -> Option<StepIndex> {
    let producer = plan.producer(step, input)?;
    match ended.evidence.input_damaged.as_ref().and_then(|seen| seen.item.as_deref()) {
        Some(item) => plan.index(&StepId::of_item(plan.id(producer).name.clone(), Item::from_canonical(item))),
        None => Some(producer),
    }
}

/// The conditions of the attempt before, as far as they still hold.
fn as_before(ended: &Ended, spent: &Spent, plan: &Plan, step: StepIndex) -> NextTry {
    NextTry {
        delay: Span::default(),
        memory: memory_for(&plan.step(step).resources, spent),
        restore: if spent.rejected.is_some() { ended.next.restore } else { RestoreFrom::Newest },
        ..ended.next
    }
}

/// The commit that the attempt read; nothing if the producer has been, or is being, made anew since the attempt started.
fn damaged_slot(state: &RunState, ended: &Ended, producer: StepIndex) -> Option<SlotId> {
    let done = state.done(producer)?;
    ((done.driver, done.at) <= (ended.driver, ended.since)).then_some(done.slot)
}

fn failed(step: &StepId, class: Class, why: String) -> Command {
    Command::Append(Event::StepFailed { step: step.clone(), class, why })
}

fn words(next: &NextTry) -> String {
    let mut words = match next.restore {
        RestoreFrom::Newest => "again from the newest checkpoint".to_owned(),
        RestoreFrom::Before(checkpoint) => format!("again from a checkpoint before {checkpoint}"),
        RestoreFrom::Zero => "again from zero".to_owned(),
    };
    if let Some(memory) = next.memory {
        words.push_str(&format!(", with {memory}"));
    }
    if next.checkpoint_sooner {
        words.push_str(", with checkpoints at half the interval");
    }
    words
}

/// Blocks everything that needs what was given up, to the ends of the graph at once.
fn block(state: &mut RunState, plan: &Plan, commands: &mut Vec<Command>) {
    while let Some(first) = next(state, Todo::Block) {
        let Some(by) = culprit(state, first) else { continue };
        let mut stack = vec![first];
        while let Some(step) = stack.pop() {
            commands.push(Command::Append(Event::StepBlocked { step: plan.id(step).clone(), by: plan.id(by).clone() }));
            for &consumer in plan.topology().consumers(step) {
                // Others are blocked when what they are at has ended.
                if state.state(consumer).stage() == Stage::Waiting && !state.is_issued(consumer) {
                    state.issue(consumer);
                    stack.push(consumer);
                }
            }
        }
    }
}

/// The step that was given up, on account of which this one is blocked.
fn culprit(state: &RunState, step: StepIndex) -> Option<StepIndex> {
    let topology = state.topology();
    let items = topology.members(step).unwrap_or_default();
    topology.needs(step).iter().chain(items).find_map(|need| match state.state(*need) {
        StepState::Failed { .. } => Some(*need),
        StepState::Blocked { by } => Some(*by),
        _ => None,
    })
}

/// Starts what fits: always the first step in the order of the file, of those that fit.
fn admit(state: &mut RunState, plan: &Plan, capacity: &Capacity, commands: &mut Vec<Command>) {
    let mut taken = Taken::default();
    let active: Vec<StepIndex> = state.running().iter().chain(state.list(Todo::Starting).iter()).collect();
    // As many as there are jobs may store what they made beside those that compute; more would crowd the disk.
    let mut storing = 0;
    for step in active {
        if storing < capacity.jobs && state.vacated().contains(step) {
            storing += 1;
            continue;
        }
        let memory = match state.state(step) {
            StepState::Running(running) => running.next.memory,
            StepState::Ready { next, .. } => next.memory,
            _ => None,
        };
        taken.add(plan.demand(step, memory));
    }
    while !taken.is_full(capacity) {
        let mut best: Option<(StepIndex, StepKey, NextTry)> = None;
        for lane in 0..state.lanes() {
            let Some(step) = state.list(Todo::Start(lane)).first() else { continue };
            let StepState::Ready { key, next, .. } = state.state(step) else { continue };
            let demand = plan.demand(step, next.memory);
            let fits = !capacity.can_ever(&demand) || capacity.fits(&taken, &demand);
            if fits && best.as_ref().is_none_or(|(other, ..)| step < *other) {
                best = Some((step, *key, **next));
            }
        }
        let Some((step, key, next)) = best else { break };
        state.issue(step);
        let demand = plan.demand(step, next.memory);
        if capacity.can_ever(&demand) {
            taken.add(demand);
            commands.push(Command::StartAttempt { step, key, next });
        } else {
            let why = format!("needs {}, this machine has {}", accelerators(demand.gpu), capacity.gpu);
            commands.push(failed(plan.id(step), Class::Capacity, why));
        }
    }
}

fn end_of(state: &RunState) -> Option<RunStatus> {
    if !state.running().is_empty() || !state.list(Todo::Starting).is_empty() {
        return None;
    }
    match (state.outlook().filter(|_| state.handlers_are_closed()), state.stopping()) {
        // Effects that are open when the run stops are left to whoever goes on with it.
        (Some(_), None) if state.has_open_effects() => None,
        (Some(_), Some(_)) if state.has_open_effects() || state.any_to_rebind() => Some(RunStatus::Stopped),
        (Some(status), _) => Some(status),
        // Also if only what belongs to the end is left: it runs when the run is resumed.
        (None, Some(_)) => Some(RunStatus::Stopped),
        (None, None) => None,
    }
}

fn accelerators(count: u32) -> String {
    if count == 1 { "1 accelerator".to_owned() } else { format!("{count} accelerators") }
}
