//! What a later version brings: refused by name, never ignored.

/// Keys that have a meaning in a later version, wherever they stand.
pub(crate) const KEYS: &[&str] = &["includes", "rungs", "store", "uses", "with"];

/// Returns the message about `what`, which is refused.
pub(crate) fn message(what: &str) -> String {
    format!("`{what}` comes in a later version of Prunella; this one would have to ignore it, so it refuses it")
}

/// What to do about `store`: it is not the pipeline's to say.
pub(crate) const STORE: &str = "which stores are used stands in `prunella.toml` (`store`, `read_from`), or on the command line: docs/configuration.md";

/// What to do until then.
pub(crate) const HELP: &str = "remove it; docs/pipeline.md says what this version can do";
