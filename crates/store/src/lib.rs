//! The protocol's records: slots, artifacts, pins, checkpoints, names, runs.
//!
//! Everything that decides lies in immutable records made by create-if-absent (`docs/design/protocol.md`). This crate says
//! where each record lies ([`Layout`]), what is in it ([`records`]), and in which order records are read and written.

mod abreast;
mod artifacts;
mod binding_keys;
mod bring_in;
mod checkpoints;
mod chunk;
mod claim;
mod cut_in;
mod digests;
mod effects;
mod error;
mod gc;
mod graph_parts;
mod hashing;
mod in_chunks;
mod key_view;
mod lanes;
mod lay_out;
mod layout;
mod liveness;
mod manifest;
mod measure;
mod numbered;
mod pack;
mod pieces;
mod pins;
mod publish;
mod published;
mod read_small;
pub mod records;
mod runs;
mod slots;
mod store;
mod stored;
mod take_in;
mod take_tree;
mod there;
mod uses;
mod verify;
mod walk;

pub use artifacts::Verified;
pub use binding_keys::BindingKeys;
pub use checkpoints::Snapshot;
pub use claim::{ClaimRequest, Claimed, Claimer};
pub use effects::{Effect, EffectMade};
pub use error::{Remedy, StoreError};
pub use gc::{Caretaker, Collected, Retention, Sum, Why};
pub use graph_parts::GraphParts;
pub use key_view::{KeyState, KeyView, SlotView};
pub use lay_out::Laid;
pub use layout::Layout;
pub use liveness::{LEASE, Observer};
pub use measure::{Contents, Remembered, measure, measure_matching};
pub use publish::Overwrite;
pub use published::Published;
pub use runs::{DriverLease, NewRun, Refill, RunListed};
pub use slots::{Filled, ReadyCommit};
pub use store::Store;
pub use take_in::{Taken, TakenFile};
pub use uses::Guarded;
pub use verify::{Promised, PromisedFile, PromisedObject, Promiser, Promises};
pub use walk::Refusals;
