//! A fresh directory for every attempt: the declared code, the inputs, and nothing else.

use std::{
    io::Write,
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, Ordering},
};

use prunella_model::{PortName, SlotId, Step};
use prunella_store::StoreError;
use prunella_sys::{Fs, random_hex};

use crate::{
    Ground, Host, Request,
    inputs::{lay, lay_input},
    mounts::Mount,
    references::{Reading, referenced},
};

/// Where one attempt works.
#[derive(Debug)]
pub(crate) struct Workspace {
    /// The working directory of the program.
    pub(crate) root: PathBuf,
    /// The checkpoint directory.
    pub(crate) checkpoint: PathBuf,
    /// Where snapshots are staged, out of the program's sight.
    pub(crate) staged: PathBuf,
    /// Beside the rest, where the report on the run lies, for a step at its end.
    reported: PathBuf,
    /// The data that is mounted in it.
    pub(crate) mounts: Vec<Mount>,
    /// The data by reference that it is told of.
    pub(crate) readings: Vec<Reading>,
    /// Whether somebody may still be in it.
    tainted: AtomicBool,
}

/// Why a workspace could not be made.
pub(crate) enum NoWorkspace {
    /// An input's or the code's bytes are lost.
    Damaged { input: String, item: Option<String>, problem: String },
    /// Data that is mounted or referenced is not there, or is not what the run is of.
    Changed { input: String, problem: String },
    /// Anything else.
    Store(StoreError),
}

impl From<StoreError> for NoWorkspace {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl Workspace {
    /// Returns where an input lies, as the step sees it.
    pub(crate) fn input(&self, name: &PortName, base_name: &str) -> PathBuf {
        self.root.join("inputs").join(name.as_str()).join(base_name)
    }

    /// Returns where the report on the run lies, for a step at its end.
    pub(crate) fn report(&self) -> PathBuf {
        self.reported.join("report.json")
    }

    fn at(root: PathBuf) -> Self {
        let beside = |what: &str| {
            let mut path = root.clone().into_os_string();
            path.push(what);
            PathBuf::from(path)
        };
        Self {
            checkpoint: beside(".checkpoint"),
            staged: beside(".staged"),
            reported: beside(".report"),
            root,
            mounts: Vec::new(),
            readings: Vec::new(),
            tainted: AtomicBool::new(false),
        }
    }

    /// Returns what its program only reads.
    pub(crate) fn read_only(&self) -> Vec<PathBuf> {
        self.mounts.iter().map(|mount| mount.place().to_owned()).collect()
    }

    /// Notes that somebody may still be in it, so that the directory is not used again.
    pub(crate) fn taint(&self) {
        self.tainted.store(true, Ordering::Relaxed);
    }

    /// Makes the workspace of an attempt and lays out its code and inputs, every byte verified.
    pub(crate) async fn make(
        host: &Ground<'_>,
        request: &Request,
        step: &Step,
        slot: &SlotId,
    ) -> Result<Self, NoWorkspace> {
        let fs = &*host.sys.fs;
        let run = host.work.join(request.run.as_str());
        let prefix = format!("{}@{}.", request.step.segment(), slot.key.short());
        if slot.epoch.0 > 1 {
            remove_older(fs, &run, &prefix).map_err(io(&run))?;
        }
        let random = random_hex(&*host.sys.random, 4);
        let mut workspace = Self::at(run.join(format!("{prefix}{}-{random}", slot.epoch)));
        if !host.pool.directory(fs, &workspace.root) {
            make_directory(fs, &run, &workspace.root)?;
        }
        if let Some(code) = request.graph.graph.code_of(&request.step.name) {
            let stored = request.graph.brought.iter().find(|stored| stored.artifact == *code);
            let stored = stored.ok_or_else(|| NoWorkspace::Damaged {
                input: "code".to_owned(),
                item: None,
                problem: "the run's record does not say where it lies".to_owned(),
            })?;
            // A tree is laid out as a new directory, so the empty one makes room.
            fs.remove_dir_all(&workspace.root).map_err(io(&workspace.root))?;
            lay(host, stored, &workspace.root, "code").await?;
        }
        if !request.inputs.is_empty() {
            let inputs = workspace.root.join("inputs");
            fs.create_dir(&inputs).map_err(io(&inputs))?;
            for (name, input) in &request.inputs {
                let directory = inputs.join(name.as_str());
                fs.create_dir(&directory).map_err(io(&directory))?;
                let to = directory.join(&input.base_name);
                lay_input(host, name, input, &to, &mut workspace.mounts).await?;
                if let Some(at) = referenced(&request.graph, step, name) {
                    let what = (at, input.artifact());
                    workspace.readings.push(Reading::begin(host, name, &input.source, what, &to).await?);
                }
            }
        }
        for output in step.outputs.values() {
            if let Some((parent, _)) = output.path.as_str().rsplit_once('/') {
                let parent = workspace.root.join(parent);
                fs.create_dir_all(&parent).map_err(io(&parent))?;
            }
        }
        if let Some(at_end) = &request.at_end {
            let report = workspace.report();
            fs.create_dir(&workspace.reported).map_err(io(&workspace.reported))?;
            let mut file = fs.create_new(&report).map_err(io(&report))?;
            file.write_all(&at_end.report).map_err(io(&report))?;
        }
        if step.checkpoint.is_some() {
            fs.create_dir(&workspace.checkpoint).map_err(io(&workspace.checkpoint))?;
            fs.create_dir(&workspace.staged).map_err(io(&workspace.staged))?;
        }
        Ok(workspace)
    }

    /// Removes the workspace. What cannot be removed is left: it is no state.
    pub(crate) fn remove(&self, host: &Host, has_checkpoint: bool, reports: bool) {
        let fs = &*host.sys.fs;
        let kept = !self.tainted.load(Ordering::Relaxed) && host.pool.keep_directory(fs, &self.root);
        if !kept {
            let _left_for_later = fs.remove_dir_all(&self.root);
        }
        if has_checkpoint {
            self.remove_checkpoints(fs);
        }
        if reports {
            let _left_for_later = fs.remove_dir_all(&self.reported);
        }
    }

    /// Removes the checkpoint directories and keeps the rest for inspection.
    pub(crate) fn remove_checkpoints(&self, fs: &dyn Fs) {
        let _left_for_later = fs.remove_dir_all(&self.checkpoint);
        let _left_for_later = fs.remove_dir_all(&self.staged);
    }
}

pub(crate) fn io(path: &Path) -> impl FnOnce(std::io::Error) -> NoWorkspace {
    let path = path.to_owned();
    move |source| NoWorkspace::Store(StoreError::Io { path, source })
}

fn make_directory(fs: &dyn Fs, run: &Path, root: &Path) -> Result<(), NoWorkspace> {
    match fs.create_dir(root) {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            fs.create_dir_all(run).map_err(io(run))?;
            fs.create_dir(root).map(|_| ()).map_err(io(root))
        }
        Err(error) => Err(io(root)(error)),
    }
}

/// Removes what earlier attempts of the same work left for inspection: only the newest failure stays.
fn remove_older(fs: &dyn Fs, run: &Path, prefix: &str) -> std::io::Result<()> {
    let entries = match fs.list(run) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    for entry in entries {
        if entry.name.to_string_lossy().starts_with(prefix) {
            fs.remove_dir_all(&run.join(entry.name))?;
        }
    }
    Ok(())
}
