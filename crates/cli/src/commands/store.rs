//! `prunella store check`: whether a bucket is fit to be a store.

use clap::{Args, Subcommand};
use prunella_remote::{Depth, Figures, Report, Verdict, check};
use prunella_store::StoreError;

use crate::{
    answer::{say, say_json},
    args::Output,
    context::Context,
    error::CliError,
    open,
    project::StoreAt,
};

/// Look at stores themselves.
#[derive(Debug, Args)]
pub struct StoreCommand {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Find out whether Prunella is safe in a bucket: conditions, races, visibility, order, speed.
    ///
    /// Writes under `probe/` of the store's prefix and deletes it again. Exits 78 if the bucket is not fit.
    Check(Check),
}

#[derive(Debug, Args)]
struct Check {
    /// The bucket, as `s3://BUCKET/PREFIX` [default: the store that is named otherwise].
    url: Option<String>,
}

impl StoreCommand {
    /// Runs.
    ///
    /// # Errors
    /// [`CliError`] with what went wrong.
    pub async fn run(&self, context: &Context) -> Result<u8, CliError> {
        match &self.what {
            What::Check(command) => command.run(context).await,
        }
    }
}

impl Check {
    async fn run(&self, context: &Context) -> Result<u8, CliError> {
        let named = match &self.url {
            Some(url) => Some(StoreAt::named(url.as_ref())?),
            None => context.store.clone(),
        };
        let url = match named {
            Some(StoreAt::Bucket(url)) => url,
            Some(StoreAt::Directory(_)) | None => {
                let hint = "for a directory, `prunella doctor --store DIR` measures and checks";
                return Err(CliError::Usage(
                    "name a bucket: `prunella store check s3://BUCKET/PREFIX`".to_owned(),
                    Some(hint.to_owned()),
                ));
            }
        };
        let report = check(&context.sys, &url, &open::bucket(context)?, Depth::Thorough).await;
        let report = report.map_err(|error| CliError::Store(StoreError::Objects(error)))?;
        match context.output {
            Output::Json => say_json(&json(&url.to_string(), &report))?,
            Output::Text => say(&text(&url.to_string(), &report))?,
        }
        Ok(if report.is_fit() { 0 } else { 78 })
    }
}

fn text(url: &str, report: &Report) -> String {
    let mut lines = vec![url.to_owned()];
    let width = report.findings.iter().map(|finding| finding.name.len()).max().unwrap_or(0);
    for finding in &report.findings {
        let mark = match finding.verdict {
            Verdict::Good => '✓',
            Verdict::Note => '!',
            Verdict::Unfit => '✗',
        };
        lines.push(format!("{mark} {:width$}  {}", finding.name, finding.text));
    }
    if let Some(Figures { put, get, list, up_bytes_per_second, down_bytes_per_second }) = report.figures {
        let ms = |time: std::time::Duration| time.as_secs_f64() * 1000.0;
        let mib = |rate: f64| rate / f64::from(1 << 20);
        lines.push(format!(
            "  create {:.1} ms · read {:.1} ms · list {:.1} ms · one stream up {:.0} MiB/s, down {:.0} MiB/s",
            ms(put),
            ms(get),
            ms(list),
            mib(up_bytes_per_second),
            mib(down_bytes_per_second)
        ));
    }
    lines.push(match report.reason() {
        None => "a store is safe here, for any number of machines".to_owned(),
        Some(_) => "no store can be here: Prunella refuses to write to it".to_owned(),
    });
    lines.push(String::new());
    lines.join("\n")
}

fn json(url: &str, report: &Report) -> serde_json::Value {
    let findings = report.findings.iter().map(|finding| {
        let verdict = match finding.verdict {
            Verdict::Good => "good",
            Verdict::Note => "note",
            Verdict::Unfit => "unfit",
        };
        serde_json::json!({ "name": finding.name, "verdict": verdict, "text": finding.text })
    });
    let figures = report.figures.map(|figures| {
        serde_json::json!({
            "put_us": figures.put.as_micros() as u64,
            "get_us": figures.get.as_micros() as u64,
            "list_us": figures.list.as_micros() as u64,
            "up_bytes_per_second": figures.up_bytes_per_second.round(),
            "down_bytes_per_second": figures.down_bytes_per_second.round(),
        })
    });
    serde_json::json!({
        "store": url,
        "fit": report.is_fit(),
        "findings": findings.collect::<Vec<_>>(),
        "figures": figures,
    })
}
