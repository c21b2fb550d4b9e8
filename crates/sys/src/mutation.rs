//! Deliberate bugs, which measure the tests (`docs/design/0026-mutations.md`): without the feature `mutations` there are none.

/// Returns whether the deliberate bug with this number is in: never, in a program that is used.
#[cfg(not(feature = "mutations"))]
#[inline(always)]
pub const fn mutated(_number: u32) -> bool {
    false
}

#[cfg(not(feature = "mutations"))]
const _: () = assert!(!mutated(1), "what is shipped holds no deliberate bug");

#[cfg(feature = "mutations")]
pub use on::{mutate_here, mutated};

#[cfg(feature = "mutations")]
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
