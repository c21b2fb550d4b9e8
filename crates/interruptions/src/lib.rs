//! When machines go away: models, recorded traces, and what theory says of checkpoints; pure.
//!
//! A **life** is the time from a machine's start to its interruption. [`Lives`] says how long lives are, [`fit`] finds the
//! model that recorded lives speak for, [`trace`] reads records, [`theory`] has the formulas for what checkpoints cost and
//! save. All times are seconds. Nothing here reads a clock or a file, and every draw comes from a seed
//! (docs/design/0033-simulate.md).

mod draws;
pub mod fit;
mod lambert;
mod lives;
mod shocks;
pub mod theory;
pub mod trace;

pub use draws::Draws;
pub use fit::Life;
pub use lambert::lambert_w0;
pub use lives::{Lives, LivesError};
pub use shocks::{Shaken, Shocks};
