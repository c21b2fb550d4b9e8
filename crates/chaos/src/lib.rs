//! Faults on real runs, and the oracle that judges what they leave.
//!
//! A [`Profile`] draws a plan of [`Strike`]s from a seed; [`play`] starts the real binary on the real pipeline, carries the plan out on
//! its processes, starts it again as somebody would who sees it gone, and asks the [`Oracle`] after every strike whether the
//! invariants of docs/design/protocol.md hold. What was done and what came out is a [`Played`].

mod adhoc;
mod crash_points;
mod fault;
mod find;
mod injection;
mod lineage;
mod memory;
mod metadata;
mod oracle;
mod play;
mod profile;
mod recorded;
mod rot;
mod site;
mod storm;
mod subject;
mod two_engines;

pub use adhoc::{Artifacts, Line, Script, Scripted, play_script, torn};
pub use crash_points::{Point, passed, play_point, points};
pub use fault::{Fault, Platform, Strike};
pub use find::{Found, mains, processes};
pub use lineage::{Lineage, Walked};
pub use oracle::{Broken, Oracle, Seen, broken};
pub use play::{Made, Patience, Played, kill_all, play};
pub use profile::{Profile, UnknownProfile};
pub use recorded::Recorded;
pub use site::{Site, Sites};
pub use subject::{Subject, contents};
