//! What `prunella simulate` assumes, counts and draws.

mod answers;
mod assumed;
mod plot;

pub use answers::Answers;
pub use assumed::{Assumed, traces};
pub use plot::{Curve, picture};
