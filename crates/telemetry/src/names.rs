//! The names of the figures, what they mean, and their kinds: the table of docs/metrics.md as code.

/// What kind a figure is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// It only grows, within one run.
    Counter,
    /// It may fall, too.
    Gauge,
    /// How often a value fell below some bounds.
    Histogram,
}

/// A figure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Name {
    /// Its name; that of a counter without `_total`.
    pub name: &'static str,
    /// What it means.
    pub help: &'static str,
    /// Its kind.
    pub kind: Kind,
}

impl Name {
    /// Returns the names under which samples of it are exported.
    pub fn exported(&self) -> Vec<String> {
        match self.kind {
            Kind::Counter => vec![format!("{}_total", self.name)],
            Kind::Gauge => vec![self.name.to_owned()],
            Kind::Histogram => ["bucket", "sum", "count"].map(|end| format!("{}_{end}", self.name)).to_vec(),
        }
    }
}

macro_rules! names {
    ($($constant:ident: $kind:ident $name:literal, $help:literal;)*) => {
        $(pub(crate) const $constant: Name = Name { name: $name, help: $help, kind: Kind::$kind };)*
        /// Every figure that is exported.
        pub const NAMES: &[Name] = &[$($constant),*];
    };
}

names! {
    BUILD: Gauge "prunella_build_info", "The version that exports this; always 1.";
    STATUS: Gauge "prunella_run_status", "1 for how the run is, 0 for the other states.";
    STARTED: Gauge "prunella_run_start_time_seconds", "When the run began, by the wall clock, since 1970.";
    LAST_EVENT: Gauge "prunella_run_last_event_time_seconds", "When the newest event of the run happened, by the wall clock, since 1970.";
    DRIVEN: Gauge "prunella_run_driven_seconds", "How long engines drove the run, by monotonic clocks.";
    ENGINE_STARTS: Counter "prunella_engine_starts", "How often an engine took the run.";
    STEPS: Gauge "prunella_steps", "Steps by outcome.";
    RUNNING: Gauge "prunella_attempts_running", "Attempts that have their slot and have not ended.";
    ATTEMPTS: Counter "prunella_attempts", "Attempts that had their slot.";
    COMMITS: Counter "prunella_commits", "Attempts that committed.";
    INTERRUPTIONS: Counter "prunella_interruptions", "Ends of attempts that were not the program's own doing, by class.";
    FAILURES: Counter "prunella_failures", "All other ends of attempts without a commit, by class.";
    RECOVERIES: Histogram "prunella_recovery_seconds", "From an interruption until the step's process ran again with its state restored.";
    PARTS: Gauge "prunella_recovery_part_seconds", "The sum over all recoveries of one part of them.";
    COMPUTE: Gauge "prunella_compute_seconds", "Compute time of all attempts.";
    LOST: Gauge "prunella_compute_lost_seconds", "Compute time whose result entered no commit, by what it was lost to.";
    BOUND: Gauge "prunella_compute_lost_bound_seconds", "What of the lost compute time no scheduler could have avoided.";
    CHECKPOINTS: Counter "prunella_checkpoints", "Checkpoints that became durable.";
    CHECKPOINT_BYTES: Counter "prunella_checkpoint_bytes", "Bytes of the checkpoints that became durable.";
    HELD_UP: Counter "prunella_checkpoint_held_up_seconds", "How long programs were held up by checkpoints.";
    CHECKPOINTS_SKIPPED: Counter "prunella_checkpoints_skipped", "Checkpoints that could not be restored, so that an earlier one was.";
    RESTORES: Counter "prunella_restores", "Checkpoints that were laid out for a program.";
    RESTORING: Counter "prunella_restore_seconds", "How long laying out checkpoints took.";
    NOTICES: Counter "prunella_notices", "Notices that attempts had.";
    HINTS: Counter "prunella_hints", "Word of clouds that a machine might go away.";
    COMMITTED_BYTES: Gauge "prunella_committed_bytes", "Bytes that attempts of the run committed.";
    DAMAGED: Counter "prunella_damaged_commits", "Commits whose bytes the storage lost, found and marked before any use.";
    DIFFERING: Counter "prunella_differing_commits", "Commits of a key that differ from the earlier commit of the same key.";
    LINEAGE: Gauge "prunella_lineage_coverage_ratio", "The share of committed bytes whose provenance is complete; absent until it is known.";
}
