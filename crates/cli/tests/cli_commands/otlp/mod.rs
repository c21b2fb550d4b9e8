//! Runs that are told to receivers of OTLP: what those understand, and that none of them holds a run up.

mod faults;
mod real;

use std::{
    collections::BTreeMap,
    fs,
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
};

use serde_json::Value;

use crate::home::Home;

/// A receiver whose schema is the published one.
struct Receiver {
    child: Child,
    endpoint: String,
    file: std::path::PathBuf,
}

impl Drop for Receiver {
    fn drop(&mut self) {
        let _gone_already = self.child.kill();
        let _reaped = self.child.wait();
    }
}

impl Receiver {
    /// Returns one, if this machine has what it is made of; says so otherwise.
    fn start(home: &Home, name: &str) -> Option<Self> {
        let Ok(python) = std::env::var("PRUNELLA_TEST_OTLP_PYTHON") else {
            println!(
                "skipped: PRUNELLA_TEST_OTLP_PYTHON is not set; `cargo xtask check` installs the schema and sets it"
            );
            return None;
        };
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/cli_commands/otlp/receiver.py");
        let file = home.beside(name);
        let mut child =
            Command::new(python).arg(script).arg(&file).stdout(Stdio::piped()).spawn().expect("the receiver starts");
        let mut port = String::new();
        BufReader::new(child.stdout.take().expect("piped")).read_line(&mut port).expect("a port");
        Some(Self { child, endpoint: format!("http://127.0.0.1:{}", port.trim()), file })
    }

    /// Returns what came so far: all of it was understood.
    fn told(&self) -> Vec<Value> {
        let text = fs::read_to_string(&self.file).unwrap_or_default();
        let lines = text.split_inclusive('\n').filter(|line| line.ends_with('\n'));
        let told: Vec<Value> = lines.map(|line| serde_json::from_str(line).expect("JSON")).collect();
        let wrong: Vec<&Value> = told.iter().filter(|one| !one["error"].is_null()).collect();
        assert!(wrong.is_empty(), "{wrong:#?}");
        told
    }

    /// Returns everything of a kind: spans by name of list, log records, metrics.
    fn all(&self, outer: &str, scopes: &str, list: &str) -> Vec<Value> {
        let mut all = Vec::new();
        for told in self.told() {
            for of_resource in told["body"][outer].as_array().into_iter().flatten() {
                for scope in of_resource[scopes].as_array().into_iter().flatten() {
                    all.extend(scope[list].as_array().into_iter().flatten().cloned());
                }
            }
        }
        all
    }

    fn spans(&self) -> Vec<Value> {
        self.all("resourceSpans", "scopeSpans", "spans")
    }

    fn logs(&self) -> Vec<Value> {
        self.all("resourceLogs", "scopeLogs", "logRecords")
    }

    fn metrics(&self) -> Vec<Value> {
        self.all("resourceMetrics", "scopeMetrics", "metrics")
    }
}

/// Returns the attributes of something as a map from key to value.
fn attributes(of: &Value) -> BTreeMap<String, Value> {
    let pairs = of["attributes"].as_array().into_iter().flatten();
    pairs
        .map(|pair| {
            let value = pair["value"].as_object().expect("a value").values().next().expect("of some type").clone();
            (pair["key"].as_str().expect("a key").to_owned(), value)
        })
        .collect()
}

fn named<'a>(spans: &'a [Value], name: &str) -> Vec<&'a Value> {
    spans.iter().filter(|span| span["name"] == name).collect()
}
