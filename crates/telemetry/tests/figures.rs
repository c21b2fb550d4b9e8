//! What Prometheus is told of a run.

use std::collections::{BTreeMap, BTreeSet};

use prunella_healing::{Ending, Evidence, Phase, Spent};
use prunella_journal::{Event, Position, RunStatus, Stamped};
use prunella_model::{
    Artifact, ArtifactKind, ByteSize, CheckpointId, Class, Digest, Epoch, PipelineName, PortName, RunId, SlotId, Span,
    StepId, StepKey, StepName, WriterId,
};
use prunella_telemetry::{Course, NAMES, exposition, serve};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

fn at(mono: u64, event: Event) -> Stamped {
    Stamped { at_ms: 1_700_000_000_000 + mono, mono: Span::from_millis(mono), event }
}

fn step(n: u64) -> StepId {
    StepId::plain(StepName::new(&format!("step-{n}")).expect("a name"))
}

fn slot(n: u64, epoch: u64) -> SlotId {
    SlotId { key: StepKey(Digest::of(&n.to_le_bytes())), epoch: Epoch(epoch) }
}

fn began() -> Vec<Stamped> {
    let (run, pipeline) = (RunId::new("run-1").expect("an id"), PipelineName::new("digits").expect("a name"));
    let (engine, continues) = ("test".to_owned(), Position::START);
    vec![
        at(0, Event::RunStarted { run, pipeline, graph: Digest::of(b""), params: BTreeMap::new() }),
        at(
            0,
            Event::DriverStarted { driver: 1, engine, continues, budgets_reset: false, retried: None, damaged: None },
        ),
    ]
}

/// A step that is killed 100 ms into its program, after a checkpoint, and then commits.
fn killed_and_back(n: u64, from: u64) -> Vec<Stamped> {
    let (one, two, id) = (slot(n, 1), slot(n, 2), step(n));
    let checkpoint = CheckpointId { slot: one, seq: 1 };
    let (size, took) = (ByteSize(4096), Span::from_millis(2));
    let writer = WriterId::from_random(1);
    let model = Artifact { kind: ArtifactKind::File, digest: Digest::of(b"model"), size_bytes: 5 };
    let process = |slot| Event::ProcessStarted { step: step(n), slot, pid: 1, accelerators: Vec::new() };
    vec![
        at(from, Event::AttemptStarted { step: id.clone(), slot: one, writer: writer.clone() }),
        at(from + 10, process(one)),
        at(from + 62, Event::CheckpointTaken { step: id.clone(), slot: one, checkpoint, size, took }),
        at(from + 70, Event::CheckpointDurable { step: id.clone(), slot: one, checkpoint, size, took }),
        at(
            from + 110,
            Event::AttemptEnded {
                step: id.clone(),
                slot: one,
                class: Class::Killed,
                evidence: Box::new(Evidence::of(Ending::Signaled { signal: 9, by_us: None }, Phase::Run)),
                spent: Box::new(Spent::default()),
                compute: Span::from_millis(100),
                lost: Span::from_millis(50),
            },
        ),
        at(from + 120, Event::AttemptStarted { step: id.clone(), slot: two, writer }),
        at(from + 125, Event::StateRestored { step: id.clone(), slot: two, checkpoint, took }),
        at(from + 130, process(two)),
        at(
            from + 200,
            Event::StepCommitted {
                step: id,
                slot: two,
                artifacts: [(PortName::new("model").expect("a name"), model)].into(),
                compute: Span::from_millis(70),
            },
        ),
    ]
}

/// Returns the samples by name and labels, having looked whether each has its HELP and TYPE.
fn samples(text: &str) -> BTreeMap<String, f64> {
    let (mut described, mut kind) = (BTreeSet::new(), BTreeMap::new());
    let mut samples = BTreeMap::new();
    for line in text.lines() {
        if let Some(help) = line.strip_prefix("# HELP ") {
            let (name, words) = help.split_once(' ').expect("words");
            assert!(!words.is_empty() && described.insert(name.to_owned()), "{line}");
        } else if let Some(of) = line.strip_prefix("# TYPE ") {
            let (name, of) = of.split_once(' ').expect("a type");
            assert!(["counter", "gauge", "histogram"].contains(&of), "{line}");
            kind.insert(name.to_owned(), of.to_owned());
        } else {
            let (series, value) = line.rsplit_once(' ').expect("a value");
            let name = series.split('{').next().expect("a name");
            let family = ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end));
            let family = family.filter(|family| kind.get(*family).is_some_and(|of| of == "histogram")).unwrap_or(name);
            assert!(described.contains(family) && kind.contains_key(family), "{line}");
            let value = if value == "+Inf" { f64::INFINITY } else { value.parse().expect(line) };
            assert!(samples.insert(series.to_owned(), value).is_none(), "twice: {line}");
        }
    }
    samples
}

#[test]
fn the_figures_are_those_of_the_journal_in_base_units() {
    let mut events = began();
    events.extend(killed_and_back(1, 100));
    let mut course = Course::of(&events);
    let open = samples(&exposition("1.2.3", &[&course]));
    assert_eq!(open["prunella_run_status{pipeline=\"digits\",status=\"open\"}"], 1.0);
    assert!(!open.keys().any(|series| series.starts_with("prunella_lineage_coverage_ratio")), "nobody has said so yet");

    course.push(&at(310, Event::RunEnded { status: RunStatus::Succeeded }));
    course.covers(Some(1.0));
    let all = samples(&exposition("1.2.3", &[&course]));
    for (series, value) in [
        ("prunella_build_info{version=\"1.2.3\"}", 1.0),
        ("prunella_run_status{pipeline=\"digits\",status=\"open\"}", 0.0),
        ("prunella_run_status{pipeline=\"digits\",status=\"succeeded\"}", 1.0),
        ("prunella_run_start_time_seconds{pipeline=\"digits\"}", 1_700_000_000.0),
        ("prunella_run_driven_seconds{pipeline=\"digits\"}", 0.31),
        ("prunella_attempts_total{pipeline=\"digits\"}", 2.0),
        ("prunella_commits_total{pipeline=\"digits\"}", 1.0),
        ("prunella_attempts_running{pipeline=\"digits\"}", 0.0),
        ("prunella_interruptions_total{pipeline=\"digits\",class=\"killed\"}", 1.0),
        ("prunella_steps{pipeline=\"digits\",outcome=\"run\"}", 1.0),
        ("prunella_checkpoints_total{pipeline=\"digits\"}", 1.0),
        ("prunella_checkpoint_bytes_total{pipeline=\"digits\"}", 4096.0),
        ("prunella_restores_total{pipeline=\"digits\"}", 1.0),
        ("prunella_committed_bytes{pipeline=\"digits\"}", 5.0),
        ("prunella_lineage_coverage_ratio{pipeline=\"digits\"}", 1.0),
        // Gone at 210, ready at 230.
        ("prunella_recovery_seconds_count{pipeline=\"digits\"}", 1.0),
        ("prunella_recovery_seconds_bucket{pipeline=\"digits\",le=\"0.05\"}", 1.0),
        ("prunella_recovery_seconds_bucket{pipeline=\"digits\",le=\"+Inf\"}", 1.0),
        // 10 + 100 and 10 + 70; of the first what came after 50, of the second what bringing it up took.
        ("prunella_compute_seconds{pipeline=\"digits\"}", 0.19),
        ("prunella_compute_lost_seconds{pipeline=\"digits\",reason=\"killed\"}", 0.05),
        ("prunella_compute_lost_seconds{pipeline=\"digits\",reason=\"restart\"}", 0.01),
    ] {
        assert_eq!(all.get(series), Some(&value), "{series} in {all:#?}");
    }
}

#[test]
fn what_is_exported_is_what_is_named_and_the_names_keep_the_conventions() {
    let mut events = began();
    events.extend(killed_and_back(1, 100));
    let mut course = Course::of(&events);
    course.covers(Some(1.0));
    let exported: BTreeSet<String> = samples(&exposition("1", &[&course]))
        .keys()
        .map(|series| series.split('{').next().expect("a name").to_owned())
        .collect();
    let named: BTreeSet<String> = NAMES.iter().flat_map(|name| name.exported()).collect();
    // Of what did not happen there are no classes.
    let without: Vec<_> = named.difference(&exported).map(String::as_str).collect();
    assert_eq!(without, ["prunella_failures_total"]);
    assert_eq!(exported.difference(&named).count(), 0);
    for name in NAMES {
        let plain = name.name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
        assert!(plain && name.name.starts_with("prunella_"), "{}", name.name);
        for unit in ["_ms", "_milliseconds", "_minutes", "_percent", "_kb", "_total"] {
            assert!(!name.name.ends_with(unit), "{}: base units only", name.name);
        }
    }
}

#[test]
fn there_are_no_more_series_however_many_steps_and_attempts() {
    let series = |steps: u64| {
        let mut events = began();
        (0..steps).for_each(|n| events.extend(killed_and_back(n, 100 + n * 300)));
        samples(&exposition("1", &[&Course::of(&events)])).len()
    };
    assert_eq!(series(1), series(1000));
}

async fn ask(address: std::net::SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(address).await.expect("somebody listens");
    stream.write_all(request.as_bytes()).await.expect("it reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("it answers and closes");
    answer
}

#[tokio::test]
async fn the_endpoint_answers_one_question_and_survives_those_that_are_none() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("bound");
    let serving = tokio::spawn(serve(listener, || "figures 1\n".to_owned()));
    let answer = ask(address, "GET /metrics HTTP/1.1\r\nHost: here\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.ends_with("\r\n\r\nfigures 1\n"), "{answer}");
    assert!(answer.contains("content-type: text/plain; version=0.0.4"), "{answer}");
    assert!(ask(address, "GET / HTTP/1.1\r\nHost: here\r\n\r\n").await.starts_with("HTTP/1.1 404 "));
    assert!(
        ask(address, "POST /metrics HTTP/1.1\r\nHost: here\r\nContent-Length: 0\r\n\r\n")
            .await
            .starts_with("HTTP/1.1 405 ")
    );
    // No HTTP at all, and nobody who says anything.
    let _silent = TcpStream::connect(address).await.expect("somebody listens");
    let _nothing = ask(address, "\u{0}\u{1}\r\n\r\n").await;
    assert!(ask(address, "GET /metrics HTTP/1.1\r\nHost: here\r\n\r\n").await.ends_with("figures 1\n"));
    serving.abort();
}
