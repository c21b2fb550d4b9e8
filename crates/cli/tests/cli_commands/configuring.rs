//! prunella.toml: which one counts, what it says to commands, and what is wrong with it.

use std::{fs, os::unix::fs::PermissionsExt};

use serde_json::Value;

use crate::home::Home;

const PIPELINE: &str = "prunella: v1
name: tiny
steps:
  one: { run: 'echo 1 >one', outputs: { one: one } }
";

/// Returns a setting as `doctor` shows it: its value, where it comes from, and the place.
fn setting(told: &Value, name: &str) -> (String, String, String) {
    let all = told["settings"].as_array().expect("a list");
    let one = all.iter().find(|one| one["name"] == name).unwrap_or_else(|| panic!("no setting `{name}`"));
    let text = |field: &str| one[field].as_str().unwrap_or_default().to_owned();
    (text("value"), text("from"), text("place"))
}

fn doctor(home: &Home, words: &[&str], variables: &[(&str, &str)]) -> Value {
    let mut command = home.command(&["doctor", "--output", "json"]);
    let output = command.args(words).envs(variables.iter().copied()).output().expect("the binary starts");
    serde_json::from_slice(&output.stdout).expect("JSON")
}

#[test]
fn a_word_wins_over_the_environment_that_over_the_file_and_that_over_what_is_built_in() {
    let home = Home::with(PIPELINE);
    let told = doctor(&home, &[], &[]);
    assert_eq!(setting(&told, "store"), (".prunella".into(), "built-in".into(), String::new()));
    assert_eq!(setting(&told, "keep_runs"), ("10".into(), "built-in".into(), String::new()));

    home.write(
        "prunella.toml",
        "[defaults]\nstore = \"kept\"\njobs = 3\nkeep_runs = 2\nnotices = \"none\"\ngpus = 0\n",
    );
    let told = doctor(&home, &[], &[]);
    assert_eq!(setting(&told, "store"), ("kept".into(), "file".into(), "prunella.toml:2".into()));
    assert_eq!(setting(&told, "jobs"), ("3".into(), "file".into(), "prunella.toml:3".into()));
    assert_eq!(setting(&told, "keep_runs"), ("2".into(), "file".into(), "prunella.toml:4".into()));
    assert_eq!(setting(&told, "notices"), ("none".into(), "file".into(), "prunella.toml:5".into()));
    assert_eq!(setting(&told, "gpus"), ("0".into(), "file".into(), "prunella.toml:6".into()));

    let variables = [("PRUNELLA_STORE", "other"), ("PRUNELLA_JOBS", "5"), ("PRUNELLA_NOTICES", "aws")];
    let told = doctor(&home, &[], &variables);
    assert_eq!(setting(&told, "store"), ("other".into(), "environment".into(), "PRUNELLA_STORE".into()));
    assert_eq!(setting(&told, "jobs"), ("5".into(), "environment".into(), "PRUNELLA_JOBS".into()));
    assert_eq!(setting(&told, "notices"), ("aws".into(), "environment".into(), "PRUNELLA_NOTICES".into()));
    let told = doctor(&home, &["--store", "named"], &variables);
    assert_eq!(setting(&told, "store"), ("named".into(), "flag".into(), "--store".into()));
}

#[test]
fn limits_of_transfers_come_from_a_word_the_environment_or_the_file() {
    let home = Home::with(PIPELINE);
    let told = doctor(&home, &[], &[]);
    assert_eq!(setting(&told, "transfers.memory"), ("256MiB".into(), "built-in".into(), String::new()));
    home.write("prunella.toml", "[transfers]\nrate = \"50MiB\"\nmemory = \"96MiB\"\nrequests = 8\n");
    let variables = [("PRUNELLA_TRANSFER_MEMORY", "128MiB"), ("PRUNELLA_TRANSFER_REQUESTS", "")];
    let told = doctor(&home, &["--transfer-processors", "1"], &variables);
    assert_eq!(setting(&told, "transfers.rate"), ("50 MiB".into(), "file".into(), "prunella.toml:2".into()));
    let memory = ("128MiB".into(), "environment".into(), "PRUNELLA_TRANSFER_MEMORY".into());
    assert_eq!(setting(&told, "transfers.memory"), memory);
    assert_eq!(setting(&told, "transfers.requests"), ("8".into(), "file".into(), "prunella.toml:4".into()));
    let processors = ("1".into(), "flag".into(), "--transfer-processors".into());
    assert_eq!(setting(&told, "transfers.processors"), processors);
}

#[test]
fn all_that_is_wrong_with_limits_of_transfers_is_said_at_once() {
    let home = Home::with(PIPELINE);
    let mut command = home.command(&["run", "--transfer-requests", "0", "--transfer-memory", "1MiB"]);
    command.env("PRUNELLA_TRANSFER_RATE", "fast").env("PRUNELLA_TRANSFER_PROCESSORS", "-1");
    let said = crate::home::Answer::from(command.output().expect("the binary starts")).exits(2).err;
    for wrong in [
        "PRUNELLA_TRANSFER_RATE is `fast`",
        "--transfer-memory is `1MiB`",
        "PRUNELLA_TRANSFER_PROCESSORS is `-1`",
        "--transfer-requests is `0`",
        "at least `64MiB`",
    ] {
        assert!(said.contains(wrong), "{wrong}: {said}");
    }
    home.write("prunella.toml", "[transfers]\nrate = 5\nmemory = \"1MiB\"\nprocessors = 0\n");
    let said = home.run(&["run"]).exits(2).err;
    for place in ["prunella.toml:2:", "prunella.toml:3:", "prunella.toml:4:"] {
        assert!(said.contains(place), "{place}: {said}");
    }
}

#[test]
fn the_store_of_the_file_may_be_in_a_bucket() {
    let home = Home::with(PIPELINE);
    let server = prunella_bucketkit::S3Server::start("bucket");
    home.write("prunella.toml", &format!("[defaults]\nstore = \"{}\"\n", server.url("bucket", "team/store")));
    let mut command = home.command(&["run"]);
    command.env("AWS_ACCESS_KEY_ID", prunella_bucketkit::ACCESS_KEY);
    command.env("AWS_SECRET_ACCESS_KEY", prunella_bucketkit::SECRET_KEY);
    let ran = command.output().expect("the binary starts");
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    assert!(server.objects().keys("bucket").iter().any(|key| key.starts_with("team/store/attempts/")));
}

#[test]
fn commands_go_by_the_file() {
    let home = Home::with(PIPELINE);
    home.write("prunella.toml", "[defaults]\nstore = \"../kept\"\nkeep_runs = 1\n");
    home.run(&["run"]).exits(0);
    assert!(home.beside("kept/store.db").exists() && !home.names().contains(&".prunella".to_owned()));
    home.run(&["run", "--new"]).exits(0);
    let planned = home.json(&["gc"]);
    assert_eq!(planned["runs"].as_array().map(Vec::len), Some(1), "one run is kept, not ten: {planned}");
    assert_eq!(home.json(&["gc", "--keep-runs", "2"])["runs"], serde_json::json!([]));
    home.run(&["status"]).exits(0);
    home.run(&["status", "--store", "nowhere"]).exits(2);
}

#[test]
fn jobs_of_the_file_hold_and_a_word_replaces_them() {
    // Two steps that can only end together.
    let home = Home::new();
    let [a, b] = ["a", "b"].map(|name| home.pipe(name).display().to_string());
    let pair = format!(
        "prunella: v1
name: pair
params: {{ wait: 1 }}
steps:
  a: {{ run: 'exec 3<>{a} 4<>{b}; echo >&3; timeout ${{{{ params.wait }}}} head -n 1 <&4 >a', outputs: {{ a: a }}, retry: {{ error: 0 }} }}
  b: {{ run: 'exec 3<>{a} 4<>{b}; echo >&4; timeout ${{{{ params.wait }}}} head -n 1 <&3 >b', outputs: {{ b: b }}, retry: {{ error: 0 }} }}
"
    );
    home.write("pipeline.yaml", &pair);
    home.write("prunella.toml", "[defaults]\njobs = 1\n");
    home.run(&["run"]).exits(1);
    home.run(&["run", "--jobs", "2", "--set", "wait=60"]).exits(0);
}

#[test]
fn the_nearest_file_above_counts_up_to_the_home_directory_and_one_that_is_named_before_all() {
    let home = Home::new();
    home.write("deep/line/pipeline.yaml", PIPELINE);
    fs::write(home.beside("prunella.toml"), "[defaults]\nkeep_runs = 4\n").expect("ours");
    let kept = |words: &[&str], variables: &[(&str, &str)]| {
        let mut command = home.command(&["doctor", "--output", "json"]);
        command.args(words).envs(variables.iter().copied()).current_dir(home.dir.join("deep/line"));
        let output = command.output().expect("the binary starts");
        setting(&serde_json::from_slice(&output.stdout).expect("JSON"), "keep_runs")
    };
    let above = kept(&[], &[]);
    assert_eq!((above.0.as_str(), above.1.as_str()), ("4", "file"), "outside of a home up to the root");
    let mode = |mode| {
        let above = home.dir.parent().expect("it lies somewhere");
        fs::set_permissions(above, fs::Permissions::from_mode(mode)).expect("ours");
    };
    mode(0o1777);
    assert_eq!(kept(&[], &[]).1, "built-in", "not from where everybody may write");
    mode(0o755);
    let work = home.dir.display().to_string();
    assert_eq!(kept(&[], &[("HOME", &work)]).1, "built-in", "not above the home directory");
    home.write("prunella.toml", "[defaults]\nkeep_runs = 5\n");
    assert_eq!(kept(&[], &[("HOME", &work)]).0, "5", "that of the home directory itself counts");
    home.write("deep/line/prunella.toml", "[targets]\n");
    assert_eq!(kept(&[], &[]).1, "built-in", "one file counts, and nothing is taken from another");
    assert_eq!(kept(&["--config", "../../prunella.toml"], &[]).0, "5");
    assert_eq!(kept(&[], &[("PRUNELLA_CONFIG", "../../prunella.toml")]).0, "5");

    // A pipeline elsewhere brings its own, and the store is found from there.
    home.write("deep/line/prunella.toml", "[defaults]\nstore = \"kept\"\n");
    home.run(&["run", "deep/line"]).exits(0);
    assert!(home.dir.join("deep/line/kept/store.db").exists());
}

#[test]
fn all_mistakes_of_the_file_come_at_once_from_every_command_that_reads_it() {
    let home = Home::with(PIPELINE);
    home.write("prunella.toml", "[defaults]\njob = 3\nstore = 7\n[targets.spot]\nengine = \"argi\"\n");
    for words in [&["run"][..], &["status"], &["validate"], &["gc", "--apply"], &["plan"], &["graph", "."]] {
        let told = home.run(words).exits(2);
        for mistake in
            ["prunella.toml:2:1", "did you mean `jobs`?", "prunella.toml:3:9", "did you mean `argo`?", "3 mistakes"]
        {
            assert!(told.err.contains(mistake), "{words:?}: {mistake}\n{}", told.err);
        }
    }
    assert_eq!(home.names(), ["pipeline.yaml", "prunella.toml"], "nothing was done");
    let told = home.run(&["validate", "--output", "json"]).exits(2).json();
    assert_eq!(told["diagnostics"][0]["span"]["line"], 2);
    home.run(&["exec", "--run", "r", "--step", "one"]).exits(78);
    home.run(&["man"]).exits(0);
    home.run(&["validate", "--config", "nowhere.toml"]).exits(2);

    let checked = home.run(&["doctor"]).exits(1);
    assert!(checked.out.contains("✗ project") && checked.out.contains("3 mistakes"), "{}", checked.out);
}

#[test]
fn the_doctor_names_the_targets_and_looks_at_the_rest_of_the_machine() {
    let home = Home::with(PIPELINE);
    home.write(
        "prunella.toml",
        "[targets.spot]\nengine = \"argo\"\nnamespace = \"ml\"\n[targets.here]\nengine = \"local\"\n",
    );
    home.run(&["run"]).exits(0);
    let before = home.stored();
    let told = doctor(&home, &[], &[]);
    let check = |name: &str| {
        let all = told["checks"].as_array().expect("a list");
        all.iter().find(|check| check["name"] == name).unwrap_or_else(|| panic!("no check `{name}`")).clone()
    };
    let found = check("project")["found"].as_str().expect("text").to_owned();
    assert_eq!(found, "`prunella.toml`, 2 targets: here (local), spot (argo)");
    for name in ["filesystem", "cgroup", "group", "shm", "boot", "limits", "accelerators", "python", "uv"] {
        let check = check(name);
        assert!(check["health"] == "good" || check["help"].is_string(), "what to do now: {check}");
    }
    assert_eq!(check("store")["health"], "good");
    assert_eq!(home.stored(), before, "it looks, and changes nothing");
    let list = doctor(&home, &[], &[("PRUNELLA_GPUS", "MIG-1,MIG-2")]);
    let shown = list["checks"].as_array().expect("a list").iter().find(|check| check["name"] == "accelerators");
    assert_eq!(
        shown.expect("it is looked at")["found"],
        "2 accelerators (MIG-1, MIG-2), by the choice of accelerators"
    );
    let wrong = doctor(&home, &[], &[("PRUNELLA_GPUS", "0,0")]);
    assert_eq!(wrong["good"], false);
}

#[test]
fn a_store_whose_lock_is_held_is_bad_and_the_doctor_does_not_wait_for_ever() {
    let home = Home::with(PIPELINE);
    home.run(&["run"]).exits(0);
    let database = rusqlite::Connection::open(home.dir.join(".prunella/store.db")).expect("SQLite's");
    database.execute_batch("BEGIN IMMEDIATE").expect("nobody else has it");
    let told = home.run(&["doctor"]).exits(1);
    assert!(told.out.contains("another process holds its lock for more than 5 s"), "{}", told.out);
    database.execute_batch("ROLLBACK").expect("ours");
    assert!(home.run(&["doctor"]).out.contains("✓ store"));
}
