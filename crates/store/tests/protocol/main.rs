//! The protocol against stores: memory that grants no more than it must, and the embedded one, with lost replies, full
//! disks and many members at once (docs/design/protocol.md).
#![allow(clippy::disallowed_methods)]

mod bench;
mod brought;
mod chunks;
mod claims;
mod crashes;
mod damage;
mod damaged_records;
mod fences;
mod gc;
mod gc_collectors;
mod gc_handovers;
mod gc_power;
mod gc_world;
mod hostile;
mod lost;
mod network;
mod publish;
mod publish_in_buckets;
mod publish_together;
mod ratchet;
mod reuse;
mod runs;
mod trees;
