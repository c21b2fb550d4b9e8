//! `prunella store check`: whether a bucket or a plain directory is fit to be a store.

use std::{path::Path, time::Duration};

use clap::{Args, Subcommand};
use prunella_objects::directory::{self, Meeting, meet};
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
    /// Find out whether Prunella is safe in a bucket or a directory: conditions, races, visibility, order, speed.
    ///
    /// Writes under `probe/` of a bucket's prefix, or beside the directory, and deletes it again. Exits 78 if it is not fit.
    Check(Check),
}

#[derive(Debug, Args)]
struct Check {
    /// The bucket or the directory, as `s3://BUCKET/PREFIX` or `dir://PATH` [default: the store that is named otherwise].
    url: Option<String>,

    /// Find out whether machines that share a directory (NFS) see at once what each does: run this on all of them at the same
    /// time, with the same new word.
    #[arg(long, value_name = "WORD")]
    meet: Option<String>,

    /// How many machines meet.
    #[arg(long, value_name = "N", default_value_t = 2, requires = "meet")]
    machines: usize,
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
        let failed = |error| CliError::Store(StoreError::Objects(error));
        let (shown, report) = match &named {
            Some(StoreAt::Bucket(url)) if self.meet.is_none() => {
                let report = check(&context.sys, url, &open::bucket(context)?, Depth::Thorough).await;
                (url.to_string(), report.map_err(failed)?)
            }
            Some(at @ StoreAt::Plain(dir)) => {
                let met = open::met(context);
                let mut report = match &self.meet {
                    None => Report { findings: Vec::new(), figures: None },
                    Some(word) => self.met(context, dir, word, &met).await?,
                };
                if report.is_fit() {
                    let more = directory::check(&context.sys, dir, &met).await.map_err(failed)?;
                    report.findings.extend(more.findings);
                    report.figures = more.figures;
                }
                (at.to_string(), report)
            }
            Some(StoreAt::Bucket(_)) => {
                return Err(CliError::Usage(
                    "machines meet in a directory that they share, not in a bucket".to_owned(),
                    None,
                ));
            }
            Some(StoreAt::Directory(_)) | None => {
                let hint = "for a store with SQLite, `prunella doctor --store DIR` measures and checks";
                return Err(CliError::Usage(
                    "name a bucket or a plain directory: `prunella store check s3://BUCKET/PREFIX`, `… dir://PATH`"
                        .to_owned(),
                    Some(hint.to_owned()),
                ));
            }
        };
        match context.output {
            Output::Json => say_json(&json(&shown, &report))?,
            Output::Text => say(&text(&shown, &report, matches!(named, Some(StoreAt::Plain(_)))))?,
        }
        Ok(if report.is_fit() { 0 } else { 78 })
    }

    /// Meets the other machines.
    async fn met(&self, context: &Context, dir: &Path, word: &str, met: &Path) -> Result<Report, CliError> {
        let good = !word.is_empty() && word.len() <= 40 && word.bytes().all(|b| b.is_ascii_alphanumeric());
        if !good || self.machines < 2 {
            let hint = "as `--meet monday --machines 2`: a word of letters and digits, and at least two machines";
            return Err(CliError::Usage("nobody can meet so".to_owned(), Some(hint.to_owned())));
        }
        let meeting = Meeting { word: word.to_owned(), machines: self.machines, patience: PATIENCE };
        let found = meet(&context.sys, dir, &meeting, met).await;
        let found = found.map_err(|error| CliError::Store(StoreError::Objects(error)))?;
        Ok(Report { findings: vec![found], figures: None })
    }
}

/// How long machines wait for each other; caches of a minute are waited out, so that they are named.
const PATIENCE: Duration = Duration::from_secs(180);

fn text(url: &str, report: &Report, is_plain: bool) -> String {
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
        None if is_plain => "a store is safe here, for whoever is named above".to_owned(),
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
