//! `cargo xtask mutations`: puts deliberate bugs in and says what notices each.

use std::process::{Command, ExitCode};

use crate::workspace::{cargo, root, target};

/// Looks for the bugs with these numbers, or for all; the words are those of the example `mutations` of
/// `prunella-simulation`.
pub fn main(options: &[&str]) -> ExitCode {
    // As the whole workspace is built for tests: only so are bugs in what the tests of other crates run.
    let build = ["build", "--workspace", "--features=xtask/soak", "--locked", "--quiet", "--example", "mutations"];
    if !cargo(&build).status().is_ok_and(|status| status.success()) {
        eprintln!("mutations: they could not be built");
        return ExitCode::FAILURE;
    }
    let mut command = Command::new(target().join("debug/examples/mutations"));
    match command.args(options).current_dir(root()).status() {
        Ok(status) if status.success() => ExitCode::SUCCESS,
        Ok(status) => ExitCode::from(status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1)),
        Err(error) => {
            eprintln!("mutations: {error}");
            ExitCode::from(75)
        }
    }
}
