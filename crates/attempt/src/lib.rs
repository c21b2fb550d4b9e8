//! One attempt of one step, from guard to verdict.
//!
//! Everything that may not go wrong happens here, the same on a laptop and in a pod: claim, workspace, restore, run,
//! notice, validate, promote (`docs/design/protocol.md`, One attempt). Engines only start attempts.
//!
//! Reading order: [`attempt`] (the order of things), `supervise` (the loop while the program runs), `snapshots`
//! (checkpoints), `validate`, `workspace`.

mod changes;
mod claimer;
mod command;
mod completeness;
mod control;
mod copies;
mod end;
mod formats;
mod host;
mod inputs;
mod interference;
mod interval;
mod life;
mod log;
mod looks;
mod mounts;
mod moving;
mod needs;
mod pool;
mod promote;
mod redact;
mod references;
mod request;
mod run;
mod scratch;
mod snapshots;
mod socket;
mod stage;
mod supervise;
mod tell;
mod validate;
mod variables;
mod verdict;
mod watcher;
mod workspace;

pub use claimer::{close_dead, sweep_attempt};
pub use control::{Control, Deadline, Hint};
pub use host::{EnvironmentUse, Ground, Host, Secret};
pub use inputs::{BoundArtifact, FanIn, InputBytes, Mounted, Part};
pub use interval::{Foreseen, foresee, machine_of};
pub use log::{LogLine, decode_log};
pub use needs::lacks;
pub use pool::Pool;
pub use redact::Redactor;
pub use request::{AtEnd, Budgets, Lent, Request, RestoreFrom};
pub use run::attempt;
pub use scratch::{NoScratch, Scratch, Start};
pub use tell::{Tell, Told, Way};
pub use verdict::{Failure, Success, Verdict};
