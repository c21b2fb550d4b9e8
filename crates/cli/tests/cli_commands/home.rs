//! A directory, a home and an environment that no test shares with anything.

use std::{
    fs,
    io::{BufRead, BufReader},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    time::Duration,
};

use prunella_objects::{Embedded, Objects};
use serde_json::Value;

/// A pipeline that needs nothing beside itself.
pub const SMALL: &str = "prunella: v1
name: small
steps:
  first: { run: 'echo words >one; head -c 200000 /dev/zero >>one', outputs: { one: one } }
  second:
    run: 'mkdir tree; cp \"$PRUNELLA_INPUT_ONE\" tree/a; wc -c <tree/a >tree/b'
    inputs: { one: first.one }
    outputs: { tree: tree/ }
";

/// The binary.
pub const PRUNELLA: &str = env!("CARGO_BIN_EXE_prunella");

/// Where a test works.
pub struct Home {
    root: tempfile::TempDir,
    /// The directory of the pipeline file.
    pub dir: PathBuf,
}

/// What came of a command.
pub struct Answer {
    pub code: i32,
    pub out: String,
    pub err: String,
    pub raw: Vec<u8>,
}

impl From<Output> for Answer {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code().unwrap_or(-1),
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
            raw: output.stdout,
        }
    }
}

impl Answer {
    /// Returns the answer if the exit code is this one.
    pub fn exits(self, code: i32) -> Self {
        assert_eq!(self.code, code, "out: {}\nerr: {}", self.out, self.err);
        self
    }

    /// Returns the answer as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {}", self.out))
    }
}

impl Home {
    /// Returns an empty one.
    pub fn new() -> Self {
        let root = tempfile::tempdir().expect("a temporary directory");
        let dir = root.path().join("work");
        fs::create_dir_all(&dir).expect("ours");
        fs::create_dir_all(root.path().join("home")).expect("ours");
        Self { root, dir }
    }

    /// Returns one with a pipeline.
    pub fn with(pipeline: &str) -> Self {
        let home = Self::new();
        home.write("pipeline.yaml", pipeline);
        home
    }

    /// Writes a file below the directory.
    pub fn write(&self, path: &str, text: &str) {
        let path = self.dir.join(path);
        fs::create_dir_all(path.parent().expect("below the directory")).expect("ours");
        fs::write(path, text).expect("ours");
    }

    /// Reads a file below the directory.
    pub fn read(&self, path: &str) -> String {
        fs::read_to_string(self.dir.join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
    }

    /// Returns the names in the directory, sorted.
    pub fn names(&self) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(&self.dir)
            .expect("ours")
            .map(|entry| entry.expect("readable").file_name().to_string_lossy().into_owned())
            .collect();
        names.sort();
        names
    }

    /// Makes a pipe with a name, outside the directory.
    pub fn pipe(&self, name: &str) -> PathBuf {
        let path = self.root.path().join(name);
        let made = Command::new("mkfifo").arg(&path).status().expect("mkfifo is everywhere");
        assert!(made.success());
        path
    }

    /// Returns a path outside the directory.
    pub fn beside(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    /// Writes over the bytes of every large object in the store; returns how many there were.
    pub fn damage(&self) -> usize {
        self.damage_those(|_| true)
    }

    /// Writes over the bytes of the large objects that are like this; returns how many there were.
    pub fn damage_those(&self, are: impl Fn(&[u8]) -> bool) -> usize {
        let (mut left, mut damaged) = (vec![self.dir.join(".prunella/data")], 0);
        while let Some(dir) = left.pop() {
            for entry in fs::read_dir(&dir).expect("the store").flatten() {
                let path = entry.path();
                if entry.file_type().expect("readable").is_dir() {
                    left.push(path);
                    continue;
                }
                if !are(&fs::read(&path).expect("readable")) {
                    continue;
                }
                fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).expect("ours");
                let mut file = fs::OpenOptions::new().write(true).open(&path).expect("ours");
                std::io::Write::write_all(&mut file, b"damage").expect("ours");
                damaged += 1;
            }
        }
        damaged
    }

    /// Returns the names of everything in the store: records and objects.
    pub fn stored(&self) -> Vec<String> {
        let sys = prunella_sys::Sys::real();
        let store = Embedded::open_read_only(&sys, &self.dir.join(".prunella")).expect("there is a store");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let listed = runtime.block_on(store.list("", None, usize::MAX)).expect("it answers");
        listed.into_iter().map(|entry| entry.key.as_str().to_owned()).collect()
    }

    /// Returns the command with these words, ready to be started.
    pub fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(PRUNELLA);
        command.args(words).current_dir(&self.dir).env_clear().stdin(Stdio::null());
        command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.env("HOME", self.root.path().join("home"));
        command.env("XDG_CACHE_HOME", self.root.path().join("cache"));
        command.env("TMPDIR", self.root.path());
        command.env("LC_ALL", "C");
        // A deliberate bug that these tests are to notice.
        command.envs(std::env::var_os("PRUNELLA_MUTATION").map(|number| ("PRUNELLA_MUTATION", number)));
        command
    }

    /// Runs a command to its end.
    pub fn run(&self, words: &[&str]) -> Answer {
        self.command(words).output().expect("the binary starts").into()
    }

    /// Runs a command with `--output json` and returns its answer.
    pub fn json(&self, words: &[&str]) -> Value {
        self.json_of(words, 0)
    }

    /// Runs a command with `--output json` that exits so, and returns its answer.
    pub fn json_of(&self, words: &[&str], code: i32) -> Value {
        let words: Vec<&str> = words.iter().copied().chain(["--output", "json"]).collect();
        let answer = self.run(&words);
        assert_eq!(answer.code, code, "{}{}", answer.out, answer.err);
        answer.json()
    }

    /// Looks every 5 ms until it is so; only a failing test looks for a minute in vain.
    pub fn until(&self, is_so: impl Fn() -> bool) {
        let looks = (0..12_000).any(|_| {
            std::thread::sleep(Duration::from_millis(5));
            is_so()
        });
        assert!(looks, "it never came to be");
    }

    /// Starts a command; its output is kept apart.
    pub fn start(&self, words: &[&str]) -> Child {
        self.command(words).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the binary starts")
    }
}

/// Waits until a program opens the pipe for writing and writes a line, and returns it.
pub fn hear(pipe: &Path) -> String {
    let mut line = String::new();
    let file = fs::File::open(pipe).expect("the pipe is there");
    BufReader::new(file).read_line(&mut line).expect("a line");
    line
}

/// Lets a program that reads from the pipe go on.
pub fn let_go(pipe: &Path) {
    let mut file = fs::OpenOptions::new().write(true).open(pipe).expect("somebody reads");
    std::io::Write::write_all(&mut file, b"go\n").expect("it reads");
}

/// Sends a signal to a child that was started here.
pub fn signal(child: &Child, name: &str) {
    let sent = Command::new("kill").args([format!("-{name}"), child.id().to_string()]).status();
    assert!(sent.expect("kill is everywhere").success());
}

/// Returns the text with everything that differs from run to run replaced by a word.
pub fn plain(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let token: &str = &rest[..rest.find(|c: char| !(c.is_ascii_alphanumeric() || c == '-')).unwrap_or(rest.len())];
        let hex =
            token.len() > 11 && token.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b) || b == b'-');
        let word = match token.len() {
            36 if hex => Some("RUN"),
            13 if hex && token.as_bytes()[8] == b'-' => Some("RUN"),
            64 if hex => Some("KEY"),
            12 if hex => Some("DIGEST"),
            _ => None,
        };
        if let Some(word) = word {
            out.push_str(word);
            rest = &rest[token.len()..];
        } else if let Some(after) = moment(rest) {
            out.push_str("WHEN");
            rest = after;
        } else if let Some(after) = seconds(rest).filter(|_| !out.ends_with(|c: char| c.is_ascii_alphanumeric())) {
            out.push_str("TIME");
            rest = after;
        } else if token.is_empty() {
            out.push(c);
            rest = &rest[c.len_utf8()..];
        } else {
            out.push_str(token);
            rest = &rest[token.len()..];
        }
    }
    out
}

/// `2026-01-31 12:34:56 UTC`
fn moment(text: &str) -> Option<&str> {
    let shown = text.get(..23)?;
    (shown.ends_with(" UTC") && shown.starts_with("20")).then(|| &text[23..])
}

/// `12.3 s`
fn seconds(text: &str) -> Option<&str> {
    let (whole, rest) = text.split_once('.')?;
    if whole.is_empty() || !whole.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let fraction = rest.find(|c: char| !c.is_ascii_digit())?;
    (fraction > 0).then_some(())?;
    rest[fraction..].strip_prefix(" s")
}

#[test]
fn what_differs_from_run_to_run_is_replaced_and_nothing_else() {
    let text = "run 01a208c2-15b4-7520-a7a1-688bd6a5e052 (01a208c2-15b4) key 1a2b3c4d5e6f at 2026-01-31 12:34:56 UTC\n\
                0.25 s, train@2 exited with 3, v1.5";
    assert_eq!(plain(text), "run RUN (RUN) key DIGEST at WHEN\nTIME, train@2 exited with 3, v1.5");
}
