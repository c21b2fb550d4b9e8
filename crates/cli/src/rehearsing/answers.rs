//! What came of many simulated runs.

use prunella_journal::RunStatus;
use prunella_rehearsal::{Estimate, Played, estimate, percentile};
use serde_json::{Value, json};

/// The figures of all runs in one world.
pub struct Answers {
    runs: usize,
    succeeded: usize,
    waste: Option<Estimate>,
    finish: Vec<f64>,
    finishing: Option<Estimate>,
    cost: Option<Estimate>,
    recoveries: Vec<f64>,
    interruptions: Option<Estimate>,
    on_demand: f64,
    why: Option<String>,
}

impl Answers {
    /// Counts these runs.
    pub fn of(runs: &[Played]) -> Self {
        let of = |figure: &dyn Fn(&Played) -> f64| estimate(&runs.iter().map(figure).collect::<Vec<_>>());
        let done: Vec<&Played> = runs.iter().filter(|run| run.status == RunStatus::Succeeded).collect();
        let finish: Vec<f64> = done.iter().map(|run| run.finished).collect();
        let used: f64 = runs.iter().map(|run| run.used).sum();
        Self {
            runs: runs.len(),
            succeeded: done.len(),
            waste: of(&Played::waste),
            finishing: estimate(&finish),
            finish,
            cost: of(&|run| run.cost),
            recoveries: runs.iter().flat_map(|run| run.recoveries.iter().copied()).collect(),
            interruptions: of(&|run| f64::from(run.interruptions)),
            on_demand: if used > 0.0 { runs.iter().map(|run| run.on_demand).sum::<f64>() / used } else { 0.0 },
            why: runs.iter().find_map(|run| run.why.clone()),
        }
    }

    /// Returns the waste.
    pub fn waste(&self) -> Option<Estimate> {
        self.waste
    }

    /// Returns the figures for programs: times in seconds, shares from 0 to 1.
    pub fn json(&self) -> Value {
        let of = |estimate: Option<Estimate>| {
            // One run has no interval, and JSON no endless number.
            let bound = |value: f64| value.is_finite().then_some(value);
            estimate.map(|one| json!({ "mean": one.mean, "low": bound(one.low), "high": bound(one.high) }))
        };
        let at = |values: &[f64], per_cent| percentile(values, per_cent);
        let mut finish = of(self.finishing).unwrap_or_else(|| json!({}));
        finish["p50"] = at(&self.finish, 50).into();
        finish["p90"] = at(&self.finish, 90).into();
        json!({
            "runs": self.runs,
            "succeeded": self.succeeded,
            "waste": of(self.waste),
            "finish_s": finish,
            "cost": of(self.cost),
            "interruptions": of(self.interruptions),
            "mttr_s": { "p50": at(&self.recoveries, 50), "p99": at(&self.recoveries, 99), "mean": estimate(&self.recoveries).map(|one| one.mean) },
            "on_demand_share": self.on_demand,
            "first_failure": self.why,
        })
    }

    /// Returns them as the cells of a table for people.
    pub fn cells(&self) -> Vec<String> {
        let share = |one: Estimate| format!("{:.2} % ± {:.2}", 100.0 * one.mean, 100.0 * (one.high - one.mean));
        let hours = |one: Estimate| format!("{} ± {}", words(one.mean), words(one.high - one.mean));
        let none = || "–".to_owned();
        let money = |one: Estimate| format!("{:.2} ± {:.2}", one.mean, one.high - one.mean);
        vec![
            format!("{} of {}", self.succeeded, self.runs),
            self.waste.map_or_else(none, share),
            self.finishing.map_or_else(none, hours),
            percentile(&self.finish, 90).map_or_else(none, words),
            self.interruptions.map_or_else(none, |one| format!("{:.1}", one.mean)),
            match (percentile(&self.recoveries, 50), percentile(&self.recoveries, 99)) {
                (Some(half), Some(most)) => format!("{} / {}", words(half), words(most)),
                _ => none(),
            },
            self.cost.filter(|one| one.mean > 0.0).map_or_else(none, money),
        ]
    }

    /// Returns the first reason for which a run failed, if one did.
    pub fn failure(&self) -> Option<&str> {
        self.why.as_deref()
    }
}

/// Returns a time in words.
fn words(seconds: f64) -> String {
    match seconds {
        s if !s.is_finite() => "?".to_owned(),
        s if s < 100.0 => format!("{s:.1} s"),
        s if s < 7200.0 => format!("{:.1} min", s / 60.0),
        s => format!("{:.2} h", s / 3600.0),
    }
}
