//! From the pipeline to the graph: data checked against the lock, code digested, environment locked.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use prunella_environment::{PythonLock, PythonRequest, lock};
use prunella_model::{
    ArtifactKind, DataName, DataPin, Digest, EnvironmentPin, GRAPH_FORMAT, Graph, Pipeline, Platform, Referenced,
    RunId, StepName,
};
use prunella_store::{
    NewRun, Remembered, Store,
    records::{GraphRecord, StoredArtifact},
};
use prunella_sys::random_hex;

use super::{
    code::{Code, collect},
    data::{Measured, measure},
    files::Beside,
    lock_file::{DataLock, LockFile},
    place::Place,
};
use crate::{context::Context, error::CliError, progress, warm::Warm};

/// How strictly data must agree with the lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Strictness {
    /// Unpinned or changed data is refused.
    Pinned,
    /// It is accepted and recorded (`--allow-unpinned`).
    AllowUnpinned,
}

/// What making the graph may change beside it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Footprint {
    /// An environment without a lock is locked and written to `prunella.lock`; digests are remembered.
    Write,
    /// Nothing is written: an environment that is not locked makes a graph that matches no earlier result.
    Nothing,
}

/// A graph and the bytes it refers to, not yet in any store.
pub struct Prepared {
    /// The graph.
    pub graph: Graph,
    /// Whether the environment's lock is missing or out of date (only with [`Footprint::Nothing`]).
    pub unlocked: bool,
    data: BTreeMap<DataName, Measured>,
    codes: Vec<Code>,
    /// Where the checkpoints lie that steps begin with.
    warm: Vec<StoredArtifact>,
}

/// Returns the graph of `pipeline` as it is now.
///
/// # Errors
/// [`CliError::Refused`] names all data that is not pinned or has changed.
pub async fn prepare(
    context: &Context,
    place: &Place,
    pipeline: Pipeline,
    strictness: Strictness,
    footprint: Footprint,
    force: &[StepName],
) -> Result<Prepared, CliError> {
    let mut lock_file = LockFile::read(&place.lock())?;
    let remembered = match footprint {
        Footprint::Write => Remembered::Kept,
        Footprint::Nothing => Remembered::Used,
    };
    let measured = measure(context, &pipeline, place, remembered).await?;
    let mut data = BTreeMap::new();
    let mut problems = Vec::new();
    for (name, found) in &measured {
        let locked = lock_file.data.get(name);
        let pinned = locked.is_some_and(|lock| lock.artifact == found.contents.artifact);
        if !pinned && strictness == Strictness::Pinned {
            problems.push(not_as_pinned(name, found, locked));
        }
        data.insert(
            name.clone(),
            DataPin {
                artifact: found.contents.artifact,
                base_name: found.base_name.clone(),
                pinned,
                mounted: pipeline.mounted.contains(name).then(|| mounted_at(place, found)).transpose()?,
                referenced: found.listing.as_ref().map(|listing| Referenced {
                    url: found.path.clone(),
                    objects: listing.objects.len() as u64,
                    size_bytes: listing.size_bytes(),
                }),
            },
        );
    }
    if !problems.is_empty() {
        let hint = "pin the data as it is with `prunella pin`, or go on without with `--allow-unpinned`".to_owned();
        return Err(CliError::Refused(problems.join("; "), Some(hint)));
    }
    let environment = environment(context, place, &pipeline, &mut lock_file, footprint)?;
    let unlocked = environment.is_none() && pipeline.environment.is_some();
    let environment = match unlocked {
        // What nothing was ever made with.
        true => Some(EnvironmentPin { digest: Digest::of(b"not locked yet"), lock: serde_json::Value::Null }),
        false => environment,
    };
    let beside = Beside::new(&place.base);
    let mut codes = Vec::new();
    let code = match pipeline.code.as_slice() {
        [] => None,
        patterns => Some(collect(&place.base, &beside, patterns)?),
    };
    codes.extend(code.clone());
    let mut step_code = BTreeMap::new();
    for (name, step) in &pipeline.steps {
        // `code: []` takes the pipeline's code away from the step.
        if let Some(patterns) = step.code.as_ref().filter(|patterns| code.is_some() || !patterns.is_empty()) {
            let code = collect(&place.base, &beside, patterns)?;
            step_code.insert(name.clone(), code.artifact);
            codes.push(code);
        }
    }
    let os_arch = context.sys.machine.os_arch();
    let force = force.iter().map(|step| (step.clone(), random_hex(&*context.sys.random, 8))).collect();
    let graph = Graph {
        format: GRAPH_FORMAT,
        data,
        code: code.map(|code| code.artifact),
        step_code,
        environment,
        platform: Platform { os: os_arch.os.to_owned(), arch: os_arch.arch.to_owned() },
        force,
        warm: BTreeMap::new(),
        pipeline,
    };
    Ok(Prepared { graph, unlocked, data: measured, codes, warm: Vec::new() })
}

fn environment(
    context: &Context,
    place: &Place,
    pipeline: &Pipeline,
    lock_file: &mut LockFile,
    footprint: Footprint,
) -> Result<Option<EnvironmentPin>, CliError> {
    let Some(spec) = &pipeline.environment else { return Ok(None) };
    let request = PythonRequest { requirements: place.base.join(&spec.requirements), python: spec.version.clone() };
    if let Some(json) = &lock_file.python {
        let known = PythonLock::from_json(json)?;
        if known.is_current(&context.sys, &request)? {
            return Ok(Some(EnvironmentPin { digest: known.digest(), lock: json.clone() }));
        }
    }
    if footprint == Footprint::Nothing {
        return Ok(None);
    }
    let cache = context.cache().join("environments");
    let made = lock(&context.sys, &request, &cache, &mut |told| progress::environment(context, &told))?;
    let json = made.to_json();
    lock_file.python = Some(json.clone());
    lock_file.write(&context.sys, &place.lock())?;
    Ok(Some(EnvironmentPin { digest: made.digest(), lock: json }))
}

impl Prepared {
    /// Lets steps begin with these checkpoints.
    pub fn begin_with(&mut self, warm: Warm) {
        for (step, (start, stored)) in warm {
            self.graph.warm.insert(step, start);
            self.warm.push(stored);
        }
    }

    /// Brings code and data into the store and creates the run, whose paths to publish to are relative to `base`.
    ///
    /// # Errors
    /// [`CliError`] if the store refuses, or data changed meanwhile.
    pub async fn create_run(
        &self,
        context: &Context,
        store: &Store,
        place: &Place,
        targets: &[StepName],
        base: &Path,
    ) -> Result<(RunId, GraphRecord), CliError> {
        let run = new_run_id(context);
        let known: HashMap<_, _> = store.brought_before(&self.graph.pipeline.name).await?;
        let (mut brought, notes) = (Vec::new(), place.local.join("work/brought"));
        let mounted = |name| self.graph.pipeline.mounted.contains(name);
        for (_, measured) in self.data.iter().filter(|(name, _)| !mounted(*name)) {
            let listing =
                measured.listing.as_ref().map(|listing| staged(context, place, &listing.to_json())).transpose()?;
            let full = listing.as_ref().unwrap_or(&measured.full);
            let stored = store.bring_in(&run, full, &measured.contents, &known, &notes).await;
            if let Some(listing) = listing {
                let _left_over = context.sys.fs.remove_file(&listing);
            }
            brought.push(stored?);
        }
        for code in &self.codes {
            if brought.iter().any(|stored| stored.artifact == code.artifact) {
                continue;
            }
            debug_assert_eq!(code.artifact.kind, ArtifactKind::Tree);
            let staged = place.local.join(format!("work/code-{}", random_hex(&*context.sys.random, 6)));
            code.lay_out(&context.sys, &staged)?;
            let stored = store.bring_in(&run, &staged, &code.artifact.into(), &known, &notes).await;
            let _left_over = context.sys.fs.remove_dir_all(&staged);
            brought.push(stored?);
        }
        for stored in &self.warm {
            if !store.hold(&run, stored).await? {
                let hint = "begin without it, or take another one".to_owned();
                let what = "the bytes of a checkpoint given by `--warm` are gone".to_owned();
                return Err(CliError::Refused(what, Some(hint)));
            }
            brought.push(stored.clone());
        }
        let new = NewRun {
            run: run.clone(),
            graph: self.graph.clone(),
            brought,
            targets: targets.to_vec(),
            base: Some(base.to_owned()),
        };
        // What is no such text is passed over, as the standard asks.
        let caller = context.sys.env.var("TRACEPARENT").and_then(|text| text.parse().ok());
        let record = store.create_run_under(new, caller).await?;
        for measured in self.data.values() {
            store.forget_notes(&measured.contents.artifact, &notes);
        }
        Ok((run, record))
    }
}

/// Returns what people are told of data that is not as it is pinned.
fn not_as_pinned(name: &DataName, found: &Measured, locked: Option<&DataLock>) -> String {
    let Some(locked) = locked else { return format!("`{}` (data.{name}) is not pinned", found.path) };
    match (&locked.listing, &found.listing) {
        (Some(pinned), Some(now)) => {
            let changes = pinned.changes(now).unwrap_or_else(|| "it is listed in another form".to_owned());
            format!("`{}` (data.{name}) has changed: {changes}", found.path)
        }
        (None, None) => format!(
            "`{}` (data.{name}) has changed: it is {}, {} is pinned",
            found.path,
            found.contents.artifact.digest.short(),
            locked.artifact.digest.short()
        ),
        (Some(_), None) => format!("`{}` (data.{name}) is pinned by reference, and its content is not", found.path),
        (None, Some(_)) => format!("`{}` (data.{name}) is pinned by content, and its versions are not", found.path),
    }
}

/// Returns a file with a text, to be brought in and removed.
fn staged(context: &Context, place: &Place, text: &[u8]) -> Result<std::path::PathBuf, CliError> {
    let fs = &*context.sys.fs;
    let work = place.local.join("work");
    let path = work.join(format!("listing-{}", random_hex(&*context.sys.random, 6)));
    fs.create_dir_all(&work).map_err(CliError::io(&work))?;
    let written = fs.create_new(&path).and_then(|mut file| std::io::Write::write_all(&mut file, text));
    written.map_err(CliError::io(&path))?;
    Ok(path)
}

/// Returns where data is mounted from.
fn mounted_at(place: &Place, found: &Measured) -> Result<String, CliError> {
    let store = std::path::absolute(&place.local).map_err(CliError::io(&place.local))?;
    // Every run would change it.
    if std::fs::canonicalize(&store).unwrap_or(store).starts_with(&found.full) {
        let what = format!("`{}` is to be mounted, but the store lies in it", found.path);
        return Err(CliError::Refused(
            what,
            Some("mount a folder below, or take another store (`--store`)".to_owned()),
        ));
    }
    found.full.to_str().map(str::to_owned).ok_or_else(|| {
        let what = format!("`{}` lies at `{}`, which is no UTF-8", found.path, found.full.display());
        CliError::Refused(what, Some("mount it from another path, or copy it (`access: copy`)".to_owned()))
    })
}

/// Returns an id that begins with the time, so that people find runs sorted; nothing else relies on that.
fn new_run_id(context: &Context) -> RunId {
    let mut random = [0; 10];
    context.sys.random.fill(&mut random);
    let now = u64::try_from(context.sys.clock.wall_ms()).unwrap_or(0);
    let id = uuid::Builder::from_unix_timestamp_millis(now, &random).into_uuid();
    RunId::new(&id.to_string()).expect("a UUID is 36 characters of [0-9a-f-]")
}
