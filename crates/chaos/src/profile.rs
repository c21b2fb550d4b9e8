//! Profiles: which faults a place has, and how often.

use std::{fmt, str::FromStr, time::Duration};

use prunella_sys::Random;

use crate::fault::{Fault, Platform, Strike};

/// What goes wrong in a place, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Profile {
    /// Spot machines of AWS: a notice of 120 s, now and then none.
    AwsSpot,
    /// Spot machines of Google Cloud: a notice of 30 s, now and then none.
    GcpSpot,
    /// Spot machines of Azure: a notice of 30 s at least, now and then none.
    AzureSpot,
    /// Pods of Argo Workflows: as other pods.
    Argo,
    /// Pods of GKE Autopilot on spot machines: SIGTERM and 15 s.
    Autopilot,
    /// Pods of Kubeflow Pipelines: SIGTERM and 1 s.
    Kfp,
    /// Pods of a cluster: SIGTERM and 30 s, sometimes a kill of the step alone.
    Pods,
    /// Kills without any notice, of everything that can be killed.
    Kills,
    /// Storage that is throttled, slow, fails, loses replies and is full, a clock that jumps, and now and then a kill.
    StorageStorm,
    /// All of it, and processes that stand still and come back.
    Everything,
}

/// No profile has this name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there is no profile `{0}`; there are {names}", names = Profile::names())]
pub struct UnknownProfile(pub String);

impl Profile {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::AwsSpot,
        Self::GcpSpot,
        Self::AzureSpot,
        Self::Argo,
        Self::Autopilot,
        Self::Kfp,
        Self::Pods,
        Self::Kills,
        Self::StorageStorm,
        Self::Everything,
    ];

    /// Returns its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::AwsSpot => "aws-spot",
            Self::GcpSpot => "gcp-spot",
            Self::AzureSpot => "azure-spot",
            Self::Argo => "argo",
            Self::Autopilot => "autopilot",
            Self::Kfp => "kfp",
            Self::Pods => "pods",
            Self::Kills => "kills",
            Self::StorageStorm => "storage-storm",
            Self::Everything => "everything",
        }
    }

    fn names() -> String {
        Self::ALL.map(|profile| format!("`{profile}`")).join(", ")
    }

    /// Draws a plan of so many strikes, spread over a run that takes `undisturbed` by itself.
    ///
    /// Times between strikes are exponential, with a mean at which all of them fall into such a run, and at most three
    /// times that. `speed` divides the times of notices, stops and storms. The same seed gives the same plan.
    pub fn draw(self, random: &dyn Random, strikes: usize, undisturbed: Duration, speed: f64) -> Vec<Strike> {
        let mean = undisturbed.as_secs_f64() / (strikes as f64 + 1.0);
        let strike = |_| {
            // Below 1, so that the logarithm is finite.
            let unit = (random.u64() >> 11) as f64 / (1_u64 << 53) as f64;
            let after = mean * (-(1.0 - unit).ln()).min(3.0);
            Strike { after: Duration::from_secs_f64(after), fault: self.choose(random, speed) }
        };
        (0..strikes).map(strike).collect()
    }

    /// Returns the faults of this profile, and how often each comes.
    fn weights(self, speed: f64) -> Vec<(u64, Fault)> {
        let after = |seconds: f64| Duration::from_secs_f64(seconds / speed);
        let notice = |seconds: f64| Fault::Notice { grace: after(seconds), by: None };
        let of = |by: Platform| Fault::Notice { grace: after(by.grace().as_secs_f64()), by: Some(by) };
        let pods = |notice: Fault| vec![(6, notice), (2, Fault::Machine), (2, Fault::Step)];
        let storm = after(10.0);
        match self {
            Self::AwsSpot => vec![(9, of(Platform::Aws)), (1, Fault::Machine)],
            Self::GcpSpot => vec![(8, of(Platform::Gcp)), (2, Fault::Machine)],
            Self::AzureSpot => vec![(8, of(Platform::Azure)), (2, Fault::Machine)],
            Self::Argo => pods(of(Platform::Argo)),
            Self::Autopilot => pods(of(Platform::Autopilot)),
            Self::Kfp => pods(of(Platform::Kfp)),
            Self::Pods => pods(notice(30.0)),
            Self::Kills => vec![(5, Fault::Step), (2, Fault::Machine), (2, Fault::Engine), (1, Fault::Guardian)],
            Self::StorageStorm => vec![
                (3, Fault::StorageThrottled { lasting: storm }),
                (1, Fault::StorageSlow { lasting: storm }),
                (3, Fault::StorageErrors { lasting: storm }),
                (3, Fault::RepliesLost { lasting: storm }),
                (2, Fault::ShortReads { lasting: storm }),
                (2, Fault::DiskFull { lasting: storm }),
                (1, Fault::DiskErrors { lasting: storm }),
                (1, Fault::DiskSlow { lasting: storm }),
                (1, Fault::ClockJump { by_ms: HOUR_MS }),
                (1, Fault::ClockJump { by_ms: -HOUR_MS }),
                // Whoever is killed in a storm goes on in it.
                (2, Fault::Machine),
            ],
            Self::Everything => vec![
                (1, notice(120.0)),
                (1, notice(30.0)),
                (1, notice(1.0)),
                (2, Fault::Machine),
                (2, Fault::Engine),
                (1, Fault::Guardian),
                (3, Fault::Step),
                (1, Fault::Freeze { lasting: after(30.0) }),
                (1, Fault::Zombie),
                (1, Fault::TwoEngines),
                (1, Fault::Memory),
                (1, Fault::Rot),
                (1, Fault::StorageThrottled { lasting: storm }),
                (1, Fault::StorageErrors { lasting: storm }),
                (1, Fault::RepliesLost { lasting: storm }),
                (1, Fault::ShortReads { lasting: storm }),
                (1, Fault::DiskFull { lasting: storm }),
                (1, Fault::ClockJump { by_ms: -HOUR_MS }),
            ],
        }
    }

    fn choose(self, random: &dyn Random, speed: f64) -> Fault {
        let weights = self.weights(speed);
        let all: u64 = weights.iter().map(|(weight, _)| weight).sum();
        let mut at = random.u64() % all;
        for (weight, fault) in &weights {
            if at < *weight {
                return *fault;
            }
            at -= weight;
        }
        Fault::Step
    }
}

/// By how much a clock jumps.
const HOUR_MS: i64 = 3_600_000;

impl fmt::Display for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Profile {
    type Err = UnknownProfile;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|profile| profile.name() == text).ok_or_else(|| UnknownProfile(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use prunella_sys::SeededRandom;

    use super::*;

    #[test]
    fn a_seed_gives_one_plan_and_another_seed_another() {
        let plan = |profile: Profile, seed| profile.draw(&SeededRandom::new(seed), 20, Duration::from_secs(21), 60.0);
        for profile in Profile::ALL {
            assert_eq!(plan(profile, 7), plan(profile, 7));
            assert_ne!(plan(profile, 7), plan(profile, 8));
            assert_eq!(profile.to_string().parse(), Ok(profile));
        }
        assert!("aws".parse::<Profile>().unwrap_err().to_string().contains("`aws-spot`, `gcp-spot`"));
    }

    #[test]
    fn strikes_fall_into_the_run_and_notices_are_as_long_as_the_cloud_says() {
        let undisturbed = Duration::from_secs(40);
        let mut all = Duration::ZERO;
        for seed in 0..200 {
            for strike in Profile::AwsSpot.draw(&SeededRandom::new(seed), 3, undisturbed, 60.0) {
                assert!(strike.after <= Duration::from_secs(30), "three times the mean");
                assert!(
                    matches!(strike.fault, Fault::Machine)
                        || strike.fault == Fault::Notice { grace: Duration::from_secs(2), by: Some(Platform::Aws) }
                );
                all += strike.after;
            }
        }
        // The mean of an exponential time that is cut at three times its mean is 1 − e⁻³ of it.
        let mean = all.as_secs_f64() / 600.0;
        assert!((mean - 9.5).abs() < 1.0, "{mean}");
    }
}
