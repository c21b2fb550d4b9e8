//! Digests of files that have not changed since they were computed: a cache, as good lost as kept.
//!
//! One file for each directory (or file) that was measured, its entries sorted by path, so that it is merged with a walk:
//! `prunella-digests-1\n`; for each file the length of its path, the path, what it was, and its digest; at the end BLAKE3
//! of all before. One that is torn or of another version is passed over.

use std::{
    io::{self, BufWriter, Write},
    path::Path,
};

use prunella_model::{Digest, Hasher};
use prunella_sys::{Sys, random_hex};

use crate::walk::Stat;

const HEAD: &[u8] = b"prunella-digests-1\n";

/// A file changed so recently may change again without showing: its time stamps are no finer than this.
const TOO_FRESH_NS: i64 = 2_000_000_000;

/// So many bytes are hashed at once.
const PIECE: usize = 64 << 10;

/// What files were when their digests were computed, sorted by path; as it is written, since there may be a million.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Digests(Vec<u8>);

/// What was remembered of one file.
struct Remembered<'a> {
    path: &'a [u8],
    then: Stat,
    digest: Digest,
}

impl Digests {
    /// Reads what was remembered; nothing if that cannot be read.
    pub(crate) fn read(sys: &Sys, file: &Path) -> Self {
        sys.fs.read(file).ok().and_then(Self::of_file).unwrap_or_default()
    }

    fn of_file(mut bytes: Vec<u8>) -> Option<Self> {
        let (body, sum) = bytes.split_last_chunk::<32>()?;
        let whole = Digest::of(body).as_bytes() == sum && body.starts_with(HEAD);
        bytes.truncate(body.len());
        whole.then_some(Self(bytes))
    }

    fn files(&self) -> impl Iterator<Item = Remembered<'_>> {
        let mut left = self.0.get(HEAD.len()..).unwrap_or_default();
        std::iter::from_fn(move || {
            let file;
            (file, left) = Remembered::split(left)?;
            Some(file)
        })
    }

    /// Returns the digests of those files that have not changed, by their place in `files`, which is sorted by path.
    pub(crate) fn of<'a>(&self, files: impl Iterator<Item = (&'a str, &'a Stat)>) -> Vec<Option<Digest>> {
        let mut known = self.files().peekable();
        files
            .map(|(path, stat)| {
                while known.next_if(|before| before.path < path.as_bytes()).is_some() {}
                let same = known.next_if(|same| same.path == path.as_bytes());
                same.filter(|same| same.then == *stat).map(|same| same.digest)
            })
            .collect()
    }

    /// Remembers files that were looked at from `began_ns` on (wall time, as time stamps are), replacing what was
    /// remembered; only a cache, so what fails is passed over.
    ///
    /// A file whose time stamps are so new that another change could bear the same ones is left out (as Git's index does
    /// with what is "racily clean").
    pub(crate) fn remember<'a>(
        sys: &Sys,
        file: &Path,
        files: impl Iterator<Item = (&'a str, &'a Stat, Digest)>,
        began_ns: i64,
    ) {
        let part = file.with_extension(format!("{}.part", random_hex(&*sys.random, 6)));
        let written = file.parent().map_or(Ok(Vec::new()), |dir| sys.fs.create_dir_all(dir));
        let written = written.and_then(|_| write_all(sys.fs.create_new(&part)?, files, began_ns));
        if written.and_then(|()| sys.fs.rename(&part, file)).is_err() {
            let _not_there = sys.fs.remove_file(&part);
        }
    }
}

fn write_all<'a>(
    out: impl Write,
    files: impl Iterator<Item = (&'a str, &'a Stat, Digest)>,
    began_ns: i64,
) -> io::Result<()> {
    let old = |stat: &Stat| began_ns.saturating_sub(stat.mtime_ns.max(stat.ctime_ns)) > TOO_FRESH_NS;
    let (mut out, mut sum, mut bytes) = (BufWriter::new(out), Hasher::new(), HEAD.to_vec());
    let mut put = |bytes: &mut Vec<u8>, out: &mut BufWriter<_>| {
        sum.update(bytes);
        let put = out.write_all(bytes);
        bytes.clear();
        put
    };
    for (path, stat, digest) in files.filter(|(_, stat, _)| old(stat)) {
        bytes.extend(u32::try_from(path.len()).expect("a path is shorter than 4 GiB").to_le_bytes());
        bytes.extend(path.as_bytes());
        for number in [stat.size, stat.mtime_ns as u64, stat.ctime_ns as u64, stat.inode, stat.device] {
            bytes.extend(number.to_le_bytes());
        }
        bytes.push(u8::from(stat.executable));
        bytes.extend(digest.as_bytes());
        if bytes.len() >= PIECE {
            put(&mut bytes, &mut out)?;
        }
    }
    put(&mut bytes, &mut out)?;
    out.write_all(sum.finish().as_bytes())?;
    out.flush()
}

impl<'a> Remembered<'a> {
    /// Takes the first file of these bytes, and returns what is left; nothing if they hold none.
    fn split(bytes: &'a [u8]) -> Option<(Self, &'a [u8])> {
        let (len, rest) = bytes.split_first_chunk::<4>()?;
        let (path, rest) = rest.split_at_checked(u32::from_le_bytes(*len) as usize)?;
        let (numbers, rest) = rest.split_first_chunk::<40>()?;
        let (executable, rest) = rest.split_first()?;
        let (digest, left) = rest.split_first_chunk::<32>()?;
        let number = |at: usize| {
            let mut raw = [0; 8];
            raw.copy_from_slice(&numbers[at * 8..at * 8 + 8]);
            u64::from_le_bytes(raw)
        };
        let then = Stat {
            size: number(0),
            mtime_ns: number(1) as i64,
            ctime_ns: number(2) as i64,
            inode: number(3),
            device: number(4),
            executable: *executable != 0,
        };
        Some((Self { path, then, digest: Digest::from_bytes(*digest) }, left))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stat(size: u64, changed_ns: i64) -> Stat {
        Stat { size, mtime_ns: 5, ctime_ns: changed_ns, inode: 7, device: 8, executable: size % 2 == 1 }
    }

    fn bytes(files: &[(&str, Stat)], began_ns: i64) -> Vec<u8> {
        let mut bytes = Vec::new();
        let files = files.iter().map(|(path, stat)| (*path, stat, Digest::of(path.as_bytes())));
        write_all(&mut bytes, files, began_ns).unwrap();
        bytes
    }

    const PATHS: [&str; 4] = ["a", "d/b", "d/c\n", "é"];

    fn known_bytes() -> Vec<u8> {
        let files: Vec<_> = PATHS.into_iter().zip(1..).map(|(path, n)| (path, stat(n, 0))).collect();
        bytes(&files, 10 * TOO_FRESH_NS)
    }

    fn known() -> Digests {
        Digests::of_file(known_bytes()).expect("it is whole")
    }

    #[test]
    fn what_is_written_is_read_back_and_what_is_torn_is_nothing() {
        let read: Vec<_> = known().files().map(|file| (file.path.to_vec(), file.then, file.digest)).collect();
        let written = |(path, n): (&str, u64)| (path.as_bytes().to_vec(), stat(n, 0), Digest::of(path.as_bytes()));
        assert_eq!(read, PATHS.into_iter().zip(1..).map(written).collect::<Vec<_>>());
        for end in 0..known_bytes().len() {
            assert_eq!(Digests::of_file(known_bytes()[..end].to_vec()), None);
            let mut torn = known_bytes();
            torn[end] ^= 1;
            assert_eq!(Digests::of_file(torn), None);
        }
    }

    #[test]
    fn more_files_than_are_hashed_at_once_are_read_back() {
        let names: Vec<String> = (0..3000).map(|n| format!("{n:05}")).collect();
        let files: Vec<_> = names.iter().map(|name| (name.as_str(), stat(7, 0))).collect();
        let written = bytes(&files, 10 * TOO_FRESH_NS);
        assert!(written.len() > 3 * PIECE);
        let known = Digests::of_file(written).expect("it is whole");
        let found = known.of(files.iter().map(|(path, stat)| (*path, stat)));
        assert!(found.iter().zip(&names).all(|(found, name)| *found == Some(Digest::of(name.as_bytes()))));
        assert_eq!(found.len(), names.len());
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
        let began = 10 * TOO_FRESH_NS;
        let worth = |changed| Digests::of_file(bytes(&[("a", stat(1, changed))], began)).unwrap().files().count();
        assert_eq!((worth(began), worth(began - TOO_FRESH_NS), worth(began + 1)), (0, 0, 0));
        assert_eq!(worth(began - TOO_FRESH_NS - 1), 1);
    }
}
