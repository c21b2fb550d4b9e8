//! What real runs write where no terminal is.
#![allow(clippy::disallowed_methods, reason = "tests make their own files and environment")]

use std::{
    path::Path,
    process::{Command, Output, Stdio},
};

const PRUNELLA: &str = env!("CARGO_BIN_EXE_prunella");

/// The first attempt at `train` is killed; `report` fails where a file says so.
const PIPELINE: &str = "
prunella: v1
name: screen
steps:
  split: { run: 'echo 1 >one', outputs: { one: one } }
  train:
    run: |
      echo epoch 1/2
      if [ $PRUNELLA_ATTEMPT = 1 ]; then kill -9 $$; fi
      cp inputs/one/one model
    inputs: { one: split.one }
    outputs: { model: model }
  report:
    run: |
      echo loading >&2
      echo 'error: no such column' >&2
      exit 3
    inputs: { model: train.model }
    outputs: { page: page.html }
    retry: { error: 0 }
";

fn home(pipeline: &str) -> tempfile::TempDir {
    let home = tempfile::tempdir().expect("a directory");
    std::fs::write(home.path().join("pipeline.yaml"), pipeline).expect("ours");
    home
}

fn prunella(home: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(PRUNELLA);
    let path = std::env::var_os("PATH").unwrap_or_default();
    command.args(args).current_dir(home).env_clear().env("PATH", path).env("HOME", home).env("TERM", "xterm");
    command.env("XDG_CACHE_HOME", home.join("cache")).stdin(Stdio::null());
    command
}

fn output(home: &Path, args: &[&str]) -> (Output, String) {
    let output = prunella(home, args).output().expect("it runs");
    let text = String::from_utf8(output.stdout.clone()).expect("text");
    (output, text)
}

/// Replaces what differs from run to run: ids, times, shares.
fn normal(text: &str) -> String {
    let mut out = String::new();
    for word in text.split_inclusive([' ', '\n', '(', ')', '/']) {
        let bare = word.trim_end_matches([' ', '\n', '(', ')', '/']);
        let (number, unit) = (bare.parse::<f64>().is_ok() && bare.contains('.'), &word[bare.len()..]);
        let hex = |part: &str| part.chars().all(|c| c.is_ascii_hexdigit());
        let run = (bare.len() == 36 || bare.len() == 13) && bare.split('-').all(hex);
        let workspace =
            bare.contains('@') && bare.rsplit('-').next().is_some_and(|random| random.len() == 8 && hex(random));
        let shown = match () {
            () if number => "N",
            () if run => "RUN",
            () if workspace => "WORKSPACE",
            () => bare,
        };
        out.push_str(shown);
        out.push_str(unit);
    }
    // Times are right-aligned.
    let lines = out.lines().map(|line| match line.trim_start() {
        time if time.starts_with("N s") => time.to_owned(),
        _ => line.to_owned(),
    });
    lines.map(|line| line + "\n").collect()
}

#[test]
fn a_run_that_is_healed_and_then_fails_reads_like_this() {
    let home = home(PIPELINE);
    let (done, text) = output(home.path(), &["run", "--jobs", "1"]);
    assert_eq!(done.status.code(), Some(1), "{text}");
    assert_eq!(
        normal(&text),
        "\
screen  run RUN  3 steps
N s  split   attempt 1 begins
N s  split   done in N s
N s  train   attempt 1 begins
N s  train   attempt 1 killed: SIGKILL from outside ended the program; again
N s  train   attempt 2 begins
N s  train   attempt 2 runs: killed at N s, back from the beginning in N s
N s  train   done in N s
N s  report  attempt 1 begins
N s  report  attempt 1 failed: the program exited with 3; given up: `error` is not tried again: error: no such column; \
correct the step; what was committed before it is reused
✗ report@1 failed: `error` is not tried again: error: no such column; correct the step; what was committed before it \
is reused
    error: no such column
    its files: .prunella/work/RUN/WORKSPACE
✗ failed after N s · 1 interruption healed in N s · lost N s of N s (N %)
  next: prunella resume RUN     prunella explain report     prunella logs report@1
"
    );
    let files = text.lines().find_map(|line| line.trim().strip_prefix("its files: ")).expect("a place");
    assert!(home.path().join(files).join("inputs/model/model").exists(), "{files}");
    assert!(!text.contains('\u{1b}') && !text.contains("epoch 1/2"), "{text}");
    assert!(done.stderr.is_empty(), "{}", String::from_utf8_lossy(&done.stderr));
}

#[test]
fn a_second_run_sums_up_what_it_reuses() {
    let home = home(&PIPELINE.split("  report:").next().expect("a beginning").replace("kill -9 $$", "true"));
    output(home.path(), &["run"]);
    let (done, text) = output(home.path(), &["run", "--new"]);
    assert_eq!(done.status.code(), Some(0));
    assert_eq!(
        normal(&text),
        "\
screen  run RUN  2 steps
reused 2 of 2 steps: split, train
✓ succeeded in N s · everything reused
  next: prunella get train.model ./model
"
    );
}

#[test]
fn verbose_shows_what_steps_write_behind_their_names() {
    let home = home(PIPELINE);
    let (_, text) = output(home.path(), &["run", "--verbose"]);
    assert!(text.contains("train  | epoch 1/2\n"), "{text}");
    assert!(text.contains("report | error: no such column\n"), "{text}");
}

#[test]
fn programs_get_every_event_and_the_outcome_a_line_each() {
    let home = home(PIPELINE);
    let (done, text) = output(home.path(), &["run", "--output", "json"]);
    assert_eq!(done.status.code(), Some(1));
    let lines: Vec<serde_json::Value> = text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let kinds: Vec<&str> = lines.iter().filter_map(|line| line["event"]["type"].as_str()).collect();
    assert_eq!((kinds[0], kinds[1], kinds[kinds.len() - 1]), ("run_started", "driver_started", "run_ended"));
    assert_eq!(kinds.len(), lines.len() - 1, "the last line is the outcome");
    assert!(lines.iter().take(kinds.len()).all(|line| line["v"] == 1 && line["mono_ms"].is_u64()));
    assert_eq!(kinds.iter().filter(|kind| **kind == "attempt_ended").count(), 2);
    let outcome = &lines[lines.len() - 1]["outcome"];
    assert_eq!((&outcome["status"], &outcome["exit_code"]), (&"failed".into(), &1.into()));
    assert_eq!(outcome["failed"][0]["step"]["name"], "report");
    assert_eq!((&outcome["metrics"]["healed"], &outcome["metrics"]["corrupt"]), (&1.into(), &0.into()));

    let (again, text) = output(home.path(), &["resume", "--output", "json"]);
    assert_eq!(again.status.code(), Some(1));
    let last: serde_json::Value = serde_json::from_str(text.lines().last().expect("a line")).expect("JSON");
    assert_eq!(last["outcome"]["metrics"]["drivers"], 2, "figures are those of the whole run");
    assert_eq!(last["outcome"]["metrics"]["healed"], 1);
}

#[test]
fn a_reader_that_goes_away_does_not_stop_the_run() {
    for args in [&["run"][..], &["run", "--output", "json"], &["run", "--verbose"]] {
        let home = home(&PIPELINE.replace("exit 3", "echo ok >page.html"));
        let mut run =
            prunella(home.path(), args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it runs");
        drop(run.stdout.take());
        let done = run.wait_with_output().expect("it ends");
        let errors = String::from_utf8_lossy(&done.stderr);
        assert_eq!(done.status.code(), Some(0), "{args:?}: {errors}");
        assert!(!errors.contains("panicked"), "{args:?}: {errors}");
    }
}
