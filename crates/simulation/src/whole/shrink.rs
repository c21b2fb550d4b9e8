//! Making a failing plan of whole runs small: what can be left out, is.

use super::{
    plan::{At, WholePlan},
    play::{WholeOutcome, play_whole},
};

/// Returns the smallest plan found that breaks the same invariant, and how it comes out.
///
/// Faults are left out, many at once first and then one after the other, and times are halved, as long as it still fails.
pub fn shrink_whole(plan: &WholePlan) -> (WholePlan, WholeOutcome) {
    let (mut small, mut outcome) = (plan.clone(), play_whole(plan));
    let Some(invariant) = outcome.violation.as_ref().map(|violation| violation.invariant) else {
        return (small, outcome);
    };
    let fails = |candidate: &WholePlan| {
        let came_out = play_whole(candidate);
        let same = came_out.violation.as_ref().is_some_and(|violation| violation.invariant == invariant);
        same.then_some(came_out)
    };
    let mut chunk = small.faults.len().div_ceil(2).max(1);
    loop {
        let (mut at, mut smaller) = (0, false);
        while at < small.faults.len() {
            let mut without = small.clone();
            without.faults.drain(at..(at + chunk).min(small.faults.len()));
            match fails(&without) {
                Some(came_out) => (small, outcome, smaller) = (without, came_out, true),
                None => at += chunk,
            }
        }
        if chunk == 1 && !smaller {
            break;
        }
        chunk = (chunk / 2).max(1);
    }
    for at in 0..small.faults.len() {
        while let Some(trouble) = small.faults[at].trouble.shorter() {
            let mut shorter = small.clone();
            shorter.faults[at] = At { trouble, ..small.faults[at] };
            let Some(came_out) = fails(&shorter) else { break };
            (small, outcome) = (shorter, came_out);
        }
    }
    (small, outcome)
}
