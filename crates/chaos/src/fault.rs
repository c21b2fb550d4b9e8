//! What is done to a run, and when.

use std::{fmt, time::Duration};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// One thing that goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "fault")]
pub enum Fault {
    /// The machine is told that it goes away (SIGTERM to the engine); when the time is over, everything on it is killed.
    Notice {
        /// How long it has, in milliseconds.
        #[serde(rename = "grace_ms", with = "millis")]
        grace: Duration,
    },
    /// Everything on the machine is killed at once.
    Machine,
    /// The engine is killed.
    Engine,
    /// The guardian is killed.
    Guardian,
    /// The main process of a step is killed.
    Step,
    /// All processes of a step stand still for a while.
    Freeze {
        /// For how long, in milliseconds.
        #[serde(rename = "for_ms", with = "millis")]
        lasting: Duration,
    },
    /// The engine stands still, another one takes the run over, and the first one comes back.
    Zombie,
}

/// Times as whole milliseconds.
mod millis {
    use super::{Deserialize, Deserializer, Duration, Serializer};

    pub(super) fn serialize<S: Serializer>(time: &Duration, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_u64(u64::try_from(time.as_millis()).unwrap_or(u64::MAX))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
        u64::deserialize(from).map(Duration::from_millis)
    }
}

impl Fault {
    /// Returns whether the engine is gone afterwards, so that somebody has to start it again.
    pub fn ends_engine(self) -> bool {
        match self {
            Self::Notice { .. } | Self::Machine | Self::Engine => true,
            Self::Guardian | Self::Step | Self::Freeze { .. } | Self::Zombie => false,
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Notice { grace } => write!(f, "notice, {:.1} s before the machine is killed", grace.as_secs_f64()),
            Self::Machine => f.write_str("machine killed"),
            Self::Engine => f.write_str("engine killed"),
            Self::Guardian => f.write_str("guardian killed"),
            Self::Step => f.write_str("step killed"),
            Self::Freeze { lasting } => write!(f, "step stopped for {:.1} s", lasting.as_secs_f64()),
            Self::Zombie => f.write_str("engine stopped, taken over from, and woken"),
        }
    }
}

/// A fault and its time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Strike {
    /// How long after the one before, or after the begin, in milliseconds.
    #[serde(rename = "after_ms", with = "millis")]
    pub after: Duration,
    /// What happens.
    #[serde(flatten)]
    pub fault: Fault,
}
