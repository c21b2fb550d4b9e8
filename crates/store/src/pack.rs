//! Which files of a tree lie together in one object. Pure.

use std::ops::Range;

use prunella_objects::Packing;

/// Files up to this size lie in packs; a larger one is an object of its own, which can be moved or cloned in.
///
/// Moving a file costs two waits for the disk; copying this many bytes costs less.
pub(crate) const PACKED_BYTES: u64 = 512 << 10;

/// A pack is full with so many bytes: large enough that waiting for the disk is nothing, small enough that several fit into
/// memory at once.
const PACK_BYTES: u64 = 16 << 20;

/// A pack is full with so many files.
const PACK_FILES: usize = 4096;

/// What becomes one object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Load {
    /// These files (positions) together, in this order.
    Pack(Vec<u32>),
    /// This file alone.
    Whole(u32),
    /// These large files, in this order, in chunks.
    Cut(Vec<u32>),
}

/// So many bytes of large files are cut one after the other; what follows is cut beside them.
const CUT_BYTES: u64 = 256 << 20;

/// Returns how files become objects: neighbours together, so that whoever reads a directory reads few objects.
///
/// `sizes` are positions and sizes of files, in the order of their paths; files without bytes need no object.
pub(crate) fn load(packing: Packing, sizes: impl Iterator<Item = (u32, u64)>) -> Vec<Load> {
    let (mut loads, mut pack, mut bytes) = (Vec::new(), Vec::new(), 0);
    let (mut cut, mut to_cut) = (Vec::new(), 0);
    for (at, size) in sizes {
        match size {
            0 => {}
            _ if size > PACKED_BYTES && packing == Packing::Whole => loads.push(Load::Whole(at)),
            _ if size > PACKED_BYTES => {
                cut.push(at);
                to_cut += size;
                if to_cut >= CUT_BYTES {
                    loads.push(Load::Cut(std::mem::take(&mut cut)));
                    to_cut = 0;
                }
            }
            _ => {
                if bytes + size > PACK_BYTES || pack.len() == PACK_FILES {
                    loads.push(Load::Pack(std::mem::take(&mut pack)));
                    bytes = 0;
                }
                pack.push(at);
                bytes += size;
            }
        }
    }
    if !pack.is_empty() {
        loads.push(Load::Pack(pack));
    }
    if !cut.is_empty() {
        loads.push(Load::Cut(cut));
    }
    loads
}

/// Cuts a list into pieces of at most `most`, so that several processors share the work on one pack.
pub(crate) fn cut(len: usize, most: usize) -> impl Iterator<Item = Range<usize>> {
    (0..len).step_by(most.max(1)).map(move |from| from..(from + most.max(1)).min(len))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn loads(sizes: &[u64]) -> Vec<Load> {
        load(Packing::Whole, sizes.iter().enumerate().map(|(at, size)| (at as u32, *size)))
    }

    #[test]
    fn small_neighbours_lie_together_and_large_files_alone() {
        let large = PACKED_BYTES + 1;
        assert_eq!(loads(&[1, 0, large, 2]), [Load::Whole(2), Load::Pack(vec![0, 3])]);
        assert_eq!(loads(&[0, 0]), []);
        assert_eq!(loads(&[PACKED_BYTES]), [Load::Pack(vec![0])]);
    }

    #[test]
    fn large_files_are_cut_where_that_is_wanted_and_many_beside_each_other() {
        let (large, small) = (100 << 20, 5);
        let sizes = [large, small, large, large, large, 0, small];
        let loads = load(Packing::Chunks, sizes.iter().zip(0..).map(|(size, at)| (at, *size)));
        assert_eq!(loads, [Load::Cut(vec![0, 2, 3]), Load::Pack(vec![1, 6]), Load::Cut(vec![4])]);
    }

    #[test]
    fn every_file_with_bytes_is_loaded_once_and_no_pack_is_too_full() {
        let sizes: Vec<u64> = (0..20_000_u64).map(|n| (n * 7919) % (2 * PACKED_BYTES) / (1 + n % 97)).collect();
        let mut seen = Vec::new();
        for load in loads(&sizes) {
            match load {
                Load::Whole(at) => seen.push(at),
                Load::Cut(_) => panic!("large files stay whole here"),
                Load::Pack(files) => {
                    assert!(files.len() <= PACK_FILES);
                    assert!(files.iter().map(|at| sizes[*at as usize]).sum::<u64>() <= PACK_BYTES);
                    seen.extend(files);
                }
            }
        }
        seen.sort_unstable();
        let wanted: Vec<u32> = (0..20_000).filter(|at| sizes[*at as usize] > 0).collect();
        assert_eq!(seen, wanted);
    }

    #[test]
    fn pieces_cover_a_list_once() {
        assert_eq!(cut(5, 2).collect::<Vec<_>>(), [0..2, 2..4, 4..5]);
        assert_eq!(cut(0, 2).count(), 0);
    }
}
