//! The pipeline file and what lies beside it: data, code, lock.

mod code;
mod data;
mod elsewhere;
mod files;
mod graph;
mod lock_file;
mod place;
mod read;
mod store_at;

pub use data::measure;
pub use graph::{Footprint, Strictness, prepare};
pub use lock_file::{DataLock, LockFile};
pub use place::{Place, find, pipeline_file};
pub use read::read;
pub use store_at::StoreAt;
