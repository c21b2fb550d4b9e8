//! Gzip: every member unpacks to its checksum and length.

use super::{BUFFER, ReadSeek, drain, unreadable};
use flate2::bufread::GzDecoder;
use std::io::{BufRead, BufReader, ErrorKind, Read};

/// Checks that the bytes are gzip members, one after the other and nothing else.
///
/// Bytes are unpacked and counted, never kept. Padding after the last member is refused: zeros there are also what a
/// lost second member looks like.
pub(super) fn check(reader: &mut dyn ReadSeek, size: u64) -> Result<(), String> {
    let mut input = BufReader::with_capacity(BUFFER, reader.take(size));
    let mut member: u64 = 1;
    loop {
        let at = size - input.get_ref().limit() - input.buffer().len() as u64;
        if input.fill_buf().map_err(|error| unreadable(at, &error))?.is_empty() {
            return if member > 1 { Ok(()) } else { Err("no gzip member: no bytes".to_owned()) };
        }
        drain(&mut GzDecoder::new(&mut input)).map_err(|error| match error.kind() {
            ErrorKind::UnexpectedEof => format!("gzip member {member} at byte {at} ends too early"),
            _ => format!("gzip member {member} at byte {at}: {error}"),
        })?;
        member += 1;
    }
}
