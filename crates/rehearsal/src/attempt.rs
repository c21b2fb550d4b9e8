//! One attempt on one machine.

use prunella_interruptions::{Draws, Lives};

use crate::{Chooser, World};

/// The machine of an attempt, and what the attempt has to do.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Task {
    /// From the attempt's start to the machine's end; endless for one that nobody takes away.
    pub life: f64,
    /// Whether the end is announced.
    pub announced: bool,
    /// The work that is left.
    pub left: f64,
    /// From the attempt's start to a program that goes on.
    pub until_ready: f64,
    /// Whether the step writes checkpoints.
    pub checkpoints: bool,
    /// Whether it does so twice as often, for want of progress.
    pub sooner: bool,
}

/// What became of an attempt.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Lived {
    /// How long it was.
    pub took: f64,
    /// The work that is done and stays done.
    pub durable: f64,
    /// Whether all of it is.
    pub finished: bool,
    /// How many checkpoints became durable.
    pub stored: u32,
    /// Whether the one on notice did.
    pub saved_on_notice: bool,
}

/// Plays an attempt: ready, work, checkpoint, work, until the work is done or the machine is gone.
///
/// A checkpoint holds the program up for `blocking`, and becomes durable `persist` later, beside the program, which is slower
/// meanwhile; the next one begins no earlier. On notice the program goes on until a last checkpoint just fits, if one fits.
/// `false_alarms` are the ages, in order, at which such a checkpoint is taken for a notice that does not come true: it holds
/// the program up until it is durable and its margin is over, and then the program goes on.
pub fn live(world: &World, chooser: &mut Chooser, task: &Task, false_alarms: &[f64]) -> Lived {
    let Task { life, announced, left, until_ready, .. } = *task;
    let costs = &world.checkpoints;
    let mut lived = Lived { took: life, durable: 0.0, finished: false, stored: 0, saved_on_notice: false };
    let (mut now, mut done) = (until_ready, 0.0);
    // What is on its way: when it is durable, and how much work is in it.
    let mut under_way: Option<(f64, f64)> = None;
    let mut since = f64::INFINITY;
    while now < life {
        let mut period = if task.checkpoints { chooser.period(world, now, since.min(1e9)) } else { f64::INFINITY };
        if task.sooner {
            period = (period / 2.0).max(costs.blocking + 1.0);
        }
        let slow_until = under_way.map_or(now, |(durable, _)| durable);
        // A snapshot begins when the one before is durable, at the earliest.
        let works = (period - costs.blocking).max(slow_until - now).max(f64::MIN_POSITIVE);
        let regular = now + works;
        let alarm = false_alarms.iter().copied().find(|at| now < *at && *at < regular).filter(|_| task.checkpoints);
        let until = alarm.unwrap_or(regular);
        let end = life.min(until);
        let slow = (slow_until.min(end) - now).max(0.0) * costs.interference;
        let progress = (end - now - slow).max(0.0);
        let notice_at = announced.then_some(life - world.notices.grace);
        if done + progress >= left {
            let at = end - (done + progress - left);
            if at <= life {
                return Lived { took: at, durable: left, finished: true, ..lived };
            }
        }
        if let Some((durable, work)) = under_way.filter(|(durable, _)| *durable <= end) {
            debug_assert!(durable <= life);
            (lived.durable, lived.stored, under_way) = (work, lived.stored + 1, None);
        }
        // The last checkpoint begins so that it is durable when the machine goes.
        if let Some(notice_at) = notice_at.filter(|_| task.checkpoints) {
            let on_notice = costs.blocking + costs.persist_after(since_last(now, since, end)) + world.notices.margin;
            let begins = (life - on_notice).max(notice_at);
            if begins <= until && on_notice <= world.notices.grace && begins >= until_ready {
                let work = (done + (begins - now - slow).max(0.0)).min(left);
                return Lived {
                    durable: work.max(lived.durable),
                    stored: lived.stored + 1,
                    saved_on_notice: true,
                    ..lived
                };
            }
        }
        done += progress;
        if until >= life {
            break;
        }
        if alarm.is_some() {
            let on_notice = costs.blocking + costs.persist_after(since_last(now, since, until));
            let fits = on_notice + world.notices.margin <= world.notices.grace;
            (since, now) = (until - now, until);
            if fits {
                now += on_notice + world.notices.margin;
                under_way = None;
                if until + on_notice <= life {
                    (lived.durable, lived.stored) = (done, lived.stored + 1);
                }
            }
            continue;
        }
        since = works;
        let taken = until + costs.blocking;
        let durable = taken + costs.persist_after(since);
        now = taken;
        if durable <= taken && taken <= life {
            (lived.durable, lived.stored) = (done, lived.stored + 1);
        } else {
            under_way = Some((durable, done));
        }
    }
    if let Some((durable, work)) = under_way
        && durable <= life
    {
        (lived.durable, lived.stored) = (work, lived.stored + 1);
    }
    lived
}

/// Draws the ages at which a machine is told that it goes away and does not.
pub fn false_alarms(world: &World, life: f64, draws: &mut Draws) -> Vec<f64> {
    let notices = &world.notices;
    // A machine that nobody takes away is told nothing.
    if notices.recall <= 0.0 || notices.precision >= 1.0 || life.is_infinite() {
        return Vec::new();
    }
    let between = Lives::Exponential { mean: notices.between_false(world.lives.mean()).max(1.0) };
    let (mut at, mut all) = (0.0, Vec::new());
    loop {
        at += between.draw(draws);
        if at >= life {
            return all;
        }
        all.push(at);
    }
}

/// Returns how long ago the last checkpoint will have been taken at this time: of the first one, the whole is stored.
fn since_last(now: f64, since: f64, end: f64) -> f64 {
    if since.is_finite() { end - now } else { f64::INFINITY }
}
