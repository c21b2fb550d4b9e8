//! The report for programs; docs/cli.md has its shape.

use prunella_model::Span;
use serde_json::{Map, Value, json};

use super::{
    Checked, Report, RunReport,
    parts::{ends_by_class, recovery_parts},
    row_of,
};

/// Returns the report for programs.
pub fn json(report: &Report) -> Value {
    let mut all = report.all().json();
    let differing: u64 = report.runs.iter().map(|run| u64::from(run.figures.corrupt)).sum();
    correct(&mut all, report.wrong(), differing);
    json!({
        "runs": report.runs.iter().map(|run| run_json(report, run)).collect::<Vec<_>>(),
        "unread": report.unread.iter().map(|(run, why)| json!({ "run": run, "why": why })).collect::<Vec<_>>(),
        "all": all,
        "recovery_parts": parts_json(report.runs.iter()),
        "spend": spend_json(report, &mut report.runs.iter()),
    })
}

fn run_json(report: &Report, run: &RunReport) -> Value {
    let mut table = row_of(std::iter::once(run)).json();
    correct(&mut table, run.wrong(), u64::from(run.figures.corrupt));
    let ends = ends_by_class(&run.figures);
    let ends: Map<String, Value> = ends
        .into_iter()
        .map(|(class, ends)| {
            let interruption = prunella_journal::is_interruption(class);
            let shown = json!({ "ends": ends.ends, "recovered": ends.recovered, "interruption": interruption });
            (class.to_string(), shown)
        })
        .collect();
    json!({
        "run": run.run,
        "pipeline": run.pipeline,
        "number": run.order,
        "status": run.condition,
        "started_at_ms": run.started_at_ms,
        "damage": run.damage,
        "table": table,
        "checked_files": match run.checked {
            Checked::No => None,
            Checked::Bytes { files, .. } => Some(files),
        },
        "ends_by_class": ends,
        "recovery_parts": parts_json(std::iter::once(run)),
        "spend": spend_json(report, &mut std::iter::once(run)),
        "figures": run.figures,
        "lineage": { "committed_bytes": run.coverage.committed_bytes, "complete_bytes": run.coverage.complete_bytes,
                     "share": run.coverage.share(), "gaps": run.coverage.gaps },
    })
}

/// Says of corruption what is known: no zero for what nobody has looked at.
fn correct(row: &mut Value, wrong: Option<u64>, differing: u64) {
    let interruptions = row["interruptions"].as_u64().unwrap_or_default();
    row["corrupt_artifacts"] = wrong.into();
    row["corruption"] = wrong.filter(|_| interruptions > 0).map(|wrong| wrong as f64 / interruptions as f64).into();
    row["differing_commits"] = differing.into();
    row["corruption_known_by"] = if wrong.is_some() { "verify" } else { "nothing" }.into();
}

fn parts_json<'a>(runs: impl Iterator<Item = &'a RunReport>) -> Value {
    let parts = recovery_parts(runs).into_iter().map(|part| {
        let ms = |span: Option<Span>| span.map(Span::as_millis);
        let shown = json!({
            "mean_ms": ms(part.mean()), "p50_ms": ms(part.at(50)), "p99_ms": ms(part.at(99)), "count": part.spans.len(),
        });
        (part.name.to_owned(), shown)
    });
    Value::Object(parts.collect())
}

fn spend_json(report: &Report, runs: &mut dyn Iterator<Item = &RunReport>) -> Value {
    let (Some((spent, lost)), Some(price)) = (report.spend(runs), report.price) else { return Value::Null };
    json!({ "price_per_hour": price, "spent": spent, "lost": lost })
}
