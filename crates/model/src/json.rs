//! JSON whose numbers stay as they are written, with bounds and places; what items are made of.

use std::{collections::BTreeMap, fmt};

/// Deeper values are refused, so that nothing recurses far.
const MAX_DEPTH: usize = 16;

/// A JSON value; objects are sorted by name, and a number is its text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Json {
    /// `null`.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A number, as written.
    Number(String),
    /// A text.
    Text(String),
    /// A list.
    List(Vec<Json>),
    /// An object.
    Object(BTreeMap<String, Json>),
}

/// What is wrong with a JSON text, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}, column {column}: {problem}")]
pub struct JsonError {
    /// The line, from 1.
    pub line: usize,
    /// The column in bytes, from 1.
    pub column: usize,
    /// What is wrong.
    pub problem: String,
}

impl Json {
    /// Reads one value and nothing after it.
    ///
    /// # Errors
    /// [`JsonError`] for the first mistake: also a name that stands twice in an object, and values nested too deeply.
    pub fn parse(text: &str) -> Result<Self, JsonError> {
        let mut reader = Reader { text, at: 0 };
        let value = reader.value(0)?;
        reader.space();
        match reader.peek() {
            None => Ok(value),
            Some(_) => Err(reader.wrong("something stands after the value")),
        }
    }

    /// Returns whether `text` is a number of JSON.
    pub fn is_number(text: &str) -> bool {
        let mut reader = Reader { text, at: 0 };
        reader.number().is_ok() && reader.at == text.len()
    }

    /// Returns the value as a program takes it: a text as itself, everything else as canonical JSON.
    pub fn to_word(&self) -> String {
        match self {
            Self::Text(text) => text.clone(),
            other => other.to_string(),
        }
    }

    /// Returns what a message calls it.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool(_) => "true or false",
            Self::Number(_) => "a number",
            Self::Text(_) => "a text",
            Self::List(_) => "a list",
            Self::Object(_) => "an object",
        }
    }
}

/// The canonical form: no space, names sorted by their bytes, numbers as written.
impl fmt::Display for Json {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let quoted = |text: &str| serde_json::to_string(text).expect("a text is always JSON");
        match self {
            Self::Null => f.write_str("null"),
            Self::Bool(value) => write!(f, "{value}"),
            Self::Number(text) => f.write_str(text),
            Self::Text(text) => f.write_str(&quoted(text)),
            Self::List(values) => {
                f.write_str("[")?;
                for (i, value) in values.iter().enumerate() {
                    write!(f, "{}{value}", if i > 0 { "," } else { "" })?;
                }
                f.write_str("]")
            }
            Self::Object(fields) => {
                f.write_str("{")?;
                for (i, (name, value)) in fields.iter().enumerate() {
                    write!(f, "{}{}:{value}", if i > 0 { "," } else { "" }, quoted(name))?;
                }
                f.write_str("}")
            }
        }
    }
}

/// Reads values one by one; also used for lists whose elements are looked at one at a time.
pub(crate) struct Reader<'t> {
    pub(crate) text: &'t str,
    pub(crate) at: usize,
}

impl Reader<'_> {
    pub(crate) fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    pub(crate) fn space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    pub(crate) fn wrong(&self, problem: impl Into<String>) -> JsonError {
        self.wrong_at(self.at, problem)
    }

    pub(crate) fn wrong_at(&self, at: usize, problem: impl Into<String>) -> JsonError {
        let before = &self.text.as_bytes()[..at.min(self.text.len())];
        let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
        let column = before.iter().rev().take_while(|byte| **byte != b'\n').count() + 1;
        JsonError { line, column, problem: problem.into() }
    }

    /// Takes this byte, after space.
    pub(crate) fn take(&mut self, byte: u8) -> bool {
        self.space();
        let there = self.peek() == Some(byte);
        self.at += usize::from(there);
        there
    }

    pub(crate) fn value(&mut self, depth: usize) -> Result<Json, JsonError> {
        self.space();
        if depth > MAX_DEPTH {
            return Err(self.wrong(format!("values are nested more than {MAX_DEPTH} deep")));
        }
        match self.peek() {
            Some(b'{') => self.object(depth),
            Some(b'[') => {
                self.at += 1;
                let mut values = Vec::new();
                if self.take(b']') {
                    return Ok(Json::List(values));
                }
                loop {
                    values.push(self.value(depth + 1)?);
                    if self.take(b']') {
                        return Ok(Json::List(values));
                    }
                    if !self.take(b',') {
                        return Err(self.wrong("`,` or `]` is missing"));
                    }
                }
            }
            Some(b'"') => self.string().map(Json::Text),
            Some(b'-' | b'0'..=b'9') => self.number().map(|text| Json::Number(text.to_owned())),
            None => Err(self.wrong("a value is missing")),
            Some(_) => {
                for (word, value) in [("true", Json::Bool(true)), ("false", Json::Bool(false)), ("null", Json::Null)] {
                    if self.text.as_bytes()[self.at..].starts_with(word.as_bytes()) {
                        self.at += word.len();
                        return Ok(value);
                    }
                }
                Err(self.wrong("this is no JSON value"))
            }
        }
    }

    fn object(&mut self, depth: usize) -> Result<Json, JsonError> {
        self.at += 1;
        let mut fields = BTreeMap::new();
        if self.take(b'}') {
            return Ok(Json::Object(fields));
        }
        loop {
            self.space();
            let name_at = self.at;
            if self.peek() != Some(b'"') {
                return Err(self.wrong("a name in quotes is missing"));
            }
            let name = self.string()?;
            if !self.take(b':') {
                return Err(self.wrong("`:` is missing"));
            }
            let value = self.value(depth + 1)?;
            if fields.contains_key(&name) {
                return Err(self.wrong_at(name_at, format!("the name `{name}` stands twice")));
            }
            fields.insert(name, value);
            if self.take(b'}') {
                return Ok(Json::Object(fields));
            }
            if !self.take(b',') {
                return Err(self.wrong("`,` or `}` is missing"));
            }
        }
    }

    fn string(&mut self) -> Result<String, JsonError> {
        let start = self.at;
        let bytes = self.text.as_bytes();
        let mut end = start + 1;
        loop {
            match bytes.get(end) {
                None => return Err(self.wrong_at(start, "a text is never closed")),
                Some(b'"') => break,
                Some(b'\\') => end += 2,
                Some(_) => end += 1,
            }
        }
        // Both ends are quotes, which are no part of a longer character.
        let quoted = &self.text[start..=end];
        let text = serde_json::from_str(quoted).map_err(|_| self.wrong_at(start, "this text is not one of JSON"))?;
        self.at = end + 1;
        Ok(text)
    }

    fn number(&mut self) -> Result<&str, JsonError> {
        let start = self.at;
        let wrong = |this: &Self| Err(this.wrong_at(start, "this is no number of JSON"));
        let digits = |this: &mut Self| {
            let from = this.at;
            while matches!(this.peek(), Some(b'0'..=b'9')) {
                this.at += 1;
            }
            this.at - from
        };
        self.at += usize::from(self.peek() == Some(b'-'));
        let leading = self.peek() == Some(b'0');
        let whole = digits(self);
        if whole == 0 || (leading && whole > 1) {
            return wrong(self);
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            if digits(self) == 0 {
                return wrong(self);
            }
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            self.at += 1;
            self.at += usize::from(matches!(self.peek(), Some(b'+' | b'-')));
            if digits(self) == 0 {
                return wrong(self);
            }
        }
        Ok(&self.text[start..self.at])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_stay_as_they_are_written_and_names_are_sorted() {
        let json = Json::parse("{ \"b\" : 1.50, \"a\": [ 1e5, -0, 123456789012345678901234567890 ] }").expect("JSON");
        assert_eq!(json.to_string(), r#"{"a":[1e5,-0,123456789012345678901234567890],"b":1.50}"#);
        assert_eq!(Json::parse(&json.to_string()), Ok(json));
    }

    #[test]
    fn a_mistake_has_its_place() {
        let table = [
            ("[1,\n 2,\n x]", 3, 2),
            ("{\"a\":1,\"a\":2}", 1, 8),
            ("[1] 2", 1, 5),
            ("\"open", 1, 1),
            ("01", 1, 1),
            ("[1 2]", 1, 4),
            ("{a:1}", 1, 2),
            ("", 1, 1),
            ("\"\\x\"", 1, 1),
        ];
        for (text, line, column) in table {
            let error = Json::parse(text).expect_err(text);
            assert_eq!((error.line, error.column), (line, column), "{text:?}: {error}");
        }
        assert!(Json::parse(&"[".repeat(100_000)).is_err());
    }
}
