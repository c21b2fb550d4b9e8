//! The explanation of a step as programs read it.

use prunella_journal::StepState;
use serde_json::{Value, json};

use super::Subject;
use crate::skips::why_skipped;

impl Subject<'_> {
    /// Returns what programs read.
    pub fn as_json(&self) -> Value {
        let tried: Vec<Value> = self.tried.iter().map(|tried| tried.as_json(&self.step)).collect();
        let inputs: Vec<Value> = self
            .inputs
            .iter()
            .map(|(name, input, producer)| {
                json!({
                    "input": name,
                    "source": input.source,
                    "artifact": input.artifact,
                    "producer": producer,
                    "producer_key": input.slot.map(|slot| slot.key.hex()),
                    "producer_epoch": input.slot.map(|slot| slot.epoch.0),
                })
            })
            .collect();
        let mut out = json!({
            "run": self.run,
            "step": self.step.to_string(),
            "state": self.condition,
            "key": self.key.map(|key| key.hex()),
            "inputs": inputs,
            "attempts": tried,
            "checkpoints": self.checkpoints.iter().map(ToString::to_string).collect::<Vec<_>>(),
            "next": self.next(),
        });
        if let Some((slot, committed)) = &self.bound {
            out["commit"] = json!({
                "epoch": slot.epoch.0,
                "artifacts": committed.artifacts.iter()
                    .map(|(name, stored)| (name.to_string(), json!(stored.artifact)))
                    .collect::<serde_json::Map<_, _>>(),
                "provenance": committed.provenance,
                "reused_from": self.made_by.as_ref().map(|(run, _)| run),
            });
        }
        match self.state.state(self.place) {
            StepState::Failed { class, why } => {
                out["class"] = class.as_str().into();
                out["why"] = why.to_string().into();
            }
            StepState::Skipped { by } => out["why"] = why_skipped(self.plan, self.place, *by).into(),
            _ => {}
        }
        if !self.hints().is_empty() {
            out["hints"] = json!(self.hints());
        }
        if let Some(publications) = self.publications.as_json(self.plan, self.state, self.place) {
            out["publications"] = publications;
        }
        if let Some(when) = &self.plan.step(self.place).when {
            out["when"] = json!({
                "expression": when.expression,
                "reads": when.reads.iter().map(|read| format!("{}.{}", read.step, read.output)).collect::<Vec<_>>(),
                "holds": self.decided.as_ref().map(|decided| decided.run),
                "saw": self.decided.as_ref().map(|decided| decided.saw),
            });
        }
        out
    }
}
