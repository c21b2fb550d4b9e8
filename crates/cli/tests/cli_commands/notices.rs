//! Notices of a cloud: a run, and one attempt by itself, against a metadata service on this machine.

use std::{
    io::{BufRead, BufReader, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use crate::home::{Home, hear, let_go};

/// An EC2 that says that its capacity is at risk, and `terminate`, each from when it is told to, as the second version of its service does.
struct Ec2 {
    address: SocketAddr,
    ends: Arc<AtomicBool>,
    at_risk: Arc<AtomicBool>,
}

impl Ec2 {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("bound");
        let (ends, at_risk) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
        let (says, risks) = (ends.clone(), at_risk.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                serve(stream, says.load(Ordering::SeqCst), risks.load(Ordering::SeqCst));
            }
        });
        Self { address, ends, at_risk }
    }

    fn ends(&self) {
        self.ends.store(true, Ordering::SeqCst);
    }

    fn is_at_risk(&self) {
        self.at_risk.store(true, Ordering::SeqCst);
    }

    fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }
}

fn serve(mut stream: TcpStream, ends: bool, at_risk: bool) {
    let lines: Vec<String> =
        BufReader::new(&stream).lines().map_while(Result::ok).take_while(|line| !line.is_empty()).collect();
    let has_token = lines.iter().any(|line| line.eq_ignore_ascii_case("x-aws-ec2-metadata-token: T0KEN=="));
    let first = lines.first().map_or("", String::as_str);
    let (status, body) = match first.split(' ').take(2).collect::<Vec<_>>()[..] {
        ["PUT", "/latest/api/token"] => (200, "T0KEN=="),
        ["GET", _] if !has_token => (401, ""),
        // The year is far away, so that two minutes are left, the most that is promised.
        ["GET", "/latest/meta-data/spot/instance-action"] if ends => {
            (200, r#"{"action": "terminate", "time": "2999-09-18T08:22:00Z"}"#)
        }
        ["GET", "/latest/meta-data/events/recommendations/rebalance"] if at_risk => {
            (200, r#"{"noticeTime": "2999-09-18T08:00:00Z"}"#)
        }
        _ => (404, ""),
    };
    let answer = format!("HTTP/1.1 {status} Said\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len());
    let _whoever_asked_is_gone = stream.write_all(answer.as_bytes());
}

/// A step that writes a checkpoint when it gets its notice, and goes on from there.
fn patient(begun: &Path, go: &Path) -> String {
    format!(
        "prunella: v1
name: patient
steps:
  first: {{ run: 'echo 1 >one', outputs: {{ one: one }} }}
  wait:
    run: |
      if [ $PRUNELLA_RESTORED = 1 ]; then cat $PRUNELLA_CHECKPOINT_DIR/* >out; exit; fi
      trap 'echo saved >$PRUNELLA_CHECKPOINT_DIR/.p; mv $PRUNELLA_CHECKPOINT_DIR/.p $PRUNELLA_CHECKPOINT_DIR/p; exit 143' TERM
      echo begun >{}
      read x <{} || exit 143
      echo whole >out
    inputs: {{ one: first.one }}
    outputs: {{ out: out }}
    checkpoint: {{ format: files, grace: 20s }}
",
        begun.display(),
        go.display()
    )
}

fn home() -> (Home, std::path::PathBuf, std::path::PathBuf) {
    let home = Home::new();
    let (begun, go) = (home.pipe("begun"), home.pipe("go"));
    home.write("pipeline.yaml", &patient(&begun, &go));
    (home, begun, go)
}

#[test]
fn a_run_that_its_cloud_interrupts_ends_in_checkpoints_and_the_next_goes_on() {
    let (home, begun, _go) = home();
    let ec2 = Ec2::start();
    let mut command = home.command(&["run", "--notices", "aws"]);
    command.env("PRUNELLA_METADATA_ENDPOINT", ec2.endpoint()).stdout(std::process::Stdio::piped());
    let engine = command.spawn().expect("the binary starts");
    assert_eq!(hear(&begun), "begun\n");
    ec2.ends();
    let ended = engine.wait_with_output().expect("it ends");
    let out = String::from_utf8_lossy(&ended.stdout);
    assert_eq!(ended.status.code(), Some(75), "{out}");
    assert!(out.contains("aws: this machine goes away in 2 min 00 s (terminate)"), "{out}");

    let status = home.json(&["status"]);
    let explained = home.json(&["explain", "wait"]);
    let attempt = &explained["attempts"][0];
    assert_eq!((&status["status"], &attempt["class"]), (&"stopped".into(), &"preempted".into()), "{explained}");
    assert_eq!(attempt["evidence"]["notice"]["source"], "aws");
    let left = attempt["evidence"]["notice"]["deadline_ms"].as_u64().expect("it was stated")
        - attempt["evidence"]["notice"]["at_ms"].as_u64().expect("it was seen");
    assert!(left > 100_000 && left <= 120_000, "two minutes less the margin: {left} ms");
    assert_eq!(explained["checkpoints"][0], "1-1", "its checkpoint is durable");

    // Elsewhere, or later: the same run goes on from the checkpoint, and a service that is gone disturbs nothing.
    drop(ec2);
    home.run(&["run", "--notices", "none"]).exits(0);
    assert_eq!(home.json(&["status"])["run"], status["run"]);
    assert_eq!(home.run(&["get", "wait.out", "-"]).exits(0).out, "saved\n");
}

#[test]
fn a_hint_of_the_cloud_is_written_down_once_and_its_checkpoint_serves_if_the_machine_goes_without_a_word() {
    let home = Home::new();
    let (begun, go) = (home.pipe("begun"), home.pipe("go"));
    let save = |what: &str| format!("echo {what} >$c/.{what}; mv $c/.{what} $c/{what}");
    let (begun_at, go_at) = (begun.display(), go.display());
    home.write(
        "pipeline.yaml",
        &format!(
            "prunella: v1
name: patient
steps:
  wait:
    run: |
      c=$PRUNELLA_CHECKPOINT_DIR
      if [ $PRUNELLA_RESTORED = 1 ]; then cat $c/* >out; exit; fi
      {}
      prunella_waits() {{ echo $1 >{begun_at}; read x <{go_at}; }}
      prunella_waits one
      {}
      prunella_waits two
      kill -9 $$
    outputs: {{ out: out }}
    checkpoint: {{ format: files, every: 1h }}
",
            save("one"),
            save("two"),
        ),
    );
    let ec2 = Ec2::start();
    let mut command = home.command(&["run", "--notices", "aws"]);
    command.env("PRUNELLA_METADATA_ENDPOINT", ec2.endpoint()).stdout(std::process::Stdio::piped());
    let engine = command.spawn().expect("the binary starts");
    assert_eq!(hear(&begun), "one\n");
    // The first entry is taken at once, the second only when somebody asks: an hour has not passed.
    home.until(|| home.json(&["explain", "wait"])["checkpoints"][0] == "1-1");
    let_go(&go);
    assert_eq!(hear(&begun), "two\n");
    ec2.is_at_risk();
    home.until(|| home.json(&["explain", "wait"])["checkpoints"][0] == "1-2");
    let_go(&go);
    let ended: crate::home::Answer = engine.wait_with_output().expect("it ends").into();
    let out = ended.exits(0).out;
    assert_eq!(out.matches("aws: rebalance recommendation").count(), 1, "{out}");
    assert!(out.contains("1 hint of the cloud"), "{out}");
    assert_eq!(home.run(&["get", "wait.out", "-"]).exits(0).out, "two\n", "it went on from the newer one");

    let hints = &home.json(&["status"])["figures"]["hints"];
    assert_eq!((hints.as_array().map(Vec::len), &hints[0]["source"]), (Some(1), &"aws".into()), "{hints}");
    assert_eq!(&home.json(&["explain", "wait"])["hints"], hints);
    for words in [&["status"][..], &["explain", "wait"]] {
        let said = home.run(words).exits(0).out;
        assert!(said.contains("hint from aws") && said.contains("rebalance recommendation"), "{said}");
    }
}

#[test]
fn one_attempt_by_itself_hears_of_it_too() {
    let (home, begun, _go) = home();
    home.run(&["run", "first"]).exits(0);
    let run = home.json(&["status"])["run"].as_str().expect("an id").to_owned();
    let ec2 = Ec2::start();
    let mut command = home.command(&["exec", "--run", &run, "--step", "wait", "--output", "json"]);
    command.env("PRUNELLA_NOTICES", "aws").env("PRUNELLA_METADATA_ENDPOINT", ec2.endpoint());
    command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
    let child = command.spawn().expect("the binary starts");
    assert_eq!(hear(&begun), "begun\n");
    ec2.ends();
    let ended: crate::home::Answer = child.wait_with_output().expect("it ends").into();
    let ended = ended.exits(75);
    assert!(
        ended.err.contains("aws: this machine goes away") && ended.err.contains("notice from `aws`"),
        "{}",
        ended.err
    );
    assert_eq!(ended.json()["evidence"]["notice"]["source"], "aws");
}

#[test]
fn a_service_that_is_not_there_disturbs_nothing_and_is_told_once() {
    let (home, begun, go) = home();
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let endpoint = format!("http://{}", listener.local_addr().expect("bound"));
    drop(listener);
    let mut command = home.command(&["run", "--notices", "azure"]);
    command.env("PRUNELLA_METADATA_ENDPOINT", &endpoint).stdout(std::process::Stdio::piped());
    let engine = command.spawn().expect("the binary starts");
    assert_eq!(hear(&begun), "begun\n");
    let_go(&go);
    let ended: crate::home::Answer = engine.wait_with_output().expect("it ends").into();
    let out = ended.exits(0).out;
    assert_eq!(out.matches("azure: no cloud notices for now: no connection to").count(), 1, "{out}");
    assert_eq!(home.run(&["get", "wait.out", "-"]).exits(0).out, "whole\n");
}

#[test]
fn a_service_that_never_answers_holds_up_neither_the_start_nor_the_end() {
    let home = Home::with("prunella: v1\nname: quick\nsteps:\n  one: { run: 'echo 1 >one', outputs: { one: one } }\n");
    // Connections are taken by the system, and nobody reads them.
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let endpoint = format!("http://{}", listener.local_addr().expect("bound"));
    let begun = std::time::Instant::now();
    for cloud in ["aws", "gcp", "azure"] {
        let mut command = home.command(&["run", "--new", "--notices", cloud]);
        let ended: crate::home::Answer =
            command.env("PRUNELLA_METADATA_ENDPOINT", &endpoint).output().expect("the binary starts").into();
        let ended = ended.exits(0);
        assert!(!ended.out.contains("cloud notices"), "{}", ended.out);
    }
    assert!(begun.elapsed().as_secs() < 15, "no run waited for its watcher: {:?}", begun.elapsed());
}

#[test]
fn what_was_asked_for_wrongly_is_said_before_anything_is_done() {
    let (home, ..) = home();
    assert!(home.run(&["run", "--notices", "skynet"]).exits(2).err.contains("aws"));
    let mut command = home.command(&["run"]);
    command.env("PRUNELLA_METADATA_ENDPOINT", "http://metadata.google.internal");
    let refused: crate::home::Answer = command.output().expect("the binary starts").into();
    assert!(refused.exits(2).err.contains("with an IP address"));
    assert_eq!(home.names(), ["pipeline.yaml"]);
}
