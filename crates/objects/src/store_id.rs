//! The random id of a store, which says by itself whether it is what was written.

use prunella_sys::{Random, random_hex};

/// The random digits, and those that are made of them.
const RANDOM: usize = 32;
const CHECK: usize = 8;

/// Returns a new id: 32 random hex digits, and 8 that are made of them.
pub fn new_store_id(random: &dyn Random) -> String {
    let id = random_hex(random, RANDOM / 2);
    let check = check_of(&id);
    id + &check
}

/// Returns whether the id can be one that was given to a store: changed digits are noticed.
///
/// Ids of 32 digits are from before they were checked.
pub fn is_store_id(id: &str) -> bool {
    let plain = !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_alphanumeric());
    let checked = || id.split_at_checked(RANDOM).is_some_and(|(id, check)| check_of(id) == check);
    plain && (id.len() <= RANDOM || checked())
}

fn check_of(id: &str) -> String {
    blake3::hash(id.as_bytes()).to_hex()[..CHECK].to_owned()
}

#[cfg(test)]
mod tests {
    use prunella_sys::SeededRandom;

    use super::*;

    #[test]
    fn every_changed_digit_is_noticed() {
        let id = new_store_id(&SeededRandom::new(1));
        assert_eq!(id.len(), RANDOM + CHECK);
        assert!(is_store_id(&id) && is_store_id("0123456789abcdef0123456789abcdef") && is_store_id("test"));
        for at in 0..id.len() {
            for bit in 0..8 {
                let mut bytes = id.clone().into_bytes();
                bytes[at] ^= 1 << bit;
                assert!(
                    String::from_utf8(bytes).is_ok_and(|id| !is_store_id(&id)) || bit == 7,
                    "digit {at}, bit {bit}"
                );
            }
        }
        assert!(!is_store_id("") && !is_store_id("../x"));
    }
}
