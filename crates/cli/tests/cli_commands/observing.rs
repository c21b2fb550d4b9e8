//! What Prometheus sees of real runs, and that nobody who looks changes anything.

use std::{
    collections::BTreeSet,
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
};

use prunella_telemetry::NAMES;

use crate::home::{Home, SMALL, let_go};

const DASHBOARD: &str = include_str!("../../../../docs/grafana/prunella.json");
const PAGE: &str = include_str!("../../../../docs/observability.md");
const METRICS: &str = include_str!("../../../../docs/metrics.md");

fn ask(address: &str) -> String {
    let mut stream = TcpStream::connect(address).expect("somebody listens");
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: here\r\n\r\n").expect("it reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("it answers and closes");
    answer
}

#[test]
fn a_run_that_goes_on_answers_and_leaves_its_last_figures() {
    let home = Home::new();
    let gate = home.beside("gate");
    home.pipe("gate");
    let waits = format!("read -r _ <{}; ", gate.display());
    home.write("pipeline.yaml", &SMALL.replace("'echo words", &format!("'{waits}echo words")));
    let mut run = home.start(&["run", "--metrics-listen", "127.0.0.1:0", "--metrics-file", "prunella.prom"]);
    let mut said = BufReader::new(run.stderr.take().expect("piped"));
    let mut line = String::new();
    said.read_line(&mut line).expect("a line");
    let address = line.trim_end().strip_prefix("figures for Prometheus: http://").expect("the address");
    let address = address.strip_suffix("/metrics").expect("the path");
    home.until(|| ask(address).contains("\nprunella_attempts_running{pipeline=\"small\"} 1"));
    let answer = ask(address);
    assert!(answer.contains("prunella_run_status{pipeline=\"small\",status=\"open\"} 1"), "{answer}");
    let_go(&gate);
    assert!(run.wait().expect("ours").success());
    assert!(TcpStream::connect(address).is_err(), "nobody listens any more");

    let figures = home.read("prunella.prom");
    for series in [
        "prunella_run_status{pipeline=\"small\",status=\"succeeded\"} 1",
        "prunella_commits_total{pipeline=\"small\"} 2",
        "prunella_lineage_coverage_ratio{pipeline=\"small\"} 0",
    ] {
        assert!(figures.contains(series), "{series} in {figures}");
    }
    // The report says the same of it afterwards.
    home.run(&["report", "--metrics-file", "after.prom"]).exits(0);
    let counters = |text: &str| -> Vec<String> {
        text.lines().filter(|line| line.contains("_total{")).map(str::to_owned).collect()
    };
    assert_eq!(counters(&figures), counters(&home.read("after.prom")));
    assert_eq!(home.names(), [".prunella", "after.prom", "pipeline.yaml", "prunella.prom"], "nothing is left over");
}

#[test]
fn figures_that_cannot_be_told_change_nothing() {
    let home = Home::with(SMALL);
    let told = home.run(&["run", "--metrics-file", "nowhere/prunella.prom"]).exits(0);
    assert!(told.err.contains("the figures were not written"), "{}", told.err);
    // An address that somebody else has is a mistake before anything begins.
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("bound").to_string();
    let refused = home.run(&["run", "--new", "--metrics-listen", &address]);
    assert!(refused.code != 0 && refused.err.contains(&address), "{}", refused.err);
}

/// Returns every name of ours in a text, as far as it is exported or could be.
fn names_in(text: &str) -> BTreeSet<String> {
    text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'))
        .filter(|word| word.starts_with("prunella_"))
        .map(str::to_owned)
        .collect()
}

/// Two engines of a pipeline are two instances of each of its series: one that stands on one side of a match by pipeline is an
/// error of Prometheus, so both sides have to be sums.
fn stands_several_instances(expression: &str) {
    assert!(!expression.contains(" on ("), "{expression}");
}

#[test]
fn the_dashboard_and_the_page_name_what_is_exported() {
    let exported: BTreeSet<String> = NAMES.iter().flat_map(|name| name.exported()).collect();
    let dashboard: serde_json::Value = serde_json::from_str(DASHBOARD).expect("JSON");
    let panels = dashboard["panels"].as_array().expect("panels");
    let mut asked = BTreeSet::new();
    for panel in panels {
        let targets = panel["targets"].as_array().expect("a panel asks for something");
        assert!(!targets.is_empty(), "{}", panel["title"]);
        for target in targets {
            let expression = target["expr"].as_str().expect("an expression");
            stands_several_instances(expression);
            let names = names_in(expression);
            assert!(!names.is_empty(), "{expression}");
            asked.extend(names);
        }
    }
    let alerts: Vec<&str> = PAGE.lines().filter_map(|line| line.trim().strip_prefix("expr: ")).collect();
    assert!(!alerts.is_empty(), "the page has alerts");
    for alert in alerts {
        stands_several_instances(alert);
        asked.extend(names_in(alert));
    }
    let unknown: Vec<_> = asked.difference(&exported).collect();
    assert!(unknown.is_empty(), "{unknown:?}");
    for name in NAMES {
        let shown = name.exported();
        let shown = if shown.len() > 1 { name.name } else { &shown[0] };
        assert!(METRICS.contains(&format!("| `{shown}` |")), "docs/metrics.md: {shown} is missing");
    }
}
