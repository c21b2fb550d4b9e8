//! Whole runs in virtual time, by name.

mod decide_sim;

use std::cell::Cell;
use std::sync::Arc;

use decide_sim::*;
use prunella_engine::{BindError, Capacity, Command, Plan, PlanError, decide};
use prunella_healing::{Ending, Evidence, InputDamaged, OutOfMemory, Phase};
use prunella_journal::*;
use prunella_model::*;

const ONE_JOB: Capacity = Capacity { jobs: 1, ..ROOMY };

fn steps(all: &[(&str, &[&str])]) -> Vec<(String, Spec)> {
    all.iter().map(|(name, needs)| ((*name).to_owned(), spec(needs))).collect()
}

fn needing(cpu_millis: u32, memory_gib: u64, gpu: u32) -> Spec {
    let memory = (memory_gib > 0).then_some(ByteSize(memory_gib << 30));
    Spec { resources: Resources { cpu_millis, memory, memory_max: None, gpu, shm: None }, ..Spec::default() }
}

fn fine<'a>() -> Fates<'a> {
    Box::new(|_, key, _| Fate::Commits(key.short()))
}

fn sim<'a>(steps: &[(String, Spec)], capacity: Capacity, fates: Fates<'a>) -> Sim<'a> {
    Sim::new(graph(steps), capacity, 7, fates)
}

/// A run whose events a test tells one by one.
struct ByHand {
    plan: Plan,
    state: RunState,
    now: u64,
}

impl ByHand {
    fn new(all: &[(String, Spec)]) -> Self {
        let plan = Plan::build(graph(all), &[]).expect("a plan");
        let state = RunState::new(Arc::clone(plan.topology()));
        let mut by_hand = Self { plan, state, now: 0 };
        let run = RunId::new("run-1").expect("a run id");
        let pipeline = by_hand.plan.graph().pipeline.name.clone();
        by_hand.tell(Event::RunStarted { run, pipeline, graph: Digest::of(b""), params: Default::default() });
        let continues = Position::START;
        by_hand.tell(Event::DriverStarted {
            driver: 1,
            engine: String::new(),
            continues,
            budgets_reset: false,
            retried: None,
            damaged: None,
        });
        by_hand
    }

    fn tell(&mut self, event: Event) {
        self.now += 1;
        self.state.apply(&Stamped { at_ms: 0, mono: Span::from_millis(self.now), event }).expect("legal");
    }

    fn slot(name: &str) -> SlotId {
        SlotId { key: StepKey(Digest::of(name.as_bytes())), epoch: Epoch::FIRST }
    }

    fn make_ready(&mut self, name: &str) {
        self.tell(Event::StepKeyed { step: id(name), key: Self::slot(name).key });
        self.tell(Event::StepMissed { step: id(name) });
    }

    fn end(&mut self, name: &str, evidence: Evidence) -> Class {
        let step = self.plan.index(&id(name)).expect("a step");
        let (class, spent) = prunella_healing::assess(&Default::default(), &evidence, &self.plan.traits(step));
        self.tell(Event::AttemptEnded {
            step: id(name),
            slot: Self::slot(name),
            class,
            evidence: Box::new(evidence),
            spent: Box::new(spent),
            compute: Span::default(),
            lost: Span::default(),
        });
        class
    }

    fn decide(&mut self, capacity: &Capacity) -> Vec<Command> {
        decide(&mut self.state, &self.plan, Span::from_millis(self.now), capacity)
    }

    /// What is started now, and with which memory.
    fn starts(&mut self, capacity: &Capacity) -> Vec<(u32, Option<ByteSize>)> {
        let of = |command: &Command| match command {
            Command::StartAttempt { step, next, .. } => Some((step.get(), next.memory)),
            _ => None,
        };
        self.decide(capacity).iter().filter_map(of).collect()
    }
}

/// Goes on until nothing is under way that could still be started: a decision, and the first things that happen.
fn go(sim: &mut Sim<'_>, until: impl Fn(&Sim<'_>) -> bool) {
    for _ in 0..10_000 {
        assert_eq!(sim.ask(), None, "the run has ended");
        if until(sim) {
            return;
        }
        assert!(sim.pass(), "nothing is under way: {:?}", sim.stages());
    }
    panic!("it never comes to that: {:?}", sim.stages());
}

#[test]
fn a_diamond_succeeds_with_one_attempt_a_step() {
    let mut sim = sim(&steps(&[("a", &[]), ("b", &["a"]), ("c", &["a"]), ("d", &["b", "c"])]), ROOMY, fine());
    assert_eq!(sim.finish(), RunStatus::Succeeded);
    assert!(["a", "b", "c", "d"].iter().all(|step| sim.started(step) == 1));
}

#[test]
fn steps_start_in_the_order_of_the_file_whatever_they_need() {
    let all = [("z", 1000), ("m", 500), ("a", 1000), ("k", 250)];
    let all: Vec<(String, Spec)> = all.iter().map(|(name, cpu)| ((*name).to_owned(), needing(*cpu, 0, 0))).collect();
    let mut by_hand = ByHand::new(&all);
    for name in ["k", "a", "m", "z"] {
        by_hand.make_ready(name);
    }
    assert_eq!(by_hand.starts(&ROOMY), [(0, None), (1, None), (2, None), (3, None)]);
}

#[test]
fn an_attempt_that_only_stores_what_it_made_gives_its_place_to_another() {
    let all: Vec<(String, Spec)> = ["a", "b", "c"].map(|name| (name.to_owned(), needing(1000, 0, 0))).into();
    let mut by_hand = ByHand::new(&all);
    for name in ["a", "b", "c"] {
        by_hand.make_ready(name);
    }
    let writer = || WriterId::from_random(1);
    for (n, name) in ["a", "b", "c"].into_iter().enumerate() {
        let step = by_hand.plan.index(&id(name)).expect("a step");
        assert_eq!(by_hand.starts(&ONE_JOB), if n < 2 { vec![(step.get(), None)] } else { vec![] }, "{name}");
        if n < 2 {
            by_hand.tell(Event::AttemptStarted { step: id(name), slot: ByHand::slot(name), writer: writer() });
            assert_eq!(by_hand.starts(&ONE_JOB), [], "{name} computes");
            by_hand.state.vacate(step);
        }
    }
    // Not more than there are jobs: the first has to be stored before the third may start.
    by_hand.end("a", Evidence::default());
    assert_eq!(by_hand.starts(&ONE_JOB), [(2, None)]);
}

#[test]
fn nothing_changed_means_nothing_runs() {
    let all = steps(&[("a", &[]), ("b", &["a"])]);
    let mut first = sim(&all, ROOMY, fine());
    first.finish();
    first.resume();
    assert_eq!(first.finish(), RunStatus::Succeeded);
    assert_eq!((first.started("a"), first.started("b")), (1, 1));
}

#[test]
fn equal_keys_within_a_run_are_one_attempt() {
    let twin = |needs: &[&str]| Spec { command: "same".to_owned(), ..spec(needs) };
    let all: Vec<(String, Spec)> = ["a", "b", "c"].iter().map(|name| ((*name).to_owned(), twin(&[]))).collect();
    let mut sim = sim(&all, ROOMY, fine());
    assert_eq!(sim.finish(), RunStatus::Succeeded);
    assert_eq!(sim.started("a") + sim.started("b") + sim.started("c"), 1);
}

#[test]
fn a_failed_step_blocks_only_what_needs_it() {
    let fates: Fates<'_> = Box::new(|step, key, _| match step.name.as_str() {
        "bad" => Fate::Fails,
        _ => Fate::Commits(key.short()),
    });
    let all = steps(&[("bad", &[]), ("b", &["bad"]), ("c", &["b"]), ("d", &[]), ("e", &["d"]), ("f", &["c", "e"])]);
    let mut sim = sim(&all, ROOMY, fates);
    assert_eq!(sim.finish(), RunStatus::Failed);
    assert_eq!(sim.done().into_iter().collect::<Vec<_>>(), ["d", "e"]);
    assert_eq!(sim.stage("bad"), Stage::Failed);
    for (step, by) in [("b", "bad"), ("c", "bad"), ("f", "bad")] {
        let index = sim.plan.index(&id(step)).expect("a step");
        assert_eq!(*sim.state.state(index), StepState::Blocked { by: sim.plan.index(&id(by)).expect("a step") });
    }
    assert_eq!(sim.started("bad"), 2, "the same failure twice at the same progress is deterministic");
}

#[test]
fn a_chain_of_any_length_is_blocked_in_one_decision() {
    let mut all = vec![("s0".to_owned(), spec(&[]))];
    all.extend((1..5000).map(|i| (format!("s{i}"), spec(&[&format!("s{}", i - 1)]))));
    let mut sim = sim(&all, ROOMY, Box::new(|_, _, _| Fate::Fails));
    go(&mut sim, |sim| sim.stage("s0") == Stage::Failed || sim.state.spent(StepIndex::new(0)).is_some());
    assert_eq!(sim.finish(), RunStatus::Failed);
    assert_eq!(sim.state.count(Stage::Blocked), 4999);
}

#[test]
fn a_killed_step_goes_on_at_once_the_first_time_and_after_a_wait_the_second() {
    let fates: Fates<'_> = Box::new(|_, key, epoch| match epoch {
        1..=4 => Fate::Killed,
        _ => Fate::Commits(key.short()),
    });
    let mut sim = sim(&steps(&[("a", &[])]), ROOMY, fates);
    assert_eq!(sim.finish(), RunStatus::Succeeded);
    let delays: Vec<u64> = sim
        .journal
        .iter()
        .filter_map(|stamped| match &stamped.event {
            Event::StepHealing { next, .. } => Some(next.delay.as_millis()),
            _ => None,
        })
        .collect();
    assert_eq!((delays.len(), delays[0]), (4, 0), "{delays:?}");
    assert!(delays[1] <= 200 && delays[2] <= 400 && delays[3] <= 800, "{delays:?}");
    assert!(delays[1..].iter().any(|delay| *delay > 0), "full jitter, but not none: {delays:?}");
    assert!(sim.now >= delays.iter().sum(), "every wait was kept");
}

#[test]
fn out_of_memory_is_healed_with_more_memory_and_admitted_with_it() {
    let memory =
        Resources { memory: Some(ByteSize(2 << 30)), memory_max: Some(ByteSize(8 << 30)), ..Default::default() };
    let all =
        vec![("a".to_owned(), Spec { resources: memory, ..Spec::default() }), ("b".to_owned(), needing(100, 2, 0))];
    let capacity = Capacity { memory_bytes: 4 << 30, ..ROOMY };
    let mut by_hand = ByHand::new(&all);
    by_hand.make_ready("a");
    by_hand.make_ready("b");
    assert_eq!(by_hand.starts(&capacity), [(0, None), (1, None)], "2 + 2 GiB fit");
    for name in ["a", "b"] {
        let writer = WriterId::from_random(1);
        by_hand.tell(Event::AttemptStarted { step: id(name), slot: ByHand::slot(name), writer });
    }
    let ended = Ending::Signaled { signal: 9, by_us: None };
    let evidence = Evidence { out_of_memory: Some(OutOfMemory::default()), ..Evidence::of(ended, Phase::Run) };
    assert_eq!(by_hand.end("a", evidence), Class::OutOfMemory);
    let commands = by_hand.decide(&capacity);
    let [Command::Append(healing @ Event::StepHealing { next, .. })] = commands.as_slice() else {
        panic!("not healed: {commands:?}")
    };
    assert_eq!(next.memory, Some(ByteSize(3 << 30)));
    by_hand.tell(healing.clone());
    assert_eq!(by_hand.starts(&capacity), [], "3 + 2 GiB do not fit");
    by_hand.end("b", Evidence { contract: Some("broken".to_owned()), ..Evidence::default() });
    assert_eq!(by_hand.starts(&capacity), [(0, Some(ByteSize(3 << 30)))]);
}

#[test]
fn a_step_larger_than_the_machine_runs_alone_and_not_never() {
    let all = vec![
        ("small".to_owned(), needing(1000, 1, 0)),
        ("cpu".to_owned(), needing(64_000, 1, 0)),
        ("memory".to_owned(), needing(1000, 100, 0)),
        ("other".to_owned(), needing(1000, 1, 0)),
    ];
    let capacity = Capacity { jobs: 4, cpu_millis: 4000, memory_bytes: 8 << 30, gpu: 0 };
    // The driver in virtual time checks that what is over the capacity is alone.
    assert_eq!(sim(&all, capacity, fine()).finish(), RunStatus::Succeeded);
}

#[test]
fn a_step_that_needs_accelerators_that_are_not_there_is_refused_with_a_reason() {
    let all = vec![("a".to_owned(), needing(1000, 0, 2)), ("b".to_owned(), needing(1000, 0, 1))];
    let mut sim = sim(&all, Capacity { gpu: 1, ..ROOMY }, fine());
    assert_eq!(sim.finish(), RunStatus::Failed);
    assert_eq!((sim.stage("a"), sim.stage("b")), (Stage::Failed, Stage::Done));
    let StepState::Failed { class, why } = sim.state.state(StepIndex::new(0)) else { unreachable!() };
    assert_eq!((*class, &**why), (Class::Capacity, "needs 2 accelerators, this machine has 1"));
}

#[test]
fn steps_that_wait_for_a_scarce_thing_do_not_hold_up_the_others() {
    let mut all: Vec<(String, Spec)> = (0..100).map(|i| (format!("gpu{i}"), needing(100, 0, 1))).collect();
    all.extend((0..100).map(|i| (format!("cpu{i}"), needing(100, 0, 0))));
    let mut sim = sim(&all, Capacity { jobs: 8, gpu: 1, ..ROOMY }, fine());
    go(&mut sim, |sim| sim.state.count(Stage::Ready) > 150);
    assert_eq!(sim.finish(), RunStatus::Succeeded);
    assert_eq!(sim.most_at_once, 8);
}

#[test]
fn a_stop_interrupts_what_runs_starts_nothing_and_is_resumed() {
    let mut sim = sim(&steps(&[("a", &[]), ("b", &["a"])]), ROOMY, fine());
    go(&mut sim, |sim| sim.state.running().len() == 1);
    sim.stop();
    assert_eq!(sim.finish(), RunStatus::Stopped);
    assert_eq!((sim.stage("a"), sim.stage("b")), (Stage::Ended, Stage::Waiting));
    sim.resume();
    assert_eq!(sim.finish(), RunStatus::Succeeded);
    assert_eq!((sim.started("a"), sim.started("b")), (2, 1));
}

#[test]
fn the_second_word_to_stop_is_passed_on_too() {
    let mut sim = sim(&steps(&[("a", &[])]), ROOMY, fine());
    go(&mut sim, |sim| sim.state.running().len() == 1);
    let now = Span::from_millis(sim.now);
    for how in [StopHow::Checkpoint, StopHow::Now] {
        let stamped = Stamped { at_ms: 0, mono: now, event: Event::StopRequested { how } };
        sim.state.apply(&stamped).expect("legal");
        let commands = decide(&mut sim.state, &sim.plan, now, &ROOMY);
        assert!(matches!(commands.as_slice(), [Command::Interrupt { how: told, .. }] if *told == how), "{commands:?}");
    }
}

#[test]
fn a_dead_engines_attempts_are_ended_before_anything_else_and_the_run_goes_on() {
    let mut sim = sim(&steps(&[("a", &[]), ("b", &["a"])]), ROOMY, fine());
    go(&mut sim, |sim| sim.state.running().len() == 1);
    sim.crash();
    assert_eq!(sim.finish(), RunStatus::Succeeded);
    assert_eq!((sim.started("a"), sim.started("b")), (2, 1));
}

#[test]
fn a_key_that_another_run_holds_is_watched_and_then_reused() {
    let fates: Fates<'_> = Box::new(|_, _, _| Fate::Waits(String::new()));
    let mut sim = sim(&steps(&[("a", &[])]), ROOMY, fates);
    go(&mut sim, |sim| sim.stage("a") == Stage::Held);
    assert_eq!(sim.finish(), RunStatus::Succeeded);
    assert_eq!(sim.started("a"), 0);
}

/// `first` and `second` read what `source` made; `second` finds it damaged on its first attempt.
fn damaged_once(remade: &'static str) -> (RunStatus, [u32; 4]) {
    let tries = Cell::new(0);
    let fates: Fates<'_> = Box::new(|step, key, epoch| match step.name.as_str() {
        "source" if epoch > 1 => Fate::Commits(remade.to_owned()),
        "source" => Fate::Commits("bytes".to_owned()),
        "second" if tries.replace(tries.get() + 1) == 0 => Fate::FindsDamage,
        _ => Fate::Commits(key.short()),
    });
    let all = steps(&[("source", &[]), ("first", &["source"]), ("second", &["first", "source"]), ("last", &["first"])]);
    let mut sim = sim(&all, ONE_JOB, fates);
    // Inputs are in the order of their names: `in-first` is the first input, so damage is found in `first`.
    let status = sim.finish();
    (status, ["source", "first", "second", "last"].map(|step| sim.started(step)))
}

#[test]
fn a_damaged_input_is_made_anew_and_the_same_bytes_leave_the_rest_untouched() {
    let (status, [source, first, second, last]) = damaged_once("bytes");
    assert_eq!(status, RunStatus::Succeeded);
    assert_eq!((source, first, second, last), (1, 2, 2, 1));
}

#[test]
fn a_producer_made_anew_with_other_bytes_is_followed_to_the_end_of_the_graph() {
    let tries = Cell::new(0);
    let fates: Fates<'_> = Box::new(|step, key, epoch| match step.name.as_str() {
        "source" => Fate::Commits(format!("of epoch {epoch}")),
        "last" if tries.replace(tries.get() + 1) == 0 => Fate::FindsDamage,
        // What it makes does not depend on what it reads: the change ends here.
        "middle" => Fate::Commits("always this".to_owned()),
        _ => Fate::Commits(key.short()),
    });
    let all = steps(&[
        ("source", &[]),
        ("reader", &["source"]),
        ("middle", &["source"]),
        ("after-middle", &["middle"]),
        ("after-reader", &["reader"]),
        ("last", &["source"]),
    ]);
    let mut sim = sim(&all, ONE_JOB, fates);
    assert_eq!(sim.finish(), RunStatus::Succeeded);
    assert_eq!(sim.started("source"), 2);
    assert_eq!((sim.started("reader"), sim.started("after-reader")), (2, 2));
    assert_eq!((sim.started("middle"), sim.started("after-middle")), (2, 1), "early cutoff");
}

#[test]
fn what_is_lost_and_cannot_be_made_again_leaves_what_was_made_of_it() {
    let tries = Cell::new(0);
    let fates: Fates<'_> = Box::new(|step, key, epoch| match step.name.as_str() {
        "a" if epoch > 1 => Fate::Fails,
        "second" if tries.replace(tries.get() + 1) == 0 => Fate::FindsDamage,
        _ => Fate::Commits(key.short()),
    });
    let mut sim = sim(&steps(&[("a", &[]), ("first", &["a"]), ("second", &["a", "first"])]), ONE_JOB, fates);
    assert_eq!(sim.finish(), RunStatus::Failed);
    let stages = ["a", "first", "second"].map(|step| sim.stage(step));
    assert_eq!(stages, [Stage::Failed, Stage::Done, Stage::Blocked]);
}

#[test]
fn damage_that_two_steps_find_is_made_good_once() {
    let mut by_hand = ByHand::new(&steps(&[("source", &[]), ("b", &["source"]), ("c", &["source"])]));
    let made = |by_hand: &mut ByHand, epoch| {
        let slot = SlotId { epoch: Epoch(epoch), ..ByHand::slot("source") };
        let writer = WriterId::from_random(1);
        by_hand.tell(Event::AttemptStarted { step: id("source"), slot, writer });
        let artifacts = Default::default();
        by_hand.tell(Event::StepCommitted { step: id("source"), slot, artifacts, compute: Span::default() });
    };
    by_hand.make_ready("source");
    made(&mut by_hand, 1);
    for name in ["b", "c"] {
        by_hand.make_ready(name);
        let writer = WriterId::from_random(1);
        by_hand.tell(Event::AttemptStarted { step: id(name), slot: ByHand::slot(name), writer });
    }
    let damaged = || InputDamaged { input: "in-source".to_owned(), item: None, detail: String::new() };
    let evidence = || Evidence { input_damaged: Some(damaged()), ..Evidence::default() };
    by_hand.end("b", evidence());
    let commands = by_hand.decide(&ROOMY);
    assert!(matches!(commands.as_slice(), [Command::Reproduce { slot, .. }] if *slot == ByHand::slot("source")));
    by_hand.tell(Event::InputDamaged { step: id("b"), producer: id("source"), slot: ByHand::slot("source") });
    by_hand.tell(Event::StepMissed { step: id("source") });
    made(&mut by_hand, 2);
    // This attempt began before the source was made anew: the new commit is not the one it found damaged.
    by_hand.end("c", evidence());
    let commands = by_hand.decide(&ROOMY);
    let healed = |command: &Command| matches!(command, Command::Append(Event::StepHealing { .. }));
    assert!(commands.iter().any(healed), "{commands:?}");
    assert!(!commands.iter().any(|command| matches!(command, Command::Reproduce { .. })), "{commands:?}");
}

#[test]
fn a_run_that_stops_does_not_end_while_an_attempt_is_being_started() {
    let mut by_hand = ByHand::new(&steps(&[("a", &[])]));
    by_hand.make_ready("a");
    assert_eq!(by_hand.starts(&ROOMY), [(0, None)]);
    by_hand.tell(Event::StopRequested { how: StopHow::Checkpoint });
    assert_eq!(by_hand.decide(&ROOMY), [], "the attempt may have its slot already");
    by_hand.state.release(StepIndex::new(0));
    assert_eq!(by_hand.decide(&ROOMY), [Command::EndRun { status: RunStatus::Stopped }]);
    assert_eq!(by_hand.decide(&ROOMY), [], "and ends once");
}

#[test]
fn damaged_data_without_a_producer_is_given_up_with_its_name() {
    let mut graph = Graph::clone(&graph(&steps(&[("a", &[])])));
    let (input, data) = (PortName::new("raw").expect("a name"), DataName::new("digits").expect("a name"));
    let artifact = Artifact { kind: ArtifactKind::File, digest: Digest::of(b"d"), size_bytes: 1 };
    graph.data.insert(
        data.clone(),
        DataPin { artifact, base_name: "d.csv".to_owned(), pinned: true, mounted: None, referenced: None },
    );
    graph.pipeline.steps[0].inputs.insert(input, Source::Data(data));
    let mut sim = Sim::new(Arc::new(graph), ROOMY, 7, Box::new(|_, _, _| Fate::FindsDamage));
    assert_eq!(sim.finish(), RunStatus::Failed);
    let StepState::Failed { class, why } = sim.state.state(StepIndex::new(0)) else { unreachable!() };
    assert_eq!(*class, Class::InputDamaged);
    assert!(why.contains("`raw`"), "{why}");
}

#[test]
fn a_plan_holds_the_targets_and_what_they_need_in_the_order_of_the_file() {
    let graph = graph(&steps(&[("d", &[]), ("c", &["a"]), ("b", &[]), ("a", &[])]));
    let names = |targets: &[&str]| -> Vec<String> {
        let targets: Vec<StepName> = targets.iter().map(|t| name(t)).collect();
        let plan = Plan::build(Arc::clone(&graph), &targets).expect("a plan");
        plan.indices().map(|step| plan.id(step).to_string()).collect()
    };
    assert_eq!(names(&[]), ["d", "c", "b", "a"]);
    assert_eq!(names(&["c"]), ["c", "a"]);
    assert_eq!(names(&["c", "b", "c"]), ["c", "b", "a"]);
}

#[test]
fn a_graph_that_cannot_run_is_refused_with_what_is_wrong() {
    let build = |all: &[(&str, &[&str])], targets: &[&str]| {
        let targets: Vec<StepName> = targets.iter().map(|t| name(t)).collect();
        Plan::build(graph(&steps(all)), &targets).expect_err("refused")
    };
    assert_eq!(build(&[("a", &[])], &["b"]), PlanError::UnknownTarget { target: name("b") });
    assert_eq!(build(&[("a", &["b"])], &[]), PlanError::UnknownStep { step: name("a"), need: name("b") });
    let circle = build(&[("x", &[]), ("a", &["x", "c"]), ("b", &["a"]), ("c", &["b"])], &[]);
    assert_eq!(circle, PlanError::Cycle { path: ["a", "c", "b", "a"].map(name).to_vec() });
    assert_eq!(circle.to_string(), "the steps need each other in a circle: a → c → b → a");
    assert_eq!(build(&[("a", &["a"])], &[]), PlanError::Cycle { path: vec![name("a"), name("a")] });
}

#[test]
fn an_input_is_bound_only_to_what_stands() {
    let plan = Plan::build(graph(&steps(&[("a", &[]), ("b", &["a"])])), &[]).expect("a plan");
    let state = RunState::new(Arc::clone(plan.topology()));
    let error = plan.inputs(&state, StepIndex::new(1)).expect_err("a is not done");
    assert!(matches!(error, BindError::NotDone { .. }), "{error}");
}
