//! `prunella get`: an artifact out of the store, whole or not at all.

use std::{
    io::Read,
    path::{Path, PathBuf},
};

use clap::Args;
use prunella_attempt::{FanIn, Part};
use prunella_engine::load_state;
use prunella_model::{Artifact, ArtifactKind, PortName, RunId, SlotId, StepAddress, StepId, fan_in};
use prunella_objects::ObjectKey;
use prunella_store::{Store, StoreError, records::StoredArtifact};
use prunella_sys::random_hex;
use serde_json::json;

use super::{reading, step_and_output, which_run};
use crate::{
    answer::{note, say, say_bytes, say_json},
    args::Output,
    context::Context,
    error::CliError,
    present::{artifact, attempt, short},
    progress::{Way, moving},
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
    made: Made,
    base_name: String,
}

/// What is laid out.
enum Made {
    /// One artifact of one commit.
    One(SlotId, StoredArtifact),
    /// A folder of what every item of a step made.
    Items(FanIn),
}

impl Made {
    fn artifact(&self) -> Artifact {
        match self {
            Self::One(_, stored) => stored.artifact,
            Self::Items(fan_in) => fan_in.artifact,
        }
    }
}

impl Get {
    /// Runs.
    ///
    /// # Errors
    /// [`CliError`] if there is no such artifact, something is at the destination, or bytes are damaged (78).
    pub async fn run(&self, context: &Context) -> Result<u8, CliError> {
        let store = reading(context).await?;
        let (run, name, to) = split(&self.words)?;
        let wanted = find(&store, run, name).await?;
        if to == Some("-") {
            let printed = match &wanted.made {
                Made::One(_, stored) => print(&store, stored).await,
                Made::Items(_) => Err(no_tree_to_standard_output()),
            };
            return collected(&store, &wanted, printed).await.map(|()| 0);
        }
        let to = destination(to, &wanted);
        let fetch = self.lay_out(context, &store, &wanted.made, &to);
        let laid = moving(context, &store, Way::Fetching, fetch).await;
        collected(&store, &wanted, laid).await?;
        let Wanted { run, step, output, made, .. } = wanted;
        let slot = match &made {
            Made::One(slot, _) => Some(slot),
            Made::Items(_) => None,
        };
        match context.output {
            Output::Json => say_json(&json!({
                "run": run,
                "step": step.to_string(),
                "output": output,
                "epoch": slot.map(|slot| slot.epoch.0),
                "key": slot.map(|slot| slot.key.hex()),
                "artifact": made.artifact(),
                "path": to,
            }))?,
            Output::Text => say(&format!(
                "{}: {} of {} in run {}\n",
                to.display(),
                artifact(&made.artifact()),
                slot.map_or_else(|| format!("all items of {step}"), |slot| attempt(&step, slot)),
                short(&run)
            ))?,
        }
        Ok(0)
    }

    async fn lay_out(&self, context: &Context, store: &Store, made: &Made, to: &Path) -> Result<(), CliError> {
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
            match made {
                Made::One(_, stored) => drop(store.lay_out_outside(stored, &part).await?),
                Made::Items(fan_in) => fan_in.lay_out(store, &part).await.map_err(|(_, error)| error)?,
            }
            let kind = made.artifact().kind;
            if kind == ArtifactKind::File {
                fs.sync_file(&part).map_err(CliError::io(&part))?;
            }
            match (&there, self.overwrite) {
                (None, _) | (_, false) => {
                    if !fs.rename_noreplace(&part, to).map_err(CliError::io(to))? {
                        return Err(refused());
                    }
                }
                (Some(old), true) => {
                    let both_files = old.kind != prunella_sys::FileKind::Dir && kind == ArtifactKind::File;
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
    let slots: Vec<SlotId> = match &wanted.made {
        Made::One(slot, _) => vec![*slot],
        Made::Items(fan_in) => fan_in.parts.iter().map(|part| part.slot).collect(),
    };
    let mut retired = false;
    for slot in slots {
        let view = store.look(&slot.key).await?;
        retired |= view.slots.get(&slot.epoch).is_some_and(|slot| slot.retired);
    }
    if !retired {
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
    let is_file = wanted.made.artifact().kind == ArtifactKind::File;
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
    let (address, spec, port) = step_and_output(&run, &graph, name)?;
    let (port, declared) = (&port, &spec.outputs[&port]);
    let current = match named {
        true => None,
        false => store.names(&graph.pipeline.name).await?,
    };
    let from = current.as_ref().map_or(&run, |names| &names.run);
    let (id, items) = match spec.for_each {
        None if address.item.is_none() => (StepId::plain(address.name.clone()), None),
        _ => items_of(store, from, &address).await?,
    };
    let wanted = |run: RunId, made: Made| Wanted {
        run,
        step: id.clone(),
        output: port.clone(),
        base_name: match &made {
            Made::One(..) => declared.path.base_name().to_owned(),
            Made::Items(_) => port.to_string(),
        },
        made,
    };
    if let Some(names) = &current
        && let Some((slot, stored)) = names.artifacts.get(&format!("{id}.{port}"))
    {
        // A name moves once; what its run made since, in place of lost bytes, is what the run is bound to.
        let healed = store.binding(&names.run, &id).await?;
        if let Some(healed) = healed.filter(|healed| healed != slot)
            && let Some(committed) = store.committed(&healed).await?
            && let Some(stored) = committed.artifacts.get(port)
        {
            return Ok(wanted(names.run.clone(), Made::One(healed, stored.clone())));
        }
        return Ok(wanted(names.run.clone(), Made::One(*slot, stored.clone())));
    }
    let not_made = || {
        let hint = format!("`prunella status {}` shows how far it is", short(&run));
        CliError::Usage(format!("`{name}` has not been made in run {run}"), Some(hint))
    };
    let made = async |id: &StepId| {
        let slot = store.binding(from, id).await?.ok_or_else(not_made)?;
        let committed = store.committed(&slot).await?.ok_or_else(not_made)?;
        Ok::<_, CliError>((slot, committed.artifacts.get(port).ok_or_else(not_made)?.clone()))
    };
    if let Some(items) = items {
        let base_name = declared.path.base_name().to_owned();
        let mut parts = Vec::with_capacity(items.len());
        for id in items {
            let (slot, stored) = made(&id).await?;
            parts.push(Part { item: id.item.expect("the members of a step that fans out are items"), slot, stored });
        }
        let whole: Vec<_> = parts.iter().map(|part| (&part.item, part.stored.artifact)).collect();
        let artifact = fan_in(&base_name, &whole);
        return Ok(wanted(from.clone(), Made::Items(FanIn { artifact, base_name, parts })));
    }
    let (slot, stored) = made(&id).await?;
    if !named {
        note(&format!("no whole run has succeeded yet: this is what run {} made", short(&run)));
    }
    Ok(wanted(from.clone(), Made::One(slot, stored)))
}

/// Returns which step an address means in a run, and its items if it is one that fans out.
pub(super) async fn items_of(
    store: &Store,
    run: &RunId,
    address: &StepAddress,
) -> Result<(StepId, Option<Vec<StepId>>), CliError> {
    let plan = load_state(store, run).await?.plan;
    let place = plan.find(address).map_err(|wrong| CliError::Usage(wrong.to_string(), None))?;
    let items = match plan.topology().is_group(place) {
        false => None,
        true => {
            let members = plan.topology().members(place).unwrap_or_default();
            Some(members.iter().map(|member| plan.id(*member).clone()).collect())
        }
    };
    Ok((plan.id(place).clone(), items))
}

fn no_tree_to_standard_output() -> CliError {
    let hint = "name a directory that is to be made".to_owned();
    CliError::Usage("a tree of files cannot go to standard output".to_owned(), Some(hint))
}

/// Writes a file to standard output, verified before its first byte.
async fn print(store: &Store, stored: &StoredArtifact) -> Result<(), CliError> {
    if stored.artifact.kind == ArtifactKind::Tree {
        return Err(no_tree_to_standard_output());
    }
    store.verify(stored).await?;
    if stored.in_chunks {
        let out = |bytes: &[u8]| std::io::Write::write_all(&mut std::io::stdout().lock(), bytes);
        return match store.read_out(stored, out).await {
            Err(StoreError::Io { source, .. }) if source.kind() == std::io::ErrorKind::BrokenPipe => {
                Err(CliError::Closed)
            }
            done => Ok(done?),
        };
    }
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
