//! Receivers that are not there, hang, refuse or talk nonsense: the run ends as it would without them, and says what is missing.

use std::{
    collections::BTreeSet,
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    sync::{Arc, Mutex},
    thread,
    time::{Duration, Instant},
};

use crate::home::{Home, SMALL};

/// Reads one request of HTTP to its end and returns its body; nothing if nobody asks any more.
fn request(stream: &mut TcpStream) -> Option<Vec<u8>> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        (stream.read(&mut byte).ok()? == 1).then(|| head.push(byte[0]))?;
    }
    let head = String::from_utf8_lossy(&head).to_ascii_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "))?.trim().parse().ok()?;
    let mut body = vec![0; length];
    stream.read_exact(&mut body).ok().map(|()| body)
}

/// The bodies of all requests so far, in their order.
type Asked = Arc<Mutex<Vec<Vec<u8>>>>;

/// Answers every request as `answer` says, given how often its body came before; what is empty is never answered.
fn receiver(answer: impl Fn(usize) -> String + Send + Sync + 'static) -> (String, Asked) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let endpoint = format!("http://{}", listener.local_addr().expect("bound"));
    let (asked, answer) = (Asked::default(), Arc::new(answer));
    let all = asked.clone();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let (mut stream, all, answer) = (stream.expect("a connection"), all.clone(), answer.clone());
            thread::spawn(move || {
                while let Some(body) = request(&mut stream) {
                    let mut all = all.lock().expect("nobody panics");
                    let before = all.iter().filter(|one| **one == body).count();
                    all.push(body);
                    drop(all);
                    let answer = answer(before);
                    match answer.is_empty() {
                        // Until the other side goes.
                        true => _ = stream.read(&mut [0; 1]),
                        false => _ = stream.write_all(answer.as_bytes()),
                    }
                }
            });
        }
    });
    (endpoint, asked)
}

/// Returns how often each request was made; there are at least one of each signal.
fn times(asked: &Asked) -> Vec<usize> {
    let all = asked.lock().expect("nobody panics");
    let different: BTreeSet<&Vec<u8>> = all.iter().collect();
    assert!(different.len() >= 3, "spans, figures and log records");
    different.into_iter().map(|body| all.iter().filter(|one| *one == body).count()).collect()
}

fn status(status: &str, headers: &str) -> String {
    format!("HTTP/1.1 {status}\r\n{headers}Content-Length: 0\r\n\r\n")
}

/// Runs a small pipeline that is told there; returns what it said and how long it took.
fn run(endpoint: &str) -> (String, Duration) {
    let home = Home::with(SMALL);
    let begun = Instant::now();
    let told = home.run(&["run", "--otlp-endpoint", endpoint]).exits(0);
    assert!(told.out.contains("succeeded"), "{}", told.out);
    (told.err, begun.elapsed())
}

#[test]
fn a_receiver_that_is_not_there_changes_nothing_and_is_said_once() {
    let gone = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("bound");
    let (said, _) = run(&format!("http://{gone}"));
    let lines: Vec<&str> = said.lines().filter(|line| line.contains("OpenTelemetry")).collect();
    let [spans, logs, figures] = lines[..] else { panic!("{said}") };
    assert!(spans.contains("spans were not delivered to http://127.0.0.1:") && spans.contains("refused"), "{spans}");
    assert!(logs.contains("log records were not delivered") && figures.contains("the last figures were not"), "{said}");
}

#[test]
fn a_receiver_that_never_answers_is_waited_for_a_few_seconds_at_most() {
    let (endpoint, asked) = receiver(|_| String::new());
    let (said, took) = run(&endpoint);
    assert!(said.contains("spans were not delivered") && said.contains("it did not answer in time"), "{said}");
    times(&asked);
    // Three seconds, and the run; a machine may be slow.
    assert!(took < Duration::from_secs(30), "{took:?}");
}

#[test]
fn what_is_refused_is_not_sent_again_and_what_is_asked_for_later_is() {
    for refusal in ["400 Bad Request", "500 Internal Server Error"] {
        let (endpoint, asked) = receiver(move |_| status(refusal, ""));
        let (said, _) = run(&endpoint);
        assert!(said.contains("not delivered") && said.contains(&format!("HTTP {refusal}")), "{said}");
        assert!(times(&asked).iter().all(|times| *times == 1), "{refusal}");
    }
    let later = |before| match before {
        0 => status("429 Too Many Requests", "Retry-After: 1\r\n"),
        _ => status("200 OK", ""),
    };
    let (endpoint, asked) = receiver(later);
    let (said, _) = run(&endpoint);
    assert!(!said.contains("OpenTelemetry"), "all of it arrived: {said}");
    assert!(times(&asked).iter().all(|times| *times == 2));
    // One that asks for more time than there is has none.
    let (endpoint, asked) = receiver(|_| status("503 Service Unavailable", "Retry-After: 3600\r\n"));
    let (said, _) = run(&endpoint);
    assert!(said.contains("HTTP 503 Service Unavailable"), "{said}");
    assert!(times(&asked).iter().all(|times| *times == 1));
}

#[test]
fn nonsense_is_no_reason_to_send_again_and_part_of_a_success_is_told() {
    let taken = "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n\u{1}\u{2}nonsense";
    let (endpoint, asked) = receiver(move |_| taken.to_owned());
    let (said, _) = run(&endpoint);
    assert!(!said.contains("OpenTelemetry"), "it was taken, whatever that says: {said}");
    assert!(times(&asked).iter().all(|times| *times == 1));
    // Nobody is told anywhere else than it was said.
    let elsewhere = TcpListener::bind("127.0.0.1:0").expect("a port");
    elsewhere.set_nonblocking(true).expect("ours");
    let there = format!("Location: http://{}/\r\n", elsewhere.local_addr().expect("bound"));
    let (endpoint, _) = receiver(move |_| status("307 Temporary Redirect", &there));
    let (said, _) = run(&endpoint);
    assert!(said.contains("HTTP 307 Temporary Redirect"), "{said}");
    assert!(elsewhere.accept().is_err(), "nobody came");
    let (endpoint, _) = receiver(|_| "what?\r\n\r\n".to_owned());
    let (said, _) = run(&endpoint);
    assert!(said.contains("spans were not delivered"), "{said}");
    let body = r#"{"partialSuccess":{"rejectedSpans":"2","errorMessage":"too\u001b[2J old"}}"#;
    let length = body.len();
    let (endpoint, _) = receiver(move |_| {
        format!("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}")
    });
    let (said, _) = run(&endpoint);
    assert!(said.contains("/v1/traces rejected ") && said.contains(" spans: too [2J old"), "{said}");
}

#[test]
fn a_mistake_on_the_command_line_is_refused_and_one_in_the_environment_is_said() {
    let home = Home::with(SMALL);
    let refused = home.run(&["run", "--otlp-endpoint", "127.0.0.1:4318"]).exits(2);
    assert!(
        refused.err.contains("no address of HTTP") && refused.err.contains("http://127.0.0.1:4318"),
        "{}",
        refused.err
    );
    let mut command = home.command(&["run"]);
    command.env("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:4317").env("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc");
    let output = command.output().expect("it starts");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "it concerns all programs of an environment: {said}");
    assert!(said.contains("OpenTelemetry is told nothing") && said.contains("usually 4318 instead of 4317"), "{said}");
    let answer = home.run(&["report", "--otlp"]).exits(2);
    assert!(answer.err.contains("no receiver of traces is named"), "{}", answer.err);
}
