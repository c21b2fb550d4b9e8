//! From the time of a run to a place on the page: time in which no engine drove is drawn short.

use prunella_journal::{Driven, Moment, Timeline};

/// A stretch of time that is drawn evenly.
struct Stretch {
    from: Moment,
    to: Moment,
    x: f64,
    width: f64,
    /// Whether an engine drove.
    driven: bool,
}

/// Where each instant of a run is drawn.
pub struct Scale {
    stretches: Vec<Stretch>,
    right: f64,
}

/// The most that a time without an engine takes of the width, of the time that was driven.
const GAP: f64 = 0.06;

impl Scale {
    /// Returns the scale of a run between two places.
    pub fn of(timeline: &Timeline, left: f64, right: f64) -> Self {
        let drivers = timeline.drivers();
        let driven: u64 = drivers.iter().map(|one| one.to.since(one.from).as_millis()).sum();
        let most = ((driven.max(1) as f64) * GAP).max(1.0);
        let mut weights: Vec<(Moment, Moment, f64, bool)> = Vec::new();
        let mut last: Option<Moment> = None;
        for Driven { from, to, .. } in drivers {
            if let Some(last) = last.filter(|last| from > last) {
                weights.push((last, *from, (from.since(last).as_millis() as f64).min(most), false));
            }
            weights.push((*from, *to, (to.since(*from).as_millis() as f64).max(1.0), true));
            last = Some(*to);
        }
        let all: f64 = weights.iter().map(|(_, _, weight, _)| weight).sum::<f64>().max(1.0);
        let mut x = left;
        let stretches = weights
            .into_iter()
            .map(|(from, to, weight, driven)| {
                let width = weight / all * (right - left);
                let stretch = Stretch { from, to, x, width, driven };
                x += width;
                stretch
            })
            .collect();
        Self { stretches, right }
    }

    /// Returns where an instant is.
    pub fn x(&self, at: Moment) -> f64 {
        let stretch = self.stretches.iter().find(|stretch| at <= stretch.to);
        stretch.map_or(self.right, |stretch| {
            let all = stretch.to.since(stretch.from).as_millis().max(1) as f64;
            stretch.x + stretch.width * (at.since(stretch.from).as_millis() as f64 / all).min(1.0)
        })
    }

    /// Returns where no engine drove: from, to, and how long that was in milliseconds.
    pub fn gaps(&self) -> impl Iterator<Item = (f64, f64, u64)> {
        let gaps = self.stretches.iter().filter(|stretch| !stretch.driven);
        gaps.map(|gap| (gap.x, gap.x + gap.width, gap.to.since(gap.from).as_millis()))
    }

    /// Returns places for at most so many marks of the time that was driven, in milliseconds since the run began.
    pub fn ticks(&self, most: usize) -> Vec<(f64, u64)> {
        let driven = || self.stretches.iter().filter(|stretch| stretch.driven);
        let all: u64 = driven().map(|stretch| stretch.to.since(stretch.from).as_millis()).sum();
        let step = step(all, most);
        let (mut ticks, mut before) = (Vec::new(), 0_u64);
        for stretch in driven() {
            let here = stretch.to.since(stretch.from).as_millis();
            let mut at = before.div_ceil(step) * step;
            while at <= before + here {
                let x = stretch.x + stretch.width * ((at - before) as f64 / here.max(1) as f64);
                // Where one driver ends and the next begins is one time at two places.
                if ticks.last().is_none_or(|(_, last)| *last != at) {
                    ticks.push((x, at));
                }
                at += step;
            }
            before += here;
        }
        ticks
    }
}

/// Returns a round time of which at most so many fit.
fn step(all: u64, most: usize) -> u64 {
    const ROUND: [u64; 22] = [
        1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000, 30_000, 60_000, 120_000, 300_000, 600_000,
        1_800_000, 3_600_000, 7_200_000, 21_600_000,
    ];
    let least = (all / most.max(1) as u64).max(1);
    ROUND.iter().copied().find(|step| *step >= least).unwrap_or_else(|| least.div_ceil(86_400_000) * 86_400_000)
}
