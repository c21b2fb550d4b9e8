//! JSON: one value, or one value a line.

use super::{BUFFER, ReadSeek};
use serde::Deserialize as _;
use serde::de::IgnoredAny;
use std::io::{self, BufRead, BufReader, Read};

/// The deepest nesting that is accepted; readers recurse (Python's gives up near 1,000).
const MAX_DEPTH: u32 = 512;

/// Checks that the bytes are exactly one JSON value.
pub(super) fn check_value(reader: &mut dyn ReadSeek, size: u64) -> Result<(), String> {
    parse(Text::new(BufReader::with_capacity(BUFFER, reader.take(size)), None)).map_err(|error| error.to_string())
}

/// Checks that every line that is not blank is exactly one JSON value; the last line may lack its newline.
pub(super) fn check_lines(reader: &mut dyn ReadSeek, size: u64) -> Result<(), String> {
    let mut lines = BufReader::with_capacity(BUFFER, reader.take(size));
    let mut line: u64 = 1;
    let mut indent = 0;
    loop {
        let next = lines.fill_buf().map_err(|error| format!("could not read line {line}: {error}"))?.first().copied();
        match next {
            None => return Ok(()),
            Some(b'\n') => {
                lines.consume(1);
                line += 1;
                indent = 0;
            }
            Some(b' ' | b'\t' | b'\r') => {
                lines.consume(1);
                indent += 1;
            }
            Some(_) => {
                parse(Text::new(&mut lines, Some(b'\n'))).map_err(|error| in_line(&error, line, indent))?;
            }
        }
    }
}

fn parse<R: BufRead>(text: Text<R>) -> serde_json::Result<()> {
    let mut parser = serde_json::Deserializer::from_reader(text);
    IgnoredAny::deserialize(&mut parser)?;
    parser.end()
}

/// Returns the problem of a value that the parser saw as a text of one line.
fn in_line(error: &serde_json::Error, line: u64, indent: usize) -> String {
    let message = error.to_string();
    let own_place = format!(" at line {} column {}", error.line(), error.column());
    match message.strip_suffix(&own_place) {
        Some(message) => format!("{message} at line {line} column {}", error.column() + indent),
        None => format!("{message} of line {line}"),
    }
}

/// Bytes on their way to the parser.
///
/// The parser skips what it does not keep: it neither checks the encoding of skipped strings nor bounds the depth of
/// skipped values, which it remembers. Both happen here, so that memory stays constant.
struct Text<R> {
    inner: R,
    end: Option<u8>,
    seen: u64,
    depth: u32,
    quote: Quote,
    utf8: Utf8,
}

#[derive(PartialEq)]
enum Quote {
    Outside,
    Inside,
    Escaped,
}

impl<R: BufRead> Text<R> {
    /// Returns the text of `inner` as far as its end or, exclusive, the byte `end`.
    fn new(inner: R, end: Option<u8>) -> Self {
        Self { inner, end, seen: 0, depth: 0, quote: Quote::Outside, utf8: Utf8::WHOLE }
    }
}

impl<R: BufRead> Read for Text<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let available = self.inner.fill_buf()?;
        let mut count = 0;
        for (slot, &byte) in out.iter_mut().zip(available) {
            if Some(byte) == self.end {
                break;
            }
            let problem = if !self.utf8.accepts(byte) {
                Some("text that is not UTF-8")
            } else {
                see(&mut self.quote, &mut self.depth, byte);
                (self.depth > MAX_DEPTH).then_some("values nested deeper than 512 levels")
            };
            if let Some(problem) = problem {
                let at = self.seen + count as u64;
                return Err(io::Error::new(io::ErrorKind::InvalidData, format!("{problem} at byte {at}")));
            }
            *slot = byte;
            count += 1;
        }
        self.inner.consume(count);
        self.seen += count as u64;
        Ok(count)
    }
}

fn see(quote: &mut Quote, depth: &mut u32, byte: u8) {
    match (&quote, byte) {
        (Quote::Escaped, _) => *quote = Quote::Inside,
        (Quote::Inside, b'\\') => *quote = Quote::Escaped,
        (Quote::Inside, b'"') => *quote = Quote::Outside,
        (Quote::Inside, _) => {}
        (Quote::Outside, b'"') => *quote = Quote::Inside,
        (Quote::Outside, b'[' | b'{') => *depth += 1,
        // More closed than opened is the parser's to refuse.
        (Quote::Outside, b']' | b'}') => *depth = depth.saturating_sub(1),
        (Quote::Outside, _) => {}
    }
}

/// What may follow in a sequence of UTF-8: `left` more bytes, the next one between `low` and `high`.
struct Utf8 {
    left: u8,
    low: u8,
    high: u8,
}

impl Utf8 {
    const WHOLE: Self = Self { left: 0, low: 0x80, high: 0xbf };

    fn accepts(&mut self, byte: u8) -> bool {
        if self.left > 0 {
            let fits = (self.low..=self.high).contains(&byte);
            *self = Self { left: self.left - 1, ..Self::WHOLE };
            return fits;
        }
        // The first continuation byte is narrower where it would make an overlong form, a surrogate or a value too high.
        let (left, low, high) = match byte {
            0x00..=0x7f => return true,
            0xc2..=0xdf => (1, 0x80, 0xbf),
            0xe0 => (2, 0xa0, 0xbf),
            0xed => (2, 0x80, 0x9f),
            0xe1..=0xef => (2, 0x80, 0xbf),
            0xf0 => (3, 0x90, 0xbf),
            0xf1..=0xf3 => (3, 0x80, 0xbf),
            0xf4 => (3, 0x80, 0x8f),
            _ => return false,
        };
        *self = Self { left, low, high };
        true
    }
}
