//! Answering conditions: the bytes that one reads are fetched and verified, its answer is a function of them.

use std::sync::Arc;

use prunella_condition::{Answer, MAX_JSON_BYTES};
use prunella_journal::{Event, Observation, StepIndex};
use prunella_model::{Class, SlotId};
use prunella_store::{Store, StoreError, records::StoredArtifact};
use prunella_sys::blocking;
use tokio::sync::Semaphore;

use crate::{
    ConditionInput, EngineError, Plan,
    driver::Driver,
    heard::Heard,
    plan_when::{answer, too_large},
};

/// Conditions that are answered at once at most: each may hold what it reads in memory.
const AT_ONCE: usize = 4;

/// How the question of a condition came out.
pub(crate) enum Decision {
    /// It has an answer.
    Answered(Answer),
    /// It has none; why, for people.
    NoAnswer(String),
    /// Bytes that it reads are lost.
    Damaged {
        /// The step that made them.
        producer: StepIndex,
        /// Its commit.
        slot: SlotId,
        /// What is wrong with them.
        problem: String,
    },
}

/// The permits of the conditions that are being answered.
#[derive(Clone)]
pub(crate) struct Permits(Arc<Semaphore>);

impl Default for Permits {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(AT_ONCE)))
    }
}

/// Returns what becomes of a condition that reads these artifacts.
pub(crate) async fn decide(
    store: &Store,
    plan: &Arc<Plan>,
    step: StepIndex,
    inputs: Vec<(ConditionInput, StoredArtifact)>,
) -> Result<Decision, StoreError> {
    let mut read = Vec::with_capacity(inputs.len());
    // What items made stands as one list: it is bounded as a whole.
    let all: u64 = inputs.iter().map(|(_, stored)| stored.artifact.size_bytes).fold(0, u64::saturating_add);
    if let Some((input, _)) = inputs.iter().find(|(input, _)| input.of_item && all > MAX_JSON_BYTES) {
        return Ok(Decision::NoAnswer(too_large(input)));
    }
    for (input, stored) in inputs {
        match store.read_small(&stored, MAX_JSON_BYTES).await {
            Ok(Some(bytes)) => read.push((input, bytes)),
            Ok(None) => return Ok(Decision::NoAnswer(too_large(&input))),
            Err(StoreError::Damaged { problem, .. }) => {
                return Ok(Decision::Damaged { producer: input.producer, slot: input.slot, problem });
            }
            Err(error) => return Err(error),
        }
    }
    let plan = plan.clone();
    let answered = blocking(move || {
        let expression = plan.step(step).when.as_ref().map_or("true", |when| when.expression.as_str());
        let (params, item) = (&plan.graph().pipeline.params, plan.id(step).item.as_ref());
        answer(expression, params, item, plan.condition_lists(step), &read)
    });
    Ok(match answered.await {
        Ok(answer) => Decision::Answered(answer),
        Err(why) => Decision::NoAnswer(why),
    })
}

impl Driver<'_> {
    /// Begins to answer the condition of a step; the answer is heard of.
    pub(crate) async fn begin_to_decide(&mut self, step: StepIndex) -> Result<(), EngineError> {
        let Some(inputs) = self.plan.condition_inputs(&self.state, step) else {
            self.state.release(step);
            return Ok(());
        };
        let slots: Vec<SlotId> = inputs.iter().map(|input| input.slot).collect();
        let mut stored = Vec::with_capacity(inputs.len());
        for input in inputs {
            let artifacts = self.shelf.artifacts(&self.host.store, input.slot).await?;
            let Some(artifact) = artifacts.get(&input.output).cloned() else {
                let why =
                    format!("its condition reads {}.{}, which the commit does not have", input.step, input.output);
                return self.hear_decision(step, &slots, Ok(Decision::NoAnswer(why))).await;
            };
            stored.push((input, artifact));
        }
        let (store, plan, heard) = (self.host.store.clone(), self.plan.clone(), self.heard.clone());
        let permits = self.permits.clone();
        tokio::spawn(async move {
            let _permit = permits.0.acquire().await;
            let decision = decide(&store, &plan, step, stored).await;
            let _gone = heard.send(Heard::Decided(step, slots, Box::new(decision)));
        });
        Ok(())
    }

    /// Takes an answer, unless what it came from has been made anew meanwhile.
    pub(crate) async fn hear_decision(
        &mut self,
        step: StepIndex,
        slots: &[SlotId],
        decision: Result<Decision, StoreError>,
    ) -> Result<(), EngineError> {
        let now = self.plan.condition_inputs(&self.state, step);
        let same = now.is_some_and(|now| now.iter().map(|input| input.slot).eq(slots.iter().copied()));
        if !same {
            // The question stands as before; it is asked again as soon as it can be.
            self.state.release(step);
            return Ok(());
        }
        let id = self.plan.id(step).clone();
        let event = match decision? {
            Decision::Answered(answer) => {
                let saw = answer.saw.into_iter().map(|seen| Observation { what: seen.what, value: seen.value });
                Event::StepDecided { step: id, run: answer.holds, saw: saw.collect() }
            }
            Decision::NoAnswer(why) => Event::StepFailed { step: id, class: Class::Contract, why },
            Decision::Damaged { producer, slot, problem } => {
                let evidence = format!("{problem}; found by the condition of {id}");
                self.host.store.mark_damaged(&slot, "", &evidence).await?;
                Event::InputDamaged { step: id, producer: self.plan.id(producer).clone(), slot }
            }
        };
        self.append_if_legal(event)
    }
}
