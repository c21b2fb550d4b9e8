//! What goes wrong at present: pure.

use std::time::Duration;

use prunella_sys::split_mix;
use serde::{Deserialize, Serialize};

use crate::operation::{Blow, Operation, Place};

/// What goes wrong with storage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Trouble {
    /// The store has no time for a request; a service says 503 `SlowDown`.
    StorageThrottled,
    /// Every request waits.
    StorageSlow,
    /// Requests fail: the device errs, connections are reset, a service says 500.
    StorageErrors,
    /// Requests are done, or are not, and no answer comes.
    RepliesLost,
    /// Bytes that are read come short.
    ShortReads,
    /// There is no room on this machine's disks.
    DiskFull,
    /// Operations on files fail.
    DiskErrors,
    /// Operations on files wait.
    DiskSlow,
}

impl Trouble {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::StorageThrottled,
        Self::StorageSlow,
        Self::StorageErrors,
        Self::RepliesLost,
        Self::ShortReads,
        Self::DiskFull,
        Self::DiskErrors,
        Self::DiskSlow,
    ];

    /// Returns which share of the operations suffers if nobody says otherwise.
    fn share(self) -> f64 {
        match self {
            Self::StorageThrottled => 0.5,
            Self::StorageErrors | Self::RepliesLost => 0.2,
            Self::ShortReads => 0.3,
            Self::DiskErrors => 0.05,
            Self::StorageSlow | Self::DiskFull | Self::DiskSlow => 1.0,
        }
    }

    /// Returns how long an operation waits if nobody says otherwise.
    fn delay(self) -> Duration {
        match self {
            Self::StorageSlow => Duration::from_millis(200),
            Self::DiskSlow => Duration::from_millis(20),
            _ => Duration::ZERO,
        }
    }

    /// Returns whether it is a trouble of this operation.
    fn is_of(self, operation: &Operation<'_>) -> bool {
        let (place, act) = (operation.place, operation.act);
        match self {
            Self::StorageThrottled | Self::StorageSlow | Self::StorageErrors | Self::RepliesLost => {
                place != Place::Files
            }
            Self::ShortReads => act.only_reads(),
            // A store in a directory lies on a disk of this machine, too.
            Self::DiskFull => place != Place::Network && act.takes_room(),
            Self::DiskErrors | Self::DiskSlow => place == Place::Files,
        }
    }

    /// Returns what an operation suffers that is hit; `drawn` decides where there is more than one possibility.
    fn blow(self, drawn: u64) -> Option<Blow> {
        match self {
            Self::StorageThrottled => Some(Blow::Throttled),
            Self::StorageSlow | Self::DiskSlow => None,
            Self::StorageErrors | Self::DiskErrors => Some(Blow::Error),
            Self::RepliesLost if drawn & 1 == 0 => Some(Blow::LostReply),
            Self::RepliesLost => Some(Blow::LostRequest),
            Self::ShortReads => Some(Blow::Short),
            Self::DiskFull => Some(Blow::Full),
        }
    }
}

/// One trouble, for as long as it stands in the file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Storm {
    /// What goes wrong.
    pub trouble: Trouble,
    /// Tells it from an earlier one of its kind.
    #[serde(default)]
    pub number: u64,
    /// Which share of the operations suffers, from 0 to 1; nothing: the usual one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub share: Option<f64>,
    /// How long an operation waits that is hit, in milliseconds; nothing: as usual.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delay_ms: Option<u64>,
}

impl Storm {
    /// Returns a storm of the usual strength.
    pub fn new(trouble: Trouble, number: u64) -> Self {
        Self { trouble, number, share: None, delay_ms: None }
    }
}

/// Everything that goes wrong at present: the content of the file.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Weather {
    /// Decides which operations are hit.
    #[serde(default)]
    pub seed: u64,
    /// By how much the wall clock is wrong, in milliseconds; the monotonic clock never is.
    #[serde(default)]
    pub clock_ms: i64,
    /// The troubles of this moment.
    #[serde(default)]
    pub storms: Vec<Storm>,
}

/// What one storm does to one operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Hit {
    pub wait: Duration,
    pub blow: Option<Blow>,
}

impl Weather {
    /// Returns what this storm does to an operation that is the `nth` of all that this storm may hit; nothing if it is spared.
    ///
    /// The same seed, storm and number give the same answer. Reads that come short are chosen by what is read, so that the same
    /// ones are hit whoever reads them first.
    pub(crate) fn hit(&self, storm: &Storm, operation: &Operation<'_>, nth: u64) -> Option<Hit> {
        let by = match (storm.trouble, operation.place) {
            (Trouble::ShortReads, Place::Objects | Place::Network) => operation
                .what
                .as_os_str()
                .as_encoded_bytes()
                .iter()
                .fold(0, |all, byte| split_mix(all ^ u64::from(*byte))),
            _ => nth,
        };
        let drawn = split_mix(split_mix(split_mix(self.seed ^ storm.number) ^ storm.trouble as u64) ^ by);
        let unit = (drawn >> 11) as f64 / (1_u64 << 53) as f64;
        let share = storm.share.unwrap_or_else(|| storm.trouble.share());
        let wait = storm.delay_ms.map_or_else(|| storm.trouble.delay(), Duration::from_millis);
        (unit < share).then(|| Hit { wait, blow: storm.trouble.blow(drawn) })
    }

    /// Returns the storms that may hit an operation, and their places in the list.
    pub(crate) fn over<'w>(&'w self, operation: &Operation<'w>) -> impl Iterator<Item = &'w Storm> {
        let operation = *operation;
        self.storms.iter().filter(move |storm| storm.trouble.is_of(&operation))
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::operation::Act;

    fn operation(place: Place, act: Act) -> Operation<'static> {
        Operation { place, act, what: Path::new("attempts/k/1") }
    }

    #[test]
    fn the_share_of_the_operations_that_is_said_is_hit_and_a_seed_says_which() {
        let storm = Storm { share: Some(0.25), ..Storm::new(Trouble::RepliesLost, 1) };
        let create = operation(Place::Objects, Act::Create);
        let hits = |seed| {
            let weather = Weather { seed, ..Weather::default() };
            (0..10_000).filter_map(|nth| Some((nth, weather.hit(&storm, &create, nth)?))).collect::<Vec<_>>()
        };
        assert_eq!(hits(7), hits(7));
        assert_ne!(hits(7), hits(8));
        let (some, replies) =
            (hits(7).len(), hits(7).iter().filter(|(_, hit)| hit.blow == Some(Blow::LostReply)).count());
        assert!((2300..2700).contains(&some), "{some} of 10,000");
        assert!(replies * 5 > some * 2 && replies * 5 < some * 3, "{replies} of {some}: as many requests are lost");
    }

    #[test]
    fn a_storm_hits_only_what_it_is_a_storm_of() {
        let troubles = |place, act| -> Vec<Trouble> {
            Trouble::ALL.into_iter().filter(|trouble| trouble.is_of(&operation(place, act))).collect()
        };
        use Trouble as T;
        assert_eq!(troubles(Place::Files, Act::Read), [T::ShortReads, T::DiskErrors, T::DiskSlow]);
        assert_eq!(troubles(Place::Files, Act::Write), [T::DiskFull, T::DiskErrors, T::DiskSlow]);
        assert_eq!(troubles(Place::Files, Act::Remove), [T::DiskErrors, T::DiskSlow], "room can always be made");
        let storage = [T::StorageThrottled, T::StorageSlow, T::StorageErrors, T::RepliesLost];
        assert_eq!(troubles(Place::Network, Act::Create), storage, "the disk of a service is not this machine's");
        assert!(troubles(Place::Objects, Act::Create).contains(&T::DiskFull));
    }

    #[test]
    fn what_is_written_is_read_and_a_slip_of_the_pen_is_not_calm_weather() {
        let weather = Weather { seed: 3, clock_ms: -1, storms: vec![Storm::new(Trouble::DiskFull, 2)] };
        let text = serde_json::to_string(&weather).unwrap();
        assert_eq!(text, r#"{"seed":3,"clock_ms":-1,"storms":[{"trouble":"disk-full","number":2}]}"#);
        assert_eq!(serde_json::from_str::<Weather>(&text).unwrap(), weather);
        assert_eq!(serde_json::from_str::<Weather>("{}").unwrap(), Weather::default());
        for wrong in
            [r#"{"storm":[]}"#, r#"{"storms":[{"trouble":"rain"}]}"#, r#"{"storms":[{"trouble":"disk-full","n":1}]}"#]
        {
            assert!(serde_json::from_str::<Weather>(wrong).is_err(), "{wrong}");
        }
    }
}
