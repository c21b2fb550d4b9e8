//! Identities of runs, steps, slots, attempts and checkpoints.

use std::{fmt, str::FromStr, sync::Arc};

use serde::{Deserialize, Serialize};

use crate::{Digest, StepName};

/// The identity of one execution of a graph: 1 to 48 characters of `[a-z0-9-]`.
///
/// Its time, if it has one, is never used for order (protocol: Words).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct RunId(Arc<str>);

/// Text that cannot be a run id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a run id (1 to 48 characters of `[a-z0-9-]`)")]
pub struct RunIdError(String);

impl RunId {
    /// Returns the id if the text can be one.
    ///
    /// # Errors
    /// [`RunIdError`] if it is empty, too long or has another character.
    pub fn new(text: &str) -> Result<Self, RunIdError> {
        let ok = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-';
        if (1..=48).contains(&text.len()) && text.bytes().all(ok) {
            Ok(Self(text.into()))
        } else {
            Err(RunIdError(text.to_owned()))
        }
    }

    /// Returns the text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for RunId {
    type Err = RunIdError;
    fn from_str(text: &str) -> Result<Self, RunIdError> {
        Self::new(text)
    }
}

impl<'de> Deserialize<'de> for RunId {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        Self::new(&text).map_err(serde::de::Error::custom)
    }
}

/// One item of a fanned-out step: its canonical JSON value, not its index.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Item(Arc<str>);

impl Item {
    /// Returns the item with this canonical JSON text.
    pub fn from_canonical(json: &str) -> Self {
        Self(json.into())
    }

    /// Returns the canonical JSON text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The identity of a step within a run: its name and, when it is fanned out, its item.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct StepId {
    /// The name in the pipeline file.
    pub name: StepName,
    /// The item of a fanned-out step.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub item: Option<Item>,
}

impl StepId {
    /// Returns the identity of a step that is not fanned out.
    pub fn plain(name: StepName) -> Self {
        Self { name, item: None }
    }

    /// Returns the identity of one item of a fanned-out step.
    pub fn of_item(name: StepName, item: Item) -> Self {
        Self { name, item: Some(item) }
    }

    /// Returns the identity as one segment of an object key.
    ///
    /// A plain step is its name; an item adds `@` and the first 16 hex digits of its digest.
    pub fn segment(&self) -> String {
        match &self.item {
            None => self.name.to_string(),
            Some(item) => format!("{}@{}", self.name, &Digest::of(item.as_str().as_bytes()).hex()[..16]),
        }
    }
}

/// `train`, and `train:fold=2` for an item.
impl fmt::Display for StepId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.item {
            None => fmt::Display::fmt(&self.name, f),
            Some(item) => write!(f, "{}:{}", self.name, item.label()),
        }
    }
}

/// The digest of all that can change a step's result; two steps with one key are the same work.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct StepKey(pub Digest);

impl StepKey {
    /// Returns the 64 hex digits used in object names.
    pub fn hex(&self) -> String {
        self.0.hex()
    }

    /// Returns the first 12 hex digits, for people.
    pub fn short(&self) -> String {
        self.0.short()
    }
}

impl fmt::Display for StepKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.with_hex(|hex| f.write_str(hex))
    }
}

impl fmt::Debug for StepKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "key {}", self.short())
    }
}

/// The number of an attempt at a step key, from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Epoch(pub u64);

impl Epoch {
    /// The first attempt.
    pub const FIRST: Self = Self(1);

    /// Returns the number after this one.
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// The pair of records of one attempt: `(key, epoch)`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct SlotId {
    /// The step key.
    pub key: StepKey,
    /// The attempt's number.
    pub epoch: Epoch,
}

impl fmt::Display for SlotId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.key.short(), self.epoch)
    }
}

/// A checkpoint's identity: `(key, epoch, seq)`; ordered by epoch, then seq.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct CheckpointId {
    /// The slot whose attempt took it.
    pub slot: SlotId,
    /// Its number within the attempt, from 1.
    pub seq: u64,
}

impl fmt::Display for CheckpointId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.slot.epoch, self.seq)
    }
}

/// A random identity of one writer; a record that carries it is known as one's own after a lost reply.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct WriterId(Arc<str>);

impl WriterId {
    /// Returns the id made of these random bits.
    pub fn from_random(bits: u128) -> Self {
        Self(format!("{bits:032x}").into())
    }

    /// Returns the text: 32 hex digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for WriterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for WriterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What every process of an attempt carries in `PRUNELLA_ATTEMPT_ID`: `store/run/key/epoch`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct AttemptId {
    /// The store's id.
    pub store: String,
    /// The run that started the attempt.
    pub run: RunId,
    /// The slot.
    pub slot: SlotId,
}

impl fmt::Display for AttemptId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}/{}", self.store, self.run, self.slot.key, self.slot.epoch)
    }
}

/// Returns `n` as 16 hex digits of `u64::MAX - n`, so that the first listed is the highest (protocol: Store layout).
pub fn descending(n: u64) -> String {
    format!("{:016x}", u64::MAX - n)
}

/// Returns the number written by [`descending`], or nothing if the text is not one.
pub fn from_descending(text: &str) -> Option<u64> {
    if text.len() != 16 || !text.bytes().all(|c| c.is_ascii_digit() || (b'a'..=b'f').contains(&c)) {
        return None;
    }
    u64::from_str_radix(text, 16).ok().map(|n| u64::MAX - n)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_listed_is_the_highest() {
        let mut listed: Vec<String> = [1, 2, 10, 255, u64::MAX - 1].map(descending).into();
        listed.sort();
        assert_eq!(listed.iter().filter_map(|t| from_descending(t)).collect::<Vec<_>>(), [u64::MAX - 1, 255, 10, 2, 1]);
        assert_eq!(from_descending("FFFFFFFFFFFFFFFE"), None);
    }

    #[test]
    fn a_run_id_is_any_short_lower_case_word() {
        assert!(RunId::new("0193c-abc").is_ok());
        for bad in ["", "A", "a_b", "a/b", &"a".repeat(49)] {
            assert!(RunId::new(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn an_item_is_its_value_not_its_index() {
        let step = |item: &str| StepId {
            name: StepName::new("train").expect("a name"),
            item: Some(Item::from_canonical(item)),
        };
        assert_ne!(step("1").segment(), step("2").segment());
        assert_eq!(step("1").segment(), step("1").segment());
    }
}
