//! The report for people on a terminal.

use prunella_journal::is_interruption;

use super::{
    Report, RunReport,
    parts::{HEADS, about_corruption, ends_by_class, percent, recovery_parts, rows},
};
use crate::present::{Line, Paint, Tone, columns, lasting, put, short};

/// Returns the report for people: the table, then what is behind it.
pub fn text(paint: Paint, report: &Report) -> String {
    let mut lines = vec![Line(Tone::Dim, HEADS.map(str::to_owned).to_vec())];
    lines.extend(rows(report).into_iter().map(|row| Line(Tone::Plain, row.to_vec())));
    let mut out = columns(paint, &lines);
    let of = |ms: Option<prunella_model::Span>| ms.map_or_else(|| "–".to_owned(), |span| lasting(span.as_millis()));
    let parts = recovery_parts(report.runs.iter());
    if parts.iter().any(|part| !part.spans.is_empty()) {
        let mut lines = vec![Line(Tone::Dim, ["recovery", "mean", "p50", "p99"].map(str::to_owned).to_vec())];
        lines.extend(parts.iter().map(|part| {
            let cells = vec![part.name.to_owned(), of(part.mean()), of(part.at(50)), of(part.at(99))];
            Line(Tone::Plain, cells)
        }));
        out.push('\n');
        out.push_str(&columns(paint, &lines));
    }
    out.push('\n');
    for run in &report.runs {
        about(&mut out, report, run);
    }
    put(&mut out, format_args!("{}\n", about_corruption(report)));
    if let (true, Some((spent, lost))) = (report.runs.len() > 1, report.spend(&report.runs)) {
        put(&mut out, format_args!("spent in all: {spent:.2}, of that lost {lost:.2}\n"));
    }
    out
}

fn about(out: &mut String, report: &Report, run: &RunReport) {
    let figures = &run.figures;
    put(
        out,
        format_args!(
            "{} #{} {}: {}, driven for {}",
            run.pipeline,
            run.order,
            short(&run.run),
            run.condition.as_str(),
            lasting(figures.wall.as_millis())
        ),
    );
    put(
        out,
        format_args!(
            "; lost {} of {} computed ({})",
            lasting(figures.lost.as_millis()),
            lasting(figures.compute.as_millis()),
            percent(figures.waste())
        ),
    );
    let by: Vec<String> =
        figures.lost_by.iter().map(|(reason, span)| format!("{reason} {}", lasting(span.as_millis()))).collect();
    if !by.is_empty() {
        put(out, format_args!(": {}", by.join(", ")));
    }
    out.push('\n');
    for (class, ends) in ends_by_class(figures) {
        let what = if is_interruption(class) { "interruption" } else { "no interruption" };
        put(out, format_args!("  {class}: {} ({what}), {} recovered\n", ends.ends, ends.recovered));
    }
    if figures.damaged > 0 {
        put(out, format_args!("  {} commits were damaged in the storage and marked\n", figures.damaged));
    }
    if let Some((spent, lost)) = report.spend([run]) {
        put(out, format_args!("  spent {spent:.2}, of that lost {lost:.2}\n"));
    }
    if !run.coverage.gaps.is_empty() {
        let gaps: Vec<&str> = run.coverage.gaps.iter().map(String::as_str).collect();
        put(out, format_args!("  lineage ends early: {}\n", gaps.join(", ")));
    }
}
