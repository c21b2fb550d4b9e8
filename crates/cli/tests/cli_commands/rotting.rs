//! Bit rot: whatever the storage changes or loses is noticed, made anew where that can be, and else named.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::PathBuf,
};

use prunella_bucketkit::S3Server;
use prunella_sys::{Random, SeededRandom};
use serde_json::Value;

use crate::{
    home::{Answer, Home, PRUNELLA, hear},
    shelves::{Bucket, Content, Rows, Shelf, copy},
};

/// One finished run with everything that such a run leaves: code, data, a tree, items, large and small files, a publication.
const WHOLE: &str = "prunella: v1
name: whole
data: { words: { path: words.txt } }
steps:
  make:
    code: [code.sh]
    run: sh code.sh \"$PRUNELLA_INPUT_WORDS\"
    inputs: { words: data.words }
    outputs: { large: large, tree: tree/ }
    publish: { large: published/large }
  each:
    for_each: [1, 2, 3]
    run: 'echo ${{ item }} >out; cat \"$PRUNELLA_INPUT_TREE/a\" >>out'
    inputs: { tree: make.tree }
    outputs: { out: out }
  all:
    run: 'cat \"$PRUNELLA_INPUT_OUTS\"/*/* >out'
    inputs: { outs: each.out }
    outputs: { out: out }
";

const CODE: &str =
    "mkdir tree; cat \"$1\" >tree/a; echo b >tree/b; head -c 200000 /dev/zero >large; cat \"$1\" >>large\n";

/// One that is interrupted after two checkpoints; restored, it ends at once with the same words.
fn patient(begun: &std::path::Path) -> String {
    format!(
        "prunella: v1
name: patient
steps:
  first: {{ run: 'echo 1 >one', outputs: {{ one: one }} }}
  wait:
    run: |
      if [ $PRUNELLA_RESTORED = 0 ] && [ -p {begun} ]; then
        for n in 1 2; do
          echo $n >$PRUNELLA_CHECKPOINT_DIR/c$n
          {PRUNELLA} tell checkpoint c$n --sealed --wait durable >/dev/null
          echo begun >{begun}
        done
        sleep 1000
      fi
      echo done >out
    inputs: {{ one: first.one }}
    outputs: {{ out: out }}
    checkpoint: {{ format: files }}
",
        begun = begun.display()
    )
}

/// Both runs, in a store that can rot.
struct Scene<S> {
    home: Home,
    shelf: S,
    whole: String,
    interrupted: String,
    large: Vec<u8>,
}

impl<S: Shelf> Scene<S> {
    /// Makes both runs; `freeze` keeps what the store holds then.
    fn play(home: Home, shelf: S, freeze: impl FnOnce(&Home, S) -> S) -> Self {
        let begun = home.pipe("begun");
        home.write("whole.yaml", WHOLE);
        home.write("code.sh", CODE);
        home.write("words.txt", "words\n");
        home.write("patient.yaml", &patient(&begun));
        let mut scene = Self { home, shelf, whole: String::new(), interrupted: String::new(), large: Vec::new() };
        scene.run(&["pin", "whole.yaml"]).exits(0);
        scene.run(&["run", "whole.yaml"]).exits(0);
        scene.large = scene.got("whole", "make.large").expect("it was made");
        let of_whole = scene.shelf.all().keys().filter(|key| kind(key) == "journal").count();
        let engine = scene.shelf.command(&scene.home, &["run", "patient.yaml"]);
        let mut engine = { engine }.stdout(std::process::Stdio::null()).spawn().expect("the binary starts");
        // Its journal is written beside the work: the second checkpoint waits until there is a segment before it.
        let segments = || scene.shelf.all().keys().filter(|key| kind(key) == "journal").count();
        for n in 0..2 {
            scene.home.until(|| segments() > of_whole + n);
            assert_eq!(hear(&begun), "begun\n");
        }
        scene.home.until(|| segments() > of_whole + 1);
        engine.kill().expect("it runs");
        engine.wait().expect("it ran");
        fs::remove_file(&begun).expect("ours");
        let runs = scene.run(&["runs", "--output", "json"]).exits(0).json();
        for run in runs["runs"].as_array().expect("a list") {
            let id = run["run"].as_str().expect("an id").to_owned();
            match run["pipeline"].as_str() {
                Some("whole") => scene.whole = id,
                _ => scene.interrupted = id,
            }
        }
        // Copies of all that was made or read: they hide nothing that rots.
        if scene.home.beside("cache").exists() {
            copy(&scene.home.beside("cache"), &scene.home.beside("kept-cache"));
        }
        let Self { home, shelf, whole, interrupted, large } = scene;
        let shelf = freeze(&home, shelf);
        Self { home, shelf, whole, interrupted, large }
    }

    fn run(&self, words: &[&str]) -> Answer {
        self.shelf.command(&self.home, words).output().expect("the binary starts").into()
    }

    /// Returns what the newest run of a pipeline has for this; nothing if it says that it is lost.
    fn got(&self, pipeline: &str, what: &str) -> Option<Vec<u8>> {
        let runs = self.run(&["runs", "--output", "json"]).json();
        let runs = runs["runs"].as_array().cloned().unwrap_or_default();
        let run = runs.iter().find(|run| run["pipeline"] == pipeline)?["run"].as_str()?.to_owned();
        let _or_not_there = fs::remove_file(self.home.dir.join("got"));
        let answer = self.run(&["get", &run, what, "got"]);
        (answer.code == 0).then(|| fs::read(self.home.dir.join("got")).expect("it was laid out"))
    }

    /// Changes or loses something at random; returns what, and whether it is gone.
    fn rot(&self, random: &SeededRandom, all: &BTreeMap<String, Content>) -> (BTreeSet<String>, bool, &'static str) {
        let mut kinds: BTreeMap<String, Vec<&String>> = BTreeMap::new();
        all.keys().filter(|key| decides(key)).for_each(|key| kinds.entry(kind(key)).or_default().push(key));
        let kinds: Vec<_> = kinds.into_values().collect();
        let alike = &kinds[below(random, kinds.len())];
        let key = alike[below(random, alike.len())];
        let mut bytes = all[key].clone();
        let others: Vec<_> = alike.iter().filter(|other| all[**other] != bytes).collect();
        let how = match below(random, 4) {
            0 if !others.is_empty() => {
                let other = others[below(random, others.len())];
                self.shelf.set(key, Some(all[*other].clone()));
                self.shelf.set(other, Some(bytes));
                return ([key.clone(), (*other).clone()].into(), false, "swapped");
            }
            1 => {
                bytes.truncate(below(random, bytes.len()));
                "cut"
            }
            2 => {
                self.shelf.set(key, None);
                return ([key.clone()].into(), true, "lost");
            }
            _ => {
                let at = below(random, bytes.len());
                bytes[at] ^= 1 << below(random, 8);
                "flipped"
            }
        };
        self.shelf.set(key, Some(bytes));
        ([key.clone()].into(), false, how)
    }

    /// Returns whether `verify` names one of these, or what is in it.
    fn names(&self, keys: &BTreeSet<String>) -> Result<(), String> {
        let answer = self.run(&["verify", "--output", "json"]);
        let said = format!("{}{}", answer.out, answer.err);
        if answer.code == 1 {
            let told = answer.json();
            let list = |name: &str| told[name].as_array().cloned().unwrap_or_default();
            let names = |value: &Value| keys.iter().any(|key| value.as_str() == Some(key));
            let records = list("records").iter().any(|one| names(&one["record"]));
            if records || list("damaged").iter().any(|one| names(&one["object"])) {
                return Ok(());
            }
        } else {
            let no_store = answer.code == 2 && keys.contains("prunella.json") && said.contains("holds no store");
            if no_store || (answer.code != 0 && keys.iter().any(|key| said.contains(key))) {
                return Ok(());
            }
        }
        Err(format!("exit code {}\n{said}", answer.code))
    }

    /// Goes on as a user would, and looks whether all results are right in the end.
    fn heals(&self) -> Result<(), String> {
        let right = |what: &str| match self.got("whole", what) {
            Some(bytes) if what == "make.large" => bytes == self.large,
            Some(bytes) => bytes == b"1\nwords\n2\nwords\n3\nwords\n",
            None => false,
        };
        let mut said = String::new();
        let mut tell = |answer: Answer| said += &format!("exit code {}\n{}{}\n", answer.code, answer.out, answer.err);
        // What `heal` cannot do, a new run does.
        tell(self.run(&["heal", &self.whole]));
        let again = self.run(&["run", "whole.yaml"]);
        let succeeded = again.code == 0;
        tell(again);
        if !succeeded || !right("make.large") || !right("all.out") {
            return Err(said);
        }
        // Goes on from what is left, or says what is wrong: then a new one does it.
        let resumed = self.run(&["resume", &self.interrupted, "--take-over"]);
        let code = resumed.code;
        tell(resumed);
        if code != 0 {
            tell(self.run(&["run", "patient.yaml"]).exits(0));
        }
        match self.got("patient", "wait.out") {
            Some(bytes) if bytes == b"done\n" => Ok(()),
            _ => Err(said),
        }
    }

    fn rots(&self, rounds: usize, heal_every: usize) {
        let random = SeededRandom::new(1);
        let all = self.shelf.all();
        self.run(&["verify"]).exits(0);
        let mut noticed: BTreeMap<String, usize> = BTreeMap::new();
        for round in 0..rounds {
            let (keys, lost, how) = self.rot(&random, &all);
            match self.names(&keys) {
                Ok(()) => *noticed.entry(format!("{how} {}", kind(keys.first().expect("one")))).or_default() += 1,
                Err(_) if lost && keys.iter().all(|key| is_alone(key, &all)) => {}
                Err(_) if keys.iter().all(|key| is_waste(key, &all)) => {}
                Err(said) => {
                    let by: Vec<_> = keys.iter().map(|key| named_by(key, &all)).collect();
                    panic!("round {round}: {how} {keys:?} (of {by:?}) was not named\n{said}")
                }
            }
            // Without it there is no store: whoever has it puts it back.
            let is_head = keys.contains("prunella.json");
            if round % heal_every == 0
                && !is_head
                && let Err(said) = self.heals()
            {
                panic!("round {round}: {how} {keys:?} was not healed\n{said}");
            }
            self.shelf.restore();
            // What this machine kept of the time that is taken back has names that are given again, as no store would.
            let _or_never_made = fs::remove_dir_all(self.home.beside("cache"));
            if self.home.beside("kept-cache").exists() {
                copy(&self.home.beside("kept-cache"), &self.home.beside("cache"));
            }
        }
        // Every kind of record and object rotted, or the test shows little.
        for kind in ["attempts.end", "attempts.start", "checkpoints", "data", "journal", "graph", "bindings"] {
            assert!(noticed.keys().any(|what| what.ends_with(&format!(" {kind}"))), "no {kind} in {noticed:?}");
        }
    }
}

fn below(random: &SeededRandom, n: usize) -> usize {
    usize::try_from(random.u64() % n as u64).expect("small")
}

/// Returns what kind of record or object it is.
fn kind(key: &str) -> String {
    let parts: Vec<&str> = key.split('/').collect();
    match parts.as_slice() {
        ["attempts", _, name] => format!("attempts.{}", name.split('.').nth(1).unwrap_or_default()),
        ["runs", _, name] => name.split('-').next().unwrap_or_default().to_owned(),
        ["runs", _, name, ..] => (*name).to_owned(),
        [kind, ..] => (*kind).to_owned(),
        [] => String::new(),
    }
}

/// Returns whether anything depends on it: hints, logs and summaries may be lost.
fn decides(key: &str) -> bool {
    !["attempts.alive", "drivers-alive", "stop", "logs", "summary"].contains(&kind(key).as_str())
}

/// Returns whether no other record speaks of it: docs/stores.md says so.
fn is_alone(key: &str, all: &BTreeMap<String, Content>) -> bool {
    let first_of_folder = || {
        let folder = key.rsplit_once('/').expect("a folder").0;
        all.keys().find(|other| other.starts_with(&format!("{folder}/"))).is_some_and(|first| first == key)
    };
    match kind(key).as_str() {
        "uses" | "pins" | "effects" | "checkpoints" | "names" => true,
        // The highest of its sequence, which is listed first; after the last page of a driver came nothing.
        "order" | "gc" | "journal" | "drivers" => first_of_folder(),
        _ => false,
    }
}

/// Returns whether it is an object that no record or manifest names: what a killed process left.
fn is_waste(key: &str, all: &BTreeMap<String, Content>) -> bool {
    kind(key) == "data" && named_by(key, all).is_empty()
}

fn named_by<'a>(key: &str, all: &'a BTreeMap<String, Content>) -> Vec<&'a String> {
    let names = |bytes: &Content| bytes.windows(key.len()).any(|window| window == key.as_bytes());
    all.iter().filter(|(_, bytes)| names(bytes)).map(|(at, _)| at).collect()
}

fn rounds(usual: usize) -> usize {
    std::env::var("PRUNELLA_ROT").ok().and_then(|rounds| rounds.parse().ok()).unwrap_or(usual)
}

#[test]
fn whatever_rots_in_the_embedded_store_is_noticed_and_made_anew_or_named() {
    let home = Home::new();
    let unkept = Rows { dir: home.dir.join(".prunella"), kept: PathBuf::new() };
    Scene::play(home, unkept, |home, _| Rows::of(home)).rots(rounds(120), 6);
}

#[test]
fn whatever_rots_in_a_bucket_is_noticed_and_made_anew_or_named() {
    let bucket = Bucket { server: S3Server::start("bucket"), kept: BTreeMap::new() };
    let freeze = |_: &Home, Bucket { server, .. }: Bucket| {
        let kept = server.objects().contents("bucket");
        Bucket { server, kept }
    };
    Scene::play(Home::new(), bucket, freeze).rots(rounds(120), 6);
}

#[test]
fn whatever_rots_in_the_pages_of_the_database_is_noticed_or_means_nothing() {
    let home = Home::new();
    let unkept = Rows { dir: home.dir.join(".prunella"), kept: PathBuf::new() };
    let scene = Scene::play(home, unkept, |home, _| Rows::of(home));
    let (random, all) = (SeededRandom::new(2), scene.shelf.all());
    let (path, mut noticed) = (scene.shelf.dir.join("store.db"), 0);
    for round in 0..rounds(80) {
        let mut bytes = fs::read(&path).expect("a database");
        let (at, bit) = (below(&random, bytes.len()), below(&random, 8));
        bytes[at] ^= 1 << bit;
        fs::write(&path, bytes).expect("ours");
        match scene.run(&["verify"]) {
            Answer { code: 0, .. } => {
                let there = scene.shelf.rows().expect("what reads well is sound");
                let is_same = |key: &str, bytes| match there.get(key) {
                    Some(there) => there == bytes,
                    None => is_alone(key, &all),
                };
                let differs = all.iter().filter(|(key, bytes)| decides(key) && !is_same(key, *bytes));
                let differs: Vec<_> = differs.map(|(key, _)| key).collect();
                assert!(differs.is_empty(), "round {round}: bit {bit} of byte {at} changed {differs:?} unnoticed");
            }
            answer => {
                assert!(answer.code == 1 || !answer.err.is_empty(), "{}", answer.out);
                noticed += 1;
            }
        }
        scene.shelf.restore();
    }
    assert!(noticed > 0, "a database of which nothing matters shows nothing");
}

#[test]
fn a_run_goes_on_behind_every_damaged_segment_of_its_journal_and_says_so() {
    let home = Home::new();
    let unkept = Rows { dir: home.dir.join(".prunella"), kept: PathBuf::new() };
    let scene = Scene::play(home, unkept, |home, _| Rows::of(home));
    let all = scene.shelf.all();
    let journal = format!("runs/{}/journal/", scene.interrupted);
    let segments: Vec<_> = all.keys().filter(|key| key.starts_with(&journal)).collect();
    assert!(segments.len() > 1, "{segments:?}");
    for segment in segments {
        let mut bytes = all[segment].clone();
        bytes[40] ^= 1;
        scene.shelf.set(segment, Some(bytes));
        for words in [
            &["status", &scene.interrupted][..],
            &["heal", "--dry-run", &scene.interrupted],
            &["graph", "--run", &scene.interrupted],
        ] {
            let told = scene.run(words);
            let said = told.err.contains(segment.as_str()) && told.err.contains("`prunella resume` goes on");
            assert!(said, "{words:?} {segment}: {}{}", told.out, told.err);
        }
        let resumed = scene.run(&["resume", &scene.interrupted, "--take-over"]).exits(0);
        assert!(resumed.out.contains("is taken from the store's records"), "{segment}: {}", resumed.out);
        assert_eq!(scene.got("patient", "wait.out").as_deref(), Some(&b"done\n"[..]), "{segment}");
        // What the new driver left out counts for nobody any more.
        scene.run(&["verify"]).exits(0);
        assert!(!scene.run(&["status", &scene.interrupted]).exits(0).err.contains("not shown"), "{segment}");
        scene.shelf.restore();
    }
}
