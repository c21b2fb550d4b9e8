//! Bytes as they came: one after the other, in several pieces of memory.

use std::{
    collections::VecDeque,
    io::{self, Read, Seek, SeekFrom},
};

use bytes::Bytes;

use crate::objects::sought;

/// A stretch of bytes in the pieces in which it came; to have them in one would be to copy them.
#[derive(Debug, Clone, Default)]
pub struct Frames {
    pieces: VecDeque<Bytes>,
    len: usize,
}

impl Frames {
    /// Returns how many bytes there are.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Returns whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Returns the pieces, in order; none of them is empty.
    pub fn pieces(&self) -> impl Iterator<Item = &Bytes> {
        self.pieces.iter()
    }

    /// Gives all bytes to `take`, and returns how many they were.
    pub fn pour(self, take: &dyn Fn(Bytes)) -> usize {
        self.pieces.into_iter().for_each(take);
        self.len
    }

    /// Takes the first `size` bytes off, or as many as there are.
    pub fn split_to(&mut self, size: usize) -> Self {
        let mut taken = Self::default();
        while taken.len < size
            && let Some(mut piece) = self.pieces.pop_front()
        {
            let wanted = size - taken.len;
            if piece.len() > wanted {
                self.pieces.push_front(piece.split_off(wanted));
            }
            taken.len += piece.len();
            taken.pieces.push_back(piece);
        }
        self.len -= taken.len;
        taken
    }

    /// Returns all bytes in one piece, copied if they are in several.
    pub fn into_bytes(mut self) -> Bytes {
        match self.pieces.len() {
            0 => Bytes::new(),
            1 => self.pieces.pop_front().unwrap_or_default(),
            _ => {
                let mut all = Vec::with_capacity(self.len);
                self.pieces.iter().for_each(|piece| all.extend_from_slice(piece));
                all.into()
            }
        }
    }

    /// Returns a reader of all bytes.
    pub fn into_reader(self) -> impl Read + Seek + Send {
        let mut end = 0;
        let ends = self.pieces.iter().map(|piece| {
            end += piece.len() as u64;
            end
        });
        Reader { ends: ends.collect(), pieces: self.pieces, at: 0 }
    }
}

impl From<Bytes> for Frames {
    fn from(bytes: Bytes) -> Self {
        [bytes].into_iter().collect()
    }
}

impl FromIterator<Bytes> for Frames {
    fn from_iter<I: IntoIterator<Item = Bytes>>(pieces: I) -> Self {
        let pieces: VecDeque<Bytes> = pieces.into_iter().filter(|piece| !piece.is_empty()).collect();
        Self { len: pieces.iter().map(Bytes::len).sum(), pieces }
    }
}

struct Reader {
    pieces: VecDeque<Bytes>,
    /// Where each piece ends.
    ends: Vec<u64>,
    at: u64,
}

impl Read for Reader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let number = self.ends.partition_point(|end| *end <= self.at);
        let (Some(piece), Some(end)) = (self.pieces.get(number), self.ends.get(number)) else { return Ok(0) };
        let left = usize::try_from(end - self.at).unwrap_or(usize::MAX).min(piece.len());
        let n = left.min(buffer.len());
        buffer[..n].copy_from_slice(&piece[piece.len() - left..][..n]);
        self.at += n as u64;
        Ok(n)
    }
}

impl Seek for Reader {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.at = sought(to, self.at, self.ends.last().copied().unwrap_or(0))?;
        Ok(self.at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frames(pieces: &[&'static str]) -> Frames {
        pieces.iter().map(|piece| Bytes::from_static(piece.as_bytes())).collect()
    }

    #[test]
    fn what_is_split_off_and_what_is_left_are_the_whole() {
        let whole = "abcdefgh";
        for at in 0..=10 {
            let mut rest = frames(&["ab", "", "cde", "f", "gh"]);
            let first = rest.split_to(at);
            assert_eq!((first.len(), rest.len()), (at.min(8), 8 - at.min(8)));
            assert_eq!(first.into_bytes(), whole[..at.min(8)]);
            assert_eq!(rest.into_bytes(), whole[at.min(8)..]);
        }
    }

    #[test]
    fn a_reader_reads_what_is_there_from_anywhere() {
        for from in 0..=10 {
            let mut reader = frames(&["ab", "cde", "f", "gh"]).into_reader();
            assert_eq!(reader.seek(SeekFrom::Start(from)).expect("a place"), from);
            let mut read = String::new();
            reader.read_to_string(&mut read).expect("memory is read");
            assert_eq!(read, "abcdefgh"[(from as usize).min(8)..]);
            assert_eq!(reader.seek(SeekFrom::End(-3)).expect("a place"), 5);
            assert!(reader.seek(SeekFrom::Current(-6)).is_err());
        }
        assert!(Frames::default().is_empty());
    }
}
