//! The only crate that asks the machine: clock, randomness, environment and file system behind traits.
//!
//! Everything else receives a [`Sys`]. Tests put [`ManualClock`], [`SeededRandom`] and [`MapEnv`] into it, or a file
//! system that enumerates crash points. A root `clippy.toml` refuses the direct calls elsewhere.
#![allow(clippy::disallowed_methods)]

mod accelerators;
mod blocking;
mod clock;
mod crash_points;
mod dir_lock;
mod env;
mod fs;
mod lease;
mod long_path;
mod machine;
mod memory;
mod mutation;
mod phase;
mod random;
mod real_fs;
mod remove_tree;
mod writeback;

use std::sync::Arc;

pub use accelerators::{Accelerators, BadAccelerator, Visibility};
pub use blocking::{StaysHere, aside, blocking, stay_on_this_thread};
pub use clock::{Clock, HurriedClock, ManualClock, RealClock};
pub use crash_points::{CRASH_POINTS, CrashAt, CrashPoint, KILL_AT, NoCrashPoint, Operation, Passed, crash_point};
pub use env::{Env, MapEnv, RealEnv};
pub use fs::{DirEntry, DirLock, FileKind, Fs, FsFile, FsRead, Meta};
pub use lease::{LeaseHeld, ReadLease, read_lease};
pub use machine::{FakeMachine, Machine, OsArch, RealMachine};
pub use memory::give_large_buffers_back;
#[cfg(feature = "mutations")]
pub use mutation::mutate_here;
pub use mutation::mutated;
pub use phase::{Phase, Phases, UnknownPhase};
pub use random::{Random, RealRandom, SeededRandom, random_hex, split_mix};
pub use real_fs::RealFs;

/// Everything the product asks of the machine, in one cheap handle.
#[derive(Clone)]
pub struct Sys {
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Randomness.
    pub random: Arc<dyn Random>,
    /// Environment variables and the current directory.
    pub env: Arc<dyn Env>,
    /// Identity and size of this machine.
    pub machine: Arc<dyn Machine>,
    /// Durable file operations.
    pub fs: Arc<dyn Fs>,
}

impl Sys {
    /// Returns the real machine.
    pub fn real() -> Sys {
        Sys {
            clock: Arc::new(RealClock),
            random: Arc::new(RealRandom),
            env: Arc::new(RealEnv),
            machine: Arc::new(RealMachine::new()),
            fs: Arc::new(RealFs),
        }
    }
}

impl std::fmt::Debug for Sys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Sys")
    }
}
