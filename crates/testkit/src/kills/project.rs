//! The pipeline that is killed: two trainings side by side and a step that joins their models, without Python. All of them
//! publish.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use prunella_model::Digest;

/// A pipeline in a directory of its own.
pub(crate) struct Project {
    /// The directory.
    pub(crate) dir: PathBuf,
    binary: PathBuf,
}

/// How the pipeline is run.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Params {
    pub(crate) seed: u64,
    pub(crate) epochs: u32,
    /// Milliseconds from one epoch to the next.
    pub(crate) pace_ms: u32,
}

const TRAIN: &str = include_str!("train.sh");

// Limits far away: the harness kills far more often without a newer checkpoint than the defaults put up with.
const PIPELINE: &str = "\
prunella: v1
name: kills
params: { seed: 1, epochs: 40, pace: \"0.02\" }
code: [train.sh]
defaults:
  pass_env: [KILLS_LOG]
  retry:
    killed: { limit: 100000, backoff: 1ms..50ms }
    preempted: { limit: 100000, backoff: 1ms..50ms }
    no-progress: { limit: 100000, backoff: 1ms..50ms }
steps:
  one:
    run: sh train.sh ${{ params.seed }} ${{ params.epochs }} ${{ params.pace }} file
    outputs: { model: model.txt }
    publish: { model: out/one.txt }
    checkpoint: { format: files, grace: 2s }
  two:
    run: sh train.sh ${{ params.seed }} ${{ params.epochs }} ${{ params.pace }} tree
    outputs: { model: model/ }
    publish: { model: out/two }
    checkpoint: { format: files, grace: 2s }
  join:
    run: cat inputs/one/model.txt inputs/two/model/deep/state > joined.txt; sleep ${{ params.pace }}
    inputs: { one: one.model, two: two.model }
    outputs: { joined: joined.txt }
    publish: { joined: out/joined.txt }
";

impl Project {
    pub(crate) fn new(dir: &Path, binary: &Path) -> Self {
        fs::create_dir_all(dir).expect("the scratch directory is writable");
        fs::write(dir.join("pipeline.yaml"), PIPELINE).expect("the scratch directory is writable");
        fs::write(dir.join("train.sh"), TRAIN).expect("the scratch directory is writable");
        Self { dir: dir.to_owned(), binary: binary.to_owned() }
    }

    pub(crate) fn store(&self) -> PathBuf {
        self.dir.join(".prunella")
    }

    /// Where every attempt says that it has started, and from which epoch.
    pub(crate) fn log(&self) -> PathBuf {
        self.dir.join("started.log")
    }

    /// Where the engines write.
    pub(crate) fn output(&self) -> PathBuf {
        self.dir.join("engine.log")
    }

    /// Returns every file that lies where publications go, by its path; nothing if there is none.
    pub(crate) fn published(&self) -> BTreeMap<String, Digest> {
        prunella_chaos::contents(&self.dir.join("out"))
    }

    pub(crate) fn command(&self, words: &[&str]) -> Command {
        let output = fs::OpenOptions::new().create(true).append(true).open(self.output());
        let output = output.expect("the scratch directory is writable");
        let mut command = Command::new(&self.binary);
        command
            .args(words)
            .current_dir(&self.dir)
            .env_remove("PRUNELLA_STORE")
            .env("KILLS_LOG", self.log())
            // Sockets of killed engines end with the scratch directory.
            .env("XDG_RUNTIME_DIR", &self.dir)
            .stdin(Stdio::null())
            .stdout(output.try_clone().expect("a descriptor is left"))
            .stderr(output);
        command
    }

    /// Starts `prunella run`: the first begins a run, every later one goes on with it.
    pub(crate) fn run(&self, params: Params) -> Child {
        let Params { seed, epochs, pace_ms } = params;
        let pace = if pace_ms == 0 { "0".to_owned() } else { format!("{}.{:03}", pace_ms / 1000, pace_ms % 1000) };
        let set = [format!("seed={seed}"), format!("epochs={epochs}"), format!("pace={pace}")];
        let mut words = vec!["run", "--jobs", "3"];
        set.iter().for_each(|set| words.extend(["--set", set]));
        self.command(&words).spawn().expect("the binary can be started")
    }
}
