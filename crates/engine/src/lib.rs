//! Whole runs: plan and decide, pure; driver and recovery, at the edge.
//!
//! [`Plan`] grows by the items of steps that fan out, and is static otherwise. [`decide`] says what is to be done next,
//! from the state that the journal's events fold to; the driver ([`drive`]) does it and appends what happened. A dead
//! engine's run is taken up by [`drive`] again: it folds the
//! journal, closes what ran, and goes on.

mod admission;
mod again;
mod at_end;
mod bind;
mod carry_out;
mod conditions;
mod decide;
mod driver;
mod effects;
mod error;
mod exec;
mod expand;
mod find;
mod heard;
mod held;
mod known;
mod lease;
mod notebook;
mod outcome;
mod plan;
mod plan_inputs;
mod plan_items;
mod plan_when;
mod rack;
mod recover;
mod reported;
mod reuse_walk;
mod seen;
mod spectator;
mod summarize;
mod told;
mod verdicts;
mod words;

pub use admission::Capacity;
pub use again::Again;
pub use decide::{Command, decide};
pub use driver::{DriveOptions, drive};
pub use effects::{EffectTrouble, do_effects, effects_of};
pub use error::EngineError;
pub use exec::{Upstream, exec_request, look_request};
pub use find::NoSuchStep;
pub use known::walk_and_expand;
pub use outcome::{Loaded, Outcome, is_finished, load_state};
pub use plan::{Demand, Plan, PlanError};
pub use plan_inputs::{BindError, Origin, PlannedInput};
pub use plan_when::ConditionInput;
pub use reuse_walk::{Found, Walked, key_of, walk, walk_everywhere};
pub use seen::{Closer, Seen, glance};
pub use spectator::Spectator;
pub use summarize::summarize;
