//! The parts of a pipeline file and the keys that each may have.

/// One kind of mapping with fixed keys.
#[derive(Debug)]
pub(crate) struct Section {
    /// How a message names it.
    pub name: &'static str,
    /// Its keys.
    pub keys: &'static [&'static str],
}

macro_rules! sections {
    ($($name:ident = $text:literal [$($key:literal),* $(,)?];)*) => {
        $(pub(crate) static $name: Section = Section { name: $text, keys: &[$($key),*] };)*
        /// Every section, for the tests that hold the schema and the reference to these keys.
        #[cfg(test)]
        pub(crate) static ALL: &[&Section] = &[$(&$name),*];
    };
}

sections! {
    PIPELINE = "a pipeline" [
        "prunella", "name", "include", "params", "data", "code", "environment", "defaults", "steps", "on_exit", "on_failure",
    ];
    DATA = "a data set" ["path", "uri", "access"];
    ENVIRONMENT = "`environment`" ["python", "version"];
    DEFAULTS = "`defaults`" [
        "resources", "env", "pass_env", "secrets", "retry", "timeout", "stall", "deterministic", "on_notice",
        "checkpoint", "capacity",
    ];
    STEP = "a step" [
        "run", "for_each", "inputs", "outputs", "publish", "after", "when", "code", "reuse", "resources", "env", "pass_env", "secrets", "retry",
        "timeout", "stall", "deterministic", "on_notice", "checkpoint", "capacity",
    ];
    HANDLER = "a command at the end of the run" [
        "run", "code", "resources", "env", "pass_env", "secrets", "retry", "timeout", "stall", "deterministic", "on_notice",
        "checkpoint", "capacity",
    ];
    OUTPUT = "an output" ["path", "check"];
    PUBLICATION = "a publication" ["path", "mode"];
    CHECK = "`check`" ["files", "min_size", "max_size", "format", "command"];
    CHECKPOINT = "`checkpoint`" ["format", "marker", "every", "keep", "grace", "sealed", "ranks"];
    CHECKPOINT_MARKER = "`format`" ["marker"];
    RESOURCES = "`resources`" ["cpu", "memory", "gpu", "shm"];
    CAPACITY = "`capacity`" ["prefer", "patience"];
    CLASS_POLICY = "a class of `retry`" ["limit", "backoff"];
    SECRET = "a secret" ["file"];
}
