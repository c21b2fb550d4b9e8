//! Whether bytes are what their format promises.
//!
//! Every check streams: it holds buffers of at most 1 MiB, and beside them only what a header of at most [`MAX_HEADER`]
//! says. The bytes may be hostile: a check ends with a problem, never with a panic, a deep recursion or an unpacked bomb; what
//! is packed again in what is unpacked is not followed.

mod gzip;
mod json;
mod npy;
mod parquet;
mod safetensors;
mod zip;

use prunella_model::ContentFormat;
use std::io::{self, Read, Seek, SeekFrom};

/// The largest header, directory or footer that a check follows, in bytes.
const MAX_HEADER: u64 = 100 << 20;
/// The size of a read buffer, in bytes.
const BUFFER: usize = 64 << 10;

/// So many bytes are unpacked of any file, however small it is: a minute's work.
const UNPACKED: u64 = 64 << 30;
/// So many times its own size is unpacked of a large file. What is more is no data, and takes hours.
const TIMES: u64 = 100;

/// Bytes that can be read from any place.
pub trait ReadSeek: Read + Seek {}

impl<T: Read + Seek + ?Sized> ReadSeek for T {}

/// Checks that the `size` bytes of `reader` are of `format`.
///
/// Beyond what a format's own reader would find, all bytes must belong to it: what follows a whole value, archive or
/// array is refused, since it is what a second, interrupted writer leaves.
///
/// # Errors
/// The problem: short, lowercase, naming the byte, line or entry where the format breaks.
pub fn check(format: ContentFormat, reader: &mut dyn ReadSeek, size: u64) -> Result<(), String> {
    check_within(format, reader, size, UNPACKED.max(size.saturating_mul(TIMES)))
}

/// Checks as [`check`], and unpacks no more than `most` bytes: more is refused.
///
/// # Errors
/// As [`check`].
pub fn check_within(format: ContentFormat, reader: &mut dyn ReadSeek, size: u64, most: u64) -> Result<(), String> {
    let length = reader.seek(SeekFrom::End(0)).map_err(|error| unreadable(size, &error))?;
    if length != size {
        return Err(format!("{length} bytes long instead of {size}"));
    }
    seek(reader, 0)?;
    match format {
        ContentFormat::Any => Ok(()),
        ContentFormat::Json => json::check_value(reader, size),
        ContentFormat::Jsonl => json::check_lines(reader, size),
        ContentFormat::Gzip => gzip::check(reader, size, most),
        ContentFormat::Zip => zip::check(reader, size, most, &mut |_, _| Ok(())),
        ContentFormat::Npz => zip::check(reader, size, most, &mut npy::check_member),
        ContentFormat::Npy => npy::check(reader, size),
        ContentFormat::Parquet => parquet::check(reader, size),
        ContentFormat::Safetensors => safetensors::check(reader, size),
    }
}

/// Checks that a zip archive of `size` bytes has its whole directory at its end, without looking at what it holds.
///
/// # Errors
/// As [`check`].
pub(crate) fn zip_directory(reader: &mut dyn ReadSeek, size: u64) -> Result<(), String> {
    zip::check_directory(reader, size)
}

/// Fills `buffer` from byte `at`.
fn read_at(reader: &mut dyn ReadSeek, at: u64, buffer: &mut [u8]) -> Result<(), String> {
    seek(reader, at)?;
    reader.read_exact(buffer).map_err(|error| unreadable(at, &error))
}

/// Puts `reader` at byte `at`.
fn seek(reader: &mut dyn ReadSeek, at: u64) -> Result<(), String> {
    reader.seek(SeekFrom::Start(at)).map(|_| ()).map_err(|error| unreadable(at, &error))
}

/// Reads `data` to its end and keeps nothing of it.
fn drain(data: &mut dyn Read) -> io::Result<u64> {
    let mut buffer = vec![0; BUFFER];
    let mut total = 0;
    loop {
        match data.read(&mut buffer) {
            Ok(0) => return Ok(total),
            Ok(count) => total += count as u64,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// Returns the problem of what unpacks to more than `most` bytes.
fn bomb(most: u64) -> String {
    format!("it unpacks to more than {most} bytes, so that nobody could check it; `format: any` lets it be")
}

/// Returns the problem of a read that failed at byte `at`.
fn unreadable(at: u64, error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => format!("ends too early: no more bytes at byte {at}"),
        _ => format!("could not read at byte {at}: {error}"),
    }
}

/// Returns a name from a file as it can stand in a message: printable and short.
fn shown(name: &[u8]) -> String {
    const LONGEST: usize = 80;
    let text = String::from_utf8_lossy(&name[..name.len().min(LONGEST)]).escape_debug().to_string();
    format!("`{text}{}`", if name.len() > LONGEST { "…" } else { "" })
}
