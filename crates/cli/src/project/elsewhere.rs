//! Data at addresses: listed, and fetched where its bytes are wanted.

use std::path::{Path, PathBuf};

use prunella_attempt::Way;
use prunella_model::{ByteSize, DataName, Digest, FOLDER, Listing};
use prunella_objects::Elsewhere;
use prunella_remote::Lakes;
use prunella_store::Moved;
use prunella_sys::random_hex;

use crate::{answer::note, context::Context, error::CliError, open, present::count, progress::following};

/// Returns the path that an address of this machine names.
pub fn folder(address: &str) -> Option<&str> {
    address.strip_prefix(FOLDER)
}

/// Returns the buckets of others as this machine reaches them.
///
/// # Errors
/// [`CliError::Usage`] if the environment says something that cannot be.
fn lakes(context: &Context) -> Result<Lakes, CliError> {
    Ok(Lakes::new(&context.sys, open::bucket(context)?))
}

/// Returns what lies at an address; something does.
///
/// # Errors
/// [`CliError::Refused`] if nothing lies there; the service's own.
pub async fn list(context: &Context, name: &DataName, url: &str) -> Result<Listing, CliError> {
    let listing = lakes(context)?.list(url).await?;
    if listing.objects.is_empty() {
        let hint = match url.split('?').next().is_some_and(|place| place.ends_with('/')) {
            true => "nothing lies below it: look at the name, and that the credentials are those of its readers",
            false => {
                "an address without `/` at its end is the one object of that name: for all below it, end it with `/`"
            }
        };
        return Err(CliError::Refused(format!("data.{name}: nothing lies at `{url}`"), Some(hint.to_owned())));
    }
    Ok(listing)
}

/// Returns the base name under which what is fetched is laid out.
pub fn base_name(url: &str) -> &str {
    let place = url.split(['?', '#']).next().unwrap_or(url).trim_end_matches('/');
    place.rsplit('/').next().unwrap_or(place)
}

/// Returns where the bytes of an address lie on this machine; what is listed as it was before is not fetched again.
///
/// # Errors
/// As [`list`]; [`CliError::Io`] if there is no room.
pub async fn fetched(context: &Context, name: &DataName, url: &str) -> Result<PathBuf, CliError> {
    let listing = list(context, name, url).await?;
    let fs = &*context.sys.fs;
    let all = context.cache().join("fetched").join(&Digest::of(listing.url.as_bytes()).hex()[..32]);
    let folder = all.join(listing.artifact().digest.hex());
    let path = folder.join(base_name(url));
    if fs.metadata(&folder).map_err(CliError::io(&folder))?.is_some() {
        return Ok(path);
    }
    let (objects, size) = (count(listing.objects.len(), "object"), ByteSize(listing.size_bytes()));
    note(&format!("fetching data.{name} (`{url}`): {objects}, {size}"));
    fs.create_dir_all(&all).map_err(CliError::io(&all))?;
    let part = all.join(format!("{}-{}", open::owned_name(context, PART), random_hex(&*context.sys.random, 4)));
    fs.create_dir(&part).map_err(CliError::io(&part))?;
    let (lakes, to) = (lakes(context)?, part.join(base_name(url)));
    let far = || Moved { done: lakes.fetched(), all: listing.size_bytes() };
    let fetched = following(context, Way::Fetching, far, lakes.fetch(url, &listing, &to)).await;
    // Whoever was faster has fetched the same.
    let named = fetched.map_err(CliError::from).and_then(|()| {
        fs.sync_dir(&part).map_err(CliError::io(&part))?;
        fs.rename_noreplace(&part, &folder).map(drop).map_err(CliError::io(&folder))
    });
    let _gone_or_renamed = fs.remove_dir_all(&part);
    named?;
    forget(context, &all, &folder);
    Ok(path)
}

/// How what is not whole yet begins.
const PART: &str = "part-";

/// So many older states of an address are kept: somebody may just read one.
const KEPT: usize = 1;

/// Removes older states of an address, and what dead processes left of theirs.
fn forget(context: &Context, all: &Path, newest: &Path) {
    let fs = &*context.sys.fs;
    open::remove_dead(context, all, PART);
    let Ok(entries) = fs.list(all) else { return };
    let mut older = Vec::new();
    for entry in entries.into_iter().filter(|entry| !entry.name.to_string_lossy().starts_with(PART)) {
        let path = all.join(&entry.name);
        if path != newest
            && let Ok(Some(meta)) = fs.metadata(&path)
        {
            older.push((meta.mtime_ns, path));
        }
    }
    older.sort();
    let most = older.len().saturating_sub(KEPT);
    for (_, path) in &older[..most] {
        let _somebody_else_did = fs.remove_dir_all(path);
    }
}
