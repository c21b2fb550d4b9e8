//! `prunella man`: the manual, a page for each command.

use std::{
    io::Write,
    path::{Path, PathBuf},
};

use clap::{Args, Command, CommandFactory};
use clap_mangen::Man as Page;
use prunella_sys::random_hex;
use serde_json::json;

use crate::{
    answer::{say, say_json},
    args::{self, Output},
    context::Context,
    error::CliError,
    present::{count, path},
};

/// Print a page of the manual, or write all of them.
///
/// `prunella man run | man -l -` shows one. With `--dir`, all are written: into `~/.local/share/man/man1`, for
/// instance, where `man prunella-run` finds them.
#[derive(Debug, Args)]
pub struct Man {
    /// The command that the page is about [default: prunella itself].
    #[arg(conflicts_with = "dir")]
    command: Vec<String>,

    /// Write every page into this directory; pages that are there are replaced.
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

/// A page: the name of its file, and its text.
type Written = (String, String);

impl Man {
    /// Runs.
    ///
    /// # Errors
    /// [`CliError::Usage`] if there is no such command, [`CliError::Io`] if a page cannot be written.
    pub fn run(&self, context: &Context) -> Result<u8, CliError> {
        let pages = pages();
        if let Some(dir) = &self.dir {
            return write_all(context, dir, &pages);
        }
        let name = std::iter::once("prunella").chain(self.command.iter().map(String::as_str)).collect::<Vec<_>>();
        let file = format!("{}.1", name.join("-"));
        let Some((_, text)) = pages.iter().find(|(page, _)| *page == file) else {
            let hint = "`prunella --help` lists the commands".to_owned();
            return Err(CliError::Usage(format!("there is no command `{}`", self.command.join(" ")), Some(hint)));
        };
        match context.output {
            Output::Json => say_json(&json!({ "page": file, "roff": text }))?,
            Output::Text => say(text)?,
        }
        Ok(0)
    }
}

fn write_all(context: &Context, dir: &Path, pages: &[Written]) -> Result<u8, CliError> {
    let fs = &*context.sys.fs;
    fs.create_dir_all(dir).map_err(CliError::io(dir))?;
    let mut written = Vec::new();
    for (name, text) in pages {
        let to = dir.join(name);
        // A reader of the manual sees the old page or the new one.
        let part = dir.join(format!(".{name}.{}", random_hex(&*context.sys.random, 6)));
        let made = fs
            .create_new(&part)
            .and_then(|mut file| file.write_all(text.as_bytes()))
            .and_then(|()| fs.rename(&part, &to));
        if let Err(error) = made {
            let _left_over = fs.remove_file(&part);
            return Err(CliError::Io(to, error));
        }
        written.push(path(&to));
    }
    match context.output {
        Output::Json => say_json(&json!({ "written": written }))?,
        Output::Text => say(&format!("{} in `{}`\n", count(written.len(), "page"), path(dir)))?,
    }
    Ok(0)
}

/// Returns every page: that of the program, of its commands, and of theirs.
fn pages() -> Vec<Written> {
    let mut program = args::Args::command().disable_help_subcommand(true);
    // Only a built command knows the names of its sub-commands in full: `prunella-tell-done`.
    program.build();
    let mut pages = Vec::new();
    collect(program, &mut pages);
    pages
}

fn collect(command: Command, pages: &mut Vec<Written>) {
    for sub in command.get_subcommands().filter(|sub| !sub.is_hide_set()) {
        collect(sub.clone(), pages);
    }
    let page = Page::new(command).source(concat!("prunella ", env!("CARGO_PKG_VERSION")));
    let mut roff = Vec::new();
    page.render(&mut roff).expect("memory takes everything");
    pages.push((page.get_filename(), String::from_utf8(roff).expect("clap writes text")));
}
