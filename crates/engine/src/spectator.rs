//! Who watches a run go by.

use prunella_attempt::Told;
use prunella_journal::{RunState, Stamped, StepIndex};
use prunella_model::SlotId;
use prunella_store::records::{Owner, Timeline};

use crate::Plan;

/// Watches a run go by; must not block.
pub trait Spectator: Send + Sync {
    /// The run's driver is on another machine: it is watched for a sign of life before it is replaced.
    fn watches(&self, driver: &Owner) {
        let _nothing_to_show = driver;
    }
    /// The run is taken up: what earlier drivers left in its journal, before the first event of this one.
    fn begins(&self, earlier: &[Stamped], state: &RunState, plan: &Plan) {
        let _nothing_to_show = (earlier, state, plan);
    }
    /// The state changed by this event.
    fn event(&self, event: &Stamped, state: &RunState, plan: &Plan);
    /// An attempt says this of its time; what the journal says of its end follows.
    fn came_out(&self, _slot: SlotId, _timeline: &Timeline) {}
    /// An attempt wrote a line, or told its progress.
    fn told(&self, step: StepIndex, told: &Told, plan: &Plan);
}
