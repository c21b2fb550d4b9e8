//! Spans of runs whose engines die, stop and come back.

use std::collections::{BTreeMap, BTreeSet};

use prunella_healing::{Ending, Evidence, Phase, Spent};
use prunella_journal::{Event, NextTry, Position, RunStatus, Stamped, StopHow};
use prunella_model::{
    ByteSize, CheckpointId, Class, Digest, Epoch, PipelineName, RunId, SlotId, Span as Time, StepId, StepKey, StepName,
    WriterId,
};
use prunella_store::records;

use super::{MOST_EVENTS, Span, Spans};

/// A run in the making: its events, and what engines told of it.
struct Told {
    fold: Spans,
    events: Vec<Stamped>,
    zero: u64,
    spans: Vec<Span>,
}

const ZERO: u64 = 1_700_000_000_000;

fn step() -> StepId {
    StepId::plain(StepName::new("train").expect("a name"))
}

fn slot(epoch: u64) -> SlotId {
    SlotId { key: StepKey(Digest::of(b"key")), epoch: Epoch(epoch) }
}

impl Told {
    fn new() -> Self {
        let mut told = Self { fold: Spans::new("store", None), events: Vec::new(), zero: ZERO, spans: Vec::new() };
        let (run, pipeline) = (RunId::new("run-1").expect("an id"), PipelineName::new("digits").expect("a name"));
        told.at(0, Event::RunStarted { run, pipeline, graph: Digest::of(b""), params: BTreeMap::new() });
        told.engine(1, ZERO);
        told
    }

    /// An event at this time of its engine.
    fn at(&mut self, mono: u64, event: Event) {
        let stamped = Stamped { at_ms: self.zero + mono, mono: Time::from_millis(mono), event };
        self.spans.extend(self.fold.push(&stamped, |_| None).1);
        self.events.push(stamped);
    }

    fn engine(&mut self, driver: u64, zero: u64) {
        self.zero = zero;
        let (engine, continues) = ("test".to_owned(), Position::START);
        let started =
            Event::DriverStarted { driver, engine, continues, budgets_reset: false, retried: None, damaged: None };
        self.at(0, started);
    }

    fn starts(&mut self, mono: u64, epoch: u64) {
        self.at(mono, Event::AttemptStarted { step: step(), slot: slot(epoch), writer: WriterId::from_random(1) });
        let process = Event::ProcessStarted { step: step(), slot: slot(epoch), pid: 7, accelerators: Vec::new() };
        self.at(mono + 10, process);
    }

    fn ends(&mut self, mono: u64, epoch: u64, class: Class) {
        let evidence = Evidence::of(Ending::Signaled { signal: 9, by_us: None }, Phase::Run);
        let (evidence, spent) = (Box::new(evidence), Box::new(Spent::default()));
        let (compute, lost) = (Time::from_millis(100), Time::from_millis(50));
        self.at(mono, Event::AttemptEnded { step: step(), slot: slot(epoch), class, evidence, spent, compute, lost });
    }

    fn commits(&mut self, mono: u64, epoch: u64) {
        let (artifacts, compute) = (BTreeMap::new(), Time::from_millis(70));
        self.at(mono, Event::StepCommitted { step: step(), slot: slot(epoch), artifacts, compute });
    }

    fn named(&self, name: &str) -> Vec<&Span> {
        self.spans.iter().filter(|span| span.name == name).collect()
    }
}

fn from_to(span: &Span) -> (u64, u64) {
    let ms = |nanos: u64| nanos / 1_000_000 - ZERO;
    (ms(span.start_time_unix_nano), ms(span.end_time_unix_nano))
}

#[test]
fn an_attempt_that_died_with_its_engine_ends_where_that_engine_saw_it_last() {
    let mut told = Told::new();
    told.starts(100, 1);
    let (checkpoint, size, took) = (CheckpointId { slot: slot(1), seq: 1 }, ByteSize(1), Time::from_millis(1));
    told.at(400, Event::CheckpointDurable { step: step(), slot: slot(1), checkpoint, size, took });
    // The next engine comes an hour later, and its clock begins at zero.
    told.engine(2, ZERO + 3_600_000);
    told.ends(20, 1, Class::Killed);
    told.starts(30, 2);
    told.at(35, Event::StateRestored { step: step(), slot: slot(2), checkpoint, took });
    told.commits(100, 2);
    told.at(110, Event::RunEnded { status: RunStatus::Succeeded });
    let [died, went_on] = told.named("train attempt")[..] else { panic!("{:#?}", told.spans) };
    assert_eq!(from_to(died), (100, 400));
    assert_eq!(from_to(went_on), (3_600_030, 3_600_100));
    assert_eq!(went_on.links[0].span_id, died.span_id);
    assert_eq!(from_to(told.named("train")[0]), (100, 3_600_100));
    assert_eq!(from_to(told.named("run digits")[0]), (0, 3_600_110));
    // Without a record of their times the journal knows when programs ran.
    let runs: Vec<_> = told.named("run").iter().map(|span| from_to(span)).collect();
    assert_eq!(runs[0], (110, 400));
}

#[test]
fn a_run_that_stops_is_not_over_and_one_that_fails_is() {
    let mut told = Told::new();
    told.starts(100, 1);
    told.at(150, Event::StopRequested { how: StopHow::Checkpoint });
    told.ends(200, 1, Class::Stopped);
    told.at(210, Event::RunEnded { status: RunStatus::Stopped });
    assert!(told.named("run digits").is_empty() && told.named("train").is_empty(), "whoever goes on with it ends them");
    told.engine(2, ZERO + 1000);
    told.starts(10, 2);
    told.ends(100, 2, Class::Error);
    told.at(101, Event::StepFailed { step: step(), class: Class::Error, why: "it is its own".to_owned() });
    told.at(110, Event::RunEnded { status: RunStatus::Failed });
    let [run] = told.named("run digits")[..] else { panic!("{:#?}", told.spans) };
    assert_eq!((from_to(run), run.status.as_ref().map(|status| status.code)), ((0, 1110), Some(2)));
    assert_eq!(run.events.iter().filter(|event| event.name == "stop requested").count(), 1);
    assert_eq!(told.named("train")[0].status.as_ref().expect("one").message, "error: it is its own");
}

#[test]
fn every_span_has_one_name_and_lies_below_one_that_is_told() {
    let mut told = Told::new();
    told.starts(100, 1);
    told.ends(200, 1, Class::Killed);
    let (next, remedy) = (NextTry::default(), "at once".to_owned());
    told.at(201, Event::StepHealing { step: step(), class: Class::Killed, next, remedy });
    told.starts(210, 2);
    told.commits(300, 2);
    told.at(310, Event::RunEnded { status: RunStatus::Succeeded });
    let ids: BTreeSet<&[u8]> = told.spans.iter().map(|span| span.span_id.as_slice()).collect();
    assert_eq!(ids.len(), told.spans.len());
    let orphans: Vec<_> = told.spans.iter().filter(|span| !ids.contains(span.parent_span_id.as_slice())).collect();
    assert_eq!(orphans.iter().map(|span| span.name.as_str()).collect::<Vec<_>>(), ["run digits"]);
    assert_eq!(told.named("train")[0].events[0].name, "healing");
}

#[test]
fn phases_are_those_of_the_record_one_after_the_other_within_the_attempt() {
    let mut told = Told::new();
    told.starts(100, 1);
    let phases = [("workspace", 0), ("restore", 4), ("run", 8), ("validate", 60), ("promote", 9_000)];
    let record = records::Timeline {
        phases: phases.map(|(name, at)| (name.to_owned(), at)).to_vec(),
        process_ms: 50,
        ended_ms: 58,
        ..records::Timeline::default()
    };
    let committed = Event::StepCommitted {
        step: step(),
        slot: slot(1),
        artifacts: BTreeMap::new(),
        compute: Time::from_millis(50),
    };
    let stamped = Stamped { at_ms: ZERO + 200, mono: Time::from_millis(200), event: committed };
    let (_, spans) = told.fold.push(&stamped, |_| Some(record));
    let times: Vec<(&str, (u64, u64))> = spans.iter().map(|span| (span.name.as_str(), from_to(span))).collect();
    assert_eq!(
        times,
        [
            ("workspace", (100, 104)),
            ("restore", (104, 108)),
            // Until the program was gone.
            ("run", (108, 158)),
            ("validate", (160, 200)),
            // What a clock says that runs faster than the engine's ends with the attempt all the same.
            ("promote", (200, 200)),
            ("train attempt", (100, 200)),
            ("train", (100, 200)),
        ]
    );
}

#[test]
fn a_span_has_no_more_than_so_many_events_and_says_how_many_are_missing() {
    let mut told = Told::new();
    told.starts(100, 1);
    for seq in 1..=200 {
        let (checkpoint, size, took) = (CheckpointId { slot: slot(1), seq }, ByteSize(1), Time::from_millis(1));
        told.at(100 + seq, Event::CheckpointDurable { step: step(), slot: slot(1), checkpoint, size, took });
    }
    told.commits(400, 1);
    let attempt = told.named("train attempt")[0];
    assert_eq!((attempt.events.len(), attempt.dropped_events_count), (MOST_EVENTS, 72));
}
