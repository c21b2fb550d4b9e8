//! What storing a checkpoint takes from the program's speed, as far as its processor time tells.

use std::time::Duration;

use prunella_healing::INTERFERENCE;

/// What is believed before anything was measured weighs as much as storing for so long.
const BELIEVED_FOR: f64 = 30.0;
/// So long the program must have run with nothing beside it.
const ENOUGH: f64 = 5.0;
/// A program that uses less of a processor waits for something else: its processor time tells nothing of its speed.
const BUSY: f64 = 0.05;
/// No more is believed: the rest is the program's own change of mind.
const MOST: f64 = 0.9;

/// The processor time of the program's tree while a checkpoint was stored beside it, and while none was.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Interference {
    last: Option<Seen>,
    beside: Stretch,
    alone: Stretch,
}

/// One look.
#[derive(Debug, Clone, Copy)]
struct Seen {
    at: Duration,
    cpu: Duration,
    /// Which checkpoint was being stored, if one was, and how many had been begun.
    storing: (bool, u64),
}

/// Seconds on the clock, and of processors.
#[derive(Debug, Clone, Copy, Default)]
struct Stretch {
    wall: f64,
    cpu: f64,
}

impl Stretch {
    fn rate(&self) -> f64 {
        self.cpu / self.wall
    }
}

impl Interference {
    /// Notes the processor time that the tree has used by now. `storing`: whether a checkpoint is being stored, and how many
    /// were begun; a stretch in which that changed counts for nothing.
    pub(crate) fn saw(&mut self, at: Duration, cpu: Duration, storing: (bool, u64)) {
        let before = self.last.replace(Seen { at, cpu, storing });
        // Less than before: processes were lost from sight.
        let Some(before) = before.filter(|before| before.storing == storing && before.cpu <= cpu) else { return };
        let stretch = if storing.0 { &mut self.beside } else { &mut self.alone };
        stretch.wall += at.saturating_sub(before.at).as_secs_f64();
        stretch.cpu += (cpu - before.cpu).as_secs_f64();
    }

    /// Returns the share of its speed that the program loses; nothing before it can be told.
    pub(crate) fn share(&self) -> Option<f64> {
        let Self { beside, alone, .. } = self;
        if alone.wall < ENOUGH || beside.wall <= 0.0 || alone.rate() < BUSY {
            return None;
        }
        let measured = (1.0 - beside.rate() / alone.rate()).clamp(0.0, MOST);
        Some((BELIEVED_FOR * INTERFERENCE + beside.wall * measured) / (BELIEVED_FOR + beside.wall))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Seconds at this rate, looked at every second.
    fn runs(seen: &mut Interference, from: (u64, f64), seconds: u64, rate: f64, storing: (bool, u64)) -> (u64, f64) {
        let (mut at, mut cpu) = from;
        for _ in 0..seconds {
            (at, cpu) = (at + 1, cpu + rate);
            seen.saw(Duration::from_secs(at), Duration::from_secs_f64(cpu), storing);
        }
        (at, cpu)
    }

    #[test]
    fn a_program_that_gets_less_of_the_processors_while_a_checkpoint_is_stored_is_slower_by_that() {
        let mut seen = Interference::default();
        assert_eq!(seen.share(), None);
        let at = runs(&mut seen, (0, 0.0), 100, 2.0, (false, 0));
        assert_eq!(seen.share(), None, "nothing was stored yet");
        let at = runs(&mut seen, at, 3000, 1.5, (true, 1));
        let share = seen.share().expect("it can be told");
        assert!((share - 0.25).abs() < 0.01, "{share}");
        runs(&mut seen, at, 30, 2.0, (false, 1));
        assert!((seen.share().expect("it can be told") - 0.25).abs() < 0.01);
    }

    #[test]
    fn little_that_was_seen_moves_little() {
        let mut seen = Interference::default();
        let at = runs(&mut seen, (0, 0.0), 100, 1.0, (false, 0));
        runs(&mut seen, at, 4, 0.0, (true, 1));
        let share = seen.share().expect("it can be told");
        assert!((share - (0.6 + 3.0 * 0.9) / 33.0).abs() < 1e-9, "three whole seconds, and 90 % at most: {share}");
    }

    #[test]
    fn a_stretch_in_which_storing_began_or_ended_counts_for_nothing() {
        let mut seen = Interference::default();
        let (mut at, mut cpu) = runs(&mut seen, (0, 0.0), 10, 1.0, (false, 0));
        for n in 1..=20 {
            // A checkpoint each second, never there at two looks.
            (at, cpu) = runs(&mut seen, (at, cpu), 1, 0.1, (true, n));
        }
        assert_eq!(seen.share(), None);
    }

    #[test]
    fn of_a_program_that_waits_for_something_else_nothing_is_told() {
        let mut seen = Interference::default();
        let at = runs(&mut seen, (0, 0.0), 100, 0.01, (false, 0));
        runs(&mut seen, at, 100, 0.001, (true, 1));
        assert_eq!(seen.share(), None);
    }
}
