//! The fold as a whole: scenarios by name.

mod common;

use std::sync::Arc;

use common::*;
use prunella_journal::*;
use prunella_model::*;

struct Told {
    run: RunState,
    events: Vec<Stamped>,
    now: u64,
}

impl Told {
    fn new(steps: &[(&str, &[u32])]) -> Self {
        let mut told = Self { run: RunState::new(topology(steps)), events: Vec::new(), now: 0 };
        told.tell(run_started());
        told.tell(driver_started(1));
        told
    }

    fn tell(&mut self, event: Event) -> &mut Self {
        self.now += 10;
        let stamped = at(self.now, event);
        self.run.apply(&stamped).unwrap_or_else(|e| panic!("{e}"));
        self.events.push(stamped);
        self
    }

    fn kinds(&mut self, step: &str, slot: SlotId, kinds: &[&str]) -> &mut Self {
        for kind in kinds {
            self.tell(sample(kind, step, slot));
        }
        self
    }

    /// A whole attempt with this output.
    fn make(&mut self, step: &str, slot: SlotId, content: &str) -> &mut Self {
        self.kinds(step, slot, &["step_keyed", "step_missed", "attempt_started"]).commit(step, slot, content)
    }

    fn commit(&mut self, step: &str, slot: SlotId, content: &str) -> &mut Self {
        let compute = Span::from_secs(1);
        self.tell(Event::StepCommitted { step: id(step), slot, artifacts: artifacts(content), compute })
    }

    fn damaged(&mut self, consumer: &str, producer: &str, slot: SlotId) -> &mut Self {
        self.tell(Event::InputDamaged { step: id(consumer), producer: id(producer), slot })
    }

    fn index(&self, step: &str) -> StepIndex {
        self.run.topology().index(&id(step)).expect("a step of the run")
    }

    fn stage(&self, step: &str) -> Stage {
        self.run.state(self.index(step)).stage()
    }

    fn todo(&self, step: &str) -> Option<Todo> {
        self.run.todo(self.index(step))
    }
}

#[test]
fn a_step_can_be_bound_once_all_that_it_needs_is_done() {
    let mut told = Told::new(&[("a", &[]), ("b", &[]), ("c", &[0, 1, 0])]);
    assert_eq!(told.todo("a"), Some(Todo::Bind));
    told.make("a", slot(1, 1), "a");
    assert_eq!((told.stage("c"), told.todo("c")), (Stage::Waiting, None));
    told.make("b", slot(2, 1), "b");
    assert_eq!((told.stage("c"), told.todo("c")), (Stage::Bindable, Some(Todo::Bind)));
}

#[test]
fn of_two_steps_with_one_key_the_second_waits_and_is_then_guarded() {
    let mut told = Told::new(&[("a", &[]), ("b", &[]), ("c", &[])]);
    for step in ["a", "b", "c"] {
        told.kinds(step, slot(1, 1), &["step_keyed"]);
    }
    assert_eq!((told.stage("a"), told.stage("b"), told.stage("c")), (Stage::Keyed, Stage::Queued, Stage::Queued));
    told.kinds("a", slot(1, 1), &["step_missed", "attempt_started"]).commit("a", slot(1, 1), "same");
    assert_eq!((told.todo("b"), told.todo("c")), (Some(Todo::Guard), Some(Todo::Guard)));
    told.kinds("b", slot(1, 1), &["step_reused"]);
    assert_eq!(told.stage("b"), Stage::Done);
}

#[test]
fn when_the_first_of_two_with_one_key_is_given_up_the_second_tries() {
    let mut told = Told::new(&[("a", &[]), ("b", &[]), ("c", &[])]);
    for step in ["a", "b", "c"] {
        told.kinds(step, slot(1, 1), &["step_keyed"]);
    }
    told.kinds("a", slot(1, 1), &["step_missed", "attempt_started", "attempt_ended", "step_failed"]);
    assert_eq!((told.stage("b"), told.stage("c")), (Stage::Keyed, Stage::Queued), "one after the other");
    told.kinds("b", slot(1, 2), &["step_missed"]);
    assert!(matches!(told.todo("b"), Some(Todo::Start(_))));
}

#[test]
fn two_guards_of_one_key_that_both_miss_make_one_attempt() {
    let mut told = Told::new(&[("a", &[]), ("b", &[]), ("c", &[])]);
    for step in ["a", "b", "c"] {
        told.kinds(step, slot(1, 1), &["step_keyed"]);
    }
    told.kinds("a", slot(1, 1), &["step_missed", "attempt_started"]).commit("a", slot(1, 1), "same");
    // Meanwhile the commit was found damaged, so both guards miss.
    told.kinds("b", slot(1, 2), &["step_missed"]).kinds("c", slot(1, 2), &["step_missed"]);
    assert_eq!((told.stage("b"), told.stage("c")), (Stage::Ready, Stage::Queued));
}

#[test]
fn a_backoff_is_over_by_the_drivers_clock_and_begins_anew_with_the_next_driver() {
    let mut told = Told::new(&[("a", &[])]);
    told.kinds("a", slot(1, 1), &["step_keyed", "step_missed", "attempt_started", "attempt_ended", "step_healing"]);
    let until = Span::from_millis(told.now + 200);
    assert_eq!((told.todo("a"), told.run.next_timer()), (Some(Todo::Wait(until)), Some(until)));
    told.run.advance(Span::from_millis(told.now + 199));
    assert_eq!(told.todo("a"), Some(Todo::Wait(until)));
    let mut later = told.run.clone();
    later.advance(until);
    // The memory has grown, so the step is in the lane for that.
    assert_eq!((later.todo(told.index("a")), later.next_timer()), (Some(Todo::Start(1)), None));
    told.now = 0;
    told.tell(driver_started(2));
    assert_eq!(told.todo("a"), Some(Todo::Wait(Span::from_millis(210))), "the new clock has begun at 0");
}

#[test]
fn a_producer_made_anew_with_the_same_bytes_leaves_its_consumers_untouched() {
    let mut told = Told::new(&[("a", &[]), ("b", &[0]), ("c", &[0]), ("d", &[2])]);
    told.make("a", slot(1, 1), "bytes").make("b", slot(2, 1), "b");
    told.kinds("c", slot(3, 1), &["step_keyed", "step_missed", "attempt_started", "attempt_ended"]);
    told.damaged("c", "a", slot(1, 1));
    assert_eq!((told.stage("a"), told.todo("a")), (Stage::Keyed, Some(Todo::Guard)));
    assert_eq!((told.stage("b"), told.stage("c"), told.todo("c")), (Stage::Done, Stage::Ready, None), "c waits for a");
    told.kinds("a", slot(1, 2), &["step_missed", "attempt_started"]).commit("a", slot(1, 2), "bytes");
    assert_eq!((told.stage("b"), told.todo("b")), (Stage::Done, None));
    assert_eq!(told.todo("c"), Some(Todo::Start(0)), "with the key that it had");
}

#[test]
fn a_producer_made_anew_with_other_bytes_has_every_consumer_planned_anew() {
    let mut told = Told::new(&[("a", &[]), ("b", &[0]), ("c", &[0]), ("d", &[1]), ("e", &[3])]);
    told.make("a", slot(1, 1), "old").make("b", slot(2, 1), "b-old");
    told.kinds("d", slot(4, 1), &["step_keyed", "step_missed", "attempt_started"]);
    told.kinds("c", slot(3, 1), &["step_keyed", "step_missed", "attempt_started", "attempt_ended"]);
    told.damaged("c", "a", slot(1, 1));
    told.kinds("a", slot(1, 2), &["step_missed", "attempt_started"]).commit("a", slot(1, 2), "new");
    assert_eq!((told.todo("b"), told.todo("c")), (Some(Todo::Rebind), Some(Todo::Rebind)));
    assert_eq!(told.run.open(), 4, "b is done with what is no longer its input");
    told.kinds("b", slot(2, 1), &["step_rebound"]).kinds("c", slot(3, 1), &["step_rebound"]);
    assert_eq!((told.stage("b"), told.stage("c")), (Stage::Bindable, Stage::Bindable));
    // d runs on what b was; its commit stands for its own key, but nothing goes on from it.
    told.commit("d", slot(4, 1), "d");
    told.make("b", slot(5, 1), "b-new");
    assert_eq!((told.stage("d"), told.todo("d"), told.stage("e")), (Stage::Done, Some(Todo::Rebind), Stage::Waiting));
    told.kinds("d", slot(4, 1), &["step_rebound"]).make("d", slot(6, 1), "d");
    assert_eq!(told.stage("e"), Stage::Bindable);
}

#[test]
fn a_step_given_up_with_an_old_input_counts_once_it_is_made_with_the_new_one() {
    let mut told = Told::new(&[("a", &[]), ("b", &[0]), ("c", &[0]), ("d", &[1])]);
    told.make("a", slot(1, 1), "old");
    for (step, n) in [("b", 2), ("c", 3)] {
        told.kinds(step, slot(n, 1), &["step_keyed", "step_missed", "attempt_started", "attempt_ended"]);
    }
    told.damaged("c", "a", slot(1, 1));
    told.kinds("a", slot(1, 2), &["step_missed", "attempt_started"]).commit("a", slot(1, 2), "new");
    assert!(told.run.is_stale(told.index("b")));
    told.kinds("b", slot(2, 1), &["step_failed"]).kinds("c", slot(3, 1), &["step_rebound"]);
    told.tell(Event::StepBlocked { step: id("d"), by: id("b") });
    told.make("c", slot(5, 1), "c").tell(Event::RunEnded { status: RunStatus::Failed }).tell(driver_started(2));
    told.make("b", slot(4, 1), "b");
    assert_eq!((told.todo("b"), told.stage("d")), (None, Stage::Bindable));
}

#[test]
fn damage_found_twice_is_made_good_once() {
    let mut told = Told::new(&[("a", &[]), ("b", &[0]), ("c", &[0])]);
    told.make("a", slot(1, 1), "bytes");
    for (step, n) in [("b", 2), ("c", 3)] {
        told.kinds(step, slot(n, 1), &["step_keyed", "step_missed", "attempt_started", "attempt_ended"]);
    }
    told.damaged("b", "a", slot(1, 1));
    told.kinds("a", slot(1, 2), &["step_missed", "attempt_started"]).commit("a", slot(1, 2), "bytes");
    told.damaged("c", "a", slot(1, 1));
    assert_eq!(told.stage("a"), Stage::Done, "the newer commit stands");
    assert!(matches!(told.todo("c"), Some(Todo::Start(_))));
}

#[test]
fn a_step_that_is_given_up_blocks_what_needs_it_and_nothing_else() {
    let mut told = Told::new(&[("a", &[]), ("b", &[0]), ("c", &[1]), ("d", &[])]);
    told.kinds("a", slot(1, 1), &["step_keyed", "step_failed"]);
    assert_eq!((told.todo("b"), told.todo("c"), told.todo("d")), (Some(Todo::Block), None, Some(Todo::Bind)));
    let blocked = |step: &str, by: &str| Event::StepBlocked { step: id(step), by: id(by) };
    assert!(told.run.check(&blocked("c", "a")).is_err(), "b is not blocked yet");
    assert!(told.run.check(&blocked("d", "a")).is_err(), "d does not need it");
    told.tell(blocked("b", "a"));
    assert!(told.run.check(&blocked("c", "b")).is_err(), "b was not given up, a was");
    assert_eq!(told.todo("c"), Some(Todo::Block));
    told.tell(Event::StepBlocked { step: id("c"), by: id("a") });
    assert_eq!(told.run.open(), 1);
}

#[test]
fn a_driver_that_takes_up_an_ended_run_tries_again_what_was_given_up() {
    let mut told = Told::new(&[("a", &[]), ("b", &[0])]);
    told.kinds("a", slot(1, 1), &["step_keyed", "step_failed"]);
    told.tell(Event::StepBlocked { step: id("b"), by: id("a") });
    let broke_off = Told { run: told.run.clone(), events: Vec::new(), now: 0 };
    told.tell(Event::RunEnded { status: RunStatus::Failed });
    told.tell(driver_started(2));
    assert_eq!((told.stage("a"), told.stage("b"), told.run.open()), (Stage::Bindable, Stage::Waiting, 2));
    let mut broke_off = broke_off;
    broke_off.tell(driver_started(2));
    assert_eq!(broke_off.stage("a"), Stage::Failed, "a run that broke off goes on where it was");
    let reset = Event::DriverStarted {
        driver: 3,
        engine: String::new(),
        continues: Position::START,
        budgets_reset: true,
        retried: None,
        damaged: None,
    };
    broke_off.tell(reset);
    assert_eq!((broke_off.stage("a"), broke_off.stage("b")), (Stage::Bindable, Stage::Waiting));
}

fn retrying(driver: u64, steps: &[&str]) -> Event {
    let retried = Some(steps.iter().map(|step| id(step)).collect());
    Event::DriverStarted {
        driver,
        engine: String::new(),
        continues: Position::START,
        budgets_reset: false,
        retried,
        damaged: None,
    }
}

#[test]
fn a_driver_that_says_what_it_tries_again_leaves_the_rest_given_up() {
    let mut told = Told::new(&[("a", &[]), ("b", &[]), ("c", &[0]), ("d", &[0, 1])]);
    for (step, n) in [("a", 1), ("b", 2)] {
        told.kinds(step, slot(n, 1), &["step_keyed", "step_missed", "attempt_started", "attempt_ended", "step_failed"]);
    }
    told.tell(Event::StepBlocked { step: id("c"), by: id("a") });
    told.tell(Event::StepBlocked { step: id("d"), by: id("a") });
    let broke_off = Told { run: told.run.clone(), events: Vec::new(), now: 0 };
    told.tell(Event::RunEnded { status: RunStatus::Failed });
    for mut told in [told, broke_off] {
        told.tell(retrying(2, &["a"]));
        let stages = ["a", "b", "c", "d"].map(|step| told.stage(step));
        assert_eq!(stages, [Stage::Bindable, Stage::Failed, Stage::Waiting, Stage::Waiting]);
        assert_eq!(told.todo("d"), Some(Todo::Block), "b is given up as before");
        assert_eq!(told.run.spent(told.index("a")), None, "its budgets are full");
        assert!(told.run.spent(told.index("b")).is_some(), "those of the other are not");
    }
}

#[test]
fn a_driver_that_tries_nothing_again_leaves_everything_given_up() {
    let mut told = Told::new(&[("a", &[])]);
    told.kinds("a", slot(1, 1), &["step_keyed", "step_failed"]).tell(Event::RunEnded { status: RunStatus::Failed });
    told.tell(retrying(2, &[]));
    assert_eq!((told.stage("a"), told.run.open()), (Stage::Failed, 0));
}

#[test]
fn a_damaged_commit_of_an_ended_run_is_made_anew_and_its_readers_follow_the_bytes() {
    for (again, stale) in [("a", false), ("other", true)] {
        let mut told = Told::new(&[("a", &[]), ("b", &[0])]);
        for (step, n) in [("a", 1), ("b", 2)] {
            told.kinds(step, slot(n, 1), &["step_keyed", "step_missed", "attempt_started"]);
            told.commit(step, slot(n, 1), step);
        }
        told.tell(Event::RunEnded { status: RunStatus::Succeeded }).tell(retrying(2, &[]));
        let damaged = |slot| Event::CommitDamaged { step: id("a"), slot };
        assert!(told.run.check(&damaged(slot(1, 2))).is_err(), "another slot stands for it");
        told.tell(damaged(slot(1, 1)));
        assert_eq!((told.stage("a"), told.todo("a")), (Stage::Keyed, Some(Todo::Guard)));
        assert_eq!((told.stage("b"), told.todo("b"), told.run.open()), (Stage::Done, None, 1), "it stays as it is");
        told.kinds("a", slot(1, 2), &["step_missed", "attempt_started"]).commit("a", slot(1, 2), again);
        assert_eq!(told.todo("b"), stale.then_some(Todo::Rebind));
        assert_eq!(told.run.all_settled(), !stale);
    }
}

#[test]
fn attempts_of_a_dead_driver_are_running_until_their_slots_are_filled() {
    let mut told = Told::new(&[("a", &[]), ("b", &[])]);
    for (step, n) in [("a", 1), ("b", 2)] {
        told.kinds(step, slot(n, 1), &["step_keyed", "step_missed", "attempt_started"]);
    }
    told.tell(driver_started(2));
    assert_eq!(told.run.running().iter().collect::<Vec<_>>(), [told.index("a"), told.index("b")]);
    // One had committed; the other is closed by recovery.
    told.commit("a", slot(1, 1), "a").kinds("b", slot(2, 1), &["attempt_ended"]);
    assert_eq!((told.stage("a"), told.todo("b")), (Stage::Done, Some(Todo::Heal)));
    assert_eq!(told.run.spent(told.index("b")).map(|spent| spent.count(Class::Killed)), Some(1));
}

#[test]
fn a_wait_for_another_run_is_looked_at_anew_by_a_new_driver() {
    let mut told = Told::new(&[("a", &[])]);
    told.kinds("a", slot(1, 1), &["step_keyed", "step_waiting"]);
    assert_eq!(told.todo("a"), Some(Todo::Watch));
    told.run.issue(told.index("a"));
    assert_eq!(told.todo("a"), None);
    told.tell(driver_started(2));
    assert_eq!(told.todo("a"), Some(Todo::Guard));
}

#[test]
fn a_command_under_way_is_not_on_any_list_until_it_is_answered_or_given_back() {
    let mut told = Told::new(&[("a", &[])]);
    let a = told.index("a");
    told.kinds("a", slot(1, 1), &["step_keyed", "step_missed"]);
    told.run.issue(a);
    assert_eq!(told.todo("a"), Some(Todo::Starting));
    told.run.release(a);
    assert_eq!(told.todo("a"), Some(Todo::Start(0)));
    told.run.issue(a);
    told.kinds("a", slot(1, 1), &["attempt_started"]);
    assert_eq!((told.todo("a"), told.run.running().len()), (None, 1));
}

#[test]
fn a_condition_is_answered_once_all_that_it_reads_is_done() {
    let mut told = Told::new(&[("a", &[]), ("if-b", &[0])]);
    assert_eq!((told.stage("if-b"), told.todo("if-b")), (Stage::Waiting, None));
    told.kinds("a", slot(1, 1), &["step_keyed", "step_reused"]);
    assert_eq!((told.stage("if-b"), told.todo("if-b")), (Stage::Undecided, Some(Todo::Decide)));
    told.tell(Event::StepDecided { step: id("if-b"), run: true, saw: Vec::new() });
    assert_eq!((told.stage("if-b"), told.todo("if-b")), (Stage::Bindable, Some(Todo::Bind)));
}

#[test]
fn what_is_skipped_is_settled_and_what_reads_it_is_skipped_too() {
    let mut told = Told::new(&[("a", &[]), ("if-b", &[0]), ("c", &[1])]);
    told.kinds("a", slot(1, 1), &["step_keyed", "step_reused"]);
    told.kinds("if-b", slot(2, 1), &["step_decided"]);
    assert_eq!((told.stage("if-b"), told.todo("c")), (Stage::Skipped, Some(Todo::Skip)));
    assert!(told.run.check(&Event::StepSkipped { step: id("c"), by: id("a") }).is_err(), "`a` was not skipped");
    told.tell(Event::StepSkipped { step: id("c"), by: id("if-b") });
    assert_eq!((told.stage("c"), told.run.open()), (Stage::Skipped, 0));
    assert!(told.run.all_settled(), "a run that skipped steps succeeds");
    told.tell(Event::RunEnded { status: RunStatus::Succeeded });
}

#[test]
fn what_only_comes_after_a_skipped_step_runs() {
    let nodes = vec![
        Node { id: id("a"), needs: vec![], reads: vec![], conditional: true, handler: None, lane: 0 },
        Node { id: id("b"), needs: vec![StepIndex::new(0)], reads: vec![], conditional: false, handler: None, lane: 0 },
    ];
    let shape = Arc::new(Topology::new(nodes).expect("a topology"));
    let mut run = begun(&shape);
    run.apply(&at(1, sample("step_decided", "a", slot(1, 1)))).expect("legal");
    assert_eq!(run.todo(StepIndex::new(1)), Some(Todo::Bind));
}

#[test]
fn a_reproduced_output_with_another_value_has_its_conditions_answered_anew() {
    let mut told = Told::new(&[("a", &[]), ("if-b", &[0]), ("c", &[1]), ("d", &[0])]);
    told.kinds("a", slot(1, 1), &["step_keyed", "step_reused"]);
    told.tell(Event::StepDecided { step: id("if-b"), run: true, saw: Vec::new() });
    told.kinds("if-b", slot(2, 1), &["step_keyed", "step_reused"]);
    told.kinds("c", slot(3, 1), &["step_keyed", "step_reused"]);
    told.kinds("d", slot(4, 1), &["step_keyed", "step_missed", "attempt_started", "attempt_ended"]);
    told.tell(Event::InputDamaged { step: id("d"), producer: id("a"), slot: slot(1, 1) });
    told.kinds("a", slot(1, 2), &["step_missed", "attempt_started", "step_committed"]);
    assert_eq!(told.todo("if-b"), Some(Todo::Rebind));
    told.kinds("if-b", slot(2, 1), &["step_rebound"]);
    assert_eq!(told.todo("if-b"), Some(Todo::Decide));
    assert_eq!(told.todo("c"), None, "it stands as long as nobody knows better");
    told.kinds("if-b", slot(2, 1), &["step_decided"]);
    assert_eq!(told.todo("c"), Some(Todo::Rebind), "what it was made from is not to be there");
    told.kinds("c", slot(3, 1), &["step_rebound"]);
    assert_eq!(told.todo("c"), Some(Todo::Skip));
}

#[test]
fn of_two_steps_of_one_work_that_come_one_after_the_other_neither_waits_for_ever() {
    // `b` comes after `a` and does the same; `c` finds that what they made is lost while `b` is about to begin.
    let mut told = Told::new(&[("a", &[]), ("b", &[0]), ("c", &[0])]);
    told.make("a", slot(1, 1), "one");
    told.kinds("c", slot(3, 1), &["step_keyed", "step_missed", "attempt_started", "attempt_ended"]);
    told.kinds("b", slot(1, 2), &["step_keyed", "step_missed"]);
    told.damaged("c", "a", slot(1, 1));
    assert_eq!((told.stage("a"), told.todo("b")), (Stage::Queued, Some(Todo::Start(0))));
    told.kinds("b", slot(1, 2), &["attempt_started"]).commit("b", slot(1, 2), "one");
    assert_eq!(told.todo("a"), Some(Todo::Guard));
}

#[test]
fn what_belongs_to_the_end_waits_for_it_and_the_end_waits_for_that() {
    let mut told = Told::new(&[("a", &[]), ("on_exit", &[]), ("on_failure", &[])]);
    let end = |status| Event::RunEnded { status };
    assert_eq!((told.stage("on_exit"), told.run.open(), told.run.conclusion()), (Stage::Waiting, 1, None));
    told.kinds("a", slot(1, 1), &["step_keyed", "step_reused"]);
    assert_eq!(told.run.conclusion(), Some(RunStatus::Succeeded));
    assert!(told.run.check(&end(RunStatus::Succeeded)).is_err(), "what belongs to the end has not run");
    assert!(told.run.check(&Event::RunConcluded { status: RunStatus::Failed }).is_err());
    told.tell(Event::RunConcluded { status: RunStatus::Succeeded });
    assert_eq!((told.todo("on_exit"), told.todo("on_failure")), (Some(Todo::Bind), None));
    assert!(told.run.check(&end(RunStatus::Succeeded)).is_err());
    told.kinds(
        "on_exit",
        slot(2, 1),
        &["step_keyed", "step_missed", "attempt_started", "attempt_ended", "step_failed"],
    );
    assert!(told.run.all_settled(), "its failure is none of the run's");
    told.tell(end(RunStatus::Succeeded));
}

#[test]
fn an_engine_that_dies_at_the_end_leaves_the_end_to_the_next() {
    let mut told = Told::new(&[("a", &[]), ("on_exit", &[])]);
    told.kinds("a", slot(1, 1), &["step_keyed", "step_missed", "step_failed"]);
    told.tell(Event::RunConcluded { status: RunStatus::Failed });
    told.kinds("on_exit", slot(2, 1), &["step_keyed", "step_missed", "attempt_started"]);
    told.tell(driver_started(2));
    assert_eq!((told.run.concluded(), told.stage("on_exit")), (Some(RunStatus::Failed), Stage::Running));
    told.kinds("on_exit", slot(2, 1), &["attempt_ended"]);
    assert_eq!(told.todo("on_exit"), Some(Todo::Heal));
    told.kinds("on_exit", slot(2, 1), &["step_healing"]);
    told.kinds("on_exit", slot(2, 2), &["attempt_started", "step_committed"]);
    assert_eq!(told.run.conclusions(), 1, "it is the same end");
    told.tell(Event::RunEnded { status: RunStatus::Failed });
}

#[test]
fn a_failed_run_that_is_resumed_comes_to_another_end() {
    let mut told = Told::new(&[("a", &[]), ("on_exit", &[]), ("on_failure", &[])]);
    told.kinds("a", slot(1, 1), &["step_keyed", "step_missed", "step_failed"]);
    told.tell(Event::RunConcluded { status: RunStatus::Failed });
    for handler in ["on_exit", "on_failure"] {
        told.kinds(handler, slot(2, 1), &["step_keyed", "step_reused"]);
    }
    told.tell(Event::RunEnded { status: RunStatus::Failed });
    told.tell(driver_started(2));
    assert_eq!((told.stage("a"), told.stage("on_exit"), told.run.concluded()), (Stage::Bindable, Stage::Waiting, None));
    told.kinds("a", slot(1, 1), &["step_keyed", "step_reused"]);
    told.tell(Event::RunConcluded { status: RunStatus::Succeeded });
    assert_eq!((told.todo("on_exit"), told.stage("on_failure")), (Some(Todo::Bind), Stage::Waiting));
    assert_eq!(told.run.conclusions(), 2);
}

#[test]
fn i10_publications_that_are_tried_again_do_not_wait_for_what_ran_at_the_end() {
    let mut told = Told::new(&[("a", &[]), ("on_exit", &[])]);
    told.kinds("a", slot(1, 1), &["step_keyed", "step_reused"]);
    let why = "a directory is in the way".to_owned();
    told.tell(Event::EffectsGivenUp { step: id("a"), slot: slot(1, 1), why });
    told.tell(Event::RunConcluded { status: RunStatus::Failed });
    told.kinds("on_exit", slot(2, 1), &["step_keyed", "step_reused"]);
    told.tell(Event::RunEnded { status: RunStatus::Failed });
    told.tell(driver_started(2));
    assert_eq!(told.stage("on_exit"), Stage::Waiting, "another end comes");
    let a = told.index("a");
    while let Some(step) = told.run.take_unsorted() {
        if step == a {
            told.run.owe_effects(step);
        }
    }
    assert_eq!(told.run.take_owed(), Some(a));
}

#[test]
fn a_run_that_succeeded_and_is_driven_again_keeps_what_ran_at_its_end() {
    let mut told = Told::new(&[("a", &[]), ("on_exit", &[])]);
    told.kinds("a", slot(1, 1), &["step_keyed", "step_reused"]);
    told.tell(Event::RunConcluded { status: RunStatus::Succeeded });
    told.kinds("on_exit", slot(2, 1), &["step_keyed", "step_reused"]);
    told.tell(Event::RunEnded { status: RunStatus::Succeeded });
    told.tell(driver_started(2));
    assert_eq!((told.run.conclusion(), told.run.handlers_are_closed()), (None, true));
    told.tell(Event::RunEnded { status: RunStatus::Succeeded });
}
