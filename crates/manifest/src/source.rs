//! The text of a file, and places in it.

use std::sync::Arc;

use crate::diagnostic::{Diagnostic, Mark, SourceSpan};

/// The most bytes that a pipeline file may have.
pub const MAX_SOURCE_BYTES: usize = 8 << 20;

/// A file that was read and is text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// The path as the user gave it.
    pub name: String,
    /// What is in it.
    pub text: String,
}

/// Returns the bytes as a source.
///
/// # Errors
/// One diagnostic if the file is larger than [`MAX_SOURCE_BYTES`], is not UTF-8 (with the place of the first byte
/// that is wrong), or has nothing in it.
pub fn read_source(name: &str, bytes: Vec<u8>) -> Result<Source, Vec<Diagnostic>> {
    let refuse = |code, span: Option<SourceSpan>, message, help: &str| {
        Err(vec![Diagnostic {
            file: span.map(|_| name.to_owned()),
            ..Diagnostic::new(code, span, message, Some(help.to_owned()))
        }])
    };
    if let Some(diagnostic) = too_large(name, bytes.len()) {
        return Err(vec![diagnostic]);
    }
    if bytes.is_empty() {
        return refuse("empty-file", None, format!("`{name}` is empty"), EMPTY_HELP);
    }
    match String::from_utf8(bytes) {
        Ok(text) => Ok(Source { name: name.to_owned(), text }),
        Err(error) => {
            let at = error.utf8_error().valid_up_to();
            let bytes = error.as_bytes();
            let before = std::str::from_utf8(&bytes[..at]).expect("valid up to here");
            let wrong = bytes[at];
            let place = FilePlaces::new(before).span_of_bytes(at, at);
            refuse(
                "not-utf8",
                Some(SourceSpan { end: at + 1, ..place }),
                format!("byte {at} (0x{wrong:02x}) is not UTF-8 text"),
                "save the file as UTF-8",
            )
        }
    }
}

/// Returns what is wrong with a file of this many bytes.
pub(crate) fn too_large(name: &str, bytes: usize) -> Option<Diagnostic> {
    (bytes > MAX_SOURCE_BYTES).then(|| {
        let message = format!("`{name}` has {bytes} bytes; a pipeline file has at most {MAX_SOURCE_BYTES} (8 MiB)");
        let help = "data belongs into files of its own, named under `data`".to_owned();
        Diagnostic::new("too-large", None, message, Some(help))
    })
}

pub(crate) const EMPTY_HELP: &str = "a pipeline begins with `prunella: v1`; `prunella init` writes one";

/// Finds byte offsets, lines and columns in one file.
pub(crate) struct FilePlaces<'a> {
    text: &'a str,
    /// Byte offset of every `STRIDE`-th character; empty if the text is ASCII, where both are the same.
    strides: Vec<u32>,
    /// Byte offsets of the starts of lines.
    lines: Vec<u32>,
}

const STRIDE: usize = 256;

impl<'a> FilePlaces<'a> {
    pub fn new(text: &'a str) -> Self {
        let strides = if text.is_ascii() {
            Vec::new()
        } else {
            text.char_indices().step_by(STRIDE).map(|(at, _)| at as u32).collect()
        };
        let breaks = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n').map(|(at, _)| at as u32 + 1);
        Self { text, strides, lines: std::iter::once(0).chain(breaks).collect() }
    }

    /// Returns the byte offset of the character of this index; the end for one behind the text.
    pub fn byte(&self, character: u32) -> usize {
        let character = character as usize;
        if self.strides.is_empty() {
            return character.min(self.text.len());
        }
        let Some(start) = self.strides.get(character / STRIDE) else { return self.text.len() };
        let start = *start as usize;
        self.text[start..].char_indices().nth(character % STRIDE).map_or(self.text.len(), |(at, _)| start + at)
    }

    pub fn span(&self, mark: Mark) -> SourceSpan {
        self.span_of_bytes(self.byte(mark.start), self.byte(mark.end))
    }

    /// Returns the text between two characters.
    pub fn slice(&self, mark: Mark) -> &'a str {
        self.text.get(self.byte(mark.start)..self.byte(mark.end)).unwrap_or_default()
    }

    /// Returns the span, cut off at the end of its first line: a mistake is shown where it begins.
    pub fn span_of_bytes(&self, start: usize, end: usize) -> SourceSpan {
        let start = start.min(self.text.len());
        let line = self.lines.partition_point(|at| *at as usize <= start) - 1;
        let line_start = self.lines[line] as usize;
        let line_end = self.lines.get(line + 1).map_or(self.text.len(), |next| *next as usize);
        let visible = self.text[line_start..line_end].trim_end().len() + line_start;
        let end = end.min(visible.max(start)).max(start);
        SourceSpan { start, end, line: line + 1, column: self.text[line_start..start].chars().count() + 1 }
    }
}

/// Finds places in all files of a pipeline, which stand in one row of characters.
pub(crate) struct Places<'a> {
    files: Vec<(u32, FilePlaces<'a>)>,
    sources: &'a [Arc<Source>],
}

impl<'a> Places<'a> {
    /// Returns the places of these files; the first begins at 0.
    pub fn new(sources: &'a [Arc<Source>]) -> Self {
        let mut base = 0;
        let mut files = Vec::with_capacity(sources.len());
        for source in sources {
            files.push((base, FilePlaces::new(&source.text)));
            // One more, so that the end of one file is not the beginning of the next.
            base += source.text.chars().count() as u32 + 1;
        }
        Self { files, sources }
    }

    /// Returns where the `at`-th file begins.
    pub fn base(&self, at: usize) -> u32 {
        self.files[at].0
    }

    fn at(&self, mark: Mark) -> (usize, Mark) {
        let at = self.files.partition_point(|(base, _)| *base <= mark.start).saturating_sub(1);
        let base = self.files[at].0;
        (at, Mark { start: mark.start - base, end: mark.end.saturating_sub(base) })
    }

    /// Returns the number of the file and the place in it.
    pub fn span(&self, mark: Mark) -> (usize, SourceSpan) {
        let (at, mark) = self.at(mark);
        (at, self.files[at].1.span(mark))
    }

    /// Returns the text between two characters.
    pub fn slice(&self, mark: Mark) -> &'a str {
        let (at, mark) = self.at(mark);
        self.files[at].1.slice(mark)
    }

    /// Returns the place in words: `common.yaml:4`.
    pub fn told(&self, mark: Mark) -> String {
        let (at, span) = self.span(mark);
        format!("`{}:{}`", self.sources[at].name, span.line)
    }

    /// Returns the `at`-th file.
    pub fn source(&self, at: usize) -> &Arc<Source> {
        &self.sources[at]
    }
}
