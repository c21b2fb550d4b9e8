//! Reading the pipeline file, with every mistake at its place.

use std::collections::BTreeMap;

use prunella_manifest::{Overrides, Read, read as read_pipeline, read_source, render, to_json};

use super::{files::Beside, place::Place};
use crate::{context::Context, error::CliError};

/// Returns the pipeline at `place` with `--set` applied; prints warnings.
///
/// # Errors
/// All mistakes at once.
pub fn read(context: &Context, place: &Place, set: &[String]) -> Result<Read, CliError> {
    let mut params = BTreeMap::new();
    for text in set {
        let Some((name, value)) = text.split_once('=') else {
            let hint = "write `--set NAME=VALUE`".to_owned();
            return Err(CliError::Usage(format!("`--set {text}` has no `=`"), Some(hint)));
        };
        params.insert(name.to_owned(), value.to_owned());
    }
    let name = place.file.display().to_string();
    let bytes = match std::fs::read(&place.file) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let hint = "name the file, go to its directory, or begin one with `prunella init`".to_owned();
            return Err(CliError::Usage(format!("there is no `{name}`"), Some(hint)));
        }
        Err(error) => return Err(CliError::Io(place.file.clone(), error)),
    };
    let color = context.is_terminal();
    let source = read_source(&name, bytes).map_err(|diagnostics| {
        let empty = prunella_manifest::Source { name: name.clone(), text: String::new() };
        CliError::Diagnostics { text: render(&empty, &diagnostics, color, 100), json: to_json(&diagnostics) }
    })?;
    let found = read_pipeline(&source, &Overrides { params }, &Beside::new(&place.base)).map_err(|diagnostics| {
        CliError::Diagnostics { text: render(&source, &diagnostics, color, 100), json: to_json(&diagnostics) }
    })?;
    if !found.warnings.is_empty() && context.output == crate::args::Output::Text {
        eprint!("{}", render(&source, &found.warnings, color, 100));
    }
    Ok(found)
}
