//! Bytes are taken for what they promise only if all of them are that.

// The checks are private to the crate; here they are tested as a module of their own.
#[path = "../src/formats/mod.rs"]
mod formats;

use flate2::Compression;
use flate2::write::GzEncoder;
use formats::{check, check_within};
use proptest::prelude::*;
use prunella_model::ContentFormat::{self, Any, Gzip, Json, Jsonl, Npy, Npz, Parquet, Safetensors, Zip};
use std::io::{self, Cursor, Read, Seek, SeekFrom, Write as _};

const ALL: [ContentFormat; 9] = [Any, Json, Jsonl, Gzip, Zip, Npz, Npy, Parquet, Safetensors];

/// Files written by NumPy 2.4, Python's zipfile (to a pipe), safetensors 0.8 and PyArrow 26.
const FIXTURES: [(ContentFormat, &[u8]); 8] = [
    (Npy, include_bytes!("fixtures/floats.npy")),
    (Npy, include_bytes!("fixtures/records.npy")),
    (Npy, include_bytes!("fixtures/objects.npy")),
    (Npz, include_bytes!("fixtures/stored.npz")),
    (Npz, include_bytes!("fixtures/deflated.npz")),
    (Zip, include_bytes!("fixtures/streamed.zip")),
    (Safetensors, include_bytes!("fixtures/model.safetensors")),
    (Parquet, include_bytes!("fixtures/table.parquet")),
];

fn of(format: ContentFormat, bytes: &[u8]) -> Result<(), String> {
    check(format, &mut Cursor::new(bytes), bytes.len() as u64)
}

fn accepted(format: ContentFormat, bytes: &[u8]) {
    assert_eq!(of(format, bytes), Ok(()), "{}", String::from_utf8_lossy(bytes));
}

fn refused(format: ContentFormat, bytes: &[u8], because: &str) {
    let problem = of(format, bytes).expect_err("these bytes are broken");
    assert!(problem.contains(because), "`{problem}` does not say `{because}`");
    assert!(problem.len() < 300 && !problem.contains('\n'), "`{problem}` is no short line");
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn samples() -> Vec<(ContentFormat, Vec<u8>)> {
    let mut samples: Vec<_> = FIXTURES.iter().map(|(format, bytes)| (*format, bytes.to_vec())).collect();
    samples.push((Gzip, gzip(b"one line\n")));
    samples.push((Json, br#"{"accuracy": [0.5, -1e3], "name": "\u00e9\"\\", "none": null}"#.to_vec()));
    samples
}

#[test]
fn what_real_libraries_write_is_accepted() {
    for (format, bytes) in samples() {
        accepted(format, &bytes);
    }
    accepted(Zip, FIXTURES[3].1);
    accepted(Any, b"");
    accepted(Any, b"\xff");
}

#[test]
fn every_truncation_is_refused() {
    for (format, bytes) in samples() {
        // A pickle has no length beforehand: an array of objects is refused only without any of it.
        let shortest = if bytes == FIXTURES[2].1 { 129 } else { bytes.len() };
        for length in 0..shortest {
            assert!(of(format, &bytes[..length]).is_err(), "{format:?} of {length} of {} bytes", bytes.len());
        }
    }
}

#[test]
fn bytes_after_the_end_are_refused() {
    for (format, bytes) in samples() {
        if bytes != FIXTURES[2].1 {
            assert!(of(format, &[&bytes[..], b"x"].concat()).is_err(), "{format:?}");
            assert!(of(format, &[&bytes[..], b"\0"].concat()).is_err(), "{format:?}");
        }
    }
}

#[test]
fn a_file_that_became_shorter_than_its_size_is_refused() {
    for (format, bytes) in samples() {
        let size = bytes.len() as u64;
        let problem = check(format, &mut Cursor::new(&bytes[..bytes.len() - 1]), size).unwrap_err();
        assert_eq!(problem, format!("{} bytes long instead of {size}", size - 1));
    }
}

#[test]
fn no_flipped_bit_makes_any_check_panic() {
    for (_, bytes) in samples() {
        let mut bytes = bytes.clone();
        for place in 0..bytes.len() * 8 {
            bytes[place / 8] ^= 1 << (place % 8);
            for format in ALL {
                let _ = of(format, &bytes);
            }
            bytes[place / 8] ^= 1 << (place % 8);
        }
    }
}

#[test]
fn a_failing_disk_is_a_problem_and_names_the_byte() {
    struct Failing;
    impl Read for Failing {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::Error::other("input/output error"))
        }
    }
    impl Seek for Failing {
        fn seek(&mut self, _: SeekFrom) -> io::Result<u64> {
            Ok(1000)
        }
    }
    for format in ALL.into_iter().filter(|format| *format != Any) {
        let problem = check(format, &mut Failing, 1000).unwrap_err();
        assert!(problem.contains("input/output error"), "{format:?}: {problem}");
    }
}

#[test]
fn a_check_begins_at_the_first_byte_wherever_the_reader_stands() {
    let mut reader = Cursor::new(b"{}");
    reader.set_position(2);
    assert_eq!(check(Json, &mut reader, 2), Ok(()));
}

#[test]
fn json_is_exactly_one_value() {
    accepted(Json, b" [1, {\"a\": \"\\ud83d\\ude00\"}] \n");
    accepted(Json, "\"\u{e9}\u{20ac}\u{1f600}\"".as_bytes());
    refused(Json, b"", "line 1 column 0");
    refused(Json, b"{}\n{}", "trailing characters at line 2 column 1");
    refused(Json, b"{\"loss\": NaN}", "line 1 column 10");
    refused(Json, b"[1,]", "line 1 column 4");
    refused(Json, b"\xef\xbb\xbf{}", "expected value at line 1");
    refused(Json, b"[\"a\xffb\"]", "text that is not UTF-8 at byte 3");
    refused(Json, b"[\"\xe2\x82\"]", "text that is not UTF-8 at byte 4");
}

#[test]
fn json_deeper_than_512_levels_is_refused() {
    let nested = |depth| [vec![b'['; depth], vec![b']'; depth]].concat();
    accepted(Json, &nested(512));
    refused(Json, &nested(513), "deeper than 512 levels at byte 512");
    accepted(Jsonl, &[nested(512), nested(0), b"\n".to_vec(), nested(512)].concat());
    refused(Jsonl, &[b"1\n", &nested(513)[..]].concat(), "of line 2");
    // Brackets in a string are text; beside it they count again.
    accepted(Json, &[b"\"\\\"", &[b'['; 600][..], b"\\\\\""].concat());
    refused(Json, &[b"[\"\\\\\",", &[b'['; 600][..]].concat(), "deeper");
}

#[test]
fn jsonl_is_one_value_a_line() {
    accepted(Jsonl, b"");
    accepted(Jsonl, b"{\"a\": 1}\n[2]\n\n 3\r\n \t\r\n\"last\"");
    refused(Jsonl, b"{}\n{} {}\n", "trailing characters at line 2 column 4");
    refused(Jsonl, b"1\n\n  {\"a\":\n1}\n", "at line 3 column 7");
    refused(Jsonl, b"1\n{\"a\": 1", "at line 2 column 7");
    refused(Jsonl, b"1\n\"\xff\"\n", "text that is not UTF-8 at byte 1 of line 2");
}

#[test]
fn text_is_utf8_exactly_where_the_standard_library_says_so() {
    const EDGES: [u8; 16] =
        [b'a', 0x7f, 0x80, 0x8f, 0x90, 0x9f, 0xa0, 0xbf, 0xc1, 0xc2, 0xe0, 0xed, 0xef, 0xf0, 0xf4, 0xf5];
    for number in 0..EDGES.len().pow(4) {
        let text: Vec<u8> = (0..4).map(|place| EDGES[(number >> (4 * place)) % EDGES.len()]).collect();
        let json = [b"\"", &text[..], b"\""].concat();
        assert_eq!(of(Json, &json).is_ok(), std::str::from_utf8(&text).is_ok(), "{text:x?}");
    }
}

#[test]
fn gzip_is_members_with_right_checksums_and_nothing_else() {
    let one = gzip(b"first");
    accepted(Gzip, &one);
    accepted(Gzip, &gzip(b""));
    accepted(Gzip, &[&one[..], &gzip(b"second")].concat());
    refused(Gzip, b"", "no gzip member");
    refused(Gzip, b"plain text, no gzip", "member 1 at byte 0");
    let place = format!("member 2 at byte {}", one.len());
    refused(Gzip, &[&one[..], b"\0\0\0\0"].concat(), &place);
    refused(Gzip, &[&one[..], &one[..9]].concat(), &format!("{place} ends too early"));
    for place in one.len() - 8..one.len() {
        let mut broken = one.clone();
        broken[place] ^= 1;
        refused(Gzip, &broken, "checksum");
    }
}

#[test]
fn a_gzip_bomb_is_counted_and_not_kept() {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    io::copy(&mut io::repeat(0).take(64 << 20), &mut encoder).unwrap();
    accepted(Gzip, &encoder.finish().unwrap());
}

#[test]
fn what_unpacks_to_more_than_anybody_could_check_is_refused_before_it_is_unpacked() {
    let zeros = |len| gzip(&vec![0; len]);
    let within = |bytes: &[u8], most| check_within(Gzip, &mut Cursor::new(bytes), bytes.len() as u64, most);
    assert_eq!(within(&zeros(1000), 1000), Ok(()));
    assert_eq!(within(&[zeros(600), zeros(400)].concat(), 1000), Ok(()));
    for bomb in [zeros(1001), zeros(64 << 20), [zeros(600), zeros(401)].concat()] {
        let problem = within(&bomb, 1000).unwrap_err();
        assert!(problem.contains("more than 1000 bytes") && problem.contains("format: any"), "{problem}");
    }
    // Nearly 4 GiB each, of a few bytes.
    let claims = zip_that_claims(17, u32::MAX - 1);
    assert!(claims.len() < 3000);
    for format in [Zip, Npz] {
        refused(format, &claims, "unpacks to more than 68719476736 bytes");
    }
    refused(Zip, &zip_that_claims(1, u32::MAX - 1), "unpacks to fewer than the 4294967294 bytes");
    refused(Zip, &zip_that_claims(1, 0), "unpacks to more than the 0 bytes");
}

#[test]
fn what_is_packed_within_what_is_packed_is_not_followed() {
    // Tenfold, each layer of it: whoever followed it would unpack for years.
    let mut bytes = gzip(&vec![0; 1 << 20]);
    for _ in 0..20 {
        bytes = gzip(&bytes.repeat(2));
    }
    accepted(Gzip, &bytes);
}

/// A whole archive whose entries hold one packed byte each, and claim to hold so many.
fn zip_that_claims(entries: u16, size: u32) -> Vec<u8> {
    // Deflate: one stored block of one zero byte.
    const DATA: [u8; 6] = [1, 1, 0, 0xfe, 0xff, 0];
    let (mut bytes, mut directory) = (Vec::new(), Vec::new());
    for number in 0..entries {
        let name = format!("{number:04}.npy");
        let begin = (bytes.len() as u32).to_le_bytes();
        let both: Vec<u8> = [
            &[20, 0, 0, 0, 8, 0, 0, 0, 0, 0][..],
            &0xd202_ef8d_u32.to_le_bytes(),
            &(DATA.len() as u32).to_le_bytes(),
            &size.to_le_bytes(),
            &(name.len() as u16).to_le_bytes(),
            &[0, 0],
        ]
        .concat();
        bytes.extend([b"PK\x03\x04", &both[..], name.as_bytes(), &DATA].concat());
        directory.extend([b"PK\x01\x02\x14\0", &both[..], &[0; 10], &begin, name.as_bytes()].concat());
    }
    let at = (bytes.len() as u32).to_le_bytes();
    let [low, high] = entries.to_le_bytes();
    let counts = [0, 0, 0, 0, low, high, low, high];
    let end = [b"PK\x05\x06", &counts[..], &(directory.len() as u32).to_le_bytes(), &at, &[0, 0]].concat();
    [bytes, directory, end].concat()
}

fn npy(version: u8, header: &str, data: usize) -> Vec<u8> {
    let mut bytes = b"\x93NUMPY".to_vec();
    bytes.extend([version, 0]);
    let length = u32::try_from(header.len()).unwrap().to_le_bytes();
    bytes.extend(&length[..if version == 1 { 2 } else { 4 }]);
    bytes.extend(header.as_bytes());
    bytes.resize(bytes.len() + data, 7);
    bytes
}

fn array(descr: &str, shape: &str) -> String {
    format!("{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}   \n")
}

#[test]
fn an_array_takes_the_bytes_that_its_type_and_shape_say() {
    for (descr, shape, data) in [
        ("'<f8'", "()", 8),
        ("'<f8'", "(3,)", 24),
        ("'>i2'", "(2, 3)", 12),
        ("'|b1'", "(5L,)", 5),
        ("'<U3'", "(2,)", 24),
        ("'|S0'", "(2,)", 0),
        ("'<M8[ns]'", "(1, 1,)", 8),
        ("'<c32'", "(1,)", 32),
        ("'<f4'", "(18446744073709551615, 0)", 0),
        ("[]", "(3,)", 0),
        ("[('a', '|u1'), ('', '|V7'), ('b', '<f8', (2, 2))]", "(2,)", 80),
        ("[(('title', 'a\\'b'), [('x', '<f4'), (\"y'\", '<f4')])]", "(3,)", 24),
        ("[('a', '|u1'), ('b', '|O')]", "(3,)", 1),
    ] {
        let header = array(descr, shape);
        for version in 1..=3 {
            accepted(Npy, &npy(version, &header, data));
        }
        if !descr.contains('O') {
            refused(Npy, &npy(1, &header, data + 1), &format!("says {data} bytes of data, the file has {}", data + 1));
        }
    }
    refused(Npy, &npy(1, &array("'|O'", "(3,)"), 0), "no byte follows");
}

#[test]
fn a_header_that_numpy_would_not_write_is_refused_with_its_place() {
    let huge = array("'<f8'", "(18446744073709551615, 18446744073709551615, 18446744073709551615)");
    let deep = array(&format!("{}'<f4'{}", "[('a', ".repeat(40), ")]".repeat(40)), "(1,)");
    for (header, because) in [
        (array("'<f8'", "(3)"), "instead of a tuple at byte"),
        (array("'<f8'", "(-3,)"), "no dimension at byte 61"),
        (array("'<f8'", "(18446744073709551616,)"), "no dimension"),
        (array("'<q8'", "(1,)"), "unknown type `<q8`"),
        (array("'<f'", "(1,)"), "unknown type"),
        (array("'<i8[ns]'", "(1,)"), "unknown type"),
        (array("f8", "(1,)"), "no string at byte 20"),
        (array("'<f8", "()"), "unknown type `<f8, `"),
        (huge, "bytes of data, the file has 8"),
        (deep, "deeper than 32 levels"),
        ("{'descr': '<f8', 'shape': ()}".to_owned(), "lacks `fortran_order`"),
        ("{'fortran_order': True, 'shape': ()}".to_owned(), "lacks `descr`"),
        ("{'descr': '<f8', 'fortran_order': 1, 'shape': ()}".to_owned(), "neither True nor False at byte 44"),
        ("{'descr': '<f8', 'descr': '<f8'}".to_owned(), "`descr` twice"),
        ("{'descr': '<f8', 'order': 1}".to_owned(), "unknown key `order`"),
        ("{'descr': '<f8".to_owned(), "a string without an end at byte 20"),
        ("{'descr': '<f8\\".to_owned(), "a string without an end"),
        (array("'<f8'", "()") + "x", "something after the dictionary"),
        (String::new(), "no `{` at byte 10"),
    ] {
        let problem = of(Npy, &npy(1, &header, 8)).expect_err(&header);
        assert!(problem.contains(because), "{header}: `{problem}` does not say `{because}`");
    }
    refused(Npy, &npy(4, &array("'<f8'", "()"), 8), "unknown npy version 4.0");
    refused(Npy, &npy(2, &" ".repeat((1 << 20) + 1), 0), "larger than 1048576");
    refused(Npy, b"\x93NUMPX\x01\0", "no npy magic");
    refused(Npy, b"\x93NUMPY\x03\0\xff\xff\xff\xff", "ends at byte 4294967307, the file at byte 12");
}

#[test]
fn parquet_has_its_magic_at_both_ends_and_its_footer_between() {
    let file = |start: &[u8], footer: u32, end: &[u8]| [start, b"1234", &footer.to_le_bytes(), end].concat();
    accepted(Parquet, &file(b"PAR1", 4, b"PAR1"));
    accepted(Parquet, &file(b"PARE", 1, b"PARE"));
    refused(Parquet, &file(b"PAR1", 5, b"PAR1"), "footer of 5 bytes does not fit the 4 bytes");
    refused(Parquet, &file(b"PAR1", u32::MAX, b"PAR1"), "does not fit");
    refused(Parquet, &file(b"PAR1", 0, b"PAR1"), "footer of 0 bytes");
    refused(Parquet, &file(b"PAR1", 4, b"PARE"), "does not stand at the end, byte 12");
    refused(Parquet, &file(b"PAR2", 4, b"PAR2"), "no parquet magic at byte 0");
    refused(Parquet, b"PAR1\0\0\0PAR1", "fewer than 12 bytes");
}

fn tensors(header: &str, data: usize) -> Vec<u8> {
    [&(header.len() as u64).to_le_bytes(), header.as_bytes(), &vec![1; data]].concat()
}

#[test]
fn tensors_cover_their_file_exactly() {
    let tensor = |name: &str, dtype: &str, shape: &str, begin: u64, end: u64| {
        format!(r#""{name}":{{"dtype":"{dtype}","shape":{shape},"data_offsets":[{begin},{end}]}}"#)
    };
    let two = |first: (u64, u64), second: (u64, u64)| {
        let first = tensor("a", "U8", &format!("[{}]", first.1 - first.0), first.0, first.1);
        format!("{{{first},{}}}", tensor("b", "I8", &format!("[{}]", second.1 - second.0), second.0, second.1))
    };
    accepted(Safetensors, &tensors("{}", 0));
    accepted(Safetensors, &tensors(&(two((2, 5), (0, 2)) + "   "), 5));
    accepted(Safetensors, &tensors(r#"{"__metadata__":{"format":"pt"}}"#, 0));
    accepted(Safetensors, &tensors(&format!("{{{}}}", tensor("q", "F4", "[3,2]", 0, 3)), 3));
    accepted(Safetensors, &tensors(&format!("{{{}}}", tensor("q", "F64", "[]", 0, 8)), 8));
    refused(Safetensors, &tensors(&two((0, 3), (2, 5)), 5), "overlap at data byte 2");
    refused(Safetensors, &tensors(&two((0, 2), (3, 5)), 5), "leave a hole at data byte 2");
    refused(Safetensors, &tensors(&two((1, 2), (2, 5)), 5), "leave a hole at data byte 0");
    refused(Safetensors, &tensors(&two((0, 2), (2, 5)), 6), "end at data byte 5, the file at data byte 6");
    refused(Safetensors, &tensors(&two((0, 2), (2, 5)), 4), "end at data byte 5, the file at data byte 4");
    for (one, because) in [
        (tensor("w", "F32", "[2]", 0, 4), "tensor `w`: 4 bytes for a shape and dtype of 64 bits"),
        (tensor("w", "F4", "[3]", 0, 1), "of 12 bits"),
        (tensor("w", "X8", "[4]", 0, 4), "unknown dtype `X8`"),
        (tensor("w", "U8", "[4]", 4, 0), "ends at 0 before it begins at 4"),
        (tensor("w", "U8", "[-4]", 0, 4), "line 1 column"),
        (tensor("w", "U64", "[18446744073709551615,18446744073709551615]", 0, 4), "4 bytes for a shape"),
        (r#""w":{"dtype":"U8","shape":[4]}"#.to_owned(), "missing field `data_offsets`"),
        (r#""__metadata__":{"epoch":3}"#.to_owned(), "expected a string"),
        (r#""__metadata__":{},"__metadata__":{}"#.to_owned(), "`__metadata__` stands there twice"),
    ] {
        refused(Safetensors, &tensors(&format!("{{{one}}}"), 4), because);
    }
    let twice = format!("{{{},{}}}", tensor("a", "U8", "[2]", 0, 2), tensor("a", "U8", "[2]", 2, 4));
    refused(Safetensors, &tensors(&twice, 4), "`a` stands there twice");
    refused(Safetensors, &tensors(" {}", 0), "does not begin with `{` at byte 8");
    refused(Safetensors, &tensors("", 0), "does not begin with `{`");
    refused(Safetensors, &tensors("{}x", 0), "trailing characters");
    refused(Safetensors, b"\x03\0\0\0\0\0\0\0{}", "header of 3 bytes does not fit the 2 bytes");
}

#[test]
fn a_tensor_header_over_100_mib_is_not_read() {
    /// A length of 100 MiB and one byte, then nothing that may be read.
    struct Claim(Cursor<[u8; 8]>);
    impl Read for Claim {
        fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
            assert!(self.0.position() < 8, "the header is read");
            self.0.read(out)
        }
    }
    impl Seek for Claim {
        fn seek(&mut self, place: SeekFrom) -> io::Result<u64> {
            if place == SeekFrom::End(0) { Ok(1 << 40) } else { self.0.seek(place) }
        }
    }
    let length: u64 = (100 << 20) + 1;
    let problem = check(Safetensors, &mut Claim(Cursor::new(length.to_le_bytes())), 1 << 40).unwrap_err();
    assert!(problem.contains("larger than 104857600"), "{problem}");
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400), start in 0..7usize) {
        const STARTS: [&[u8]; 7] = [
            b"", b"\x93NUMPY\x01\0\x40\0{'descr':", b"PK\x03\x04", b"\x1f\x8b\x08\0", b"PAR1", b"\x40\0\0\0\0\0\0\0{\"", b"[\"",
        ];
        let bytes = [STARTS[start], &bytes].concat();
        for format in ALL {
            let _ = of(format, &bytes);
        }
    }

    #[test]
    fn spliced_files_never_panic(sample in 0..FIXTURES.len(), edits in proptest::collection::vec((any::<usize>(), any::<u8>()), 1..9)) {
        let mut bytes = FIXTURES[sample].1.to_vec();
        for (place, byte) in edits {
            let place = place % bytes.len();
            bytes[place] = byte;
        }
        for format in ALL {
            let _ = of(format, &bytes);
        }
    }

    #[test]
    fn json_is_accepted_exactly_when_a_parser_accepts_it(text in r#"[\[\]{}:,"\\0-9eE.+\-tfn ru\n]{0,12}|\[[0-9eE.,+\- ]{0,9}\]|\{"[a\\"u0]{0,4}": ?[0-9tn\[\]]{0,3}\}"#) {
        let parsed = serde_json::from_str::<serde::de::IgnoredAny>(&text);
        prop_assert_eq!(of(Json, text.as_bytes()).is_ok(), parsed.is_ok(), "{}", text);
        let lines = text.lines().all(|line| {
            line.trim_matches([' ', '\t', '\r']).is_empty() || serde_json::from_str::<serde::de::IgnoredAny>(line).is_ok()
        });
        prop_assert_eq!(of(Jsonl, text.as_bytes()).is_ok(), lines, "{}", text);
    }

    #[test]
    fn gzip_of_anything_is_accepted_and_its_halves_are_not(bytes in proptest::collection::vec(any::<u8>(), 0..2000), cut in any::<prop::sample::Index>()) {
        let packed = gzip(&bytes);
        prop_assert_eq!(of(Gzip, &packed), Ok(()));
        prop_assert!(of(Gzip, &packed[..cut.index(packed.len())]).is_err());
    }
}

#[test]
fn the_directory_of_a_whole_archive_is_whole_and_that_of_no_prefix() {
    for (format, bytes) in FIXTURES.iter().filter(|(format, _)| matches!(format, Zip | Npz)) {
        let whole = |bytes: &[u8]| formats::zip_directory(&mut Cursor::new(bytes), bytes.len() as u64).is_ok();
        assert!(whole(bytes), "{format:?}");
        (0..bytes.len()).for_each(|end| assert!(!whole(&bytes[..end]), "{format:?}, {end} bytes"));
    }
}
