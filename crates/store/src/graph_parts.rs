//! Where the definition of each step lies in a run's graph record, so that a reader of one need not read all.

use std::{
    io::{Read, Seek, SeekFrom},
    ops::Range,
};

use prunella_model::{RunId, StepName};

use crate::{Layout, Store, StoreError, records::GraphRecord, store::understood};

/// The places of steps in the bytes of a graph record.
///
/// As bytes: the size of the record, where its steps begin and where they end, and for each step where its definition
/// begins (8 bytes each) and how long it is (4 bytes), all with the lowest byte first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GraphParts(Vec<u8>);

const HEAD: usize = 3 * 8;
const EACH: usize = 8 + 4;
/// How much of a record is in memory at once.
const PIECE: usize = 64 << 10;

impl GraphParts {
    /// Returns the places of the steps that stand at these places among the record's steps; nothing if it is no record.
    ///
    /// The record is read once, piece by piece: that of a hundred thousand steps is larger than all that a driver keeps of it.
    pub fn of(record: impl Read, size: u64, places: &[u32]) -> Option<Self> {
        let mut record = Scan::new(record, PIECE);
        for name in ["graph", "pipeline", "steps"] {
            record.find_member(name)?;
        }
        let (steps, all) = record.members()?;
        let mut bytes = Vec::with_capacity(HEAD + EACH * places.len());
        for number in [size, all.start, all.end] {
            bytes.extend_from_slice(&number.to_le_bytes());
        }
        for place in places {
            let (start, length) = steps.get(*place as usize)?;
            bytes.extend_from_slice(&start.to_le_bytes());
            bytes.extend_from_slice(&length.to_le_bytes());
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
        Ok(record.and_then(|record| understood(&record).ok()))
    }
}

/// Where values begin, and how long they are.
type Values = Vec<(u64, u32)>;

/// JSON that is read piece by piece, of which only the places matter; what ends too early is nothing.
struct Scan<R> {
    from: R,
    piece: Box<[u8]>,
    filled: usize,
    at: usize,
    /// How many bytes there were before this piece.
    before: u64,
}

impl<R: Read> Scan<R> {
    fn new(from: R, piece: usize) -> Self {
        Self { from, piece: vec![0; piece].into(), filled: 0, at: 0, before: 0 }
    }

    fn place(&self) -> u64 {
        self.before + self.at as u64
    }

    fn peek(&mut self) -> Option<u8> {
        if self.at == self.filled {
            self.before += self.filled as u64;
            (self.at, self.filled) = (0, 0);
            self.filled = self.from.read(&mut self.piece).ok()?;
        }
        self.piece[..self.filled].get(self.at).copied()
    }

    fn next(&mut self) -> Option<u8> {
        let byte = self.peek()?;
        self.at += 1;
        Some(byte)
    }

    fn skip_blanks(&mut self) {
        while self.peek().is_some_and(|byte| byte.is_ascii_whitespace()) {
            self.at += 1;
        }
    }

    /// Takes this byte, behind any blanks.
    fn take(&mut self, byte: u8) -> Option<()> {
        self.skip_blanks();
        (self.next()? == byte).then_some(())
    }

    /// Takes a string, but for its opening quote, and gives what stands in it to `see`.
    fn string(&mut self, mut see: impl FnMut(u8)) -> Option<()> {
        loop {
            match self.next()? {
                b'"' => return Some(()),
                b'\\' => see(self.next()?),
                byte => see(byte),
            }
        }
    }

    /// Takes a value whole.
    fn value(&mut self) -> Option<()> {
        let mut depth = 0_usize;
        loop {
            match self.next()? {
                b'"' => self.string(|_| {})?,
                b'{' | b'[' => depth += 1,
                b'}' | b']' => depth = depth.checked_sub(1)?,
                b',' | b':' | b' ' | b'\n' | b'\t' | b'\r' => {}
                _ => {
                    while self.peek().is_some_and(|byte| !b",:]} \n\t\r".contains(&byte)) {
                        self.at += 1;
                    }
                }
            }
            if depth == 0 {
                return Some(());
            }
        }
    }

    /// Takes an object up to the value of this member.
    fn find_member(&mut self, name: &str) -> Option<()> {
        self.take(b'{')?;
        let mut found = Vec::new();
        loop {
            self.take(b'"')?;
            found.clear();
            self.string(|byte| found.push(byte))?;
            self.take(b':')?;
            self.skip_blanks();
            if found == name.as_bytes() {
                return Some(());
            }
            self.value()?;
            self.take(b',')?;
        }
    }

    /// Takes an object and returns where the value of each member begins, how long it is, and where the object lies.
    fn members(&mut self) -> Option<(Values, Range<u64>)> {
        self.skip_blanks();
        let (mut found, begin) = (Vec::new(), self.place());
        self.take(b'{')?;
        self.skip_blanks();
        while self.peek()? != b'}' {
            self.take(b'"')?;
            self.string(|_| {})?;
            self.take(b':')?;
            self.skip_blanks();
            let start = self.place();
            self.value()?;
            found.push((start, u32::try_from(self.place() - start).ok()?));
            self.skip_blanks();
            if self.peek()? == b',' {
                self.at += 1;
                self.skip_blanks();
            }
        }
        self.at += 1;
        Some((found, begin..self.place()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_end_where_they_end() {
        for piece in [1, 2, 7, 4096] {
            let ends = |json: &str| {
                let mut scan = Scan::new(json.as_bytes(), piece);
                scan.value().map(|()| scan.place() as usize)
            };
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
    }

    #[test]
    fn the_members_of_an_object_are_told_apart_wherever_a_piece_ends() {
        let json =
            r#" { "other" : {"steps":{}} , "graph":{"pipeline": {"name":"}","steps" : { "a" : 1 ,"b":{"c":[2]}} } }}"#;
        for piece in 1..json.len() {
            let mut scan = Scan::new(json.as_bytes(), piece);
            for name in ["graph", "pipeline", "steps"] {
                scan.find_member(name).expect("it is there");
            }
            let (found, all) = scan.members().expect("an object");
            let text = |start: u64, length: u64| &json[start as usize..(start + length) as usize];
            let found: Vec<_> = found.iter().map(|(start, length)| text(*start, u64::from(*length))).collect();
            assert_eq!(found, ["1", r#"{"c":[2]}"#]);
            assert_eq!(text(all.start, all.end - all.start), r#"{ "a" : 1 ,"b":{"c":[2]}}"#);
            assert!(Scan::new(json.as_bytes(), piece).find_member("none").is_none());
        }
        assert!(Scan::new(&b"[]"[..], 8).members().is_none());
        assert!(Scan::new(&b"{\"a\""[..], 8).members().is_none());
    }
}
