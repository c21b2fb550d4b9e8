//! Texts with `${{ … }}` references in them.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{NameError, ParamName, PortName};

/// What a `${{ … }}` refers to.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reference {
    /// `params.NAME`: the value of a parameter.
    Param(ParamName),
    /// `inputs.NAME`: the path of an input, relative to the workspace.
    Input(PortName),
    /// `outputs.NAME`: the path of an output, relative to the workspace.
    Output(PortName),
    /// `item` or `item.FIELD`: the item of a fanned-out step.
    Item(Option<String>),
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Param(name) => write!(f, "params.{name}"),
            Self::Input(name) => write!(f, "inputs.{name}"),
            Self::Output(name) => write!(f, "outputs.{name}"),
            Self::Item(None) => f.write_str("item"),
            Self::Item(Some(field)) => write!(f, "item.{field}"),
        }
    }
}

/// One piece of a template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part {
    /// Text that stands for itself.
    Text(String),
    /// A reference and the byte offset of its `${{` in the template.
    Reference(Reference, usize),
}

/// A text in which `${{ … }}` stands for values; `$${{` is a literal `${{`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template {
    source: String,
    parts: Vec<Part>,
}

/// What is wrong with a template, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{problem}")]
pub struct TemplateError {
    /// Byte offset of the `${{`.
    pub offset: usize,
    /// Bytes from there that the mistake covers.
    pub length: usize,
    /// What is wrong.
    pub problem: String,
}

impl Template {
    /// Reads a template; all mistakes are reported, not only the first.
    ///
    /// # Errors
    /// One [`TemplateError`] for every reference that is not closed or not understood.
    pub fn parse(source: &str) -> Result<Self, Vec<TemplateError>> {
        let (mut parts, mut errors, mut text, mut at) = (Vec::new(), Vec::new(), String::new(), 0);
        while let Some(found) = source[at..].find("${{") {
            let start = at + found;
            if source[at..start].ends_with('$') {
                text.push_str(&source[at..start - 1]);
                text.push_str("${{");
                at = start + 3;
                continue;
            }
            text.push_str(&source[at..start]);
            let Some(length) = source[start..].find("}}") else {
                errors.push(TemplateError {
                    offset: start,
                    length: 3,
                    problem: "`${{` is never closed with `}}`".to_owned(),
                });
                at = source.len();
                break;
            };
            let inner = source[start + 3..start + length].trim();
            match reference(inner) {
                Ok(reference) => {
                    if !text.is_empty() {
                        parts.push(Part::Text(std::mem::take(&mut text)));
                    }
                    parts.push(Part::Reference(reference, start));
                }
                Err(problem) => errors.push(TemplateError { offset: start, length: length + 2, problem }),
            }
            at = start + length + 2;
        }
        text.push_str(&source[at..]);
        if !text.is_empty() {
            parts.push(Part::Text(text));
        }
        if errors.is_empty() { Ok(Self { source: source.to_owned(), parts }) } else { Err(errors) }
    }

    /// Returns the text as written.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// Returns the pieces in order.
    pub fn parts(&self) -> &[Part] {
        &self.parts
    }

    /// Returns the references in order, with repetitions.
    pub fn references(&self) -> impl Iterator<Item = &Reference> {
        self.parts.iter().filter_map(|part| match part {
            Part::Reference(reference, _) => Some(reference),
            Part::Text(_) => None,
        })
    }

    /// Returns the text with every reference replaced by what `value` gives for it.
    ///
    /// # Errors
    /// The first reference for which `value` gives nothing.
    pub fn render(&self, mut value: impl FnMut(&Reference) -> Option<String>) -> Result<String, Reference> {
        let mut out = String::with_capacity(self.source.len());
        for part in &self.parts {
            match part {
                Part::Text(text) => out.push_str(text),
                Part::Reference(reference, _) => {
                    out.push_str(&value(reference).ok_or_else(|| reference.clone())?);
                }
            }
        }
        Ok(out)
    }
}

fn reference(inner: &str) -> Result<Reference, String> {
    let named = |what: &str, error: NameError| format!("`{inner}` does not name {what}: {error}");
    match inner.split_once('.') {
        Some(("params", name)) => ParamName::new(name).map(Reference::Param).map_err(|e| named("a parameter", e)),
        Some(("inputs", name)) => PortName::new(name).map(Reference::Input).map_err(|e| named("an input", e)),
        Some(("outputs", name)) => PortName::new(name).map(Reference::Output).map_err(|e| named("an output", e)),
        Some(("item", field)) => Ok(Reference::Item(Some(field.to_owned()))),
        None if inner == "item" => Ok(Reference::Item(None)),
        _ => Err(format!("`{inner}` is not a reference; use params.NAME, inputs.NAME or outputs.NAME")),
    }
}

/// Returns `value` as exactly one word of a POSIX shell.
pub fn shell_quote(value: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-./:=@%+,".contains(c);
    if !value.is_empty() && value.chars().all(plain) {
        value.to_owned()
    } else {
        format!("'{}'", value.replace('\'', r"'\''"))
    }
}

impl Serialize for Template {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.source)
    }
}

impl<'de> Deserialize<'de> for Template {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text)
            .map_err(|errors| serde::de::Error::custom(errors.first().map_or_else(String::new, ToString::to_string)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shell_keeps_its_own_dollars() {
        let template = Template::parse("echo ${HOME} $${{ x }} ${{ params.n }}").expect("valid");
        assert_eq!(template.render(|_| Some("7".to_owned())).as_deref(), Ok("echo ${HOME} ${{ x }} 7"));
    }

    #[test]
    fn all_mistakes_are_reported_with_their_place() {
        let errors = Template::parse("a ${{ nope }} b ${{ params.X }} c ${{ open").expect_err("three mistakes");
        assert_eq!(errors.iter().map(|e| e.offset).collect::<Vec<_>>(), [2, 16, 34]);
    }

    #[test]
    fn a_value_is_one_word_whatever_is_in_it() {
        assert_eq!(shell_quote("a b; rm -rf $HOME"), "'a b; rm -rf $HOME'");
        assert_eq!(shell_quote("it's"), r"'it'\''s'");
        assert_eq!(shell_quote(""), "''");
        assert_eq!(shell_quote("--lr=0.1"), "--lr=0.1");
    }
}
