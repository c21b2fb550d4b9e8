//! What was seen of an attempt that ended without a commit.

use prunella_model::{ByteSize, CheckpointId, Digest, Span};
use serde::{Deserialize, Serialize};

/// Why the supervisor killed a process tree itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum KillReason {
    /// A person stopped the run.
    Stop,
    /// The notice's kill point was reached.
    Notice,
    /// The attempt's deadline passed.
    Timeout,
    /// There was no sign of life for the stall time.
    Stall,
    /// The tree's memory passed its limit.
    Memory,
    /// The engine or guardian that owned the tree is gone.
    OwnerGone,
    /// The slot was closed by another: nothing of this attempt counts any more.
    Fenced,
}

/// How the attempt's program ended.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Ending {
    /// It exited with this code.
    Exited {
        /// The exit code.
        code: i32,
    },
    /// A signal ended it.
    Signaled {
        /// The signal's number.
        signal: i32,
        /// Why the supervisor sent it; nothing if another did.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        by_us: Option<KillReason>,
    },
    /// It could not be started.
    SpawnFailed {
        /// What the system said.
        reason: String,
    },
    /// Its supervisor died, so nobody saw its end.
    SupervisorDied,
    /// The attempt ended before its program was started.
    #[default]
    NeverStarted,
}

/// How far the attempt had come (docs/design/protocol.md, One attempt).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// Looking for a result to reuse.
    #[default]
    Guard,
    /// Taking the slot.
    Claim,
    /// Laying out the directory.
    Workspace,
    /// Bringing in code and inputs.
    Fetch,
    /// Restoring a checkpoint.
    Restore,
    /// The program runs.
    Run,
    /// A notice was passed on and the program may still checkpoint.
    Notice,
    /// Outputs are taken in and checked.
    Validate,
    /// Objects and the commit are written.
    Promote,
    /// The commit stands; the run's effects are done.
    Effects,
}

/// Word that the machine goes away.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NoticeSeen {
    /// Where it came from: `sigterm`, `stop`, or a cloud's name.
    pub source: String,
    /// When, in milliseconds since the attempt's start.
    pub at_ms: u64,
    /// The instant of the kill, in milliseconds since the attempt's start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline_ms: Option<u64>,
}

/// Proof that memory ran out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct OutOfMemory {
    /// The limit that was reached, if there was one.
    #[serde(default, skip_serializing_if = "Option::is_none", rename = "limit_bytes")]
    pub limit: Option<ByteSize>,
    /// The most that was seen.
    #[serde(default, skip_serializing_if = "Option::is_none", rename = "seen_bytes")]
    pub seen: Option<ByteSize>,
    /// Whether the kernel said so (`memory.events`), not the guardian's own sum.
    #[serde(default)]
    pub cgroup: bool,
}

/// What a store or file system refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StorageKind {
    /// The disk or quota is full.
    NoSpace,
    /// It cannot be written.
    ReadOnly,
    /// It did not answer, or not in time.
    Unreachable,
    /// It answered: slower, please.
    Throttled,
    /// It answered: not you.
    Forbidden,
    /// The bucket or directory does not exist.
    Missing,
    /// It answered something else, such as an I/O error.
    Other,
}

impl StorageKind {
    /// Returns whether waiting may help; if not, a person has to change something.
    pub const fn may_pass(self) -> bool {
        match self {
            Self::NoSpace | Self::Unreachable | Self::Throttled | Self::Other => true,
            Self::ReadOnly | Self::Forbidden | Self::Missing => false,
        }
    }
}

/// Storage that kept failing until the attempt gave up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StorageTrouble {
    /// What it was.
    pub kind: StorageKind,
    /// What the store said, with the object's name.
    #[serde(default)]
    pub text: String,
}

/// An input whose bytes are missing or wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InputDamaged {
    /// The input's name.
    pub input: String,
    /// The item whose part of the input it is, in canonical JSON, where the input is a folder of all items.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub item: Option<String>,
    /// What was read in place of it.
    #[serde(default)]
    pub detail: String,
}

/// An output that fails its check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ValidationProblem {
    /// The output's name.
    pub output: String,
    /// What is wrong with it.
    #[serde(default)]
    pub problem: String,
}

/// The times that decide whether a checkpoint can become durable before the next interruption.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Pace {
    /// How long the program ran.
    #[serde(rename = "lived_ms")]
    pub lived: Span,
    /// The time between notice and kill, if there was a notice.
    #[serde(rename = "grace_ms", skip_serializing_if = "Option::is_none")]
    pub grace: Option<Span>,
    /// From the start of a snapshot until it was durable, as last measured.
    #[serde(rename = "checkpoint_ms", skip_serializing_if = "Option::is_none")]
    pub checkpoint: Option<Span>,
    /// The time between two checkpoints, as last measured or declared.
    #[serde(rename = "interval_ms", skip_serializing_if = "Option::is_none")]
    pub interval: Option<Span>,
}

/// Everything seen of an attempt that ended without a commit; recorded with the closed slot, readable for ever.
///
/// A field that an older record lacks reads as "not seen"; a field that an older reader does not know is skipped.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Evidence {
    /// How the program ended.
    pub ended: Ending,
    /// How far the attempt had come.
    pub phase: Phase,
    /// The notice that was seen.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub notice: Option<NoticeSeen>,
    /// Whether a person asked the run to stop.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub stop_requested: bool,
    /// Proof that memory ran out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub out_of_memory: Option<OutOfMemory>,
    /// Whether the attempt's deadline passed.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub timeout: bool,
    /// Whether there was no sign of life for the stall time.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub stalled: bool,
    /// Whether the program said `done` on the socket.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub said_done: bool,
    /// Storage that kept failing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub storage: Option<StorageTrouble>,
    /// What the machine itself lacked or broke, when it is not storage.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub infrastructure: Option<String>,
    /// Why there was no machine to run on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub capacity: Option<String>,
    /// An input whose bytes are missing or wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub input_damaged: Option<InputDamaged>,
    /// Checkpoints that did not verify and were skipped.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub checkpoint_damaged: Vec<CheckpointId>,
    /// An output that fails its check.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub validation: Option<ValidationProblem>,
    /// What is broken in the specification.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub contract: Option<String>,
    /// The checkpoint that was restored.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub restored: Option<CheckpointId>,
    /// Whether the program made progress after its start or restore.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub progress_since_restore: bool,
    /// The last progress mark that the program told.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub progress: Option<u64>,
    /// The newest durable checkpoint, if it is newer than all at the attempt's start.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub newer_checkpoint: Option<CheckpointId>,
    /// The times behind class `no-progress`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pace: Option<Pace>,
    /// The last lines of stderr, bounded by [`bounded_tail`].
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub stderr_tail: Vec<String>,
    /// The failure's signature; without it, the one that [`crate::signature`] gives.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub signature: Option<Digest>,
}

impl Evidence {
    /// Returns evidence that knows only how the program ended and how far the attempt had come.
    pub fn of(ended: Ending, phase: Phase) -> Self {
        Self { ended, phase, ..Self::default() }
    }

    /// Returns the same with its signature filled in.
    pub fn signed(mut self) -> Self {
        self.signature = Some(self.signature_or_computed());
        self
    }

    /// Returns the recorded signature, or computes it.
    pub fn signature_or_computed(&self) -> Digest {
        self.signature.unwrap_or_else(|| crate::signature(&self.stderr_tail, &self.ended))
    }

    /// Returns whether the attempt left more than it started with.
    pub fn progressed(&self) -> bool {
        self.progress_since_restore || self.newer_checkpoint.is_some()
    }
}

const TAIL_LINES: usize = 40;
const TAIL_BYTES: usize = 8 << 10;

/// Returns the last lines that fit into 40 lines and 8 KiB; a longer line keeps its end.
pub fn bounded_tail<'a>(lines: impl DoubleEndedIterator<Item = &'a str>) -> Vec<String> {
    let mut left = TAIL_BYTES;
    let mut tail: Vec<String> = Vec::new();
    for line in lines.rev().take(TAIL_LINES) {
        let mut from = line.len().saturating_sub(left);
        while !line.is_char_boundary(from) {
            from += 1;
        }
        left -= line.len() - from;
        tail.push(line[from..].to_owned());
        if from > 0 {
            break;
        }
    }
    tail.reverse();
    tail
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tail_is_bounded_in_lines_and_bytes_and_keeps_the_end() {
        let many: Vec<String> = (0..100).map(|n| format!("line {n}")).collect();
        let tail = bounded_tail(many.iter().map(String::as_str));
        assert_eq!((tail.len(), tail[39].as_str()), (40, "line 99"));
        let long = "é".repeat(10_000);
        let tail = bounded_tail(["before", &long, "after"].into_iter());
        assert!(tail.iter().map(String::len).sum::<usize>() <= 8 << 10);
        assert_eq!(tail.last().map(String::as_str), Some("after"));
        assert_eq!(tail.len(), 2);
    }

    #[test]
    fn a_record_that_lacks_every_field_is_still_read() {
        assert_eq!(serde_json::from_str::<Evidence>("{}").ok(), Some(Evidence::default()));
        let old = r#"{"ended":{"kind":"signaled","signal":9},"phase":"run","later":{"x":1}}"#;
        let read: Evidence = serde_json::from_str(old).expect("a field of a later version is skipped");
        assert_eq!(read.ended, Ending::Signaled { signal: 9, by_us: None });
    }
}
