//! The report of runs of any shape, from events alone.

use std::collections::BTreeMap;

use prunella_healing::{Ending, Evidence, Phase, Spent};
use prunella_journal::{Event, Position, RunStatus, Stamped};
use prunella_model::{
    ByteSize, CheckpointId, Class, Digest, Epoch, Item, PipelineName, RunId, SlotId, Span, StepId, StepKey, StepName,
    WriterId,
};
use prunella_store::RunListed;

use super::*;
use crate::present::Paint;

fn at(mono: u64, event: Event) -> Stamped {
    Stamped { at_ms: 1_700_000_000_000 + mono, mono: Span::from_millis(mono), event }
}

fn driver(driver: u64) -> Event {
    let (engine, continues) = ("test".to_owned(), Position::START);
    Event::DriverStarted { driver, engine, continues, budgets_reset: false, retried: None, damaged: None }
}

fn step(name: &str, item: Option<&str>) -> StepId {
    let name = StepName::new(name).expect("a name");
    match item {
        None => StepId::plain(name),
        Some(item) => {
            StepId { name, item: Some(Item::from_canonical(&serde_json::json!({ "fold": item }).to_string())) }
        }
    }
}

fn slot(n: u64) -> SlotId {
    SlotId { key: StepKey(Digest::of(b"key")), epoch: Epoch(n) }
}

fn attempt_of(step: &StepId, n: u64, from: u64, end: Result<(), Class>) -> Vec<Stamped> {
    let (slot, step) = (slot(n), step.clone());
    let checkpoint = CheckpointId { slot, seq: 1 };
    let (size, took, compute) = (ByteSize(9), Span::from_millis(1), Span::from_millis(60));
    let last = match end {
        Ok(()) => Event::StepCommitted { step: step.clone(), slot, artifacts: BTreeMap::new(), compute },
        Err(class) => Event::AttemptEnded {
            step: step.clone(),
            slot,
            class,
            evidence: Box::new(Evidence::of(Ending::Signaled { signal: 9, by_us: None }, Phase::Run)),
            spent: Box::new(Spent::default()),
            compute,
            lost: Span::from_millis(30),
        },
    };
    vec![
        at(from, Event::AttemptStarted { step: step.clone(), slot, writer: WriterId::from_random(1) }),
        at(from + 10, Event::ProcessStarted { step: step.clone(), slot, pid: 1, accelerators: Vec::new() }),
        at(from + 40, Event::CheckpointTaken { step: step.clone(), slot, checkpoint, size, took }),
        at(from + 45, Event::CheckpointDurable { step, slot, checkpoint, size, took }),
        at(from + 72, last),
    ]
}

fn reported(pipeline: &str, condition: Condition, events: &[Stamped]) -> RunReport {
    let listed = RunListed {
        pipeline: PipelineName::new(pipeline).expect("a name"),
        order: 3,
        run: RunId::new("run-1").expect("an id"),
        at_ms: 1_700_000_000_000,
    };
    let known = Known { coverage: Coverage::default(), condition, damage: None, checked: Checked::No };
    RunReport::from_events(&listed, known, events)
}

fn report(runs: Vec<RunReport>) -> Report {
    Report { runs, unread: Vec::new(), price: None }
}

/// Killed once and back.
fn killed() -> Vec<Stamped> {
    let train = step("train", None);
    let mut events = vec![at(0, driver(1))];
    events.extend(attempt_of(&train, 1, 5, Err(Class::Killed)));
    events.extend(attempt_of(&train, 2, 90, Ok(())));
    events.push(at(170, Event::RunEnded { status: RunStatus::Succeeded }));
    events
}

#[test]
fn corruption_that_nobody_has_looked_for_is_not_zero() {
    let mut report = report(vec![reported("digits", Condition::Succeeded, &killed())]);
    let shown = json(&report);
    let table = &shown["runs"][0]["table"];
    assert_eq!(
        (&table["corrupt_artifacts"], &table["corruption"]),
        (&serde_json::Value::Null, &serde_json::Value::Null)
    );
    assert_eq!(table["corruption_known_by"], "nothing");
    assert!(text(Paint::none(), &report).contains("not checked"));
    assert!(page(&report).contains("<td>not checked</td>"));

    report.runs[0].checked = Checked::Bytes { files: 7, wrong: 0 };
    let shown = json(&report);
    assert_eq!((&shown["all"]["corruption"], &shown["all"]["corruption_known_by"]), (&0.0.into(), &"verify".into()));
    assert!(text(Paint::none(), &report).contains("0 (0.0 %)"));
    report.runs[0].checked = Checked::Bytes { files: 7, wrong: 2 };
    assert_eq!(json(&report)["all"]["corruption"], 2.0);
}

#[test]
fn the_table_the_parts_and_the_reasons_are_those_of_the_figures() {
    let mut report = report(vec![reported("digits", Condition::Succeeded, &killed())]);
    report.price = Some(3600.0);
    let shown = json(&report);
    let run = &shown["runs"][0];
    // Gone at 75, seen at 77, the slot at 90, the process at 100; new progress at 135.
    let parts = &run["recovery_parts"];
    let means: Vec<u64> = ["detect", "decide", "backoff", "capacity", "restore", "replay"]
        .iter()
        .map(|part| parts[part]["mean_ms"].as_u64().expect("a mean"))
        .collect();
    assert_eq!(means.iter().sum::<u64>(), 135 - 75, "{parts}");
    assert_eq!((means[0], means[4], means[5]), (2, 10, 35));
    assert_eq!(run["ends_by_class"]["killed"], serde_json::json!({ "ends": 1, "recovered": 1, "interruption": true }));
    // It began from zero again: all of the first attempt.
    assert_eq!(run["figures"]["lost_by_ms"], serde_json::json!({ "killed": 70 }));
    assert_eq!(run["spend"]["spent"], 170.0 / 1000.0);
    let lost = run["spend"]["lost"].as_f64().expect("a sum");
    assert!((lost - 0.170 * 0.5).abs() < 1e-9, "{lost}");
    let shown = text(Paint::none(), &report);
    assert!(shown.contains("1, 1 recovered") && shown.contains(": killed 0.07 s"), "{shown}");
}

#[test]
fn nothing_that_users_wrote_becomes_markup() {
    let evil = step("train", Some("</title><script>alert('1')</script>&\"\u{1b}"));
    let mut events = vec![at(0, driver(1))];
    events.extend(attempt_of(&evil, 1, 5, Err(Class::Killed)));
    let mut run = reported("digits", Condition::Interrupted, &events);
    run.damage = Some("<b>bold</b>".to_owned());
    run.coverage.gaps.insert("<i>".to_owned());
    let mut all = report(vec![run]);
    all.unread.push((RunId::new("run-2").expect("an id"), "<u>".to_owned()));
    let page = page(&all);
    for markup in ["<script", "<b>", "<i>", "<u>", "\u{1b}"] {
        assert!(!page.contains(markup), "{markup}");
    }
    assert!(page.contains("&lt;b&gt;") && page.contains("&lt;u&gt;"));
    // Nothing is fetched: neither styles nor pictures nor scripts.
    for reach in ["http:", "https:", "src=", "href=", "@import", "url("] {
        assert!(!page.contains(reach), "{reach}");
    }
}

#[test]
fn a_page_of_ten_thousand_attempts_can_be_looked_at() {
    let mut events = vec![at(0, driver(1))];
    for n in 0..10_000 {
        let one = step("train", Some(&n.to_string()));
        let end = if n % 100 == 0 { Err(Class::Killed) } else { Ok(()) };
        events.extend(attempt_of(&one, n + 1, n * 10, end));
    }
    // As a journal has them: by time.
    events.sort_by_key(|event| event.mono);
    let page = page(&report(vec![reported("sweep", Condition::Running, &events)]));
    assert!(page.contains("train (10000)"), "the items stand together");
    assert!(page.len() < 400_000, "{} bytes", page.len());
    assert!(page.matches("<tr>").count() < 300);
}

#[test]
fn a_run_with_nothing_in_it_has_a_page() {
    for events in
        [vec![], vec![at(0, driver(1))], vec![at(0, driver(1)), attempt_of(&step("a", None), 1, 5, Ok(()))[0].clone()]]
    {
        let report = report(vec![reported("small", Condition::Running, &events)]);
        let page = page(&report);
        assert!(page.ends_with("</html>\n") && !page.contains("NaN") && !page.contains("inf"), "{page}");
        assert!(!text(Paint::none(), &report).contains("NaN"));
    }
}

#[test]
fn time_without_an_engine_is_drawn_short_and_in_order() {
    let train = step("train", None);
    let mut events = vec![at(0, driver(1))];
    events.extend(attempt_of(&train, 1, 5, Err(Class::Killed)));
    // A week later.
    let week = 7 * 86_400_000;
    events.push(Stamped { at_ms: 1_700_000_000_000 + week, mono: Span::default(), event: driver(2) });
    events.extend(attempt_of(&train, 2, 20, Ok(())));
    let timeline = Timeline::of(&events);
    let scale = scale::Scale::of(&timeline, 100.0, 1100.0);
    let gaps: Vec<_> = scale.gaps().collect();
    assert_eq!(gaps.len(), 1);
    let (from, to, ms) = gaps[0];
    assert!(to - from < 100.0 && ms > week - 1000, "{from} {to} {ms}");
    let places: Vec<f64> = timeline.attempts().iter().map(|course| scale.x(course.started)).collect();
    assert!(100.0 < places[0] && places[0] < from && to < places[1] && places[1] < 1100.0, "{places:?}");
    let ticks = scale.ticks(8);
    assert!(ticks.len() > 2 && ticks.windows(2).all(|two| two[0].0 <= two[1].0 && two[0].1 < two[1].1), "{ticks:?}");
}
