//! Carrying out what was decided: keys, guards, attempts, and what is only to be appended.

use prunella_attempt::{Budgets, Request, RestoreFrom as AttemptFrom, attempt};
use prunella_journal::{Event, NextTry, RestoreFrom, RunStatus, StepIndex};
use prunella_model::{Epoch, SlotId, Span, StepKey};
use prunella_store::Guarded;
use prunella_sys::mutated;
use tokio::sync::watch;

use crate::{
    Capacity, Command, EngineError, decide,
    driver::{Active, Driver},
    heard::{Heard, Line, Nth},
    held::until_free,
};

/// So few steps at once are guarded by their claim; more are looked up together, and recorded as used together.
const FEW: usize = 4;

impl Driver<'_> {
    /// Asks what is to be done and does it, until there is nothing more; answers how the run ends, if it does.
    pub(crate) async fn carry_out(&mut self, wake: &mut Option<Span>) -> Result<Option<RunStatus>, EngineError> {
        loop {
            *wake = None;
            let now = self.notebook.now();
            let capacity = Capacity { gpu: self.rack.usable(), ..self.options.capacity };
            let commands = decide(&mut self.state, &self.plan, now, &capacity);
            let mut did = false;
            let mut guards = Vec::new();
            for command in commands {
                // A timer is no deed: what else was done in this round asks for another one.
                did |= !matches!(command, Command::WakeAt(_));
                self.notebook.room().await?;
                match command {
                    Command::WakeAt(at) => *wake = Some(at),
                    Command::Decide { step } => self.begin_to_decide(step).await?,
                    Command::BindKey { step } => {
                        let key = self.plan.key(&self.state, step, &self.scope)?;
                        self.append_if_legal(Event::StepKeyed { step: self.plan.id(step).clone(), key })?;
                    }
                    Command::Expand { step } => self.expand(step).await?,
                    Command::Guard { step, key } => guards.push((step, key)),
                    Command::StartAttempt { step, key, next } => self.start(step, key, next).await?,
                    Command::Watch { step, slot, .. } => self.watch(step, slot),
                    Command::Interrupt { step, .. } => self.pass_on(step),
                    Command::Reproduce { step, attempt, producer, slot, problem } => {
                        let evidence = format!("{problem}; found by {attempt}");
                        self.host.store.mark_damaged(&slot, "", &evidence).await?;
                        let (step, producer) = (self.plan.id(step).clone(), self.plan.id(producer).clone());
                        self.append_if_legal(Event::InputDamaged { step, producer, slot })?;
                    }
                    Command::DoEffects { step, slot } => self.begin_effects(step, slot).await?,
                    Command::Append(event) => self.append_if_legal(event)?,
                    Command::EndRun { status } => return Ok(Some(status)),
                }
            }
            if !guards.is_empty() {
                self.guard(&guards).await?;
            }
            if !did && guards.is_empty() {
                return Ok(None);
            }
        }
    }

    async fn guard(&mut self, guards: &[(StepIndex, StepKey)]) -> Result<(), EngineError> {
        if guards.len() <= FEW && !self.host.store.objects().is_remote() {
            // The claim looks anyway, in the transaction that takes the first epoch: a commit that is there is found then. Over a
            // network each look is a request: there a claim that finds a commit has made five of them for nothing.
            for (index, _) in guards {
                self.free.insert(*index, Epoch::FIRST);
                self.append_if_legal(Event::StepMissed { step: self.plan.id(*index).clone() })?;
            }
            return Ok(());
        }
        let keys: Vec<StepKey> = guards.iter().map(|(_, key)| *key).collect();
        let answers = self.host.store.guard(&self.run, &keys).await?;
        let missed = |(key, answer): (&StepKey, &Guarded)| matches!(answer, Guarded::Missed(_)).then_some(*key);
        let missed: Vec<StepKey> = keys.iter().zip(&answers).filter_map(missed).collect();
        self.look_ahead(&missed).await;
        for ((index, _), answer) in guards.iter().zip(answers) {
            let step = self.plan.id(*index).clone();
            let event = match answer {
                Guarded::Missed(free) => {
                    free.map(|epoch| self.free.insert(*index, epoch));
                    Event::StepMissed { step }
                }
                Guarded::Committed(slot, committed) => {
                    self.shelf.keep(slot, &committed.artifacts);
                    let artifacts =
                        committed.artifacts.iter().map(|(name, stored)| (name.clone(), stored.artifact)).collect();
                    Event::StepReused { step, slot, artifacts, copied_from: None }
                }
            };
            self.append_if_legal(event)?;
        }
        Ok(())
    }

    /// Looks for these together where their attempts will look each for itself.
    pub(crate) async fn look_ahead(&self, keys: &[StepKey]) {
        for other in self.host.store.others() {
            other.look_ahead(keys).await;
        }
    }

    async fn start(&mut self, step: StepIndex, key: StepKey, next: NextTry) -> Result<(), EngineError> {
        let id = self.plan.id(step).clone();
        let at_end = match self.plan.step(step).handler {
            Some(_) => self.at_end().await?,
            None => None,
        };
        let planned = self.plan.inputs(&self.state, step)?;
        let inputs = self.shelf.bind(&self.host.store, &self.record, &self.plan, &id, planned).await?;
        let budgets = match (self.options.again.refills(&id), self.state.spent(step)) {
            (true, None) => Budgets::From(Box::default()),
            (true, Some(spent)) => Budgets::From(Box::new(spent.clone())),
            (false, _) => Budgets::Continue,
        };
        let request = Request {
            run: self.run.clone(),
            graph: self.record.clone(),
            step: id,
            key,
            inputs,
            retry_index: None,
            take_over: self.options.take_over,
            expected: self.free.remove(&step),
            observed: self.observed.remove(&step).unwrap_or_default(),
            restore: match next.restore {
                RestoreFrom::Newest if mutated(125) => AttemptFrom::Zero,
                RestoreFrom::Newest => AttemptFrom::Newest,
                RestoreFrom::Before(checkpoint) => AttemptFrom::Before(checkpoint),
                RestoreFrom::Zero => AttemptFrom::Zero,
            },
            memory: next.memory,
            interruptions: Some(self.interruptions.clone()),
            checkpoint_sooner: next.checkpoint_sooner,
            accelerators: self.rack.lend(self.started + 1, step, self.plan.demand(step, None).gpu),
            at_end,
            budgets,
        };
        let (control, listen) = watch::channel(self.word.clone());
        self.started += 1;
        let nth = Nth { step, n: self.started };
        let (host, mut line) = (self.host.clone(), Line::of(nth, self.heard.clone()));
        let task = tokio::spawn(async move {
            let verdict = attempt(&host, &request, listen, line.tell()).await;
            line.ended(verdict);
        });
        self.active.insert(step, Active { n: nth.n, control, abort: task.abort_handle(), slot: None });
        Ok(())
    }

    fn watch(&self, step: StepIndex, slot: SlotId) {
        let (store, heard) = (self.host.store.clone(), self.heard.clone());
        tokio::spawn(async move {
            let free = until_free(&store, &slot).await;
            let _gone = heard.send(Heard::Free(step, free));
        });
    }

    fn pass_on(&self, step: StepIndex) {
        if let Some(active) = self.active.get(&step) {
            active.control.send_replace(self.word.clone());
        }
    }
}
