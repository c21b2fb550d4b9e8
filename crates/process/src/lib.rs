//! A tree of processes: the guardian, signals, output, limits and evidence.
//!
//! One small, single-threaded **guardian** process per engine spawns every step. It is the nearest subreaper of all
//! of them, so whatever a step starts, however it detaches itself, stays a descendant of the guardian and dies:
//!
//! | what is killed | who kills the rest |
//! | --- | --- |
//! | a step's main process | the guardian: when the main process is gone, the rest of its tree goes before the end is told |
//! | the engine | the guardian, on end of file of the engine's socket |
//! | the guardian | the engine, itself a subreaper, which inherits the orphans ([`Guardian::died`]) |
//! | both | the next engine, once it has proved the owner dead: [`sweep()`] by [`ATTEMPT_ID`] in the environments |
//!
//! Reading order: [`Guardian`] and [`Running`] (the engine's side, asynchronous; `handle` and `running` behind them), `wire`
//! (what they say to each other), `guardian/` (the guardian's side: plain blocking code around `poll`). A [`Spawner`] plays a
//! guardian in simulations.
//!
//! The binary must call [`guardian_main`] before anything else when its first argument is [`GUARDIAN_ARG`].

mod error;
mod guardian;
mod handle;
mod identity;
mod kernel;
mod orphans;
mod own_mounts;
mod procfs;
mod running;
mod spawner;
mod sweep;
mod wire;

pub use error::{ProcessError, Remedy, SpawnProblem};
pub use guardian::{guardian_main, memory_cgroup};
pub use handle::GuardianOptions;
pub use identity::ProcessIdentity;
pub use running::{EndStatus, Ended, OomEvidence, ProcessEvent, SpawnSpec, Stream, Usage};
pub use rustix::process::Signal;
pub use spawner::{Connection, Guardian, Listener, Listens, Running, Spawned, Spawner, TwoWay};
pub use sweep::{Swept, SweptProcess, sweep};

/// The first argument that makes the binary a guardian.
pub const GUARDIAN_ARG: &str = "__guardian";

/// The environment variable by which every process of an attempt can be found: `store id/run/key/epoch`.
pub const ATTEMPT_ID: &str = "PRUNELLA_ATTEMPT_ID";
