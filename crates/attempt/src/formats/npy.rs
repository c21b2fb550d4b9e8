//! NumPy's `.npy`: a header whose shape and type account for every byte.

use super::{ReadSeek, shown};
use std::io::{ErrorKind, Read};

/// The longest header that is read; NumPy itself refuses more than 10,000 bytes unless told otherwise.
const MAX_NPY_HEADER: u64 = 1 << 20;
/// The deepest nesting of a structured type.
const MAX_DEPTH: u32 = 32;

/// Checks one array.
pub(super) fn check(reader: &mut dyn ReadSeek, size: u64) -> Result<(), String> {
    check_stream(&mut reader.take(size), size)
}

/// Checks one entry of an archive, unpacked.
pub(super) fn check_member(member: &super::zip::Entry, data: Option<&mut dyn Read>) -> Result<(), String> {
    if !member.name.ends_with(b".npy") {
        return Err("not an array: its name does not end with .npy".to_owned());
    }
    let data = data.ok_or("encrypted, or packed by a method other than store and deflate")?;
    check_stream(data, member.unpacked)
}

fn check_stream(data: &mut dyn Read, size: u64) -> Result<(), String> {
    let mut take = |buffer: &mut [u8]| {
        data.read_exact(buffer).map_err(|error| match error.kind() {
            ErrorKind::UnexpectedEof => "npy header ends too early".to_owned(),
            _ => format!("could not read the npy header: {error}"),
        })
    };
    let mut start = [0; 8];
    take(&mut start)?;
    let [magic @ .., major, minor] = start;
    if magic != *b"\x93NUMPY" {
        return Err("no npy magic at byte 0".to_owned());
    }
    // Version 1 counts its header in two bytes, versions 2 and 3 in four.
    let mut length = [0; 4];
    let width = match (major, minor) {
        (1, 0) => 2,
        (2 | 3, 0) => 4,
        _ => return Err(format!("unknown npy version {major}.{minor} at byte 6")),
    };
    take(&mut length[..width])?;
    let length = u64::from(u32::from_le_bytes(length));
    let header_end = (start.len() + width) as u64 + length;
    if header_end > size {
        return Err(format!("npy header ends at byte {header_end}, the file at byte {size}"));
    }
    if length > MAX_NPY_HEADER {
        return Err(format!("npy header of {length} bytes is larger than {MAX_NPY_HEADER}"));
    }
    let mut text = vec![0; usize::try_from(length).expect("bounded by MAX_NPY_HEADER")];
    take(&mut text)?;
    let mut literal = Literal { text: &text, at: 0, base: header_end - length };
    let array = literal.header()?;
    let data_size = u128::from(size - header_end);
    match array.item {
        Item::Object if data_size == 0 => Err("npy header says objects, but no byte follows it".to_owned()),
        Item::Object => Ok(()),
        Item::Bytes(item) => {
            let needed = array.elements.saturating_mul(item);
            if needed == data_size {
                Ok(())
            } else {
                Err(format!("npy header says {needed} bytes of data, the file has {data_size}"))
            }
        }
    }
}

/// What a header says of its array.
struct Array {
    item: Item,
    elements: u128,
}

/// What one element takes.
#[derive(Clone, Copy)]
enum Item {
    /// So many bytes.
    Bytes(u128),
    /// The array is one pickle, of any length.
    Object,
}

/// A reader of the Python literal that a header is; only what NumPy writes is understood.
struct Literal<'a> {
    text: &'a [u8],
    at: usize,
    base: u64,
}

impl<'a> Literal<'a> {
    fn header(&mut self) -> Result<Array, String> {
        let (mut item, mut order, mut elements) = (None, None, None);
        self.expect(b'{')?;
        while !self.skip(b'}') {
            let key = self.string()?;
            self.expect(b':')?;
            let again = match key {
                b"descr" => item.replace(self.descr(0)?).is_some(),
                b"fortran_order" => order.replace(self.boolean()?).is_some(),
                b"shape" => elements.replace(self.shape()?).is_some(),
                _ => return Err(format!("npy header has the unknown key {}", shown(key))),
            };
            if again {
                return Err(format!("npy header has the key {} twice", shown(key)));
            }
            if !self.skip(b',') {
                self.expect(b'}')?;
                break;
            }
        }
        if self.peek().is_some() {
            return Err(self.problem("something after the dictionary"));
        }
        let item = item.ok_or("npy header lacks `descr`")?;
        order.ok_or("npy header lacks `fortran_order`")?;
        let elements = elements.ok_or("npy header lacks `shape`")?;
        Ok(Array { item, elements })
    }

    /// Reads a type: a string, or a list of `(name, type)` or `(name, type, shape)`.
    fn descr(&mut self, depth: u32) -> Result<Item, String> {
        if depth > MAX_DEPTH {
            return Err(self.problem("a type nested deeper than 32 levels"));
        }
        if !self.skip(b'[') {
            let code = self.string()?;
            return item_of(code).ok_or_else(|| format!("npy header has the unknown type {}", shown(code)));
        }
        let mut sum = Item::Bytes(0);
        while !self.skip(b']') {
            self.expect(b'(')?;
            if self.skip(b'(') {
                // A field with a title: `(title, name)`.
                self.string()?;
                self.expect(b',')?;
                self.string()?;
                self.skip(b',');
                self.expect(b')')?;
            } else {
                self.string()?;
            }
            self.expect(b',')?;
            let item = self.descr(depth + 1)?;
            let mut count = 1;
            if self.skip(b',') && self.peek() == Some(b'(') {
                count = self.shape()?;
                self.skip(b',');
            }
            self.expect(b')')?;
            sum = match (sum, item) {
                (Item::Bytes(sum), Item::Bytes(item)) => Item::Bytes(sum.saturating_add(item.saturating_mul(count))),
                _ => Item::Object,
            };
            if !self.skip(b',') {
                self.expect(b']')?;
                break;
            }
        }
        Ok(sum)
    }

    /// Reads a tuple of dimensions and returns their product, saturated.
    fn shape(&mut self) -> Result<u128, String> {
        self.expect(b'(')?;
        let mut product: u128 = 1;
        let mut dimensions = 0u32;
        while !self.skip(b')') {
            product = product.saturating_mul(u128::from(self.integer()?));
            dimensions += 1;
            if !self.skip(b',') {
                self.expect(b')')?;
                if dimensions == 1 {
                    return Err(self.problem("a number in brackets instead of a tuple"));
                }
                break;
            }
        }
        Ok(product)
    }

    fn integer(&mut self) -> Result<u64, String> {
        self.peek();
        let digits = self.text[self.at..].iter().take_while(|byte| byte.is_ascii_digit()).count();
        let number = std::str::from_utf8(&self.text[self.at..self.at + digits]).ok().and_then(|text| text.parse().ok());
        let number = number.ok_or_else(|| self.problem("no dimension"))?;
        self.at += digits;
        // Python 2 wrote long integers with an `L`.
        self.skip(b'L');
        Ok(number)
    }

    fn boolean(&mut self) -> Result<bool, String> {
        self.peek();
        for (word, value) in [(&b"True"[..], true), (b"False", false)] {
            if self.text[self.at..].starts_with(word) {
                self.at += word.len();
                return Ok(value);
            }
        }
        Err(self.problem("neither True nor False"))
    }

    /// Reads a string and returns what stands between its quotes, escapes untouched.
    fn string(&mut self) -> Result<&'a [u8], String> {
        let quote = match self.peek() {
            Some(quote @ (b'\'' | b'"')) => quote,
            // Python 2 could write byte and text strings with a prefix.
            Some(b'b' | b'u') if matches!(self.text.get(self.at + 1), Some(b'\'' | b'"')) => {
                self.at += 1;
                self.text[self.at]
            }
            _ => return Err(self.problem("no string")),
        };
        let begin = self.at + 1;
        let mut end = begin;
        while let Some(&byte) = self.text.get(end) {
            match byte {
                b'\\' => end += 2,
                _ if byte == quote => {
                    self.at = end + 1;
                    return Ok(&self.text[begin..end]);
                }
                _ => end += 1,
            }
        }
        Err(self.problem("a string without an end"))
    }

    /// Skips blanks and returns the byte after them, which stays.
    fn peek(&mut self) -> Option<u8> {
        while matches!(self.text.get(self.at), Some(b' ' | b'\t' | b'\r' | b'\n')) {
            self.at += 1;
        }
        self.text.get(self.at).copied()
    }

    /// Skips blanks and `byte`; false if another byte stands there.
    fn skip(&mut self, byte: u8) -> bool {
        let there = self.peek() == Some(byte);
        self.at += usize::from(there);
        there
    }

    fn expect(&mut self, byte: u8) -> Result<(), String> {
        if self.skip(byte) { Ok(()) } else { Err(self.problem(&format!("no `{}`", char::from(byte)))) }
    }

    fn problem(&self, what: &str) -> String {
        format!("npy header: {what} at byte {}", self.base + self.at as u64)
    }
}

/// Returns what an element of the type `code` takes: byte order, kind, size, and a unit for times.
fn item_of(code: &[u8]) -> Option<Item> {
    let code = std::str::from_utf8(code).ok()?;
    let code = code.strip_prefix(['<', '>', '|', '=']).unwrap_or(code);
    let kind = code.chars().next()?;
    let rest = code.get(kind.len_utf8()..)?;
    let (digits, unit) = match rest.split_once('[') {
        Some((digits, unit)) if unit.ends_with(']') && matches!(kind, 'm' | 'M') => (digits, true),
        Some(_) => return None,
        None => (rest, false),
    };
    if digits.is_empty() && kind == 'O' {
        return Some(Item::Object);
    }
    if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let size: u32 = digits.parse().ok()?;
    let known = match kind {
        'b' => size == 1,
        'i' | 'u' => matches!(size, 1 | 2 | 4 | 8),
        'f' => matches!(size, 2 | 4 | 8 | 10 | 12 | 16),
        'c' => matches!(size, 8 | 16 | 20 | 24 | 32),
        'm' | 'M' => size == 8,
        'S' | 'a' | 'V' | 'U' => !unit,
        // Strings of any length, which NumPy pickles like objects.
        'O' | 'T' => return Some(Item::Object),
        _ => false,
    };
    let width = if kind == 'U' { 4 } else { 1 };
    known.then_some(Item::Bytes(u128::from(size) * width))
}
