//! Answers on standard output: whole, or quietly cut short when nobody reads any more (`| head`).

use std::io::{BufWriter, Write};

use serde::Serialize;

use crate::{error::CliError, indented::Indented};

/// Writes text to standard output.
///
/// # Errors
/// [`CliError::Closed`] if nobody reads it any more.
pub fn say(text: &str) -> Result<(), CliError> {
    say_bytes(text.as_bytes())
}

/// Writes bytes to standard output, as they are.
///
/// # Errors
/// As [`say`].
pub fn say_bytes(bytes: &[u8]) -> Result<(), CliError> {
    let mut out = std::io::stdout().lock();
    out.write_all(bytes).and_then(|()| out.flush()).map_err(unwritten)
}

/// Writes a value as JSON to standard output.
///
/// # Errors
/// As [`say`].
pub fn say_json(value: &impl Serialize) -> Result<(), CliError> {
    // Written as it comes: it may be long.
    let mut out = BufWriter::with_capacity(1 << 16, std::io::stdout().lock());
    let mut json = serde_json::Serializer::with_formatter(&mut out, Indented::default());
    value.serialize(&mut json).map_err(|error| unwritten(error.into()))?;
    out.write_all(b"\n").and_then(|()| out.flush()).map_err(unwritten)
}

/// Leaves what was read to the end of the process, which is near: giving back the memory of a hundred thousand steps one by
/// one takes longer than what is said of them.
pub fn leave<T>(read: T) {
    std::mem::forget(read);
}

/// Writes a value as one line of JSON to standard output, for answers that go on.
///
/// # Errors
/// As [`say`].
pub fn say_json_line(value: &impl Serialize) -> Result<(), CliError> {
    let mut text = serde_json::to_string(value).expect("answers have only string keys");
    text.push('\n');
    say(&text)
}

/// Tells people something that is not the answer: on standard error, lost if nobody reads it.
pub fn note(text: &str) {
    let _nobody_reads = writeln!(std::io::stderr(), "{text}");
}

fn unwritten(error: std::io::Error) -> CliError {
    match error.kind() {
        std::io::ErrorKind::BrokenPipe => CliError::Closed,
        _ => CliError::Io("standard output".into(), error),
    }
}
