//! Where large files are cut, so that what did not change is cut the same again. Pure.
//!
//! The numbers are part of the format (`docs/formats/store.md`): whoever cuts otherwise finds nothing again.

use fastcdc::v2020::{FastCDC, Normalization};
use prunella_sys::mutated;

/// A chunk has at least so many bytes, unless its file ends.
const LEAST: usize = 256 << 10;

/// What a chunk has on average.
const MEAN: usize = 1 << 20;

/// A chunk has at most so many bytes; so many have to be seen to know where it ends.
pub(crate) const MOST: usize = 4 << 20;

/// What new chunks are gathered in has at most so many bytes.
pub(crate) const OBJECT_BYTES: usize = 16 << 20;

/// Returns how long the first chunk of `bytes` is; nothing if there are none, or more are needed to know.
///
/// `ended` says that the file ends with them.
pub(crate) fn first(bytes: &[u8], ended: bool) -> Option<usize> {
    if bytes.is_empty() || (bytes.len() < MOST && !ended && !mutated(74)) {
        return None;
    }
    let seen = &bytes[..bytes.len().min(MOST)];
    let (_, end) = FastCDC::with_level(seen, LEAST, MEAN, MOST, Normalization::Level1).cut(0, seen.len());
    Some(end)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bytes that look random and are always the same.
    fn noise(len: usize, seed: u64) -> Vec<u8> {
        let mut state = seed;
        let mut next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) as u8
        };
        (0..len).map(|_| next()).collect()
    }

    fn cuts(bytes: &[u8]) -> Vec<usize> {
        let (mut at, mut cuts) = (0, Vec::new());
        while let Some(len) = first(&bytes[at..], true) {
            cuts.push(len);
            at += len;
        }
        assert_eq!(at, bytes.len(), "chunks cover a file");
        cuts
    }

    #[test]
    fn the_cuts_are_those_of_the_format() {
        // Computed apart from the library that cuts, by the same tables.
        assert_eq!(cuts(&noise(8 << 20, 1)), [1_208_424, 1_349_345, 1_540_543, 2_363_043, 1_686_239, 241_014]);
        assert_eq!(cuts(&vec![0; (9 << 20) + 5]), [MOST, MOST, (1 << 20) + 5]);
    }

    #[test]
    fn a_chunk_is_neither_too_short_nor_too_long_and_never_cut_before_enough_was_seen() {
        let bytes = noise(40 << 20, 7);
        let cuts = cuts(&bytes);
        let (last, others) = cuts.split_last().unwrap();
        assert!(others.iter().all(|len| (LEAST..=MOST).contains(len)) && *last <= MOST, "{cuts:?}");
        assert!((20..80).contains(&cuts.len()), "a mean of about 1 MiB: {}", cuts.len());
        assert_eq!(first(&bytes[..MOST - 1], false), None);
        assert_eq!(first(&bytes[..MOST], false), Some(cuts[0]), "what follows changes nothing");
        assert_eq!(first(&[], true), None);
    }

    #[test]
    fn what_is_put_in_moves_few_cuts() {
        let before = noise(30 << 20, 3);
        let mut after = before.clone();
        after.splice(10 << 20..10 << 20, *b"put in");
        let chunks = |bytes: &[u8]| {
            let mut at = 0;
            cuts(bytes)
                .into_iter()
                .map(|len| (at, at += len).0..at)
                .map(|range| bytes[range].to_vec())
                .collect::<Vec<_>>()
        };
        let (before, after) = (chunks(&before), chunks(&after));
        let new = after.iter().filter(|chunk| !before.contains(chunk)).count();
        assert!(new <= 2, "{new} of {} chunks are new", after.len());
    }
}
