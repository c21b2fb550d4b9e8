//! What a user may set about healing.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{Class, Span};

/// The waits between tries: exponential from `first` to `most`, with full jitter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Backoff {
    /// The ceiling of the first wait.
    #[serde(rename = "first_ms")]
    pub first: Span,
    /// The ceiling of every wait.
    #[serde(rename = "most_ms")]
    pub most: Span,
}

/// A user's setting for one class; what is not set keeps its default.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ClassPolicy {
    /// How often a step may fail this way in one run before it is given up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
    /// The waits between tries.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backoff: Option<Backoff>,
}

/// The settings of a step by class; empty means the defaults of docs/design/0002-healing.md.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RetryPolicy(pub BTreeMap<Class, ClassPolicy>);

impl RetryPolicy {
    /// Returns the setting for `class`, with nothing set where the user said nothing.
    pub fn of(&self, class: Class) -> ClassPolicy {
        self.0.get(&class).copied().unwrap_or_default()
    }
}
