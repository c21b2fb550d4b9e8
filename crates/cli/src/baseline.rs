//! The pipeline as a shell script, for the ad-hoc row of `prunella chaos`: laid out from what an undisturbed run made.

use std::{
    collections::{BTreeMap, HashMap},
    ffi::{OsStr, OsString},
    io::Write,
    os::unix::ffi::{OsStrExt, OsStringExt},
    path::{Path, PathBuf},
    sync::Arc,
};

use prunella_attempt::{EnvironmentUse, Ground, InputBytes, Pool, Request, Scratch, Start};
use prunella_chaos::{Artifacts, Line, Script, contents};
use prunella_engine::{Plan, load_state, look_request};
use prunella_journal::{RunState, StepIndex};
use prunella_model::{
    CheckpointFormat, Epoch, Item, Pipeline, PortName, RunId, SlotId, Step, StepAddress, StepId, is_address,
};
use prunella_store::Store;
use prunella_sys::Fs;

use crate::{context::Context, error::CliError, open};

/// What scripts of a pipeline are made from.
pub struct Baseline {
    store: Store,
    /// The directory of the pipeline file.
    base: PathBuf,
    run: RunId,
    plan: Arc<Plan>,
    /// The steps that the undisturbed run did, each after what it needs, and their slots.
    order: Vec<(StepIndex, SlotId)>,
    /// What the undisturbed run made of each, by name of the output.
    made: Vec<BTreeMap<PortName, Artifacts>>,
    bytes: Vec<u64>,
    published: Option<Artifacts>,
    environment: EnvironmentUse,
}

impl Baseline {
    /// Reads what the undisturbed run in `store` was; its outputs are laid out in `beside` for a moment. `base` is the directory of the
    /// pipeline file.
    ///
    /// # Errors
    /// [`CliError`] if it cannot be read.
    pub async fn of(
        context: &Context,
        base: &Path,
        store: Store,
        beside: &Path,
        published: &Artifacts,
    ) -> Result<Self, CliError> {
        let newest = store.runs().await?.into_iter().max_by_key(|run| run.order);
        let run = newest.ok_or_else(|| CliError::Usage("the undisturbed run is gone".to_owned(), None))?.run;
        let loaded = load_state(&store, &run).await?;
        let order = in_order(&loaded.plan, &loaded.state);
        let (mut made, mut bytes) = (Vec::new(), Vec::new());
        for (n, (step, slot)) in order.iter().enumerate() {
            let committed = store.committed(slot).await?.map(|committed| committed.artifacts).unwrap_or_default();
            bytes.push(committed.values().map(|stored| stored.artifact.size_bytes).sum());
            let mut of_step = BTreeMap::new();
            for (name, stored) in committed.iter().filter(|_| loaded.plan.step(*step).deterministic) {
                let to = beside.join(format!("{n}-{name}"));
                context.sys.fs.create_dir_all(beside).map_err(CliError::io(beside))?;
                store.lay_out(stored, &to).await?;
                of_step.insert(name.clone(), contents(&to));
            }
            made.push(of_step);
        }
        let _nobodys = context.sys.fs.remove_dir_all(beside);
        let random = order.iter().any(|(step, _)| !loaded.plan.step(*step).deterministic);
        let environment = open::environment(context, &loaded.record.graph)?;
        let published = (!random).then(|| published.clone());
        Ok(Self { store, base: base.to_owned(), run, plan: loaded.plan, order, made, bytes, published, environment })
    }

    /// Lays the script out in the directory `dir`, which must not exist.
    ///
    /// # Errors
    /// [`CliError`] if something cannot be read or written.
    pub async fn script(&self, context: &Context, dir: &Path) -> Result<Script, CliError> {
        let fs = &context.sys.fs;
        let steps = dir.join("steps");
        fs.create_dir_all(&steps).map_err(CliError::io(&steps))?;
        let mut secrets = BTreeMap::new();
        let mut lines = Vec::new();
        let mut places: HashMap<SlotId, usize> = HashMap::new();
        for (n, (index, slot)) in self.order.iter().enumerate() {
            let (id, spec) = (self.plan.id(*index), self.plan.step(*index));
            let mut line = self.line(context, dir, id, spec, &mut secrets).await?;
            let request = self.request(id).await?;
            link_inputs(&**fs, &request, spec, &line, |slot, output| {
                lines.get(*places.get(&slot)?).and_then(|made: &Line| made.outputs.get(output.as_str())).cloned()
            })?;
            line.expected = self.made[n].iter().map(|(name, is)| (name.to_string(), is.clone())).collect();
            line.bytes = self.bytes[n];
            places.insert(*slot, n);
            lines.push(line);
        }
        let secrets = secrets.into_iter().collect();
        let script = Script { dir: dir.to_owned(), lines, secrets, expected: self.published.clone() };
        let file = dir.join("run.sh");
        let written = fs.create_new(&file).and_then(|mut to| to.write_all(script.text().as_bytes()));
        written.map_err(CliError::io(&file))?;
        Ok(script)
    }

    async fn request(&self, id: &StepId) -> Result<Request, CliError> {
        let address = StepAddress { name: id.name.clone(), item: id.item.as_ref().map(Item::label) };
        Ok(look_request(&self.store, &self.run, &address, &[]).await?)
    }

    /// Lays one step out as an attempt of it would be, under a name that does not change.
    async fn line(
        &self,
        context: &Context,
        dir: &Path,
        id: &StepId,
        spec: &Step,
        secrets: &mut BTreeMap<String, OsString>,
    ) -> Result<Line, CliError> {
        let own = open::secrets(context, &self.base, std::iter::once((&id.name, spec)))?;
        let (inherited, pool) = (context.sys.env.vars_os(), Arc::<Pool>::default());
        let work = dir.join("work");
        let ground = Ground {
            store: &self.store,
            sys: &context.sys,
            work: &work,
            digests: dir,
            environment: &self.environment,
            secrets: &own,
            inherited: &inherited,
            pool: &pool,
        };
        let request = self.request(id).await?;
        let scratch = Scratch::make(&ground, &request, Epoch::FIRST, Start::Zero).await;
        let scratch = scratch.map_err(|error| CliError::Refused(error.to_string(), None))?;
        let root = dir.join("steps").join(id.segment());
        let fs = &context.sys.fs;
        let beside = |root: &Path| {
            let mut path = root.as_os_str().to_owned();
            path.push(".checkpoint");
            PathBuf::from(path)
        };
        fs.rename(&scratch.root, &root).map_err(CliError::io(&root))?;
        let checkpoints = spec.checkpoint.is_some().then(|| beside(&root));
        if let Some(checkpoints) = &checkpoints {
            fs.rename(&beside(&scratch.root), checkpoints).map_err(CliError::io(checkpoints))?;
        }
        fs.remove_dir_all(&work).map_err(CliError::io(&work))?;
        let mut variables: Vec<_> =
            scratch.variables.into_iter().map(|(name, value)| (name, moved(&value, &scratch.root, &root))).collect();
        // These are of an attempt, and there is none.
        variables.retain(|(name, _)| name != "PRUNELLA_ATTEMPT_ID" && name != "PRUNELLA_ATTEMPT");
        variables.push(("PRUNELLA_CHAOS".into(), dir.into()));
        let passed = spec.secrets.iter().map(|name| name.as_str().to_owned()).collect();
        secrets.extend(own.iter().map(|(name, secret)| (name.to_string(), secret.0.clone().into())));
        let outputs: BTreeMap<String, PathBuf> =
            spec.outputs.iter().map(|(name, output)| (name.to_string(), root.join(output.path.as_str()))).collect();
        let published = Script::published(dir);
        let publish = spec.publish.iter().map(|(name, to)| (outputs[name.as_str()].clone(), published.join(&to.path)));
        Ok(Line {
            step: id.clone(),
            key: request.key,
            dir: root,
            variables,
            passed,
            command: scratch.command,
            publish: publish.collect(),
            outputs,
            checkpoints,
            expected: BTreeMap::new(),
            bytes: 0,
        })
    }
}

/// Refuses, all at once, what a script of this pipeline could not do.
///
/// # Errors
/// [`CliError::Refused`] names every such thing.
pub fn can_be_scripted(pipeline: &Pipeline) -> Result<(), CliError> {
    let mut cannot = Vec::new();
    for data in pipeline.mounted.iter().chain(&pipeline.referenced) {
        cannot.push(format!("  data `{data}` is mounted or stays at its address"));
    }
    for (name, step) in &pipeline.steps {
        if step.handler.is_some() {
            cannot.push(format!("  `{name}` runs at the end of a run"));
        }
        if step.checkpoint.as_ref().is_some_and(|checkpoint| checkpoint.format == CheckpointFormat::Socket) {
            cannot.push(format!("  `{name}` announces its checkpoints on the socket, and nobody listens"));
        }
        if step.publish.values().any(|publication| is_address(&publication.path) || publication.path.starts_with('/')) {
            cannot.push(format!("  `{name}` publishes to an absolute path or an address"));
        }
    }
    if cannot.is_empty() {
        return Ok(());
    }
    let what = format!("the ad-hoc baseline cannot play this pipeline:\n{}", cannot.join("\n"));
    Err(CliError::Refused(what, Some("leave `--compare` out".to_owned())))
}

/// Returns the steps that were done, in the order of the file as far as each comes after what it needs.
fn in_order(plan: &Plan, state: &RunState) -> Vec<(StepIndex, SlotId)> {
    let topology = plan.topology();
    let mut order = Vec::new();
    let mut seen = vec![false; topology.len()];
    for first in topology.indices() {
        // Depth first, without recursion: chains may be long.
        let mut left = vec![(first, false)];
        while let Some((step, needed)) = left.pop() {
            if needed {
                if let Some(done) = state.done(step) {
                    order.push((step, done.slot));
                }
                continue;
            }
            if std::mem::replace(&mut seen[step.as_usize()], true) {
                continue;
            }
            left.push((step, true));
            let members = topology.members(step).unwrap_or_default();
            left.extend(topology.needs(step).iter().chain(members).rev().map(|need| (*need, false)));
        }
    }
    order
}

/// Puts links to what the steps before make in place of the copies of it.
fn link_inputs(
    fs: &dyn Fs,
    request: &Request,
    spec: &Step,
    line: &Line,
    place: impl Fn(SlotId, &PortName) -> Option<PathBuf>,
) -> Result<(), CliError> {
    for (name, input) in &request.inputs {
        let Some(prunella_model::Source::Step { output, .. }) = spec.inputs.get(name) else { continue };
        let at = line.dir.join("inputs").join(name.as_str()).join(&input.base_name);
        match &input.bytes {
            InputBytes::Stored { slot: Some(slot), .. } => link(fs, place(*slot, output), &at)?,
            InputBytes::FanIn(fan_in) => {
                for part in &fan_in.parts {
                    link(fs, place(part.slot, output), &at.join(part.item.label()).join(&fan_in.base_name))?;
                }
            }
            InputBytes::Stored { slot: None, .. } | InputBytes::Mounted(_) => {}
        }
    }
    Ok(())
}

fn link(fs: &dyn Fs, to: Option<PathBuf>, at: &Path) -> Result<(), CliError> {
    let Some(to) = to else { return Ok(()) };
    let removed = if at.is_dir() { fs.remove_dir_all(at) } else { fs.remove_file(at) };
    removed.and_then(|()| fs.symlink(&to, at)).map_err(CliError::io(at))
}

/// Returns a value in which a path below one directory has become one below another.
fn moved(value: &OsStr, from: &Path, to: &Path) -> OsString {
    match value.as_bytes().strip_prefix(from.as_os_str().as_bytes()) {
        Some(rest) if rest.is_empty() || matches!(rest[0], b'/' | b'.') => {
            OsString::from_vec([to.as_os_str().as_bytes(), rest].concat())
        }
        _ => value.to_owned(),
    }
}
