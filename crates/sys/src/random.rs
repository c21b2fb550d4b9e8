//! Randomness: names that never collide, jitter.

use std::sync::Mutex;

/// Gives random bytes.
pub trait Random: Send + Sync {
    /// Fills `buf` with random bytes.
    fn fill(&self, buf: &mut [u8]);

    /// Returns a uniformly random number.
    fn u64(&self) -> u64 {
        let mut bytes = [0; 8];
        self.fill(&mut bytes);
        u64::from_le_bytes(bytes)
    }
}

/// Returns `bytes` random bytes as lowercase hex digits.
pub fn random_hex(random: &dyn Random, bytes: usize) -> String {
    let mut buf = vec![0; bytes];
    random.fill(&mut buf);
    buf.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The operating system's generator.
#[derive(Debug, Clone, Copy, Default)]
pub struct RealRandom;

impl Random for RealRandom {
    fn fill(&self, buf: &mut [u8]) {
        let mut filled = 0;
        while filled < buf.len() {
            match rustix::rand::getrandom(&mut buf[filled..], rustix::rand::GetRandomFlags::empty()) {
                Ok(n) => filled += n,
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => panic!("the operating system gives no randomness: {error}"),
            }
        }
    }
}

/// A reproducible generator (SplitMix64); for tests and simulation.
#[derive(Debug)]
pub struct SeededRandom {
    state: Mutex<u64>,
}

impl SeededRandom {
    /// Returns the generator of `seed`: equal seeds give equal bytes.
    pub fn new(seed: u64) -> Self {
        SeededRandom { state: Mutex::new(seed) }
    }
}

impl Random for SeededRandom {
    fn fill(&self, buf: &mut [u8]) {
        let mut state = self.state.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        for chunk in buf.chunks_mut(8) {
            let number = split_mix(*state);
            *state = state.wrapping_add(STEP);
            chunk.copy_from_slice(&number.to_le_bytes()[..chunk.len()]);
        }
    }
}

/// By so much the state of SplitMix64 moves.
const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

/// Returns the number that SplitMix64 gives next in this state: a function of it alone, in which each bit counts.
///
/// G. L. Steele, D. Lea, C. H. Flood, *Fast splittable pseudorandom number generators*, OOPSLA 2014.
pub fn split_mix(state: u64) -> u64 {
    let mut z = state.wrapping_add(STEP);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_seeds_give_equal_bytes_and_others_do_not() {
        let hex = |seed| random_hex(&SeededRandom::new(seed), 16);
        assert_eq!(hex(7), hex(7));
        assert_ne!(hex(7), hex(8));
        assert_eq!(hex(7).len(), 32);
    }

    #[test]
    fn the_first_number_of_seed_zero_is_the_published_one() {
        assert_eq!(SeededRandom::new(0).u64(), 0xe220_a839_7b1d_cdaf);
    }

    #[test]
    fn real_randomness_does_not_repeat() {
        assert_ne!(random_hex(&RealRandom, 16), random_hex(&RealRandom, 16));
    }
}
