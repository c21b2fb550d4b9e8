//! Zip: a directory at the end whose every entry is in the file, apart from all others and whole.

use super::{BUFFER, MAX_HEADER, ReadSeek, bomb, drain, read_at, seek, shown, unreadable};
use flate2::Crc;
use flate2::bufread::DeflateDecoder;
use std::io::{self, BufReader, Read};

const END: [u8; 4] = *b"PK\x05\x06";
const END64: [u8; 4] = *b"PK\x06\x06";
const END64_LOCATOR: [u8; 4] = *b"PK\x06\x07";
const CENTRAL: [u8; 4] = *b"PK\x01\x02";
const LOCAL: [u8; 4] = *b"PK\x03\x04";

const END_SIZE: u64 = 22;
const END64_SIZE: u64 = 56;
const END64_LOCATOR_SIZE: u64 = 20;
const CENTRAL_SIZE: u64 = 46;
const LOCAL_SIZE: u64 = 30;
/// The longest comment at the end.
const MAX_COMMENT: u64 = 0xffff;

const STORED: u16 = 0;
const DEFLATED: u16 = 8;
/// Flag: the data is encrypted.
const ENCRYPTED: u16 = 1;
/// Flag: sizes and checksum follow the data, and the local header need not have them.
const DESCRIPTOR: u16 = 1 << 3;

/// Looks into one entry: its bytes unpacked, or none where the method is unknown. What it leaves unread is checked too.
pub(super) type Inspect<'a> = &'a mut dyn FnMut(&Entry, Option<&mut dyn Read>) -> Result<(), String>;

/// One entry as the directory at the end describes it.
pub(super) struct Entry {
    /// Its name, not yet known to be text.
    pub(super) name: Vec<u8>,
    /// Its size unpacked, in bytes.
    pub(super) unpacked: u64,
    packed: u64,
    crc: u32,
    flags: u16,
    method: u16,
    local: u64,
    /// Where the next entry of the directory begins.
    next: u64,
}

/// Checks the directory, then every entry's bytes by streaming.
///
/// Overlaps are refused before anything is unpacked: what is unpacked is then at most about 1,000 times the file, and
/// none of it is kept. Nor if the directory says that they are more than `most` bytes: none of them unpacks to more than it
/// says. Bytes before the first entry are allowed (self-extracting archives), after the end none.
pub(super) fn check(reader: &mut dyn ReadSeek, size: u64, most: u64, inspect: Inspect<'_>) -> Result<(), String> {
    let directory = Directory::find(reader, size)?;
    let (mut places, mut left) = (Vec::new(), most);
    directory.each(reader, &mut |reader, entry| {
        left = left.checked_sub(entry.unpacked).ok_or_else(|| bomb(most))?;
        let begin = entry.local + directory.shift;
        places.push((begin, data_end(reader, &directory, entry)?));
        Ok(())
    })?;
    places.sort_unstable();
    if let Some(pair) = places.windows(2).find(|pair| pair[0].1 > pair[1].0) {
        return Err(format!("zip entries overlap at byte {}", pair[1].0));
    }
    drop(places);
    directory.each(reader, &mut |reader, entry| {
        let end = data_end(reader, &directory, entry)?;
        seek(reader, end - entry.packed)?;
        unpack(reader, entry, inspect)
    })
}

/// Checks that the directory is whole and says of nothing that it lies outside.
pub(super) fn check_directory(reader: &mut dyn ReadSeek, size: u64) -> Result<(), String> {
    let directory = Directory::find(reader, size)?;
    directory.each(reader, &mut |_, entry| match entry.local.checked_add(directory.shift) {
        Some(at) if at < directory.begin => Ok(()),
        _ => Err("it lies outside of the archive".to_owned()),
    })
}

/// Where the directory is.
struct Directory {
    /// Its first byte.
    begin: u64,
    /// The byte after its last.
    end: u64,
    entries: u64,
    /// What to add to the offsets written in the archive: the bytes before it.
    shift: u64,
}

impl Directory {
    fn find(reader: &mut dyn ReadSeek, size: u64) -> Result<Self, String> {
        let too_short = || "no zip directory: no end record in the last 64 KiB".to_owned();
        let begin = size.saturating_sub(END_SIZE + MAX_COMMENT);
        let mut tail = vec![0; usize::try_from(size - begin).expect("at most 64 KiB")];
        read_at(reader, begin, &mut tail)?;
        let at = tail
            .windows(END_SIZE as usize)
            .enumerate()
            .rev()
            // The comment's length must lead to the end of the file, else these bytes only look like an end record.
            .find(|(at, record)| {
                record.starts_with(&END) && at + record.len() + usize::from(u16_at(record, 20)) == tail.len()
            })
            .map(|(at, _)| at)
            .ok_or_else(too_short)?;
        let record = &tail[at..];
        let end_at = begin + at as u64;
        let (this_disk, first_disk) = (u16_at(record, 4), u16_at(record, 6));
        let found = match Self::find64(reader, end_at)? {
            Some(found) => found,
            None if this_disk != 0 || first_disk != 0 || u16_at(record, 8) != u16_at(record, 10) => {
                return Err("zip archive in several parts".to_owned());
            }
            None => Found {
                entries: u64::from(u16_at(record, 10)),
                size: u64::from(u32_at(record, 12)),
                offset: u64::from(u32_at(record, 16)),
                end: end_at,
            },
        };
        found.directory()
    }

    /// Returns what the 64-bit end record says, if the one at byte `end_at` is preceded by the locator of one.
    fn find64(reader: &mut dyn ReadSeek, end_at: u64) -> Result<Option<Found>, String> {
        let Some(locator_at) = end_at.checked_sub(END64_LOCATOR_SIZE) else { return Ok(None) };
        let mut locator = [0; END64_LOCATOR_SIZE as usize];
        read_at(reader, locator_at, &mut locator)?;
        if !locator.starts_with(&END64_LOCATOR) {
            return Ok(None);
        }
        if u32_at(&locator, 4) != 0 || u32_at(&locator, 16) > 1 {
            return Err("zip archive in several parts".to_owned());
        }
        let last = locator_at.checked_sub(END64_SIZE).ok_or("zip64 end record does not fit before its locator")?;
        let written = u64_at(&locator, 8);
        let mut record = [0; END64_SIZE as usize];
        // With bytes before the archive the written offset is too low; the record then lies directly before its locator.
        let mut at = written.min(last);
        read_at(reader, at, &mut record)?;
        if !record.starts_with(&END64) && at != last {
            at = last;
            read_at(reader, at, &mut record)?;
        }
        if !record.starts_with(&END64) {
            return Err(format!("no zip64 end record at byte {written}"));
        }
        if u64_at(&record, 4).checked_add(12) != Some(locator_at - at) {
            return Err(format!("zip64 end record at byte {at} does not end at its locator"));
        }
        if u32_at(&record, 16) != 0 || u32_at(&record, 20) != 0 || u64_at(&record, 24) != u64_at(&record, 32) {
            return Err("zip archive in several parts".to_owned());
        }
        let (entries, size, offset) = (u64_at(&record, 32), u64_at(&record, 40), u64_at(&record, 48));
        Ok(Some(Found { entries, size, offset, end: at }))
    }

    /// Calls `visit` with every entry, and checks that they fill the directory exactly.
    fn each(
        &self,
        reader: &mut dyn ReadSeek,
        visit: &mut dyn FnMut(&mut dyn ReadSeek, &Entry) -> Result<(), String>,
    ) -> Result<(), String> {
        let mut at = self.begin;
        for number in 1..=self.entries {
            let entry = Entry::read(reader, at, self.end)
                .map_err(|problem| format!("zip directory entry {number} of {}: {problem}", self.entries))?;
            visit(reader, &entry).map_err(|problem| format!("zip entry {}: {problem}", shown(&entry.name)))?;
            at = entry.next;
        }
        if at != self.end {
            return Err(format!("zip directory has more than its {} entries, at byte {at}", self.entries));
        }
        Ok(())
    }
}

/// What an end record says of the directory.
struct Found {
    entries: u64,
    size: u64,
    offset: u64,
    end: u64,
}

impl Found {
    fn directory(self) -> Result<Directory, String> {
        let Self { entries, size, offset, end } = self;
        if size > MAX_HEADER {
            return Err(format!("zip directory of {size} bytes is larger than {MAX_HEADER}"));
        }
        if entries > size / CENTRAL_SIZE {
            return Err(format!("zip directory of {size} bytes is too small for {entries} entries"));
        }
        let begin = end.checked_sub(size);
        let shift = begin.and_then(|begin| begin.checked_sub(offset));
        let (Some(begin), Some(shift)) = (begin, shift) else {
            return Err(format!("zip directory of {size} bytes at byte {offset} does not fit before byte {end}"));
        };
        Ok(Directory { begin, end, entries, shift })
    }
}

impl Entry {
    /// Reads the directory's entry at byte `at`, which may not pass `end`.
    fn read(reader: &mut dyn ReadSeek, at: u64, end: u64) -> Result<Self, String> {
        let passes = || format!("it passes the directory's end, byte {end}");
        if end - at < CENTRAL_SIZE {
            return Err(passes());
        }
        let mut fixed = [0; CENTRAL_SIZE as usize];
        read_at(reader, at, &mut fixed)?;
        if !fixed.starts_with(&CENTRAL) {
            return Err(format!("no signature at byte {at}"));
        }
        let (name_size, extra_size) = (u16_at(&fixed, 28), u16_at(&fixed, 30));
        let variable = u64::from(name_size) + u64::from(extra_size) + u64::from(u16_at(&fixed, 32));
        let next = at + CENTRAL_SIZE + variable;
        if next > end {
            return Err(passes());
        }
        let mut name = vec![0; usize::from(name_size)];
        read_at(reader, at + CENTRAL_SIZE, &mut name)?;
        let mut extra = vec![0; usize::from(extra_size)];
        reader.read_exact(&mut extra).map_err(|error| unreadable(at, &error))?;
        let mut wide = Wide::of(&extra);
        let unpacked = wide.or(u32_at(&fixed, 24))?;
        let packed = wide.or(u32_at(&fixed, 20))?;
        let local = wide.or(u32_at(&fixed, 42))?;
        let (flags, method, crc) = (u16_at(&fixed, 8), u16_at(&fixed, 10), u32_at(&fixed, 16));
        Ok(Self { name, unpacked, packed, crc, flags, method, local, next })
    }
}

/// Returns the byte after an entry's data, once its local header agrees and all of it lies before the directory.
fn data_end(reader: &mut dyn ReadSeek, directory: &Directory, entry: &Entry) -> Result<u64, String> {
    let outside = || format!("it does not fit before the directory at byte {}", directory.begin);
    let fits = |end: Option<u64>| end.filter(|end| *end <= directory.begin).ok_or_else(outside);
    let at = entry.local.checked_add(directory.shift).ok_or_else(outside)?;
    let fixed_end = fits(at.checked_add(LOCAL_SIZE))?;
    let mut fixed = [0; LOCAL_SIZE as usize];
    read_at(reader, at, &mut fixed)?;
    if !fixed.starts_with(&LOCAL) {
        return Err(format!("no local header at byte {at}"));
    }
    let (name_size, extra_size) = (u16_at(&fixed, 26), u16_at(&fixed, 28));
    let data = fits(fixed_end.checked_add(u64::from(name_size) + u64::from(extra_size)))?;
    let end = fits(data.checked_add(entry.packed))?;
    let mut name = vec![0; usize::from(name_size)];
    read_at(reader, fixed_end, &mut name)?;
    if name != entry.name {
        return Err(format!("its local header at byte {at} is named {}", shown(&name)));
    }
    let flags = u16_at(&fixed, 6);
    if u16_at(&fixed, 8) != entry.method || (flags ^ entry.flags) & ENCRYPTED != 0 {
        return Err(format!("its local header at byte {at} has another method"));
    }
    if flags & DESCRIPTOR == 0 {
        let mut extra = vec![0; usize::from(extra_size)];
        reader.read_exact(&mut extra).map_err(|error| unreadable(at, &error))?;
        let mut wide = Wide::of(&extra);
        let unpacked = wide.or(u32_at(&fixed, 22))?;
        let packed = wide.or(u32_at(&fixed, 18))?;
        if (unpacked, packed, u32_at(&fixed, 14)) != (entry.unpacked, entry.packed, entry.crc) {
            return Err(format!("its local header at byte {at} has another size or checksum"));
        }
    }
    Ok(end)
}

/// Unpacks an entry whose data begins where `reader` stands, and checks sizes and checksum.
fn unpack(reader: &mut dyn ReadSeek, entry: &Entry, inspect: Inspect<'_>) -> Result<(), String> {
    let mut packed = BufReader::with_capacity(BUFFER, reader.take(entry.packed));
    match entry.method {
        _ if entry.flags & ENCRYPTED != 0 => inspect(entry, None),
        STORED => whole(&mut packed, entry, inspect),
        DEFLATED => {
            let mut unpacker = DeflateDecoder::new(packed);
            whole(&mut unpacker, entry, inspect)?;
            let used = unpacker.total_in();
            if used == entry.packed {
                Ok(())
            } else {
                Err(format!("its data ends after {used} of {} packed bytes", entry.packed))
            }
        }
        _ => inspect(entry, None),
    }
}

/// Checks that `data`, unpacked, has the size and checksum that the directory says.
fn whole(data: &mut dyn Read, entry: &Entry, inspect: Inspect<'_>) -> Result<(), String> {
    // One byte more than promised is enough to know that there are too many.
    let data = data.take(entry.unpacked.saturating_add(1));
    let mut contents = Contents { data, crc: Crc::new(), amount: 0 };
    inspect(entry, Some(&mut contents))?;
    drain(&mut contents).map_err(|error| format!("after {} unpacked bytes: {error}", contents.amount))?;
    if contents.amount != entry.unpacked {
        let relation = if contents.amount > entry.unpacked { "more" } else { "fewer" };
        return Err(format!("its data unpacks to {relation} than the {} bytes of the directory", entry.unpacked));
    }
    if contents.crc.sum() != entry.crc {
        return Err("its data has another checksum than the directory".to_owned());
    }
    Ok(())
}

/// Unpacked bytes, counted and summed as they pass.
struct Contents<R> {
    data: R,
    crc: Crc,
    amount: u64,
}

impl<R: Read> Read for Contents<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let count = self.data.read(out)?;
        self.crc.update(&out[..count]);
        self.amount += count as u64;
        Ok(count)
    }
}

/// The 64-bit numbers of an extra field, in their fixed order.
struct Wide<'a>(&'a [u8]);

impl<'a> Wide<'a> {
    const KIND: u16 = 1;

    fn of(mut extra: &'a [u8]) -> Self {
        while let Some((head, rest)) = extra.split_at_checked(4) {
            let Some((data, rest)) = rest.split_at_checked(usize::from(u16_at(head, 2))) else { break };
            if u16_at(head, 0) == Self::KIND {
                return Self(data);
            }
            extra = rest;
        }
        Self(&[])
    }

    /// Returns `narrow`, or the next 64-bit number where `narrow` says that it stands there.
    fn or(&mut self, narrow: u32) -> Result<u64, String> {
        if narrow != u32::MAX {
            return Ok(u64::from(narrow));
        }
        let (number, rest) = self.0.split_at_checked(8).ok_or("it lacks its 64-bit numbers")?;
        self.0 = rest;
        Ok(u64_at(number, 0))
    }
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from(u16_at(bytes, at)) | u32::from(u16_at(bytes, at + 2)) << 16
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from(u32_at(bytes, at)) | u64::from(u32_at(bytes, at + 4)) << 32
}
