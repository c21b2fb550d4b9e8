//! Where the definition of each step lies in a run's graph record, so that a reader of one need not read all.

use std::{
    io::{Read, Seek, SeekFrom},
    ops::Range,
};

use prunella_model::{RunId, StepName};

use crate::{Layout, Store, StoreError, records::GraphRecord, store::decode};

/// The places of steps in the bytes of a graph record.
///
/// As bytes: the size of the record, where its steps begin and where they end, and for each step where its definition
/// begins (8 bytes each) and how long it is (4 bytes), all with the lowest byte first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GraphParts(Vec<u8>);

const HEAD: usize = 3 * 8;
const EACH: usize = 8 + 4;

impl GraphParts {
    /// Returns the places of the steps that stand at these places among the record's steps; nothing if it is no record.
    pub fn of(record: &[u8], places: &[u32]) -> Option<Self> {
        let mut at = 0..record.len();
        for name in ["graph", "pipeline", "steps"] {
            at = members(record, at.start)?
                .into_iter()
                .find(|(member, _)| &record[member.clone()] == name.as_bytes())?
                .1;
        }
        let steps = members(record, at.start)?;
        let mut bytes = Vec::with_capacity(HEAD + EACH * places.len());
        for number in [record.len(), at.start, at.end] {
            bytes.extend_from_slice(&(number as u64).to_le_bytes());
        }
        for place in places {
            let (_, definition) = steps.get(*place as usize)?;
            bytes.extend_from_slice(&(definition.start as u64).to_le_bytes());
            bytes.extend_from_slice(&u32::try_from(definition.len()).ok()?.to_le_bytes());
        }
        Some(Self(bytes))
    }

    /// Returns the places that these bytes say; nothing if they are too few.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        (bytes.len() >= HEAD).then(|| Self(bytes.to_owned()))
    }

    /// Returns them as bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    fn number(&self, at: usize) -> Option<u64> {
        Some(u64::from_le_bytes(*self.0.get(at..)?.first_chunk()?))
    }

    fn step(&self, step: usize) -> Option<Range<u64>> {
        let at = HEAD + EACH * step;
        let start = self.number(at)?;
        let length = u32::from_le_bytes(*self.0.get(at + 8..)?.first_chunk()?);
        Some(start..start.checked_add(u64::from(length))?)
    }
}

impl Store {
    /// Returns what the run executes, of its steps only these: their names, and which of the `parts` each is.
    ///
    /// Nothing if the parts are not those of this record; [`Store::graph`] reads all of it.
    ///
    /// # Errors
    /// [`StoreError::Objects`] if the store did not answer.
    pub async fn graph_with(
        &self,
        run: &RunId,
        parts: &GraphParts,
        steps: &[(&StepName, usize)],
    ) -> Result<Option<GraphRecord>, StoreError> {
        let key = Layout::graph(run);
        let Some(mut reader) = self.objects().open(&key).await? else { return Ok(None) };
        let size = reader.size();
        let mut piece = |range: Range<u64>, text: &mut Vec<u8>| {
            let length = range.end.checked_sub(range.start).filter(|_| range.end <= size)?;
            reader.seek(SeekFrom::Start(range.start)).ok()?;
            let read = reader.by_ref().take(length).read_to_end(text).ok()?;
            (read as u64 == length).then_some(())
        };
        let record = (|| {
            let (start, end) = (parts.number(8)?, parts.number(16)?);
            let mut text = Vec::new();
            (parts.number(0)? == size).then_some(())?;
            piece(0..start, &mut text)?;
            text.push(b'{');
            for (i, (name, part)) in steps.iter().enumerate() {
                text.extend_from_slice(if i > 0 { b",\"" } else { b"\"" });
                text.extend_from_slice(name.as_str().as_bytes());
                text.extend_from_slice(b"\":");
                piece(parts.step(*part)?, &mut text)?;
            }
            text.push(b'}');
            piece(end..size, &mut text)?;
            Some(text)
        })();
        // Bytes that are no record are those of something else: the whole record says what is wrong.
        Ok(record.and_then(|record| decode(&key, &record).ok()))
    }
}

/// Returns the members of the JSON object at `at`: where each name and each value lies.
fn members(json: &[u8], at: usize) -> Option<Vec<(Range<usize>, Range<usize>)>> {
    let mut at = skip_blanks(json, at);
    let mut found = Vec::new();
    if json.get(at) != Some(&b'{') {
        return None;
    }
    at = skip_blanks(json, at + 1);
    while json.get(at)? != &b'}' {
        let name_end = end_of(json, at)?;
        let name = at + 1..name_end - 1;
        at = skip_blanks(json, name_end);
        if json.get(at)? != &b':' {
            return None;
        }
        at = skip_blanks(json, at + 1);
        let end = end_of(json, at)?;
        found.push((name, at..end));
        at = skip_blanks(json, end);
        if json.get(at)? == &b',' {
            at = skip_blanks(json, at + 1);
        }
    }
    Some(found)
}

fn skip_blanks(json: &[u8], mut at: usize) -> usize {
    while json.get(at).is_some_and(u8::is_ascii_whitespace) {
        at += 1;
    }
    at
}

/// Returns the place after the JSON value at `at`.
fn end_of(json: &[u8], mut at: usize) -> Option<usize> {
    let mut depth = 0_usize;
    loop {
        match json.get(at)? {
            b'"' => {
                at += 1;
                while json.get(at)? != &b'"' {
                    at += if json[at] == b'\\' { 2 } else { 1 };
                }
                at += 1;
            }
            b'{' | b'[' => {
                depth += 1;
                at += 1;
            }
            b'}' | b']' => {
                depth = depth.checked_sub(1)?;
                at += 1;
            }
            b',' | b':' | b' ' | b'\n' | b'\t' | b'\r' => at += 1,
            _ => {
                while json.get(at).is_some_and(|byte| !b",:]} \n\t\r".contains(byte)) {
                    at += 1;
                }
            }
        }
        if depth == 0 {
            return Some(at);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_end_where_they_end() {
        let ends = |json: &str| end_of(json.as_bytes(), 0);
        for (value, rest) in [
            (r#"{"a":[1,{"b":"}\"]"}],"c":null}"#, ",1"),
            (r#""a\\""#, ":"),
            ("-1.5e3", "}"),
            ("true", "]"),
            ("[]", ""),
        ] {
            assert_eq!(ends(&format!("{value}{rest}")), Some(value.len()), "{value}");
        }
        for torn in ["{", "[1", "\"a", "\"a\\", "", "]"] {
            assert_eq!(ends(torn), None, "{torn}");
        }
    }

    #[test]
    fn the_members_of_an_object_are_told_apart() {
        let json = br#" { "a" : 1 , "b":{"c":[2]}}"#;
        let found = members(json, 0).expect("an object");
        let text = |range: &Range<usize>| std::str::from_utf8(&json[range.clone()]).expect("ASCII");
        let found: Vec<_> = found.iter().map(|(name, value)| (text(name), text(value))).collect();
        assert_eq!(found, [("a", "1"), ("b", r#"{"c":[2]}"#)]);
        assert_eq!(members(b"[]", 0), None);
        assert_eq!(members(b"{\"a\"", 0), None);
    }
}
