//! What a step at the end of a run sees of that run.

use std::sync::Arc;

use prunella_attempt::AtEnd;
use prunella_journal::{RunState, RunStatus, StepIndex, StepState, metrics, read_all};
use prunella_model::{EnvName, Step, StepId};
use serde_json::{Value, json};

use crate::{EngineError, Plan, driver::Driver, reported::publications};

/// The version of the report.
const REPORT_FORMAT: u32 = 1;

/// Returns how a run ends, as programs see it.
const fn word(status: RunStatus) -> &'static str {
    match status {
        RunStatus::Succeeded => "succeeded",
        RunStatus::Failed => "failed",
        RunStatus::Stopped => "stopped",
    }
}

/// Returns the steps that were given up, in the order of the file.
fn failed(plan: &Plan, state: &RunState) -> Vec<StepId> {
    let given_up =
        |step: &StepIndex| plan.step(*step).handler.is_none() && matches!(state.state(*step), StepState::Failed { .. });
    plan.indices().filter(given_up).map(|step| plan.id(step).clone()).collect()
}

/// Returns the variables that a step at the end of a run sees beside its own; they enter its key.
fn variables(plan: &Plan, state: &RunState) -> Option<Vec<(&'static str, String)>> {
    let status = state.concluded()?;
    let failed: Vec<String> = failed(plan, state).iter().map(StepId::to_string).collect();
    Some(vec![
        ("PRUNELLA_RUN_STATUS", word(status).to_owned()),
        ("PRUNELLA_FAILED_STEPS", failed.join(" ")),
        // The same end after a resume is another one: who wants to be told of it is told again.
        ("PRUNELLA_RUN_END", state.conclusions().to_string()),
    ])
}

impl Plan {
    /// Returns a step at the end of a run as it is keyed: with what it sees of that end.
    pub(crate) fn step_at_end(&self, state: &RunState, step: StepIndex) -> Option<Step> {
        let spec = self.step(step);
        spec.handler?;
        let mut spec = spec.clone();
        for (name, value) in variables(self, state)? {
            spec.env.insert(EnvName::new(name).expect("these are names of variables"), value);
        }
        Some(spec)
    }
}

impl Driver<'_> {
    /// Returns what a step at the end of this run sees of it.
    ///
    /// The end is in the journal before anything runs on account of it, so that whoever resumes the run comes to the same.
    pub(crate) async fn at_end(&mut self) -> Result<Option<Arc<AtEnd>>, EngineError> {
        if let Some(known) = &self.at_end {
            return Ok(Some(known.clone()));
        }
        let Some(variables) = variables(&self.plan, &self.state) else { return Ok(None) };
        self.notebook.flush().await?;
        let events = read_all(&**self.host.store.objects(), &self.run).await?.events;
        let published = self.host.store.published(&self.run).await?;
        let publications = publications(&self.plan, &self.state, &published, &events);
        let report = self.report(serde_json::to_value(metrics(&events)).unwrap_or(Value::Null), publications);
        let at_end = Arc::new(AtEnd { variables, report: report.to_string().into_bytes() });
        self.at_end = Some(at_end.clone());
        Ok(Some(at_end))
    }

    fn report(&self, metrics: Value, publications: Vec<Value>) -> Value {
        let (plan, state) = (&self.plan, &self.state);
        let failed: Vec<Value> = plan
            .indices()
            .filter(|step| plan.step(*step).handler.is_none())
            .filter_map(|step| match state.state(step) {
                StepState::Failed { class, why } => {
                    Some(json!({ "step": plan.id(step).to_string(), "class": class.as_str(), "why": **why }))
                }
                _ => None,
            })
            .collect();
        let steps: Vec<Value> = plan
            .indices()
            .filter(|step| plan.step(*step).handler.is_none())
            .map(|step| {
                let (stage, key) = (state.state(step).stage(), state.state(step).key());
                let how = if state.done(step).is_some_and(|done| done.reused) { "reused" } else { stage.as_str() };
                json!({
                    "step": plan.id(step).to_string(),
                    "state": how,
                    "attempts": state.attempts(step),
                    "key": key.map(|key| key.hex()),
                    "epoch": state.done(step).map(|done| done.slot.epoch.0),
                    "outputs": state.done(step).map(|done| {
                        let outputs = done.artifacts.iter().map(|(name, artifact)| (name.to_string(), json!(artifact)));
                        outputs.collect::<serde_json::Map<_, _>>()
                    }),
                })
            })
            .collect();
        json!({
            "format": REPORT_FORMAT,
            "run": self.run,
            "pipeline": self.record.graph.pipeline.name,
            "status": state.concluded().map(word),
            "failed": failed,
            "steps": steps,
            "publications": publications,
            "metrics": metrics,
        })
    }
}
