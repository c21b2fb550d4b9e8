//! `prunella complete`: names that only the store knows, for the scripts of `completions`.

use clap::Args;

use super::reading;
use crate::{
    answer::say,
    completion::{Asked, Line, behind_breaks},
    context::Context,
    error::CliError,
};

/// Print what could stand where a line ends: for the scripts of `completions`.
#[derive(Debug, Args)]
pub struct Complete {
    /// What is typed so far.
    line: String,

    /// Leave out what stands before the last `:` or `=`, at which bash splits words.
    #[arg(long)]
    breaks: bool,
}

impl Complete {
    /// Runs.
    ///
    /// # Errors
    /// None but for an answer that cannot be written: where there is nothing to say, nothing is said.
    pub async fn run(&self, context: &Context) -> Result<u8, CliError> {
        let line = Line::read(&self.line);
        let names = self.names(context, &line).await.unwrap_or_default();
        let shown = |name: &String| match self.breaks {
            true => format!("{}\n", behind_breaks(name, &line.current)),
            false => format!("{name}\n"),
        };
        say(&names.iter().map(shown).collect::<String>())?;
        Ok(0)
    }

    async fn names(&self, context: &Context, line: &Line) -> Result<Vec<String>, CliError> {
        let asked = Asked::of(line);
        let named = context.naming(asked.store.as_deref(), asked.config.as_deref())?;
        asked.answer(&reading(&named).await?, &line.current).await
    }
}
