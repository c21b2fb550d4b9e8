//! Deliberate bugs, which measure the tests (`docs/design/0026-mutations.md`): without the feature `mutations`, and in every
//! release, there are none.

/// Returns whether the deliberate bug with this number is in: never, in a program that is used.
#[cfg(not(all(feature = "mutations", debug_assertions)))]
#[inline(always)]
pub const fn mutated(_number: u32) -> bool {
    false
}

#[cfg(not(all(feature = "mutations", debug_assertions)))]
const _: () = assert!(!mutated(1), "what is shipped holds no deliberate bug");

/// Says that it cannot: also where a workspace is built as a whole, a release holds no deliberate bug.
///
/// # Panics
/// If a bug is to be put in.
#[cfg(all(feature = "mutations", not(debug_assertions)))]
pub fn mutate_here(number: u32) {
    assert_eq!(number, 0, "a release holds no deliberate bugs: build with debug assertions");
}

#[cfg(all(feature = "mutations", debug_assertions))]
pub use on::{mutate_here, mutated};

#[cfg(all(feature = "mutations", debug_assertions))]
mod on {
    use std::{cell::Cell, sync::OnceLock};

    thread_local! {
        static HERE: Cell<u32> = const { Cell::new(0) };
    }

    /// Returns whether the deliberate bug with this number is in: in this thread, or in all (`PRUNELLA_MUTATION`).
    pub fn mutated(number: u32) -> bool {
        static EVERYWHERE: OnceLock<u32> = OnceLock::new();
        let everywhere =
            *EVERYWHERE.get_or_init(|| std::env::var("PRUNELLA_MUTATION").map_or(0, |n| n.parse().unwrap_or(0)));
        HERE.get() == number || everywhere == number
    }

    /// Puts the bug with this number into everything that this thread does; 0 takes it out.
    pub fn mutate_here(number: u32) {
        HERE.set(number);
    }
}
