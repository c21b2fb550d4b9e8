//! The condition under which a step runs.

use serde::{Deserialize, Serialize};

use crate::{PortName, StepName};

/// An output that a condition reads.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct OutputRead {
    /// The step.
    pub step: StepName,
    /// Its output.
    pub output: PortName,
}

/// The condition under which a step runs; it says whether, and so is no part of the key of what runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct When {
    /// Its text (crate `condition` understands it).
    pub expression: String,
    /// The outputs that it reads: their steps come first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reads: Vec<OutputRead>,
}
