//! A mistake in a user's file: what, where, and what to do.

use std::sync::Arc;

use serde::Serialize;

use crate::{Source, source::Places};

/// How bad a [`Diagnostic`] is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The file cannot be used.
    Error,
    /// The file can be used, but probably does not say what was meant.
    Warning,
}

/// A stretch of the source.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct SourceSpan {
    /// Byte offset of its first byte.
    pub start: usize,
    /// Byte offset behind its last byte.
    pub end: usize,
    /// Line of `start`, from 1.
    pub line: usize,
    /// Column of `start`, from 1, in characters.
    pub column: usize,
}

/// One mistake, or one thing that is probably a mistake.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Diagnostic {
    /// What kind of mistake: kebab-case; a code never changes its meaning.
    pub code: &'static str,
    /// How bad it is.
    pub severity: Severity,
    /// The file that it is in: the pipeline file, or one that is included.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// Where it is in that file; nowhere for mistakes of the command line.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub span: Option<SourceSpan>,
    /// What is wrong: lowercase, names in backticks.
    pub message: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub help: Option<String>,
    /// The text of an included file, to show the place.
    #[serde(skip)]
    pub(crate) included: Option<Arc<Source>>,
}

impl Diagnostic {
    /// Returns a mistake of the pipeline file as a whole.
    pub(crate) fn new(code: &'static str, span: Option<SourceSpan>, message: String, help: Option<String>) -> Self {
        Self { code, severity: Severity::Error, file: None, span, message, help, included: None }
    }
}

/// Returns the diagnostics as JSON: a list of objects with the fields of [`Diagnostic`].
pub fn to_json(diagnostics: &[Diagnostic]) -> serde_json::Value {
    serde_json::to_value(diagnostics).expect("diagnostics have only string keys")
}

/// A place in the tree, in characters: what the parser counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Mark {
    pub start: u32,
    pub end: u32,
}

/// The diagnostics found so far; they are turned into places at the end, in one walk.
#[derive(Debug, Default)]
pub(crate) struct Found {
    found: Vec<Finding>,
    errors: usize,
    left_out: usize,
}

#[derive(Debug)]
struct Finding {
    code: &'static str,
    severity: Severity,
    mark: Option<Mark>,
    message: String,
    help: Option<String>,
}

impl Found {
    /// More than this many help nobody and would let a hostile file use up memory.
    const MOST: usize = 1000;

    pub fn error(&mut self, code: &'static str, mark: Mark, message: impl Into<String>) -> Help<'_> {
        self.push(code, Severity::Error, Some(mark), message.into())
    }

    pub fn error_nowhere(&mut self, code: &'static str, message: impl Into<String>) -> Help<'_> {
        self.push(code, Severity::Error, None, message.into())
    }

    pub fn warning(&mut self, code: &'static str, mark: Mark, message: impl Into<String>) -> Help<'_> {
        self.push(code, Severity::Warning, Some(mark), message.into())
    }

    fn push(&mut self, code: &'static str, severity: Severity, mark: Option<Mark>, message: String) -> Help<'_> {
        if severity == Severity::Error {
            self.errors += 1;
        }
        if self.found.len() >= Self::MOST {
            self.left_out += 1;
            return Help(None);
        }
        self.found.push(Finding { code, severity, mark, message, help: None });
        Help(self.found.last_mut())
    }

    pub fn has_errors(&self) -> bool {
        self.errors > 0
    }

    /// Returns everything found, in the order of the file.
    pub fn finish(self, places: &Places<'_>) -> Vec<Diagnostic> {
        let left_out = self.left_out;
        let mut all: Vec<(usize, Diagnostic)> = self
            .found
            .into_iter()
            .map(|finding| {
                let place = finding.mark.map(|mark| places.span(mark));
                let at = place.map_or(0, |(at, _)| at);
                let diagnostic = Diagnostic {
                    code: finding.code,
                    severity: finding.severity,
                    file: place.map(|_| places.source(at).name.clone()),
                    span: place.map(|(_, span)| span),
                    message: finding.message,
                    help: finding.help,
                    included: (at > 0).then(|| places.source(at).clone()),
                };
                (at, diagnostic)
            })
            .collect();
        all.sort_by_key(|(at, diagnostic)| (*at, diagnostic.span));
        let mut all: Vec<Diagnostic> = all.into_iter().map(|(_, diagnostic)| diagnostic).collect();
        if left_out > 0 {
            let message = format!("{left_out} more mistakes are not shown");
            all.push(Diagnostic::new("more-mistakes", None, message, None));
        }
        all
    }
}

/// Adds help to the diagnostic just found.
pub(crate) struct Help<'a>(Option<&'a mut Finding>);

impl Help<'_> {
    pub fn help(self, text: impl Into<String>) {
        if let Some(finding) = self.0 {
            finding.help = Some(text.into());
        }
    }

    pub fn maybe_help(self, text: Option<String>) {
        if let Some(text) = text {
            self.help(text);
        }
    }
}

/// Returns a user's text for a message: one line, never long.
pub(crate) fn clip(text: &str) -> String {
    clip_to(text, 60)
}

/// Returns at most `most` characters of the text, on one line.
pub(crate) fn clip_to(text: &str, most: usize) -> String {
    let mut out: String = text.chars().take(most).map(|c| if c.is_control() { ' ' } else { c }).collect();
    if text.chars().nth(most).is_some() {
        out.push('…');
    }
    out
}
