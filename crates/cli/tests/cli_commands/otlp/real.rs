//! What a receiver with the published schema understands of real runs.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::{Receiver, attributes, named};
use crate::home::{Home, let_go};

/// The first attempt of `train` leaves a checkpoint and is killed; the second goes on from there.
const HEALED: &str = "prunella: v1
name: healed
steps:
  first: { run: 'echo words >one; echo \"$TRACEPARENT\" >trace', outputs: { one: one, trace: trace } }
  train:
    run: |
      if [ \"$PRUNELLA_RESTORED\" = 0 ]; then
        echo 1 >\"$PRUNELLA_CHECKPOINT_DIR/state.tmp\"; mv \"$PRUNELLA_CHECKPOINT_DIR/state.tmp\" \"$PRUNELLA_CHECKPOINT_DIR/state\"
        read -r _ <GATE
        kill -9 $$
      fi
      echo \"$TRACEPARENT\" >model
    inputs: { one: first.one }
    outputs: { model: model }
    checkpoint: { }
";

/// Lets the first attempt die once its checkpoint is durable.
fn healed(home: &Home, receiver: &Receiver, more: &[(&str, &str)]) {
    let gate = home.beside("gate");
    home.pipe("gate");
    home.write("pipeline.yaml", &HEALED.replace("GATE", &gate.display().to_string()));
    let mut command = home.command(&["run", "--output", "json"]);
    command.env("OTEL_EXPORTER_OTLP_ENDPOINT", &receiver.endpoint).envs(more.iter().copied());
    let run =
        command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped()).spawn().expect("it starts");
    home.until(|| home.dir.join(".prunella").exists() && home.run(&["status"]).out.contains("train"));
    home.until(|| home.run(&["explain", "train"]).out.contains("became durable"));
    let_go(&gate);
    let output = run.wait_with_output().expect("ours");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success() && !said.contains("OpenTelemetry"), "{said}");
}

fn by_id(spans: &[Value]) -> BTreeMap<String, Value> {
    let all: BTreeMap<String, Value> =
        spans.iter().map(|span| (span["spanId"].as_str().expect("an id").to_owned(), span.clone())).collect();
    assert_eq!(all.len(), spans.len(), "each span is told of once");
    all
}

fn time(span: &Value, which: &str) -> u64 {
    span[which].as_str().expect("a time").parse().expect("nanoseconds")
}

#[test]
fn a_receiver_sees_run_step_attempt_and_phase_and_later_the_same_again() {
    let home = Home::new();
    let Some(receiver) = Receiver::start(&home, "told") else { return };
    healed(&home, &receiver, &[("OTEL_RESOURCE_ATTRIBUTES", "team=ml")]);
    let spans = receiver.spans();
    let all = by_id(&spans);

    // One trace, one root; every other span lies within its parent.
    let traces: BTreeSet<&str> = spans.iter().map(|span| span["traceId"].as_str().expect("an id")).collect();
    assert_eq!(traces.len(), 1);
    let [root] = named(&spans, "run healed")[..] else { panic!("{spans:#?}") };
    for span in spans.iter().filter(|span| span["spanId"] != root["spanId"]) {
        let parent = &all[span["parentSpanId"].as_str().expect("a parent")];
        assert!(time(span, "startTimeUnixNano") >= time(parent, "startTimeUnixNano"), "{span} {parent}");
        assert!(time(span, "endTimeUnixNano") <= time(parent, "endTimeUnixNano"), "{span} {parent}");
    }
    assert!(root["parentSpanId"].is_null());
    assert_eq!(attributes(root)["prunella.attempts"], "3");

    // The attempt that died, and the one that went on from its checkpoint.
    let [step] = named(&spans, "train")[..] else { panic!("{spans:#?}") };
    assert_eq!((&step["parentSpanId"], &step["status"]["code"]), (&root["spanId"], &Value::from("STATUS_CODE_OK")));
    assert_eq!(step["events"][0]["name"], "healing");
    let [died, went_on] = named(&spans, "train attempt")[..] else { panic!("{spans:#?}") };
    assert_eq!((&died["parentSpanId"], &died["status"]["code"]), (&step["spanId"], &Value::from("STATUS_CODE_ERROR")));
    assert_eq!(attributes(died)["error.type"], "killed");
    assert!(died["events"].as_array().expect("events").iter().any(|event| event["name"] == "checkpoint durable"));
    assert_eq!(went_on["links"][0]["spanId"], died["spanId"], "it goes on from there");
    let phases: Vec<&str> = spans
        .iter()
        .filter(|span| span["parentSpanId"] == went_on["spanId"])
        .map(|span| span["name"].as_str().expect("a name"))
        .collect();
    assert_eq!(phases, ["workspace", "restore", "run", "validate", "promote"]);

    // What runs in the attempt is its child.
    home.run(&["get", "train.model", "model"]).exits(0);
    let parent = format!("00-{}-{}-01\n", went_on["traceId"].as_str().unwrap(), went_on["spanId"].as_str().unwrap());
    assert_eq!(home.read("model"), parent);

    // The resource is said with everything.
    for told in receiver.told() {
        let kind = told["body"].as_object().expect("one").values().next().expect("one")[0].clone();
        let resource = attributes(&kind["resource"]);
        assert_eq!((&resource["service.name"], &resource["team"]), (&"prunella".into(), &"ml".into()));
    }

    // Told again of what is stored, in the other form: the same spans.
    let again = Receiver::start(&home, "again").expect("as before");
    let mut command = home.command(&["report", "--otlp-endpoint", &again.endpoint]);
    command.env("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json").env("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip");
    let output = command.output().expect("it starts");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success() && said.contains(&format!("{} spans sent", spans.len())), "{said}");
    let headers = &again.told()[0]["headers"];
    assert_eq!((&headers["content-type"], &headers["content-encoding"]), (&"application/json".into(), &"gzip".into()));
    assert_eq!(by_id(&again.spans()), all);
}

#[test]
fn figures_and_logs_arrive_with_the_names_of_the_pages_and_point_at_their_spans() {
    let home = Home::new();
    let Some(receiver) = Receiver::start(&home, "told") else { return };
    healed(&home, &receiver, &[("OTEL_METRIC_EXPORT_INTERVAL", "60000")]);
    let metrics = receiver.metrics();
    let known: BTreeSet<&str> = prunella_telemetry::NAMES.iter().map(|name| name.name).collect();
    let names: BTreeSet<&str> = metrics.iter().map(|metric| metric["name"].as_str().expect("a name")).collect();
    assert!(names.is_subset(&known) && names.contains("prunella_interruptions"), "{names:?}");
    let of = |name: &str| metrics.iter().rfind(|metric| metric["name"] == name).expect(name);
    let attempts = &of("prunella_attempts")["sum"];
    assert_eq!((&attempts["isMonotonic"], &attempts["dataPoints"][0]["asDouble"]), (&true.into(), &3.0.into()));
    assert_eq!(attempts["aggregationTemporality"], "AGGREGATION_TEMPORALITY_CUMULATIVE");
    assert_eq!(of("prunella_recovery_seconds")["histogram"]["dataPoints"][0]["count"], "1");
    assert_eq!(of("prunella_compute_seconds")["unit"], "s");

    let (logs, spans) = (receiver.logs(), receiver.spans());
    let ended = logs.iter().find(|log| log["eventName"] == "prunella.attempt.ended").expect("it died");
    assert_eq!((&ended["severityText"], &attributes(ended)["prunella.class"]), (&"WARN".into(), &"killed".into()));
    let [died, _] = named(&spans, "train attempt")[..] else { panic!("{spans:#?}") };
    assert_eq!((&ended["spanId"], &ended["traceId"]), (&died["spanId"], &died["traceId"]));
    assert!(logs.iter().any(|log| log["eventName"] == "prunella.step.healing"));
    assert!(logs.iter().all(|log| !attributes(log).contains_key("log.iostream")), "lines of steps are told if asked");
}

#[test]
fn a_run_joins_the_trace_of_its_caller_and_goes_on_in_it() {
    let home = Home::with(
        "prunella: v1\nname: joined\nsteps:\n  one: { run: 'echo $TRACEPARENT >o; test -e PASS', outputs: { o: o } }\n",
    );
    let pass = home.beside("pass");
    home.write("pipeline.yaml", &home.read("pipeline.yaml").replace("PASS", &pass.display().to_string()));
    let Some(receiver) = Receiver::start(&home, "told") else { return };
    let run = |words: &[&str], caller: &str| {
        let mut command = home.command(words);
        command.env("OTEL_EXPORTER_OTLP_ENDPOINT", &receiver.endpoint).env("TRACEPARENT", caller);
        command.output().expect("it starts").status.code()
    };
    let caller = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    assert_ne!(run(&["run"], caller), Some(0));
    std::fs::write(&pass, "").expect("ours");
    // Whoever goes on with it, from elsewhere: the run is the first caller's.
    assert_eq!(run(&["resume"], "00-11111111111111111111111111111111-2222222222222222-01"), Some(0));
    let spans = receiver.spans();
    assert!(spans.iter().all(|span| span["traceId"] == "0af7651916cd43dd8448eb211c80319c"), "{spans:#?}");
    let roots = named(&spans, "run joined");
    assert!(roots.iter().all(|root| root["parentSpanId"] == "b7ad6b7169203331"));
    let codes: Vec<&Value> = roots.iter().map(|root| &root["status"]["code"]).collect();
    assert_eq!(codes, ["STATUS_CODE_ERROR", "STATUS_CODE_OK"], "a failed run has ended; a resumed one ends again");
    assert_eq!(roots[0]["spanId"], roots[1]["spanId"], "... as the same span");
    home.run(&["get", "one.o", "o"]).exits(0);
    assert!(home.read("o").starts_with("00-0af7651916cd43dd8448eb211c80319c-"));
    // A caller that records nothing: nor do we, but figures and logs are told.
    let (before, logs) = (spans.len(), receiver.logs().len());
    home.write("pipeline.yaml", &home.read("pipeline.yaml").replace("echo", "echo x"));
    assert_eq!(run(&["run"], "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00"), Some(0));
    assert_eq!(receiver.spans().len(), before);
    assert!(receiver.logs().len() > logs);
}

#[test]
fn what_steps_write_is_told_if_asked_for_and_no_secret_is_in_it() {
    let home = Home::with(
        "prunella: v1\nname: quiet\nsteps:\n  one: { run: 'echo the word is $WORD; echo x >o', secrets: [WORD], outputs: { o: o } }\n",
    );
    let Some(receiver) = Receiver::start(&home, "told") else { return };
    let mut command = home.command(&["run", "--otlp-endpoint", &receiver.endpoint, "--otlp-output"]);
    command.env("WORD", "swordfish").env("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer%20swordfish");
    let output = command.output().expect("it starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(receiver.told()[0]["headers"]["authorization"], "Bearer swordfish", "the receiver may know who asks");
    let lines: Vec<Value> =
        receiver.logs().into_iter().filter(|log| attributes(log).contains_key("log.iostream")).collect();
    assert_eq!(lines.len(), 1, "{lines:#?}");
    assert_eq!(lines[0]["body"]["stringValue"], "the word is [WORD]");
    let spans = receiver.spans();
    let [attempt] = named(&spans, "one attempt")[..] else { panic!("{spans:#?}") };
    assert_eq!(lines[0]["spanId"], attempt["spanId"]);
    let told = std::fs::read_to_string(&receiver.file).expect("ours");
    let bodies = told.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON")["body"].to_string());
    assert!(bodies.into_iter().all(|body| !body.contains("swordfish")), "no secret is in what is told (I11)");
}
