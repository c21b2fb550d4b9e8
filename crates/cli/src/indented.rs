//! JSON as `serde_json` indents it, with one write a line where that has one for every blank: answers may have a million lines.

use std::io::{Result, Write};

use serde_json::ser::Formatter;

/// As `serde_json::ser::PrettyFormatter`.
#[derive(Debug, Default)]
pub struct Indented {
    depth: usize,
    has_value: bool,
}

/// A new line, and the blanks of as many levels as answers have.
const LINE: &[u8] = b"\n                                ";

impl Indented {
    /// Returns one for a value that stands so deep in others.
    pub fn within(depth: usize) -> Self {
        Self { depth, has_value: false }
    }

    /// Begins a line, behind a comma if it is not the first.
    fn line<W: ?Sized + Write>(&self, out: &mut W, first: bool) -> Result<()> {
        if !first {
            out.write_all(b",")?;
        }
        let blanks = self.depth * 2;
        out.write_all(&LINE[..=blanks.min(LINE.len() - 1)])?;
        for _ in LINE.len() - 1..blanks {
            out.write_all(b" ")?;
        }
        Ok(())
    }

    fn begin<W: ?Sized + Write>(&mut self, out: &mut W, bracket: &[u8]) -> Result<()> {
        self.depth += 1;
        self.has_value = false;
        out.write_all(bracket)
    }

    fn end<W: ?Sized + Write>(&mut self, out: &mut W, bracket: &[u8]) -> Result<()> {
        self.depth -= 1;
        if self.has_value {
            self.line(out, true)?;
        }
        out.write_all(bracket)
    }
}

impl Formatter for Indented {
    fn begin_array<W: ?Sized + Write>(&mut self, out: &mut W) -> Result<()> {
        self.begin(out, b"[")
    }

    fn end_array<W: ?Sized + Write>(&mut self, out: &mut W) -> Result<()> {
        self.end(out, b"]")
    }

    fn begin_array_value<W: ?Sized + Write>(&mut self, out: &mut W, first: bool) -> Result<()> {
        self.line(out, first)
    }

    fn end_array_value<W: ?Sized + Write>(&mut self, _: &mut W) -> Result<()> {
        self.has_value = true;
        Ok(())
    }

    fn begin_object<W: ?Sized + Write>(&mut self, out: &mut W) -> Result<()> {
        self.begin(out, b"{")
    }

    fn end_object<W: ?Sized + Write>(&mut self, out: &mut W) -> Result<()> {
        self.end(out, b"}")
    }

    fn begin_object_key<W: ?Sized + Write>(&mut self, out: &mut W, first: bool) -> Result<()> {
        self.line(out, first)
    }

    fn begin_object_value<W: ?Sized + Write>(&mut self, out: &mut W) -> Result<()> {
        out.write_all(b": ")
    }

    fn end_object_value<W: ?Sized + Write>(&mut self, _: &mut W) -> Result<()> {
        self.has_value = true;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde::Serialize;
    use serde_json::{Serializer, Value, json};

    use super::*;

    #[test]
    fn it_is_what_serde_json_writes_to_the_last_blank() {
        let mut deep = json!({ "a": [], "b": {} });
        for n in 0..40 {
            deep = if n % 3 == 0 { json!([deep, n]) } else { json!({ "in": deep, "n": n, "none": [{}, []] }) };
        }
        let plain = json!({ "text": "a \"b\"\n", "list": [1, 2.5, null, true, ["x"]], "empty": [[], {}, ""] });
        for value in [json!([]), json!({}), json!("text"), Value::Null, plain, deep] {
            let mut out = Vec::new();
            value.serialize(&mut Serializer::with_formatter(&mut out, Indented::default())).unwrap();
            assert_eq!(String::from_utf8(out).unwrap(), serde_json::to_string_pretty(&value).unwrap());
        }
    }
}
