//! What happens in a run, told to those who watch many: figures for Prometheus.
//!
//! [`Course`] is a fold of the same events as everything else; [`exposition`] writes it in the text format, and [`serve`]
//! answers who asks for it. docs/metrics.md has the names. Whoever watches never holds a run up.

mod course;
mod endpoint;
mod exposition;
mod names;

pub use course::Course;
pub use endpoint::serve;
pub use exposition::exposition;
pub use names::NAMES;
