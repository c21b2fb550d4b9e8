//! `prunella report`: what interruptions cost, for one run or several.

use std::path::PathBuf;

use clap::Args;
use prunella_model::RunId;
use prunella_store::{RunListed, Store};

use super::{reading, verify, which_run};
use crate::{
    answer::{note, say, say_json},
    args::Output,
    context::Context,
    error::CliError,
    otlp::Otlp,
    present::{Paint, count, path, short},
    report::{Checked, Report, RunReport, json, page, text},
    whole_file::write_whole,
};

/// Show what interruptions cost, for one run or several.
///
/// Time to recover, artifact corruption, compute waste and lineage, from the journals alone: of the newest run, those that
/// are named, or the newest so many. A run that goes on is shown as it stands.
#[derive(Debug, Args)]
pub struct ReportCommand {
    /// The runs, or the beginnings of their ids [default: the newest].
    #[arg(value_name = "RUN")]
    runs: Vec<String>,

    /// The newest N runs.
    #[arg(long, value_name = "N", conflicts_with = "runs")]
    last: Option<usize>,

    /// Only runs of this pipeline; without `--last` all of them.
    #[arg(long, value_name = "NAME", conflicts_with = "runs")]
    pipeline: Option<String>,

    /// Read the bytes of all artifacts again, so that corruption is known.
    #[arg(long)]
    verify: bool,

    /// What an hour of the machine costs: spend is shown, too.
    #[arg(long, value_name = "PRICE", value_parser = price)]
    price: Option<f64>,

    /// Write a page with time lines and plots to this file; it needs nothing beside itself.
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,

    /// Write the figures in the text format of Prometheus to this file: of each pipeline, those of its newest run here.
    #[arg(long, value_name = "FILE")]
    metrics_file: Option<PathBuf>,

    /// Send the traces of these runs to the receiver of OpenTelemetry that the environment or prunella.toml names.
    #[arg(long)]
    otlp: bool,

    #[command(flatten)]
    to: Otlp,
}

fn price(text: &str) -> Result<f64, String> {
    let price = text.parse::<f64>().ok().filter(|price| price.is_finite() && *price >= 0.0);
    price.ok_or_else(|| "write what an hour costs as a number, such as `2.5`".to_owned())
}

impl ReportCommand {
    /// Runs.
    ///
    /// # Errors
    /// [`CliError`] if there is no such run, no run can be read, or the page cannot be written.
    pub async fn run(&self, context: &Context) -> Result<u8, CliError> {
        let store = reading(context).await?;
        let mut report = Report { runs: Vec::new(), unread: Vec::new(), price: self.price };
        let mut first_error = None;
        for listed in self.listed(&store).await? {
            match self.read(context, &store, &listed).await {
                Ok(run) => report.runs.push(run),
                Err(error) => {
                    report.unread.push((listed.run, error.message()));
                    first_error.get_or_insert(error);
                }
            }
        }
        if let (true, Some(error)) = (report.runs.is_empty(), first_error) {
            return Err(error);
        }
        for (run, why) in &report.unread {
            note(&format!("run {} could not be read: {why}", short(run)));
        }
        for run in &report.runs {
            crate::history::tell_damage(run.damage.as_deref(), "reported");
        }
        if let Some(file) = &self.html {
            write_whole(&context.sys, file, page(&report).as_bytes())?;
        }
        if let Some(file) = &self.metrics_file {
            write_whole(&context.sys, file, report.figures(env!("CARGO_PKG_VERSION")).as_bytes())?;
        }
        if self.otlp || self.to.otlp_endpoint.is_some() {
            self.send(context, &store, &report).await?;
        }
        match context.output {
            Output::Json => say_json(&json(&report))?,
            Output::Text => say(&text(Paint::of(context), &report))?,
        }
        if let Some(file) = &self.html {
            note(&format!("the page is {}", path(file)));
        }
        Ok(0)
    }

    /// Sends the traces of what is reported.
    async fn send(&self, context: &Context, store: &Store, report: &Report) -> Result<(), CliError> {
        let settings = self.to.settings(context)?;
        if settings.traces.is_none() {
            let hint = "name one with `--otlp-endpoint http://127.0.0.1:4318`, or in OTEL_EXPORTER_OTLP_ENDPOINT";
            return Err(CliError::Usage("no receiver of traces is named".to_owned(), Some(hint.to_owned())));
        }
        for run in &report.runs {
            let sent = run.send(context, store, &settings).await?;
            note(&format!("run {}: {} sent", short(&run.run), count(sent, "span")));
        }
        Ok(())
    }

    async fn read(&self, context: &Context, store: &Store, listed: &RunListed) -> Result<RunReport, CliError> {
        let checked = match self.verify {
            true => {
                let (files, wrong) = verify::wrong_artifacts(context, store, &listed.run).await?;
                Checked::Bytes { files, wrong }
            }
            false => Checked::No,
        };
        RunReport::of(store, listed, checked).await
    }

    /// Returns the runs that are asked for, the newest first.
    async fn listed(&self, store: &Store) -> Result<Vec<RunListed>, CliError> {
        let mut listed = store.runs().await?;
        listed.sort_by_key(|run| std::cmp::Reverse((run.at_ms, run.order)));
        if let Some(pipeline) = &self.pipeline {
            let mut names: Vec<String> = listed.iter().map(|run| run.pipeline.to_string()).collect();
            listed.retain(|run| run.pipeline.as_str() == pipeline);
            if listed.is_empty() {
                names.sort();
                names.dedup();
                let names: Vec<&str> = names.iter().map(String::as_str).collect();
                let hint = super::among("pipelines", &names);
                return Err(CliError::Usage(format!("no run of a pipeline `{pipeline}`"), Some(hint)));
            }
        }
        let most = self.last.unwrap_or(if self.pipeline.is_some() { usize::MAX } else { 1 });
        if self.runs.is_empty() {
            if listed.is_empty() {
                // Says what to do.
                which_run(store, None).await?;
            }
            listed.truncate(most);
            return Ok(listed);
        }
        let mut wanted: Vec<RunId> = Vec::new();
        for text in &self.runs {
            let run = which_run(store, Some(text)).await?;
            if !wanted.contains(&run) {
                wanted.push(run);
            }
        }
        listed.retain(|run| wanted.contains(&run.run));
        Ok(listed)
    }
}
