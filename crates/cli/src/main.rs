//! The `prunella` command: the command line, the local engine, and the supervisor of one attempt.

mod answer;
mod args;
mod baseline;
mod changes;
mod checkpointing;
mod checkup;
mod cloud;
mod commands;
mod comparison;
mod completion;
mod condition;
mod context;
mod drawing;
mod error;
mod evidence;
mod explanation;
mod forcing;
mod forecast;
mod history;
mod indented;
mod items;
mod markup;
mod mounted;
mod observed;
mod open;
mod otlp;
mod present;
mod progress;
mod project;
mod publications;
mod referenced;
mod rehearsing;
mod report;
mod resilience;
mod room;
mod settings;
mod signals;
mod skips;
mod to_read;
mod transfers;
mod warm;
mod whole_file;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    // Before anything else: the guardian is this program, kept as small as it can be.
    if std::env::args_os().nth(1).is_some_and(|first| first == prunella_process::GUARDIAN_ARG) {
        prunella_process::guardian_main();
    }
    prunella_sys::give_large_buffers_back();
    let args = match args::Args::try_parse() {
        Ok(args) => args,
        Err(error) => {
            // Help and version are answers, not mistakes.
            // To an orchestrator, wrong usage is a reason not to try again.
            let is_exec = std::env::args_os().nth(1).is_some_and(|first| first == "exec");
            let code = match (error.use_stderr(), is_exec) {
                (false, _) => 0,
                (true, false) => 2,
                (true, true) => 78,
            };
            let _closed = error.print();
            return ExitCode::from(code);
        }
    };
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("error: could not start: {error}");
            return ExitCode::from(75);
        }
    };
    let output = args.output;
    let code = match runtime.block_on(commands::run(args)) {
        Ok(code) => code,
        Err(error) => error.report(output),
    };
    // Work on the blocking pool that nobody waits for any more does not hold up the end.
    runtime.shutdown_background();
    ExitCode::from(code)
}
