//! What was seen of interruptions, and what is to be expected of them.

use prunella_interruptions::{
    Life, Lives,
    fit::{Prior, choose},
};
use prunella_model::{Class, Prefer, Span};

/// Lives further back say little of today, and every fit reads all of them.
const REMEMBERED: usize = 256;

/// What an attempt had of a notice before it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Announced {
    /// None.
    #[default]
    No,
    /// One, and what was done until then or after it was not stored.
    InVain,
    /// One, and a checkpoint after it became durable: the interruption cost next to nothing.
    Saved,
}

/// How often attempts were interrupted, and after how long.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Interruptions {
    /// How many of them.
    pub number: u32,
    /// The time that all attempts lived together.
    pub over: Span,
    /// How many were announced.
    pub announced: u32,
    /// How many were announced and cost next to nothing.
    pub saved: u32,
    /// The newest lives, the newest last.
    lives: Vec<Life>,
}

impl Interruptions {
    /// Counts an attempt: how it ended, how long it lived, and what was announced. A commit or a stop that was asked for is
    /// no interruption.
    pub fn add(&mut self, ended: Option<Class>, lived: Span, announced: Announced) {
        let interrupted = ended.is_some_and(interrupts);
        if interrupted {
            self.number += 1;
            self.announced += u32::from(announced != Announced::No);
            self.saved += u32::from(announced == Announced::Saved);
        }
        self.over = Span::from_millis(self.over.as_millis().saturating_add(lived.as_millis()));
        if self.lives.len() == REMEMBERED {
            self.lives.remove(0);
        }
        self.lives.push(Life { lived: lived.duration().as_secs_f64(), interrupted });
    }

    /// Returns these and one that is still going on.
    #[must_use]
    pub fn and_living(&self, lived: Span) -> Self {
        let mut seen = self.clone();
        seen.add(None, lived, Announced::No);
        seen
    }

    /// Returns what is to be expected of a machine of this kind after all that was seen.
    pub fn outlook(&self, machine: Machine) -> Outlook {
        let of = |part: u32| f64::from(part) / (f64::from(self.number) + 1.0);
        Outlook {
            lives: choose(&self.lives, &machine.prior()),
            seen: self.number,
            saved: of(self.saved),
            announced: of(self.announced),
        }
    }
}

/// What is to be expected of interruptions.
#[derive(Debug, Clone, PartialEq)]
pub struct Outlook {
    /// How long an attempt lives.
    pub lives: Lives,
    /// From how many interruptions that is known.
    pub seen: u32,
    /// The share of them that will be announced and cost next to nothing. Nothing seen is taken for one that was not announced.
    pub saved: f64,
    /// The share that will be announced.
    pub announced: f64,
}

/// A kind of machine, as far as it tells how long it lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Machine {
    /// Anything: a laptop, a server, a node that nobody takes away.
    #[default]
    Unknown,
    /// A spot machine of Amazon.
    AwsSpot,
    /// A spot machine of Google.
    GcpSpot,
    /// A spot machine of somebody else.
    OtherSpot,
}

impl Machine {
    /// Returns the kind of a step's machine: what the step asks for, and the cloud that the machine is in, if it is in one.
    pub fn of(prefer: Option<Prefer>, cloud: Option<&str>) -> Self {
        match (prefer, cloud) {
            (Some(Prefer::Spot), Some("aws")) => Self::AwsSpot,
            (Some(Prefer::Spot), Some("gcp")) => Self::GcpSpot,
            (Some(Prefer::Spot), Some(_)) => Self::OtherSpot,
            // In no cloud there is nobody who takes machines away, whatever the file asks for.
            _ => Self::Unknown,
        }
    }

    /// Returns what is believed before anything was seen.
    ///
    /// Amazon: 1,887 lives of p3.2xlarge in nine zones over 45 days (the availability traces that Wu and others published with
    /// *Can't Be Late*, NSDI 2024); Google: 1,442 lives of preemptible machines (Kadupitige and others, HPDC 2020). The others are
    /// between the two. Nothing is known of machines that nobody takes away; an interruption in four hours is on the safe side.
    pub const fn prior(self) -> Prior {
        const HOUR: f64 = 3600.0;
        match self {
            Self::Unknown => Prior { mean: 4.0 * HOUR, shape: 1.0 },
            Self::AwsSpot => Prior { mean: 3.22 * HOUR, shape: 0.596 },
            Self::GcpSpot => Prior { mean: 8.41 * HOUR, shape: 0.559 },
            Self::OtherSpot => Prior { mean: 4.0 * HOUR, shape: 0.6 },
        }
    }
}

/// Whether an end of this class came from outside, at a time that nobody could know.
const fn interrupts(class: Class) -> bool {
    match class {
        Class::Preempted
        | Class::Killed
        | Class::NoProgress
        | Class::OutOfMemory
        | Class::GpuFault
        | Class::Stalled
        | Class::Storage
        | Class::Infrastructure => true,
        Class::Stopped
        | Class::GpuMemory
        | Class::Timeout
        | Class::InputDamaged
        | Class::CheckpointDamaged
        | Class::CheckpointRejected
        | Class::Effect
        | Class::Validation
        | Class::Capacity
        | Class::Error
        | Class::Contract => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_believed_gives_way_to_what_is_seen() {
        let mean = |seen: &Interruptions| seen.outlook(Machine::Unknown).lives.mean();
        let mut seen = Interruptions::default();
        assert!((mean(&seen) / 14_400.0 - 1.0).abs() < 1e-3);
        seen.add(None, Span::from_secs(3600), Announced::No);
        // e^W₀(1/4) times what was believed: a quarter of an interruption was to be expected in that time, and there was none.
        assert!((mean(&seen) / 17_657.0 - 1.0).abs() < 0.02, "a life without an interruption: {}", mean(&seen));
        for _ in 0..99 {
            seen.add(Some(Class::Killed), Span::from_secs(60), Announced::No);
        }
        assert!(mean(&seen) < 400.0, "{}", mean(&seen));
        let before = seen.number;
        seen.add(Some(Class::Stopped), Span::from_secs(60), Announced::No);
        seen.add(Some(Class::Error), Span::from_secs(60), Announced::No);
        assert_eq!(seen.number, before, "a stop or the program's own failure is no interruption");
    }

    #[test]
    fn notices_count_for_what_they_saved() {
        let mut seen = Interruptions::default();
        assert_eq!(seen.outlook(Machine::AwsSpot).saved, 0.0, "nothing is promised");
        for _ in 0..9 {
            seen.add(Some(Class::Preempted), Span::from_secs(3600), Announced::Saved);
        }
        assert!((seen.outlook(Machine::AwsSpot).saved - 0.9).abs() < 1e-9);
        seen.add(Some(Class::Preempted), Span::from_secs(3600), Announced::InVain);
        let outlook = seen.outlook(Machine::AwsSpot);
        assert!(outlook.saved < 0.82 && outlook.announced > 0.9, "{outlook:?}");
        let class_of_a_stop = Some(Class::Stopped);
        seen.add(class_of_a_stop, Span::from_secs(5), Announced::Saved);
        assert_eq!(seen.saved, 9, "a stop that was asked for promises nothing of notices");
    }

    #[test]
    fn a_machine_is_spot_only_in_a_cloud() {
        assert_eq!(Machine::of(Some(Prefer::Spot), None), Machine::Unknown);
        assert_eq!(Machine::of(Some(Prefer::OnDemand), Some("aws")), Machine::Unknown);
        assert_eq!(Machine::of(Some(Prefer::Spot), Some("aws")), Machine::AwsSpot);
        assert_eq!(Machine::of(Some(Prefer::Spot), Some("azure")), Machine::OtherSpot);
    }

    #[test]
    fn only_the_newest_lives_are_remembered() {
        let mut seen = Interruptions::default();
        for _ in 0..1000 {
            seen.add(Some(Class::Killed), Span::from_secs(1), Announced::No);
        }
        for _ in 0..REMEMBERED {
            seen.add(Some(Class::Killed), Span::from_secs(36_000), Announced::No);
        }
        assert!(seen.outlook(Machine::Unknown).lives.mean() > 30_000.0);
    }
}
