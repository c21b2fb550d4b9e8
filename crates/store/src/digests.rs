//! Digests of files that have not changed since they were computed: a cache, as good lost as kept.
//!
//! One file for each directory (or file) that was measured, its entries sorted by path, so that it is merged with a walk:
//! `prunella-digests-1\n`; for each file the length of its path, the path, what it was, and its digest; at the end BLAKE3
//! of all before. One that is torn or of another version is passed over.

use std::{cmp::Ordering, io::Write, path::Path};

use prunella_model::Digest;
use prunella_sys::{Sys, random_hex};

use crate::walk::Stat;

const HEAD: &[u8] = b"prunella-digests-1\n";

/// A file changed so recently may change again without showing: its time stamps are no finer than this.
const TOO_FRESH_NS: i64 = 2_000_000_000;

/// What files were when their digests were computed, sorted by path.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Digests(Vec<(String, Stat, Digest)>);

impl Digests {
    /// Reads what was remembered; nothing if that cannot be read.
    pub(crate) fn read(sys: &Sys, file: &Path) -> Self {
        sys.fs.read(file).ok().and_then(|bytes| Self::parse(&bytes)).unwrap_or_default()
    }

    /// Returns the digests of those files that have not changed, by their place in `files`, which is sorted by path.
    pub(crate) fn of<'a>(&self, files: impl Iterator<Item = (&'a str, &'a Stat)>) -> Vec<Option<Digest>> {
        let mut known = self.0.iter().peekable();
        files
            .map(|(path, stat)| {
                while known.next_if(|(before, ..)| before.as_bytes().cmp(path.as_bytes()) == Ordering::Less).is_some() {
                }
                let (_, _, digest) = known.next_if(|(same, ..)| same == path).filter(|(_, then, _)| then == stat)?;
                Some(*digest)
            })
            .collect()
    }

    /// Returns what may be remembered of files that were looked at from `began_ns` on (wall time, as time stamps are).
    ///
    /// A file whose time stamps are so new that another change could bear the same ones is left out (as Git's index does
    /// with what is "racily clean").
    pub(crate) fn worth<'a>(files: impl Iterator<Item = (&'a str, &'a Stat, Digest)>, began_ns: i64) -> Self {
        let old = |stat: &Stat| began_ns.saturating_sub(stat.mtime_ns.max(stat.ctime_ns)) > TOO_FRESH_NS;
        Self(
            files
                .filter(|(_, stat, _)| old(stat))
                .map(|(path, stat, digest)| (path.to_owned(), *stat, digest))
                .collect(),
        )
    }

    /// Remembers them, replacing what was remembered; only a cache, so what fails is passed over.
    pub(crate) fn write(&self, sys: &Sys, file: &Path) {
        let part = file.with_extension(format!("{}.part", random_hex(&*sys.random, 6)));
        let written = file.parent().map_or(Ok(Vec::new()), |dir| sys.fs.create_dir_all(dir));
        let written = written.and_then(|_| sys.fs.create_new(&part)?.write_all(&self.bytes()));
        if written.and_then(|()| sys.fs.rename(&part, file)).is_err() {
            let _not_there = sys.fs.remove_file(&part);
        }
    }

    fn bytes(&self) -> Vec<u8> {
        let mut bytes = HEAD.to_vec();
        for (path, stat, digest) in &self.0 {
            bytes.extend(u32::try_from(path.len()).expect("a path is shorter than 4 GiB").to_le_bytes());
            bytes.extend(path.as_bytes());
            for number in [stat.size, stat.mtime_ns as u64, stat.ctime_ns as u64, stat.inode, stat.device] {
                bytes.extend(number.to_le_bytes());
            }
            bytes.push(u8::from(stat.executable));
            bytes.extend(digest.as_bytes());
        }
        let sum = Digest::of(&bytes);
        bytes.extend(sum.as_bytes());
        bytes
    }

    fn parse(bytes: &[u8]) -> Option<Self> {
        let (body, sum) = bytes.split_last_chunk::<32>()?;
        if Digest::of(body).as_bytes() != sum {
            return None;
        }
        let (mut left, mut known) = (body.strip_prefix(HEAD)?, Vec::new());
        while !left.is_empty() {
            let (len, rest) = left.split_first_chunk::<4>()?;
            let (path, rest) = rest.split_at_checked(u32::from_le_bytes(*len) as usize)?;
            let (numbers, rest) = rest.split_first_chunk::<40>()?;
            let (executable, rest) = rest.split_first()?;
            let (digest, rest) = rest.split_first_chunk::<32>()?;
            let number = |at: usize| {
                let mut raw = [0; 8];
                raw.copy_from_slice(&numbers[at * 8..at * 8 + 8]);
                u64::from_le_bytes(raw)
            };
            let stat = Stat {
                size: number(0),
                mtime_ns: number(1) as i64,
                ctime_ns: number(2) as i64,
                inode: number(3),
                device: number(4),
                executable: *executable != 0,
            };
            known.push((str::from_utf8(path).ok()?.to_owned(), stat, Digest::from_bytes(*digest)));
            left = rest;
        }
        Some(Self(known))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stat(size: u64, changed_ns: i64) -> Stat {
        Stat { size, mtime_ns: 5, ctime_ns: changed_ns, inode: 7, device: 8, executable: size % 2 == 1 }
    }

    fn known() -> Digests {
        let files = ["a", "d/b", "d/c\n", "é"];
        let files = files.iter().zip(1_u64..).map(|(path, n)| (*path, stat(n, 0), Digest::of(path.as_bytes())));
        Digests(files.map(|(path, stat, digest)| (path.to_owned(), stat, digest)).collect())
    }

    #[test]
    fn what_is_written_is_read_back_and_what_is_torn_is_nothing() {
        let bytes = known().bytes();
        assert_eq!(Digests::parse(&bytes), Some(known()));
        for end in 0..bytes.len() {
            assert_eq!(Digests::parse(&bytes[..end]), None);
            let mut torn = bytes.clone();
            torn[end] ^= 1;
            assert_eq!(Digests::parse(&torn), None);
        }
    }

    #[test]
    fn a_file_that_differs_in_anything_is_read_again() {
        let (known, same) = (known(), [("a", stat(1, 0)), ("d/b", stat(2, 0)), ("é", stat(4, 0))]);
        let of = |files: &[(&str, Stat)]| known.of(files.iter().map(|(path, stat)| (*path, stat)));
        assert_eq!(of(&same), ["a", "d/b", "é"].map(|path| Some(Digest::of(path.as_bytes()))));
        let changes: [fn(&mut Stat); 5] =
            [|s| s.size += 1, |s| s.mtime_ns += 1, |s| s.ctime_ns += 1, |s| s.inode += 1, |s| s.device += 1];
        for change in changes {
            let mut files = same;
            change(&mut files[1].1);
            assert_eq!(of(&files).iter().map(Option::is_some).collect::<Vec<_>>(), [true, false, true]);
        }
        assert_eq!(of(&[("b", stat(1, 0)), ("d/a", stat(2, 0)), ("z", stat(3, 0))]), [None; 3]);
    }

    #[test]
    fn what_changed_just_now_is_not_remembered() {
        let (began, nothing) = (10 * TOO_FRESH_NS, Digest::of(b""));
        let worth = |changed| Digests::worth([("a", &stat(1, changed), nothing)].into_iter(), began).0.len();
        assert_eq!((worth(began), worth(began - TOO_FRESH_NS), worth(began + 1)), (0, 0, 0));
        assert_eq!(worth(began - TOO_FRESH_NS - 1), 1);
    }
}
