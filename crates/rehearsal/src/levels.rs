//! Two levels of checkpoints: near ones that a kill survives, far ones that the loss of the machine survives.

use prunella_interruptions::{Draws, Lives};

use crate::{Survey, World};

/// Checkpoints that stay on the machine, and the interruptions that leave the machine standing.
#[derive(Debug, Clone, PartialEq)]
pub struct Near {
    /// The times between interruptions that leave the machine.
    pub kills: Lives,
    /// How long such a checkpoint holds the program up.
    pub checkpoint: f64,
    /// From such an interruption to a program that goes on.
    pub restore: f64,
    /// How many near checkpoints there are for each far one; 1 at least.
    pub per_far: u32,
    /// The work between two near checkpoints.
    pub work: f64,
}

/// What happens next.
#[derive(Clone, Copy, PartialEq)]
enum Stage {
    Restore,
    Work,
    Near,
    Far,
}

/// Plays so many machines, one after the other: one step without an end.
///
/// Work, a near checkpoint, work, …, and after every `per_far`-th a far one, of the cost and restore of `world`, whose machines live
/// as it says. A kill costs what was done since the newest checkpoint of either kind; a machine that goes takes its near
/// ones along. Every stage can be interrupted. Notices, gaps and storing beside the program have no part in it.
pub fn two_levels(world: &World, near: &Near, machines: u64, draws: &mut Draws) -> Survey {
    let mut all = Survey::default();
    let restore_far = world.start + world.restore;
    // The work in the newest far checkpoint.
    let mut stored = 0.0;
    for _ in 0..machines {
        let life = world.lives.draw(draws);
        // The work that is done, what of it is in the newest checkpoint on the machine, and how many near ones since a far one.
        let (mut done, mut kept, mut since_far) = (stored, stored, 0);
        let (mut age, mut killed_at) = (0.0, near.kills.draw(draws));
        let (mut stage, mut takes) = (Stage::Restore, restore_far);
        while age < life {
            let ends = age + takes;
            if killed_at < ends.min(life) {
                age = killed_at;
                killed_at = age + near.kills.draw(draws);
                done = kept;
                // Before the far state was fetched there is none on the machine.
                let nothing_there = stage == Stage::Restore && takes == restore_far && kept == stored;
                (stage, takes) = (Stage::Restore, if nothing_there { restore_far } else { near.restore });
                continue;
            }
            age = ends;
            if age > life {
                break;
            }
            (stage, takes) = match stage {
                Stage::Restore => (Stage::Work, near.work),
                Stage::Work => {
                    done += near.work;
                    if since_far + 1 >= near.per_far.max(1) {
                        (Stage::Far, near.checkpoint + world.checkpoints.blocking)
                    } else {
                        (Stage::Near, near.checkpoint)
                    }
                }
                Stage::Near => {
                    (kept, since_far) = (done, since_far + 1);
                    (Stage::Work, near.work)
                }
                Stage::Far => {
                    (kept, stored, since_far) = (done, done, 0);
                    (Stage::Work, near.work)
                }
            };
        }
        all.used += life;
        all.lives += 1;
    }
    all.useful = stored;
    all
}
