//! `prunella completions`: what a shell needs to complete the command line.

use clap::{Args, Command, CommandFactory};
use clap_complete::Shell;
use serde_json::json;

use crate::{
    answer::{say, say_json},
    args::{self, Output},
    completion::asking,
    context::Context,
    error::CliError,
};

/// Print the script with which a shell completes what is typed.
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
        clap_complete::generate(self.shell, &mut shown(&args::Args::command()), "prunella", &mut script);
        let script = String::from_utf8(script).expect("clap writes text") + asking(self.shell);
        match context.output {
            Output::Json => say_json(&json!({ "shell": self.shell.to_string(), "script": script }))?,
            Output::Text => say(&script)?,
        }
        Ok(0)
    }
}

/// Returns the command line without commands that are for scripts only: clap's scripts would offer them.
fn shown(whole: &Command) -> Command {
    let commands = whole.get_subcommands().filter(|command| !command.is_hide_set()).cloned();
    Command::new("prunella").args(whole.get_arguments().cloned()).subcommands(commands)
}
