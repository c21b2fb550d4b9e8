//! What a project file says, and that no text makes the reader panic.

use proptest::prelude::*;
use prunella_model::ByteSize;
use serde_json::json;

use super::*;

fn read(text: &str) -> Result<ProjectFile, Vec<Diagnostic>> {
    read_project(&Source { name: "prunella.toml".to_owned(), text: text.to_owned() })
}

fn codes(text: &str) -> Vec<&'static str> {
    read(text).expect_err("it has mistakes").iter().map(|diagnostic| diagnostic.code).collect()
}

#[test]
fn an_empty_file_says_nothing() {
    assert_eq!(read(""), Ok(ProjectFile::default()));
    assert_eq!(read("# nothing\n[defaults]\n[targets]\n"), Ok(ProjectFile::default()));
}

#[test]
fn defaults_are_read_with_their_lines() {
    let text = "[defaults]\nstore = \"../store\"\njobs = 4\ngpus = \"0,1\"\nnotices = \"none\"\nkeep_runs = 3\n";
    let defaults = read(text).expect("it is right").defaults;
    assert_eq!(defaults.store, Some(Placed { value: "../store".to_owned(), line: 2 }));
    assert_eq!(defaults.jobs, Some(Placed { value: 4, line: 3 }));
    assert_eq!(defaults.gpus, Some(Placed { value: Gpus::List("0,1".to_owned()), line: 4 }));
    assert_eq!(defaults.notices, Some(Placed { value: NoticesOf::None, line: 5 }));
    assert_eq!(defaults.keep_runs, Some(Placed { value: 3, line: 6 }));
    assert_eq!(
        read("defaults.gpus = 2").map(|file| file.defaults.gpus),
        Ok(Some(Placed { value: Gpus::Number(2), line: 1 }))
    );
}

#[test]
fn a_receiver_is_an_address_without_a_password() {
    let read =
        read("[telemetry]\notlp_endpoint = \"http://127.0.0.1:4318\"\notlp_output = true\n").expect("it is right");
    let endpoint = read.telemetry.otlp_endpoint.expect("it is there");
    assert_eq!((endpoint.value.as_str(), endpoint.line), ("http://127.0.0.1:4318", 2));
    assert!(read.telemetry.otlp_output.is_some_and(|is| is.value));
    for wrong in ["127.0.0.1:4318", "grpc://there:4317", "http://", "https:///v1", "http://me:word@there", "http://a b"]
    {
        assert_eq!(codes(&format!("[telemetry]\notlp_endpoint = \"{wrong}\"\n")), ["bad-path"], "{wrong}");
    }
    assert_eq!(codes("[telemetry]\notlp_output = \"yes\"\notlp_endpoint = 4318\n"), ["wrong-type", "wrong-type"]);
}

#[test]
fn limits_of_transfers_are_read_with_their_lines() {
    let text = "[transfers]\nrate = \"50MiB\"\nmemory = \"64MiB\"\nprocessors = 1\nrequests = 8\n";
    let limits = read(text).expect("it is right").transfers;
    assert_eq!(limits.rate, Some(Placed { value: ByteSize(50 << 20), line: 2 }));
    assert_eq!(limits.memory, Some(Placed { value: LEAST_TRANSFER_MEMORY, line: 3 }));
    assert_eq!(limits.processors, Some(Placed { value: 1, line: 4 }));
    assert_eq!(limits.requests, Some(Placed { value: 8, line: 5 }));
    assert_eq!(
        codes("[transfers]\nrate = 5\nmemory = \"63MiB\"\nrequests = 0\n"),
        ["wrong-type", "out-of-range", "out-of-range"]
    );
}

#[test]
fn a_target_of_a_cluster_is_read_whole() {
    let text = r#"
[targets.spot]
engine = "argo"
namespace = "ml"
store = "s3://lake/prunella"
image = "registry.example.com/ml/train@sha256:00"
service_account = "runner"
labels = { "example.com/team" = "ml" }
tolerations = [
  { key = "spot", operator = "Exists", effect = "NoSchedule" },
  { key = "gone", value = "soon", effect = "NoExecute", seconds = 60 },
]
inject = "init"
allow_init = true
[targets.spot.pod.spec]
priorityClassName = "low"
nodeSelector = { pool = "spot" }
runtimeClassName = "nvidia"
containers = [{ name = "main", resources = { limits = { cpu = 2.5 } } }]
"#;
    let file = read(text).expect("it is right");
    let Some(Target::Argo(spot)) = file.targets.get("spot") else { panic!("{file:?}") };
    assert_eq!(spot.store.as_deref(), Some("s3://lake/prunella"));
    assert_eq!(spot.labels["example.com/team"], "ml");
    assert_eq!((spot.tolerations.len(), spot.tolerations[1].seconds), (2, Some(60)));
    assert_eq!((spot.inject, spot.allow_init), (Some(Inject::Init), Some(true)));
    assert_eq!(spot.pod["spec"]["containers"][0]["resources"]["limits"]["cpu"], json!(2.5));
    assert_eq!(spot.pod["spec"]["nodeSelector"], json!({ "pool": "spot" }));
}

#[test]
fn each_engine_has_keys_of_its_own() {
    let local = read("[targets.here]\nengine = \"local\"\njobs = 2\n").expect("it is right");
    assert_eq!(local.targets["here"], Target::Local { store: None, jobs: Some(2), gpus: None });
    assert_eq!(codes("[targets.here]\nengine = \"local\"\nnamespace = \"ml\"\n"), ["unknown-key"]);
    assert_eq!(codes("[targets.there]\nengine = \"kfp\"\njobs = 2\n"), ["unknown-key"]);
    assert_eq!(codes("[targets.there]\nnamespace = \"ml\"\n"), ["missing-key"]);
}

#[test]
fn all_mistakes_of_the_syntax_come_at_once() {
    assert_eq!(codes("[defaults]\njobs = \nstore = 'a\n[targets\n"), ["syntax"; 3]);
}

#[test]
fn a_file_that_is_too_large_is_not_read() {
    let code = |bytes: Vec<u8>| project_source("prunella.toml", bytes).map_err(|found| found[0].code);
    assert_eq!(code(vec![b'#'; MAX_PROJECT_BYTES + 1]), Err("too-large"));
    assert_eq!(code(vec![b'#', 0xff]), Err("not-utf8"));
    assert!(code(vec![b'#'; MAX_PROJECT_BYTES]).is_ok() && code(Vec::new()).is_ok());
}

#[test]
fn of_very_many_mistakes_the_rest_is_counted() {
    let text: String = (0..5000).map(|n| format!("k{n} = 1\n")).collect();
    let found = read(&text).expect_err("it has mistakes");
    assert_eq!(found.len(), 1001);
    assert_eq!(found.last().map(|last| last.message.as_str()), Some("4000 more mistakes are not shown"));
}

proptest! {
    #[test]
    fn no_text_makes_it_panic(text in "[\\[\\]a-z=\"'{},.#\\n 0-9éß-]{0,200}") {
        let _either = read(&text);
    }

    #[test]
    fn no_value_in_its_place_makes_it_panic(
        key in "(defaults|transfers|telemetry|targets\\.a)\\.(rate|memory|otlp_endpoint|otlp_output|store|jobs|gpus|notices|engine|labels|pod|tolerations|inject|allow_init|image)",
        value in "(\"[a-zß:/ ]{0,9}\"|-?[0-9]{1,25}|0x[0-9a-f]{1,9}|nan|inf|true|1979-05-27|\\[\\{\\}\\]|\\{ a = 1 \\})",
    ) {
        let _either = read(&format!("{key} = {value}\n"));
    }
}
