//! What happened: events in the past tense, the fold to state, and the log of a run.
//!
//! An [`Event`] reports what the store's records decided. [`RunState`] is the fold over them: where each step is
//! ([`StepState`]), and lists of what is to be done next, so that deciding never looks through all steps. The log is a
//! row of segments in the store ([`append`], [`read_all`]), each with a checksum; docs/formats/journal.md has the format.
//! A [`Summary`] is the state at some place of the log, from which readers go on (docs/formats/summary.md).
//! [`metrics()`] are figures of the same events: what interruptions cost (docs/metrics.md); a [`Timeline`] says when what
//! happened to each attempt.

mod agenda;
mod effects;
mod event;
mod fan;
mod keys;
mod kinds;
mod log;
mod metrics;
mod next_try;
mod places;
mod run;
mod segment;
mod set;
mod state;
mod stop;
mod summary;
mod timeline;
mod topology;

pub use agenda::Todo;
pub use effects::{EffectDone, EffectTries};
pub use event::{Event, Observation, Position, Stamped};
pub use fan::{Fan, Need};
pub use log::{
    Appended, Read, append, last_event, last_of_driver, newest, read_all, read_since, read_sound, segment_key,
    segment_op,
};
pub use metrics::{
    HintSeen, Interruption, LossReason, MetricsFold, Recovery, RunMetrics, StepCounts, is_interruption, mean, metrics,
    percentile,
};
pub use next_try::{Next, NextTry, RestoreFrom};
pub use run::{IllegalEvent, RunState};
pub use segment::{FORMAT, JournalError, Remedy, SegmentId, decode, decode_about, encode, write_line};
pub use set::StepSet;
pub use state::{Around, Artifacts, Done, Ended, Running, SkippedBy, Stage, StepState};
pub use stop::{RunStatus, StopHow};
pub use summary::{Glance, Kept, Summary, Whereabouts, glance, keep, read_summary, write_summary};
pub use timeline::{AttemptCourse, Axis, CameOut, CheckpointMade, Driven, Moment, Timeline};
pub use topology::{Node, StepIndex, Topology, TopologyError};
