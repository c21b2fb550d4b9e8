//! Checking the taken-in bytes: what fails is not promoted.

use prunella_healing::{Ending, ValidationProblem};
use prunella_model::{ContentFormat, Output, PortName, shown};
use prunella_objects::SMALL_BYTES;
use prunella_process::EndStatus;
use prunella_store::{StoreError, Taken};
use prunella_sys::blocking;

use crate::{Host, formats, workspace::Workspace};

/// Checks one output; answers what is wrong with it, if anything.
///
/// # Errors
/// [`StoreError`] if the bytes cannot be read: nothing is known then.
pub(crate) async fn validate(
    host: &Host,
    name: &PortName,
    output: &Output,
    taken: &Taken,
) -> Result<Option<ValidationProblem>, StoreError> {
    let wrong = |problem: String| Ok(Some(ValidationProblem { output: name.to_string(), problem }));
    let size = taken.stored.artifact.size_bytes;
    let least = output.check.min_size.map_or(1, prunella_model::ByteSize::bytes);
    if size < least {
        return wrong(match size {
            0 => "it is empty".to_owned(),
            _ => format!("it has {size} bytes, at least {least} are declared"),
        });
    }
    if let Some(most) = output.check.max_size
        && size > most.bytes()
    {
        return wrong(format!("it has {size} bytes, at most {} are declared", most.bytes()));
    }
    for pattern in &output.check.files {
        let matcher = match globset::GlobBuilder::new(pattern).literal_separator(true).build() {
            Ok(glob) => glob.compile_matcher(),
            Err(error) => return wrong(format!("its pattern `{pattern}` cannot be used: {error}")),
        };
        if !taken.files().any(|file| matcher.is_match(file.path)) {
            return wrong(format!("no file in it matches `{pattern}`"));
        }
    }
    for file in taken.files() {
        let file_name = if output.tree { file.path } else { output.path.as_str() };
        let format = match output.check.format {
            Some(format) if !output.tree => format,
            _ => ContentFormat::of_name(file_name),
        };
        if format == ContentFormat::Any || (output.tree && file.size_bytes == 0) {
            continue;
        }
        let mut reader = host.store.open_taken(taken, &file).await?;
        let size = file.size_bytes;
        let checked = if size <= SMALL_BYTES as u64 {
            formats::check(format, &mut reader, size)
        } else {
            blocking(move || formats::check(format, &mut reader, size)).await
        };
        if let Err(problem) = checked {
            let place = if output.tree { format!("`{}`: ", shown(file.path.as_bytes())) } else { String::new() };
            return wrong(format!("{place}{problem}"));
        }
    }
    Ok(None)
}

/// KILL and TERM are sent by somebody; what the validator thinks of the output it says by itself.
const SENT: [i32; 2] = [9, 15];

/// What the user's validator made of an output.
pub(crate) enum Verdict {
    /// It exited with 0.
    Passed,
    /// It did not.
    Refused(ValidationProblem),
    /// It was ended from outside, as any program may be: nothing is known of the output.
    Cut(Ending),
}

/// Runs the user's validator over a copy of the taken-in bytes.
///
/// # Errors
/// [`StoreError`] if the copy cannot be made.
pub(crate) async fn run_validator(
    host: &Host,
    name: &PortName,
    command: &str,
    taken: &Taken,
    workspace: &Workspace,
    variables: &[(std::ffi::OsString, std::ffi::OsString)],
    attempt_id: &str,
) -> Result<Verdict, StoreError> {
    let directory = &workspace.root;
    let copy = directory.join(format!(".check-{name}"));
    // The small objects of the output are not in the store before the commit.
    host.store.put_small(taken.objects.clone()).await?;
    host.store.lay_out(&taken.stored, &copy).await?;
    let wrong = |problem: String| Verdict::Refused(ValidationProblem { output: name.to_string(), problem });
    let mut env = variables.to_vec();
    env.push(("PRUNELLA_CHECK_PATH".into(), copy.clone().into()));
    let spec = prunella_process::SpawnSpec {
        attempt_id: attempt_id.to_owned(),
        argv: ["/bin/sh", "-e", "-c", command].map(Into::into).into(),
        env,
        cwd: directory.to_owned(),
        memory_limit: None,
        read_only: workspace.read_only(),
    };
    let mut running = match host.guardian.spawn(spec).await {
        Ok(running) => running,
        Err(error) if error.remedy() == prunella_process::Remedy::NewGuardian => {
            return Ok(Verdict::Cut(Ending::SupervisorDied));
        }
        Err(error) => return Ok(wrong(format!("its check `{command}` cannot be started: {error}"))),
    };
    let mut said: Vec<u8> = Vec::new();
    while let Some(event) = running.next().await {
        match event {
            prunella_process::ProcessEvent::Output { bytes, .. } => {
                said.extend_from_slice(&bytes);
                let keep = said.len().saturating_sub(2000);
                said.drain(..keep);
            }
            prunella_process::ProcessEvent::Usage(_) => {}
            prunella_process::ProcessEvent::Exited(ended) => {
                match ended.status {
                    EndStatus::Exited(0) => return Ok(Verdict::Passed),
                    EndStatus::GuardianDied => return Ok(Verdict::Cut(Ending::SupervisorDied)),
                    EndStatus::Signaled(signal) if SENT.contains(&signal) => {
                        return Ok(Verdict::Cut(Ending::Signaled { signal, by_us: None }));
                    }
                    // A shell says 128 + n when signal n ended its child.
                    EndStatus::Exited(code) if SENT.contains(&(code - 128)) => {
                        return Ok(Verdict::Cut(Ending::Signaled { signal: code - 128, by_us: None }));
                    }
                    EndStatus::Exited(_) | EndStatus::Signaled(_) => {}
                }
                let last = host.redactor.redact_text(String::from_utf8_lossy(&said).trim());
                return Ok(wrong(format!("its check `{command}` refused it: {last}")));
            }
        }
    }
    Ok(Verdict::Cut(Ending::SupervisorDied))
}
