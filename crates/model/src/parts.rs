//! The digest of something long, computed in parts by several processors.
//!
//! BLAKE3 is a tree over pieces of 1 KiB, so parts of a power of two can be hashed apart from each other and joined.

use blake3::hazmat::{ChainingValue, HasherExt, Mode, merge_subtrees_non_root, merge_subtrees_root};

use crate::Digest;

/// The length of every part but the last.
pub const PART_BYTES: u64 = 4 << 20;

/// A part that was hashed.
#[derive(Debug, Clone, Copy)]
pub struct PartDigest(ChainingValue);

/// Computes the digest of one part from pieces as they arrive.
pub struct PartHasher(blake3::Hasher);

impl PartHasher {
    /// Returns a hasher of the part with this number; the first is 0.
    pub fn new(number: u64) -> Self {
        let mut hasher = blake3::Hasher::new();
        hasher.set_input_offset(number * PART_BYTES);
        Self(hasher)
    }

    /// Adds the next piece; a part has at most [`PART_BYTES`].
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// Returns the part's digest; it has at least one byte.
    pub fn finish(&self) -> PartDigest {
        PartDigest(self.0.finalize_non_root())
    }
}

/// Returns how many parts something of `size` bytes has, if it is long enough to have parts: two or more.
pub fn parts_of(size: u64) -> Option<u64> {
    let parts = size.div_ceil(PART_BYTES);
    (parts > 1).then_some(parts)
}

/// Returns the digest of the whole, which has these parts in order; nothing for fewer than two.
pub fn join(parts: &[PartDigest]) -> Option<Digest> {
    if parts.len() < 2 {
        return None;
    }
    let (left, right) = parts.split_at(left_of(parts.len()));
    let hash = merge_subtrees_root(&merged(left), &merged(right), Mode::Hash);
    Some(Digest::from_bytes(*hash.as_bytes()))
}

fn merged(parts: &[PartDigest]) -> ChainingValue {
    match parts {
        [only] => only.0,
        parts => {
            let (left, right) = parts.split_at(left_of(parts.len()));
            merge_subtrees_non_root(&merged(left), &merged(right), Mode::Hash)
        }
    }
}

/// The left side of a node holds the largest power of two that leaves something for the right.
fn left_of(parts: usize) -> usize {
    parts.next_power_of_two() / 2
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_joined_are_the_digest_of_the_whole() {
        let part = PART_BYTES as usize;
        let bytes: Vec<u8> = (0..7 * part + 5000).map(|n| ((n * 31) >> 7) as u8).collect();
        for size in
            [part + 1, 2 * part - 1, 2 * part, 2 * part + 1, 3 * part + 1024, 5 * part, 6 * part + 1, bytes.len()]
        {
            let whole = &bytes[..size];
            let hash = |(number, part): (usize, &[u8])| {
                let mut hasher = PartHasher::new(number as u64);
                part.chunks(1 << 16).for_each(|piece| hasher.update(piece));
                hasher.finish()
            };
            let parts: Vec<PartDigest> = whole.chunks(part).enumerate().map(hash).collect();
            assert_eq!(parts_of(size as u64), Some(parts.len() as u64));
            assert_eq!(join(&parts), Some(Digest::of(whole)), "{size} bytes");
        }
        assert_eq!((parts_of(0), parts_of(PART_BYTES)), (None, None));
    }
}
