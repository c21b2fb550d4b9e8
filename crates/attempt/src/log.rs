//! Captured output: line by line with its time, in pieces of bounded size.
//!
//! A line is stored as `MS S TEXT\n`: milliseconds since the attempt's start, `o` or `e` for the stream (upper-case if the
//! line goes on in the next one), and the bytes as they were written.

use std::collections::VecDeque;

use bytes::Bytes;
use prunella_process::Stream;

use crate::Redactor;

/// A line longer than this is stored in parts.
const LONGEST_LINE: usize = 64 << 10;
/// A piece is handed over when it has grown to this size.
const PIECE: usize = 1 << 20;
/// Lines of stderr kept as evidence.
const TAIL: usize = 40;

/// One line of captured output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogLine {
    /// Milliseconds since the attempt's start.
    pub at_ms: u64,
    /// Where it was written to.
    pub stream: Stream,
    /// Whether it goes on in the next line of the same stream.
    pub goes_on: bool,
    /// The bytes, without the end of line.
    pub bytes: Vec<u8>,
}

/// Gathers output into pieces. Memory stays below one piece and two lines.
pub(crate) struct LogWriter<'a> {
    redactor: &'a Redactor,
    partial: [Vec<u8>; 2],
    piece: Vec<u8>,
    tail: VecDeque<String>,
}

impl<'a> LogWriter<'a> {
    pub(crate) fn new(redactor: &'a Redactor) -> Self {
        Self { redactor, partial: [Vec::new(), Vec::new()], piece: Vec::new(), tail: VecDeque::new() }
    }

    /// Adds output; every line that is complete now is given to `line`.
    pub(crate) fn push(&mut self, at_ms: u64, stream: Stream, bytes: &[u8], mut line: impl FnMut(&[u8])) {
        let mut rest = bytes;
        while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
            let partial = &mut self.partial[index(stream)];
            partial.extend_from_slice(&rest[..end]);
            let whole = std::mem::take(partial);
            self.line(at_ms, stream, &whole, false, &mut line);
            rest = &rest[end + 1..];
        }
        let partial = &mut self.partial[index(stream)];
        partial.extend_from_slice(rest);
        if partial.len() > LONGEST_LINE {
            // The end stays, so that a secret across the cut is still seen whole.
            let keep = self.redactor.longest().min(partial.len() / 2);
            let after = partial.split_off(partial.len() - keep);
            let before = std::mem::replace(partial, after);
            self.line(at_ms, stream, &before, true, &mut line);
        }
    }

    fn line(&mut self, at_ms: u64, stream: Stream, bytes: &[u8], goes_on: bool, line: &mut impl FnMut(&[u8])) {
        let bytes = self.redactor.redact(bytes);
        let mark = match (stream, goes_on) {
            (Stream::Stdout, false) => 'o',
            (Stream::Stdout, true) => 'O',
            (Stream::Stderr, false) => 'e',
            (Stream::Stderr, true) => 'E',
        };
        self.piece.extend_from_slice(format!("{at_ms} {mark} ").as_bytes());
        self.piece.extend_from_slice(&bytes);
        self.piece.push(b'\n');
        if stream == Stream::Stderr {
            if self.tail.len() == TAIL {
                self.tail.pop_front();
            }
            let text = String::from_utf8_lossy(&bytes);
            self.tail.push_back(text.chars().take(400).collect());
        }
        line(&bytes);
    }

    /// Returns the gathered piece if it is large, or if `all` is asked for and there is something.
    pub(crate) fn take_piece(&mut self, all: bool) -> Option<Bytes> {
        if self.piece.len() >= PIECE || (all && !self.piece.is_empty()) {
            Some(std::mem::take(&mut self.piece).into())
        } else {
            None
        }
    }

    /// Returns whether something waits to be stored.
    pub(crate) fn has_piece(&self) -> bool {
        !self.piece.is_empty()
    }

    /// Ends lines that were never ended.
    pub(crate) fn finish(&mut self, at_ms: u64, mut line: impl FnMut(Stream, &[u8])) {
        for stream in [Stream::Stdout, Stream::Stderr] {
            let partial = std::mem::take(&mut self.partial[index(stream)]);
            if !partial.is_empty() {
                // It goes on into nothing: the program wrote no end of line.
                self.line(at_ms, stream, &partial, true, &mut |bytes| line(stream, bytes));
            }
        }
    }

    /// Returns the last lines of stderr.
    pub(crate) fn tail(&self) -> Vec<String> {
        prunella_healing::bounded_tail(self.tail.iter().map(String::as_str))
    }
}

fn index(stream: Stream) -> usize {
    match stream {
        Stream::Stdout => 0,
        Stream::Stderr => 1,
    }
}

/// Returns the lines of one stored piece; what is not a line is left out.
pub fn decode_log(piece: &[u8]) -> Vec<LogLine> {
    piece
        .split(|byte| *byte == b'\n')
        .filter_map(|raw| {
            let space = raw.iter().position(|byte| *byte == b' ')?;
            let at_ms = std::str::from_utf8(&raw[..space]).ok()?.parse().ok()?;
            let (mark, bytes) = (raw.get(space + 1)?, raw.get(space + 3..)?);
            let stream = match mark {
                b'o' | b'O' => Stream::Stdout,
                b'e' | b'E' => Stream::Stderr,
                _ => return None,
            };
            Some(LogLine { at_ms, stream, goes_on: mark.is_ascii_uppercase(), bytes: bytes.to_vec() })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw(lines: &[LogLine], stream: Stream) -> Vec<u8> {
        let mut out = Vec::new();
        for line in lines.iter().filter(|line| line.stream == stream) {
            out.extend_from_slice(&line.bytes);
            if !line.goes_on {
                out.push(b'\n');
            }
        }
        out
    }

    #[test]
    fn every_byte_comes_back_whatever_the_pieces() {
        let redactor = Redactor::default();
        let mut text = b"one\n\ntwo\r\n".to_vec();
        text.extend(std::iter::repeat_n(b'x', 3 * LONGEST_LINE));
        text.extend_from_slice(b"\n\xff\xfe no end");
        for size in [1, 7, 4096, text.len()] {
            let (mut writer, mut stored) = (LogWriter::new(&redactor), Vec::new());
            for part in text.chunks(size) {
                writer.push(5, Stream::Stdout, part, |_| {});
                stored.extend(writer.take_piece(false));
            }
            writer.finish(6, |_, _| {});
            stored.extend(writer.take_piece(true));
            let lines: Vec<LogLine> = stored.iter().flat_map(|piece| decode_log(piece)).collect();
            assert_eq!(raw(&lines, Stream::Stdout), text, "pieces of {size}");
        }
    }

    #[test]
    fn a_secret_across_a_cut_is_still_blackened() {
        let secret = "hunter2hunter2hunter2";
        let redactor = Redactor::new([("PASSWORD", secret)].into_iter());
        let mut writer = LogWriter::new(&redactor);
        let mut text = "y".repeat(LONGEST_LINE - 10);
        text.push_str(secret);
        for part in text.as_bytes().chunks(1000) {
            writer.push(0, Stream::Stderr, part, |_| {});
        }
        writer.finish(0, |_, _| {});
        let piece = writer.take_piece(true).expect("something was written");
        assert!(!piece.windows(secret.len()).any(|window| window == secret.as_bytes()));
    }
}
