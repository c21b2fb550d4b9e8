//! `cargo xtask soak --schedules N`: plays schedules of the simulation, built with all optimisation, and goes on where it was
//! stopped.

use std::process::ExitCode;

use crate::workspace::{cargo, exits, target};

/// Plays as these words say; they are those of the examples `schedules` and, with `--whole`, `whole` of `prunella-simulation`.
pub fn main(options: &[&str]) -> ExitCode {
    let built = ["run", "--release", "--quiet", "--locked", "--package", "prunella-simulation"];
    let mut command = cargo(&built);
    if options.contains(&"--whole") {
        let options = options.iter().filter(|word| **word != "--whole");
        return exits(command.args(["--example", "whole", "--"]).args(options));
    }
    command.args(["--example", "schedules", "--"]).args(options);
    if !options.contains(&"--state") {
        command.arg("--state").arg(target().join("schedules.state"));
    }
    exits(&mut command)
}
