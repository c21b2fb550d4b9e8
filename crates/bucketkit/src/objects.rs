//! What a server holds.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, MutexGuard};

use bytes::Bytes;

use crate::gcs::Session;

/// One object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// Its bytes.
    pub bytes: Bytes,
    /// A number that is new with every write; the entity tag is made of it.
    pub version: u64,
    /// What the writer said beside the bytes.
    pub metadata: HashMap<String, String>,
}

/// Buckets of objects, and uploads that are not complete.
#[derive(Default)]
pub struct Objects {
    held: Mutex<Held>,
}

#[derive(Default)]
pub(crate) struct Held {
    pub(crate) buckets: BTreeMap<String, BTreeMap<String, Stored>>,
    pub(crate) uploads: HashMap<String, Upload>,
    pub(crate) sessions: HashMap<String, Session>,
    /// What the bucket's owner set: life cycle, versions, retention.
    pub(crate) rules: serde_json::Value,
    pub(crate) rules_hidden: bool,
    versions: u64,
}

/// A large upload that has no name yet.
#[derive(Default)]
pub(crate) struct Upload {
    pub(crate) parts: BTreeMap<i32, Bytes>,
    pub(crate) metadata: HashMap<String, String>,
}

impl Held {
    /// Returns a number that none was given before.
    pub(crate) fn next(&mut self) -> u64 {
        self.versions += 1;
        self.versions
    }
}

impl Objects {
    pub(crate) fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// Makes an empty bucket, if it is not there.
    pub fn make_bucket(&self, name: &str) {
        self.held().buckets.entry(name.to_owned()).or_default();
    }

    /// Sets rules of the buckets, as members of Google's bucket resource: `lifecycle`, `versioning`, `retentionPolicy`, …
    pub fn set_rules(&self, rules: serde_json::Value) {
        self.held().rules = rules;
    }

    /// Lets nobody look at the rules any more.
    pub fn hide_rules(&self) {
        self.held().rules_hidden = true;
    }

    /// Removes a bucket with all that is in it.
    pub fn remove_bucket(&self, name: &str) {
        self.held().buckets.remove(name);
    }

    /// Returns the keys of a bucket.
    pub fn keys(&self, bucket: &str) -> Vec<String> {
        self.held().buckets.get(bucket).map(|objects| objects.keys().cloned().collect()).unwrap_or_default()
    }

    /// Returns an object.
    pub fn get(&self, bucket: &str, key: &str) -> Option<Stored> {
        self.held().buckets.get(bucket)?.get(key).cloned()
    }

    /// Writes an object as its owner does: a new version of it is there; nothing if the bucket is absent.
    pub fn put(&self, bucket: &str, key: &str, bytes: impl Into<Bytes>) -> Option<()> {
        let mut held = self.held();
        let version = held.next();
        let stored = Stored { bytes: bytes.into(), version, metadata: HashMap::new() };
        held.buckets.get_mut(bucket)?.insert(key.to_owned(), stored);
        Some(())
    }

    /// Changes the bytes of an object behind every user's back, as a failing disk would; nothing if it is absent.
    pub fn damage(&self, bucket: &str, key: &str, change: impl FnOnce(&mut Vec<u8>)) -> Option<()> {
        let mut held = self.held();
        let stored = held.buckets.get_mut(bucket)?.get_mut(key)?;
        let mut bytes = stored.bytes.to_vec();
        change(&mut bytes);
        stored.bytes = bytes.into();
        Some(())
    }

    /// Loses an object; false if it was absent.
    pub fn lose(&self, bucket: &str, key: &str) -> bool {
        self.held().buckets.get_mut(bucket).is_some_and(|objects| objects.remove(key).is_some())
    }
}
