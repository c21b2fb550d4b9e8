//! What is done to a run, and when.

use std::{fmt, time::Duration};

use prunella_faults::Trouble;
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
    /// The store has no time for half of what it is asked.
    StorageThrottled {
        /// For how long, in milliseconds.
        #[serde(rename = "for_ms", with = "millis")]
        lasting: Duration,
    },
    /// Every request to the store waits.
    StorageSlow {
        /// For how long, in milliseconds.
        #[serde(rename = "for_ms", with = "millis")]
        lasting: Duration,
    },
    /// Requests to the store fail.
    StorageErrors {
        /// For how long, in milliseconds.
        #[serde(rename = "for_ms", with = "millis")]
        lasting: Duration,
    },
    /// Requests to the store are done, or are not, and no answer comes.
    RepliesLost {
        /// For how long, in milliseconds.
        #[serde(rename = "for_ms", with = "millis")]
        lasting: Duration,
    },
    /// Bytes that are read come short once.
    ShortReads {
        /// For how long, in milliseconds.
        #[serde(rename = "for_ms", with = "millis")]
        lasting: Duration,
    },
    /// There is no room on the disks of the machine.
    DiskFull {
        /// For how long, in milliseconds.
        #[serde(rename = "for_ms", with = "millis")]
        lasting: Duration,
    },
    /// Operations on files fail.
    DiskErrors {
        /// For how long, in milliseconds.
        #[serde(rename = "for_ms", with = "millis")]
        lasting: Duration,
    },
    /// Operations on files wait.
    DiskSlow {
        /// For how long, in milliseconds.
        #[serde(rename = "for_ms", with = "millis")]
        lasting: Duration,
    },
    /// The wall clock is put forward or back, and stays so; time goes on as it does.
    ClockJump {
        /// By how much, in milliseconds.
        by_ms: i64,
    },
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
        matches!(self, Self::Notice { .. } | Self::Machine | Self::Engine)
    }

    /// Returns what goes wrong with storage, and for how long, if that is what the fault is.
    pub fn storm(self) -> Option<(Trouble, Duration)> {
        match self {
            Self::StorageThrottled { lasting } => Some((Trouble::StorageThrottled, lasting)),
            Self::StorageSlow { lasting } => Some((Trouble::StorageSlow, lasting)),
            Self::StorageErrors { lasting } => Some((Trouble::StorageErrors, lasting)),
            Self::RepliesLost { lasting } => Some((Trouble::RepliesLost, lasting)),
            Self::ShortReads { lasting } => Some((Trouble::ShortReads, lasting)),
            Self::DiskFull { lasting } => Some((Trouble::DiskFull, lasting)),
            Self::DiskErrors { lasting } => Some((Trouble::DiskErrors, lasting)),
            Self::DiskSlow { lasting } => Some((Trouble::DiskSlow, lasting)),
            _ => None,
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
            Self::StorageThrottled { lasting } => write!(f, "storage throttled for {:.1} s", lasting.as_secs_f64()),
            Self::StorageSlow { lasting } => write!(f, "storage slow for {:.1} s", lasting.as_secs_f64()),
            Self::StorageErrors { lasting } => write!(f, "storage fails for {:.1} s", lasting.as_secs_f64()),
            Self::RepliesLost { lasting } => {
                write!(f, "replies of the storage lost for {:.1} s", lasting.as_secs_f64())
            }
            Self::ShortReads { lasting } => write!(f, "short reads for {:.1} s", lasting.as_secs_f64()),
            Self::DiskFull { lasting } => write!(f, "disk full for {:.1} s", lasting.as_secs_f64()),
            Self::DiskErrors { lasting } => write!(f, "disk fails for {:.1} s", lasting.as_secs_f64()),
            Self::DiskSlow { lasting } => write!(f, "disk slow for {:.1} s", lasting.as_secs_f64()),
            Self::ClockJump { by_ms } if *by_ms < 0 => {
                write!(f, "wall clock put back by {:.1} s", by_ms.unsigned_abs() as f64 / 1e3)
            }
            Self::ClockJump { by_ms } => write!(f, "wall clock put forward by {:.1} s", *by_ms as f64 / 1e3),
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
