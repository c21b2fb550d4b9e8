//! What interruptions cost over many runs, by the formulas of docs/metrics.md: one row of the table.

use prunella_journal::{RunMetrics, mean, percentile};
use prunella_model::Span;
use serde_json::{Value, json};

use crate::{
    present::{Line, Paint, Tone, columns, lasting},
    progress::Coverage,
};

/// The figures of many runs, added up.
#[derive(Debug, Clone, Default)]
pub struct Resilience {
    runs: u32,
    interruptions: u32,
    recoveries: Vec<Span>,
    /// Beyond the wait for capacity: what of a recovery is the cluster's.
    beyond_capacity: Vec<Span>,
    to_mark: Vec<Span>,
    compute_ms: u64,
    lost_ms: u64,
    bound_ms: u64,
    /// Artifacts that could be seen torn or wrong.
    corrupt: u32,
    committed_bytes: u64,
    complete_bytes: u64,
}

impl Resilience {
    /// Adds a run.
    pub fn add(&mut self, figures: &RunMetrics, coverage: &Coverage) {
        self.runs += 1;
        self.interruptions += u32::try_from(figures.interruptions.len()).unwrap_or(u32::MAX);
        let recovered = figures.interruptions.iter().filter_map(|one| one.recovery.as_ref());
        for recovery in recovered {
            self.recoveries.push(recovery.total());
            self.beyond_capacity
                .push(Span::from_millis(recovery.total().as_millis().saturating_sub(recovery.capacity.as_millis())));
            self.to_mark.extend(recovery.to_mark());
        }
        self.compute_ms += figures.compute.as_millis();
        self.lost_ms += figures.lost.as_millis();
        self.bound_ms += figures.bound.as_millis();
        self.corrupt += figures.corrupt;
        self.committed_bytes += coverage.committed_bytes;
        self.complete_bytes += coverage.complete_bytes;
    }

    /// Counts artifacts that are other than those of a run that nobody disturbed.
    pub fn add_corrupt(&mut self, artifacts: usize) {
        self.corrupt += u32::try_from(artifacts).unwrap_or(u32::MAX);
    }

    fn share(part: u64, of: u64) -> Option<f64> {
        (of > 0).then(|| part as f64 / of as f64)
    }

    fn sorted(spans: &[Span]) -> Vec<Span> {
        let mut sorted = spans.to_vec();
        sorted.sort_unstable();
        sorted
    }

    /// Returns the row for programs: times in milliseconds, shares from 0 to 1, nothing where there is nothing to divide by.
    pub fn json(&self) -> Value {
        let times = |spans: &[Span]| {
            let sorted = Self::sorted(spans);
            let at = |per_cent| percentile(&sorted, per_cent).map(Span::as_millis);
            json!({ "mean_ms": mean(&sorted).map(Span::as_millis), "p50_ms": at(50), "p99_ms": at(99), "count": sorted.len() })
        };
        json!({
            "runs": self.runs,
            "interruptions": self.interruptions,
            "recovered": self.recoveries.len(),
            "mttr": times(&self.recoveries),
            "mttr_beyond_capacity": times(&self.beyond_capacity),
            "mttr_to_mark": times(&self.to_mark),
            "corrupt_artifacts": self.corrupt,
            "corruption": Self::share(self.corrupt.into(), self.interruptions.into()),
            "compute_ms": self.compute_ms,
            "lost_ms": self.lost_ms,
            "lost_bound_ms": self.bound_ms,
            "waste": Self::share(self.lost_ms, self.compute_ms),
            "waste_bound": Self::share(self.bound_ms, self.compute_ms),
            "lineage": Self::share(self.complete_bytes, self.committed_bytes),
        })
    }

    /// Returns the table of these rows for people.
    pub fn table(paint: Paint, rows: &[(&str, &Self)]) -> String {
        let heads = ["", "interruptions", "MTTR p50 / p99", "corrupt artifacts", "waste (bound)", "lineage"];
        let mut lines = vec![Line(Tone::Dim, heads.map(str::to_owned).to_vec())];
        lines.extend(rows.iter().map(|(name, row)| Line(Tone::Plain, row.cells(name))));
        columns(paint, &lines)
    }

    fn cells(&self, name: &str) -> Vec<String> {
        let sorted = Self::sorted(&self.recoveries);
        let at =
            |per_cent| percentile(&sorted, per_cent).map_or_else(|| "–".to_owned(), |span| lasting(span.as_millis()));
        let per_cent =
            |share: Option<f64>| share.map_or_else(|| "–".to_owned(), |share| format!("{:.1} %", 100.0 * share));
        vec![
            name.to_owned(),
            format!("{}, {} healed", self.interruptions, self.recoveries.len()),
            format!("{} / {}", at(50), at(99)),
            format!("{} ({})", self.corrupt, per_cent(Self::share(self.corrupt.into(), self.interruptions.into()))),
            format!(
                "{} ({})",
                per_cent(Self::share(self.lost_ms, self.compute_ms)),
                per_cent(Self::share(self.bound_ms, self.compute_ms))
            ),
            per_cent(Self::share(self.complete_bytes, self.committed_bytes)),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_of_sums_and_nothing_is_divided_by_nothing() {
        let mut row = Resilience::default();
        assert_eq!(row.json()["waste"], Value::Null);
        assert_eq!(row.json()["corruption"], Value::Null);
        let one = |compute, lost, bound| RunMetrics {
            compute: Span::from_millis(compute),
            lost: Span::from_millis(lost),
            bound: Span::from_millis(bound),
            ..RunMetrics::default()
        };
        let covered = |complete_bytes| Coverage { committed_bytes: 100, complete_bytes, ..Coverage::default() };
        row.add(&one(1000, 500, 100), &covered(100));
        row.add(&one(9000, 500, 100), &covered(50));
        let json = row.json();
        assert_eq!((&json["waste"], &json["waste_bound"]), (&json!(0.1), &json!(0.02)));
        assert_eq!(json["lineage"], json!(0.75));
        let table = Resilience::table(Paint::none(), &[("prunella", &row)]);
        assert!(table.contains("10.0 % (2.0 %)") && table.contains("75.0 %"), "{table}");
    }
}
