//! Checks and soaks of this repository: `cargo xtask`.

// A tool for developers, not a part of the program: it may ask the machine.
#![allow(clippy::disallowed_methods)]

mod check;
mod direction;
mod documents;
mod examples;
mod lengths;
mod licences;
mod mutations;
mod purity;
mod radosgw;
mod resilience;
mod schedules;
mod servers;
#[cfg(feature = "soak")]
mod soak;
mod source;
mod workspace;

use std::process::ExitCode;

const USAGE: &str = "\
usage: cargo xtask COMMAND

  check [--quick]    everything that must hold before a commit; --quick leaves out tests and examples
  examples           builds, then runs the examples, in peace and killed, and compares what they made
  servers COMMAND…   runs a command beside real servers of object stores, with their addresses in its environment
  soak [OPTIONS]     kills real runs at random and checks that nothing is lost (docs/testing.md):
                     --minutes N, --kills N, --seed S, --parallel N, --binary FILE, --state FILE, --new
  mutations [NUMBER…] [--write]
                     puts deliberate bugs in and says what notices each (docs/design/0026-mutations.md)
  resilience [OPTIONS]
                     measures examples/digits under every profile and writes docs/resilience.md:
                     --profile P (several times), --quick, --runs N, --faults N, --seed S, --speed X, --binary FILE
  soak --schedules N plays so many schedules of the simulation: --first S, --parallel N, --state FILE, --new; with --whole whole runs
";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["check"] => check::check(check::Extent::All),
        ["check", "--quick"] => check::check(check::Extent::Quick),
        ["examples"] => check::check(check::Extent::Examples),
        ["mutations", options @ ..] => mutations::main(options),
        ["resilience", options @ ..] => resilience::main(options),
        ["servers", command, arguments @ ..] => servers::main(command, arguments),
        ["soak", options @ ..] if options.contains(&"--schedules") => schedules::main(options),
        #[cfg(feature = "soak")]
        ["soak", options @ ..] => soak::main(options),
        #[cfg(not(feature = "soak"))]
        ["soak", ..] => with_soak(&words),
        ["help" | "--help" | "-h"] => {
            print!("{USAGE}");
            ExitCode::SUCCESS
        }
        _ => {
            eprint!("{USAGE}");
            ExitCode::from(2)
        }
    }
}

/// Starts this program again, with the crates that only the soak needs.
#[cfg(not(feature = "soak"))]
fn with_soak(words: &[&str]) -> ExitCode {
    use std::os::unix::process::CommandExt;

    let mut command = workspace::cargo(&["run", "--quiet", "--package", "xtask", "--features", "soak", "--"]);
    let error = command.args(words).exec();
    eprintln!("cargo: {error}");
    ExitCode::from(75)
}
