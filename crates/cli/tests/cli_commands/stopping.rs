//! stop, and what a killed engine leaves.

use std::path::Path;

use crate::home::{Home, hear, let_go, signal};

/// A step that tells when it runs, writes a checkpoint when it is asked to stop, and goes on from there.
fn patient(begun: &Path, go: &Path) -> String {
    format!(
        "prunella: v1
name: patient
steps:
  first: {{ run: 'echo 1 >one', outputs: {{ one: one }} }}
  wait:
    run: |
      if [ $PRUNELLA_RESTORED = 1 ]; then cat $PRUNELLA_CHECKPOINT_DIR/* >out; exit; fi
      trap 'echo saved >$PRUNELLA_CHECKPOINT_DIR/.p; mv $PRUNELLA_CHECKPOINT_DIR/.p $PRUNELLA_CHECKPOINT_DIR/p; exit 143' TERM
      echo begun >{}
      read x <{} || exit 143
    inputs: {{ one: first.one }}
    outputs: {{ out: out }}
    checkpoint: {{ format: files, grace: 20s }}
",
        begun.display(),
        go.display()
    )
}

fn running() -> (Home, std::process::Child, std::path::PathBuf) {
    let home = Home::new();
    let (begun, go) = (home.pipe("begun"), home.pipe("go"));
    home.write("pipeline.yaml", &patient(&begun, &go));
    let engine = home.start(&["run"]);
    assert_eq!(hear(&begun), "begun\n");
    (home, engine, go)
}

#[test]
fn a_stopped_run_ends_in_checkpoints_and_goes_on_later() {
    let (home, mut engine, _go) = running();
    let stopped = home.run(&["stop"]).exits(0);
    assert!(stopped.out.contains("stopped") && stopped.out.contains("next: prunella resume"), "{}", stopped.out);
    let gone = engine.try_wait().expect("ours").is_some();
    assert!(gone, "the engine is gone when `stop` answers");
    assert_eq!(engine.wait().expect("it ends").code(), Some(75));
    let status = home.json(&["status"]);
    assert_eq!((&status["status"], &status["driver"]["alive"]), (&"stopped".into(), &false.into()));
    home.run(&["status", "--exit-status"]).exits(75);
    let explained = home.json(&["explain", "wait"]);
    assert_eq!(explained["attempts"][0]["class"], "stopped");
    assert_eq!(explained["checkpoints"][0], "1-1");
    let plan = home.json(&["plan"]);
    assert_eq!((&plan["steps"][1]["verdict"], &plan["goes_on"]), (&"resumed".into(), &status["run"]));

    // A second stop has nothing to do, and the run goes on.
    assert!(home.run(&["stop"]).exits(0).out.contains("nothing of it was running"));
    home.run(&["resume"]).exits(0);
    assert_eq!(home.run(&["get", "wait.out", "-"]).exits(0).out, "saved\n");
    assert_eq!(home.json(&["status"])["steps"][1]["epoch"], 2);
}

#[test]
fn stop_now_leaves_no_time_and_a_timeout_is_said() {
    let (home, mut engine, _go) = running();
    // The step ends only when its pipe is read or it is killed; asking alone waits for nothing.
    let asked = home.run(&["stop", "--timeout", "0s", "--now"]);
    assert!(asked.code == 75 || asked.code == 0, "{}", asked.err);
    home.run(&["stop", "--now"]).exits(0);
    assert_eq!(engine.wait().expect("it ends").code(), Some(75));
    let explained = home.json(&["explain", "wait"]);
    assert_eq!(explained["attempts"][0]["class"], "stopped");
    assert_eq!(explained["checkpoints"].as_array().map(Vec::len), Some(0));
}

#[test]
fn a_killed_engine_is_seen_and_the_run_goes_on() {
    let (home, mut engine, go) = running();
    signal(&engine, "KILL");
    engine.wait().expect("it is gone");
    let status = home.json(&["status"]);
    assert_eq!(status["status"], "interrupted");
    assert_eq!(home.json(&["runs"])["runs"][0]["status"], "interrupted");
    let stopped = home.run(&["stop"]).exits(0);
    assert!(stopped.out.contains("nothing of it was running"), "{}", stopped.out);

    let begun = home.beside("begun");
    let mut resumed = home.start(&["resume"]);
    assert_eq!(hear(&begun), "begun\n");
    let_go(&go);
    resumed.wait().expect("it ends");
    let explained = home.json(&["explain", "wait"]);
    assert_eq!(explained["attempts"][0]["class"], "killed");
    assert!(explained["attempts"][0]["seen"][0].as_str().unwrap().contains("nobody saw"), "{explained}");
}

#[test]
fn a_checkpoint_of_a_programs_first_moment_is_taken() {
    let mut pipeline = "prunella: v1\nname: quick\nsteps:\n".to_owned();
    for n in 0..16 {
        // Different work each: equal steps would be one.
        let script = format!("d=$PRUNELLA_CHECKPOINT_DIR; echo {n} >$d/.p; mv $d/.p $d/p; exit 1");
        let more = "checkpoint: { format: files }, retry: { error: 0 }, resources: { cpu: 0.01 }";
        pipeline.push_str(&format!("  s{n}: {{ run: '{script}', outputs: {{ out: out }}, {more} }}\n"));
    }
    let home = Home::with(&pipeline);
    home.run(&["run", "--jobs", "16"]).exits(1);
    for n in 0..16 {
        assert_eq!(home.json(&["explain", &format!("s{n}")])["checkpoints"][0], "1-1", "s{n}");
    }
}
