//! The templates of rights: who may do what, and that the collector alone deletes.
#![allow(clippy::disallowed_methods)]

use std::path::PathBuf;

use serde_json::Value;

fn docs() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../docs/iam")
}

fn text(name: &str) -> String {
    std::fs::read_to_string(docs().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// Every word of a template that names a right.
fn rights(cloud: &str, role: &str) -> Vec<String> {
    let strings = |value: &Value| match value {
        Value::String(one) => vec![one.clone()],
        Value::Array(all) => all.iter().filter_map(|one| one.as_str().map(str::to_owned)).collect(),
        _ => Vec::new(),
    };
    match cloud {
        "aws" => {
            let policy: Value = serde_json::from_str(&text(&format!("aws-{role}.json"))).unwrap();
            let statements = policy["Statement"].as_array().expect("statements");
            assert!(statements.iter().all(|one| one["Effect"] == "Allow" && one["Resource"] != "*"));
            statements.iter().flat_map(|one| strings(&one["Action"])).collect()
        }
        "azure" => {
            let role: Value = serde_json::from_str(&text(&format!("azure-{role}.json"))).unwrap();
            strings(&role["DataActions"])
                .iter()
                .map(|action| action.rsplit("/blobs/").next().unwrap().to_owned())
                .collect()
        }
        _ => {
            let text = text(&format!("google-{role}.yaml"));
            assert!(text.contains("includedPermissions:\n") && text.contains("title: ") && text.contains("stage: GA"));
            text.lines().filter_map(|line| line.strip_prefix("  - ").map(str::to_owned)).collect()
        }
    }
}

#[test]
fn only_the_collector_may_delete_and_the_reader_only_reads() {
    for (cloud, read, write, delete) in [
        ("aws", "s3:GetObject", "s3:PutObject", "s3:DeleteObject"),
        ("azure", "read", "write", "delete"),
        ("google", "storage.objects.get", "storage.objects.create", "storage.objects.delete"),
    ] {
        for (role, writes, deletes) in [("producer", true, false), ("reader", false, false), ("collector", true, true)]
        {
            let rights = rights(cloud, role);
            let has = |right: &str| rights.iter().any(|one| one == right);
            assert_eq!((has(read), has(write), has(delete)), (true, writes, deletes), "{cloud} {role}: {rights:?}");
            assert!(rights.iter().all(|right| !right.contains('*')), "{cloud} {role} has more than it names");
        }
    }
}

/// At Google's, overwriting is deleting: the right for it is bound by a condition to what may be lost.
#[test]
fn the_condition_of_google_names_every_hint_and_nothing_else() {
    let condition = text("google-hints-condition.yaml");
    for hint in [".alive.json", "/drivers-alive/", "/stop/", "/summary/"] {
        assert!(condition.contains(hint), "{hint}");
    }
    assert_eq!(condition.matches("resource.name.").count(), 4);
}

/// With the rights of moto enforced, each role does what Prunella does.
#[test]
fn the_policies_of_aws_let_each_role_do_its_work_on_moto() {
    let Ok(python) = std::env::var("PRUNELLA_TEST_MOTO_PYTHON") else {
        return println!(
            "skipped: PRUNELLA_TEST_MOTO_PYTHON is not set; `cargo xtask check` installs moto and sets it"
        );
    };
    let script = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/rights.py");
    let output = std::process::Command::new(python).arg(script).arg(docs()).output().expect("python starts");
    assert!(
        output.status.success(),
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}
