//! Properties over many seeds.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use prunella_sys::{Random, SeededRandom};

/// Runs `property` with the seeds `0..cases`, and prints the seed of the one that fails.
///
/// # Panics
/// As `property` does. To repeat one failure, call the property with that seed: it becomes a named test.
pub fn for_each_seed(cases: u64, property: impl Fn(&dyn Random)) {
    for seed in 0..cases {
        // Nothing of a failed case is looked at again.
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| property(&SeededRandom::new(seed)))) {
            eprintln!("the property fails for seed {seed}");
            resume_unwind(panic);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[test]
    fn every_seed_is_tried_and_a_failure_is_not_swallowed() {
        let tried = Cell::new(0);
        for_each_seed(10, |_| tried.set(tried.get() + 1));
        assert_eq!(tried.get(), 10);
        let failed = catch_unwind(AssertUnwindSafe(|| for_each_seed(10, |random| assert!(random.u64() % 3 != 0))));
        assert!(failed.is_err());
    }
}
