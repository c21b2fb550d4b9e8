//! A store of plain files, for many processes of one machine.

use std::process::Stdio;

use crate::home::{Home, SMALL};

#[test]
fn a_plain_directory_holds_runs_that_are_reused_checked_healed_and_collected() {
    let (home, other) = (Home::with(SMALL), Home::with(SMALL));
    let store = format!("dir://{}", home.beside("plain").display());
    let at = |home: &Home, words: &[&str]| {
        let answer: crate::home::Answer =
            home.command(words).env("PRUNELLA_STORE", &store).output().expect("the binary starts").into();
        answer
    };
    let checked = at(&home, &["store", "check"]).exits(0).out;
    assert!(checked.contains("exactly one wins") && checked.contains("for any number of processes"), "{checked}");
    at(&home, &["run"]).exits(0);
    assert!(!home.dir.join(".prunella/store.db").exists() && !home.beside("plain/store.db").exists(), "no SQLite");
    assert!(home.beside("plain/prunella.json").exists());
    let reused = at(&other, &["run"]).exits(0);
    assert!(reused.out.contains("reused 2 of 2 steps"), "{}", reused.out);
    at(&other, &["get", "second.tree", "got"]).exits(0);
    assert_eq!(other.read("got/b"), "200006\n");
    at(&other, &["doctor"]).exits(0);
    let large = walk(&home.beside("plain/objects/data,")).into_iter().max_by_key(|path| size(path)).expect("an object");
    let mut bytes = std::fs::read(&large).expect("ours");
    bytes[100_000] ^= 1;
    std::fs::remove_file(&large).and_then(|()| std::fs::write(&large, bytes)).expect("ours");
    assert_ne!(at(&home, &["verify"]).code, 0);
    at(&home, &["heal"]).exits(0);
    at(&home, &["verify"]).exits(0);
    home.write("pipeline.yaml", &SMALL.replace("echo words", "echo other"));
    at(&home, &["run"]).exits(0);
    at(&home, &["gc", "--keep-runs", "1", "--apply"]).exits(0);
    at(&home, &["verify"]).exits(0);
    let mistaken = home.run(&["runs", "--store", &home.beside("plain").display().to_string()]).exits(78).err;
    assert!(mistaken.contains("dir://"), "{mistaken}");
}

#[test]
fn runs_of_several_processes_share_a_plain_directory() {
    // Three pipelines of the same steps: one pipeline's run would be driven by one process.
    let homes = ["one", "two", "three"].map(|name| Home::with(&SMALL.replace("name: small", &format!("name: {name}"))));
    let store = format!("dir://{}", homes[0].beside("plain").display());
    let start = |home: &Home| {
        let mut command = home.command(&["run"]);
        command.env("PRUNELLA_STORE", &store).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.spawn().expect("the binary starts")
    };
    let running: Vec<_> = homes.iter().map(start).collect();
    for process in running {
        let answer: crate::home::Answer = process.wait_with_output().expect("it ends").into();
        answer.exits(0);
    }
    let made = walk(&homes[0].beside("plain/objects/attempts,"));
    let starts = made.iter().filter(|path| path.to_string_lossy().ends_with(".start.json")).count();
    assert_eq!(starts, 2, "each step ran once: {made:?}");
}

fn size(path: &std::path::Path) -> u64 {
    path.metadata().map_or(0, |meta| meta.len())
}

fn walk(dir: &std::path::Path) -> Vec<std::path::PathBuf> {
    let (mut found, mut left) = (Vec::new(), vec![dir.to_owned()]);
    while let Some(path) = left.pop() {
        match std::fs::read_dir(&path) {
            Ok(entries) => left.extend(entries.map(|entry| entry.expect("readable").path())),
            Err(_) => found.push(path),
        }
    }
    found
}
