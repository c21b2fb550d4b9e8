//! The classes of failure.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

macro_rules! classes {
    ($($(#[$doc:meta])* $variant:ident = $text:literal,)*) => {
        /// What a failure is (docs/design/0002-healing.md); every ended attempt that did not commit has exactly one.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub enum Class {
            $($(#[$doc])* #[serde(rename = $text)] $variant,)*
        }

        impl Class {
            /// Every class.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// Returns the name used in files, records and on the screen.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text),* }
            }
        }
    };
}

classes! {
    /// A notice or SIGTERM came: the machine goes away.
    Preempted = "preempted",
    /// A person stopped it.
    Stopped = "stopped",
    /// SIGKILL from outside, or the engine, guardian or supervisor died.
    Killed = "killed",
    /// Interruptions in a row without a newer checkpoint.
    NoProgress = "no-progress",
    /// The memory limit was reached.
    OutOfMemory = "out-of-memory",
    /// The accelerator's memory was used up.
    GpuMemory = "gpu-memory",
    /// The accelerator or its interconnect failed.
    GpuFault = "gpu-fault",
    /// No sign of life for the stall time.
    Stalled = "stalled",
    /// The attempt's deadline passed.
    Timeout = "timeout",
    /// The store throttled, timed out or could not be reached.
    Storage = "storage",
    /// An input's bytes are missing or wrong.
    InputDamaged = "input-damaged",
    /// A checkpoint's bytes are missing or wrong.
    CheckpointDamaged = "checkpoint-damaged",
    /// The step failed before any progress after a restore.
    CheckpointRejected = "checkpoint-rejected",
    /// A publication, registration or notification failed.
    Effect = "effect",
    /// An output fails its check.
    Validation = "validation",
    /// The node, its disk or its image pull failed.
    Infrastructure = "infrastructure",
    /// There is no machine to run on.
    Capacity = "capacity",
    /// The step's own exit code.
    Error = "error",
    /// The specification is broken; trying again is useless.
    Contract = "contract",
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Class {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL.iter().copied().find(|c| c.as_str() == text).ok_or_else(|| format!("`{text}` is not a class"))
    }
}
