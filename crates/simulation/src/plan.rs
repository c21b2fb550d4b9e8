//! What happens in a schedule: who takes part, and what goes wrong where. All of it follows from one seed.

use std::{collections::BTreeSet, fmt, str::FromStr};

use crate::draw::{below, draw, spread};

/// Who takes part, by number: [`Role`] says what each of them does.
pub const MEMBERS: usize = 6;

/// How often a schedule goes wrong at most.
const FAULTS: u64 = 7;

/// What a member does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Drives runs and makes their attempts.
    Engine,
    /// Collects.
    Collector,
    /// Reads everything that was promised, and marks what is damaged.
    Auditor,
}

impl Role {
    /// Returns what the member with this number does.
    pub fn of(member: usize) -> Self {
        match member {
            0..=2 => Self::Engine,
            3 | 4 => Self::Collector,
            _ => Self::Auditor,
        }
    }
}

/// What goes wrong with one operation of a member; times are in virtual seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// The request never arrives.
    Lost,
    /// It is done, and the answer never arrives.
    LostReply,
    /// It is done, and answered with a status that does not say so (500, 503).
    DoneAndRefused,
    /// It arrives after so long, when its sender may have given it up.
    Late(u64),
    /// It is done and answered, and arrives a second time after so long.
    Echo(u64),
    /// The store asks for time (409, 429, 503) for so long, having done nothing.
    Throttled(u64),
    /// The process stands still before the request.
    Stall(u64),
    /// The process is killed before the request.
    Kill,
    /// The process is killed while the request is on its way.
    KillAfter,
    /// For so long every request of the member is lost, or its reply is, or it comes late.
    Outage(u64),
    /// A byte of what is read is changed on its way.
    Flip,
    /// What is read is cut on its way.
    Cut,
    /// The store itself changes a byte of some object.
    Rot,
    /// The store itself loses some object.
    Vanish,
    /// The store itself changes a bit of some record.
    RotRecord,
}

/// A fault and its place: the `nth` operation of a member.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct FaultAt {
    /// Whose.
    pub member: usize,
    /// Which of its operations, over all its processes.
    pub nth: u32,
    /// What.
    pub fault: Fault,
}

/// One schedule. As text it is a line that a test can name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// From which everything else is drawn.
    pub seed: u64,
    /// Who takes part.
    pub members: BTreeSet<usize>,
    /// What goes wrong.
    pub faults: Vec<FaultAt>,
}

impl Plan {
    /// Returns the schedule of a seed.
    pub fn of(seed: u64) -> Self {
        const PLAN: u64 = 1 << 40;
        let count = below(seed, PLAN, 0, FAULTS + 1);
        let faults = (0..count).map(|n| {
            let at = |what: u64| draw(seed, PLAN, 1 + 8 * n + what);
            // Engines do most, and most can go wrong with them; collectors come next.
            let member = [0, 1, 2, 0, 1, 2, 3, 4, 3, 5][(at(0) % 10) as usize];
            let reach = if Role::of(member) == Role::Engine { 160 } else { 90 };
            FaultAt { member, nth: (at(1) % reach) as u32, fault: Fault::drawn(at(2), at(3)) }
        });
        let mut faults: Vec<FaultAt> = faults.collect();
        // Bytes that are wrong in two fresh reads count as lost (protocol: Damage): on their way they change once at most.
        let mut passing = 0;
        faults.retain(|at| {
            passing += usize::from(matches!(at.fault, Fault::Flip | Fault::Cut));
            passing <= 1 || !matches!(at.fault, Fault::Flip | Fault::Cut)
        });
        Self { seed, members: (0..MEMBERS).collect(), faults }
    }
}

impl Fault {
    fn drawn(which: u64, long: u64) -> Self {
        let seconds = spread(long, 1, 7200);
        match which % 24 {
            0 | 1 => Self::Lost,
            2 | 3 => Self::LostReply,
            4 => Self::DoneAndRefused,
            5..=7 => Self::Late(seconds),
            8 | 9 => Self::Echo(seconds),
            10 => Self::Throttled(seconds.min(100)),
            11..=13 => Self::Stall(seconds),
            14 => Self::Kill,
            15 => Self::KillAfter,
            16 => Self::Flip,
            17 => Self::Cut,
            18 => Self::Rot,
            19 => Self::Vanish,
            20 => Self::RotRecord,
            _ => Self::Outage(240 + seconds.min(600)),
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Lost => f.write_str("lost"),
            Self::LostReply => f.write_str("lost-reply"),
            Self::DoneAndRefused => f.write_str("done-and-refused"),
            Self::Late(s) => write!(f, "late-{s}"),
            Self::Echo(s) => write!(f, "echo-{s}"),
            Self::Throttled(s) => write!(f, "throttled-{s}"),
            Self::Stall(s) => write!(f, "stall-{s}"),
            Self::Outage(s) => write!(f, "outage-{s}"),
            Self::Kill => f.write_str("kill"),
            Self::KillAfter => f.write_str("kill-after"),
            Self::Flip => f.write_str("flip"),
            Self::Cut => f.write_str("cut"),
            Self::Rot => f.write_str("rot"),
            Self::Vanish => f.write_str("vanish"),
            Self::RotRecord => f.write_str("rot-record"),
        }
    }
}

/// Text that is no plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoPlan(String);

impl NoPlan {
    pub(crate) fn of(text: &str) -> Self {
        Self(text.to_owned())
    }
}

impl fmt::Display for NoPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` is no part of a plan", self.0)
    }
}

impl std::error::Error for NoPlan {}

impl FromStr for Fault {
    type Err = NoPlan;

    fn from_str(text: &str) -> Result<Self, NoPlan> {
        let no = || NoPlan(text.to_owned());
        Ok(match text {
            "lost" => Self::Lost,
            "lost-reply" => Self::LostReply,
            "done-and-refused" => Self::DoneAndRefused,
            "kill" => Self::Kill,
            "kill-after" => Self::KillAfter,
            "flip" => Self::Flip,
            "cut" => Self::Cut,
            "rot" => Self::Rot,
            "vanish" => Self::Vanish,
            "rot-record" => Self::RotRecord,
            _ => {
                let (what, seconds) = text.rsplit_once('-').ok_or_else(no)?;
                let seconds = seconds.parse().map_err(|_| no())?;
                match what {
                    "late" => Self::Late(seconds),
                    "echo" => Self::Echo(seconds),
                    "throttled" => Self::Throttled(seconds),
                    "stall" => Self::Stall(seconds),
                    "outage" => Self::Outage(seconds),
                    _ => return Err(no()),
                }
            }
        })
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "seed={} members=", self.seed)?;
        self.members
            .iter()
            .enumerate()
            .try_for_each(|(at, member)| if at > 0 { write!(f, ",{member}") } else { write!(f, "{member}") })?;
        self.faults.iter().try_for_each(|FaultAt { member, nth, fault }| write!(f, " {member}@{nth}:{fault}"))
    }
}

impl FromStr for Plan {
    type Err = NoPlan;

    fn from_str(text: &str) -> Result<Self, NoPlan> {
        let (mut seed, mut members, mut faults) = (None, BTreeSet::new(), Vec::new());
        for word in text.split_whitespace() {
            let no = || NoPlan(word.to_owned());
            if let Some(value) = word.strip_prefix("seed=") {
                seed = Some(value.parse().map_err(|_| no())?);
            } else if let Some(value) = word.strip_prefix("members=") {
                for member in value.split(',').filter(|member| !member.is_empty()) {
                    members.insert(member.parse().map_err(|_| no())?);
                }
            } else {
                let (member, rest) = word.split_once('@').ok_or_else(no)?;
                let (nth, fault) = rest.split_once(':').ok_or_else(no)?;
                let (member, nth) = (member.parse().map_err(|_| no())?, nth.parse().map_err(|_| no())?);
                faults.push(FaultAt { member, nth, fault: fault.parse()? });
            }
        }
        Ok(Self { seed: seed.ok_or_else(|| NoPlan(text.to_owned()))?, members, faults })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_plan_is_read_back_from_its_text() {
        for seed in 0..500 {
            let plan = Plan::of(seed);
            assert_eq!(plan.to_string().parse(), Ok(plan));
        }
        assert!("seed=1 members=0 0@1:explode".parse::<Plan>().is_err());
    }
}
