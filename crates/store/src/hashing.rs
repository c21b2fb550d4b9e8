//! The digest of a file: a long one by several processors.

use std::{
    io::{self, ErrorKind, Read, Seek, SeekFrom},
    path::Path,
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
};

use prunella_model::{Digest, Hasher, PART_BYTES, PartDigest, PartHasher, join, parts_of};
use prunella_sys::Fs;

/// A reader is asked for so much at once: what it brings is still in the processor's cache when it is hashed.
const BUFFER: usize = 1 << 18;

/// To begin threads for less takes longer than it saves.
pub(crate) const LONG: u64 = 32 << 20;

/// Returns digest and length of a file.
pub(crate) fn hash_file(fs: &dyn Fs, path: &Path, processors: usize) -> io::Result<(Digest, u64)> {
    let mut file = fs.open_read(path)?;
    let size = file.seek(SeekFrom::End(0))?;
    file.rewind()?;
    if size < LONG || processors < 2 {
        return hash_reader(&mut file, size);
    }
    drop(file);
    Ok((hash_long(fs, path, size, processors)?, size))
}

/// Returns digest and length of what is left to read; if it is long and `local` a file that holds the same, several read that.
pub(crate) fn hash_either(
    fs: &dyn Fs,
    local: Option<&Path>,
    reader: &mut dyn Read,
    expected: u64,
    processors: usize,
) -> io::Result<(Digest, u64)> {
    match local {
        Some(local) if processors > 1 => match fs.metadata(local)? {
            Some(meta) if meta.len >= LONG => Ok((hash_long(fs, local, meta.len, processors)?, meta.len)),
            Some(_) | None => hash_reader(reader, expected),
        },
        _ => hash_reader(reader, expected),
    }
}

/// Returns a buffer for reading so many bytes and seeing that there are no more: no larger than that is worth.
pub(crate) fn buffer_for(bytes: u64) -> Vec<u8> {
    vec![0; usize::try_from(bytes).map_or(BUFFER, |bytes| bytes.saturating_add(1).min(BUFFER))]
}

/// Returns digest and length of what is left to read, about `expected` bytes.
pub(crate) fn hash_reader(reader: &mut dyn Read, expected: u64) -> io::Result<(Digest, u64)> {
    let (mut hasher, mut size, mut buffer) = (Hasher::new(), 0, buffer_for(expected));
    loop {
        match reader.read(&mut buffer)? {
            0 => return Ok((hasher.finish(), size)),
            n => {
                hasher.update(&buffer[..n]);
                size += n as u64;
            }
        }
    }
}

/// Returns the digest of the first `size` bytes of a file, of which there are several parts; `UnexpectedEof` if it is shorter.
pub(crate) fn hash_long(fs: &dyn Fs, path: &Path, size: u64, processors: usize) -> io::Result<Digest> {
    let parts = parts_of(size).ok_or(ErrorKind::InvalidInput)?;
    let next = AtomicU64::new(0);
    let digests: Mutex<Vec<Option<PartDigest>>> = Mutex::new(vec![None; usize::try_from(parts).unwrap_or(usize::MAX)]);
    let work = || -> io::Result<()> {
        let (mut file, mut buffer) = (fs.open_read(path)?, vec![0; BUFFER]);
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= parts {
                return Ok(());
            }
            let from = number * PART_BYTES;
            file.seek(SeekFrom::Start(from))?;
            let (mut hasher, mut left) = (PartHasher::new(number), PART_BYTES.min(size - from));
            while left > 0 {
                let most = usize::try_from(left).unwrap_or(BUFFER).min(BUFFER);
                match file.read(&mut buffer[..most])? {
                    0 => return Err(ErrorKind::UnexpectedEof.into()),
                    n => {
                        hasher.update(&buffer[..n]);
                        left -= n as u64;
                    }
                }
            }
            let mut digests = digests.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
            digests[number as usize] = Some(hasher.finish());
        }
    };
    std::thread::scope(|scope| {
        let others: Vec<_> = (1..processors.max(1)).map(|_| scope.spawn(work)).collect();
        let mine = work();
        others.into_iter().fold(mine, |done, other| done.and(other.join().expect("hashing does not panic")))
    })?;
    let digests = digests.into_inner().unwrap_or_else(|poisoned| poisoned.into_inner());
    let digests: Option<Vec<PartDigest>> = digests.into_iter().collect();
    Ok(digests.and_then(|digests| join(&digests)).expect("every part was hashed, and there are two at least"))
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use prunella_sys::RealFs;

    use super::*;

    #[test]
    fn a_long_file_has_one_digest_however_many_hash_it() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("long");
        let bytes: Vec<u8> = (0..LONG as usize + 77).map(|n| (n >> 9) as u8).collect();
        RealFs.create_new(&path).and_then(|mut file| file.write_all(&bytes)).expect("written");
        for processors in [1, 2, 7] {
            let found = hash_file(&RealFs, &path, processors).expect("hashed");
            assert_eq!(found, (Digest::of(&bytes), bytes.len() as u64));
        }
        let longer = hash_long(&RealFs, &path, bytes.len() as u64 + PART_BYTES, 2);
        assert_eq!(longer.expect_err("it is shorter").kind(), ErrorKind::UnexpectedEof);
    }
}
