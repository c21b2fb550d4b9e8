//! Random walks through what may happen to a run, and what must hold at every step of them.
#![allow(dead_code, reason = "each test binary uses its own part")]

use super::*;

fn is_at_work(stage: Stage) -> bool {
    matches!(stage, Stage::Ready | Stage::Held | Stage::Running | Stage::Ended)
}

/// Whether others of the same work may be queued behind a step at this stage.
fn may_lead(stage: Stage) -> bool {
    is_at_work(stage) || stage == Stage::Keyed
}

/// Checks everything that the fold keeps up to date against what the states alone say.
pub fn audit(run: &RunState) {
    let topology = run.topology();
    let settled =
        |step: StepIndex| matches!(run.state(step).stage(), Stage::Done | Stage::Skipped) && !run.is_stale(step);
    let absent = |step: StepIndex| {
        let skipped = |need: &StepIndex| settled(*need) && run.state(*need).stage() == Stage::Skipped;
        topology.reads(step).iter().any(skipped)
    };
    let is_due = |step: StepIndex| match (topology.handler(step), run.concluded()) {
        (None, _) | (Some(Handler::Exit), Some(_)) | (Some(Handler::Failure), Some(RunStatus::Failed)) => true,
        (Some(_), _) => false,
    };
    let ended = |step: StepIndex| matches!(run.state(step).stage(), Stage::Failed | Stage::Blocked);
    let mut counts = [0; Stage::ALL.len()];
    let mut open = 0;
    for step in topology.indices() {
        let state = run.state(step);
        let handler = topology.handler(step);
        let due = is_due(step);
        let bound = due && topology.needs(step).iter().all(|need| settled(*need));
        let dead = topology.needs(step).iter().any(|need| ended(*need));
        counts[state.stage() as usize] += u32::from(handler.is_none());
        open += u32::from(handler.is_none() && !settled(step) && !ended(step));
        assert_eq!(
            matches!(state.stage(), Stage::Undecided | Stage::Bindable),
            bound && matches!(state.stage(), Stage::Waiting | Stage::Undecided | Stage::Bindable)
        );
        assert!(state.stage() != Stage::Undecided || topology.is_conditional(step));
        assert!(!run.is_stale(step) || state.key().is_some() || state.stage() == Stage::Skipped);
        assert!(state.stage() != Stage::Blocked || dead);
        // Another step of the same work that waits behind this one holds nothing up.
        let behind = |need: &StepIndex| {
            settled(*need) || matches!(run.state(*need), StepState::Queued { key } if state.key() == Some(*key))
        };
        let goes_first = due && topology.needs(step).iter().all(behind);
        let lets_go = |led: StepKey| {
            let ready = |other: StepIndex| {
                let needs = topology.needs(other);
                *run.state(other) == (StepState::Queued { key: led })
                    && !run.is_stale(other)
                    && is_due(other)
                    && needs.iter().all(|need| settled(*need))
            };
            if !topology.indices().any(ready) {
                return false;
            }
            // Of several that were let go together one leads; whoever it is, it is not all of them that wait.
            let others = || {
                let leads =
                    |other: StepIndex| run.state(other).key() == Some(led) && may_lead(run.state(other).stage());
                topology.indices().filter(move |other| *other != step && leads(*other))
            };
            match others().next() {
                None => true,
                Some(_) if run.todo(step) == Some(Todo::Rebind) => true,
                Some(_) => {
                    let goes =
                        |other: StepIndex| run.todo(other).is_some() || run.state(other).stage() == Stage::Running;
                    assert!(others().any(goes), "one is queued that could go on, and all before it wait");
                    false
                }
            }
        };
        let todo = match state {
            _ if run.is_issued(step) => matches!(state, StepState::Ready { .. }).then_some(Todo::Starting),
            StepState::Running(_) | StepState::Failed { .. } | StepState::Blocked { .. } => None,
            _ if run.is_stale(step) => Some(Todo::Rebind),
            StepState::Done(_) | StepState::Skipped { .. } => {
                let gone = |need: &StepIndex| ended(*need) && run.is_turned(*need);
                topology.reads(step).iter().any(gone).then_some(Todo::Rebind)
            }
            _ if dead => Some(Todo::Block),
            StepState::Held { .. } => Some(Todo::Watch),
            // Whoever waits lets those of the same work go first that could go on.
            StepState::Keyed { key: led } | StepState::Ready { key: led, .. } if !bound && !goes_first => {
                lets_go(*led).then_some(Todo::Rebind)
            }
            StepState::Ended(ended) if !bound && !goes_first => lets_go(ended.slot.key).then_some(Todo::Rebind),
            _ if !bound && !goes_first => None,
            StepState::Undecided | StepState::Bindable if absent(step) => Some(Todo::Skip),
            StepState::Undecided => Some(Todo::Decide),
            StepState::Bindable => Some(Todo::Bind),
            StepState::Keyed { .. } => Some(Todo::Guard),
            StepState::Ended(_) => Some(Todo::Heal),
            StepState::Ready { not_before, .. } if *not_before > run.clock() => Some(Todo::Wait(*not_before)),
            StepState::Ready { next, .. } => Some(Todo::Start(u16::from(next.memory.is_some()))),
            StepState::Waiting | StepState::Queued { .. } => None,
            StepState::Gathering | StepState::Gathered { .. } | StepState::Dropped => {
                unreachable!("nothing fans out here")
            }
        };
        assert_eq!(run.todo(step), todo, "{:?}", state.stage());
        if let Some(todo) = todo.filter(|todo| !matches!(todo, Todo::Wait(_))) {
            assert!(run.list(todo).contains(step));
        }
        assert_eq!(run.running().contains(step), state.stage() == Stage::Running);
    }
    assert_eq!(run.open(), open);
    assert!(run.concluded().is_none() || (open == 0 && run.concluded() == run.outlook()));
    for stage in Stage::ALL {
        assert_eq!(run.count(stage), counts[stage as usize]);
    }
    // Equal keys within one run are one attempt.
    let mut keys: Vec<_> = topology
        .indices()
        .filter(|step| is_at_work(run.state(*step).stage()))
        .filter_map(|step| run.state(step).key())
        .collect();
    let all = keys.len();
    keys.sort();
    keys.dedup();
    assert_eq!(keys.len(), all, "two steps are at work on one key");
    for step in topology.indices() {
        if let StepState::Queued { key } = run.state(step) {
            assert!(
                topology
                    .indices()
                    .any(|other| may_lead(run.state(other).stage()) && run.state(other).key() == Some(*key)),
                "a step is queued behind nobody"
            );
        }
    }
}

/// An event that may or may not be legal now, made of two random numbers.
pub fn some_event(run: &RunState, step: StepIndex, choice: u32, more: u32) -> Event {
    let topology = run.topology();
    let id = topology.id(step).clone();
    let state = run.state(step);
    let slot_of = |key| SlotId { key, epoch: Epoch(u64::from(more % 3) + 1) };
    let slot = match state {
        StepState::Running(running) if !more.is_multiple_of(8) => running.slot,
        _ => slot_of(state.key().unwrap_or(key(u64::from(more % 3)))),
    };
    let likely: &[&str] = match state.stage() {
        Stage::Waiting => &["step_blocked", "driver_started"],
        Stage::Undecided => &["step_decided", "step_decided", "step_skipped", "input_damaged", "step_failed"],
        Stage::Bindable if topology.is_group(step) => &["step_expanded", "step_expanded", "step_failed"],
        Stage::Bindable => &["step_keyed", "step_keyed", "step_keyed", "step_skipped", "step_failed"],
        Stage::Keyed => &["step_missed", "step_missed", "step_reused", "step_waiting"],
        Stage::Queued => &["step_rebound", "step_blocked"],
        Stage::Ready => &["attempt_started", "attempt_started", "step_healing", "step_reused", "step_waiting"],
        Stage::Held => &["step_missed", "step_reused", "step_waiting"],
        Stage::Running => &["attempt_ended", "step_committed", "step_committed", "process_started"],
        Stage::Ended => &["step_healing", "step_healing", "input_damaged", "input_damaged", "step_failed"],
        Stage::Done => &["step_rebound", "stop_requested", "commit_damaged"],
        Stage::Skipped => &["step_rebound", "stop_requested"],
        Stage::Failed | Stage::Blocked => &["run_ended", "driver_started"],
        Stage::Gathering | Stage::Gathered => &["step_rebound", "step_rebound", "step_blocked"],
        Stage::Dropped => &["stop_requested"],
    };
    if let Some(status) = run.conclusion()
        && choice.is_multiple_of(4)
    {
        return Event::RunConcluded { status };
    }
    let kind = match choice % 8 {
        0 => Event::KINDS[choice as usize / 8 % Event::KINDS.len()],
        1 if run.is_stale(step) => "step_rebound",
        1 => "step_blocked",
        _ => likely[choice as usize / 8 % likely.len()],
    };
    let content = artifacts(if more.is_multiple_of(2) { "one" } else { "two" });
    match kind {
        // These end the walk's story, so they are rare.
        "stop_requested" | "driver_started" | "run_ended" | "step_failed" if !more.is_multiple_of(8) => {
            sample_of("step_expanded", id.clone(), slot)
        }
        "run_ended" => Event::RunEnded {
            status: [RunStatus::Succeeded, RunStatus::Failed, RunStatus::Stopped][more as usize / 8 % 3],
        },
        "driver_started" => Event::DriverStarted {
            driver: run.driver() + 1,
            engine: String::new(),
            continues: Position::START,
            budgets_reset: more.is_multiple_of(16),
            retried: more
                .is_multiple_of(3)
                .then(|| vec![topology.id(StepIndex::new(more % topology.len() as u32)).clone()]),
            damaged: more.is_multiple_of(5).then(|| "torn".to_owned()),
        },
        "step_blocked" => {
            let by = StepIndex::new(more % topology.len() as u32);
            Event::StepBlocked { step: id.clone(), by: topology.id(by).clone() }
        }
        "step_decided" => Event::StepDecided { step: id.clone(), run: more.is_multiple_of(2), saw: Vec::new() },
        "step_skipped" => {
            let reads = topology.reads(step);
            let by = reads.get(more as usize % reads.len().max(1)).copied().unwrap_or(step);
            Event::StepSkipped { step: id.clone(), by: topology.id(by).clone() }
        }
        "input_damaged" => {
            let needs = topology.needs(step);
            let producer = needs.get(more as usize % needs.len().max(1)).copied().unwrap_or(step);
            let slot = run.done(producer).map_or(slot, |done| done.slot);
            Event::InputDamaged { step: id.clone(), producer: topology.id(producer).clone(), slot }
        }
        "step_expanded" if topology.leads(step) => {
            let items = (0..4).filter(|item| more >> item & 1 == 1);
            Event::StepExpanded {
                step: id.clone(),
                items: items.map(|item| Item::from_canonical(&item.to_string())).collect(),
            }
        }
        "step_committed" => {
            Event::StepCommitted { step: id.clone(), slot, artifacts: content, compute: Span::from_millis(1) }
        }
        "commit_damaged" => {
            Event::CommitDamaged { step: id.clone(), slot: run.done(step).map_or(slot, |done| done.slot) }
        }
        "step_reused" => Event::StepReused { step: id.clone(), slot, artifacts: content, copied_from: None },
        kind => sample_of(kind, id.clone(), slot),
    }
}

/// Returns a topology of up to eight steps, some with a condition, and two at the end of the run; `edges` says who needs whom.
pub fn any_shape(edges: &[u8]) -> Arc<Topology> {
    const NAMES: [&str; 8] = ["a", "b", "if-c", "d", "if-e", "f", "if-g", "h"];
    let needs: Vec<Vec<u32>> = edges
        .iter()
        .enumerate()
        .map(|(i, bits)| (0..i as u32).filter(|n| bits >> n & 1 == 1 && bits >> ((n + 3) % 8) & 1 == 1).collect())
        .collect();
    let mut steps: Vec<(&str, &[u32])> = NAMES.iter().copied().zip(needs.iter().map(Vec::as_slice)).collect();
    steps.extend([("on_exit", &[] as &[u32]), ("on_failure", &[])]);
    topology(&steps)
}

/// Goes through a run by these random choices; `each` sees it before and after every try. Returns what happened, legally.
///
/// Many choices are illegal; what counts is that they change nothing.
pub fn walk(
    shape: &Arc<Topology>,
    moves: &[(u32, u32, u32)],
    mut each: impl FnMut(&RunState, &RunState, Result<(), IllegalEvent>, Result<(), IllegalEvent>),
) -> (RunState, Vec<Stamped>) {
    let mut run = begun(shape);
    let mut accepted = vec![at(0, run_started()), at(0, driver_started(1))];
    let mut now = 0;
    for &(which, choice, more) in moves {
        let step = StepIndex::new(which % run.topology().len() as u32);
        let event = some_event(&run, step, choice, more);
        if let Event::DriverStarted { .. } = event {
            now = 0;
        }
        now += u64::from(more % 100);
        let stamped = at(now, event);
        let before = run.clone();
        let checked = run.check(&stamped.event);
        let applied = run.apply(&stamped);
        if applied.is_ok() {
            accepted.push(stamped);
        }
        each(&before, &run, checked, applied);
    }
    (run, accepted)
}
