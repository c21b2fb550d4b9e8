//! Steps that run at the end of a run.

use serde::{Deserialize, Serialize};

/// When a step runs that belongs to the end of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Handler {
    /// `on_exit`: whenever the run has succeeded or failed.
    Exit,
    /// `on_failure`: when it has failed.
    Failure,
}

impl Handler {
    /// Returns the key of the pipeline file, which is also the beginning of the step's name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Exit => "on_exit",
            Self::Failure => "on_failure",
        }
    }
}
