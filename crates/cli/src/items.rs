//! A step that fans out, as a whole: its items and how each is.

use prunella_engine::Plan;
use prunella_journal::{RunState, StepIndex, StepState};
use prunella_model::{Item, RunId, StepId};
use serde_json::{Value, json};

use crate::{
    condition::{Bound, Condition, StepCondition},
    present::{Line, Paint, attempt, columns, count, short},
};

/// The items of a step in a run.
pub struct Items<'a> {
    /// The run.
    pub run: &'a RunId,
    /// How it is.
    pub condition: Condition,
    /// Its plan.
    pub plan: &'a Plan,
    /// Its state.
    pub state: &'a RunState,
    /// Commits that are known beside the journal.
    pub bound: &'a Bound,
    /// The step.
    pub step: StepIndex,
}

impl Items<'_> {
    fn members(&self) -> &[StepIndex] {
        self.plan.topology().members(self.step).unwrap_or_default()
    }

    fn condition_of(&self, step: StepIndex) -> StepCondition {
        StepCondition::with(self.bound, self.plan, self.state, step, self.condition)
    }

    fn detail(&self, member: StepIndex) -> String {
        match self.state.state(member) {
            StepState::Done(done) => attempt(self.plan.id(member), &done.slot),
            StepState::Running(running) => attempt(self.plan.id(member), &running.slot),
            StepState::Failed { class, why } => format!("{class}: {why}"),
            StepState::Blocked { by } => format!("needs {}, which failed", self.plan.id(*by)),
            _ => String::new(),
        }
    }

    /// Returns what people read.
    pub fn text(&self, paint: Paint) -> String {
        let id: &StepId = self.plan.id(self.step);
        let (done, all) = self.state.items_done(self.step);
        if self.plan.topology().members(self.step).is_none() {
            return format!("{id}  its items are not known yet, run {}\n", short(self.run));
        }
        let lines: Vec<Line> = self
            .members()
            .iter()
            .map(|member| {
                let is = self.condition_of(*member);
                let (tone, mark) = is.mark();
                Line(
                    tone,
                    vec![format!("{mark} {}", self.plan.id(*member)), is.as_str().to_owned(), self.detail(*member)],
                )
            })
            .collect();
        let head = format!("{id}  {done} of {} done, run {}\n", count(all as usize, "item"), short(self.run));
        let next = self
            .members()
            .first()
            .map(|first| format!("  next: prunella explain {} {}\n", short(self.run), self.plan.id(*first)));
        head + &columns(paint, &lines) + &next.unwrap_or_default()
    }

    /// Returns what programs read.
    pub fn as_json(&self) -> Value {
        let items = self.members().iter().map(|member| {
            let item = self.plan.id(*member).item.as_ref();
            json!({
                "step": self.plan.id(*member).to_string(),
                "item": item.and_then(|item| serde_json::from_str::<Value>(item.as_str()).ok()),
                "label": item.map(Item::label),
                "state": self.condition_of(*member),
                "key": self.state.state(*member).key().map(|key| key.hex()),
                "epoch": self.state.done(*member).map(|done| done.slot.epoch.0),
            })
        });
        json!({
            "run": self.run,
            "step": self.plan.id(self.step).to_string(),
            "state": self.condition_of(self.step),
            "items": items.collect::<Vec<_>>(),
        })
    }
}
