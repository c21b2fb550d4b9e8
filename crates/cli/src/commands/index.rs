//! `prunella index`: what this machine knows of a store in a bucket.

use clap::{Args, Subcommand};
use prunella_remote::Remote;
use prunella_store::Store;
use serde_json::json;

use crate::{
    answer::{say, say_json},
    args::Output,
    context::Context,
    error::CliError,
    open,
    present::count,
    project::{Place, StoreAt},
};

/// Look after what this machine knows of a store in a bucket.
///
/// Ends of attempts never change, so that copies of those that were read once are kept on this machine, and a run that finds
/// everything there asks for nothing but names. It is only ever a copy: it may be deleted at any time.
#[derive(Debug, Args)]
pub struct Index {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Forget it, and read the ends of all attempts of the store.
    Rebuild,
}

impl Index {
    /// Runs.
    ///
    /// # Errors
    /// [`CliError`] with what went wrong.
    pub async fn run(&self, context: &Context) -> Result<u8, CliError> {
        match self.what {
            What::Rebuild => rebuild(context).await,
        }
    }
}

async fn rebuild(context: &Context) -> Result<u8, CliError> {
    let url = match Place::of(context, std::path::Path::new("pipeline.yaml")).store {
        StoreAt::Bucket(url) => url,
        StoreAt::Directory(dir) | StoreAt::Plain(dir) => {
            return Err(CliError::Usage(
                format!(
                    "the store in `{}` needs no index: its records are on this machine",
                    crate::present::path(&dir)
                ),
                Some("name a bucket: `prunella --store s3://BUCKET/PREFIX index rebuild`".to_owned()),
            ));
        }
    };
    let remote = Remote::open_existing(&context.sys, &url, &open::bucket(context)?).await?;
    remote.forget_records();
    let store = Store::new(std::sync::Arc::new(remote), context.sys.clone());
    let known = store.read_all_ends().await?;
    match context.output {
        Output::Json => say_json(&json!({ "store": url.to_string(), "attempts": known }))?,
        Output::Text => say(&format!("{} of {url} known on this machine\n", count(known, "ended attempt")))?,
    }
    Ok(0)
}
