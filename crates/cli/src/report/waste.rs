//! Waste over time: the figures as they stood at some instants of a run.

use prunella_journal::{Axis, MetricsFold, Moment, Stamped};
use prunella_model::Span;

/// The figures at one instant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sample {
    /// When.
    pub at: Moment,
    /// Compute time used up to there.
    pub compute: Span,
    /// What of it was lost, as far as it was known there.
    pub lost: Span,
}

/// A curve has at most so many points, whatever the length of the run.
const POINTS: usize = 240;

/// Returns the figures at instants that lie evenly among the events; the last is that of the last event.
///
/// A figure is as it stood: what a later restore brought back was lost until then.
pub fn samples(events: &[Stamped]) -> Vec<Sample> {
    let (mut figures, mut axis, mut samples) = (MetricsFold::default(), Axis::default(), Vec::new());
    let every = events.len().div_ceil(POINTS).max(1);
    for (n, event) in events.iter().enumerate() {
        figures.push(event);
        let at = axis.place(event);
        if n % every == 0 || n + 1 == events.len() {
            let known = figures.finish();
            samples.push(Sample { at, compute: known.compute, lost: known.lost });
        }
    }
    samples
}
