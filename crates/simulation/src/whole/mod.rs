//! Whole runs in virtual time: the product's engines and attempts, with machines, programs and a store that are played.
//!
//! [`play_whole`] plays one [`WholePlan`]: real `drive`, real attempts, the real store's code, on one thread. Simulated are time,
//! machines, disks, guardians and programs, and the service behind the store (`docs/design/0037-engine-in-simulation.md`).

mod disk;
mod engines;
mod eye;
mod faults;
mod judge;
mod keeper;
mod plan;
mod play;
mod program;
mod scene;
mod shrink;
mod stage;

pub use plan::{At, Trouble, WholePlan};
pub use play::{WholeCounts, WholeOutcome, play_whole, play_whole_logged};
pub use shrink::shrink_whole;
