//! `cargo xtask mutations`: puts deliberate bugs in and says what notices each.

use std::process::{Command, ExitCode};

use crate::workspace::{cargo, exits, root, target};

/// Looks for the bugs with these numbers, or for all; the words are those of the example `mutations` of
/// `prunella-simulation`.
pub fn main(options: &[&str]) -> ExitCode {
    // As the whole workspace is built for tests: only so are bugs in what the tests of other crates run.
    let build = ["build", "--workspace", "--features=xtask/soak", "--locked", "--quiet", "--example", "mutations"];
    if !cargo(&build).status().is_ok_and(|status| status.success()) {
        eprintln!("mutations: they could not be built");
        return ExitCode::FAILURE;
    }
    let program = target().join("debug/examples/mutations");
    exits(Command::new(program).args(options).current_dir(root()))
}
