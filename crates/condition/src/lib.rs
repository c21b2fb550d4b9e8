//! Whether a step runs: a bounded part of CEL over JSON; pure.
//!
//! [`Condition::parse`] reads the text of a `when`, [`Condition::evaluate`] gives its answer from the JSON that other
//! steps made. Whatever a text or a JSON value holds, both end soon and use little: every size, every depth and every
//! step of an evaluation is counted (docs/design/0013-conditions.md). Equal arguments give equal answers everywhere.

mod condition;
mod evaluate;
mod functions;
mod json;
mod lex;
mod limits;
mod macros;
mod parse;
mod syntax;
mod value;

pub use condition::{Answer, Condition, Scope, Seen, Use, Used};
pub use evaluate::EvaluationError;
pub use json::{JsonError, json_lines, json_value};
pub use limits::{MAX_COST, MAX_DEPTH, MAX_JSON_BYTES, MAX_JSON_DEPTH, MAX_SOURCE_BYTES, MAX_TOKENS};
pub use parse::Mistake;
pub use value::Value;
