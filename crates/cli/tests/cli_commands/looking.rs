//! status, runs, logs, explain: looking at what happened.

use std::{io::Read, process::Stdio};

use crate::home::{Home, hear, let_go, plain};

const FAILING: &str = "prunella: v1
name: failing
params: { pace: 3 }
data: { text: text.txt }
steps:
  words:
    run: tr ' ' '\\n' <${{ inputs.text }} >words
    inputs: { text: data.text }
    outputs: { words: words }
  count:
    run: |
      echo 'looking at the words'
      echo 'error: no pace like this' >&2
      exit ${{ params.pace }}
    inputs: { words: words.words }
    outputs: { counts: counts }
    retry: { error: { limit: 3, backoff: 1ms..2ms } }
  report:
    run: cp ${{ inputs.counts }} page
    inputs: { counts: count.counts }
    outputs: { page: page }
";

fn failed() -> Home {
    let home = Home::with(FAILING);
    home.write("text.txt", "to be or not to be\n");
    home.run(&["pin"]).exits(0);
    home.run(&["run"]).exits(1);
    home
}

#[test]
fn a_failed_run_is_explained_from_its_root_cause_to_what_to_do() {
    let home = failed();
    let status = home.run(&["status"]).exits(0);
    let expected = "failing  run RUN  failed
started WHEN, driven for TIME
✓ words   done     words@1
✗ count   failed   error: the same failure 2 times at the same progress: it is deterministic; correct the step; what was committed before it is reused
· report  blocked  needs count, which failed
  next: prunella explain RUN count     prunella logs RUN count
";
    assert_eq!(plain(&status.out), expected);
    home.run(&["status", "--exit-status"]).exits(1);

    let explained = home.run(&["explain", "count"]).exits(0);
    let expected = "count  run RUN  failed
given up: error: the same failure 2 times at the same progress: it is deterministic; correct the step; what was committed before it is reused
key KEY
inputs
  words  file 19 B DIGEST  from words.words, made by words@1 of run RUN
count@1  started WHEN, run RUN
  ended after TIME: error
    the program exited with 3
    | error: no pace like this
  lost TIME of computing
  healed by: HEALED
count@2  started WHEN, run RUN
  ended after TIME: error
    the program exited with 3
    | error: no pace like this
  lost TIME of computing
  next: prunella logs RUN count
  next: then `prunella run` (a corrected file) or `prunella resume RUN` (the same again)
";
    let told = plain(&explained.out);
    let healed: Vec<&str> = told.lines().filter(|line| line.contains("healed by: ")).collect();
    assert_eq!(healed.len(), 1, "{told}");
    assert_eq!(told.replace(healed[0], "  healed by: HEALED"), expected);

    let blocked = home.json(&["explain", "report"]);
    assert_eq!(blocked["state"], "blocked");
    assert!(blocked["next"][0].as_str().unwrap().ends_with(" count"));
    let json = home.json(&["explain", "count"]);
    assert_eq!((&json["class"], json["attempts"].as_array().map(Vec::len)), (&"error".into(), Some(2)));
    assert_eq!(json["attempts"][0]["root_cause"][0], "error: no pace like this");
    assert_eq!(json["attempts"][1]["evidence"]["ended"]["code"], 3);
    assert_eq!(json["inputs"][0]["producer_epoch"], 1);
}

#[test]
fn the_reason_for_a_reuse_and_the_lineage_are_told() {
    let home = failed();
    home.write("pipeline.yaml", &FAILING.replace("pace: 3", "pace: 0").replace("exit ${{", "echo 1 >counts; exit ${{"));
    home.run(&["run"]).exits(0);
    let first = home.json(&["runs"])["runs"][1]["run"].as_str().expect("the older run").to_owned();
    let words = home.json(&["explain", "words"]);
    assert_eq!((&words["state"], &words["commit"]["reused_from"]), (&"reused".into(), &first.as_str().into()));
    let text = home.run(&["explain", "words"]).exits(0).out;
    assert!(text.contains(&format!("reused: words@1 of run {} is the same work", &first[..13])), "{text}");
    let page = home.json(&["explain", "report"]);
    assert_eq!(page["inputs"][0]["producer_key"], home.json(&["explain", "count"])["key"]);

    let runs = home.run(&["runs"]).exits(0).out;
    let shown: Vec<String> =
        plain(&runs).lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
    assert_eq!(
        shown,
        [
            "status run pipeline started driven for healed",
            "succeeded RUN failing #2 WHEN TIME",
            "failed RUN failing #1 WHEN TIME"
        ]
    );
    // The older run is still there, by the beginning of its id; both begin alike only in their first digits.
    assert_eq!(home.json(&["status", &first])["status"], "failed");
    assert!(home.run(&["status", "0"]).exits(2).err.contains("could be"));
    assert!(home.run(&["status", "zzz"]).exits(2).err.contains("prunella runs"));
    assert!(home.run(&["explain", "nothing"]).exits(2).err.contains("the steps are words, count, report"));
}

#[test]
fn without_a_store_every_command_says_what_to_do() {
    let home = Home::new();
    for words in [&["status"][..], &["runs"], &["logs", "a"], &["explain", "a"], &["get", "a.b"], &["stop"]] {
        let answer = home.run(words).exits(2);
        assert!(answer.err.contains("help: run a pipeline first"), "{words:?}: {}", answer.err);
        assert_eq!(home.names(), Vec::<String>::new(), "{words:?} makes nothing");
    }
}

#[test]
fn logs_give_back_every_byte_of_every_attempt() {
    let home = Home::with(
        "prunella: v1
name: loud
steps:
  loud:
    run: |
      printf 'one\\n\\ntwo\\r\\nno end \\377'
      printf 'oops %s\\n' $PRUNELLA_ATTEMPT >&2
      test $PRUNELLA_ATTEMPT = 2 && echo x >out
    outputs: { out: out }
    retry: { error: { limit: 3, backoff: 1ms..2ms } }
",
    );
    home.run(&["run"]).exits(0);
    let raw = home.run(&["logs", "loud@1", "--raw", "--stdout"]).exits(0);
    assert_eq!(raw.raw, b"one\n\ntwo\r\nno end \xff");
    assert_eq!(home.run(&["logs", "loud@1", "--raw", "--stderr"]).exits(0).out, "oops 1\n");
    assert_eq!(home.run(&["logs", "loud", "--stderr"]).exits(0).out, "oops 2\n", "the newest attempt");
    let timed = home.run(&["logs", "loud", "--stderr", "--timestamps"]).exits(0).out;
    assert!(timed.ends_with(" oops 2\n") && timed.trim().as_bytes()[0].is_ascii_digit(), "{timed}");
    let json = home.run(&["logs", "loud", "--output", "json", "--stdout"]).exits(0).out;
    let last: serde_json::Value = serde_json::from_str(json.lines().last().expect("lines")).expect("JSON");
    assert_eq!((&last["stream"], &last["goes_on"], &last["attempt"]), (&"stdout".into(), &true.into(), &2.into()));

    let missing = home.run(&["logs", "loud@9"]).exits(2);
    assert!(missing.err.contains("`loud@9` has not run"), "{}", missing.err);
    assert!(home.run(&["logs", "loud@x"]).exits(2).err.contains("numbered from 1"));

    // Another run reuses the step: what it wrote is still found there.
    home.run(&["run", "--new"]).exits(0);
    assert_eq!(home.json(&["status"])["steps"][0]["state"], "reused");
    assert_eq!(home.run(&["logs", "loud", "--stderr"]).exits(0).out, "oops 2\n");
    assert_eq!(home.run(&["logs", "loud@1", "--stderr"]).exits(0).out, "oops 1\n");
}

#[test]
fn a_reader_that_goes_away_ends_the_answer_quietly() {
    let home = Home::with(
        "prunella: v1\nname: long\nsteps:\n  long: { run: 'seq 1 400000; echo x >out', outputs: { out: out } }\n",
    );
    home.run(&["run"]).exits(0);
    let mut child = home.start(&["logs", "long"]);
    let mut out = child.stdout.take().expect("piped");
    let mut some = [0; 9];
    out.read_exact(&mut some).expect("it says something");
    drop(out);
    let ended = child.wait_with_output().expect("it ends");
    assert_eq!(&some, b"1\n2\n3\n4\n5");
    assert_eq!((ended.status.code(), String::from_utf8_lossy(&ended.stderr).as_ref()), (Some(0), ""));
    for words in [&["runs"][..], &["status"], &["explain", "long"], &["--help"]] {
        let mut child = home.command(words).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
        drop(child.stdout.take());
        let ended = child.wait_with_output().expect("it ends");
        assert!(!String::from_utf8_lossy(&ended.stderr).contains("panicked"), "{words:?}");
    }
}

#[test]
fn following_shows_what_is_written_and_ends_with_the_attempt() {
    let home = Home::new();
    let (begun, go) = (home.pipe("begun"), home.pipe("go"));
    home.write(
        "pipeline.yaml",
        &format!(
            "prunella: v1
name: slow
steps:
  slow: {{ run: 'echo first; echo begun >{}; read x <{}; echo second; echo x >out', outputs: {{ out: out }} }}
",
            begun.display(),
            go.display()
        ),
    );
    let mut engine = home.start(&["run"]);
    assert_eq!(hear(&begun), "begun\n");
    let running = home.json(&["status"]);
    assert_eq!((&running["status"], &running["driver"]["alive"]), (&"running".into(), &true.into()));
    assert_eq!(running["driver"]["pid"], engine.id());
    home.run(&["status", "--exit-status"]).exits(75);

    let mut follower = home.start(&["logs", "slow", "--follow"]);
    let mut out = follower.stdout.take().expect("piped");
    let mut first = [0; 6];
    out.read_exact(&mut first).expect("what was written is shown while the step runs");
    assert_eq!(&first, b"first\n");
    let_go(&go);
    let mut rest = String::new();
    out.read_to_string(&mut rest).expect("it ends with the attempt");
    assert_eq!(rest, "second\n");
    assert!(follower.wait().expect("it ends").success());
    assert!(engine.wait().expect("it ends").success());
    home.run(&["status", "--exit-status"]).exits(0);
}

#[test]
fn there_is_no_colour_without_a_terminal() {
    let home = failed();
    for words in [&["status"][..], &["runs"], &["explain", "count"], &["plan"], &["logs", "count"]] {
        assert!(!home.run(words).out.contains('\u{1b}'), "{words:?}");
    }
}

#[test]
fn reading_needs_no_right_to_write() {
    use std::os::unix::fs::PermissionsExt;
    let home = failed();
    let store = home.dir.join(".prunella");
    let mode = |mode| std::fs::set_permissions(&store, std::fs::Permissions::from_mode(mode)).expect("ours");
    mode(0o555);
    // Who may do everything may also leave a log for readers beside the database.
    let may_all = std::fs::write(store.join("probe"), "").is_ok();
    let _was_not_made = std::fs::remove_file(store.join("probe"));
    let before: Vec<_> = std::fs::read_dir(&store).expect("readable").flatten().map(|e| e.file_name()).collect();
    for words in [
        &["status"][..],
        &["runs"],
        &["logs", "count"],
        &["explain", "count"],
        &["plan"],
        &["shell", "words", "--", "true"],
    ] {
        home.run(words).exits(0);
    }
    let after: Vec<_> = std::fs::read_dir(&store).expect("readable").flatten().map(|e| e.file_name()).collect();
    mode(0o755);
    assert!(may_all || before.len() == after.len(), "nothing is made there either: {after:?}");
}
