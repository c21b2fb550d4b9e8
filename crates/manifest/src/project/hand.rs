//! The hand that reads values of a TOML document and notes every mistake it meets.

use std::ops::Range;

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use prunella_model::ByteSize;

use crate::{
    Diagnostic, Source,
    diagnostic::{clip, clip_to},
    nearest::Nearest,
    reader::backticked,
    section::Section,
    source::FilePlaces,
};

use super::Placed;

/// A value and where it stands.
pub(super) type Value<'t> = Spanned<DeValue<'t>>;

pub(super) struct Hand<'s> {
    source: &'s Source,
    places: FilePlaces<'s>,
    nearest: Nearest,
    found: Vec<Diagnostic>,
    left_out: usize,
}

/// More than this many help nobody.
const MOST: usize = 1000;

/// The diagnostic just found, unless it was one too many.
pub(super) struct Help<'h>(Option<&'h mut Diagnostic>);

impl Help<'_> {
    pub fn help(self, text: impl Into<String>) {
        self.maybe_help(Some(text.into()));
    }

    pub fn maybe_help(self, text: Option<String>) {
        if let Some(diagnostic) = self.0 {
            diagnostic.help = text;
        }
    }
}

impl<'s> Hand<'s> {
    pub fn new(source: &'s Source) -> Self {
        let (nearest, found) = (Nearest::default(), Vec::new());
        Self { source, places: FilePlaces::new(&source.text), nearest, found, left_out: 0 }
    }

    pub fn error(&mut self, code: &'static str, at: &Range<usize>, message: impl Into<String>) -> Help<'_> {
        let span = self.places.span_of_bytes(at.start, at.end);
        let file = Some(self.source.name.clone());
        self.note(Diagnostic { file, ..Diagnostic::new(code, Some(span), message.into(), None) })
    }

    fn note(&mut self, diagnostic: Diagnostic) -> Help<'_> {
        if self.found.len() >= MOST {
            self.left_out += 1;
            return Help(None);
        }
        self.found.push(diagnostic);
        Help(self.found.last_mut())
    }

    pub fn has_errors(&self) -> bool {
        !self.found.is_empty()
    }

    /// Returns everything found, in the order of the file.
    pub fn finish(mut self) -> Vec<Diagnostic> {
        self.found.sort_by_key(|diagnostic| diagnostic.span);
        if self.left_out > 0 {
            let message = format!("{} more mistakes are not shown", self.left_out);
            self.found.push(Diagnostic::new("more-mistakes", None, message, None));
        }
        self.found
    }

    /// Returns the value with its line.
    pub fn placed<T>(&self, value: T, at: &Range<usize>) -> Placed<T> {
        Placed { value, line: self.places.span_of_bytes(at.start, at.end).line }
    }

    /// Returns the entries of a table whose keys are known; all others are noted.
    pub fn known<'t, 'd>(&mut self, table: &'t DeTable<'d>, section: &Section) -> Vec<(&'static str, &'t Value<'d>)> {
        let mut known = Vec::new();
        for (key, value) in table.iter() {
            let name = key.get_ref().as_ref();
            match section.keys.iter().find(|known| **known == name) {
                Some(name) => known.push((*name, value)),
                None => {
                    let help = self.nearest.help(name, section.keys.iter().copied());
                    let message = format!("`{}` is not a key of {}", clip(name), section.name);
                    self.error("unknown-key", &key.span(), message).maybe_help(help);
                }
            }
        }
        known
    }

    pub fn table<'t, 'd>(&mut self, value: &'t Value<'d>, what: &str, keys: &[&str]) -> Option<&'t DeTable<'d>> {
        let table = value.get_ref().as_table();
        if table.is_none() {
            let keys = (!keys.is_empty()).then(|| format!("its keys are {}", backticked(keys)));
            self.wrong_type(value, what, "a table").maybe_help(keys);
        }
        table
    }

    pub fn wrong_type(&mut self, value: &Value<'_>, what: &str, expected: &str) -> Help<'_> {
        self.error("wrong-type", &value.span(), format!("{what} is {expected}, but this is {}", kind(value)))
    }

    /// Returns a text that is not empty and has nothing in it that cannot be printed.
    pub fn text(&mut self, value: &Value<'_>, what: &str) -> Option<String> {
        let Some(text) = value.get_ref().as_str() else {
            self.wrong_type(value, what, "text").help("put it in quotes");
            return None;
        };
        if text.is_empty() {
            self.error("missing-value", &value.span(), format!("{what} is empty"))
                .help("give it a value, or remove the key");
            return None;
        }
        if text.chars().any(char::is_control) {
            self.error("bad-text", &value.span(), format!("{what} has characters in it that cannot be printed"));
            return None;
        }
        Some(text.to_owned())
    }

    /// Returns a whole number of at least `least`.
    pub fn count(&mut self, value: &Value<'_>, what: &str, least: usize) -> Option<usize> {
        match value.get_ref() {
            DeValue::Integer(number) => {
                let read = i64::from_str_radix(number.as_str(), number.radix());
                let read = read.ok().and_then(|number| usize::try_from(number).ok()).filter(|n| *n >= least);
                if read.is_none() {
                    let message = format!("{what} is a whole number of at least {least}");
                    self.error("out-of-range", &value.span(), message);
                }
                read
            }
            _ => {
                self.wrong_type(value, what, "a whole number").maybe_help(None);
                None
            }
        }
    }

    /// Returns a size of at least `least`.
    pub fn size(&mut self, value: &Value<'_>, what: &str, least: ByteSize) -> Option<ByteSize> {
        if value.get_ref().as_str().is_none() {
            self.wrong_type(value, what, "a size").help("write it with its unit, in quotes: `\"64MiB\"`");
            return None;
        }
        let text = self.text(value, what)?;
        match text.parse::<ByteSize>() {
            Ok(size) if size >= least => Some(size),
            Ok(_) => {
                self.error("out-of-range", &value.span(), format!("{what} is a size of at least {least}"));
                None
            }
            Err(error) => {
                self.error("wrong-unit", &value.span(), format!("{what} is a size, but `{}` is none", clip(&text)))
                    .help(error.to_string());
                None
            }
        }
    }

    pub fn boolean(&mut self, value: &Value<'_>, what: &str) -> Option<bool> {
        let read = value.get_ref().as_bool();
        if read.is_none() {
            self.wrong_type(value, what, "`true` or `false`").maybe_help(None);
        }
        read
    }

    /// Returns the choice that the text names.
    pub fn choice<T: Copy>(&mut self, value: &Value<'_>, what: &str, choices: &[(&'static str, T)]) -> Option<T> {
        let text = self.text(value, what)?;
        if let Some((_, choice)) = choices.iter().find(|(name, _)| *name == text) {
            return Some(*choice);
        }
        let help = self.nearest.help(&text, choices.iter().map(|(name, _)| *name));
        self.error("unknown-value", &value.span(), format!("{what} cannot be `{}`", clip(&text))).maybe_help(help);
        None
    }

    /// Returns what JSON has for the value; a date and a number that is not finite are noted.
    pub fn json(&mut self, value: &Value<'_>, what: &str) -> Option<serde_json::Value> {
        use serde_json::Value as J;
        let number = |text: String| text.parse::<serde_json::Number>().ok().map(J::Number);
        let read = match value.get_ref() {
            DeValue::String(text) => Some(J::String(text.to_string())),
            DeValue::Boolean(is) => Some(J::Bool(*is)),
            DeValue::Integer(read) => {
                i64::from_str_radix(read.as_str(), read.radix()).ok().and_then(|read| number(read.to_string()))
            }
            DeValue::Float(read) => {
                read.as_str().parse::<f64>().ok().and_then(serde_json::Number::from_f64).map(J::Number)
            }
            DeValue::Datetime(_) => None,
            DeValue::Array(items) => {
                let items: Vec<_> = items.iter().map(|item| self.json(item, what)).collect();
                return items.into_iter().collect::<Option<_>>().map(J::Array);
            }
            DeValue::Table(table) => {
                let entries: Vec<_> = table
                    .iter()
                    .map(|(key, value)| Some((key.get_ref().to_string(), self.json(value, what)?)))
                    .collect();
                return entries.into_iter().collect::<Option<_>>().map(J::Object);
            }
        };
        if read.is_none() {
            let message = format!("{what} cannot hold {}: Kubernetes knows none", kind(value));
            self.error("wrong-type", &value.span(), message).help("write it as text, in quotes");
        }
        read
    }
}

/// Returns a message's words for what a value is.
fn kind(value: &Value<'_>) -> String {
    match value.get_ref() {
        DeValue::String(text) => format!("the text `{}`", clip_to(text, 20)),
        DeValue::Integer(_) => "a whole number".to_owned(),
        DeValue::Float(_) => "a number".to_owned(),
        DeValue::Boolean(is) => format!("`{is}`"),
        DeValue::Datetime(_) => "a date or time".to_owned(),
        DeValue::Array(_) => "a list".to_owned(),
        DeValue::Table(_) => "a table".to_owned(),
    }
}
