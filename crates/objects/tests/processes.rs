//! Several processes on one store, and processes that are killed.
#![allow(clippy::disallowed_methods)]

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use bytes::Bytes;
use prunella_objects::{
    Created, CreatedFile, Directory, Embedded, ObjectKey, Objects, ObjectsError, Op, SMALL_BYTES, TakeIn,
};
use prunella_sys::{Random, RealRandom, SeededRandom, Sys};

const DIR: &str = "PRUNELLA_TEST_STORE";
const ROUND: &str = "PRUNELLA_TEST_ROUND";
const KIND: &str = "PRUNELLA_TEST_KIND";

/// What a directory can hold.
const KINDS: [&str; 2] = ["embedded", "plain"];

fn open(kind: &str, dir: &Path) -> Arc<dyn Objects> {
    match kind {
        "embedded" => Arc::new(Embedded::open(&Sys::real(), dir).unwrap()),
        _ => Arc::new(Directory::open(&Sys::real(), dir, &dir.join("met")).unwrap()),
    }
}

fn open_as_told(dir: &Path) -> Arc<dyn Objects> {
    open(&std::env::var(KIND).unwrap(), dir)
}

fn key(text: &str) -> ObjectKey {
    ObjectKey::new(text).unwrap()
}

/// Returns the bytes that belong to a key: whoever finds others found a torn object.
fn content(key: &str, size: usize) -> Bytes {
    let mut bytes = vec![0; size];
    let seed = key.bytes().fold(7_u64, |hash, byte| hash.wrapping_mul(31).wrapping_add(byte.into()));
    SeededRandom::new(seed).fill(&mut bytes);
    bytes.into()
}

/// Starts one of the ignored tests below as a process of its own.
fn child(test: &str, kind: &str, dir: &Path, round: usize) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--ignored", "--exact", "--nocapture", test]);
    command.env(DIR, dir).env(KIND, kind).env(ROUND, round.to_string()).stdin(Stdio::null());
    command
}

fn told() -> (PathBuf, usize) {
    (std::env::var(DIR).unwrap().into(), std::env::var(ROUND).unwrap().parse().unwrap())
}

/// Tells the parent, in one write, what the store has answered.
fn tell(line: &str) {
    std::io::stdout().lock().write_all(format!("\nanswered {line}\n").as_bytes()).unwrap();
}

fn answers(child: &mut Child) -> impl Iterator<Item = String> + use<> {
    let lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
    lines.filter_map(|line| line.strip_prefix("answered ").map(str::to_owned))
}

#[tokio::test]
#[ignore = "the victim of `every_answered_create_survives_kill_9`"]
async fn victim() {
    let (dir, round) = told();
    let store = open_as_told(&dir);
    let mut tasks = tokio::task::JoinSet::new();
    for task in 0..4 {
        let (store, dir) = (store.clone(), dir.clone());
        tasks.spawn(async move {
            for n in 0.. {
                let size = [10, 3000, SMALL_BYTES + 10, 300_000, 200][n % 5];
                let name = format!("kill/{round}-{task}-{n}-{size}");
                match n % 3 {
                    0 => assert_eq!(store.create(&key(&name), content(&name, size)).await.unwrap(), Created::New),
                    1 => {
                        let pair = format!("kill/{round}-{task}-{n}-7");
                        let ops = vec![
                            Op::Create { key: key(&name), bytes: content(&name, size) },
                            Op::Create { key: key(&pair), bytes: content(&pair, 7) },
                        ];
                        assert_eq!(store.batch(ops).await.unwrap(), [Created::New, Created::New]);
                        tell(&pair);
                    }
                    _ => {
                        let source = dir.join(format!("source-{round}-{task}"));
                        std::fs::write(&source, content(&name, size)).unwrap();
                        let how = TakeIn::Move { synced: false };
                        let created = store.create_from_file(&key(&name), &source, how).await.unwrap();
                        assert_eq!(created, CreatedFile::New { size_bytes: size as u64 });
                    }
                }
                tell(&name);
            }
        });
    }
    tasks.join_all().await;
}

#[tokio::test]
async fn every_answered_create_survives_kill_9() {
    for kind in KINDS {
        answered_creates_survive(kind).await;
    }
}

async fn answered_creates_survive(kind: &str) {
    let dir = tempfile::tempdir().unwrap();
    let seed = RealRandom.u64();
    println!("seed {seed}");
    let random = SeededRandom::new(seed);
    let mut answered = Vec::new();
    for round in 0..25 {
        let mut victim = child("victim", kind, dir.path(), round).stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = answers(&mut victim);
        answered.extend(lines.by_ref().take((random.u64() % 25) as usize));
        for _ in 0..random.u64() % 20_000 {
            std::hint::spin_loop();
        }
        victim.kill().unwrap();
        // What it said before it died counts, too.
        answered.extend(lines);
        victim.wait().unwrap();
        let store = open(kind, dir.path());
        let mut there = BTreeMap::new();
        for listed in store.list(&format!("kill/{round}-"), None, usize::MAX).await.unwrap() {
            let name = listed.key.to_string();
            let size: usize = name.rsplit('-').next().unwrap().parse().unwrap();
            let bytes = store.get(&listed.key).await.unwrap().unwrap();
            assert!(bytes == content(&name, size), "{name} is torn");
            there.insert(name, bytes.len());
        }
        for name in answered.iter().filter(|name| name.starts_with(&format!("kill/{round}-"))) {
            assert!(there.contains_key(name), "{name} was answered and is gone");
        }
    }
    assert!(answered.len() > 60, "only {} creates were answered", answered.len());
    let store = open(kind, dir.path());
    for name in &answered {
        assert!(store.get(&key(name)).await.unwrap().is_some(), "{name} was answered and is gone");
    }
}

#[tokio::test]
#[ignore = "a process of `of_several_processes_that_make_one_store_exactly_one_wins_each_key`"]
async fn racer() {
    let (dir, round) = told();
    let store = open_as_told(&dir);
    for n in 0..60 {
        let size = if n % 10 == 0 { SMALL_BYTES + 1 } else { 20 };
        let name = key(&format!("race/{n}"));
        let ours = content(&format!("{round}"), size);
        match store.create(&name, ours.clone()).await.unwrap() {
            Created::New => tell(&format!("{n} {round}")),
            Created::There(theirs) => assert_ne!(theirs, ours),
        }
    }
}

#[tokio::test]
async fn of_several_processes_that_make_one_store_exactly_one_wins_each_key() {
    for kind in KINDS {
        exactly_one_wins(kind).await;
    }
}

async fn exactly_one_wins(kind: &str) {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path().join("not/there/yet");
    let start = |round| child("racer", kind, &dir, round).stdout(Stdio::piped()).spawn().unwrap();
    let mut racers: Vec<Child> = (0..4).map(start).collect();
    let mut winners = BTreeMap::new();
    for racer in &mut racers {
        for line in answers(racer) {
            let (n, round) = line.split_once(' ').unwrap();
            let before = winners.insert(n.parse::<usize>().unwrap(), round.to_owned());
            assert_eq!(before, None, "two processes were told that they created {n}");
        }
        assert!(racer.wait().unwrap().success());
    }
    assert_eq!(winners.len(), 60, "each key was won");
    let store = open(kind, &dir);
    for (n, round) in winners {
        let bytes = store.get(&key(&format!("race/{n}"))).await.unwrap().unwrap();
        assert_eq!(bytes, content(&round, bytes.len()));
    }
}

#[tokio::test]
#[ignore = "the process of `a_read_only_directory_can_be_read`"]
async fn reader() {
    let (dir, _) = told();
    let error = Embedded::open(&Sys::real(), &dir).err();
    assert!(matches!(error, Some(ObjectsError::ReadOnly { ref path }) if *path == dir), "{error:?}");
    let store = Embedded::open_read_only(&Sys::real(), &dir).unwrap();
    assert_eq!(store.get(&key("small")).await.unwrap(), Some("s".into()));
    let large = content("large", SMALL_BYTES + 1);
    assert_eq!(store.get(&key("large")).await.unwrap(), Some(large));
    tell("read");
}

/// Takes every right to write away; root ignores that, so the reader then is nobody.
fn read_as_stranger(dir: &Path) {
    let mode = |path: &Path, mode| std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    let each = |dir: &Path| std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect::<Vec<_>>();
    let mut waiting = vec![dir.to_owned()];
    let mut dirs = Vec::new();
    while let Some(path) = waiting.pop() {
        if path.is_dir() {
            waiting.extend(each(&path));
            dirs.push(path);
        } else {
            mode(&path, 0o444);
        }
    }
    for dir in &dirs {
        mode(dir, 0o555);
    }
    let mut command = child("reader", "embedded", dir, 0);
    let root = std::fs::write(dir.join("probe"), "").is_ok();
    if root {
        std::fs::remove_file(dir.join("probe")).unwrap();
        command.uid(65534).gid(65534);
    }
    let output = command.output().unwrap();
    for dir in &dirs {
        mode(dir, 0o755);
    }
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && text.contains("answered read"),
        "{text}{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

/// Copies this test's program and store to where a stranger may go.
fn public_dir() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    dir
}

#[tokio::test]
async fn a_read_only_directory_can_be_read() {
    let dir = public_dir();
    let closed = dir.path().join("closed");
    let store = Embedded::open(&Sys::real(), &closed).unwrap();
    assert_eq!(store.create(&key("small"), "s".into()).await.unwrap(), Created::New);
    let large = content("large", SMALL_BYTES + 1);
    assert_eq!(store.create(&key("large"), large).await.unwrap(), Created::New);
    // A copy made while it is open is what a kill leaves: the log has not been taken over.
    let killed = dir.path().join("killed");
    assert!(Command::new("cp").arg("-r").arg(&closed).arg(&killed).status().unwrap().success());
    drop(store);
    assert!(!closed.join("store.db-wal").exists() && killed.join("store.db-wal").exists());
    read_as_stranger(&closed);
    read_as_stranger(&killed);
}
