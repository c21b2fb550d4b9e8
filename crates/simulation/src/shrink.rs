//! Making a failing plan small: what can be left out, is.

use crate::{
    plan::{Fault, Plan},
    play::{Outcome, play},
};

/// Returns the smallest plan found that breaks the same invariant, and how it comes out.
///
/// Members and faults are left out one after the other, and times are halved, as long as it still fails: every draw depends
/// on its place alone, so that the rest stays what it was.
pub fn shrink(plan: &Plan) -> (Plan, Outcome) {
    let (mut small, mut outcome) = (plan.clone(), play(plan));
    let Some(invariant) = outcome.violation.as_ref().map(|violation| violation.invariant) else {
        return (small, outcome);
    };
    loop {
        let mut smaller = false;
        for candidate in candidates(&small) {
            let came_out = play(&candidate);
            if came_out.violation.as_ref().is_some_and(|violation| violation.invariant == invariant) {
                (small, outcome, smaller) = (candidate, came_out, true);
                break;
            }
        }
        if !smaller {
            return (small, outcome);
        }
    }
}

fn candidates(plan: &Plan) -> Vec<Plan> {
    let mut all = Vec::new();
    for member in &plan.members {
        let mut without = plan.clone();
        without.members.remove(member);
        without.faults.retain(|at| at.member != *member);
        all.push(without);
    }
    for at in 0..plan.faults.len() {
        let mut without = plan.clone();
        without.faults.remove(at);
        all.push(without);
    }
    for at in 0..plan.faults.len() {
        let shorter = match plan.faults[at].fault {
            Fault::Late(seconds) if seconds > 1 => Fault::Late(seconds / 2),
            Fault::Echo(seconds) if seconds > 1 => Fault::Echo(seconds / 2),
            Fault::Stall(seconds) if seconds > 1 => Fault::Stall(seconds / 2),
            Fault::Outage(seconds) if seconds > 1 => Fault::Outage(seconds / 2),
            Fault::Throttled(seconds) if seconds > 1 => Fault::Throttled(seconds / 2),
            _ => continue,
        };
        let mut changed = plan.clone();
        changed.faults[at].fault = shorter;
        all.push(changed);
    }
    all
}
