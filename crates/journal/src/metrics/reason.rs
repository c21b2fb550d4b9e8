//! What compute time was lost to.

use std::fmt;

use prunella_model::Class;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

/// What compute time was lost to: the end of an attempt, or bringing a program back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LossReason {
    /// An attempt ended without a commit, and this of it is in no checkpoint that anybody restored.
    Ended(Class),
    /// An attempt that restored a checkpoint had to be brought up, and its program to start, once more.
    Restart,
    /// An attempt of which no end is known: its engine is gone, or what it made was not needed any more.
    Unfinished,
}

impl LossReason {
    /// Returns the word for it: a class, `restart`, or `unfinished`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ended(class) => class.as_str(),
            Self::Restart => "restart",
            Self::Unfinished => "unfinished",
        }
    }
}

impl fmt::Display for LossReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl Serialize for LossReason {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for LossReason {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        match String::deserialize(from)?.as_str() {
            "restart" => Ok(Self::Restart),
            "unfinished" => Ok(Self::Unfinished),
            class => class.parse().map(Self::Ended).map_err(D::Error::custom),
        }
    }
}
