//! Chance that depends on nothing but its place: leaving a part of a plan out changes no draw of another part.

use prunella_sys::split_mix;

/// Returns a number for the `n`-th draw of `who`; equal places give equal numbers.
pub(crate) fn draw(seed: u64, who: u64, n: u64) -> u64 {
    split_mix(split_mix(split_mix(seed) ^ who) ^ n)
}

/// Returns a number below `bound`.
pub(crate) fn below(seed: u64, who: u64, n: u64, bound: u64) -> u64 {
    draw(seed, who, n) % bound.max(1)
}

/// Returns a number up to `most`, small ones as often as large ones: each doubling is as likely.
pub(crate) fn spread(drawn: u64, least: u64, most: u64) -> u64 {
    let doublings = (most.max(least) / least.max(1)).max(1).ilog2() + 1;
    let low = least << (drawn % u64::from(doublings));
    (low + (drawn >> 32) % low.max(1)).min(most)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spread_stays_in_its_bounds_and_reaches_them() {
        let all: Vec<u64> = (0..4000).map(|n| spread(draw(1, 2, n), 3, 1000)).collect();
        assert!(all.iter().all(|n| (3..=1000).contains(n)));
        assert!(all.iter().any(|n| *n < 6) && all.iter().any(|n| *n > 700));
    }
}
