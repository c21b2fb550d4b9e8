//! shell: looking around where a step works.

use std::{fs, path::PathBuf, process::Stdio};

use crate::home::{Home, PRUNELLA, hear, let_go, signal};

/// A step that two others feed, and that has a checkpoint of its own before it fails.
fn pipeline(home: &Home) -> String {
    format!(
        "prunella: v1
name: looked
params: {{ rate: 0.5 }}
code: [train.sh]
data: {{ text: text.txt }}
steps:
  split:
    run: head -c 100000 /dev/zero | tr '\\\\0' s >rows; mkdir deep; echo in >deep/er
    outputs: {{ rows: rows, deep: deep/ }}
  train:
    run: sh train.sh ${{{{ params.rate }}}} {PRUNELLA} {flag}
    inputs: {{ rows: split.rows, deep: split.deep, text: data.text }}
    outputs: {{ model: out/model }}
    env: {{ THREADS: 3 }}
    secrets: [TOKEN]
    checkpoint: {{ format: socket, grace: 20s }}
    retry: {{ error: 0, checkpoint-rejected: 0 }}
  other:
    run: echo 1 >one
    outputs: {{ one: one }}
    secrets: [NOT_SET]
",
        flag = home.beside("flag").display(),
    )
}

/// Each attempt goes on from its checkpoint, takes one more, and fails as long as the file is not there.
const TRAIN: &str = "set -eu
state=$PRUNELLA_CHECKPOINT_DIR/state
n=0
if [ $PRUNELLA_RESTORED = 1 ]; then n=$(cat $state); fi
n=$((n + 1))
echo $n >$state
$2 tell checkpoint state --wait durable >/dev/null
if [ ! -e $3 ]; then echo failed at $n >&2; exit 7; fi
echo $n >out/model
";

fn failed() -> Home {
    let home = Home::new();
    home.write("pipeline.yaml", &pipeline(&home));
    home.write("train.sh", TRAIN);
    home.write("text.txt", "to be\n");
    home.run(&["pin"]).exits(0);
    for _ in 0..2 {
        run_train(&home);
    }
    home
}

/// Runs the step as its next attempt; a run asks for the secrets of all its steps.
fn run_train(home: &Home) {
    let mut command = home.command(&["run", "train", "--new"]);
    let output = command.env("TOKEN", "quiet").env("NOT_SET", "set").output().expect("the binary starts");
    crate::home::Answer::from(output).exits(1);
}

fn with_secrets(home: &Home, words: &[&str]) -> crate::home::Answer {
    home.command(words).env("TOKEN", "quiet").output().expect("the binary starts").into()
}

/// Runs a script where the step works; returns what it wrote.
fn inside(home: &Home, step: &str, script: &str) -> String {
    with_secrets(home, &["shell", step, "--", "sh", "-ec", script]).exits(0).out
}

fn shells(home: &Home) -> Vec<String> {
    let Ok(entries) = fs::read_dir(home.dir.join(".prunella/work/.shells")) else { return Vec::new() };
    entries.map(|entry| entry.expect("readable").file_name().to_string_lossy().into_owned()).collect()
}

#[test]
fn a_shell_sees_what_the_next_attempt_would_see_and_leaves_nothing() {
    let home = failed();
    let before = home.stored();
    let seen = inside(
        &home,
        "train",
        "cat train.sh | head -n 1; wc -c <inputs/rows/rows; cat inputs/deep/deep/er $PRUNELLA_INPUT_TEXT
         echo $THREADS $TOKEN $PRUNELLA_STEP $PRUNELLA_ATTEMPT $PRUNELLA_RESTORED $PRUNELLA_GRACE_SECONDS
         cat $PRUNELLA_CHECKPOINT_DIR/state; test -d out; echo ${NOT_SET-unset} ${PRUNELLA_SOCKET-unset}
         echo more >inputs/deep/deep/er; echo 9 >$PRUNELLA_OUTPUT_MODEL; mkdir -p new; ls out",
    );
    assert_eq!(seen, "set -eu\n100000\nin\nto be\n3 quiet train 3 1 20\n2\nunset unset\nmodel\n");
    assert_eq!(home.stored(), before, "nothing is recorded");
    assert_eq!(shells(&home), Vec::<String>::new());
    // The store's own bytes are others.
    home.run(&["verify"]).exits(0);
    // What the step itself would do can be done there, and is not taken for it.
    inside(&home, "train", "sh train.sh 0.5 true . && test -s out/model");
    assert_eq!(home.stored(), before);
    // The next attempt has the number that the shell showed, and goes on from the same checkpoint.
    run_train(&home);
    assert_eq!(home.json(&["explain", "train"])["checkpoints"][0], "3-1");
    assert!(home.run(&["logs", "train@3"]).exits(0).out.contains("failed at 3"));
}

#[test]
fn an_attempt_that_is_named_is_seen_with_what_it_began_with() {
    let home = failed();
    let look = "echo $PRUNELLA_ATTEMPT $PRUNELLA_RESTORED; ls $PRUNELLA_CHECKPOINT_DIR; cat $PRUNELLA_CHECKPOINT_DIR/* || true";
    assert_eq!(inside(&home, "train@1", look), "1 0\n");
    assert_eq!(inside(&home, "train@2", look), "2 1\nstate\n1\n");
    assert_eq!(inside(&home, "train", look), "3 1\nstate\n2\n");
    let wrong = with_secrets(&home, &["shell", "train@9"]).exits(2);
    assert!(
        wrong.err.contains("there is no attempt `train@9`") && wrong.err.contains("train@1, train@2"),
        "{}",
        wrong.err
    );
    assert!(with_secrets(&home, &["shell", "train@x"]).exits(2).err.contains("numbered from 1"));
    assert!(home.run(&["shell", "nothing"]).exits(2).err.contains("the steps are split, train, other"));
    // Of another step's secrets nothing is asked; its own are missed.
    assert!(home.run(&["shell", "train", "--", "true"]).exits(2).err.contains("`TOKEN`"));
    assert_eq!(shells(&home), Vec::<String>::new());
}

#[test]
fn the_code_is_the_commands_own_and_input_that_is_no_terminal_is_read() {
    let home = failed();
    let code = |words: &[&str]| {
        let words: Vec<&str> = ["shell", "split", "--"].iter().chain(words).copied().collect();
        home.run(&words)
    };
    code(&["sh", "-c", "exit 42"]).exits(42);
    code(&["sh", "-c", "kill -9 $$"]).exits(137);
    assert!(code(&["no-such-program"]).exits(2).err.contains("could not start `no-such-program`"));
    let mut child = home
        .command(&["shell", "split"])
        .env("SHELL", "/bin/sh")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary starts");
    std::io::Write::write_all(&mut child.stdin.take().expect("a pipe"), b"pwd; exit 3\n").expect("it reads");
    let ended = child.wait_with_output().expect("it ends");
    assert_eq!(ended.status.code(), Some(3));
    let (out, err) = (String::from_utf8_lossy(&ended.stdout), String::from_utf8_lossy(&ended.stderr));
    assert!(out.contains("/.prunella/work/.shells/shell-"), "{out}");
    assert!(err.contains("split@2 of run ") && err.contains("it runs: /bin/sh -e -c '"), "{err}");
    assert_eq!(shells(&home), Vec::<String>::new());
}

#[test]
fn what_is_kept_stays_and_what_a_killed_shell_left_goes() {
    let home = failed();
    let kept = home.run(&["shell", "split", "--keep", "--", "sh", "-c", "echo mine >note"]).exits(0);
    let place = kept.err.lines().find_map(|line| line.strip_prefix("kept: ")).map(PathBuf::from).expect("it is said");
    assert_eq!(fs::read_to_string(place.join("note")).expect("it is there"), "mine\n");

    let begun = home.pipe("begun");
    let script = format!("echo $$ >{}; exec sleep 60", begun.display());
    let mut child = home.command(&["shell", "split", "--", "sh", "-c", &script]).spawn().expect("the binary starts");
    let pid = hear(&begun);
    assert_eq!(shells(&home).len(), 2);
    child.kill().expect("ours");
    child.wait().expect("it is gone");
    home.run(&["shell", "split", "--", "true"]).exits(0);
    let left = shells(&home);
    assert!(left.len() == 1 && left[0].starts_with("kept-"), "{left:?}");
    // The program lives on, as after any parent that was killed.
    let killed = std::process::Command::new("kill").args(["-9", pid.trim()]).status();
    assert!(killed.expect("kill is everywhere").success());
}

#[test]
fn sigterm_reaches_the_program_and_the_directory_goes() {
    let home = failed();
    let begun = home.pipe("begun");
    let script = format!("trap 'exit 5' TERM; mkfifo never; echo begun >{}; read x <never", begun.display());
    let child = home.start(&["shell", "split", "--", "sh", "-c", &script]);
    assert_eq!(hear(&begun), "begun\n");
    signal(&child, "TERM");
    let ended = child.wait_with_output().expect("it ends");
    assert_eq!(ended.status.code(), Some(5), "{}", String::from_utf8_lossy(&ended.stderr));
    assert_eq!(shells(&home), Vec::<String>::new());
}

/// What an engine does that finds a dead one: it kills what that one's attempts left, by their ids.
#[test]
fn a_shell_lives_through_the_sweep_of_what_a_dead_engine_left() {
    let home = Home::new();
    let (begun, go, inside) = (home.pipe("begun"), home.pipe("go"), home.pipe("inside"));
    home.write(
        "pipeline.yaml",
        &format!(
            "prunella: v1
name: swept
steps:
  wait:
    run: if [ -e {flag} ]; then echo 1 >one; else echo begun >{begun}; read x <{go}; fi
    outputs: {{ one: one }}
",
            flag = home.beside("flag").display(),
            begun = begun.display(),
            go = go.display()
        ),
    );
    let mut engine = home.command(&["run"]).spawn().expect("the binary starts");
    assert_eq!(hear(&begun), "begun\n");
    let script = format!("echo $PRUNELLA_ATTEMPT_ID >{}; read x <{}; echo survived", inside.display(), go.display());
    // The very attempt that the next engine will find dead.
    let shell = home.start(&["shell", "wait@1", "--", "sh", "-c", &script]);
    assert!(hear(&inside).starts_with("shell/"));
    engine.kill().expect("ours");
    engine.wait().expect("it is gone");
    fs::write(home.beside("flag"), "").expect("ours");
    home.run(&["run"]).exits(0);
    assert_eq!(home.json(&["status"])["steps"][0]["epoch"], 2, "the first attempt was found dead");
    let_go(&go);
    let ended = shell.wait_with_output().expect("it ends");
    assert_eq!(String::from_utf8_lossy(&ended.stdout), "survived\n", "{}", String::from_utf8_lossy(&ended.stderr));
}

#[test]
fn what_gc_takes_beside_an_open_shell_stays_in_it_and_what_is_gone_is_said() {
    let home = Home::with(
        "prunella: v1
name: aged
params: { n: 1 }
steps:
  make: { run: 'head -c 100000 /dev/zero | tr \"\\\\0\" ${{ params.n }} >large', outputs: { large: large } }
  use: { inputs: { large: make.large }, run: 'wc -c <inputs/large/large >count', outputs: { count: count } }
",
    );
    for n in ["n=1", "n=2"] {
        home.run(&["run", "--set", n]).exits(0);
    }
    let first = home.json(&["runs"])["runs"][1]["run"].as_str().expect("an id").to_owned();
    let (begun, go) = (home.pipe("begun"), home.pipe("go"));
    let script =
        format!("echo begun >{}; read x <{}; tr -d 1 <inputs/large/large | wc -c", begun.display(), go.display());
    let shell = home.start(&["shell", &first, "use", "--", "sh", "-c", &script]);
    assert_eq!(hear(&begun), "begun\n");
    assert!(home.json(&["gc", "--keep-runs", "1", "--apply"])["objects"].as_u64() > Some(0));
    let_go(&go);
    let ended = shell.wait_with_output().expect("it ends");
    assert_eq!(String::from_utf8_lossy(&ended.stdout), "0\n", "all of it is still the first run's");

    let gone = home.run(&["shell", &first, "use", "--", "true"]).exits(78);
    assert!(gone.err.contains("`large` cannot be laid out") && gone.err.contains("`prunella gc`"), "{}", gone.err);
    home.damage();
    let lost = home.run(&["shell", "use", "--", "true"]).exits(78);
    assert!(lost.err.contains("prunella heal"), "{}", lost.err);
    assert_eq!(home.json(&["status"])["steps"][0]["state"], "done", "nothing was marked");
    assert_eq!(shells(&home), Vec::<String>::new());
}

#[test]
fn an_item_has_a_shell_and_all_items_together_have_none() {
    let home = Home::with(
        "prunella: v1
name: items
steps:
  train:
    for_each: { fold: [0, 1, 2] }
    run: echo ${{ item.fold }} >model
    outputs: { model: model }
  all: { inputs: { models: train.model }, run: 'cat inputs/models/model/*/model >sum', outputs: { sum: sum } }
",
    );
    home.run(&["run"]).exits(0);
    let seen = home.run(&["shell", "train:fold=2", "--", "sh", "-c", "echo $PRUNELLA_ITEM $PRUNELLA_STEP"]).exits(0);
    assert_eq!(seen.out, "{\"fold\":2} train:fold=2\n");
    assert!(home.run(&["shell", "train", "--", "true"]).err.contains("train:fold=0"));
    let folder = home.run(&["shell", "all@1", "--", "sh", "-c", "cat inputs/models/model/*/model"]).exits(0);
    assert_eq!(folder.out, "0\n1\n2\n");
}
