//! Storage that fails and clocks that jump: under `chaos`, by the file that `PRUNELLA_FAULTS` names, and for real.

use std::{
    io::{BufRead, BufReader},
    process::Command,
};

use prunella_bucketkit::S3Server;
use serde_json::{Value, json};

use crate::{
    buckets::Machine,
    chaos::SMALL,
    home::{Home, hear, let_go},
};

/// A training that checkpoints, writes what is too large to lie beside the records, and a step that reads it.
fn trains() -> String {
    SMALL.replace("echo model of $epoch >model", "(echo model of $epoch; head -c 200000 /dev/zero) >model")
}

/// Asserts that every run of an answer succeeded and lost nothing.
fn all_is_well(answer: &Value) {
    for run in answer["runs"].as_array().expect("a list") {
        assert_eq!((&run["wrong"], &run["exit_code"]), (&json!([]), &0.into()), "{answer:#}");
    }
    assert_eq!(answer["prunella"]["corrupt_artifacts"], 0, "{answer:#}");
}

fn timeline(run: &Value) -> Vec<&str> {
    run["timeline"].as_array().expect("a list").iter().filter_map(|at| at["what"].as_str()).collect()
}

#[test]
fn a_run_goes_on_by_itself_after_every_kind_of_storm() {
    let home = Home::with(&trains());
    for fault in [
        "storage-throttled",
        "storage-slow",
        "storage-errors",
        "replies-lost",
        "short-reads",
        "disk-full",
        "disk-errors",
        "disk-slow",
    ] {
        let plan = json!([{ "after_ms": 150, "fault": fault, "for_ms": 400 }]);
        home.write("plan.json", &plan.to_string());
        let answer = home.json(&["chaos", "--plan", "plan.json", "--runs", "1", "--seed", "3"]);
        all_is_well(&answer);
        assert_eq!((&answer["runs"][0]["plan"], &answer["runs"][0]["faults"]), (&plan, &1.into()), "{answer:#}");
        let told = timeline(&answer["runs"][0]);
        assert!(told.first().is_some_and(|first| first.ends_with("for 0.4 s")), "{fault}: {told:?}");
    }
}

#[test]
fn storms_overlap_and_who_is_killed_in_one_goes_on_in_it() {
    let home = Home::with(&trains());
    let plan = json!([
        { "after_ms": 50, "fault": "replies-lost", "for_ms": 1500 },
        { "after_ms": 50, "fault": "storage-throttled", "for_ms": 1000 },
        { "after_ms": 100, "fault": "machine" },
        { "after_ms": 200, "fault": "engine" },
        { "after_ms": 50, "fault": "clock-jump", "by_ms": -3_600_000 },
        { "after_ms": 100, "fault": "disk-full", "for_ms": 300 },
        { "after_ms": 100, "fault": "clock-jump", "by_ms": 7_200_000 },
    ]);
    home.write("plan.json", &plan.to_string());
    let answer = home.json(&["chaos", "--plan", "plan.json", "--runs", "2", "--seed", "1"]);
    all_is_well(&answer);
    let told = timeline(&answer["runs"][0]);
    for part in ["machine killed", "a storm is over", "wall clock put back by 3600.0 s"] {
        assert!(told.contains(&part), "{part}: {told:?}");
    }
}

#[test]
fn an_engine_that_cannot_take_over_for_want_of_room_does_so_when_there_is_some() {
    let home = Home::with(&trains().replace("sleep 0.02", "sleep 0.1"));
    // The one that is replaced stands still for half a second: it comes back while nobody can start.
    let plan = json!([
        { "after_ms": 300, "fault": "disk-full", "for_ms": 1000 },
        { "after_ms": 0, "fault": "zombie" },
    ]);
    home.write("plan.json", &plan.to_string());
    let answer = home.json(&["chaos", "--plan", "plan.json", "--runs", "1", "--seed", "1"]);
    all_is_well(&answer);
    let told = timeline(&answer["runs"][0]);
    let wanted = "the engine that came back ended with exit status: 75";
    assert!(told.contains(&"the engine ended, and can be gone on from") && told.contains(&wanted), "{told:?}");
}

#[test]
fn under_a_profile_of_storms_nothing_is_lost() {
    let home = Home::with(&trains());
    let answer = home.json(&[
        "chaos",
        "--profile",
        "storage-storm",
        "--runs",
        "4",
        "--faults",
        "4",
        "--seed",
        "21",
        "--speed",
        "20",
    ]);
    all_is_well(&answer);
    assert_eq!(answer["profile"], "storage-storm");
    let hits: u64 = answer["runs"].as_array().expect("a list").iter().filter_map(|run| run["faults"].as_u64()).sum();
    assert!(hits >= 8, "{answer:#}");
}

#[test]
fn in_a_bucket_every_run_has_a_place_of_its_own_and_leaves_nothing_there() {
    let server = S3Server::start("bucket");
    server.objects().put("bucket", "team/store/somebody", "theirs").expect("there is a bucket");
    let machine = Machine::new(&server);
    machine.home.write("pipeline.yaml", &trains());
    let plan = json!([
        { "after_ms": 100, "fault": "storage-throttled", "for_ms": 600 },
        { "after_ms": 100, "fault": "replies-lost", "for_ms": 600 },
        { "after_ms": 50, "fault": "short-reads", "for_ms": 800 },
        { "after_ms": 100, "fault": "machine" },
    ]);
    machine.home.write("plan.json", &plan.to_string());
    let answer = machine.json(&["chaos", "--plan", "plan.json", "--runs", "1", "--seed", "1"]);
    all_is_well(&answer);
    assert_eq!(server.objects().keys("bucket"), ["team/store/somebody"], "what is not of `chaos` stays");
    let kept =
        machine.json(&["chaos", "--profile", "kills", "--faults", "1", "--runs", "1", "--keep", "--dir", "kept"]);
    let store = kept["runs"][0]["store"].as_str().expect("it is told");
    assert!(store.starts_with("s3://bucket/team/store/prunella-chaos-") && store.contains("/0?"), "{store}");
    machine.run(&["verify", "--store", store]).exits(0);
    assert!(!machine.home.dir.join("kept/0/store").exists(), "no store is made on this machine");
}

#[test]
fn in_a_plain_directory_too_and_no_store_is_begun_where_the_bucket_says_no() {
    let home = Home::with(&trains());
    home.write(
        "plan.json",
        r#"[{ "after_ms": 100, "fault": "disk-errors", "for_ms": 300 }, { "after_ms": 100, "fault": "machine" }]"#,
    );
    let answer = home.json(&["chaos", "--store", "dir://plain", "--plan", "plan.json", "--runs", "1", "--seed", "4"]);
    all_is_well(&answer);
    assert!(home.names().contains(&"plain".to_owned()));
    assert_eq!(std::fs::read_dir(home.dir.join("plain")).expect("it stays").count(), 0);
    let server = S3Server::start("bucket");
    let machine = Machine::new(&server);
    machine.home.write("pipeline.yaml", &trains());
    server.objects().remove_bucket("bucket");
    let refused = machine.run(&["chaos"]).exits(78);
    assert!(refused.err.contains("there is no bucket"), "{}", refused.err);
}

#[test]
fn the_file_that_the_variable_names_decides_and_a_wrong_one_is_refused() {
    let home = Home::with(&trains());
    let run = |words: &[&str]| -> crate::home::Answer {
        home.command(words).env("PRUNELLA_FAULTS", home.dir.join("faults.json")).output().expect("it starts").into()
    };
    home.write("faults.json", r#"{ "storms": [{ "trouble": "disk-full" }] }"#);
    let full = run(&["run"]).exits(75);
    assert!(full.err.contains("no space left") || full.err.contains("No space left"), "{}", full.err);
    home.write("faults.json", r#"{ "storms": [{ "trouble": "rain" }] }"#);
    let refused = run(&["run"]).exits(2);
    assert!(refused.err.contains("unknown variant `rain`"), "{}", refused.err);
    home.write("faults.json", "{}");
    let refused = run(&["chaos"]).exits(2);
    assert!(refused.err.contains("PRUNELLA_FAULTS is set"), "{}", refused.err);
    run(&["run"]).exits(0);
}

/// A disk in memory; nothing where none can be mounted.
struct Disk(std::path::PathBuf);

impl Disk {
    fn mounted(home: &Home) -> Option<Self> {
        let at = home.beside("disk");
        std::fs::create_dir(&at).expect("ours");
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", "size=12m", "prunella-test"]).arg(&at).output();
        match mounted {
            Ok(output) if output.status.success() => Some(Self(at)),
            _ => {
                println!("  not checked: nothing can be mounted here");
                None
            }
        }
    }

    /// Takes every byte that is left.
    fn fill(&self) {
        let mut file = std::fs::File::create(self.0.join("filler")).expect("there is room for a name");
        for size in [1 << 16, 4096, 1] {
            while std::io::Write::write_all(&mut file, &vec![1; size]).is_ok() {}
        }
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _busy = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[test]
fn on_a_disk_that_is_really_full_the_same_command_goes_on_when_there_is_room() {
    let home = Home::new();
    let Some(disk) = Disk::mounted(&home) else { return };
    let (begun, go) = (home.pipe("begun"), home.pipe("go"));
    home.write(
        "pipeline.yaml",
        &format!(
            "prunella: v1
name: full
steps:
  first: {{ run: 'echo first >>{ran}; head -c 300000 /dev/zero >one', outputs: {{ one: one }} }}
  second:
    run: |
      if [ ! -e {ran}.second ]; then echo begun >{begun}; read line <{go}; fi
      echo x >>{ran}.second
      head -c 300000 /dev/zero >two
    inputs: {{ one: first.one }}
    outputs: {{ two: two }}
    retry: {{ infrastructure: {{ limit: 1, backoff: 10ms }}, storage: {{ limit: 1, backoff: 10ms }}, error: {{ limit: 1, backoff: 10ms }} }}
",
            ran = home.beside("ran").display(),
            begun = begun.display(),
            go = go.display(),
        ),
    );
    let store = disk.0.join("store");
    let words = ["run", "--store", store.to_str().expect("text")];
    let mut engine = home.start(&words);
    assert_eq!(hear(&begun), "begun\n");
    disk.fill();
    let_go(&go);
    // It waits for room, longer and longer; the machine dies on its full disk.
    let said = BufReader::new(engine.stdout.take().expect("it is ours"));
    let waits = said.lines().map_while(Result::ok).any(|line| line.contains("second  again, after"));
    assert!(waits, "there was no room for success");
    engine.kill().expect("it runs");
    let _killed = engine.wait();
    let told = home.run(&words).exits(75);
    assert!(told.err.contains("no space left") && told.err.contains("make room"), "{}", told.err);
    std::fs::remove_file(disk.0.join("filler")).expect("ours");
    let done = home.run(&words);
    assert_eq!(done.code, 0, "{}{}", done.out, done.err);
    let ran = std::fs::read_to_string(home.beside("ran")).expect("it ran");
    assert_eq!(ran, "first\n", "what was committed before the disk was full is not made again");
    home.run(&["verify", "--store", store.to_str().expect("text")]).exits(0);
}
