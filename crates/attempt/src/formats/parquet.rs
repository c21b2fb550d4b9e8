//! Parquet: magic at both ends, and a footer that lies between them.

use super::{ReadSeek, read_at};

/// Ends and starts a file whose footer is plain.
const PLAIN: [u8; 4] = *b"PAR1";
/// Ends and starts a file whose footer is encrypted.
const ENCRYPTED: [u8; 4] = *b"PARE";
/// What is at the end: the footer's length and the magic.
const TAIL: u64 = 8;

/// Checks the two magics and that the footer's length fits the file.
pub(super) fn check(reader: &mut dyn ReadSeek, size: u64) -> Result<(), String> {
    let mut start = [0; 4];
    let mut tail = [0; TAIL as usize];
    let room = size.checked_sub(start.len() as u64 + TAIL).ok_or("too short for parquet: fewer than 12 bytes")?;
    read_at(reader, 0, &mut start)?;
    read_at(reader, size - TAIL, &mut tail)?;
    let [a, b, c, d, magic @ ..] = tail;
    if start != PLAIN && start != ENCRYPTED {
        return Err("no parquet magic at byte 0".to_owned());
    }
    if magic != start {
        return Err(format!("parquet magic of byte 0 does not stand at the end, byte {}", size - 4));
    }
    let footer = u64::from(u32::from_le_bytes([a, b, c, d]));
    if footer == 0 || footer > room {
        return Err(format!("parquet footer of {footer} bytes does not fit the {room} bytes between the magics"));
    }
    Ok(())
}
