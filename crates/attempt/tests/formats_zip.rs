//! An archive is taken only if its directory and its entries agree byte for byte.

// The checks are private to the crate; here they are tested as a module of their own.
#[path = "../src/formats/mod.rs"]
mod formats;

use flate2::{Compression, Crc, write::DeflateEncoder};
use formats::check;
use prunella_model::ContentFormat::{self, Npz, Zip};
use std::io::{Cursor, Write as _};

const STREAMED: &[u8] = include_bytes!("fixtures/streamed.zip");
const FLOATS: &[u8] = include_bytes!("fixtures/floats.npy");

/// One entry; a test bends what it wants to see refused.
#[derive(Clone)]
struct Part {
    name: Vec<u8>,
    local_name: Vec<u8>,
    method: u16,
    flags: u16,
    packed: Vec<u8>,
    unpacked: u32,
    crc: u32,
    local_crc: u32,
    offset: Option<u32>,
    wide: bool,
}

fn part(name: &str, content: &[u8], method: u16) -> Part {
    let mut crc = Crc::new();
    crc.update(content);
    let packed = if method == 8 {
        let mut encoder = DeflateEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(content).unwrap();
        encoder.finish().unwrap()
    } else {
        content.to_vec()
    };
    Part {
        name: name.into(),
        local_name: name.into(),
        method,
        flags: 0,
        packed,
        unpacked: u32::try_from(content.len()).unwrap(),
        crc: crc.sum(),
        local_crc: crc.sum(),
        offset: None,
        wide: false,
    }
}

/// The numbers as they stand in a header, and the extra field with those too wide for it.
fn numbers(part: &Part, offset: Option<u32>) -> (u32, u32, u32, Vec<u8>) {
    let packed = u32::try_from(part.packed.len()).unwrap();
    if !part.wide {
        return (packed, part.unpacked, offset.unwrap_or(0), Vec::new());
    }
    let wide: Vec<u8> = [Some(part.unpacked), Some(packed), offset]
        .into_iter()
        .flatten()
        .flat_map(|number| u64::from(number).to_le_bytes())
        .collect();
    // Another field before it, as archivers write.
    let mut extra = vec![0x55, 0x54, 1, 0, 9, 1, 0];
    extra.extend(u16::try_from(wide.len()).unwrap().to_le_bytes());
    extra.extend(wide);
    (u32::MAX, u32::MAX, u32::MAX, extra)
}

/// Returns the entries, their directory, and where it begins.
fn body(parts: &[Part]) -> (Vec<u8>, Vec<u8>) {
    let (mut file, mut directory) = (Vec::new(), Vec::new());
    for part in parts {
        let offset = part.offset.unwrap_or(u32::try_from(file.len()).unwrap());
        let (packed, unpacked, _, extra) = numbers(part, None);
        file.extend(b"PK\x03\x04\x2d\0");
        file.extend([part.flags, part.method, 0, 0x21].iter().flat_map(|number| number.to_le_bytes()));
        file.extend([part.local_crc, packed, unpacked].iter().flat_map(|number| number.to_le_bytes()));
        file.extend([part.local_name.len(), extra.len()].iter().flat_map(|size| (*size as u16).to_le_bytes()));
        file.extend([&part.local_name[..], &extra, &part.packed].concat());
        let (packed, unpacked, offset, extra) = numbers(part, Some(offset));
        directory.extend(b"PK\x01\x02\x2d\0\x2d\0");
        directory.extend([part.flags, part.method, 0, 0x21].iter().flat_map(|number| number.to_le_bytes()));
        directory.extend([part.crc, packed, unpacked].iter().flat_map(|number| number.to_le_bytes()));
        directory.extend([part.name.len(), extra.len()].iter().flat_map(|size| (*size as u16).to_le_bytes()));
        directory.extend([0; 10]);
        directory.extend(offset.to_le_bytes());
        directory.extend([&part.name[..], &extra].concat());
    }
    (file, directory)
}

fn end(entries: u16, size: u32, offset: u32, comment: &[u8]) -> Vec<u8> {
    let mut end = b"PK\x05\x06\0\0\0\0".to_vec();
    end.extend([entries, entries].iter().flat_map(|number| number.to_le_bytes()));
    end.extend([size, offset].iter().flat_map(|number| number.to_le_bytes()));
    end.extend((comment.len() as u16).to_le_bytes());
    end.extend(comment);
    end
}

fn archive(parts: &[Part]) -> Vec<u8> {
    let (file, directory) = body(parts);
    let end = end(parts.len() as u16, directory.len() as u32, file.len() as u32, b"a comment");
    [file, directory, end].concat()
}

/// An archive whose end record is the 64-bit one, extended by `more`, after `before` foreign bytes.
fn archive64(parts: &[Part], before: &[u8], more: &[u8]) -> Vec<u8> {
    let (file, directory) = body(parts);
    let mut record = b"PK\x06\x06".to_vec();
    record.extend((44 + more.len() as u64).to_le_bytes());
    record.extend([0x2d, 0, 0x2d, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    let (entries, size, offset) = (parts.len() as u64, directory.len() as u64, file.len() as u64);
    record.extend([entries, entries, size, offset].iter().flat_map(|number| number.to_le_bytes()));
    record.extend(more);
    let mut locator = b"PK\x06\x07\0\0\0\0".to_vec();
    locator.extend((offset + size).to_le_bytes());
    locator.extend(1u32.to_le_bytes());
    [before, &file, &directory, &record, &locator, &end(u16::MAX, u32::MAX, u32::MAX, b"")].concat()
}

fn of(format: ContentFormat, bytes: &[u8]) -> Result<(), String> {
    check(format, &mut Cursor::new(bytes), bytes.len() as u64)
}

fn refused(format: ContentFormat, bytes: &[u8], because: &str) {
    let problem = of(format, bytes).expect_err("this archive is broken");
    assert!(problem.contains(because), "`{problem}` does not say `{because}`");
}

fn bent(change: impl FnOnce(&mut Part)) -> Vec<u8> {
    let mut second = part("b", b"second content", 0);
    change(&mut second);
    archive(&[part("a", b"first", 8), second, part("c", b"third", 0)])
}

#[test]
fn archives_of_every_shape_are_accepted() {
    let parts = [part("dir/", b"", 0), part("dir/a", &[b'a'; 3000], 8), part("b", b"", 8), part("c", b"c", 0)];
    let wide = parts.clone().map(|part| Part { wide: true, ..part });
    for bytes in [
        archive(&[]),
        archive(&parts),
        archive(&wide),
        archive64(&parts, b"", b""),
        archive64(&parts, b"", b"vendor"),
        archive64(&wide, b"#!/bin/sh\n", b""),
        [b"#!/bin/sh\n".to_vec(), archive(&parts)].concat(),
        bent(|part| (part.method, part.crc, part.local_crc) = (14, 1, 1)),
        bent(|part| (part.flags, part.crc, part.local_crc) = (1, 1, 1)),
        bent(|part| (part.flags, part.local_crc) = (8, 0)),
    ] {
        assert_eq!(of(Zip, &bytes), Ok(()));
    }
}

#[test]
fn every_truncation_of_a_64_bit_archive_is_refused() {
    let bytes = archive64(&[part("a", b"content", 0)].map(|part| Part { wide: true, ..part }), b"", b"");
    for length in 0..bytes.len() {
        assert!(of(Zip, &bytes[..length]).is_err(), "{length} of {} bytes", bytes.len());
    }
    for place in 0..bytes.len() * 8 {
        let mut bytes = bytes.clone();
        bytes[place / 8] ^= 1 << (place % 8);
        let _ = of(Zip, &bytes);
    }
}

#[test]
fn an_entry_that_differs_from_its_directory_is_refused_by_name() {
    refused(Zip, &bent(|part| part.local_name = b"x".to_vec()), "entry `b`: its local header at byte 38 is named `x`");
    refused(Zip, &bent(|part| part.local_crc ^= 1), "`b`: its local header at byte 38 has another size or checksum");
    refused(Zip, &bent(|part| part.offset = Some(3)), "`b`: no local header at byte 3");
    refused(Zip, &bent(|part| part.offset = Some(u32::MAX - 1)), "`b`: it does not fit before the directory");
    let mut encrypted = bent(|_| ());
    encrypted[38 + 6] = 1;
    refused(Zip, &encrypted, "`b`: its local header at byte 38 has another method");
    let mut reaching = part("a", b"content", 0);
    reaching.packed.pop();
    reaching.unpacked -= 1;
    let mut reaching = archive(&[reaching]);
    for size in [18, 37 + 20] {
        reaching[size] += 1;
    }
    refused(Zip, &reaching, "`a`: it does not fit before the directory at byte 37");
    refused(Zip, &bent(|part| part.packed.extend(b"PK")), "`b`: its data unpacks to more than the 14 bytes");
    refused(Zip, &bent(|part| part.unpacked += 1), "`b`: its data unpacks to fewer than the 15 bytes");
    refused(Zip, &bent(|part| part.packed[3] ^= 1), "`b`: its data has another checksum");
    refused(Zip, &bent(|part| (part.crc, part.local_crc) = (1, 1)), "`b`: its data has another checksum");
    let packed = part("b", b"second content", 8);
    refused(
        Zip,
        &bent(|part| *part = Part { packed: [&packed.packed[..], b"x"].concat(), ..packed.clone() }),
        "ends after",
    );
    refused(
        Zip,
        &bent(|part| *part = Part { packed: vec![0xff; 20], ..packed.clone() }),
        "`b`: after 0 unpacked bytes",
    );
}

#[test]
fn a_name_cannot_write_into_the_message() {
    let hostile = "\u{1b}[2J\n".repeat(1000);
    let mut one = part(&hostile, b"x", 0);
    one.packed[0] ^= 1;
    let problem = of(Zip, &archive(&[one])).unwrap_err();
    assert!(problem.len() < 400 && !problem.contains(['\n', '\u{1b}']), "{problem}");
}

#[test]
fn overlapping_entries_are_refused_before_they_are_unpacked() {
    let mut again = part("a", b"first", 0);
    again.offset = Some(0);
    refused(Zip, &archive(&[part("a", b"first", 0), again]), "overlap at byte 0");
    // An entry whose data holds another entry: the way to make few bytes unpack to many.
    let (inner, _) = body(&[part("b", b"inner", 0)]);
    let outer = part("a", &inner, 0);
    let mut nested = part("b", b"inner", 0);
    nested.offset = Some(31);
    refused(Zip, &archive(&[outer, nested]), "overlap at byte 31");
}

#[test]
fn a_directory_that_does_not_fit_is_refused() {
    let (file, directory) = body(&[part("a", b"first", 0)]);
    let with = |entries, size, offset| {
        let end = end(entries, size, offset, b"");
        of(Zip, &[&file[..], &directory, &end].concat()).unwrap_err()
    };
    let (size, offset) = (directory.len() as u32, file.len() as u32);
    assert!(with(0, size, offset).contains("more than its 0 entries"));
    assert!(with(2, size, offset).contains("too small for 2 entries"));
    assert!(with(1, size, offset + 1).contains("does not fit before"));
    assert!(with(1, 1 << 30, 0).contains("larger than 104857600"));
    assert!(with(1, size - 1, offset).contains("entry 1 of 1: no signature at byte"));
    assert!(with(1, size + 1, offset - 1).contains("entry 1 of 1: no signature"));
    refused(Zip, b"", "no end record");
    refused(Zip, &[&file[..], &directory].concat(), "no end record");
    refused(Zip, &[&archive(&[])[..], &[0; 70_000]].concat(), "no end record");
    let mut record = archive64(&[], b"", b"");
    record[4] += 1;
    refused(Zip, &record, "zip64 end record at byte 0 does not end at its locator");
    record[0] = 0;
    refused(Zip, &record, "no zip64 end record at byte 0");
    let mut parts = archive(&[]);
    parts[4] = 1;
    refused(Zip, &parts, "several parts");
}

#[test]
fn an_npz_is_a_zip_of_arrays() {
    assert_eq!(of(Npz, &archive(&[part("x.npy", FLOATS, 0), part("dir/y.npy", FLOATS, 8)])), Ok(()));
    assert_eq!(of(Npz, &archive(&[])), Ok(()));
    let with = |second: Part| archive(&[part("x.npy", FLOATS, 8), second]);
    refused(Npz, &with(part("readme", FLOATS, 0)), "entry `readme`: not an array: its name does not end with .npy");
    refused(Npz, &with(part("y.npy", b"not an array", 0)), "entry `y.npy`: no npy magic at byte 0");
    refused(Npz, &with(part("y.npy", b"", 0)), "entry `y.npy`: npy header ends too early");
    refused(
        Npz,
        &with(part("y.npy", &FLOATS[..FLOATS.len() - 1], 8)),
        "entry `y.npy`: npy header says 24 bytes of data",
    );
    refused(Npz, &with(part("y.npy", FLOATS, 14)), "entry `y.npy`: encrypted, or packed by");
    let mut flipped = part("y.npy", FLOATS, 0);
    *flipped.packed.last_mut().unwrap() ^= 1;
    refused(Npz, &with(flipped), "entry `y.npy`: its data has another checksum");
}

#[test]
fn a_directory_that_names_what_lies_behind_it_is_refused() {
    let whole = |bytes: &[u8]| formats::zip_directory(&mut Cursor::new(bytes), bytes.len() as u64);
    assert_eq!(whole(STREAMED), Ok(()));
    let mut bent = STREAMED.to_vec();
    let central = bent.windows(4).position(|four| four == b"PK\x01\x02").unwrap();
    bent[central + 42..central + 46].copy_from_slice(&0x00ff_ffffu32.to_le_bytes());
    assert!(whole(&bent).unwrap_err().contains("outside"));
}
