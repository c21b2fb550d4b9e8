//! What a report has in several forms: the parts of recoveries, ends by class, cells of the table.

use std::collections::BTreeMap;

use prunella_journal::{Interruption, Recovery, RunMetrics, mean, percentile};
use prunella_model::{Class, Span};
use serde_json::Value;

use super::{Checked, Report, RunReport, row_of};
use crate::{
    present::{lasting, short},
    resilience::Resilience,
};

/// A part of a recovery over many of them.
pub struct Part {
    /// Its name in docs/metrics.md.
    pub name: &'static str,
    /// How long it took in each, sorted.
    pub spans: Vec<Span>,
}

impl Part {
    /// Returns the mean.
    pub fn mean(&self) -> Option<Span> {
        mean(&self.spans)
    }

    /// Returns a percentile.
    pub fn at(&self, per_cent: u32) -> Option<Span> {
        percentile(&self.spans, per_cent)
    }
}

/// Returns the parts of all recoveries from interruptions, in their order.
pub fn recovery_parts<'a>(runs: impl Iterator<Item = &'a RunReport>) -> Vec<Part> {
    let interruptions = runs.flat_map(|run| &run.figures.interruptions);
    let recoveries: Vec<&Recovery> = interruptions.filter_map(|one| one.recovery.as_ref()).collect();
    let part = |name, of: fn(&Recovery) -> Option<Span>| {
        let mut spans: Vec<Span> = recoveries.iter().filter_map(|recovery| of(recovery)).collect();
        spans.sort_unstable();
        Part { name, spans }
    };
    vec![
        part("detect", |recovery| Some(recovery.detect)),
        part("decide", |recovery| Some(recovery.decide)),
        part("backoff", |recovery| Some(recovery.backoff)),
        part("capacity", |recovery| Some(recovery.capacity)),
        part("restore", |recovery| Some(recovery.restore)),
        part("replay", |recovery| recovery.replay),
    ]
}

/// The ends of one class.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Ends {
    /// How many there were.
    pub ends: u64,
    /// How many were followed by a process of the same step.
    pub recovered: u64,
}

/// Returns the ends of attempts without a commit by class: interruptions and all others.
pub fn ends_by_class(figures: &RunMetrics) -> BTreeMap<Class, Ends> {
    let mut by = BTreeMap::<Class, Ends>::new();
    for Interruption { class, recovery, .. } in figures.interruptions.iter().chain(&figures.failures) {
        let ends = by.entry(*class).or_default();
        ends.ends += 1;
        ends.recovered += u64::from(recovery.is_some());
    }
    by
}

/// The heads of the table.
pub const HEADS: [&str; 6] =
    ["", "interruptions", "MTTR p50 / p99", "artifact corruption", "compute waste (bound)", "lineage"];

/// Returns the rows of the table: one a run, and one of all if there are several.
pub fn rows(report: &Report) -> Vec<[String; 6]> {
    let mut rows: Vec<[String; 6]> = report
        .runs
        .iter()
        .map(|run| {
            let name = format!("{} #{} {}", run.pipeline, run.order, short(&run.run));
            cells(name, &row_of(std::iter::once(run)), run.wrong(), u64::from(run.figures.corrupt))
        })
        .collect();
    if report.runs.len() > 1 {
        let differing = report.runs.iter().map(|run| u64::from(run.figures.corrupt)).sum();
        rows.push(cells(format!("all {} runs", report.runs.len()), &report.all(), report.wrong(), differing));
    }
    rows
}

fn cells(name: String, row: &Resilience, wrong: Option<u64>, differing: u64) -> [String; 6] {
    let row = row.json();
    let ms = |value: &Value| value.as_u64().map_or_else(|| "–".to_owned(), lasting);
    let per_cent = |value: &Value| value.as_f64().map_or_else(|| "–".to_owned(), percent);
    let interruptions = row["interruptions"].as_u64().unwrap_or_default();
    let corruption = match (wrong, differing) {
        (Some(wrong), _) if interruptions > 0 => {
            format!("{wrong} ({})", percent(wrong as f64 / interruptions as f64))
        }
        (Some(wrong), _) => wrong.to_string(),
        (None, 0) => "not checked".to_owned(),
        (None, differing) => format!("at least {differing}"),
    };
    [
        name,
        format!("{interruptions}, {} recovered", row["recovered"]),
        format!("{} / {}", ms(&row["mttr"]["p50_ms"]), ms(&row["mttr"]["p99_ms"])),
        corruption,
        format!("{} ({})", per_cent(&row["waste"]), per_cent(&row["waste_bound"])),
        row["lineage"].as_f64().map_or_else(|| "–".to_owned(), |share| format!("{} %", (share * 100.0).floor())),
    ]
}

/// Returns a share as people read it.
pub fn percent(share: f64) -> String {
    format!("{:.1} %", 100.0 * share)
}

/// Returns a sentence about how corruption is known, if the table does not say it.
pub fn about_corruption(report: &Report) -> String {
    let files: usize = report
        .runs
        .iter()
        .map(|run| match run.checked {
            Checked::No => 0,
            Checked::Bytes { files, .. } => files,
        })
        .sum();
    match report.wrong() {
        Some(0) => format!("artifact corruption: {files} files were read again, each is what its commit says"),
        Some(_) => format!("artifact corruption: {files} files were read again; `prunella verify` names what is wrong"),
        None => "artifact corruption: a journal does not know the bytes; `prunella report --verify` reads them again"
            .to_owned(),
    }
}
