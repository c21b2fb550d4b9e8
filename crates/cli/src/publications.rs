//! What a run has published, and what it owes, as `status` and `explain` tell it.

use std::collections::{BTreeMap, BTreeSet};

use prunella_engine::Plan;
use prunella_journal::{RunState, StepIndex};
use prunella_model::{EffectHow, PortName, RunId, StepId};
use prunella_store::{Published, Store};
use serde_json::{Value, json};

use crate::{error::CliError, present::short};

/// The publications of a run.
pub struct Publications(BTreeMap<(StepId, PortName), Published>);

/// What became of one.
enum Became<'a> {
    /// It is where it should be, or something newer is.
    Done(&'a Published, EffectHow),
    /// It was given up.
    GivenUp(&'a str),
    /// It is owed: its step has committed.
    Owed,
    /// Its step has not committed.
    NotYet,
}

impl Publications {
    /// Reads them.
    ///
    /// # Errors
    /// [`CliError`] if the store did not answer.
    pub async fn of(store: &Store, run: &RunId) -> Result<Self, CliError> {
        Ok(Self(store.published(run).await?))
    }

    /// Returns the steps of which there is something to say: a publication was begun, or given up.
    pub fn steps(&self, state: &RunState) -> BTreeSet<StepIndex> {
        let begun = self.0.keys().filter_map(|(step, _)| state.topology().index(step));
        begun.chain(state.with_effects_given_up()).collect()
    }

    fn became<'a>(&'a self, plan: &Plan, state: &'a RunState, step: StepIndex, output: &PortName) -> Became<'a> {
        let published = self.0.get(&(plan.id(step).clone(), output.clone()));
        let stands = |published: &&Published| state.done(step).is_none_or(|done| done.slot == published.slot);
        match published.filter(stands).and_then(|published| Some((published, published.how?))) {
            Some((published, how)) => Became::Done(published, how),
            None => match (state.effects_given_up(step), state.done(step).is_some() || published.is_some()) {
                (Some(why), _) => Became::GivenUp(why),
                (None, true) => Became::Owed,
                (None, false) => Became::NotYet,
            },
        }
    }

    /// Returns what there is to say of one of these steps in a few words, if it has committed and publishes something.
    pub fn words(&self, plan: &Plan, state: &RunState, step: StepIndex) -> Option<String> {
        let (mut done, mut all, mut given_up) = (0, 0, None);
        for output in plan.step(step).publish.keys() {
            all += 1;
            match self.became(plan, state, step, output) {
                Became::Done(..) => done += 1,
                Became::GivenUp(why) => given_up = Some(why),
                Became::Owed => {}
                Became::NotYet => return None,
            }
        }
        match (all, given_up) {
            (0, _) => None,
            (_, Some(why)) => Some(format!("publishing is given up: {why}")),
            (all, None) if done == all => Some("published".to_owned()),
            (all, None) => Some(format!("{done} of {all} published")),
        }
    }

    /// Returns one line for each output that the step publishes.
    pub fn lines(&self, plan: &Plan, state: &RunState, step: StepIndex) -> Vec<[String; 3]> {
        let line = |(output, publication): (&PortName, &prunella_model::Publication)| {
            let word = match self.became(plan, state, step, output) {
                Became::Done(_, EffectHow::Unchanged) => "it was there".to_owned(),
                Became::Done(Published { by: Some(by), .. }, EffectHow::Superseded) => {
                    format!("the newer run {} is there", short(by))
                }
                Became::Done(_, EffectHow::Superseded) => "something newer is there".to_owned(),
                Became::Done(_, how) => how.as_str().to_owned(),
                Became::GivenUp(why) => format!("given up: {why}"),
                Became::Owed => "to be done".to_owned(),
                Became::NotYet => "once the step has committed".to_owned(),
            };
            [format!("  {output}"), format!("→ {}", publication.path), word]
        };
        plan.step(step).publish.iter().map(line).collect()
    }

    /// Returns the same for programs; nothing if the step publishes nothing.
    pub fn as_json(&self, plan: &Plan, state: &RunState, step: StepIndex) -> Option<Value> {
        let one = |(output, publication): (&PortName, &prunella_model::Publication)| {
            let became = self.became(plan, state, step, output);
            let (word, how) = match &became {
                Became::Done(_, how) => ("done", Some(how.as_str())),
                Became::GivenUp(_) => ("given_up", None),
                Became::Owed => ("owed", None),
                Became::NotYet => ("waiting", None),
            };
            let mut out = json!({ "output": output, "path": publication.path, "state": word });
            match became {
                Became::Done(published, _) => {
                    (out["how"], out["target"]) = (how.into(), published.target.clone().into());
                    if let Some(by) = &published.by {
                        out["by"] = by.as_str().into();
                    }
                }
                Became::GivenUp(why) => out["why"] = why.into(),
                Became::Owed | Became::NotYet => {}
            }
            out
        };
        let all: Vec<Value> = plan.step(step).publish.iter().map(one).collect();
        (!all.is_empty()).then(|| all.into())
    }
}
