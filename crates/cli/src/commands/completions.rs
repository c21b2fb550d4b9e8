//! `prunella completions`: what a shell needs to complete the command line.

use clap::{Args, CommandFactory};
use clap_complete::Shell;
use serde_json::json;

use crate::{
    answer::{say, say_json},
    args::{self, Output},
    context::Context,
    error::CliError,
};

/// Print the script with which a shell completes commands and options.
///
/// bash: `prunella completions bash > ~/.local/share/bash-completion/completions/prunella`; zsh: into a file
/// `_prunella` of a directory in `$fpath`; fish: `~/.config/fish/completions/prunella.fish`.
#[derive(Debug, Args)]
pub struct Completions {
    /// The shell.
    shell: Shell,
}

impl Completions {
    /// Runs.
    ///
    /// # Errors
    /// [`CliError`] only for an answer that cannot be written.
    pub fn run(&self, context: &Context) -> Result<u8, CliError> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut args::Args::command(), "prunella", &mut script);
        let script = String::from_utf8(script).expect("clap writes text");
        match context.output {
            Output::Json => say_json(&json!({ "shell": self.shell.to_string(), "script": script }))?,
            Output::Text => say(&script)?,
        }
        Ok(0)
    }
}
