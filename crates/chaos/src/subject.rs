//! What is run: the real binary on the user's pipeline, with a store and publications of its own.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    fs, io,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use prunella_faults::VARIABLE;
use prunella_model::{Digest, PipelineName};

use crate::{
    metadata::Metadata,
    site::{Site, Sites},
};

/// Set in every engine that is started here, and in its guardian: the directory of its run.
pub(crate) const MARKER: &str = "PRUNELLA_CHAOS";

/// What is run.
#[derive(Debug, Clone)]
pub struct Subject {
    /// The program.
    pub binary: PathBuf,
    /// What follows `run`: the pipeline file, targets, parameters.
    pub words: Vec<OsString>,
    /// The pipeline's name.
    pub pipeline: PipelineName,
    /// How much memory steps say that they need, in bytes: those that get more if they need more.
    pub memory: BTreeMap<String, u64>,
    /// What the times of notices are divided by.
    pub speed: f64,
    /// What is published in the end, by path; nothing if nobody can know yet, or ever.
    pub published: Option<BTreeMap<String, Digest>>,
    /// Where the stores lie.
    pub sites: Sites,
}

/// One run's directory: what it publishes, what its engines said, what they suffer, and its store unless that lies elsewhere.
#[derive(Debug, Clone)]
pub(crate) struct Arena {
    dir: PathBuf,
    site: Site,
}

impl Arena {
    pub(crate) fn new(dir: &Path, sites: &Sites) -> Self {
        Self { dir: dir.to_owned(), site: sites.of(dir) }
    }

    /// Where its store lies.
    pub(crate) fn site(&self) -> &Site {
        &self.site
    }

    /// The file that says what its engines suffer.
    pub(crate) fn faults(&self) -> PathBuf {
        self.dir.join("faults.json")
    }

    /// Where publications to paths go.
    fn public(&self) -> PathBuf {
        self.dir.join("published")
    }

    /// Where the engines write.
    pub(crate) fn output(&self) -> PathBuf {
        self.dir.join("engines.log")
    }

    /// What the environment of an engine of this run has.
    pub(crate) fn marker(&self) -> Vec<u8> {
        marker(&self.dir)
    }

    /// Starts an engine: the first begins a run, every later one goes on with it. `variables` are for it alone.
    pub(crate) fn start(
        &self,
        subject: &Subject,
        take_over: bool,
        variables: &[(&str, OsString)],
    ) -> io::Result<Child> {
        let mut words: Vec<OsString> = vec!["run".into()];
        words.extend(subject.words.iter().cloned());
        words.extend(["--publish-below".into(), self.public().into_os_string()]);
        if take_over {
            words.push("--take-over".into());
        }
        self.command(subject, &words, variables)
    }

    /// Starts to heal the newest run.
    pub(crate) fn heal(&self, subject: &Subject) -> io::Result<Child> {
        self.command(subject, &["heal".into()], &[])
    }

    fn command(&self, subject: &Subject, words: &[OsString], variables: &[(&str, OsString)]) -> io::Result<Child> {
        let output = fs::OpenOptions::new().create(true).append(true).open(self.output())?;
        Command::new(&subject.binary)
            .args(words)
            .arg("--store")
            .arg(self.site.word())
            .env(MARKER, &self.dir)
            .envs(variables.iter().map(|(name, value)| (name, value)))
            .env_remove("PRUNELLA_STORE")
            // Sockets of killed engines end with the directory.
            .env("XDG_RUNTIME_DIR", &self.dir)
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .spawn()
    }

    /// Returns every file that lies where publications go.
    pub(crate) fn published(&self) -> BTreeMap<String, Digest> {
        contents(&self.public())
    }

    /// Returns the last lines that the engines said.
    pub(crate) fn last_words(&self, lines: usize) -> Vec<String> {
        let text = fs::read_to_string(self.output()).unwrap_or_default();
        let last: Vec<&str> = text.lines().rev().take(lines).collect();
        last.into_iter().rev().map(str::to_owned).collect()
    }
}

/// Returns these variables, those that tell an engine whose notices it hears and where, and what it suffers.
pub(crate) fn environment<'v>(
    variables: &[(&'v str, OsString)],
    metadata: Option<&Metadata>,
    faults: Option<&Path>,
    subject: &Subject,
) -> Vec<(&'v str, OsString)> {
    let mut all = variables.to_vec();
    all.extend(faults.map(|file| (VARIABLE, file.into())));
    all.extend(metadata.into_iter().flat_map(|metadata| metadata.variables(subject.speed)));
    all
}

/// Returns what the environment of every process of the run in this directory has.
pub(crate) fn marker(dir: &Path) -> Vec<u8> {
    format!("{MARKER}={}", dir.display()).into_bytes()
}

/// Returns the content of every file below a directory, by its path from there; nothing if there is none.
pub fn contents(dir: &Path) -> BTreeMap<String, Digest> {
    let (mut found, mut left) = (BTreeMap::new(), vec![dir.to_owned()]);
    while let Some(path) = left.pop() {
        match fs::read_dir(&path) {
            Ok(entries) => left.extend(entries.flatten().map(|entry| entry.path())),
            Err(_) => {
                let Ok(bytes) = fs::read(&path) else { continue };
                let name = path.strip_prefix(dir).unwrap_or(&path).display().to_string();
                found.insert(name, Digest::of(&bytes));
            }
        }
    }
    found
}
