//! A run in virtual time: what interruptions would cost it.
//!
//! [`World`] is what is assumed: how long machines live, what a checkpoint costs, what is announced. [`live`] plays one attempt on
//! one machine, [`survey`] many of them one after the other, [`play`] a whole run: there the engine's own `decide` says what is
//! started, and `healing` what a failure is, what is done about it and how often to checkpoint. No clock, no process, no file;
//! every draw comes from a seed (docs/design/0033-simulate.md).

mod attempt;
mod chooser;
mod figures;
mod machines;
mod play;
mod survey;
mod work;
mod world;

pub use attempt::{Lived, Task, live};
pub use chooser::{Chooser, Every};
pub use figures::{Estimate, estimate, percentile};
pub use play::{PlayError, Played, play};
pub use survey::{Survey, survey};
pub use work::{Work, one_step};
pub use world::{Capacity, Checkpoints, Notices, World};
