//! Diagnostics as text for people: the place in the file, the text there, what to do.

use annotate_snippets::{AnnotationKind, Group, Level, Origin, Renderer, Snippet, normalize_untrusted_str};

use crate::{Diagnostic, Severity, Source, diagnostic::SourceSpan};

/// Longer lines are not shown: only the place is.
const MAX_LINE: usize = 4096;
/// The line of these may hold a secret: it is not repeated on a screen or in a log.
const WITHOUT_LINE: &[&str] = &["secret-in-env", "secret-in-file"];
/// More diagnostics are counted, not shown.
const MAX_SHOWN: usize = 100;

/// Returns the diagnostics as text: each with file, line, column, the line itself and help, then a summary line.
///
/// `width` is that of the terminal in characters; `color` adds ANSI styles.
pub fn render(source: &Source, diagnostics: &[Diagnostic], color: bool, width: usize) -> String {
    let renderer = if color { Renderer::styled() } else { Renderer::plain() }.term_width(width.max(40));
    let mut out = String::new();
    for diagnostic in diagnostics.iter().take(MAX_SHOWN) {
        let source = diagnostic.included.as_deref().unwrap_or(source);
        out.push_str(&one(&renderer, source, diagnostic));
        out.push_str("\n\n");
    }
    out.push_str(&summary(source, diagnostics));
    out.push('\n');
    out
}

fn one(renderer: &Renderer, source: &Source, diagnostic: &Diagnostic) -> String {
    let level = match diagnostic.severity {
        Severity::Error => Level::ERROR,
        Severity::Warning => Level::WARNING,
    };
    let title = level.primary_title(diagnostic.message.as_str()).id(diagnostic.code);
    let mut group = match diagnostic.span {
        None => Group::with_title(title),
        Some(span) => match line_of(source, span).filter(|_| !WITHOUT_LINE.contains(&diagnostic.code)) {
            Some((start, line)) => {
                // An empty place is shown as the character after it.
                let end = span.end.max((span.start + 1).min(start + line.len())).max(span.start);
                title.element(
                    Snippet::source(line)
                        .line_start(span.line)
                        .path(source.name.as_str())
                        .annotation(AnnotationKind::Primary.span(span.start - start..end - start)),
                )
            }
            None => title.element(Origin::path(source.name.as_str()).line(span.line).char_column(span.column)),
        },
    };
    if let Some(help) = &diagnostic.help {
        group = group.element(Level::HELP.message(normalize_untrusted_str(help)));
    }
    renderer.render(&[group])
}

/// Returns the line in which the span begins and its offset, if it is there and short enough to be shown.
fn line_of(source: &Source, span: SourceSpan) -> Option<(usize, &str)> {
    let text = source.text.as_str();
    let (before, after) = (text.get(..span.start)?, text.get(span.start..)?);
    let start = before.rfind('\n').map_or(0, |at| at + 1);
    let end = after.find('\n').map_or(text.len(), |at| span.start + at);
    let line = text.get(start..end)?.trim_end();
    (line.len() <= MAX_LINE && span.start <= start + line.len() && span.end <= start + line.len())
        .then_some((start, line))
}

fn summary(source: &Source, diagnostics: &[Diagnostic]) -> String {
    let errors = diagnostics.iter().filter(|diagnostic| diagnostic.severity == Severity::Error).count();
    let count = |n: usize, what: &str| match n {
        0 => None,
        1 => Some(format!("1 {what}")),
        n => Some(format!("{n} {what}s")),
    };
    let counts: Vec<_> =
        [count(errors, "mistake"), count(diagnostics.len() - errors, "warning")].into_iter().flatten().collect();
    let counts = if counts.is_empty() { "no mistakes".to_owned() } else { counts.join(", ") };
    let hidden = diagnostics.len().saturating_sub(MAX_SHOWN);
    let hidden = if hidden > 0 { format!(" ({hidden} not shown)") } else { String::new() };
    format!("{}: {counts}{hidden}", normalize_untrusted_str(&source.name))
}
