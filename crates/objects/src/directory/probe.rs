//! Whether a plain directory is fit to be a store.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use prunella_sys::{Sys, random_hex};
use tokio::task::JoinSet;

use super::filesystem::FileSystem;
use super::{Directory, meeting};
use crate::error::ObjectsError;
use crate::fitness::{Figures, Finding, Report, Verdict, finding};
use crate::key::ObjectKey;
use crate::objects::{Created, Objects};

/// How many writers race for one object.
const RACERS: usize = 50;
/// How many races are held.
const RACES: usize = 5;
/// How often each time is measured.
const TIMES: usize = 9;
/// How much is written and read back.
const BULK_BYTES: usize = 16 << 20;

/// Finds out whether `dir` is fit to be a store. What it writes lies in a folder of its own beside, which is removed.
///
/// `met` is where this machine notes which directories of other machines were found fit.
///
/// # Errors
/// What the file system says if nothing can be written there.
pub async fn check(sys: &Sys, dir: &Path, met: &Path) -> Result<Report, ObjectsError> {
    let mut findings = vec![place(sys, dir, met)];
    let beside = dir.ancestors().find(|path| matches!(sys.fs.metadata(path), Ok(Some(_)))).unwrap_or(Path::new("."));
    let scratch = beside.join(format!("probe-{}", random_hex(&*sys.random, 8)));
    let looked = look(sys, &scratch).await;
    let removed = sys.fs.remove_dir_all(&scratch);
    let (more, figures) = looked?;
    findings.extend(more);
    findings.push(match removed {
        Ok(()) => finding("deletion", Verdict::Good, "what was written for this is deleted again"),
        Err(error) => {
            finding("deletion", Verdict::Note, format!("`{}` could not be removed: {error}", scratch.display()))
        }
    });
    Ok(Report { findings, figures })
}

/// Says whose file system it is.
fn place(sys: &Sys, dir: &Path, met: &Path) -> Finding {
    let Some(system) = FileSystem::of(sys, dir) else {
        return finding(
            "filesystem",
            Verdict::Note,
            "it is not known which; a store is safe here for one machine only",
        );
    };
    let shown = format!("{}, mounted at `{}`", system.kind, system.point.display());
    if system.is_foreign() {
        return match meeting::is_fit(sys, dir, met) {
            Ok(()) => finding(
                "filesystem",
                Verdict::Good,
                format!("{shown}: others' changes were seen at once when machines met"),
            ),
            Err(ObjectsError::Unfit { message, .. }) => finding("filesystem", Verdict::Unfit, message),
            Err(error) => finding("filesystem", Verdict::Unfit, error.to_string()),
        };
    }
    if system.is_memory() {
        return finding("filesystem", Verdict::Note, format!("{shown}: it is gone with the next boot"));
    }
    finding("filesystem", Verdict::Good, format!("{shown}: for any number of processes of this machine"))
}

fn key(text: &str) -> ObjectKey {
    ObjectKey::new(text).expect("the names of a probe are keys")
}

async fn look(sys: &Sys, scratch: &Path) -> Result<(Vec<Finding>, Option<Figures>), ObjectsError> {
    // Two handles, as two processes have.
    let stores = [Directory::open_anywhere(sys, scratch)?, Directory::open_anywhere(sys, scratch)?].map(Arc::new);
    let mut found = Vec::new();
    let first = stores[0].create(&key("once"), "first".into()).await?;
    let again = stores[1].create(&key("once"), "second".into()).await?;
    found.push(if first == Created::New && again == Created::There("first".into()) {
        finding("create if absent", Verdict::Good, "a second create is refused and changes nothing")
    } else {
        finding("create if absent", Verdict::Unfit, "a second create replaced the first, or was not told of it")
    });
    found.push(races(&stores).await?);
    found.push(order(&stores[0]).await?);
    found.push(hints(&stores).await?);
    if found.iter().any(|finding| finding.verdict == Verdict::Unfit) {
        return Ok((found, None));
    }
    Ok((found, Some(figures(sys, &stores[0]).await?)))
}

async fn races(stores: &[Arc<Directory>; 2]) -> Result<Finding, ObjectsError> {
    for race in 0..RACES {
        let slot = key(&format!("race/{race}"));
        let mut writers = JoinSet::new();
        for writer in 0..RACERS {
            let (store, slot) = (stores[writer % 2].clone(), slot.clone());
            writers.spawn(async move { store.create(&slot, Bytes::from(format!("writer {writer:03}"))).await });
        }
        let outcomes: Result<Vec<_>, _> = writers.join_all().await.into_iter().collect();
        let winners = outcomes?.iter().filter(|outcome| **outcome == Created::New).count();
        if winners != 1 {
            let text = format!("of {RACERS} creates at once, {winners} were told that they won");
            return Ok(finding("races", Verdict::Unfit, text));
        }
    }
    let text = format!("of {RACERS} creates at once exactly one wins, in {RACES} of {RACES} races");
    Ok(finding("races", Verdict::Good, text))
}

async fn order(store: &Directory) -> Result<Finding, ObjectsError> {
    let names = ["order/A", "order/a", "order/a-b", "order/a/b", "order/a0", "order/b"].map(key);
    for name in names.iter().rev() {
        let _there_if_names_are_one = store.create(name, "x".into()).await?;
    }
    let listed: Vec<_> = store.list("order/", None, 100).await?.into_iter().map(|listed| listed.key).collect();
    Ok(if listed == names {
        finding("order", Verdict::Good, "listings are whole, and in the order of bytes")
    } else {
        let text = "names that differ only in case are one file here: objects would be taken for each other";
        finding("order", Verdict::Unfit, text)
    })
}

async fn hints(stores: &[Arc<Directory>; 2]) -> Result<Finding, ObjectsError> {
    let hint = key("hint");
    for text in ["1", "2"] {
        stores[0].overwrite(&hint, text.into()).await?;
        if stores[1].get(&hint).await? != Some(text.into()) {
            return Ok(finding("hints", Verdict::Note, "what was overwritten was read as it was before"));
        }
    }
    Ok(finding("hints", Verdict::Good, "what is overwritten is read anew at once"))
}

async fn figures(sys: &Sys, store: &Directory) -> Result<Figures, ObjectsError> {
    let (mut put, mut get, mut list) = (Vec::new(), Vec::new(), Vec::new());
    let clock = &sys.clock;
    for n in 0..TIMES {
        let name = key(&format!("figures/{n}"));
        let begun = clock.monotonic();
        let _new = store.create(&name, "a record".into()).await?;
        let written = clock.monotonic();
        let _there = store.get(&name).await?;
        let read = clock.monotonic();
        let _all = store.list("figures/", None, 10).await?;
        put.push(written - begun);
        get.push(read - written);
        list.push(clock.monotonic() - read);
    }
    let mut bulk = vec![0; BULK_BYTES];
    sys.random.fill(&mut bulk);
    let begun = clock.monotonic();
    let _new = store.create(&key("bulk"), bulk.into()).await?;
    let sent = clock.monotonic();
    let _there = store.get(&key("bulk")).await?;
    let back = clock.monotonic() - sent;
    Ok(Figures::of([put, get, list], BULK_BYTES, sent - begun, back))
}
