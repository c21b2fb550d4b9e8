//! The report as one page that needs nothing beside itself: no network, no scripts; light and dark, readable without colours.

use std::fmt::Write;

use prunella_journal::is_interruption;

use super::{
    Report, RunReport,
    chart::chart,
    parts::{HEADS, about_corruption, ends_by_class, percent, recovery_parts, rows},
    plot::plot,
};
use crate::{
    markup::escaped,
    present::{attempt, lasting, moment},
};

const STYLE: &str = include_str!("style.css");
/// Of so many runs there are plots; the table has them all.
const PLOTTED: usize = 20;
/// So many interruptions of a run are listed one by one.
const LISTED: usize = 200;

const LEGEND: &str = "<p class=\"note legend\">\
<span><svg class=\"key\" viewBox=\"0 0 26 16\"><rect class=\"bring\" x=\"0\" y=\"3\" width=\"8\" height=\"10\"/>\
<rect class=\"bar committed\" x=\"8\" y=\"3\" width=\"14\" height=\"10\"/><circle class=\"commit\" cx=\"22\" cy=\"8\" r=\"3.4\"/></svg>brought up, ran, committed</span>\
<span><svg class=\"key\" viewBox=\"0 0 26 16\"><rect class=\"bar interrupted\" x=\"0\" y=\"3\" width=\"21\" height=\"10\"/>\
<path class=\"cross interrupted\" d=\"M17.5 4.5l7 7m0 -7l-7 7\"/></svg>interrupted</span>\
<span><svg class=\"key\" viewBox=\"0 0 26 16\"><rect class=\"bar failed\" x=\"0\" y=\"3\" width=\"21\" height=\"10\"/>\
<path class=\"cross failed\" d=\"M17.5 4.5l7 7m0 -7l-7 7\"/></svg>failed or stopped</span>\
<span><svg class=\"key\" viewBox=\"0 0 22 16\"><rect class=\"bar open\" x=\"0\" y=\"3\" width=\"22\" height=\"10\"/></svg>not ended</span>\
<span><svg class=\"key\" viewBox=\"0 0 12 16\"><path class=\"checkpoint\" d=\"M6 4l4 4l-4 4l-4 -4z\"/></svg>checkpoint</span>\
<span><svg class=\"key\" viewBox=\"0 0 12 16\"><path class=\"restored\" d=\"M2 4l8 4l-8 4z\"/></svg>restored</span>\
<span><svg class=\"key\" viewBox=\"0 0 8 16\"><path class=\"notice\" d=\"M4 1v14\"/></svg>notice</span>\
<span><svg class=\"key\" viewBox=\"0 0 8 16\"><path class=\"driver\" d=\"M4 0v16\"/></svg>engine started again</span></p>\n";

/// Returns the page.
pub fn page(report: &Report) -> String {
    let title = match report.runs.as_slice() {
        [one] => format!("{} #{}", one.pipeline, one.order),
        runs => format!("{} runs", runs.len()),
    };
    let title = escaped(&title);
    let mut out = format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<meta name=\"viewport\" \
         content=\"width=device-width, initial-scale=1\">\n<title>Report: {title}</title>\n<style>\n{STYLE}</style>\n</head>\n\
         <body>\n<h1>Report: {title}</h1>\n<p class=\"note\">What interruptions cost, from the journals of the runs.</p>\n"
    );
    let heads = HEADS.map(str::to_owned);
    table(&mut out, &heads, rows(report).iter().map(|row| row.to_vec()));
    paragraph(&mut out, "note", &about_corruption(report));
    for (run, why) in &report.unread {
        paragraph(&mut out, "note warn", &format!("run {run} could not be read: {why}"));
    }
    if report.runs.len() > 1 {
        parts(&mut out, "Recoveries of all runs", report.runs.iter());
        if let Some((spent, lost)) = report.spend(&report.runs) {
            paragraph(&mut out, "note", &format!("Spent in all: {spent:.2}, of that lost {lost:.2}."));
        }
    }
    for run in report.runs.iter().take(PLOTTED) {
        about(&mut out, report, run);
    }
    if report.runs.len() > PLOTTED {
        let more = format!("{} older runs are in the table only.", report.runs.len() - PLOTTED);
        paragraph(&mut out, "note", &more);
    }
    out.push_str("</body>\n</html>\n");
    out
}

fn about(out: &mut String, report: &Report, run: &RunReport) {
    let figures = &run.figures;
    let heading = format!("{} #{}, run {}", run.pipeline, run.order, run.run);
    let _infallible = writeln!(out, "<h2>{}</h2>", escaped(&heading));
    let mut line = format!(
        "{}; began {}, driven for {} by {} of the engine; {} attempts; lost {} of {} computed ({})",
        run.condition.as_str(),
        moment(run.started_at_ms),
        lasting(figures.wall.as_millis()),
        crate::present::count(figures.drivers as usize, "start"),
        figures.attempts,
        lasting(figures.lost.as_millis()),
        lasting(figures.compute.as_millis()),
        percent(figures.waste())
    );
    if let Some((spent, lost)) = report.spend([run]) {
        let _infallible = write!(line, "; spent {spent:.2}, of that lost {lost:.2}");
    }
    paragraph(out, "note", &line);
    if let Some(damage) = &run.damage {
        let what = format!("The journal is damaged: {damage}. What happened after that is not in this report.");
        paragraph(out, "note warn", &what);
    }
    out.push_str("<h3>Attempts</h3>\n");
    out.push_str(LEGEND);
    let _infallible = writeln!(out, "<div class=\"wide\">{}</div>", chart(&run.timeline));
    let waste = plot(run);
    if !waste.is_empty() {
        out.push_str("<h3>Compute time used (blue) and lost (red), as it stood</h3>\n<div class=\"wide\">");
        out.push_str(&waste);
        out.push_str("</div>\n");
    }
    out.push_str("<div class=\"few\">\n");
    parts(out, "Recoveries", std::iter::once(run));
    let ends = ends_by_class(figures);
    if !ends.is_empty() {
        out.push_str("<div><h3>Ends without a commit</h3>\n");
        let heads = ["class", "", "ends", "recovered"].map(str::to_owned);
        let rows = ends.iter().map(|(class, ends)| {
            let what = if is_interruption(*class) { "interruption" } else { "" };
            vec![class.to_string(), what.to_owned(), ends.ends.to_string(), ends.recovered.to_string()]
        });
        table(out, &heads, rows);
        out.push_str("</div>\n");
    }
    if !figures.lost_by.is_empty() {
        out.push_str("<div><h3>Compute time lost to</h3>\n");
        let rows = figures.lost_by.iter().map(|(reason, span)| {
            let share = span.as_millis() as f64 / figures.compute.as_millis().max(1) as f64;
            vec![reason.to_string(), lasting(span.as_millis()), percent(share)]
        });
        table(out, &["reason", "time", "of all"].map(str::to_owned), rows);
        out.push_str("</div>\n");
    }
    out.push_str("</div>\n");
    interruptions(out, run);
    if !run.coverage.gaps.is_empty() {
        let gaps: Vec<&str> = run.coverage.gaps.iter().map(String::as_str).collect();
        paragraph(out, "note", &format!("Lineage ends early at: {}.", gaps.join(", ")));
    }
}

fn interruptions(out: &mut String, run: &RunReport) {
    let all = &run.figures.interruptions;
    if all.is_empty() {
        return;
    }
    let heads = ["attempt", "class", "into start", "recovered in", "new progress in", "lost, as known then"];
    let ms = |span: Option<prunella_model::Span>| span.map_or_else(|| "–".to_owned(), |span| lasting(span.as_millis()));
    out.push_str("<h3>Interruptions</h3>\n");
    let rows = all.iter().take(LISTED).map(|one| {
        vec![
            attempt(&one.step, &one.slot),
            one.class.to_string(),
            format!("{} of {}", lasting(one.at.as_millis()), one.driver),
            ms(one.recovery.map(|recovery| recovery.total())),
            ms(one.recovery.and_then(|recovery| recovery.to_mark())),
            lasting(one.lost.as_millis()),
        ]
    });
    table(out, &heads.map(str::to_owned), rows);
    if all.len() > LISTED {
        paragraph(out, "note", &format!("and {} more", all.len() - LISTED));
    }
}

fn parts<'a>(out: &mut String, heading: &str, runs: impl Iterator<Item = &'a RunReport>) {
    let parts = recovery_parts(runs);
    if parts.iter().all(|part| part.spans.is_empty()) {
        return;
    }
    let of = |span: Option<prunella_model::Span>| span.map_or_else(|| "–".to_owned(), |span| lasting(span.as_millis()));
    let _infallible = writeln!(out, "<div><h3>{heading}</h3>");
    let rows = parts.iter().map(|part| vec![part.name.to_owned(), of(part.mean()), of(part.at(50)), of(part.at(99))]);
    table(out, &["part", "mean", "p50", "p99"].map(str::to_owned), rows);
    out.push_str("</div>\n");
}

fn paragraph(out: &mut String, class: &str, text: &str) {
    let _infallible = writeln!(out, "<p class=\"{class}\">{}</p>", escaped(text));
}

fn table(out: &mut String, heads: &[String], rows: impl Iterator<Item = Vec<String>>) {
    let cells = |out: &mut String, tag: &str, cells: &[String]| {
        out.push_str("<tr>");
        for cell in cells {
            let _infallible = write!(out, "<{tag}>{}</{tag}>", escaped(cell));
        }
        out.push_str("</tr>\n");
    };
    out.push_str("<div class=\"wide\"><table>\n");
    cells(out, "th", heads);
    rows.for_each(|row| cells(out, "td", &row));
    out.push_str("</table></div>\n");
}
