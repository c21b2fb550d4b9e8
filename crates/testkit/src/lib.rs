//! Fakes and helpers for tests; never published.
//!
//! [`CrashFs`] is a file system that can show every state in which a crash may leave it, [`Faulty`] a store whose
//! operations fail where a test says so, and [`for_each_seed`] repeats a property over seeds and names the failing one.
//! The fakes of clock, randomness and environment are in `prunella-sys`.

mod crash_fs;
mod crash_fs_images;
mod crash_fs_operations;
mod fault;
#[cfg(feature = "kills")]
pub mod kills;
#[cfg(feature = "records")]
pub mod records;
mod seeds;

pub use crash_fs::CrashFs;
pub use crash_fs_images::{CrashLimits, Images};
pub use fault::{Fault, Faulty};
pub use seeds::for_each_seed;
