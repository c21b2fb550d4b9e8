//! What a step costs does not depend on how many there are.

mod decide_sim;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use decide_sim::*;
use prunella_engine::{Capacity, Command, Plan, decide};
use prunella_journal::*;
use prunella_model::*;
use prunella_sys::Sys;

#[derive(Debug, Clone, Copy)]
enum Form {
    Chain,
    Independent,
    /// The items of one step, those of another that goes through them, and a step that reads them all.
    Items,
}

fn steps(form: Form, count: usize) -> Vec<(String, Spec)> {
    if let Form::Items = form {
        let items = (0..count as u32 / 2).map(numbered).collect();
        let each = Spec { for_each: Some(ForEach::Items(items)), ..Spec::default() };
        let again = Spec { for_each: Some(ForEach::Step(name("each"))), ..spec(&["each"]) };
        return vec![("each".to_owned(), each), ("again".to_owned(), again), ("all".to_owned(), spec(&["again"]))];
    }
    let needs = |i: usize| match form {
        Form::Chain if i > 0 => vec![format!("s{}", i - 1)],
        _ => Vec::new(),
    };
    (0..count).map(|i| (format!("s{i}"), Spec { needs: needs(i), ..Spec::default() })).collect()
}

/// Runs it through with no machine at all, and returns the time that planning and the whole run took.
fn run_through(graph: &Arc<Graph>) -> (Duration, Duration) {
    let clock = Sys::real().clock;
    let begun = clock.monotonic();
    let plan = Plan::build(Arc::clone(graph), &[]).expect("a plan");
    let planned = clock.monotonic() - begun;

    let run = RunId::new("run-1").expect("a run id");
    let scope = KeyScope { run: run.clone(), driver: 1 };
    let mut state = RunState::new(Arc::clone(plan.topology()));
    let mut now = 0;
    let mut tell = |state: &mut RunState, event| {
        now += 1;
        state.apply(&Stamped { at_ms: 0, mono: Span::from_millis(now), event }).expect("legal");
    };
    let pipeline = plan.graph().pipeline.name.clone();
    tell(&mut state, Event::RunStarted { run, pipeline, graph: Digest::of(b""), params: BTreeMap::new() });
    let continues = Position::START;
    tell(
        &mut state,
        Event::DriverStarted {
            driver: 1,
            engine: String::new(),
            continues,
            budgets_reset: false,
            retried: None,
            damaged: None,
        },
    );
    let capacity = Capacity { jobs: 2, ..ROOMY };
    let begun = clock.monotonic();
    loop {
        for command in decide(&mut state, &plan, Span::default(), &capacity) {
            match command {
                Command::BindKey { step } => {
                    let key = plan.key(&state, step, &scope).expect("bound");
                    tell(&mut state, Event::StepKeyed { step: plan.id(step).clone(), key });
                }
                Command::Guard { step, .. } => tell(&mut state, Event::StepMissed { step: plan.id(step).clone() }),
                Command::StartAttempt { step, key, .. } => {
                    let (id, slot) = (plan.id(step).clone(), SlotId { key, epoch: Epoch::FIRST });
                    let writer = WriterId::from_random(1);
                    tell(&mut state, Event::AttemptStarted { step: id.clone(), slot, writer });
                    let artifact = Artifact { kind: ArtifactKind::File, digest: key.0, size_bytes: 1 };
                    let artifacts = BTreeMap::from([(PortName::new("out").expect("a name"), artifact)]);
                    let compute = Span::from_millis(1);
                    tell(&mut state, Event::StepCommitted { step: id, slot, artifacts, compute });
                }
                Command::EndRun { status } => {
                    assert_eq!(status, RunStatus::Succeeded);
                    return (planned, clock.monotonic() - begun);
                }
                other => panic!("nothing goes wrong here: {other:?}"),
            }
        }
    }
}

#[test]
fn a_step_costs_the_same_among_a_thousand_and_a_hundred_thousand() {
    for form in [Form::Chain, Form::Independent, Form::Items] {
        // The fastest of several: what else the machine does only ever adds.
        let (thousand, many) = (graph(&steps(form, 1000)), graph(&steps(form, 100_000)));
        let small = (0..9).map(|_| run_through(&thousand).1).min().expect("nine") / 1000;
        let (planned, large) = (0..2).map(|_| run_through(&many)).min_by_key(|(_, run)| *run).expect("two");
        let large = large / 100_000;
        println!("{form:?}: {small:?} a step among 1,000, {large:?} among 100,000; plan of 100,000: {planned:?}");
        // What no cache holds costs more, on a busy machine most of all; what grew with their number would cost a
        // hundred times as much.
        assert!(large < small * 6, "{form:?}: {small:?} a step became {large:?}");
        assert!(planned < Duration::from_secs(3), "{form:?}: {planned:?} for a plan of 100,000 steps");
    }
}

#[test]
fn a_hundred_thousand_steps_that_wait_are_looked_at_by_nobody() {
    let clock = Sys::real().clock;
    let plan = Plan::build(graph(&steps(Form::Chain, 100_000)), &[]).expect("a plan");
    let mut state = RunState::new(Arc::clone(plan.topology()));
    let run = RunId::new("run-1").expect("a run id");
    let pipeline = plan.graph().pipeline.name.clone();
    let events = [
        Event::RunStarted { run, pipeline, graph: Digest::of(b""), params: BTreeMap::new() },
        Event::DriverStarted {
            driver: 1,
            engine: String::new(),
            continues: Position::START,
            budgets_reset: false,
            retried: None,
            damaged: None,
        },
    ];
    for event in events {
        state.apply(&Stamped { at_ms: 0, mono: Span::default(), event }).expect("legal");
    }
    assert_eq!(decide(&mut state, &plan, Span::default(), &ROOMY).len(), 1);
    let begun = clock.monotonic();
    for _ in 0..10_000 {
        assert!(decide(&mut state, &plan, Span::default(), &ROOMY).is_empty());
    }
    // Looking at every step would take a second at least.
    let spent = clock.monotonic() - begun;
    println!("10,000 decisions with nothing to do: {spent:?}");
    assert!(spent < Duration::from_millis(500), "{spent:?}");
}
