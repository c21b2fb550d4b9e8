//! The sum at the end of each record: bytes that rotted are never taken for what was written (`docs/design/0030-sums.md`).

use bytes::Bytes;
use prunella_model::Hasher;
use prunella_objects::ObjectKey;
use prunella_sys::mutated;

/// What stands before the digits of the sum, which is the last member of a record.
const BEFORE: &[u8; 8] = br#","sum":""#;
const AFTER: &[u8; 2] = br#""}"#;
const DIGITS: usize = 64;
const LENGTH: usize = BEFORE.len() + DIGITS + AFTER.len();

/// So many bytes of [`BEFORE`] and [`AFTER`] may be others, and it is still a sum, one that rotted. A member of a record from
/// before there were sums differs in at least three.
const LIKE: usize = 2;

/// What the end of a record says of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sum {
    /// It is that of these bytes at this key.
    Holds,
    /// The bytes are not those that were written here.
    Broken,
    /// The record has none: it was written before there were sums.
    None,
}

/// Returns the record, a JSON object that has members, with its sum as the last.
pub(crate) fn seal(key: &ObjectKey, mut json: Vec<u8>) -> Bytes {
    let closing = json.pop();
    debug_assert!(closing == Some(b'}') && json.last() != Some(&b'{'), "a record is an object that has members");
    let sum = sum_of(key, &json);
    json.reserve_exact(LENGTH);
    json.extend_from_slice(BEFORE);
    json.extend_from_slice(sum.as_bytes());
    json.extend_from_slice(AFTER);
    json.into()
}

/// Returns whether the record is what was written at this key.
pub(crate) fn check(key: &ObjectKey, record: &[u8]) -> Sum {
    let Some(at) = record.len().checked_sub(LENGTH).filter(|_| !mutated(87)) else { return Sum::None };
    let (above, end) = record.split_at(at);
    let (before, end) = end.split_at(BEFORE.len());
    let (digits, after) = end.split_at(DIGITS);
    let others = |is: &[u8], should: &[u8]| is.iter().zip(should).filter(|(is, should)| is != should).count();
    match others(before, BEFORE) + others(after, AFTER) {
        0 if digits == sum_of(key, above).as_bytes() => Sum::Holds,
        0..=LIKE => Sum::Broken,
        _ => Sum::None,
    }
}

/// Returns the digits of the sum over a key, a line feed, and the record up to where its sum begins.
fn sum_of(key: &ObjectKey, above: &[u8]) -> String {
    let mut hasher = Hasher::new();
    for part in [key.as_str().as_bytes(), b"\n", above] {
        hasher.update(part);
    }
    hasher.finish().hex()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sealed() -> (ObjectKey, Bytes) {
        let key = ObjectKey::new("attempts/a/1.end.json").expect("a key");
        let record = seal(&key, br#"{"format":1,"what":"committed"}"#.to_vec());
        (key, record)
    }

    #[test]
    fn a_record_is_json_that_ends_with_its_sum() {
        let (key, record) = sealed();
        let value: serde_json::Value = serde_json::from_slice(&record).expect("JSON");
        assert_eq!(value["what"], "committed");
        assert_eq!(value["sum"].as_str().map(str::len), Some(DIGITS));
        assert_eq!(check(&key, &record), Sum::Holds);
        // The vector of docs/formats/store.md.
        let above = b"attempts/a/1.end.json\n{\"format\":1,\"what\":\"committed\"";
        assert_eq!(value["sum"], prunella_model::Digest::of(above).hex());
    }

    #[test]
    fn every_flipped_bit_every_cut_and_every_other_place_is_noticed() {
        let (key, record) = sealed();
        for place in 0..record.len() {
            for bit in 0..8 {
                let mut changed = record.to_vec();
                changed[place] ^= 1 << bit;
                assert_eq!(check(&key, &changed), Sum::Broken, "byte {place}, bit {bit}");
            }
            let cut = &record[..place];
            let is_json = serde_json::from_slice::<serde::de::IgnoredAny>(cut).is_ok();
            assert!(check(&key, cut) == Sum::Broken || !is_json, "cut after {place} bytes");
        }
        let elsewhere = ObjectKey::new("attempts/a/2.end.json").expect("a key");
        assert_eq!(check(&elsewhere, &record), Sum::Broken);
    }

    #[test]
    fn records_from_before_there_were_sums_have_none() {
        let digest = prunella_model::Digest::of(b"x");
        let key = ObjectKey::new("a").expect("a key");
        for old in [
            "{}".to_owned(),
            r#"{"format":1}"#.to_owned(),
            format!(r#"{{"format":1,"digest":"{digest}"}}"#),
            format!(r#"{{"format":1,"key":"{}"}}"#, digest.hex()),
            format!(r#"{{"format":1,"slots":["{digest}"]}}"#),
        ] {
            assert_eq!(check(&key, old.as_bytes()), Sum::None, "{old}");
        }
    }
}
