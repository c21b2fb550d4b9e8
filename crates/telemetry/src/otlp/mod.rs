//! OpenTelemetry over OTLP: spans, figures and log records of a run to whoever receives them.
//!
//! Nobody waits for a receiver, and none changes how a run ends (docs/design/0036-otlp.md).

mod exporter;
mod figures;
mod lane;
mod logs;
mod say;
mod sender;
mod settings;
mod spans;
mod whole;
mod wire;

pub use exporter::{Exporter, FLUSH, Origin};
pub use settings::{Encoding, Mistake, Receiver, Settings, Signal};
pub use whole::send_whole;
