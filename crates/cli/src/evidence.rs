//! Evidence in words: what was seen of an attempt that ended without a commit.

use prunella_healing::{Ending, Evidence, KillReason, Phase};

use crate::present::lasting;

/// Returns what was seen, a sentence each, the most telling first. The last lines of stderr are left to others.
pub fn in_words(e: &Evidence) -> Vec<String> {
    let mut said = vec![ending(&e.ended)];
    if let Some(problem) = &e.contract {
        said.push(format!("the contract is broken: {problem}"));
    }
    if let Some(damaged) = &e.input_damaged {
        said.push(format!("input `{}` is damaged: {}", damaged.input, damaged.detail));
    }
    if let Some(problem) = &e.validation {
        said.push(format!("output `{}` fails its check: {}", problem.output, problem.problem));
    }
    if let Some(oom) = &e.out_of_memory {
        let by = if oom.cgroup { "the kernel" } else { "the guardian" };
        said.push(match (oom.seen, oom.limit) {
            (Some(seen), Some(limit)) => format!("out of memory: {seen} used, {limit} allowed ({by} ended it)"),
            (_, Some(limit)) => format!("out of memory: {limit} allowed ({by} ended it)"),
            _ => format!("out of memory ({by} ended it)"),
        });
    }
    if e.timeout {
        said.push("its deadline (`timeout`) passed".to_owned());
    }
    if e.stalled {
        said.push("no sign of life for the stall time".to_owned());
    }
    if let Some(notice) = &e.notice {
        let until = notice.deadline_ms.map_or_else(String::new, |deadline| {
            format!(", the kill due {} later", lasting(deadline.saturating_sub(notice.at_ms)))
        });
        said.push(format!("notice from `{}` at {}{until}", notice.source, lasting(notice.at_ms)));
    }
    if let Some(trouble) = &e.storage {
        said.push(format!("storage: {}", trouble.text));
    }
    if let Some(problem) = &e.infrastructure {
        said.push(format!("the machine: {problem}"));
    }
    if let Some(problem) = &e.capacity {
        said.push(format!("no machine: {problem}"));
    }
    if !e.checkpoint_damaged.is_empty() {
        let names: Vec<String> = e.checkpoint_damaged.iter().map(ToString::to_string).collect();
        said.push(format!("damaged checkpoints were skipped: {}", names.join(", ")));
    }
    if e.restored.is_some() && !e.progressed() {
        said.push("no progress after the checkpoint was restored".to_owned());
    }
    if let Some(phase) = phase(e.phase) {
        said.push(phase.to_owned());
    }
    said
}

fn ending(ended: &Ending) -> String {
    match ended {
        Ending::Exited { code } => format!("the program exited with {code}"),
        Ending::Signaled { signal, by_us: None } => format!("{} from outside ended the program", name(*signal)),
        Ending::Signaled { signal, by_us: Some(reason) } => {
            format!("{} from Prunella ended the program: {}", name(*signal), reason_text(*reason))
        }
        Ending::SpawnFailed { reason } => format!("the program could not be started: {reason}"),
        Ending::SupervisorDied => "the engine or its guardian died; nobody saw the program's end".to_owned(),
        Ending::NeverStarted => "the program was not started".to_owned(),
    }
}

fn name(signal: i32) -> String {
    match signal {
        1 => "SIGHUP".to_owned(),
        2 => "SIGINT".to_owned(),
        3 => "SIGQUIT".to_owned(),
        4 => "SIGILL".to_owned(),
        6 => "SIGABRT".to_owned(),
        7 => "SIGBUS".to_owned(),
        8 => "SIGFPE".to_owned(),
        9 => "SIGKILL".to_owned(),
        11 => "SIGSEGV".to_owned(),
        13 => "SIGPIPE".to_owned(),
        14 => "SIGALRM".to_owned(),
        15 => "SIGTERM".to_owned(),
        other => format!("signal {other}"),
    }
}

const fn reason_text(reason: KillReason) -> &'static str {
    match reason {
        KillReason::Stop => "the run was stopped",
        KillReason::Notice => "the notice's deadline was reached",
        KillReason::Timeout => "its deadline passed",
        KillReason::Stall => "it had stalled",
        KillReason::Memory => "it reached its memory limit",
        KillReason::OwnerGone => "the engine was gone",
        KillReason::Fenced => "its slot was closed by another",
    }
}

/// Returns where it happened, unless that was while the program ran, as always.
const fn phase(phase: Phase) -> Option<&'static str> {
    match phase {
        Phase::Run | Phase::Notice => None,
        Phase::Guard | Phase::Claim => Some("it happened before the attempt had its slot"),
        Phase::Workspace => Some("it happened while the workspace was made"),
        Phase::Fetch => Some("it happened while code and inputs were laid out"),
        Phase::Restore => Some("it happened while a checkpoint was restored"),
        Phase::Validate => Some("it happened while the outputs were taken in and checked"),
        Phase::Promote => Some("it happened while the commit was written"),
        Phase::Effects => Some("it happened after the commit"),
    }
}

#[cfg(test)]
mod tests {
    use prunella_healing::ValidationProblem;

    use super::*;

    #[test]
    fn a_kill_from_outside_and_one_of_ours_read_differently() {
        let outside = in_words(&Evidence::of(Ending::Signaled { signal: 9, by_us: None }, Phase::Run));
        assert_eq!(outside, ["SIGKILL from outside ended the program"]);
        let ours = Ending::Signaled { signal: 9, by_us: Some(KillReason::Stall) };
        assert_eq!(
            in_words(&Evidence::of(ours, Phase::Run)),
            ["SIGKILL from Prunella ended the program: it had stalled"]
        );
    }

    #[test]
    fn a_failed_check_names_output_and_place() {
        let mut e = Evidence::of(Ending::Exited { code: 0 }, Phase::Validate);
        e.validation = Some(ValidationProblem { output: "model".to_owned(), problem: "it is empty".to_owned() });
        assert_eq!(
            in_words(&e),
            [
                "the program exited with 0",
                "output `model` fails its check: it is empty",
                "it happened while the outputs were taken in and checked"
            ]
        );
    }
}
