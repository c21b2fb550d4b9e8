//! The conditions of a step's next attempt, as the journal writes them.

use prunella_healing::{Restore, Retry};
use prunella_model::{ByteSize, CheckpointId, Span};
use serde::{Deserialize, Serialize};

/// What an attempt starts from, as the journal writes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RestoreFrom {
    /// The newest checkpoint that verifies.
    #[default]
    Newest,
    /// The newest that verifies among those before this one.
    Before(CheckpointId),
    /// Nothing: from the beginning.
    Zero,
}

impl From<Restore> for RestoreFrom {
    fn from(restore: Restore) -> Self {
        match restore {
            Restore::Newest => Self::Newest,
            Restore::Before(checkpoint) => Self::Before(checkpoint),
            Restore::Zero => Self::Zero,
        }
    }
}

impl From<RestoreFrom> for Restore {
    fn from(restore: RestoreFrom) -> Self {
        match restore {
            RestoreFrom::Newest => Self::Newest,
            RestoreFrom::Before(checkpoint) => Self::Before(checkpoint),
            RestoreFrom::Zero => Self::Zero,
        }
    }
}

/// The conditions of a step's next attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct NextTry {
    /// How long to wait first.
    #[serde(rename = "delay_ms")]
    pub delay: Span,
    /// The memory to give in place of what the step starts with.
    #[serde(default, skip_serializing_if = "Option::is_none", rename = "memory_bytes")]
    pub memory: Option<ByteSize>,
    /// Where it goes on.
    #[serde(default)]
    pub restore: RestoreFrom,
    /// Whether the interval between checkpoints is halved.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub checkpoint_sooner: bool,
    /// Whether another node is better, if there is one.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub avoid_node: bool,
    /// Whether the node cache is drained first.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub drain_cache: bool,
}

impl From<Retry> for NextTry {
    fn from(retry: Retry) -> Self {
        Self {
            delay: retry.delay.into(),
            memory: retry.memory,
            restore: retry.restore.into(),
            checkpoint_sooner: retry.checkpoint_sooner,
            avoid_node: retry.avoid_node,
            drain_cache: retry.drain_cache,
        }
    }
}
