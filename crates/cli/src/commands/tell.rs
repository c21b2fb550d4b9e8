//! `prunella tell`: the socket of an attempt, for shell scripts.

use std::{
    io::{BufRead, BufReader, Write},
    os::unix::net::UnixStream,
    path::Path,
};

use clap::{Args, Subcommand, ValueEnum};
use serde_json::{Value, json};

use crate::{
    answer::{note, say, say_json_line},
    args::Output,
    context::Context,
    error::CliError,
};

/// Tell of a checkpoint or progress, from inside a step.
#[derive(Debug, Args)]
pub struct Tell {
    #[command(subcommand)]
    what: What,
}

/// What is told.
#[derive(Debug, Subcommand)]
enum What {
    /// An entry of the checkpoint directory is complete: take it.
    ///
    /// Exits 1 if it was not taken, 75 if the attempt ended meanwhile.
    Checkpoint {
        /// The entry: its name, or its path in the checkpoint directory.
        path: String,

        /// It is never written to again.
        #[arg(long)]
        sealed: bool,

        /// How far the work is.
        #[arg(long, value_name = "JSON")]
        progress: Option<String>,

        /// Until when to wait.
        #[arg(long, value_enum, default_value_t = Until::Taken)]
        wait: Until,
    },
    /// How far the work is: a number, text, or JSON; counts as a sign of life.
    Progress {
        /// The value.
        value: String,
    },
    /// The work is done, whatever notice came.
    Done,
}

/// How far a checkpoint has to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Until {
    /// The entry may be changed or removed.
    Taken,
    /// It survives this machine.
    Durable,
}

impl Tell {
    /// Runs.
    ///
    /// # Errors
    /// [`CliError::Usage`] outside a step, or for what the step does not declare.
    pub fn run(&self, context: &Context) -> Result<u8, CliError> {
        let Some(socket) = context.sys.env.var("PRUNELLA_SOCKET") else {
            let hint = "call it from the command of a step that Prunella runs".to_owned();
            return Err(CliError::Usage("`PRUNELLA_SOCKET` is not set: this is not a step".to_owned(), Some(hint)));
        };
        let (message, until) = match &self.what {
            What::Checkpoint { path, sealed, progress, wait } => {
                let entry = entry(path, context.sys.env.var("PRUNELLA_CHECKPOINT_DIR").as_deref());
                let mut message = json!({ "type": "checkpoint", "path": entry, "sealed": sealed });
                if let Some(progress) = progress {
                    message["progress"] = value(progress);
                }
                (message, *wait)
            }
            What::Progress { value: text } => (json!({ "type": "progress", "value": value(text) }), Until::Taken),
            What::Done => (json!({ "type": "done" }), Until::Taken),
        };
        let mut stream = UnixStream::connect(&socket).map_err(CliError::io(&socket))?;
        writeln!(stream, "{message}").map_err(CliError::io(&socket))?;
        for line in BufReader::new(stream).lines() {
            // A connection that is cut is an attempt that ended.
            let Ok(line) = line else { break };
            let reply: Value = serde_json::from_str(&line).unwrap_or_default();
            let kind = reply["type"].as_str().unwrap_or_default();
            let problem = reply["problem"].as_str().unwrap_or_default().to_owned();
            let (code, text) = match kind {
                // They are for the program, which hears the first by signal too.
                "notice" | "hint" => continue,
                "taken" if until == Until::Durable => continue,
                "taken" | "durable" => (0, format!("{kind} {}", reply["seq"])),
                "ok" => (0, String::new()),
                "superseded" => (0, "superseded by a newer one".to_owned()),
                "missed" => (1, "not taken: it is not there, or was being written to".to_owned()),
                "error" => return Err(CliError::Usage(problem, None)),
                _ => (1, format!("not taken: {problem}")),
            };
            match (context.output, code) {
                (Output::Json, _) => say_json_line(&reply)?,
                (Output::Text, 0) if text.is_empty() => {}
                (Output::Text, 0) => say(&format!("{text}\n"))?,
                (Output::Text, _) => note(&text),
            }
            return Ok(code);
        }
        note("the attempt ended before it answered");
        Ok(75)
    }
}

/// Returns the entry's name: what is given, less the checkpoint directory.
fn entry(path: &str, directory: Option<&str>) -> String {
    let path = path.trim_end_matches('/');
    let inside = directory.and_then(|directory| Path::new(path).strip_prefix(directory).ok());
    inside.and_then(Path::to_str).unwrap_or(path).trim_start_matches("./").to_owned()
}

/// Returns a value as JSON if it is such, else as text.
fn value(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|_| text.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_named_with_or_without_its_directory() {
        assert_eq!(entry("epoch-3", Some("/w/c")), "epoch-3");
        assert_eq!(entry("/w/c/epoch-3/", Some("/w/c")), "epoch-3");
        assert_eq!(entry("./epoch-3", None), "epoch-3");
        assert_eq!(entry("/elsewhere/x", Some("/w/c")), "/elsewhere/x");
    }

    #[test]
    fn progress_is_json_or_text() {
        assert_eq!(value("3"), 3);
        assert_eq!(value("{\"step\": 4}")["step"], 4);
        assert_eq!(value("nearly done"), "nearly done");
    }
}
