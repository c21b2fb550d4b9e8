//! What a pipeline is: identities, digests, steps, ports, policies and step keys; no I/O, no async, no clock.
//!
//! Everything here is a value. The words are those of `docs/design/protocol.md`.

mod address;
mod artifact;
mod capacity;
mod class;
mod data;
mod digest;
mod effect;
mod encoding;
mod fan_in;
mod graph;
mod handler;
mod ids;
mod items;
mod json;
mod key;
mod listing;
mod name;
mod parts;
mod pipeline;
mod policy;
mod template;
mod trace;
mod tree;
mod tree_rules;
mod units;
mod when;

pub use address::StepAddress;
pub use artifact::{Artifact, ArtifactKind};
pub use capacity::{CapacityWish, Prefer};
pub use class::Class;
pub use data::pattern_root;
pub use digest::{Digest, DigestParseError, Hasher};
pub use effect::{EffectHow, EffectId, EffectKind, FOLDER, Publication, Target, is_address};
pub use encoding::Encoder;
pub use fan_in::{INDEX, fan_in, index_of};
pub use graph::{DataPin, EnvironmentPin, GRAPH_FORMAT, Graph, Platform, WarmStart};
pub use handler::Handler;
pub use ids::{
    AttemptId, CheckpointId, Epoch, Item, RunId, RunIdError, SlotId, StepId, StepKey, WriterId, descending,
    from_descending,
};
pub use items::{ForEach, MAX_ITEMS, MAX_ITEMS_BYTES, read_items};
pub use json::{Json, JsonError};
pub use key::{BoundInput, KEY_FORMAT, KeyScope, step_key};
pub use listing::{LISTING_FORMAT, ListedObject, Listing, MAX_LISTED, Referenced};
pub use name::{DataName, EnvName, NameError, ParamName, PipelineName, PortName, StepName};
pub use parts::{PART_BYTES, PartDigest, PartHasher, join, parts_of};
pub use pipeline::{
    Check, Checkpoint, CheckpointFormat, Command, ContentFormat, EnvironmentSpec, OnNotice, Output, ParamValue,
    Pipeline, RelPath, RelPathError, Resources, Reuse, Source, Step,
};
pub use policy::{Backoff, ClassPolicy, RetryPolicy};
pub use template::{Part, Reference, Template, TemplateError, shell_quote};
pub use trace::{RunTrace, SpanId, TraceId, TraceParent, TraceParentError};
pub use tree::{Tree, TreeEntry, TreeError, TreeNode, tree_digest};
pub use tree_rules::shown;
pub use units::{ByteSize, Span, UnitError};
pub use when::{OutputRead, When};
