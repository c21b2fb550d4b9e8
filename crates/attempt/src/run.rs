//! One attempt in order: guard and claim, workspace, restore, run, validate, promote.

use std::{ffi::OsString, sync::Arc, time::Duration};

use prunella_healing::{Ending, Evidence, InputDamaged, NoticeSeen, Phase, Spent, Traits, finished};
use prunella_model::{AttemptId, CheckpointId, RunTrace, SlotId, Step, TraceParent};
use prunella_process::{Ended, SpawnSpec};
use prunella_store::{ClaimRequest, Claimed, StoreError, records::Timeline};
use prunella_sys::mutated;
use tokio::sync::watch;

use crate::{
    Control, Failure, Host, Request, RestoreFrom, Success, Told, Verdict,
    claimer::ForRequest,
    command::command,
    control::noticed,
    end::{self, fail, spent_before, trouble},
    interval::Known,
    life::Life,
    moving::Moving,
    needs::lacks,
    promote::Finished,
    snapshots::millis,
    supervise::Supervision,
    tell::Tell,
    variables::{Seen, variables},
    watcher::Watcher,
    workspace::{NoWorkspace, Workspace},
};

/// Runs one attempt and answers how it came out; the slot is filled when it answers, unless the verdict says otherwise.
///
/// Dropping the future kills the step's tree and leaves the slot open for the next one to close.
pub async fn attempt(
    host: &Host,
    request: &Request,
    control: watch::Receiver<Control>,
    tell: Arc<dyn Tell>,
) -> Verdict {
    let Some(step) = request.graph.graph.pipeline.steps.get(request.step.name.as_str()) else {
        return broken(format!("the graph has no step `{}`", request.step));
    };
    let traits = Traits::of(step);
    let claim = ClaimRequest {
        run: request.run.clone(),
        step: request.step.clone(),
        key: request.key,
        owner: host.owner.clone(),
        retry_index: request.retry_index,
        take_over: request.take_over,
        expected: request.expected,
        observed: request.observed.clone(),
    };
    let claimer = ForRequest { host, request, traits: &traits, tell: &*tell, control: &control };
    let (slot, view) = match host.store.claim(&claim, &claimer).await {
        Ok(Claimed::Stopped) => return without_slot(not_started(&control, Phase::Claim, 0)),
        Ok(Claimed::Reused(slot, committed)) => {
            let (artifacts, timeline) = (committed.artifacts, committed.timeline);
            return Verdict::Reused(Success { slot, artifacts, timeline, copied_from: None });
        }
        Ok(Claimed::Ours(slot, view)) => (slot, view),
        Err(error) => return unclaimed(&error),
    };
    // What is told of its transfers is its own.
    let host = &Host { store: host.store.counting(), ..host.clone() };
    let (life, moving, told) = (Life::default(), Moving::default(), tell.clone());
    let rest = async {
        let before = spent_before(&view, &request.run, &request.step, &request.budgets);
        let known = match &step.checkpoint {
            Some(checkpoint) if checkpoint.auto => Known::of(&host.store, request, &view).await,
            Some(_) | None => Known::default(),
        };
        let run = Run {
            host,
            request,
            step,
            traits: &traits,
            slot,
            before: &before,
            known,
            control,
            tell,
            life: &life,
            moving: &moving,
            begun: host.sys.clock.monotonic(),
        };
        // Before anybody hears of an attempt: what is copied was made elsewhere.
        if let Some(copied) = run.copied().await {
            return copied;
        }
        run.tell.tell(Told::Claimed { slot });
        run.go().await
    };
    let rest = life.during(host, slot, rest);
    // Of a store on this machine nothing is far away.
    if !host.store.objects().is_remote() {
        return rest.await;
    }
    tokio::select! {
        biased;
        verdict = rest => verdict,
        () = moving.tell(host, told) => unreachable!("it goes on for ever"),
    }
}

/// Returns what is known of an attempt that was told to end before its program ran: there is nothing to save or wait for.
fn not_started(control: &watch::Receiver<Control>, phase: Phase, at_ms: u64) -> Evidence {
    let mut evidence = Evidence::of(Ending::NeverStarted, phase);
    match &*control.borrow() {
        Control::Notice(deadline) => {
            let source = deadline.source.clone();
            evidence.stop_requested = source == "stop";
            evidence.notice = Some(NoticeSeen { source, at_ms, deadline_ms: None });
        }
        Control::Run | Control::Hint(_) | Control::Kill => evidence.stop_requested = true,
    }
    evidence
}

fn without_slot(evidence: Evidence) -> Verdict {
    let traits = Traits::default();
    let (class, spent) = prunella_healing::assess(&Spent::default(), &evidence, &traits);
    Verdict::Failed(Failure {
        slot: None,
        class,
        evidence: Box::new(evidence),
        spent: Box::new(spent),
        timeline: Timeline::default(),
        closed: false,
    })
}

fn broken(problem: String) -> Verdict {
    let mut evidence = Evidence::of(Ending::NeverStarted, Phase::Guard);
    evidence.contract = Some(problem);
    without_slot(evidence)
}

fn unclaimed(error: &StoreError) -> Verdict {
    let mut evidence = Evidence::of(Ending::NeverStarted, Phase::Claim);
    evidence.storage = Some(trouble(error));
    without_slot(evidence)
}

/// What a step goes on from.
enum Restored {
    /// This checkpoint is laid out.
    From(CheckpointId),
    /// It begins at zero.
    Nothing,
    /// What it was to begin with cannot be laid out; beginning at zero would be other work.
    WarmIsLost(String),
}

pub(crate) struct Run<'a> {
    pub(crate) host: &'a Host,
    pub(crate) request: &'a Request,
    pub(crate) step: &'a Step,
    traits: &'a Traits,
    pub(crate) slot: SlotId,
    before: &'a Spent,
    known: Known,
    control: watch::Receiver<Control>,
    pub(crate) tell: Arc<dyn Tell>,
    life: &'a Life,
    moving: &'a Moving,
    begun: Duration,
}

impl Run<'_> {
    pub(crate) fn at_ms(&self) -> u64 {
        millis(self.host.sys.clock.monotonic().saturating_sub(self.begun))
    }

    pub(crate) async fn fail(&self, evidence: Evidence, timeline: Timeline) -> Verdict {
        let (slot, before, traits) = (self.slot, self.before, self.traits);
        fail(self.host, self.request, end::Ending { slot, before, evidence, traits, timeline }).await
    }

    pub(crate) async fn fail_with(&self, phase: Phase, error: &StoreError, timeline: Timeline) -> Verdict {
        let mut evidence = Evidence::of(Ending::NeverStarted, phase);
        evidence.storage = Some(trouble(error));
        self.fail(evidence, timeline).await
    }

    /// Returns the span of the attempt, if somebody is told of it or called the run as a part of his own.
    fn span(&self) -> Option<TraceParent> {
        let Request { run, step, graph, .. } = self.request;
        let traced = self.host.traced || graph.trace_parent.is_some();
        traced.then(|| RunTrace::new(self.host.store.id(), run, graph.trace_parent).of_attempt(step, &self.slot))
    }

    pub(crate) async fn noticed(&self) {
        noticed(&mut self.control.clone()).await;
    }

    /// Ends an attempt that was told to before its program ran.
    async fn leave(&self, phase: Phase, mut timeline: Timeline) -> Verdict {
        let at_ms = self.at_ms();
        timeline.notice_ms = Some(at_ms);
        self.fail(not_started(&self.control, phase, at_ms), timeline).await
    }

    async fn go(self) -> Verdict {
        let mut timeline = Timeline::default();
        if let Some(lack) = lacks(&self.host.sys, self.step) {
            let mut evidence = Evidence::of(Ending::NeverStarted, Phase::Claim);
            evidence.contract = Some(lack);
            return self.fail(evidence, timeline).await;
        }
        timeline.phases.push(("workspace".to_owned(), self.at_ms()));
        let ground = self.host.ground();
        let made = tokio::select! {
            biased;
            // What was fetched so far is removed by the next attempt of this work.
            () = self.noticed() => return self.leave(Phase::Fetch, timeline).await,
            made = Workspace::make(&ground, self.request, self.step, &self.slot) => made,
        };
        let workspace = match made {
            Ok(workspace) => workspace,
            Err(NoWorkspace::Damaged { input, item, problem }) => {
                let mut evidence = Evidence::of(Ending::NeverStarted, Phase::Fetch);
                evidence.input_damaged = Some(InputDamaged { input, item, detail: problem });
                return self.fail(evidence, timeline).await;
            }
            Err(NoWorkspace::Changed { problem, .. }) => {
                let mut evidence = Evidence::of(Ending::NeverStarted, Phase::Fetch);
                evidence.contract = Some(problem);
                return self.fail(evidence, timeline).await;
            }
            Err(NoWorkspace::Store(error)) => return self.fail_with(Phase::Workspace, &error, timeline).await,
        };
        let verdict = self.work(&workspace, timeline).await;
        match &verdict {
            // What was rejected stays for inspection.
            Verdict::Failed(_) => workspace.remove_checkpoints(&*self.host.sys.fs),
            _ => workspace.remove(self.host, self.step.checkpoint.is_some(), self.request.at_end.is_some()),
        }
        verdict
    }

    async fn work(&self, workspace: &Workspace, mut timeline: Timeline) -> Verdict {
        let mut skipped = Vec::new();
        let mut restored = None;
        if self.step.checkpoint.is_some() {
            timeline.phases.push(("restore".to_owned(), self.at_ms()));
            let began = self.at_ms();
            let restored_now = tokio::select! {
                biased;
                () = self.noticed() => return self.leave(Phase::Restore, timeline).await,
                done = prunella_sys::Phase::Restore.during(self.restore(workspace, &mut skipped)) => done,
            };
            match restored_now {
                Ok(Restored::From(id)) => {
                    let took_ms = self.at_ms().saturating_sub(began);
                    timeline.restored = Some((id, took_ms));
                    restored = Some(id);
                    self.tell.tell(Told::Restored { checkpoint: id, took_ms });
                }
                Ok(Restored::Nothing) => {}
                Ok(Restored::WarmIsLost(problem)) => {
                    let mut evidence = Evidence::of(Ending::NeverStarted, Phase::Restore);
                    evidence.checkpoint_damaged = skipped;
                    evidence.contract = Some(problem);
                    return self.fail(evidence, timeline).await;
                }
                Err(error) => return self.fail_with(Phase::Restore, &error, timeline).await,
            }
        }
        if self.control.borrow().ends() {
            return self.leave(Phase::Restore, timeline).await;
        }
        let id = AttemptId { store: self.host.store.id().to_owned(), run: self.request.run.clone(), slot: self.slot };
        let socket = match self.host.pool.socket(&self.host.guardian, &self.host.sockets) {
            Ok(socket) => socket,
            Err(source) => {
                let path = self.host.sockets.clone();
                return self.fail_with(Phase::Workspace, &StoreError::Io { path, source }, timeline).await;
            }
        };
        let (attempt_id, restored_now) = (id.to_string(), restored.is_some());
        let seen = Seen {
            epoch: self.slot.epoch,
            attempt_id: &attempt_id,
            restored: restored_now,
            socket: Some(&socket.path),
            span: self.span(),
        };
        let variables = variables(&self.host.ground(), self.request, self.step, workspace, &seen);
        let command = command(self.request, self.step, &workspace.mounts);
        let spec = SpawnSpec {
            attempt_id: id.to_string(),
            argv: command.iter().map(OsString::from).collect(),
            env: variables.clone(),
            cwd: workspace.root.clone(),
            memory_limit: self.request.memory.or(self.step.resources.memory).map(prunella_model::ByteSize::bytes),
            read_only: workspace.read_only(),
        };
        // Before the program: what it writes in its first moment is new, not something that was restored.
        let watcher = self
            .step
            .checkpoint
            .as_ref()
            .map(|checkpoint| Watcher::new(&workspace.checkpoint, checkpoint, &*self.host.sys.fs));
        timeline.phases.push(("run".to_owned(), self.at_ms()));
        let started = self.at_ms();
        let running = match self.host.guardian.spawn(spec).await {
            Ok(running) => running,
            Err(error) => {
                let mut evidence = Evidence::of(Ending::SpawnFailed { reason: error.to_string() }, Phase::Run);
                evidence.restored = restored;
                if error.remedy() == prunella_process::Remedy::NewGuardian {
                    evidence.ended = Ending::SupervisorDied;
                }
                return self.fail(evidence, timeline).await;
            }
        };
        let unprotected = running.unprotected();
        if let Some(error) = &unprotected {
            self.tell.tell(Told::Unprotected { why: error.to_string() });
        }
        let accelerators = self.request.accelerators.as_ref().map_or_else(Vec::new, |lent| lent.names.clone());
        self.tell.tell(Told::Started { pid: running.pid(), accelerators });
        let supervision = Supervision {
            host: self.host,
            request: self.request,
            step: self.step,
            slot: self.slot,
            workspace,
            control: self.control.clone(),
            tell: self.tell.clone(),
            life: self.life,
            begun: self.begun,
            restored,
            known: self.known.clone(),
        };
        self.moving.program_runs();
        let mut watched = supervision.run(running, socket, watcher).await;
        self.moving.program_ran(self.host);
        watched.evidence.checkpoint_damaged = skipped;
        timeline.checkpoints = watched.checkpoints;
        timeline.ended_ms = watched.ended_ms;
        timeline.process_ms = watched.ended_ms.saturating_sub(started);
        timeline.notice_ms = watched.evidence.notice.as_ref().map(|notice| notice.at_ms);
        if let Some(Ended { cpu, memory_peak, .. }) = &watched.ended {
            timeline.cpu_ms = millis(*cpu);
            timeline.memory_peak_bytes = *memory_peak;
        }
        let last_log: Vec<_> = watched.last_log.into_iter().collect();
        if watched.fenced {
            return Verdict::Fenced(self.slot);
        }
        // A program that was told to end at its deadline has not finished, whatever it exits with.
        if watched.evidence.timeout || !(finished(&watched.evidence, self.traits) || mutated(121)) {
            if let (Some(error), true) = (&watched.trouble, watched.evidence.newer_checkpoint.is_none()) {
                watched.evidence.storage = Some(trouble(error));
            }
            // Lost log lines are not worth another failure.
            let _log = self.host.store.put_small(last_log).await;
            return self.fail(watched.evidence, timeline).await;
        }
        let (evidence, variables, attempt_id) = (watched.evidence, &*variables, &*id.to_string());
        let finished = Finished {
            workspace,
            evidence,
            timeline,
            restored,
            command,
            last_log,
            variables,
            attempt_id,
            protected: unprotected.is_none(),
        };
        prunella_sys::Phase::Promote.during(self.promote(finished)).await
    }

    /// Restores the highest checkpoint that verifies; those that do not are skipped and recorded.
    ///
    /// Where a step begins with a checkpoint of another key, that one is its zero.
    async fn restore(&self, workspace: &Workspace, skipped: &mut Vec<CheckpointId>) -> Result<Restored, StoreError> {
        let before = match self.request.restore {
            RestoreFrom::Zero => return self.begin_with(workspace).await,
            RestoreFrom::Newest => None,
            // There is nothing before what it begins with.
            RestoreFrom::Before(id) if id.slot.key != self.request.key => return self.begin_with(workspace).await,
            RestoreFrom::Before(id) => Some(id),
        };
        // Listed only after the claim: every predecessor is closed (I4).
        let wanted = |id: &CheckpointId| before.is_none_or(|before| *id < before);
        let skip = |id, problem| {
            skipped.push(id);
            self.tell.tell(Told::CheckpointSkipped { checkpoint: id, problem });
        };
        if let Some((id, _)) = self.host.store.restore_newest(&self.slot, &workspace.checkpoint, wanted, skip).await? {
            return Ok(Restored::From(id));
        }
        self.begin_with(workspace).await
    }

    /// Lays out what the graph says that the step begins with.
    async fn begin_with(&self, workspace: &Workspace) -> Result<Restored, StoreError> {
        let record = &self.request.graph;
        let Some(warm) = record.graph.warm.get(&self.request.step.name) else { return Ok(Restored::Nothing) };
        let lost = |problem: &str| {
            let checkpoint = warm.checkpoint;
            Restored::WarmIsLost(format!("checkpoint {checkpoint}, which the step begins with by `--warm`: {problem}"))
        };
        let Some(stored) = record.brought.iter().find(|stored| stored.artifact == warm.artifact) else {
            return Ok(lost("the run's record does not say where it lies"));
        };
        let laid = self.host.store.restore_warm(&self.slot, warm, stored, &workspace.checkpoint).await?;
        Ok(laid.map_or_else(|problem| lost(&problem), |_| Restored::From(warm.checkpoint)))
    }
}
