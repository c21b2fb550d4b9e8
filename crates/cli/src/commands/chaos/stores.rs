//! Where the stores of the runs lie: beside them, or where the store that was named lies.

use std::path::Path;

use prunella_chaos::Sites;
use prunella_remote::{Options, StoreUrl, is_empty};
use prunella_sys::random_hex;

use super::clear;
use crate::{answer::note, context::Context, error::CliError, open, project::StoreAt};

/// Where copies of what was looked at lie, among the directories of the runs.
const SEEN: &str = ".seen";

/// Removes what a run left, and its store.
pub(super) async fn clear_run(context: &Context, sites: &Sites, home: &Path) {
    if let Err(error) = sites.clear(&context.sys, home).await {
        note(&format!("{} is left: {error}", sites.of(home).word().display()));
    }
    clear(context, home);
}

/// Removes what all runs left, and their stores.
pub(super) async fn clear_all(context: &Context, sites: &Sites, dir: &Path) {
    for home in context.sys.fs.list(dir).unwrap_or_default() {
        if home.name != SEEN {
            clear_run(context, sites, &dir.join(home.name)).await;
        }
    }
    let _left = sites.clear_place(&context.sys);
    clear(context, dir);
}

/// Returns where the stores lie: below a name of their own in a bucket or a plain directory that was named, otherwise beside the runs.
///
/// # Errors
/// [`CliError::Store`] if the bucket cannot be used, or something lies there.
pub(super) async fn sites(context: &Context, dir: &Path) -> Result<Sites, CliError> {
    let name = format!("prunella-chaos-{}", random_hex(&*context.sys.random, 8));
    match &context.store {
        None | Some(StoreAt::Directory(_)) => Ok(Sites::Beside),
        Some(StoreAt::Plain(at)) => {
            let at = std::path::absolute(at).map_err(CliError::io(at))?.join(name);
            context.sys.fs.create_dir_all(&at).map_err(CliError::io(&at))?;
            Ok(Sites::Plain(at))
        }
        Some(StoreAt::Bucket(url)) => {
            let prefix = match url.prefix.as_str() {
                "" => name,
                prefix => format!("{prefix}/{name}"),
            };
            let url = StoreUrl { prefix, ..url.clone() };
            // What looks on keeps no copies where engines keep theirs: it must see what is in the bucket.
            let engines = open::bucket(context)?;
            let options = Options { cache: dir.join(SEEN), ..engines.clone() };
            if !is_empty(&context.sys, &url, &options).await? {
                return Err(CliError::Refused(format!("something lies below {url}"), Some("try again".to_owned())));
            }
            Ok(Sites::Bucket { url: Box::new(url), options: Box::new(options), copies: engines.cache })
        }
    }
}
