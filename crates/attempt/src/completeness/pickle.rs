//! The strings in a pickle, found without executing it.
//!
//! A pickle is a program for a small machine: opcodes with arguments of known length. Walking over them needs no machine:
//! nothing is built, imported or called, and memory holds only the strings that are asked for.

use std::{
    collections::BTreeSet,
    io::{self, BufRead, Read},
};

/// A longer string is passed over.
const LONGEST: u64 = 4096;
/// More strings than this are not kept: the answer is then that the pickle is not understood.
const MOST: usize = 1 << 20;

/// What follows an opcode.
enum Argument {
    /// So many bytes.
    Fixed(u64),
    /// Text up to the end of a line, and so many lines.
    Lines(u32),
    /// A length of so many bytes, little endian, and bytes that are no text.
    Bytes(u32),
    /// A length of so many bytes, little endian, and text.
    Text(u32),
    /// Nothing more: the end.
    Stop,
}

fn argument(opcode: u8) -> Option<Argument> {
    use Argument as A;
    Some(match opcode {
        b'.' => A::Stop,
        // Marks, tuples, lists, dicts, sets, builds, memoize, booleans, none.
        b'('
        | b')'
        | b'0'
        | b'1'
        | b'2'
        | b'N'
        | b'Q'
        | b'R'
        | b'a'
        | b'b'
        | b'd'
        | b'e'
        | b'l'
        | b'o'
        | b's'
        | b't'
        | b'u'
        | b']'
        | b'}'
        | 0x81
        | 0x85..=0x89
        | 0x8f..=0x94
        | 0x97
        | 0x98 => A::Fixed(0),
        b'K' | b'h' | b'q' | 0x80 | 0x82 => A::Fixed(1),
        b'M' | 0x83 => A::Fixed(2),
        b'J' | b'j' | b'r' | 0x84 => A::Fixed(4),
        // A frame only says how many bytes of opcodes follow.
        b'G' | 0x95 => A::Fixed(8),
        b'F' | b'I' | b'L' | b'P' | b'S' | b'V' | b'g' | b'p' => A::Lines(1),
        b'c' | b'i' => A::Lines(2),
        b'C' | b'U' | 0x8a => A::Bytes(1),
        b'B' | b'T' | 0x8b => A::Bytes(4),
        0x8e | 0x96 => A::Bytes(8),
        0x8c => A::Text(1),
        b'X' => A::Text(4),
        0x8d => A::Text(8),
        _ => return None,
    })
}

/// Returns the strings of the pickle of `size` bytes that `wanted` says; nothing if it is not a whole pickle.
///
/// Strings of protocol 0 and 1 (`S`, `U`, `V`) are passed over: no framework of today writes them.
///
/// # Errors
/// If it could not be read, other than that it ends too early.
pub(super) fn strings(
    reader: &mut dyn BufRead,
    size: u64,
    wanted: impl Fn(&[u8]) -> bool,
) -> io::Result<Option<BTreeSet<String>>> {
    match walk(reader, size, &wanted) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
        walked => walked,
    }
}

fn walk(reader: &mut dyn BufRead, size: u64, wanted: &dyn Fn(&[u8]) -> bool) -> io::Result<Option<BTreeSet<String>>> {
    let mut found = BTreeSet::new();
    loop {
        let mut opcode = [0];
        reader.read_exact(&mut opcode)?;
        match argument(opcode[0]) {
            None => return Ok(None),
            Some(Argument::Stop) => return Ok(Some(found)),
            Some(Argument::Fixed(length)) => skip(reader, length)?,
            Some(Argument::Lines(lines)) => {
                for _ in 0..lines {
                    skip_line(reader)?;
                }
            }
            Some(Argument::Bytes(width)) => {
                let length = length(reader, width)?;
                skip(reader, length)?;
            }
            Some(Argument::Text(width)) => {
                let length = length(reader, width)?;
                if length > LONGEST {
                    // A length beyond the file ends the walk there, however large it claims to be.
                    skip(reader, length.min(size.saturating_add(1)))?;
                    continue;
                }
                let mut text = Vec::new();
                reader.take(length).read_to_end(&mut text)?;
                if text.len() as u64 != length {
                    return Ok(None);
                }
                if wanted(&text)
                    && let Ok(text) = String::from_utf8(text)
                    && found.insert(text)
                    && found.len() > MOST
                {
                    return Ok(None);
                }
            }
        }
    }
}

fn length(reader: &mut dyn BufRead, width: u32) -> io::Result<u64> {
    let mut bytes = [0; 8];
    reader.read_exact(&mut bytes[..width as usize])?;
    Ok(u64::from_le_bytes(bytes))
}

fn skip(reader: &mut dyn BufRead, length: u64) -> io::Result<()> {
    let skipped = io::copy(&mut reader.take(length), &mut io::sink())?;
    if skipped == length { Ok(()) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
}

fn skip_line(reader: &mut dyn BufRead) -> io::Result<()> {
    loop {
        let buffer = reader.fill_buf()?;
        if buffer.is_empty() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let (used, ends) = match buffer.iter().position(|byte| *byte == b'\n') {
            Some(at) => (at + 1, true),
            None => (buffer.len(), false),
        };
        reader.consume(used);
        if ends {
            return Ok(());
        }
    }
}
