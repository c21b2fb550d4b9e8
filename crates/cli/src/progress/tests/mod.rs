//! What a run looks like, at given times and sizes.

mod scene;

use std::{sync::Arc, time::Duration};

use prunella_attempt::{Told, Way};
use prunella_engine::Plan;
use prunella_healing::{Ending, Evidence, Phase as AttemptPhase};
use prunella_journal::{Event, Position, RunStatus, StopHow};
use prunella_model::{CheckpointId, Class, Digest, Span};
use prunella_store::Moved;

use crate::present::Paint;
use crate::progress::{
    coverage::Coverage,
    ending::{End, GivenUp},
    frame::{Size, frame},
    model::Model,
    terminal::InPlace,
};

use scene::*;

#[test]
fn a_run_shows_every_step_with_what_it_says_and_how_it_was_healed() {
    assert_eq!(
        killed().screen(11_300, 130, 24),
        "\
digits  run 0193c  4 steps: 1 reused, 3 to run          Ctrl-C stops in checkpoints, again to run goes on
✓ split     reused
↻ train     epoch 18/30 · checkpoint 0.80 s ago · attempt 2: killed at 9.1 s, back at epoch 14/30 in 0.11 s
· evaluate  waits for train
· report    waits for evaluate
"
    );
}

#[test]
fn steps_that_were_copied_are_told_with_the_store_they_are_from() {
    let mut run = Watched::new(DIGITS);
    run.keyed(10, "split");
    let (step, slot, artifacts) = (id("split"), slot("split", 1), run.artifacts("split"));
    let copied_from = Some("s3://lake/theirs".to_owned());
    run.at(10, Event::StepReused { step, slot, artifacts, copied_from });
    run.started(20, "train", 1);
    assert!(run.lines.contains(&"copied 1 of 4 steps from s3://lake/theirs: split".to_owned()), "{:?}", run.lines);
    assert!(run.screen(30, 80, 24).contains("✓ split     reused"));
}

#[test]
fn a_narrow_terminal_cuts_lines_and_drops_the_hint() {
    assert_eq!(
        killed().screen(11_300, 48, 24),
        "\
digits  run 0193c  4 steps: 1 reused, 3 to run
✓ split     reused
↻ train     epoch 18/30 · checkpoint 0.80 s ago…
· evaluate  waits for train
· report    waits for evaluate
"
    );
}

#[test]
fn a_low_terminal_shows_what_is_at_work_and_counts_the_rest() {
    assert_eq!(
        killed().screen(11_300, 60, 5),
        "\
digits  run 0193c  4 steps: 1 reused, 3 to run
↻ train  epoch 18/30 · checkpoint 0.80 s ago · attempt 2: k…
  … 1 done, 2 waiting
"
    );
    for rows in 0..12 {
        for columns in 0..90 {
            let screen = killed().screen(11_300, columns, rows);
            assert!(screen.lines().count() < rows.max(4), "{columns} × {rows}:\n{screen}");
            let widest = screen.lines().map(super::text::width).max();
            assert!(widest <= Some(columns.max(16)), "{columns} × {rows}:\n{screen}");
        }
    }
}

#[test]
fn a_wait_before_the_next_attempt_is_counted_down() {
    let mut run = Watched::new(DIGITS);
    run.reused(10, "split");
    run.started(20, "train", 1);
    run.runs(50, "train", 1);
    assert!(run.screen(3050, 80, 24).contains("↻ train     runs 3.0 s\n"));
    run.ends(4000, "train", 1, Class::Error, Ending::Exited { code: 1 }, 3950);
    run.heals(4000, "train", Class::Error, 10_000);
    assert!(run.screen(6000, 80, 24).contains("↻ train     failed at 4.0 s · again in 8.0 s\n"));
    run.started(14_000, "train", 2);
    run.runs(14_040, "train", 2);
    assert!(run.screen(14_040, 90, 24).contains("attempt 2: failed at 4.0 s, back from the beginning in 10.0 s\n"));
}

#[test]
fn told_progress_counts_more_than_lines() {
    let mut run = Watched::new(DIGITS);
    run.reused(10, "split");
    run.started(20, "train", 1);
    run.runs(50, "train", 1);
    let told = Told::Progress { value: serde_json::json!({ "epoch": 3 }) };
    run.model.tell(run.index("train"), &told);
    run.says("train", "a warning about nothing");
    assert!(run.screen(60, 80, 24).contains("↻ train     epoch 3\n"));
}

#[test]
fn what_is_fetched_before_a_program_and_sent_after_it_is_shown_with_speed_and_what_is_left() {
    let mut run = Watched::new(DIGITS);
    run.reused(10, "split");
    run.started(20, "train", 1);
    let moves = |run: &mut Watched, seconds: u64, way, done: u64| {
        let step = run.index("train");
        run.model.moves(step, Duration::from_secs(seconds), way, Moved { done: done << 20, all: 1 << 30 });
    };
    moves(&mut run, 1, Way::Fetching, 100);
    moves(&mut run, 2, Way::Fetching, 200);
    let fetching = "↻ train     fetching: 200 MiB of 1 GiB · 100 MiB/s · 8.2 s left\n";
    assert!(run.screen(2000, 80, 24).contains(fetching), "{}", run.screen(2000, 80, 24));
    moves(&mut run, 9, Way::Fetching, 1024);
    assert!(run.screen(9000, 80, 24).contains("↻ train     starting\n"), "all is there");
    run.runs(9050, "train", 1);
    run.says("train", "epoch 30/30");
    assert!(run.screen(9100, 80, 24).contains("↻ train     epoch 30/30\n"));
    moves(&mut run, 20, Way::Sending, 0);
    moves(&mut run, 22, Way::Sending, 512);
    let sending = "↻ train     sending: 512 MiB of 1 GiB · 256 MiB/s · 2.0 s left\n";
    assert!(run.screen(22_000, 80, 24).contains(sending), "{}", run.screen(22_000, 80, 24));
    assert!(!run.log().contains("sending"), "nothing of it where nobody watches");
}

#[test]
fn the_log_has_a_line_for_what_matters_and_no_control_codes() {
    let mut run = killed();
    run.commits(20_000, "train", 2, 10_790);
    run.started(20_010, "evaluate", 1);
    run.runs(20_020, "evaluate", 1);
    run.commits(20_500, "evaluate", 1, 480);
    let log = run.log();
    assert_eq!(
        log,
        "\
digits  run 0193c  4 steps
reused 1 of 4 steps: split
  0.02 s  train     attempt 1 begins
   9.1 s  train     attempt 1 killed: SIGKILL from outside ended the program; again from the newest checkpoint
   9.1 s  train     attempt 2 begins
   9.2 s  train     attempt 2 runs: killed at 9.1 s, back at epoch 14/30 in 0.11 s
  20.0 s  train     done in 19.9 s
  20.0 s  evaluate  attempt 1 begins
  20.5 s  evaluate  done in 0.49 s
"
    );
    assert!(!log.contains('\u{1b}'));
}

#[test]
fn a_healed_run_ends_with_its_figures_and_what_to_look_at_next() {
    let mut run = killed();
    run.commits(20_000, "train", 2, 10_790);
    run.started(20_010, "evaluate", 1);
    run.runs(20_020, "evaluate", 1);
    run.commits(20_500, "evaluate", 1, 480);
    run.started(20_510, "report", 1);
    run.runs(20_520, "report", 1);
    run.commits(21_300, "report", 1, 780);
    run.at(21_310, Event::RunEnded { status: RunStatus::Succeeded });
    // 505 ms after what the checkpoint describes, 100 to bring the second attempt up, and 685 by which its first
    // checkpoint came later than usual: its start.
    assert_eq!(
        run.end(RunStatus::Succeeded, &[]),
        "\
✓ succeeded in 21.3 s · 1 interruption healed in 0.11 s · lost 1.2 s of 21.2 s (6.1 %) · 0 corrupt · \
lineage 0 % (tools of the host)
  next: prunella get report.page ./report.html     prunella explain train     prunella logs train@1
"
    );
    assert!(!run.screen(21_310, 130, 24).contains("Ctrl-C"));
}

fn failed() -> (Watched, Vec<GivenUp>) {
    let mut run = Watched::new(DIGITS);
    run.reused(10, "split");
    run.started(20, "train", 1);
    run.runs(50, "train", 1);
    run.ends(2000, "train", 1, Class::Error, Ending::Exited { code: 1 }, 1950);
    let why = "the same failure 2 times".to_owned();
    run.at(2000, Event::StepFailed { step: id("train"), class: Class::Error, why: why.clone() });
    for blocked in ["evaluate", "report"] {
        run.at(2000, Event::StepBlocked { step: id(blocked), by: id("train") });
    }
    run.at(2010, Event::RunEnded { status: RunStatus::Failed });
    let mut evidence = Evidence::of(Ending::Exited { code: 1 }, AttemptPhase::Run);
    evidence.stderr_tail = vec!["loading".to_owned(), "ValueError: \u{1b}[31mlabels differ".to_owned()];
    let given_up = GivenUp {
        step: id("train"),
        class: Class::Error,
        why,
        last: Some((slot("train", 1), Box::new(evidence))),
        workspace: Some(".prunella/work/0193c/train@ab.1-cd".into()),
    };
    (run, vec![given_up])
}

#[test]
fn a_failed_run_says_which_step_why_and_how_to_go_on() {
    let (mut run, given_up) = failed();
    assert_eq!(
        run.screen(2010, 100, 24),
        "\
digits  run 0193c  4 steps: 1 reused, 1 failed, 2 blocked
✓ split     reused
✗ train     failed: the same failure 2 times
– evaluate  not run: it needs train
– report    not run: it needs train
"
    );
    assert_eq!(
        run.log(),
        "\
digits  run 0193c  4 steps
reused 1 of 4 steps: split
  0.02 s  train     attempt 1 begins
   2.0 s  train     attempt 1 failed: the program exited with 1; given up: the same failure 2 times
not run: 2 steps need what was given up
"
    );
    assert_eq!(
        run.end(RunStatus::Failed, &given_up),
        "\
✗ train@1 failed: the same failure 2 times
    ValueError: labels differ
    its files: .prunella/work/0193c/train@ab.1-cd
✗ failed after 2.0 s · 2 steps not run · lost 1.9 s of 1.9 s (100.0 %)
  next: prunella resume 0193c     prunella explain train     prunella logs train@1
"
    );
}

#[test]
fn a_run_that_is_stopped_says_so_at_once_and_how_it_goes_on() {
    let mut run = killed();
    run.at(11_000, Event::StopRequested { how: StopHow::Checkpoint });
    let screen = run.screen(11_000, 110, 24);
    assert!(screen.contains("3 to run          stopping: letting steps checkpoint (again: now)\n"), "{screen}");
    assert!(run.screen(11_000, 50, 24).starts_with("stopping: letting steps checkpoint (again: now)\n"));
    run.checkpoint(11_050, "train", 2, 2);
    run.ends(11_100, "train", 2, Class::Stopped, Ending::Exited { code: 143 }, 1890);
    run.at(11_110, Event::RunEnded { status: RunStatus::Stopped });
    assert!(run.screen(11_110, 110, 24).contains("■ train     stopped after: epoch 18/30\n· evaluate  not begun\n"));
    let log = run.log();
    assert!(log.contains("stopping: letting steps checkpoint (again: now)\n"), "{log}");
    assert!(log.contains("attempt 2 stopped: the program exited with 143\n"), "{log}");
    let end = run.end(RunStatus::Stopped, &[]);
    assert!(
        end.starts_with("■ stopped after 11.1 s, resumable: `prunella run` goes on · 1 interruption healed"),
        "{end}"
    );
}

/// Many independent steps, half of them done.
fn many() -> Watched {
    let steps: String = (0..1000).map(|n| format!("  s{n}: {{ run: 'true {n}' }}\n")).collect();
    let mut run = Watched::new(&format!("prunella: v1\nname: many\nsteps:\n{steps}"));
    for n in 0..500 {
        let name = format!("s{n}");
        run.started(n, &name, 1);
        run.runs(n, &name, 1);
        run.commits(n + 20, &name, 1, 20);
    }
    for n in 500..502 {
        run.started(700, &format!("s{n}"), 1);
        run.runs(700, &format!("s{n}"), 1);
    }
    run
}

#[test]
fn of_many_steps_those_at_work_and_the_last_done_are_shown() {
    let mut run = many();
    assert_eq!(
        run.screen(700, 80, 9),
        "\
digits  run 0193c  1000 steps: 500 done, 500 to run
✓ s496  0.02 s
✓ s497  0.02 s
✓ s498  0.02 s
✓ s499  0.02 s
↻ s500  runs 0.00 s
↻ s501  runs 0.00 s
  … 496 done, 498 waiting
"
    );
    assert!(run.model.shown.len() < 10, "what is done is forgotten: {}", run.model.shown.len());
    run.ends(900, "s500", 1, Class::Error, Ending::Exited { code: 1 }, 200);
    run.at(900, Event::StepFailed { step: id("s500"), class: Class::Error, why: "exit 1".to_owned() });
    assert!(run.screen(900, 80, 9).contains("✗ s500  failed: exit 1\n"));
}

#[test]
fn the_log_of_many_steps_is_a_sum_now_and_then_and_every_failure() {
    let mut run = many();
    for now in (700..5000).step_by(100) {
        run.plain.tick(Span::from_millis(now), &run.model, &mut run.lines);
    }
    run.ends(5000, "s500", 1, Class::Error, Ending::Exited { code: 1 }, 200);
    run.at(5000, Event::StepFailed { step: id("s500"), class: Class::Error, why: "exit 1".to_owned() });
    for now in (5000..7000).step_by(100) {
        run.plain.tick(Span::from_millis(now), &run.model, &mut run.lines);
    }
    assert_eq!(
        run.log(),
        "\
digits  run 0193c  1000 steps
  0.70 s  500 of 1000 steps done, 2 running
   5.0 s  s500  attempt 1 failed: the program exited with 1; given up: exit 1
   5.0 s  500 of 1000 steps done, 1 running, 1 failed
"
    );
}

#[test]
fn a_frame_is_written_once_and_only_where_something_changed() {
    let run = killed();
    let rows = |now| frame(&run.model, "digits", Span::from_millis(now), Size { columns: 60, rows: 24 });
    let mut terminal = InPlace::new(Paint::none());
    let mut out = Vec::new();
    terminal.draw(&mut out, &[], &rows(11_300));
    assert!(!String::from_utf8_lossy(&out).contains('\u{1b}'), "the first frame moves nothing");
    out.clear();
    terminal.draw(&mut out, &[], &rows(11_300));
    assert!(out.is_empty());
    terminal.draw(&mut out, &[], &rows(11_900));
    let text = String::from_utf8(out.clone()).expect("text");
    assert!(text.starts_with("\r\u{1b}[5A"), "{text:?}");
    assert_eq!(text.matches("checkpoint").count(), 1);
    out.clear();
    terminal.draw(&mut out, &["train | a line".to_owned()], &rows(11_900));
    assert!(String::from_utf8_lossy(&out).contains("train | a line\ndigits"));
}

#[test]
fn programs_get_the_outcome_as_one_line() {
    let (run, given_up) = failed();
    let (outcome, figures) = (run.outcome(RunStatus::Failed), run.model.figures.finish());
    let coverage = Coverage::of(&run.plan, &run.state);
    let json = End { outcome: &outcome, figures: &figures, coverage: &coverage, given_up: &given_up }.json(1);
    let outcome = &json["outcome"];
    assert_eq!((&outcome["status"], &outcome["exit_code"]), (&"failed".into(), &1.into()));
    assert_eq!(outcome["failed"][0]["root_cause"][0], "ValueError: labels differ");
    assert_eq!((&outcome["metrics"]["waste"], &outcome["metrics"]["steps"]["blocked"]), (&1.0.into(), &2.into()));
    assert_eq!(outcome["metrics"]["mttr_ms"], serde_json::Value::Null);
    assert!(!json.to_string().contains('\n'));
}

#[test]
fn lineage_ends_at_data_that_is_not_pinned_and_goes_with_data_only() {
    let mut run = killed();
    run.commits(20_000, "train", 2, 10_790);
    assert_eq!(Coverage::of(&run.plan, &run.state).share(), Some(0.0), "tools of the host are known by platform only");
    let mut graph = (**run.plan.graph()).clone();
    let lock = serde_json::Value::Null;
    graph.environment = Some(prunella_model::EnvironmentPin { digest: Digest::of(b"lock"), lock });
    let plan = Plan::build(Arc::new(graph), &[]).expect("a plan");
    let coverage = Coverage::of(&plan, &run.state);
    assert_eq!((coverage.share(), coverage.committed_bytes, coverage.gaps.len()), (Some(1.0), 200, 0));
}

#[test]
fn an_attempt_that_died_with_its_engine_is_told_from_one_that_was_killed() {
    let mut later = killed();
    later.model = Model::default();
    later.model.begin(&later.events, &later.state);
    let engine = "0.1.0".to_owned();
    later.at(
        0,
        Event::DriverStarted {
            driver: 2,
            engine,
            continues: Position::START,
            budgets_reset: false,
            retried: None,
            damaged: None,
        },
    );
    later.ends(5, "train", 2, Class::Killed, Ending::SupervisorDied, 0);
    later.heals(6, "train", Class::Killed, 0);
    later.started(8, "train", 3);
    later.restored(60, "train", 3, CheckpointId { slot: slot("train", 2), seq: 1 });
    later.runs(80, "train", 3);
    let screen = later.screen(80, 130, 24);
    assert!(screen.contains("attempt 3: its engine died, back at checkpoint 2-1 in 0.08 s\n"), "{screen}");
    assert!(screen.contains("1 reused, 3 to run"), "{screen}");
}
