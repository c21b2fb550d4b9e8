//! Gzip: every member unpacks to its checksum and length.

use super::{BUFFER, ReadSeek, bomb, drain, unreadable};
use flate2::bufread::GzDecoder;
use std::io::{BufRead, BufReader, ErrorKind, Read};

/// Checks that the bytes are gzip members, one after the other and nothing else.
///
/// Bytes are unpacked and counted, never kept. Padding after the last member is refused: zeros there are also what a
/// lost second member looks like. All members together unpack to no more than `most` bytes.
pub(super) fn check(reader: &mut dyn ReadSeek, size: u64, most: u64) -> Result<(), String> {
    let mut input = BufReader::with_capacity(BUFFER, reader.take(size));
    let (mut member, mut left): (u64, u64) = (1, most);
    loop {
        let at = size - input.get_ref().limit() - input.buffer().len() as u64;
        if input.fill_buf().map_err(|error| unreadable(at, &error))?.is_empty() {
            return if member > 1 { Ok(()) } else { Err("no gzip member: no bytes".to_owned()) };
        }
        // One byte more than may be is enough to know that there are too many.
        let mut unpacked = GzDecoder::new(&mut input).take(left.saturating_add(1));
        let amount = drain(&mut unpacked).map_err(|error| match error.kind() {
            ErrorKind::UnexpectedEof => format!("gzip member {member} at byte {at} ends too early"),
            _ => format!("gzip member {member} at byte {at}: {error}"),
        })?;
        left = left.checked_sub(amount).ok_or_else(|| bomb(most))?;
        member += 1;
    }
}
