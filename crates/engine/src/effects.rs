//! What steps do to the outside for their run, after their commit: what is next (pure), and doing it.

use std::{path::PathBuf, sync::Arc};

use prunella_healing::{JitterSeed, backoff, limit_of, waits_of};
use prunella_journal::{EffectDone, Event, RunState, StepIndex};
use prunella_model::{Class, EffectKind, Epoch, PortName, RunId, SlotId, Span, StepId};
use prunella_store::{
    Effect, Store, StoreError,
    records::{GraphRecord, Owner},
};
use prunella_sys::{Phase, mutated};

use crate::{
    Command, EngineError, Plan,
    driver::Driver,
    heard::{EffectsHeard, Heard},
};

/// Says which effects are to be done now, and returns when the first of those that wait is.
pub(crate) fn decide_effects(
    state: &mut RunState,
    plan: &Plan,
    now: Span,
    commands: &mut Vec<Command>,
) -> Option<Span> {
    while let Some(step) = state.take_owed() {
        let (Some(done), Some(run)) = (state.done(step), state.run()) else { continue };
        let (id, slot) = (plan.id(step), done.slot);
        if let Some(tries) = state.effect_tries(step) {
            let policy = &plan.step(step).retry;
            let limit = limit_of(policy, &plan.traits(step), Class::Effect).unwrap_or(0);
            if tries.hopeless || tries.failed > limit {
                let why = match tries.hopeless {
                    true => "trying again is useless until somebody clears the way".to_owned(),
                    false => format!("tried {} times", tries.failed),
                };
                state.issue_effects(step);
                commands.push(Command::Append(Event::EffectsGivenUp { step: id.clone(), slot, why }));
                continue;
            }
            let attempt = Epoch(slot.epoch.0.wrapping_add(u64::from(tries.failed)));
            let seed = JitterSeed { run, step: id, attempt };
            let wait = waits_of(policy, Class::Effect).map(|waits| backoff(waits, tries.failed, &seed));
            let wait = wait.map_or(0, |wait| u64::try_from(wait.as_millis()).unwrap_or(u64::MAX));
            let at = tries.at.map_or(now, |at| Span::from_millis(at.as_millis().saturating_add(wait)));
            if at > now {
                state.delay_effects(step, at);
                continue;
            }
        }
        state.issue_effects(step);
        commands.push(Command::DoEffects { step, slot });
    }
    state.next_effects()
}

/// Sorts out which steps whose commit has just come to stand owe something to the outside.
pub(crate) fn sort_effects(state: &mut RunState, plan: &Plan) {
    while let Some(step) = state.take_unsorted() {
        if state.done(step).is_some() && !plan.step(step).publish.is_empty() {
            state.owe_effects(step);
        }
    }
}

/// An effect that could not be done.
#[derive(Debug)]
pub struct EffectTrouble {
    /// The effect.
    pub effect: Box<Effect>,
    /// What was in the way.
    pub source: StoreError,
}

impl EffectTrouble {
    /// Returns whether trying again is useless until somebody clears the way.
    pub fn is_hopeless(&self) -> bool {
        match &self.source {
            StoreError::Occupied { .. }
            | StoreError::Damaged { .. }
            | StoreError::GivenUp { .. }
            | StoreError::NoRun { .. }
            | StoreError::Superseded { .. }
            | StoreError::Record { .. }
            | StoreError::DamagedRecord { .. } => true,
            StoreError::Objects(_) | StoreError::Tree { .. } | StoreError::Unfit { .. } | StoreError::Io { .. } => {
                false
            }
        }
    }

    /// Returns what was in the way, with all causes.
    pub fn why(&self) -> String {
        let mut why = self.source.to_string();
        let mut cause = std::error::Error::source(&self.source);
        while let Some(inner) = cause {
            why.push_str(&format!(": {inner}"));
            cause = inner.source();
        }
        why
    }
}

/// Returns the effects that a step owes for its `binding`-th binding, to this commit.
///
/// # Errors
/// [`EngineError`] if the store did not answer.
pub async fn effects_of(
    store: &Store,
    run: &RunId,
    record: &GraphRecord,
    step: &StepId,
    slot: SlotId,
    binding: u64,
) -> Result<Vec<Effect>, EngineError> {
    let spec = record.graph.pipeline.steps.get(step.name.as_str());
    // Items of a step have no path of their own: such a step publishes nothing.
    let Some(spec) = spec.filter(|spec| !spec.publish.is_empty() && step.item.is_none()) else {
        return Ok(Vec::new());
    };
    let artifacts = store.committed(&slot).await?.map(|committed| committed.artifacts).unwrap_or_default();
    // A run of before there were publications has no directory of its own: it owes only absolute targets.
    let base = record.base.as_ref().map(PathBuf::from);
    let mut effects = Vec::new();
    for (output, publication) in &spec.publish {
        let Some(stored) = artifacts.get(output).filter(|_| !mutated(126)) else { continue };
        let target = publication.target(base.as_deref().unwrap_or(std::path::Path::new(".")));
        effects.push(Effect {
            run: run.clone(),
            pipeline: record.graph.pipeline.name.clone(),
            order: record.order,
            binding,
            step: step.clone(),
            output: output.clone(),
            slot,
            stored: stored.clone(),
            target,
            mirror: publication.mirror,
            base: base.clone(),
        });
    }
    Ok(effects)
}

/// Does these effects, one after the other, up to the first that cannot be done.
///
/// # Errors
/// [`EffectTrouble`] names it; those before it are done.
pub async fn do_effects(
    store: &Store,
    owner: &Owner,
    effects: Vec<Effect>,
    again: bool,
) -> Result<Vec<EffectDone>, EffectTrouble> {
    let mut done = Vec::with_capacity(effects.len());
    for effect in effects {
        match Phase::Publish.during(store.do_effect(owner, &effect, again)).await {
            Ok(made) => done.push(EffectDone {
                effect: made.id,
                kind: EffectKind::Publication,
                output: effect.output,
                target: effect.target.to_string(),
                how: made.how,
                by: made.by,
                before: made.before,
            }),
            Err(source) => {
                if let StoreError::Damaged { object, problem } = &source {
                    // The mark alone lets a later run make it anew; what hinders it will be met there.
                    let _marked = store.mark_damaged(&effect.slot, object, problem).await;
                }
                return Err(EffectTrouble { effect: Box::new(effect), source });
            }
        }
    }
    Ok(done)
}

impl Driver<'_> {
    /// Does the effects of a step beside everything else; what comes of it is heard.
    pub(crate) async fn begin_effects(&mut self, step: StepIndex, slot: SlotId) -> Result<(), EngineError> {
        // I5: who has been replaced begins no effect.
        self.host.store.still_driving(&self.run, self.scope.driver).await?;
        let id = self.plan.id(step).clone();
        let binding = self.bindings.get(&step).copied().unwrap_or(0);
        let (host, run, record, heard) =
            (self.host.clone(), self.run.clone(), Arc::clone(&self.record), self.heard.clone());
        tokio::spawn(async move {
            let done = match effects_of(&host.store, &run, &record, &id, slot, binding).await {
                Ok(effects) => Ok(do_effects(&host.store, &host.owner, effects, false).await),
                Err(error) => Err(error),
            };
            let _gone = heard.send(Heard::Effects(step, slot, Box::new(done)));
        });
        Ok(())
    }

    /// Notes what came of a step's effects.
    pub(crate) fn hear_effects(
        &mut self,
        step: StepIndex,
        slot: SlotId,
        done: EffectsHeard,
    ) -> Result<(), EngineError> {
        let id = self.plan.id(step).clone();
        let event = match done? {
            Ok(effects) => Event::EffectsDone { step: id, slot, effects },
            Err(trouble) => {
                let output: PortName = trouble.effect.output.clone();
                let target = trouble.effect.target.to_string();
                let (why, hopeless) = (trouble.why(), trouble.is_hopeless());
                Event::EffectFailed { step: id, slot, output, target, why, hopeless }
            }
        };
        match self.state.check(&event) {
            Ok(()) => self.append(event),
            // The step is being made anew meanwhile, or the run has ended: its effects are planned with it.
            Err(_) => {
                self.state.release_effects(step);
                Ok(())
            }
        }
    }
}
