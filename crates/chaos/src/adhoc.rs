//! The ad-hoc baseline: the same commands as people script them, under the same faults, judged in the same way.
//!
//! A [`Script`] is what somebody would write who knows the pipeline and not Prunella; [`play_script`] runs it as a real `/bin/sh`.
//! docs/design/0032-ad-hoc-baseline.md says what it models.

mod judge;
mod ledger;
mod play;
mod script;

pub use judge::torn;
pub use play::{Scripted, play_script};
pub use script::{Artifacts, Line, Script};
