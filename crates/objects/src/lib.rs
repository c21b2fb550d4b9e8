//! Bytes at keys, created once: the embedded store and the suite every backend passes.
//!
//! [`Objects`] is all that Prunella needs of a store: create-if-absent, read, list, delete. [`Embedded`] keeps it in one
//! directory with SQLite, [`Directory`] in plain files, [`Memory`] in this process for tests, and [`conformance`] holds what every backend promises.

pub mod conformance;
pub mod directory;
mod elsewhere;
mod embedded;
mod error;
mod fitness;
mod frames;
mod key;
mod memory;
mod objects;
mod showcase;
mod store_id;

pub use directory::Directory;
pub use elsewhere::Elsewhere;
pub use embedded::{Embedded, Info};
pub use error::{ObjectsError, Remedy};
pub use fitness::{Figures, Finding, Report, Verdict, finding};
pub use frames::Frames;
pub use key::ObjectKey;
pub use memory::Memory;
pub use objects::{
    Created, CreatedFile, Freshness, Listed, MAX_GET_BYTES, ObjectReader, Objects, Op, Packing, SMALL_BYTES, Take,
    TakeIn, sought,
};
pub use showcase::{Exhibit, Instead, Showcase, Showcases, Shown};
pub use store_id::{is_store_id, new_store_id};
