//! How a run is asked to stop, and how it ends.

use serde::{Deserialize, Serialize};

/// How a run was asked to stop; the later the stronger.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StopHow {
    /// Running steps get their notice and end in checkpoints.
    Checkpoint,
    /// Running steps are killed.
    Now,
}

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RunStatus {
    /// Every step is done.
    Succeeded,
    /// A step, or what one does to the outside, was given up.
    Failed,
    /// It was asked to stop and can be resumed.
    Stopped,
}
