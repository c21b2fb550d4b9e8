//! The protocol, and whole runs, under seeded schedules: many members, a store that errs, and an oracle.
//!
//! The real code of `prunella-store` runs as members of one [`Plan`] on one thread, over a store and a time that are
//! simulated. Every choice follows from the plan's seed: [`play`] twice, and the same happens in the same order. After every
//! change an oracle judges the invariants of `docs/design/protocol.md`; a plan that breaks one is made small by [`shrink`],
//! and its text becomes a named test (`docs/design/0027-simulation.md`). [`play_whole`] does the same with the product's engines
//! and attempts (`docs/design/0037-engine-in-simulation.md`).

mod caretaking;
mod draw;
mod engine;
mod hunt;
mod machine;
mod mutations;
mod oracle;
mod plan;
mod play;
mod range;
mod service;
mod shrink;
mod whole;
mod world;

pub use hunt::{Caught, hunt, hunt_whole};
pub use mutations::{By, Hunt, MUTATIONS, Mutation};
pub use oracle::Violation;
pub use plan::{Fault, FaultAt, MEMBERS, NoPlan, Plan, Role};
pub use play::{Counts, Outcome, play, play_logged};
pub use range::{Played, play_range};
pub use shrink::shrink;
pub use whole::{At, Trouble, WholeCounts, WholeOutcome, WholePlan, play_whole, play_whole_logged, shrink_whole};
