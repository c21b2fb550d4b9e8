//! Data that is mounted: nothing of it is stored, and nothing is committed of what it was not.

use std::os::unix::fs::PermissionsExt;

use crate::home::Home;

const PIPELINE: &str = "prunella: v1
name: mounting
data: { big: { path: big/, access: mount } }
steps:
  count:
    run: find ${{ inputs.big }} -type f | wc -l > count.txt; cat \"$PRUNELLA_INPUT_BIG/words\" >> count.txt
    inputs: { big: data.big }
    outputs: { count: count.txt }
";

/// A project whose data would be a file in the store, if it were copied.
fn home() -> Home {
    let home = Home::with(PIPELINE);
    home.write("big/words", "one\n");
    home.write("big/long", &"x".repeat(200_000));
    home
}

#[test]
fn mounted_data_is_pinned_read_in_place_and_reused_and_the_store_has_none_of_it() {
    let home = home();
    home.run(&["run"]).exits(78);
    home.run(&["pin"]).exits(0);
    home.run(&["run"]).exits(0);
    home.run(&["get", "count.count", "got"]).exits(0);
    assert_eq!(home.read("got"), "2\none\n");
    assert!(!home.dir.join(".prunella/data").exists());
    let explained = home.run(&["explain", "count"]).exits(0).out;
    let place = std::fs::canonicalize(home.dir.join("big")).expect("it is there");
    assert!(explained.contains(&format!("mounted from `{}`", place.display())), "{explained}");
    home.run(&["run"]).exits(0);
    assert_eq!(home.json(&["plan"])["summary"]["reused"], 1);
    // To copy it is the same work.
    home.write("pipeline.yaml", &PIPELINE.replace("mount }", "copy }"));
    assert_eq!(home.json(&["plan"])["summary"]["reused"], 1);
    home.run(&["run"]).exits(0);
    assert!(home.dir.join(".prunella/data").exists());
}

#[test]
fn mounted_data_that_changed_is_refused_until_it_is_pinned_and_then_read_anew() {
    let home = home();
    home.run(&["pin"]).exits(0);
    home.run(&["run"]).exits(0);
    home.write("big/words", "two\n");
    let refused = home.run(&["run"]).exits(78).err;
    assert!(refused.contains("data.big") && refused.contains("has changed"), "{refused}");
    home.run(&["pin"]).exits(0);
    home.run(&["run"]).exits(0);
    home.run(&["get", "count.count", "got"]).exits(0);
    assert_eq!(home.read("got"), "2\ntwo\n");
}

/// The place of the data as graphs and commits name it.
fn place(home: &Home) -> String {
    std::fs::canonicalize(home.dir.join("big")).expect("it is there").display().to_string()
}

#[test]
fn commands_say_what_is_mounted_and_that_the_store_does_not_keep_it() {
    let home = home();
    home.run(&["pin"]).exits(0);
    let place = place(&home);
    let planned = home.run(&["plan"]).exits(0).out;
    assert!(planned.contains(&format!("data.big: is read where it lies, `{place}`")), "{planned}");
    home.run(&["run"]).exits(0);
    let verified = home.run(&["verify"]).exits(0).err;
    assert!(verified.contains(&format!("data.big is mounted from `{place}`: not kept here")), "{verified}");
    assert_eq!(home.json(&["verify"])["mounted"][0]["path"], place.as_str());
    let seen = home.run(&["shell", "count", "--", "sh", "-c", "cat inputs/big/big/words; echo $PRUNELLA_INPUT_BIG"]);
    assert_eq!(seen.exits(0).out, format!("one\n{place}\n"));
    home.run(&["gc", "--keep-runs", "1", "--apply"]).exits(0);
    assert_eq!(home.read("big/words"), "one\n");
    let doctor = home.json_of(&["doctor"], 0);
    let checks = doctor["checks"].as_array().expect("a list");
    let mounts = checks.iter().find(|check| check["name"] == "mounts").expect("doctor looks at it");
    assert_eq!(mounts["health"], if can_protect() { "good" } else { "note" }, "{mounts}");
}

/// Whether this machine lets a mount namespace be made at all.
fn can_protect() -> bool {
    let tried = std::process::Command::new("unshare").args(["--mount", "true"]).output();
    tried.is_ok_and(|done| done.status.success())
}

#[test]
fn what_cannot_be_read_where_it_was_is_refused_by_name_and_goes_on_when_it_is_back() {
    let home = home();
    home.run(&["pin"]).exits(0);
    home.run(&["run"]).exits(0);
    let run = home.json(&["status"])["run"].as_str().expect("an id").to_owned();
    let place = place(&home);
    // The output is lost, and what it was made of is elsewhere.
    let damaged = mark_lost(&home);
    assert_eq!(damaged, "count");
    std::fs::rename(home.dir.join("big"), home.beside("big")).expect("ours");
    let healed = home.run(&["heal", &run]).exits(78).err;
    assert!(healed.contains("`count` needs `data.big`, which is lost too") && healed.contains(&place), "{healed}");
    let executed = home.run(&["exec", "--run", &run, "--step", "count"]).exits(78).err;
    assert!(executed.contains("`data.big`") && executed.contains(&place), "{executed}");
    assert!(executed.contains("nothing is there; bring it back there"), "{executed}");
    let looked = home.run(&["shell", "count", "--", "true"]).exits(78).err;
    assert!(looked.contains("nothing is there"), "{looked}");
    // A link will do.
    std::os::unix::fs::symlink(home.beside("big"), home.dir.join("big")).expect("ours");
    home.run(&["heal", &run]).exits(0);
    home.run(&["get", &run, "count.count", "got"]).exits(0);
    assert_eq!(home.read("got"), "2\none\n");
}

/// Marks the commit of the step as damaged, as `verify --mark` would; returns its name.
pub fn mark_lost(home: &Home) -> String {
    use prunella_objects::{Embedded, Objects};
    let explained = home.json(&["explain", "count"]);
    let (key, epoch) = (explained["key"].as_str().expect("a key"), explained["commit"]["epoch"].as_u64().expect("one"));
    let name = format!("attempts/{key}/{:016x}.damaged.json", u64::MAX - epoch);
    let text =
        r#"{"format":1,"object":"data/00/x","evidence":"by a test","writer":"3b9e5eb96061949d7e110ce8b09783ec"}"#;
    let store = Embedded::open(&prunella_sys::Sys::real(), &home.dir.join(".prunella")).expect("there is a store");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let key = prunella_objects::ObjectKey::new(&name).expect("a key");
    let created = runtime.block_on(store.create(&key, text.into())).expect("it answers");
    assert_eq!(created, prunella_objects::Created::New);
    explained["step"].as_str().expect("a name").to_owned()
}

const WRITER: &str = "prunella: v1
name: writing
data: { big: { path: big/, access: mount } }
steps:
  write:
    run: echo changed > \"$PRUNELLA_INPUT_BIG/words\"; echo done > done.txt
    inputs: { big: data.big }
    outputs: { done: done.txt }
  read:
    run: cat inputs/big/big/words > words.txt
    inputs: { big: data.big }
    outputs: { words: words.txt }
    after: [write]
    retry: { error: 0 }
";

#[test]
fn a_step_cannot_write_to_mounted_data_where_that_can_be_prevented() {
    if !can_protect() {
        return println!("  not checked: nothing can be mounted here");
    }
    let home = home();
    home.write("pipeline.yaml", &WRITER.replace("outputs: { done", "retry: { error: 0 }\n    outputs: { done"));
    home.run(&["pin"]).exits(0);
    let failed = home.run(&["run"]).exits(1);
    assert!(failed.out.contains("Read-only file system"), "{}{}", failed.out, failed.err);
    assert!(!failed.out.contains("steps could write to mounted data"), "{}", failed.out);
    assert_eq!(home.read("big/words"), "one\n");
    // A check command reads it as protected as the step.
    let check =
        "{ path: done.txt, check: { command: 'cat $PRUNELLA_INPUT_BIG/words >&2; echo > $PRUNELLA_INPUT_BIG/words' } }";
    home.write(
        "pipeline.yaml",
        &WRITER
            .replace("echo changed > \"$PRUNELLA_INPUT_BIG/words\"; ", "")
            .replace("done: done.txt }", &format!("done: {check} }}")),
    );
    let failed = home.run(&["run", "write"]).exits(1);
    assert!(failed.out.contains("refused it: one") && failed.out.contains("Read-only file system"), "{}", failed.out);
    assert_eq!(home.read("big/words"), "one\n");
}

/// Runs a command that may not mount.
fn without_right(home: &Home, words: &[&str]) -> crate::home::Answer {
    let command = home.command(words);
    let mut dropped = std::process::Command::new("setpriv");
    dropped.args(["--bounding-set", "-sys_admin", "--inh-caps", "-sys_admin"]);
    dropped.arg(command.get_program()).args(command.get_args()).current_dir(&home.dir).env_clear();
    dropped.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    dropped.output().expect("setpriv starts").into()
}

/// Whether that can be tried here.
fn has_setpriv() -> bool {
    let there = std::process::Command::new("setpriv").arg("--version").output().is_ok_and(|done| done.status.success());
    if !there {
        println!("  not checked: there is no setpriv");
    }
    there
}

#[test]
fn a_second_name_of_mounted_data_as_an_output_is_stored_as_a_copy() {
    if !has_setpriv() {
        return;
    }
    let home = home();
    let script = "ln \"$PRUNELLA_INPUT_BIG/long\" long";
    home.write(
        "pipeline.yaml",
        &format!(
            "prunella: v1
name: links
data: {{ big: {{ path: big/, access: mount }} }}
steps:
  link:
    run: {script}
    inputs: {{ big: data.big }}
    outputs: {{ long: long }}
"
        ),
    );
    home.run(&["pin"]).exits(0);
    without_right(&home, &["run"]).exits(0);
    let mode = std::fs::metadata(home.dir.join("big/long")).expect("it is there").permissions().mode();
    assert_eq!(mode & 0o200, 0o200);
    // The user's file is still the user's, and the store's is not it.
    home.write("big/long", "short");
    home.run(&["verify"]).exits(0);
    assert_eq!(home.run(&["get", "link.long", "-"]).exits(0).out.len(), 200_000);
    let explained = home.run(&["explain", "link"]).exits(0).out;
    assert!(explained.contains("remark: data.big: files were touched while the step ran"), "{explained}");
}

#[test]
fn where_that_cannot_be_prevented_it_is_said_once_and_the_change_is_found() {
    if !has_setpriv() {
        return;
    }
    let home = home();
    home.write("pipeline.yaml", &WRITER.replace("after: [write]", ""));
    home.run(&["pin"]).exits(0);
    let doctor = without_right(&home, &["doctor"]);
    assert!(doctor.out.contains("mounted data is not protected: Operation not permitted"), "{}", doctor.out);
    without_right(&home, &["run", "read"]).exits(0);
    let explained = home.run(&["explain", "read"]).exits(0).out;
    assert!(explained.contains(&format!("mounted from `{}`, without protection", place(&home))), "{explained}");
    let run = without_right(&home, &["run", "--jobs", "1"]);
    assert_eq!(run.out.matches("steps could write to mounted data").count(), 1, "{}", run.out);
    assert!(run.out.contains("was changed while the step ran"), "{}{}", run.out, run.err);
    assert_eq!((run.code, home.read("big/words").as_str()), (1, "changed\n"));
}

#[test]
fn a_folder_in_which_the_store_lies_cannot_be_mounted() {
    let home = home();
    home.run(&["pin"]).exits(0);
    let refused = home.run(&["run", "--store", "big/store"]).exits(78).err;
    assert!(refused.contains("the store lies in it"), "{refused}");
}
