//! What goes wrong while whole runs are played: faults and their times. All of it follows from one seed.

use std::{fmt, str::FromStr};

use crate::{
    draw::{below, draw, spread},
    plan::{Fault, NoPlan},
};

/// How many members drive runs.
pub(crate) const ENGINES: usize = 2;
/// Up to here something goes wrong again and again, in milliseconds.
const HORIZON_MS: u64 = 30 * 60_000;
/// At least one fault a minute.
const LONGEST_GAP_MS: u64 = 60_000;

/// What goes wrong; times are in virtual seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Trouble {
    /// This goes wrong with the next request of the member.
    Store(Fault),
    /// The engine is killed; its guardian kills the programs.
    Engine,
    /// Engine and guardian are killed; the programs live on.
    Both,
    /// The guardian is killed, and its programs with it.
    Guardian,
    /// The machine goes without a word, with everything on it.
    Machine,
    /// The machine goes, and nobody ever goes on with what it drove.
    Gone,
    /// The engine stands still for so long, and goes on.
    Pause(u64),
    /// A notice: the machine goes away after so long.
    Notice(u64),
    /// A person stops the run, and it is resumed.
    Stop,
    /// A program is killed by somebody else.
    Killed,
    /// A program reaches its memory limit.
    Memory,
    /// A program fails by itself.
    Fails,
    /// The disk of the machine is full for so long.
    Full(u64),
    /// The wall clock of the machine jumps by so much, back if the number is odd.
    Wall(u64),
}

/// A fault, its time and its member.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct At {
    /// When, in virtual milliseconds.
    pub ms: u64,
    /// Whose engine, machine or program.
    pub member: usize,
    /// What.
    pub trouble: Trouble,
}

/// One schedule of whole runs. As text it is a line that a test can name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WholePlan {
    /// From which everything else is drawn.
    pub seed: u64,
    /// What goes wrong.
    pub faults: Vec<At>,
}

impl WholePlan {
    /// Returns the schedule of a seed.
    pub fn of(seed: u64) -> Self {
        const PLAN: u64 = 1 << 41;
        let (mut faults, mut ms, mut passing) = (Vec::new(), 0, 0);
        for n in 0.. {
            let at = |what: u64| draw(seed, PLAN, 4 * n + what);
            ms += 1 + at(0) % LONGEST_GAP_MS;
            if ms > HORIZON_MS {
                break;
            }
            let trouble = Trouble::drawn(at(1), at(2));
            // Bytes that are wrong in two fresh reads count as lost (protocol: Damage): on their way they change once at most.
            let passes = matches!(trouble, Trouble::Store(Fault::Flip | Fault::Cut));
            passing += usize::from(passes);
            let trouble = if passes && passing > 1 { Trouble::Engine } else { trouble };
            // Somebody is left who goes on.
            let drawn = below(seed, PLAN, 4 * n + 3, ENGINES as u64) as usize;
            let member = if trouble == Trouble::Gone { ENGINES - 1 } else { drawn };
            faults.push(At { ms, member, trouble });
        }
        Self { seed, faults }
    }

    /// Returns the schedule of a seed in which nothing goes wrong.
    pub fn undisturbed(seed: u64) -> Self {
        Self { seed, faults: Vec::new() }
    }
}

impl Trouble {
    fn drawn(which: u64, long: u64) -> Self {
        let seconds = spread(long, 1, 900);
        match which % 40 {
            0 | 1 => Self::Store(Fault::Lost),
            2..=4 => Self::Store(Fault::LostReply),
            5 => Self::Store(Fault::DoneAndRefused),
            6..=8 => Self::Store(Fault::Late(seconds)),
            9 => Self::Store(Fault::Echo(seconds)),
            10 => Self::Store(Fault::Throttled(seconds.min(100))),
            11 | 12 => Self::Store(Fault::Outage(30 + seconds.min(300))),
            13 => Self::Store(Fault::Flip),
            14 => Self::Store(Fault::Rot),
            15 => Self::Store(Fault::Vanish),
            16..=20 => Self::Engine,
            21 | 22 => Self::Both,
            23 | 24 => Self::Guardian,
            25 => Self::Machine,
            26 if long.is_multiple_of(4) => Self::Gone,
            26 => Self::Machine,
            27..=29 => Self::Pause(seconds),
            30..=32 => Self::Notice(2 + seconds % 120),
            33 => Self::Stop,
            34 | 35 => Self::Killed,
            36 => Self::Memory,
            37 => Self::Fails,
            38 => Self::Full(seconds.min(300)),
            _ => Self::Wall(long % 100_000),
        }
    }

    /// Returns the same in half the time, where it takes any.
    pub(crate) fn shorter(self) -> Option<Self> {
        Some(match self {
            Self::Pause(s) if s > 1 => Self::Pause(s / 2),
            Self::Full(s) if s > 1 => Self::Full(s / 2),
            Self::Store(Fault::Late(s)) if s > 1 => Self::Store(Fault::Late(s / 2)),
            Self::Store(Fault::Echo(s)) if s > 1 => Self::Store(Fault::Echo(s / 2)),
            Self::Store(Fault::Outage(s)) if s > 1 => Self::Store(Fault::Outage(s / 2)),
            Self::Store(Fault::Throttled(s)) if s > 1 => Self::Store(Fault::Throttled(s / 2)),
            _ => return None,
        })
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Store(fault) => write!(f, "store-{fault}"),
            Self::Engine => f.write_str("engine"),
            Self::Both => f.write_str("both"),
            Self::Guardian => f.write_str("guardian"),
            Self::Machine => f.write_str("machine"),
            Self::Gone => f.write_str("gone"),
            Self::Pause(s) => write!(f, "pause-{s}"),
            Self::Notice(s) => write!(f, "notice-{s}"),
            Self::Stop => f.write_str("stop"),
            Self::Killed => f.write_str("killed"),
            Self::Memory => f.write_str("memory"),
            Self::Fails => f.write_str("fails"),
            Self::Full(s) => write!(f, "full-{s}"),
            Self::Wall(s) => write!(f, "wall-{s}"),
        }
    }
}

impl FromStr for Trouble {
    type Err = NoPlan;

    fn from_str(text: &str) -> Result<Self, NoPlan> {
        if let Some(fault) = text.strip_prefix("store-") {
            return fault.parse().map(Self::Store);
        }
        let no = || NoPlan::of(text);
        Ok(match text {
            "engine" => Self::Engine,
            "both" => Self::Both,
            "guardian" => Self::Guardian,
            "machine" => Self::Machine,
            "gone" => Self::Gone,
            "stop" => Self::Stop,
            "killed" => Self::Killed,
            "memory" => Self::Memory,
            "fails" => Self::Fails,
            _ => {
                let (what, seconds) = text.rsplit_once('-').ok_or_else(no)?;
                let seconds = seconds.parse().map_err(|_| no())?;
                match what {
                    "pause" => Self::Pause(seconds),
                    "notice" => Self::Notice(seconds),
                    "full" => Self::Full(seconds),
                    "wall" => Self::Wall(seconds),
                    _ => return Err(no()),
                }
            }
        })
    }
}

impl fmt::Display for WholePlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "whole={}", self.seed)?;
        self.faults.iter().try_for_each(|At { ms, member, trouble }| write!(f, " {ms}@{member}:{trouble}"))
    }
}

impl FromStr for WholePlan {
    type Err = NoPlan;

    fn from_str(text: &str) -> Result<Self, NoPlan> {
        let mut words = text.split_whitespace();
        let seed = words.next().and_then(|word| word.strip_prefix("whole=")?.parse().ok());
        let faults = words.map(|word| {
            let no = || NoPlan::of(word);
            let (ms, rest) = word.split_once('@').ok_or_else(no)?;
            let (member, trouble) = rest.split_once(':').ok_or_else(no)?;
            let (ms, member) = (ms.parse().map_err(|_| no())?, member.parse().map_err(|_| no())?);
            Ok(At { ms, member, trouble: trouble.parse()? })
        });
        Ok(Self { seed: seed.ok_or_else(|| NoPlan::of(text))?, faults: faults.collect::<Result<_, NoPlan>>()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_plan_of_whole_runs_is_read_back_from_its_text() {
        for seed in 0..200 {
            let plan = WholePlan::of(seed);
            assert_eq!(plan.to_string().parse(), Ok(plan));
        }
        assert!("whole=1 5@0:explode".parse::<WholePlan>().is_err());
    }

    #[test]
    fn something_goes_wrong_every_minute() {
        for seed in 0..200 {
            let times: Vec<u64> = WholePlan::of(seed).faults.iter().map(|at| at.ms).collect();
            assert!(times[0] <= LONGEST_GAP_MS && HORIZON_MS - times[times.len() - 1] <= LONGEST_GAP_MS);
            assert!(times.windows(2).all(|two| two[1] - two[0] <= LONGEST_GAP_MS));
        }
    }
}
