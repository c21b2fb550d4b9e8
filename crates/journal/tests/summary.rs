//! A summary and what the log says since are the whole log, wherever the cut is.

mod common;

use std::sync::Arc;

use common::walk::{any_shape, walk};
use common::*;
use proptest::prelude::*;
use prunella_journal::*;
use prunella_model::*;
use prunella_objects::{Memory, ObjectKey, Objects};
use prunella_sys::Sys;

fn store() -> Memory {
    Memory::new(&Sys::real())
}

fn segment(seq: u64) -> SegmentId {
    SegmentId { run: run_id(), driver: 1, seq }
}

fn at_segment(seq: u64) -> Position {
    Position { driver: 1, seq }
}

/// Writes each part of the events as a segment, and notes where the events of each step are.
async fn log(store: &Memory, parts: &[&[Stamped]], topology: &Topology) -> Whereabouts {
    let mut whereabouts = Whereabouts::default();
    for (seq, part) in (1..).zip(parts) {
        assert_eq!(append(store, &segment(seq), part).await.expect("room"), Appended::Ours);
        whereabouts.begin(at_segment(seq));
        for step in part.iter().filter_map(|stamped| topology.index(stamped.event.step()?)) {
            whereabouts.note(step);
        }
    }
    whereabouts
}

fn folded(shape: &Arc<Topology>, events: &[Stamped]) -> (RunState, MetricsFold) {
    let mut figures = MetricsFold::default();
    events.iter().for_each(|event| figures.push(event));
    (RunState::fold(Arc::clone(shape), events).expect("it was accepted"), figures)
}

/// Writes a summary of the first segment of the log.
async fn summarize(store: &Memory, shape: &Arc<Topology>, events: &[Stamped], whereabouts: &Whereabouts) {
    let (state, figures) = folded(shape, events);
    write_summary(store, &run_id(), at_segment(1), &keep(&state, &figures), whereabouts, b"where").await.expect("room");
}

/// Goes on from the summary that is there as readers do.
async fn from_summary(store: &Memory) -> Option<(RunState, RunMetrics)> {
    let summary = read_summary(store, &run_id()).await?;
    let tail = read_since(store, &run_id(), summary.position()).await.expect("readable");
    assert!(!tail.anew);
    let mut state = summary.state().expect("what was written is understood");
    let before = state.clone();
    tail.events.iter().for_each(|event| state.apply(event).expect("it was accepted"));
    let mut steps = StepSet::new(before.topology().len());
    for step in tail.events.iter().filter_map(|event| before.topology().index(event.event.step()?)) {
        steps.insert(step);
    }
    let mut figures = summary.figures(&before, &steps).expect("what was written is understood");
    assert_eq!(Some(figures.finish()), summary.finished());
    tail.events.iter().for_each(|event| figures.push(event));
    let figures = figures.finish();
    assert_eq!(summary.glance_after(&tail.events), Some(Glance::of(state.ended(), &figures)));
    Some((state, figures))
}

/// A step that fans out over a list, one that goes through its items, and one that reads all of them.
fn fanning_shape() -> Arc<Topology> {
    let node = |name: &str, needs: &[u32]| Node {
        id: id(name),
        needs: needs.iter().map(|n| StepIndex::new(*n)).collect(),
        reads: needs.iter().map(|n| StepIndex::new(*n)).collect(),
        conditional: false,
        handler: None,
        lane: 0,
    };
    let nodes = vec![node("list", &[]), node("fan", &[0]), node("follow", &[1]), node("sum", &[2])];
    let mut topology = Topology::new(nodes).expect("a topology");
    let outputs = vec![(PortName::new("out").expect("a name"), Arc::from("out.json"))];
    let (leader, list) = (StepIndex::new(1), Need::Whole(StepIndex::new(0)));
    let fan = Fan { follows: None, needs: vec![list], reads: vec![list], conditional: false, outputs };
    topology.fan_out(leader, fan.clone());
    let same = Need::SameItem(leader);
    let follow = Fan { follows: Some(leader), needs: vec![same], reads: vec![same], conditional: true, ..fan };
    topology.fan_out(StepIndex::new(2), follow);
    Arc::new(topology)
}

/// Cuts the events at every `every`-th place, and compares what readers see there with the fold of the whole.
fn every_cut_is_the_whole(shape: &Arc<Topology>, run: &RunState, events: &[Stamped], every: usize) {
    let (whole, figures) = folded(shape, events);
    assert!(whole == *run);
    let figures = figures.finish();
    for cut in (2..=events.len()).step_by(every) {
        let (first, rest) = events.split_at(cut);
        let read = tokio::runtime::Builder::new_current_thread().build().expect("a runtime").block_on(async {
            let store = store();
            let parts = if rest.is_empty() { vec![first] } else { vec![first, rest] };
            let whereabouts = log(&store, &parts[..1], run.topology()).await;
            summarize(&store, shape, first, &whereabouts).await;
            if !rest.is_empty() {
                assert_eq!(append(&store, &segment(2), rest).await.expect("room"), Appended::Ours);
            }
            from_summary(&store).await
        });
        let (state, read) = read.expect("it was just written");
        assert!(state == whole, "cut at {cut} of {}", events.len());
        assert_eq!(read, figures, "cut at {cut} of {}", events.len());
        assert_eq!(state.open(), whole.open());
        assert!(Stage::ALL.iter().all(|stage| state.count(*stage) == whole.count(*stage)));
        assert!(state.running() == whole.running());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn wherever_the_log_is_cut_the_summary_and_the_rest_are_the_whole(
        edges in prop::collection::vec(any::<u8>(), 1..8),
        moves in prop::collection::vec((any::<u32>(), any::<u32>(), any::<u32>()), 1..300),
        every in 1_usize..20,
    ) {
        let shape = any_shape(&edges);
        let (run, events) = walk(&shape, &moves, |_, _, _, _| {});
        every_cut_is_the_whole(&shape, &run, &events, every);
    }

    #[test]
    fn a_run_that_grows_by_items_is_summarized_as_it_has_grown(
        moves in prop::collection::vec((any::<u32>(), any::<u32>(), any::<u32>()), 1..400),
        every in 1_usize..20,
    ) {
        let shape = fanning_shape();
        let (run, events) = walk(&shape, &moves, |_, _, _, _| {});
        every_cut_is_the_whole(&shape, &run, &events, every);
    }
}

/// A run of one step that is done, in two segments, with a summary of the first.
async fn summarized() -> (Memory, Arc<Topology>, Vec<Stamped>) {
    let (store, shape) = (store(), topology(&[("a", &[]), ("b", &[0])]));
    let events = vec![
        at(0, run_started()),
        at(0, driver_started(1)),
        at(1, Event::StepKeyed { step: id("a"), key: key(1) }),
        at(2, sample("step_missed", "a", slot(1, 1))),
        at(3, sample("attempt_started", "a", slot(1, 1))),
        at(9, sample("step_committed", "a", slot(1, 1))),
    ];
    let whereabouts = log(&store, &[&events[..5]], &shape).await;
    summarize(&store, &shape, &events[..5], &whereabouts).await;
    assert_eq!(append(&store, &segment(2), &events[5..]).await.expect("room"), Appended::Ours);
    (store, shape, events)
}

async fn keys(store: &Memory) -> Vec<ObjectKey> {
    let prefix = format!("runs/{}/summary/", run_id());
    store.list(&prefix, None, usize::MAX).await.expect("readable").into_iter().map(|listed| listed.key).collect()
}

#[tokio::test]
async fn a_summary_with_any_bit_changed_or_any_end_cut_off_is_passed_over() {
    let (whole, shape, events) = summarized().await;
    let (state, figures) = folded(&shape, &events);
    assert!(from_summary(&whole).await == Some((state, figures.finish())));
    let [head, body] = <[ObjectKey; 2]>::try_from(keys(&whole).await).expect("a head and a body");
    let bytes = whole.get(&body).await.expect("readable").expect("there");
    let damages = (0..bytes.len()).flat_map(|i| {
        let mut flipped = bytes.to_vec();
        flipped[i] ^= 1 << (i % 8);
        [flipped, bytes[..i].to_vec()]
    });
    for damaged in damages {
        let (store, ..) = summarized().await;
        assert!(store.delete(&body).await.expect("ours"));
        assert_eq!(store.create(&body, damaged.into()).await.expect("room"), prunella_objects::Created::New);
        assert!(read_summary(&store, &run_id()).await.is_none());
    }
    let head_bytes = whole.get(&head).await.expect("readable").expect("there");
    for cut in 0..head_bytes.len() {
        let (store, ..) = summarized().await;
        store.overwrite(&head, head_bytes.slice(..cut)).await.expect("a hint");
        assert!(read_summary(&store, &run_id()).await.is_none());
    }
}

#[tokio::test]
async fn a_summary_of_a_newer_format_is_passed_over() {
    let (store, ..) = summarized().await;
    let head = keys(&store).await.remove(0);
    let text = store.get(&head).await.expect("readable").expect("there");
    let newer = String::from_utf8_lossy(&text).replacen("\"format\":1", "\"format\":2", 1);
    assert_ne!(newer.as_bytes(), &text[..]);
    store.overwrite(&head, newer.into_bytes().into()).await.expect("a hint");
    assert!(read_summary(&store, &run_id()).await.is_none());
}

#[tokio::test]
async fn a_summary_of_what_the_log_does_not_hold_is_passed_over() {
    let (store, ..) = summarized().await;
    assert!(store.delete(&segment_key(&segment(1))).await.expect("ours"));
    assert!(read_summary(&store, &run_id()).await.is_none(), "its segment is lost");
    let other = [at(0, run_started()), at(0, driver_started(1))];
    assert_eq!(append(&store, &segment(1), &other).await.expect("room"), Appended::Ours);
    assert!(read_summary(&store, &run_id()).await.is_none(), "another segment stands there");
}

#[tokio::test]
async fn what_a_new_driver_left_out_of_the_log_is_left_out_of_what_readers_see() {
    let (store, shape, events) = summarized().await;
    let whereabouts = Whereabouts::default();
    // Of the whole log, although the next driver continues from the first segment.
    let (state, figures) = folded(&shape, &events);
    write_summary(&store, &run_id(), at_segment(2), &keep(&state, &figures), &whereabouts, b"").await.expect("room");
    let Event::DriverStarted { engine, budgets_reset, retried, .. } = driver_started(2) else { unreachable!() };
    let next =
        Event::DriverStarted { driver: 2, engine, continues: at_segment(1), budgets_reset, retried, damaged: None };
    let second = SegmentId { driver: 2, ..segment(1) };
    assert_eq!(append(&store, &second, &[at(0, next)]).await.expect("room"), Appended::Ours);
    let summary = read_summary(&store, &run_id()).await.expect("it fits the log as far as it can know");
    assert!(
        read_since(&store, &run_id(), summary.position()).await.expect("readable").anew,
        "the log is read as a whole"
    );
    assert_eq!(glance(&store, &run_id()).await, None);
}

#[tokio::test]
async fn a_glance_is_given_only_by_a_summary_of_the_whole_log() {
    let (store, shape, events) = summarized().await;
    assert_eq!(glance(&store, &run_id()).await, None);
    let (state, figures) = folded(&shape, &events);
    write_summary(&store, &run_id(), at_segment(2), &keep(&state, &figures), &Whereabouts::default(), b"")
        .await
        .expect("room");
    assert_eq!(glance(&store, &run_id()).await, Some(Glance::of(None, &figures.finish())));
}

#[tokio::test]
async fn one_summary_of_a_run_stands_and_a_writer_that_was_killed_in_between_leaves_the_older() {
    let (store, shape, events) = summarized().await;
    let before = keys(&store).await;
    let (state, figures) = folded(&shape, &events);
    for _ in 2..5 {
        write_summary(&store, &run_id(), at_segment(2), &keep(&state, &figures), &Whereabouts::default(), b"")
            .await
            .expect("room");
        assert_eq!(keys(&store).await.len(), 2, "a head and its body");
    }
    assert!(!keys(&store).await.contains(&before[1]));
    // Killed after the body: nobody names it.
    let (driver, _) = before[1].as_str().rsplit_once('-').expect("a body");
    let stray = ObjectKey::new(format!("{driver}-{}", descending(9))).expect("a key");
    let _new = store.create(&stray, "half".into()).await.expect("room");
    assert_eq!(read_summary(&store, &run_id()).await.map(|summary| summary.position()), Some(at_segment(2)));
    let second = Position { driver: 2, seq: 1 };
    let id = SegmentId { driver: 2, ..segment(1) };
    assert_eq!(append(&store, &id, &[at(0, driver_started(2))]).await.expect("room"), Appended::Ours);
    write_summary(&store, &run_id(), second, &keep(&state, &figures), &Whereabouts::default(), b"")
        .await
        .expect("room");
    assert_eq!(keys(&store).await.len(), 2, "the next driver clears up after it");
}

#[tokio::test]
async fn the_segments_of_a_step_are_told() {
    let (store, ..) = summarized().await;
    let summary = read_summary(&store, &run_id()).await.expect("it was just written");
    assert_eq!(summary.segments_of(&[StepIndex::new(0)]), Some(vec![at_segment(1)]));
    assert_eq!(summary.segments_of(&[StepIndex::new(1)]), Some(vec![]));
    assert_eq!(summary.definitions(), b"where");
}
