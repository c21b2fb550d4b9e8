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

/// So many rows are worth a second processor.
const MANY_ROWS: usize = 4096;

/// Writes an answer as [`say_json`] does, whose last value is a list of so many rows; `head` has it empty.
///
/// Of a long list one half is made beside the other.
///
/// # Errors
/// As [`say`].
pub fn say_json_rows<R: Serialize>(
    head: &impl Serialize,
    rows: usize,
    row: impl Fn(usize) -> R + Sync,
) -> Result<(), CliError> {
    let mut out = BufWriter::with_capacity(1 << 16, std::io::stdout().lock());
    write_rows(&mut out, head, rows, &row).and_then(|()| out.flush()).map_err(unwritten)
}

fn write_rows<R: Serialize>(
    out: &mut impl Write,
    head: &impl Serialize,
    rows: usize,
    row: &(impl Fn(usize) -> R + Sync),
) -> std::io::Result<()> {
    let mut text = Vec::new();
    head.serialize(&mut serde_json::Serializer::with_formatter(&mut text, Indented::default()))?;
    if rows == 0 {
        text.push(b'\n');
        return out.write_all(&text);
    }
    out.write_all(text.strip_suffix(b"]\n}").expect("an empty list is the last value of the answer"))?;
    let half = if rows < MANY_ROWS { rows } else { rows.div_ceil(2) };
    std::thread::scope(|beside| {
        let rest = beside.spawn(move || {
            let mut made = Vec::with_capacity((rows - half) * 256);
            some_rows(&mut made, half..rows, row).map(|()| made)
        });
        some_rows(out, 0..half, row)?;
        out.write_all(&rest.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?)
    })?;
    out.write_all(b"\n  ]\n}\n")
}

/// Writes some rows of a list that is a value of the outermost object.
fn some_rows<R: Serialize>(
    out: &mut impl Write,
    rows: std::ops::Range<usize>,
    row: &impl Fn(usize) -> R,
) -> std::io::Result<()> {
    for at in rows {
        out.write_all(if at == 0 { b"\n    " } else { b",\n    " })?;
        row(at).serialize(&mut serde_json::Serializer::with_formatter(&mut *out, Indented::within(2)))?;
    }
    Ok(())
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

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn rows_are_written_as_the_whole_answer_would_be() {
        let row = |n: usize| json!({ "n": n, "deep": [{ "text": n.to_string() }], "none": [] });
        for rows in [0, 1, 2, MANY_ROWS - 1, MANY_ROWS, MANY_ROWS + 1] {
            let answer = |rows: usize| json!({ "a": { "b": 1 }, "steps": (0..rows).map(row).collect::<Vec<Value>>() });
            let mut out = Vec::new();
            write_rows(&mut out, &answer(0), rows, &row).expect("memory takes all");
            let whole = format!("{}\n", serde_json::to_string_pretty(&answer(rows)).expect("JSON"));
            assert!(out == whole.as_bytes(), "{rows} rows");
        }
    }
}
