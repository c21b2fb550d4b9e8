//! A set of steps that costs the same whether the graph has a thousand of them or a hundred thousand.

use crate::StepIndex;

const BITS: usize = u64::BITS as usize;

/// A set of step indices, iterated from the lowest.
///
/// A tree of bit words, 64 children each: every operation touches one word a level (three levels hold 262,144 steps),
/// and the memory is one bit a step. Two are equal if the same steps are in them, whatever room they have.
#[derive(Clone)]
pub struct StepSet {
    levels: Vec<Vec<u64>>,
    len: usize,
}

impl StepSet {
    /// Returns an empty set for indices below `capacity`.
    pub fn new(capacity: usize) -> Self {
        let mut levels = Vec::new();
        let mut words = capacity.max(1);
        while words > 1 || levels.is_empty() {
            words = words.div_ceil(BITS);
            levels.push(vec![0; words]);
        }
        Self { levels, len: 0 }
    }

    /// Makes room for indices below `capacity`; each doubling pays for the growth up to it.
    pub fn grow(&mut self, capacity: usize) {
        let room = self.levels[0].len() * BITS;
        if capacity > room {
            let mut larger = Self::new(capacity.max(room * 2));
            for step in self.iter() {
                larger.insert(step);
            }
            *self = larger;
        }
    }

    /// Returns how many steps are in it.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Returns whether nothing is in it.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Returns whether `step` is in it.
    pub fn contains(&self, step: StepIndex) -> bool {
        let i = step.as_usize();
        self.levels[0][i / BITS] >> (i % BITS) & 1 == 1
    }

    /// Adds `step`; false if it was in already.
    pub fn insert(&mut self, step: StepIndex) -> bool {
        if self.contains(step) {
            return false;
        }
        let mut i = step.as_usize();
        for level in &mut self.levels {
            level[i / BITS] |= 1 << (i % BITS);
            i /= BITS;
        }
        self.len += 1;
        true
    }

    /// Takes `step` out; false if it was not in.
    pub fn remove(&mut self, step: StepIndex) -> bool {
        if !self.contains(step) {
            return false;
        }
        let mut i = step.as_usize();
        for level in &mut self.levels {
            level[i / BITS] &= !(1 << (i % BITS));
            if level[i / BITS] != 0 {
                break;
            }
            i /= BITS;
        }
        self.len -= 1;
        true
    }

    /// Returns the lowest step that is at least `from`.
    pub fn next_from(&self, from: usize) -> Option<StepIndex> {
        let mut i = from;
        let mut depth = 0;
        // Up until a word has a bit at or after the place …
        loop {
            let level = self.levels.get(depth)?;
            let rest = level.get(i / BITS).map_or(0, |word| word >> (i % BITS));
            if rest != 0 {
                i += rest.trailing_zeros() as usize;
                break;
            }
            i = i / BITS + 1;
            depth += 1;
        }
        // … and down along the lowest bits.
        while depth > 0 {
            depth -= 1;
            i = i * BITS + self.levels[depth][i].trailing_zeros() as usize;
        }
        Some(StepIndex::new(u32::try_from(i).expect("only indices of 32 bits are put in")))
    }

    /// Returns the lowest step.
    pub fn first(&self) -> Option<StepIndex> {
        self.next_from(0)
    }

    /// Takes out the lowest step and returns it.
    pub fn pop_first(&mut self) -> Option<StepIndex> {
        let step = self.first()?;
        self.remove(step);
        Some(step)
    }

    /// Returns the steps from the lowest.
    pub fn iter(&self) -> impl Iterator<Item = StepIndex> + '_ {
        let mut from = 0;
        std::iter::from_fn(move || {
            let step = self.next_from(from)?;
            from = step.as_usize() + 1;
            Some(step)
        })
    }
}

impl PartialEq for StepSet {
    fn eq(&self, other: &Self) -> bool {
        self.len == other.len && self.iter().eq(other.iter())
    }
}

impl Eq for StepSet {}

impl std::fmt::Debug for StepSet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn it_is_a_sorted_set(capacity in 1usize..10_000, moves in prop::collection::vec((any::<bool>(), any::<u32>()), 0..300)) {
            let mut set = StepSet::new(capacity);
            let mut model = BTreeSet::new();
            for (add, n) in moves {
                let n = n % u32::try_from(capacity).expect("small");
                let step = StepIndex::new(n);
                if add {
                    prop_assert_eq!(set.insert(step), model.insert(n));
                } else {
                    prop_assert_eq!(set.remove(step), model.remove(&n));
                }
                prop_assert_eq!(set.first().map(StepIndex::get), model.first().copied());
                prop_assert_eq!(set.len(), model.len());
            }
            prop_assert_eq!(set.iter().map(StepIndex::get).collect::<Vec<_>>(), model.iter().copied().collect::<Vec<_>>());
            for from in [0, 1, 63, 64, 65, 4096, capacity] {
                prop_assert_eq!(
                    set.next_from(from).map(StepIndex::as_usize),
                    model.iter().map(|n| *n as usize).find(|n| *n >= from)
                );
            }
        }
    }

    #[test]
    fn the_last_index_of_a_capacity_fits() {
        for capacity in [1, 63, 64, 65, 4096, 4097, 100_000] {
            let mut set = StepSet::new(capacity);
            let last = StepIndex::new(u32::try_from(capacity - 1).expect("small"));
            assert!(set.insert(last));
            assert_eq!(set.pop_first(), Some(last));
            assert_eq!(set.pop_first(), None);
        }
    }
}
