//! What a condition may cost.

/// The longest text of a condition.
pub const MAX_SOURCE_BYTES: usize = 4096;
/// The most words and signs in it.
pub const MAX_TOKENS: usize = 1024;
/// How deep parts of it may lie in one another, operators in a row included: they nest as well.
pub const MAX_DEPTH: usize = 100;
/// The largest JSON that it reads from one output.
pub const MAX_JSON_BYTES: u64 = 8 << 20;
/// How deep that JSON may be nested.
pub const MAX_JSON_DEPTH: usize = 64;
/// The most steps that one evaluation takes: each part looked at, each value compared and each byte of a text made.
pub const MAX_COST: u64 = 10_000_000;
