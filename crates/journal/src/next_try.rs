//! The conditions of a step's next attempt, as the journal writes them.

use std::ops::Deref;

use prunella_healing::{Restore, Retry};
use prunella_model::{ByteSize, CheckpointId, Span};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

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

/// The conditions of a step's next attempt in the room of a pointer: those of nearly all steps are the usual ones.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Next(Option<Box<NextTry>>);

impl Deref for Next {
    type Target = NextTry;

    fn deref(&self) -> &NextTry {
        static USUAL: NextTry = NextTry {
            delay: Span::from_millis(0),
            memory: None,
            restore: RestoreFrom::Newest,
            checkpoint_sooner: false,
            avoid_node: false,
            drain_cache: false,
        };
        self.0.as_deref().unwrap_or(&USUAL)
    }
}

impl From<NextTry> for Next {
    fn from(next: NextTry) -> Self {
        Self((next != NextTry::default()).then(|| Box::new(next)))
    }
}

impl Serialize for Next {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        NextTry::serialize(self, serializer)
    }
}

impl<'de> Deserialize<'de> for Next {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        NextTry::deserialize(deserializer).map(Self::from)
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn usual_conditions_take_no_room_and_no_conditions_are_lost() {
        assert_eq!(Next::default(), Next::from(NextTry::default()));
        assert_eq!(Next::from(NextTry::default()).0, None);
        let unusual = NextTry { memory: Some(ByteSize(7)), restore: RestoreFrom::Zero, ..NextTry::default() };
        for next in [NextTry::default(), unusual] {
            assert_eq!(*Next::from(next), next);
            let json = serde_json::to_string(&Next::from(next)).unwrap();
            assert_eq!(json, serde_json::to_string(&next).unwrap());
            assert_eq!(*serde_json::from_str::<Next>(&json).unwrap(), next);
        }
    }
}
