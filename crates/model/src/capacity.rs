//! The capacity that a step asks for where machines come and go.

use serde::{Deserialize, Serialize};

use crate::Span;

/// Which kind of machine a step would rather have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Prefer {
    /// Cheap, and taken away at short notice.
    Spot,
    /// Dear, and left alone.
    OnDemand,
}

impl Prefer {
    /// Returns the name used in the pipeline file.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Spot => "spot",
            Self::OnDemand => "on-demand",
        }
    }
}

/// What a step wishes of the capacity that it runs on; one machine has no choice. Not in the key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct CapacityWish {
    /// The kind it would rather have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prefer: Option<Prefer>,
    /// How long it waits for that kind before it takes the other.
    #[serde(default, skip_serializing_if = "Option::is_none", rename = "patience_ms")]
    pub patience: Option<Span>,
}
