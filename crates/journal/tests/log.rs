//! The log: bytes that are read for ever, and damage that is always noticed.

mod common;

use common::*;
use proptest::prelude::*;
use prunella_journal::*;
use prunella_model::*;
use prunella_objects::{Created, Memory, Objects};
use prunella_sys::Sys;

fn segment(driver: u64, seq: u64) -> SegmentId {
    SegmentId { run: run_id(), driver, seq }
}

fn one_of_each() -> Vec<Stamped> {
    (0..).zip(Event::KINDS).map(|(n, kind)| at(n * 10, sample(kind, "train", slot(1, 2)))).collect()
}

fn driver(driver: u64, continues: Position) -> Event {
    Event::DriverStarted {
        driver,
        engine: "0.1.0".to_owned(),
        continues,
        budgets_reset: false,
        retried: None,
        damaged: None,
    }
}

fn wait<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().expect("a runtime").block_on(future)
}

fn missed(step: &str) -> Stamped {
    at(5, Event::StepMissed { step: id(step) })
}

#[test]
fn the_first_format_is_read_for_ever() {
    let golden = include_bytes!("golden/journal-v1.jsonl");
    let (head, events) = decode("golden", golden).expect("what was written by version 1 is read by every later one");
    assert_eq!(head, segment(1, 1));
    let later = |stamped: &Stamped| LATER.iter().any(|(_, kinds)| kinds.contains(&stamped.event.kind()));
    let first = (0..).zip(one_of_each().into_iter().filter(|stamped| !later(stamped)));
    let first: Vec<Stamped> = first.map(|(n, stamped)| at(n * 10, stamped.event)).collect();
    assert_eq!(events, first);
    assert_eq!(encode(&head, &events), golden.as_slice(), "and written as it was");
}

/// Events that came after the first version, each group with its golden lines.
const LATER: &[(&[u8], &[&str])] = &[
    (include_bytes!("golden/checkpoints.jsonl"), &["snapshot_skipped", "checkpoint_interval_chosen"]),
    (include_bytes!("golden/conditions.jsonl"), &["step_decided", "step_skipped"]),
    (include_bytes!("golden/ends.jsonl"), &["run_concluded"]),
    (include_bytes!("golden/effects.jsonl"), &["effects_done", "effect_failed", "effects_given_up"]),
    (include_bytes!("golden/again.jsonl"), &["commit_damaged"]),
    (include_bytes!("golden/hints.jsonl"), &["hint_received"]),
];

#[test]
fn events_that_came_later_are_read_for_ever_too() {
    for (golden, kinds) in LATER {
        let (head, events) = decode("golden", golden).expect("readable by every version since");
        let expected: Vec<Stamped> =
            (0..).zip(*kinds).map(|(n, kind)| at(n * 10, sample(kind, "train", slot(1, 2)))).collect();
        assert_eq!(events, expected);
        assert_eq!(encode(&head, &events), *golden, "and written as it was");
    }
}

#[test]
fn every_single_flipped_bit_and_every_cut_is_noticed() {
    let bytes = encode(&segment(1, 1), &one_of_each()[..6]);
    for place in 0..bytes.len() {
        for bit in 0..8 {
            let mut changed = bytes.to_vec();
            changed[place] ^= 1 << bit;
            let error = decode("s", &changed).expect_err("a flipped bit");
            assert!(matches!(error, JournalError::Damaged { .. } | JournalError::Torn { .. }), "{error}");
        }
        assert!(decode("s", &bytes[..place]).is_err(), "cut after {place} bytes");
    }
    let mut longer = bytes.to_vec();
    longer.extend_from_slice(b"\n");
    assert!(decode("s", &longer).is_err());
}

/// Seals lines as another version might have written them.
fn sealed(lines: &[&str]) -> Vec<u8> {
    let mut out = lines.join("\n").into_bytes();
    out.push(b'\n');
    let foot = format!("{{\"end\":\"{}\"}}\n", Digest::of(&out));
    out.extend_from_slice(foot.as_bytes());
    out
}

#[test]
fn what_a_newer_version_wrote_is_an_error_and_never_skipped() {
    let head = r#"{"prunella_journal":1,"run":"run-1","driver":1,"seq":1}"#;
    let event = r#"{"v":1,"at_ms":1,"mono_ms":1,"event":{"type":"step_missed","step":{"name":"a"}}}"#;
    assert_eq!(decode("s", &sealed(&[head, event])).expect("this version").1.len(), 1);
    let newer_kind = r#"{"v":1,"at_ms":1,"mono_ms":1,"event":{"type":"step_teleported","to":"mars"}}"#;
    let newer_line = r#"{"v":2,"at_ms":1,"mono_ms":1,"event":{"type":"step_missed","step":{"name":"a"}}}"#;
    let newer_head = r#"{"prunella_journal":2,"run":"run-1","driver":1,"seq":1}"#;
    for lines in [[head, newer_kind], [head, newer_line], [newer_head, event]] {
        let error = decode("s", &sealed(&lines)).expect_err("newer");
        assert!(matches!(error, JournalError::NewerFormat { .. }), "{error}");
        assert_eq!(error.remedy(), Remedy::Update);
    }
    let broken = r#"{"v":1,"at_ms":1,"mono_ms":1,"event":{"type":"step_missed"}}"#;
    let error = decode("s", &sealed(&[head, event, broken])).expect_err("no step");
    assert!(matches!(error, JournalError::Line { line: 3, .. }), "{error}");
}

#[test]
fn a_field_that_an_older_version_did_not_write_has_a_default_and_a_later_one_is_passed_over() {
    let head = r#"{"prunella_journal":1,"run":"run-1","driver":1,"seq":1}"#;
    let event = r#"{"v":1,"at_ms":1,"mono_ms":1,"later":1,"event":{"type":"step_healing","step":{"name":"a"},"class":"killed","delay_ms":5,"remedy":"again","later":{"x":1}}}"#;
    let (_, events) = decode("s", &sealed(&[head, event])).expect("readable");
    let Event::StepHealing { next, .. } = &events[0].event else { panic!("another event") };
    assert_eq!(*next, NextTry { delay: Span::from_millis(5), ..NextTry::default() });
}

proptest! {
    #[test]
    fn what_was_encoded_is_decoded(
        picks in prop::collection::vec((0..Event::KINDS.len(), any::<u64>(), any::<u32>(), 1u64.., ".{0,40}"), 0..20),
        driver in 1u64..,
        seq in 1u64..,
    ) {
        let events: Vec<Stamped> = picks
            .into_iter()
            .map(|(kind, at_ms, mono, epoch, text)| {
                let mut event = sample(Event::KINDS[kind], "train", slot(epoch, epoch));
                match &mut event {
                    Event::StepFailed { why: words, .. }
                    | Event::StepHealing { remedy: words, .. }
                    | Event::CheckpointSkipped { why: words, .. }
                    | Event::SnapshotSkipped { why: words, .. }
                    | Event::CheckpointIntervalChosen { why: words, .. }
                    | Event::NoticeReceived { source: words, .. } => *words = text,
                    Event::AttemptEnded { evidence, .. } => evidence.stderr_tail = vec![text],
                    Event::StepKeyed { step, .. } => step.item = Some(Item::from_canonical(&text)),
                    _ => {}
                }
                Stamped { at_ms, mono: Span::from_millis(u64::from(mono)), event }
            })
            .collect();
        let id = segment(driver, seq);
        prop_assert_eq!(decode("s", &encode(&id, &events)).expect("it was just written"), (id, events));
    }

    #[test]
    fn arbitrary_bytes_are_refused_and_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        prop_assert!(decode("s", &bytes).is_err());
    }

    #[test]
    fn arbitrary_lines_under_a_right_seal_never_panic(lines in prop::collection::vec("[ -~]{0,60}", 0..6)) {
        let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
        prop_assert!(decode("s", &sealed(&lines)).is_err());
    }
}

#[test]
fn a_lost_answer_to_an_append_does_no_harm_and_a_rival_is_seen() {
    wait(async {
        let store = Memory::new(&Sys::real());
        let events = [missed("a")];
        assert_eq!(append(&store, &segment(1, 1), &events).await.expect("written"), Appended::Ours);
        assert_eq!(append(&store, &segment(1, 1), &events).await.expect("written"), Appended::Ours);
        assert_eq!(append(&store, &segment(1, 1), &[missed("b")]).await.expect("answered"), Appended::Theirs);
        assert_eq!(read_all(&store, &run_id()).await.expect("readable").events, events);
    });
}

#[test]
fn segments_are_read_in_the_order_they_were_written_and_only_new_ones_again() {
    wait(async {
        let store = Memory::new(&Sys::real());
        let step = |n: u64| missed(&format!("s{n}"));
        let mut written = Vec::new();
        for seq in 1..=1100 {
            let mut events = vec![step(seq)];
            if seq == 1 {
                events.insert(0, at(0, driver(1, Position::START)));
            }
            assert_eq!(append(&store, &segment(1, seq), &events).await.expect("written"), Appended::Ours);
            written.extend(events);
        }
        let read = read_all(&store, &run_id()).await.expect("readable");
        assert_eq!(read.events, written, "across several pages of the listing");
        assert_eq!(read.position, Position { driver: 1, seq: 1100 });
        let second = [at(0, driver(2, read.position)), step(7)];
        assert_eq!(append(&store, &segment(2, 1), &second).await.expect("written"), Appended::Ours);
        let more = read_since(&store, &run_id(), read.position).await.expect("readable");
        assert_eq!((more.events.as_slice(), more.anew), (second.as_slice(), false));
        let nothing = read_since(&store, &run_id(), more.position).await.expect("readable");
        assert_eq!((nothing.events.len(), nothing.position), (0, more.position));
    });
}

#[test]
fn what_a_superseded_driver_appends_later_is_evidence_and_not_state() {
    wait(async {
        let store = Memory::new(&Sys::real());
        let put = async |driver, seq, events: &[Stamped]| {
            assert_eq!(append(&store, &segment(driver, seq), events).await.expect("written"), Appended::Ours);
        };
        let first = at(0, driver(1, Position::START));
        put(1, 1, std::slice::from_ref(&first)).await;
        put(1, 2, &[missed("a")]).await;
        let second = at(0, driver(2, Position { driver: 1, seq: 2 }));
        put(2, 1, std::slice::from_ref(&second)).await;
        // The old driver has not noticed yet.
        put(1, 3, &[missed("zombie")]).await;
        put(2, 2, &[missed("b")]).await;
        let expected = [first, missed("a"), second, missed("b")];
        assert_eq!(read_all(&store, &run_id()).await.expect("readable").events, expected);
        // Who had followed the old driver that far begins anew.
        let followed = read_since(&store, &run_id(), Position { driver: 1, seq: 3 }).await.expect("readable");
        assert!(followed.anew);
        assert_eq!(followed.events, expected);
    });
}

#[test]
fn a_segment_that_is_gone_or_lies_elsewhere_is_named() {
    wait(async {
        let store = Memory::new(&Sys::real());
        for seq in 1..=3 {
            assert_eq!(append(&store, &segment(1, seq), &[missed("a")]).await.expect("written"), Appended::Ours);
        }
        assert!(store.delete(&segment_key(&segment(1, 2))).await.expect("deleted"));
        let error = read_all(&store, &run_id()).await.expect_err("a gap");
        assert!(matches!(error, JournalError::Missing { driver: 1, seq: 2, .. }), "{error}");
        assert_eq!(error.remedy(), Remedy::UseRecords);
        let bytes = encode(&segment(1, 9), &[missed("a")]);
        assert_eq!(store.create(&segment_key(&segment(1, 2)), bytes).await.expect("written"), Created::New);
        let error = read_all(&store, &run_id()).await.expect_err("another's place");
        assert!(matches!(error, JournalError::Misplaced { .. }), "{error}");
    });
}

/// Replaces a segment by what the storage made of it; nothing is a loss.
async fn rot(store: &Memory, id: &SegmentId, bytes: Option<Vec<u8>>) {
    let key = segment_key(id);
    assert!(store.delete(&key).await.expect("it answers"));
    if let Some(bytes) = bytes {
        assert_eq!(store.create(&key, bytes.into()).await.expect("it answers"), Created::New);
    }
}

#[test]
fn of_a_damaged_log_the_sound_part_counts_and_a_driver_that_goes_on_from_there_leaves_out_the_rest() {
    for lost in [false, true] {
        wait(async {
            let store = Memory::new(&Sys::real());
            let begun = at(0, driver(1, Position::START));
            for (seq, events) in [(1, vec![begun, missed("a")]), (2, vec![missed("b")]), (3, vec![missed("c")])] {
                assert_eq!(append(&store, &segment(1, seq), &events).await.expect("appended"), Appended::Ours);
            }
            let mut bytes = encode(&segment(1, 2), &[missed("b")]).to_vec();
            bytes[40] ^= 1;
            rot(&store, &segment(1, 2), (!lost).then_some(bytes)).await;
            let error = read_all(&store, &run_id()).await.expect_err("all of it is not there");
            assert_eq!(
                (error.remedy(), error.segment()),
                (Remedy::UseRecords, segment_key(&segment(1, 2)).to_string())
            );
            let (read, damage) = read_sound(&store, &run_id()).await.expect("a part is sound");
            assert_eq!(damage.map(|damage| damage.to_string()), Some(error.to_string()));
            assert_eq!((read.position, read.events.len()), (Position { driver: 1, seq: 1 }, 2));

            // The next driver goes on from there: what it left out, readers leave out.
            let next = Event::DriverStarted {
                driver: 2,
                engine: "0.1.0".to_owned(),
                continues: read.position,
                budgets_reset: false,
                retried: None,
                damaged: Some(error.to_string()),
            };
            let events = [at(0, next), missed("d")];
            assert_eq!(append(&store, &segment(2, 1), &events).await.expect("appended"), Appended::Ours);
            let all = read_all(&store, &run_id()).await.expect("what counts is sound").events;
            let steps: Vec<_> = all.iter().filter_map(|stamped| stamped.event.step()).collect();
            assert_eq!(steps, [&id("a"), &id("d")]);
            let since =
                read_since(&store, &run_id(), Position { driver: 1, seq: 1 }).await.expect("as well from a place");
            assert!(since.anew && since.events == all);
        });
    }
}

#[test]
fn what_a_newer_version_wrote_is_never_left_out_as_damage() {
    wait(async {
        let store = Memory::new(&Sys::real());
        let begun = at(0, driver(1, Position::START));
        assert_eq!(append(&store, &segment(1, 1), &[begun]).await.expect("appended"), Appended::Ours);
        let head = format!(r#"{{"prunella_journal":2,"run":"{}","driver":1,"seq":2}}"#, run_id());
        let newer = sealed(&[&head]);
        assert_eq!(store.create(&segment_key(&segment(1, 2)), newer.into()).await.expect("it answers"), Created::New);
        let error = read_sound(&store, &run_id()).await.expect_err("nobody knows what it says");
        assert_eq!(error.remedy(), Remedy::Update);
    });
}
