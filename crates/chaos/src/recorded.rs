//! Plans from recorded lives of machines.

use std::time::Duration;

use prunella_sys::Random;

use crate::fault::{Fault, Strike};

/// Machines as somebody recorded them.
#[derive(Debug, Clone, PartialEq)]
pub struct Recorded {
    /// How long each lived until it was interrupted, in seconds; at least one.
    pub lives: Vec<f64>,
    /// How long a machine has from a notice to its end.
    pub grace: Duration,
    /// The share of interruptions that are announced, from 0 to 1; the others kill at once.
    pub recall: f64,
}

impl Recorded {
    /// Draws so many machines, one after the other, each as likely as any other; times are divided by `speed`.
    ///
    /// A notice comes so long before the end of a life as it leaves, or at once in one that is shorter.
    pub fn draw(&self, random: &dyn Random, machines: usize, speed: f64) -> Vec<Strike> {
        let unit = || (random.u64() >> 11) as f64 / (1_u64 << 53) as f64;
        let machine = |_| {
            let at = usize::try_from(random.u64() % self.lives.len().max(1) as u64).unwrap_or(0);
            let life = self.lives.get(at).copied().unwrap_or_default();
            let announced = unit() < self.recall && !self.grace.is_zero();
            let grace = self.grace.as_secs_f64().min(life);
            let seconds = |time: f64| Duration::try_from_secs_f64(time / speed).unwrap_or(Duration::MAX);
            match announced {
                true => {
                    Strike { after: seconds(life - grace), fault: Fault::Notice { grace: seconds(grace), by: None } }
                }
                false => Strike { after: seconds(life), fault: Fault::Machine },
            }
        };
        (0..machines).map(machine).collect()
    }
}

#[cfg(test)]
mod tests {
    use prunella_sys::SeededRandom;

    use super::*;

    #[test]
    fn machines_live_as_recorded_and_are_announced_as_often_as_was_asked_for() {
        let recorded = Recorded { lives: vec![600.0, 10.0], grace: Duration::from_secs(30), recall: 0.75 };
        let plan = recorded.draw(&SeededRandom::new(1), 4000, 10.0);
        assert_eq!(plan, recorded.draw(&SeededRandom::new(1), 4000, 10.0));
        let mut announced = 0;
        for strike in &plan {
            let life = match strike.fault {
                Fault::Notice { grace, by: None } => {
                    announced += 1;
                    assert!(grace == Duration::from_secs(3) || grace == Duration::from_secs(1));
                    strike.after + grace
                }
                Fault::Machine => strike.after,
                other => panic!("{other}"),
            };
            assert!(life == Duration::from_secs(60) || life == Duration::from_secs(1), "{life:?}");
        }
        assert!((2900..3100).contains(&announced), "{announced}");
    }
}
