//! The variables that a step sees.

use std::{collections::BTreeMap, ffi::OsString, path::Path};

use prunella_model::{Epoch, PortName, Step, TraceParent};

use crate::{Ground, Request, workspace::Workspace};

/// Variables of the caller that every step sees; the rest only by `pass_env`.
const PASSED: &[&str] = &[
    "PATH",
    "HOME",
    "LANG",
    "LC_ALL",
    "LC_CTYPE",
    "TMPDIR",
    "USER",
    "http_proxy",
    "https_proxy",
    "no_proxy",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "NO_PROXY",
];

/// What the variables say of the attempt itself.
pub(crate) struct Seen<'a> {
    /// Its number.
    pub(crate) epoch: Epoch,
    /// By which its processes are found.
    pub(crate) attempt_id: &'a str,
    /// Whether a checkpoint was restored.
    pub(crate) restored: bool,
    /// Where it listens; nothing if nobody does.
    pub(crate) socket: Option<&'a Path>,
    /// Its span, if anybody traces the run.
    pub(crate) span: Option<TraceParent>,
}

/// Returns the whole environment of the step's process; later entries win over earlier ones.
pub(crate) fn variables(
    host: &Ground<'_>,
    request: &Request,
    step: &Step,
    workspace: &Workspace,
    seen: &Seen<'_>,
) -> Vec<(OsString, OsString)> {
    let mut all: BTreeMap<OsString, OsString> = BTreeMap::new();
    for (name, value) in host.inherited.iter() {
        let text = name.to_string_lossy();
        let passed = PASSED.contains(&text.as_ref())
            || text.starts_with("CUDA_")
            || step.pass_env.iter().any(|wanted| wanted.as_str() == text);
        if passed {
            all.insert(name.clone(), value.clone());
        }
    }
    if let Some(lent) = &request.accelerators {
        for (name, value) in &lent.variables {
            // A step without accelerators may ask for the caller's word by name.
            let asked = lent.names.is_empty() && step.pass_env.iter().any(|wanted| wanted.as_str() == *name);
            if !asked {
                all.insert((*name).into(), value.into());
            }
        }
    }
    let mut set = |name: String, value: OsString| {
        all.insert(name.into(), value);
    };
    for (name, value) in &host.environment.variables {
        set(name.clone(), value.into());
    }
    // The standard's own name, so that a program that is instrumented joins by itself; what the step says wins.
    if let Some(span) = &seen.span {
        set("TRACEPARENT".to_owned(), span.to_string().into());
    }
    for (name, value) in &step.env {
        set(name.as_str().to_owned(), value.into());
    }
    for name in &step.secrets {
        if let Some(secret) = host.secrets.get(name) {
            set(name.as_str().to_owned(), secret.0.clone().into());
        }
    }
    if let Some(at_end) = &request.at_end {
        for (name, value) in &at_end.variables {
            set((*name).to_owned(), value.into());
        }
        set("PRUNELLA_REPORT".to_owned(), workspace.report().into());
    }
    let port = |kind: &str, name: &PortName| format!("PRUNELLA_{kind}_{}", name.to_variable());
    for (name, input) in &request.inputs {
        let mount = workspace.mounts.iter().find(|mount| mount.input == *name);
        let laid_out = || workspace.input(name, &input.base_name);
        set(port("INPUT", name), mount.map_or_else(laid_out, |mount| mount.place().to_owned()).into());
    }
    for (name, output) in &step.outputs {
        set(port("OUTPUT", name), workspace.root.join(output.path.as_str()).into());
    }
    if let Some(checkpoint) = &step.checkpoint {
        set("PRUNELLA_CHECKPOINT_DIR".to_owned(), workspace.checkpoint.clone().into());
        set("PRUNELLA_GRACE_SECONDS".to_owned(), checkpoint.grace.duration().as_secs().to_string().into());
    }
    set("PRUNELLA_RESTORED".to_owned(), if seen.restored { "1" } else { "0" }.into());
    set("PRUNELLA_RUN_ID".to_owned(), request.run.as_str().into());
    set("PRUNELLA_STEP".to_owned(), request.step.to_string().into());
    if let Some(item) = &request.step.item {
        set("PRUNELLA_ITEM".to_owned(), item.as_str().into());
    }
    set("PRUNELLA_STEP_KEY".to_owned(), request.key.hex().into());
    set("PRUNELLA_ATTEMPT".to_owned(), seen.epoch.to_string().into());
    set("PRUNELLA_ATTEMPT_ID".to_owned(), seen.attempt_id.into());
    if let Some(socket) = seen.socket {
        set("PRUNELLA_SOCKET".to_owned(), socket.into());
    }
    all.into_iter().collect()
}
