//! The store that is there, and the disk on which it lies or would lie.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use bytes::Bytes;
use prunella_model::ByteSize;
use prunella_objects::{Embedded, ObjectKey, Objects, ObjectsError};
use prunella_store::{Store, StoreError};
use prunella_sys::{ReadLease, random_hex, read_lease};

use super::{Check, Health, check, filesystem};
use crate::{
    context::Context,
    error::CliError,
    open,
    present::{count, path},
    project::{Place, StoreAt},
};

/// How many writes are measured: the middle one counts.
const TIMES: usize = 21;
/// Less free space than this and a run will stumble soon.
const LITTLE: u64 = 1 << 30;
/// Nobody holds the lock of a store longer than this, unless something is wrong.
const PATIENCE: Duration = Duration::from_secs(5);

/// Looks at the store that is there.
pub async fn existing(context: &Context, place: &Place) -> Check {
    let dir = match &place.store {
        StoreAt::Directory(dir) => dir,
        StoreAt::Plain(_) | StoreAt::Bucket(_) => return elsewhere(context, &place.store).await,
    };
    let shown = path(dir);
    if matches!(context.sys.fs.metadata(dir), Ok(None)) {
        return check("store", Health::Good, format!("none yet at `{shown}`; the first run makes it"), "");
    }
    let reads = match open::store_read_only(context, &place.store).await {
        Ok(store) => store.runs().await.map_err(CliError::from),
        Err(error) => Err(error),
    };
    let help = "see whether the directory is a store, and whether you may read it";
    match reads {
        Err(error) => check("store", Health::Bad, format!("`{shown}`: {}", error.message()), help),
        Ok(runs) => match Embedded::open(&context.sys, dir) {
            Ok(objects) => {
                if let Some(found) = held(context, dir).await {
                    let help =
                        "a process that hangs in the middle of a write holds it: `fuser` on its store.db names it";
                    return check("store", Health::Bad, format!("`{shown}`: {found}"), help);
                }
                let id = Store::new(std::sync::Arc::new(objects), context.sys.clone()).id().to_owned();
                check("store", Health::Good, format!("`{shown}`: {}, id {id}", count(runs.len(), "run")), "")
            }
            Err(error) => {
                let found = format!("`{shown}`: {}, but it cannot be written: {error}", count(runs.len(), "run"));
                check("store", Health::Note, found, "you can look at its runs; give write access to run")
            }
        },
    }
}

/// Looks at a store in a bucket or a plain directory; whether it is fit to be one, `prunella store check` finds out.
async fn elsewhere(context: &Context, store: &StoreAt) -> Check {
    let reads = match open::store_read_only(context, store).await {
        Ok(store) => store.runs().await.map(|runs| (runs.len(), store.id().to_owned())).map_err(CliError::from),
        Err(error) => Err(error),
    };
    match reads {
        Ok((runs, id)) => check("store", Health::Good, format!("`{store}`: {}, id {id}", count(runs, "run")), ""),
        Err(CliError::Store(StoreError::Objects(ObjectsError::NoStore { .. }))) => {
            check("store", Health::Good, format!("none yet at `{store}`; the first run makes it"), "")
        }
        Err(error) => {
            let help = "`prunella store check URL` says what is missing: credentials, rights, or the bucket itself";
            check("store", Health::Bad, error.message(), help)
        }
    }
}

/// Takes the lock of a store and lets it go again, changing nothing; answers what is wrong.
async fn held(context: &Context, store: &Path) -> Option<String> {
    tokio::select! {
        taken = Embedded::take_lock(&context.sys, store) => taken.err().map(|error| format!("it cannot be locked: {error}")),
        () = context.sys.clock.sleep(PATIENCE) => {
            Some(format!("another process holds its lock for more than {} s", PATIENCE.as_secs()))
        }
    }
}

/// Measures in a directory of its own, where the store is or would be, and removes it.
pub async fn measured(context: &Context, place: &Place) -> Vec<Check> {
    let fs = &*context.sys.fs;
    let beside = match place.local.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
        _ => PathBuf::from("."),
    };
    let dir = beside.join(format!(".prunella-doctor-{}", random_hex(&*context.sys.random, 6)));
    let mut checks = vec![space(context, &beside), filesystem::filesystem(context, &beside)];
    if let Err(error) = fs.create_dir(&dir) {
        let found = format!("`{}` cannot be written: {error}", path(&beside));
        checks.push(check("disk", Health::Bad, found, "give write access, or name another store with `--store DIR`"));
        return checks;
    }
    checks.push(fsync(context, &dir));
    checks.push(commit(context, &dir).await);
    checks.push(reflink(context, &dir));
    checks.push(leases(context, &dir));
    let _left_over = fs.remove_dir_all(&dir);
    checks
}

fn space(context: &Context, dir: &Path) -> Check {
    match context.sys.fs.free_space(dir) {
        Ok(free) => {
            let health = if free < LITTLE { Health::Bad } else { Health::Good };
            check(
                "space",
                health,
                format!("{} free", ByteSize(free)),
                "make room: runs keep results and checkpoints there",
            )
        }
        Err(error) => check("space", Health::Note, format!("unknown: {error}"), ""),
    }
}

fn middle(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times.get(times.len() / 2).copied().unwrap_or_default()
}

fn shown(time: Duration) -> String {
    format!("{:.2} ms", time.as_secs_f64() * 1000.0)
}

fn fsync(context: &Context, dir: &Path) -> Check {
    let (fs, clock) = (&*context.sys.fs, &*context.sys.clock);
    let mut times = Vec::new();
    for n in 0..TIMES {
        let path = dir.join(format!("f{n}"));
        let begun = clock.monotonic();
        let written = fs.create_new(&path).and_then(|mut file| {
            std::io::Write::write_all(&mut file, &[7; 4096])?;
            file.sync()
        });
        if let Err(error) = written.and_then(|()| fs.sync_dir(dir)) {
            let help = "nothing can be made durable there; name another store with `--store DIR`";
            return check("disk", Health::Bad, format!("cannot be written: {error}"), help);
        }
        times.push(clock.monotonic().saturating_sub(begun));
    }
    slow("disk", "a durable file of 4 KiB takes", middle(times))
}

async fn commit(context: &Context, dir: &Path) -> Check {
    let help = "the embedded store cannot work there; name another place with `--store DIR`";
    let objects = match Embedded::open(&context.sys, &dir.join("store")) {
        Ok(objects) => objects,
        Err(error) => return check("database", Health::Bad, error.to_string(), help),
    };
    let (mut writes, mut reads) = (Vec::new(), Vec::new());
    for n in 0..TIMES {
        let key = ObjectKey::new(format!("doctor/{n}")).expect("it is a key");
        let begun = context.sys.clock.monotonic();
        let created = objects.create(&key, Bytes::from_static(&[7; 512])).await.map(|_| ());
        let written = context.sys.clock.monotonic();
        let read = objects.get(&key).await.map(|bytes| bytes.is_some());
        match (created, read) {
            (Ok(()), Ok(true)) => {}
            (Err(error), _) | (_, Err(error)) => return check("database", Health::Bad, error.to_string(), help),
            (Ok(()), Ok(false)) => return check("database", Health::Bad, "a record that was written is gone", help),
        }
        writes.push(written.saturating_sub(begun));
        reads.push(context.sys.clock.monotonic().saturating_sub(written));
    }
    let what = format!("a record is read in {}, its commit takes", shown(middle(reads)));
    slow("database", &what, middle(writes))
}

fn slow(name: &'static str, what: &str, time: Duration) -> Check {
    let health = if time > Duration::from_millis(50) { Health::Note } else { Health::Good };
    check(name, health, format!("{what} {}", shown(time)), "short steps will wait for the disk; a local one is faster")
}

fn reflink(context: &Context, dir: &Path) -> Check {
    let (from, to) = (dir.join("f0"), dir.join("reflinked"));
    match context.sys.fs.reflink(&from, &to) {
        Ok(true) => check("reflink", Health::Good, "yes: large files are cloned, not copied", ""),
        Ok(false) => {
            let help =
                "inputs and checkpoints are copied; xfs and btrfs clone them, and `sealed` checkpoints are moved";
            check("reflink", Health::Note, "no", help)
        }
        Err(error) => check("reflink", Health::Note, format!("no: {error}"), ""),
    }
}

fn leases(_context: &Context, dir: &Path) -> Check {
    match read_lease(&dir.join("f0")) {
        Ok(ReadLease::Granted(_)) => check("leases", Health::Good, "yes: a snapshot knows that nobody writes", ""),
        Ok(ReadLease::Writers | ReadLease::Unsupported) | Err(_) => {
            let help = "snapshots compare size and times before and after instead; rename checkpoints into place";
            check("leases", Health::Note, "no", help)
        }
    }
}
