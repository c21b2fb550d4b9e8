//! After the program: outputs are taken in, checked as they were taken, and committed together.

use std::{collections::BTreeMap, ffi::OsString};

use prunella_healing::{Evidence, Phase, ValidationProblem};
use prunella_model::{ArtifactKind, CheckpointId, PortName, Reference};
use prunella_store::{
    Alike, Filled, ReadyCommit, StoreError,
    records::{InputProvenance, MountedAt, Provenance, StoredArtifact, Timeline},
};

use crate::{
    InputBytes, Success, Told, Verdict,
    end::trouble,
    references,
    run::Run,
    validate::{self, run_validator, validate},
    workspace::{NoWorkspace, Workspace},
};

/// What is known of a program that ended well.
pub(crate) struct Finished<'a> {
    pub(crate) workspace: &'a Workspace,
    pub(crate) evidence: Evidence,
    pub(crate) timeline: Timeline,
    pub(crate) restored: Option<CheckpointId>,
    pub(crate) command: Vec<String>,
    /// The last piece of output, stored with the end.
    pub(crate) last_log: Vec<(prunella_objects::ObjectKey, bytes::Bytes)>,
    pub(crate) variables: &'a [(OsString, OsString)],
    pub(crate) attempt_id: &'a str,
    /// Whether it could not write to what is mounted.
    pub(crate) protected: bool,
}

impl Run<'_> {
    /// Takes every declared output in, checks the taken bytes, and commits them; nothing is published before that.
    pub(crate) async fn promote(&self, finished: Finished<'_>) -> Verdict {
        let Finished {
            workspace,
            mut evidence,
            mut timeline,
            restored,
            command,
            last_log,
            variables,
            attempt_id,
            protected,
        } = finished;
        timeline.phases.push(("validate".to_owned(), self.at_ms()));
        evidence.phase = Phase::Validate;
        let mut remarks = Vec::new();
        match self.look_again(workspace, &mut remarks).await {
            Ok(()) => {}
            Err(NoWorkspace::Changed { problem, .. }) => {
                evidence.contract = Some(problem);
                let _log = self.host.store.put_small(last_log).await;
                return self.fail(evidence, timeline).await;
            }
            Err(NoWorkspace::Store(error)) => return self.fail_late(evidence, timeline, &error).await,
            Err(NoWorkspace::Damaged { .. }) => unreachable!("nothing of it is in the store"),
        }
        let checked_by_commands = self.step.outputs.values().any(|output| output.check.command.is_some());
        if !checked_by_commands {
            self.tell.tell(Told::Storing);
        }
        let (mut artifacts, mut objects) = (BTreeMap::new(), Vec::new());
        for (name, output) in &self.step.outputs {
            let kind = if output.tree { ArtifactKind::Tree } else { ArtifactKind::File };
            let path = workspace.root.join(output.path.as_str());
            let alike =
                Alike { pipeline: &self.request.graph.graph.pipeline.name, step: &self.request.step, output: name };
            let taken = match self.host.store.take_output_alike(&self.slot, &path, kind, &alike).await {
                Ok(taken) => taken,
                Err(error @ (StoreError::Unfit { .. } | StoreError::Tree { .. })) => {
                    let problem = problem_of(&error, &workspace.root);
                    let _log = self.host.store.put_small(last_log).await;
                    return self.reject(evidence, timeline, name, problem).await;
                }
                Err(error) => return self.fail_late(evidence, timeline, &error).await,
            };
            let checked = match validate(self.host, name, output, &taken).await {
                Ok(None) => match &output.check.command {
                    None => Ok(None),
                    Some(command) => {
                        let host = self.host;
                        match run_validator(host, name, command, &taken, workspace, variables, attempt_id).await {
                            Ok(validate::Verdict::Passed) => Ok(None),
                            Ok(validate::Verdict::Refused(problem)) => Ok(Some(problem)),
                            Ok(validate::Verdict::Cut(ended)) => {
                                evidence.ended = ended;
                                let _log = self.host.store.put_small(last_log).await;
                                return self.fail(evidence, timeline).await;
                            }
                            Err(error) => Err(error),
                        }
                    }
                },
                other => other,
            };
            match checked {
                Ok(None) => {}
                Ok(Some(problem)) => {
                    self.keep_rejected(&taken.stored, &taken.objects, &path).await;
                    let _log = self.host.store.put_small(last_log).await;
                    evidence.validation = Some(problem);
                    return self.fail(evidence, timeline).await;
                }
                Err(error) => return self.fail_late(evidence, timeline, &error).await,
            }
            artifacts.insert(name.clone(), taken.stored);
            // A validator's objects are created already; a second create of the same bytes changes nothing.
            objects.extend(taken.objects);
        }
        objects.extend(last_log);
        timeline.phases.push(("promote".to_owned(), self.at_ms()));
        evidence.phase = Phase::Promote;
        let mounts = workspace.mounts.iter();
        let mounted = mounts.map(|mount| (mount.input.clone(), mount.record(protected))).collect();
        let provenance = self.provenance(restored, command, remarks, &mounted);
        let success =
            Success { slot: self.slot, artifacts: artifacts.clone(), timeline: timeline.clone(), copied_from: None };
        let ready = ReadyCommit { artifacts, objects, provenance, timeline: timeline.clone() };
        match self.host.store.commit(&self.slot, ready).await {
            Ok(Filled::Ours) => Verdict::Committed(success),
            Ok(Filled::Theirs(_)) => Verdict::Fenced(self.slot),
            Err(error) => self.fail_late(evidence, timeline, &error).await,
        }
    }

    /// Looks whether what is in no store is still what the run is of.
    async fn look_again(&self, workspace: &Workspace, remarks: &mut Vec<String>) -> Result<(), NoWorkspace> {
        for mount in &workspace.mounts {
            remarks.extend(mount.look_again(&self.host.ground()).await?);
        }
        for reading in &workspace.readings {
            reading.look_again(&self.host.ground()).await?;
        }
        Ok(())
    }

    async fn reject(&self, mut evidence: Evidence, timeline: Timeline, name: &PortName, problem: String) -> Verdict {
        evidence.validation = Some(ValidationProblem { output: name.to_string(), problem });
        self.fail(evidence, timeline).await
    }

    async fn fail_late(&self, mut evidence: Evidence, timeline: Timeline, error: &StoreError) -> Verdict {
        evidence.storage = Some(trouble(error));
        self.fail(evidence, timeline).await
    }

    /// Puts a rejected output back where the step wrote it, for inspection; it was moved to be checked.
    async fn keep_rejected(
        &self,
        stored: &StoredArtifact,
        objects: &[(prunella_objects::ObjectKey, bytes::Bytes)],
        path: &std::path::Path,
    ) {
        if matches!(self.host.sys.fs.metadata(path), Ok(None))
            && self.host.store.put_small(objects.to_vec()).await.is_ok()
        {
            let _not_worth_a_failure = self.host.store.lay_out(stored, path).await;
        }
    }

    pub(crate) fn provenance(
        &self,
        restored: Option<CheckpointId>,
        command: Vec<String>,
        mut remarks: Vec<String>,
        mounted: &BTreeMap<PortName, MountedAt>,
    ) -> Provenance {
        let graph = &self.request.graph.graph;
        let referenced = self.step.run.templates().iter().flat_map(|template| template.references());
        let params = referenced
            .filter_map(|reference| match reference {
                Reference::Param(name) => {
                    graph.pipeline.params.get(name).map(|value| (name.to_string(), value.clone()))
                }
                Reference::Input(_) | Reference::Output(_) | Reference::Item(_) => None,
            })
            .collect();
        let inputs = self.request.inputs.iter().map(|(name, input)| {
            let items = match &input.bytes {
                InputBytes::Stored { .. } | InputBytes::Mounted(_) => Vec::new(),
                InputBytes::FanIn(fan_in) => fan_in.parts.iter().map(|part| (part.item.clone(), part.slot)).collect(),
            };
            let (artifact, slot, source) = (input.artifact(), input.slot(), input.source.clone());
            let mounted = mounted.get(name).cloned();
            let referenced = references::referenced(&self.request.graph, self.step, name).cloned();
            (name.clone(), InputProvenance { artifact, slot, source, items, mounted, referenced })
        });
        for (name, pin) in &graph.data {
            let source = format!("data.{name}");
            if !pin.pinned && self.request.inputs.values().any(|input| input.source == source) {
                remarks.push(format!("{source} was not pinned"));
            }
        }
        if let Some(warm) = graph.warm.get(&self.request.step.name) {
            let (checkpoint, digest) = (warm.checkpoint, warm.artifact.digest);
            let key = checkpoint.slot.key.hex();
            remarks.push(format!("began with checkpoint {checkpoint} of key {key}, content {digest}"));
        }
        let declared = self.step.env.iter().map(|(name, value)| (name.as_str(), value));
        // They enter the key as well (I7).
        let of_the_end = self.request.at_end.iter().flat_map(|at_end| &at_end.variables);
        let env = declared.chain(of_the_end.map(|(name, value)| (*name, value)));
        Provenance {
            pipeline: graph.pipeline.name.clone(),
            item: self.request.step.item.clone(),
            command,
            code: graph.code_of(&self.request.step.name).map(|code| code.digest),
            environment: graph.environment.as_ref().map(|pin| pin.digest),
            platform: format!("{}-{}", graph.platform.os, graph.platform.arch),
            params,
            env: env.map(|(name, value)| (name.to_owned(), value.clone())).collect(),
            inputs: inputs.collect(),
            restored,
            remarks,
            copied_from: None,
        }
    }
}

fn problem_of(error: &StoreError, root: &std::path::Path) -> String {
    let text = match error {
        StoreError::Unfit { problem, .. } => return problem.clone(),
        other => other.to_string(),
    };
    text.replace(&format!("{}/", root.display()), "")
}
