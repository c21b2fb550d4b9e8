//! Opening the store and setting up what attempts share.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use prunella_attempt::{EnvironmentUse, Host, Redactor, Secret};
use prunella_environment::{PythonLock, ensure, environment_variables};
use prunella_model::{EnvName, Graph, Step, StepName};
use prunella_objects::{Directory, Embedded, Objects};
use prunella_process::{Guardian, GuardianOptions};
use prunella_remote::{Lakes, Published, Rate, Remote};
use prunella_store::{OtherStore, Store, records::ProcessId};

use crate::{answer::note, context::Context, error::CliError, progress, project::StoreAt, transfers::Transfers};

/// Time kept back before a deadline.
pub const MARGIN: Duration = Duration::from_millis(500);

/// Returns the store, made if it is not there.
///
/// # Errors
/// [`CliError::Store`] if it cannot be opened.
pub async fn store(context: &Context, at: &StoreAt) -> Result<Store, CliError> {
    // One for the store and for what is published: what may go over the network is that of the process.
    let options = bucket(context)?;
    let objects: Arc<dyn Objects> = match at {
        StoreAt::Directory(dir) => suffering(context, Embedded::open(&context.sys, dir)?, dir),
        StoreAt::Plain(dir) => suffering(context, Directory::open(&context.sys, dir, &met(context))?, dir),
        StoreAt::Bucket(url) => Arc::new(Remote::open(&context.sys, url, &options).await?),
    };
    let of_the_store = match at {
        StoreAt::Bucket(url) => Some(url.clone()),
        StoreAt::Directory(_) | StoreAt::Plain(_) => None,
    };
    let lakes = Arc::new(Lakes::new(&context.sys, options.clone()));
    let places = Published::new(&context.sys, options, of_the_store);
    // Beside the copies of objects: a directory of this machine that anybody may empty.
    let scratch = context.cache().join("publish");
    limited(context, Store::new(objects, context.sys.clone()).publishing(Arc::new(places), scratch).listing(lakes))
}

/// Returns the store for reading; it must be there.
///
/// # Errors
/// [`CliError::Store`] if there is none, or it cannot be opened.
pub async fn store_read_only(context: &Context, at: &StoreAt) -> Result<Store, CliError> {
    read_only(context, at, &bucket(context)?).await
}

async fn read_only(context: &Context, at: &StoreAt, options: &prunella_remote::Options) -> Result<Store, CliError> {
    let objects: Arc<dyn Objects> = match at {
        StoreAt::Directory(dir) => suffering(context, Embedded::open_read_only(&context.sys, dir)?, dir),
        StoreAt::Plain(dir) => suffering(context, Directory::open_read_only(&context.sys, dir)?, dir),
        StoreAt::Bucket(url) => Arc::new(Remote::open_existing(&context.sys, url, options).await?),
    };
    let lakes = Arc::new(Lakes::new(&context.sys, bucket(context)?));
    limited(context, Store::new(objects, context.sys.clone()).listing(lakes))
}

/// Returns a store in a directory, which suffers what somebody asked for.
fn suffering(context: &Context, objects: impl Objects, dir: &Path) -> Arc<dyn Objects> {
    match &context.faults {
        None => Arc::new(objects),
        Some(faults) => faults.objects(Arc::new(objects), dir),
    }
}

/// How long a store of others may stumble: nothing waits for it that could not do without.
const PATIENCE: Duration = Duration::from_secs(10);

/// Returns the store with those of others from which commits are copied; one that cannot be read is said, and left out.
///
/// # Errors
/// [`CliError::Usage`] if the environment says something that cannot be.
pub async fn with_others(context: &Context, store: Store) -> Result<Store, CliError> {
    let mut others = Vec::new();
    for at in &context.read_from {
        let options = prunella_remote::Options { patience: PATIENCE, ..bucket(context)? };
        match read_only(context, at, &options).await {
            // One's own is looked into anyway.
            Ok(other) if other.id() == store.id() => {}
            Ok(other) => others.push(OtherStore::new(at.to_string(), other)),
            Err(error) => note(&not_read_from(&at.to_string(), &error.message())),
        }
    }
    Ok(store.reading_from(others))
}

/// Returns the line that says that a store of others is not used.
pub fn not_read_from(store: &str, why: &str) -> String {
    format!("nothing is copied from {store}: {why}")
}

/// Returns where this machine notes which directories of other machines were found fit.
pub fn met(context: &Context) -> PathBuf {
    context.cache().join("met")
}

/// Returns how buckets are used on this machine.
///
/// # Errors
/// [`CliError::Usage`] if command line or environment say something that cannot be.
pub fn bucket(context: &Context) -> Result<prunella_remote::Options, CliError> {
    let limits = Transfers::of(context)?;
    let mut options = prunella_remote::Options::new(context.cache().join("objects"));
    options.rate = Rate::new(limits.rate);
    options.faults.clone_from(&context.faults);
    options.at_once = limits.requests.unwrap_or(options.at_once);
    Ok(options)
}

fn limited(context: &Context, store: Store) -> Result<Store, CliError> {
    let limits = Transfers::of(context)?;
    Ok(store.limited(limits.processors, limits.memory))
}

/// Starts a guardian and returns what attempts share; of secrets those of the steps that `runs` names.
pub async fn host(
    context: &Context,
    store: Store,
    dir: &Path,
    base: &Path,
    graph: &Graph,
    runs: impl Fn(&StepName) -> bool,
) -> Result<Host, CliError> {
    let secrets = secrets(context, base, graph.pipeline.steps.iter().filter(|(name, _)| runs(name)))?;
    let store = with_others(context, store).await?;
    // Made before the guardian is started: it takes every process of a session of its own for its own.
    let environment = environment(context, graph)?;
    let guardian = Guardian::start(GuardianOptions::default()).await?;
    let identity = guardian.identity();
    let owner = store.this_owner(Some(ProcessId { pid: identity.pid, start_ticks: identity.start_ticks }));
    let redactor = Redactor::new(secrets.iter().map(|(name, secret)| (name.as_str(), secret.0.as_str())));
    let absolute = std::path::absolute(dir).map_err(CliError::io(dir))?;
    Ok(Host {
        work: absolute.join("work"),
        digests: absolute,
        sockets: sockets(context)?,
        store,
        sys: context.sys.clone(),
        guardian,
        owner,
        environment,
        secrets: Arc::new(secrets),
        redactor: Arc::new(redactor),
        margin: MARGIN,
        inherited: Arc::new(context.sys.env.vars_os()),
        pool: Arc::default(),
        traced: crate::otlp::is_traced(context),
    })
}

fn sockets(context: &Context) -> Result<PathBuf, CliError> {
    let runtime = context.sys.env.var("XDG_RUNTIME_DIR").map(PathBuf::from);
    // A socket's path may have 107 bytes.
    let base =
        runtime.filter(|dir| dir.is_dir() && dir.as_os_str().len() < 60).unwrap_or_else(|| PathBuf::from("/tmp"));
    remove_dead(context, &base, SOCKETS);
    let dir = base.join(owned_name(context, SOCKETS));
    context.sys.fs.create_dir(&dir).map_err(CliError::io(&dir))?;
    context.sys.fs.set_mode(&dir, 0o700).map_err(CliError::io(&dir))?;
    Ok(dir)
}

const SOCKETS: &str = "prunella-";

/// Returns a name for a directory of this process, by which others see whether it lives; behind a `-` more may follow.
pub fn owned_name(context: &Context, prefix: &str) -> String {
    let machine = &context.sys.machine;
    let pid = machine.pid();
    format!("{prefix}{pid}-{}", machine.process_start_ticks(pid).unwrap_or(0))
}

/// Removes what processes left that were killed: their directories carry pid and start time.
pub fn remove_dead(context: &Context, base: &Path, prefix: &str) {
    let Ok(entries) = context.sys.fs.list(base) else { return };
    for entry in entries {
        let name = entry.name.to_string_lossy();
        let owner = || {
            let mut words = name.strip_prefix(prefix)?.split('-');
            Some((words.next()?.parse().ok()?, words.next()?.parse().ok()?))
        };
        let Some((pid, ticks)) = owner() else { continue };
        if context.sys.machine.process_start_ticks(pid) != Some(ticks) {
            // Another user's, or somebody else was faster.
            let _not_ours = context.sys.fs.remove_dir_all(&base.join(&entry.name));
        }
    }
}

/// Returns how the graph's locked environment is entered; it is made if it is not there.
///
/// # Errors
/// [`CliError::Environment`] if it cannot be made.
pub fn environment(context: &Context, graph: &Graph) -> Result<EnvironmentUse, CliError> {
    let Some(pin) = &graph.environment else { return Ok(EnvironmentUse::default()) };
    let lock = PythonLock::from_json(&pin.lock)?;
    let cache = context.cache().join("environments");
    let made = ensure(&context.sys, &lock, &cache, &mut |told| progress::environment(context, &told))?;
    let path = context.sys.env.var("PATH").unwrap_or_default();
    Ok(EnvironmentUse { variables: environment_variables(&made, &path) })
}

/// Returns the values of the secrets that these steps declare.
///
/// # Errors
/// [`CliError::Usage`] names all that are not set.
pub fn secrets<'a>(
    context: &Context,
    base: &Path,
    steps: impl Iterator<Item = (&'a StepName, &'a Step)>,
) -> Result<BTreeMap<EnvName, Secret>, CliError> {
    let (mut secrets, mut missing) = (BTreeMap::new(), Vec::new());
    for (step_name, step) in steps {
        for name in &step.secrets {
            let value = match step.secret_files.get(name) {
                Some(file) => {
                    let path = base.join(file);
                    let bytes = context.sys.fs.read(&path).map_err(CliError::io(&path))?;
                    Some(String::from_utf8_lossy(&bytes).trim_end_matches('\n').to_owned())
                }
                None => context.sys.env.var(name.as_str()),
            };
            match value {
                Some(value) => {
                    secrets.insert(name.clone(), Secret(value));
                }
                None => missing.push(format!("`{name}` (step `{step_name}`)")),
            }
        }
    }
    if missing.is_empty() {
        Ok(secrets)
    } else {
        let hint = "set them in the environment, or name a file: `secrets: { NAME: { file: PATH } }`";
        Err(CliError::Usage(format!("secrets are not set: {}", missing.join(", ")), Some(hint.to_owned())))
    }
}
