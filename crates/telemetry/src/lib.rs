//! What happens in a run, told to those who watch many: figures for Prometheus, traces, figures and logs for OpenTelemetry.
//!
//! [`Course`] is a fold of the same events as everything else; [`exposition`] writes it in the text format, and [`serve`]
//! answers who asks for it. [`otlp`] sends the same, and more, to whoever receives it. docs/metrics.md has the names. Whoever watches never holds a run up.

mod course;
mod endpoint;
mod exposition;
mod families;
mod names;
pub mod otlp;

pub use course::Course;
pub use endpoint::serve;
pub use exposition::exposition;
pub use names::NAMES;
