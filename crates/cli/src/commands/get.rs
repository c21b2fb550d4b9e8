//! `prunella get`: an artifact out of the store, whole or not at all.

use std::{
    io::Read,
    path::{Path, PathBuf},
};

use clap::Args;
use prunella_model::{ArtifactKind, PortName, RunId, SlotId, StepId, StepName};
use prunella_objects::ObjectKey;
use prunella_store::{Store, StoreError, records::StoredArtifact};
use prunella_sys::random_hex;
use serde_json::json;

use super::{among, reading, which_run};
use crate::{
    answer::{note, say, say_bytes, say_json},
    args::Output,
    context::Context,
    error::CliError,
    present::{artifact, attempt, short},
};

/// Copy an artifact out of the store, every byte verified.
///
/// Without a run: what the name means now, which is what the newest run that succeeded made. It appears under its path
/// whole or not at all.
#[derive(Debug, Args)]
pub struct Get {
    /// The artifact; before it a run, or the beginning of its id; after it where to put it (`-`: standard output)
    /// [default: its own name, here].
    #[arg(value_name = "[RUN] STEP.OUTPUT [DEST]", required = true, num_args = 1..=3)]
    words: Vec<String>,

    /// Replace what is at the destination.
    #[arg(long)]
    overwrite: bool,
}

/// What is asked for.
struct Wanted {
    run: RunId,
    step: StepId,
    output: PortName,
    slot: SlotId,
    stored: StoredArtifact,
    base_name: String,
}

impl Get {
    /// Runs.
    ///
    /// # Errors
    /// [`CliError`] if there is no such artifact, something is at the destination, or bytes are damaged (78).
    pub async fn run(&self, context: &Context) -> Result<u8, CliError> {
        let store = reading(context)?;
        let (run, name, to) = split(&self.words)?;
        let wanted = find(&store, run, name).await?;
        if to == Some("-") {
            let printed = print(&store, &wanted.stored).await;
            return collected(&store, &wanted, printed).await.map(|()| 0);
        }
        let to = destination(to, &wanted);
        let laid = self.lay_out(context, &store, &wanted.stored, &to).await;
        collected(&store, &wanted, laid).await?;
        let Wanted { run, step, output, slot, stored, .. } = wanted;
        match context.output {
            Output::Json => say_json(&json!({
                "run": run,
                "step": step.to_string(),
                "output": output,
                "epoch": slot.epoch.0,
                "key": slot.key.hex(),
                "artifact": stored.artifact,
                "path": to,
            }))?,
            Output::Text => say(&format!(
                "{}: {} of {} in run {}\n",
                to.display(),
                artifact(&stored.artifact),
                attempt(&step, &slot),
                short(&run)
            ))?,
        }
        Ok(0)
    }

    async fn lay_out(
        &self,
        context: &Context,
        store: &Store,
        stored: &StoredArtifact,
        to: &Path,
    ) -> Result<(), CliError> {
        let fs = &*context.sys.fs;
        let refused = || {
            let hint = "name another place, or replace it with `--overwrite`".to_owned();
            CliError::Usage(format!("there is something at `{}`", to.display()), Some(hint))
        };
        let there = fs.metadata(to).map_err(CliError::io(to))?;
        if there.is_some() && !self.overwrite {
            return Err(refused());
        }
        let name = to.file_name().unwrap_or_default().to_string_lossy();
        let beside = |what: &str| to.with_file_name(format!(".{name}.{}.{what}", random_hex(&*context.sys.random, 6)));
        let part = beside("part");
        let laid = async {
            store.lay_out(stored, &part).await?;
            if stored.artifact.kind == ArtifactKind::File {
                fs.sync_file(&part).map_err(CliError::io(&part))?;
            }
            match (&there, self.overwrite) {
                (None, _) | (_, false) => {
                    if !fs.rename_noreplace(&part, to).map_err(CliError::io(to))? {
                        return Err(refused());
                    }
                }
                (Some(old), true) => {
                    let both_files =
                        old.kind != prunella_sys::FileKind::Dir && stored.artifact.kind == ArtifactKind::File;
                    if both_files {
                        fs.rename(&part, to).map_err(CliError::io(to))?;
                    } else {
                        // Exchanged in one step where the file system can; what was there is then removed.
                        if fs.exchange(&part, to).is_err() {
                            let aside = beside("old");
                            fs.rename(to, &aside).map_err(CliError::io(to))?;
                            fs.rename(&part, to).map_err(CliError::io(to))?;
                            remove(context, &aside)?;
                        } else {
                            remove(context, &part)?;
                        }
                    }
                }
            }
            let parent = to.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
            fs.sync_dir(parent).map_err(CliError::io(parent))
        }
        .await;
        if laid.is_err() {
            let _left_over = remove(context, &part);
        }
        laid
    }
}

/// Bytes of a retired commit may be gone by right: that is no damage.
async fn collected(store: &Store, wanted: &Wanted, done: Result<(), CliError>) -> Result<(), CliError> {
    if !matches!(&done, Err(CliError::Store(StoreError::Damaged { .. }))) {
        return done;
    }
    let view = store.look(&wanted.slot.key).await?;
    if !view.slots.get(&wanted.slot.epoch).is_some_and(|slot| slot.retired) {
        return done;
    }
    let Wanted { run, step, output, .. } = wanted;
    let what = format!("`{step}.{output}` of run {run} was removed by `prunella gc`");
    Err(CliError::Refused(what, Some("a run with the same code and data makes it anew".to_owned())))
}

fn remove(context: &Context, path: &Path) -> Result<(), CliError> {
    let fs = &*context.sys.fs;
    match fs.metadata(path).map_err(CliError::io(path))?.map(|meta| meta.kind) {
        None => Ok(()),
        Some(prunella_sys::FileKind::Dir) => fs.remove_dir_all(path).map_err(CliError::io(path)),
        Some(_) => fs.remove_file(path).map_err(CliError::io(path)),
    }
}

/// Splits `[RUN] STEP.OUTPUT [DEST]`: a run's id has no dot, the name of an artifact has one.
fn split(words: &[String]) -> Result<(Option<&str>, &str, Option<&str>), CliError> {
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words.as_slice() {
        [name] if name.contains('.') => Ok((None, name, None)),
        [name, to] if name.contains('.') => Ok((None, name, Some(to))),
        [run, name] if name.contains('.') => Ok((Some(run), name, None)),
        [run, name, to] if !run.contains('.') && name.contains('.') => Ok((Some(run), name, Some(to))),
        _ => {
            let hint = "write `prunella get STEP.OUTPUT`, such as `prunella get train.model`".to_owned();
            Err(CliError::Usage("no artifact is named".to_owned(), Some(hint)))
        }
    }
}

fn destination(to: Option<&str>, wanted: &Wanted) -> PathBuf {
    let is_file = wanted.stored.artifact.kind == ArtifactKind::File;
    match to {
        None => PathBuf::from(&wanted.base_name),
        Some(to) if to.ends_with('/') && (is_file || Path::new(to).is_dir()) => Path::new(to).join(&wanted.base_name),
        Some(to) if is_file && Path::new(to).is_dir() => Path::new(to).join(&wanted.base_name),
        Some(to) => PathBuf::from(to.trim_end_matches('/')),
    }
}

async fn find(store: &Store, run: Option<&str>, name: &str) -> Result<Wanted, CliError> {
    let named = run.is_some();
    let run = which_run(store, run).await?;
    let graph = store.graph(&run).await?.graph;
    let unknown = |what: String, names: Vec<&str>, of: &str| CliError::Usage(what, Some(among(of, &names)));
    let (step, output) = name.split_once('.').unwrap_or((name, ""));
    let steps = &graph.pipeline.steps;
    let Some((step_name, spec)) = StepName::new(step).ok().and_then(|name| steps.get_key_value(&name)) else {
        let names = steps.keys().map(StepName::as_str).collect();
        return Err(unknown(format!("run {run} has no step `{step}`"), names, "steps"));
    };
    let Some((port, declared)) = PortName::new(output).ok().and_then(|name| spec.outputs.get_key_value(&name)) else {
        let names = spec.outputs.keys().map(PortName::as_str).collect();
        return Err(unknown(format!("step `{step}` has no output `{output}`"), names, "outputs"));
    };
    let wanted = |run: RunId, slot: SlotId, stored: StoredArtifact| Wanted {
        run,
        step: StepId::plain(step_name.clone()),
        output: port.clone(),
        slot,
        stored,
        base_name: declared.path.base_name().to_owned(),
    };
    if !named
        && let Some(names) = store.names(&graph.pipeline.name).await?
        && let Some((slot, stored)) = names.artifacts.get(name)
    {
        let view = store.look(&slot.key).await?;
        let damaged = view.slots.get(&slot.epoch).is_some_and(|slot| slot.damaged);
        // A name moves once; what its run made in place of lost bytes is what the run is bound to.
        let healed = match damaged {
            true => store.binding(&names.run, &StepId::plain(step_name.clone())).await?,
            false => None,
        };
        if let Some(healed) = healed.filter(|healed| healed != slot)
            && let Some(committed) = store.committed(&healed).await?
            && let Some(stored) = committed.artifacts.get(port)
        {
            return Ok(wanted(names.run.clone(), healed, stored.clone()));
        }
        return Ok(wanted(names.run.clone(), *slot, stored.clone()));
    }
    let not_made = || {
        let hint = format!("`prunella status {}` shows how far it is", short(&run));
        CliError::Usage(format!("`{name}` has not been made in run {run}"), Some(hint))
    };
    let slot = store.binding(&run, &StepId::plain(step_name.clone())).await?.ok_or_else(not_made)?;
    let committed = store.committed(&slot).await?.ok_or_else(not_made)?;
    let stored = committed.artifacts.get(port).ok_or_else(not_made)?.clone();
    if !named {
        note(&format!("no whole run has succeeded yet: this is what run {} made", short(&run)));
    }
    Ok(wanted(run, slot, stored))
}

/// Writes a file to standard output, verified before its first byte.
async fn print(store: &Store, stored: &StoredArtifact) -> Result<(), CliError> {
    if stored.artifact.kind == ArtifactKind::Tree {
        let hint = "name a directory that is to be made".to_owned();
        return Err(CliError::Usage("a tree of files cannot go to standard output".to_owned(), Some(hint)));
    }
    store.verify(stored).await?;
    let gone = |problem: &str| StoreError::Damaged { object: stored.object.clone(), problem: problem.to_owned() };
    let key = ObjectKey::new(&stored.object)?;
    let mut reader = store.objects().open(&key).await?.ok_or_else(|| gone("it is missing"))?;
    let mut buffer = vec![0; 1 << 16];
    loop {
        match reader.read(&mut buffer).map_err(CliError::io(&stored.object))? {
            0 => return Ok(()),
            n => say_bytes(&buffer[..n])?,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_word_with_a_dot_is_the_artifact() {
        let words = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
        assert!(matches!(split(&words("a.b")), Ok((None, "a.b", None))));
        assert!(matches!(split(&words("a.b ./x")), Ok((None, "a.b", Some("./x")))));
        assert!(matches!(split(&words("a.b -")), Ok((None, "a.b", Some("-")))));
        assert!(matches!(split(&words("01a2 a.b")), Ok((Some("01a2"), "a.b", None))));
        assert!(matches!(split(&words("01a2 a.b c.d")), Ok((Some("01a2"), "a.b", Some("c.d")))));
        assert!(split(&words("train")).is_err());
        assert!(split(&words("a.b c d")).is_err());
    }
}
