//! The lock: one interpreter and the exact version of every package.

use prunella_model::{Digest, Encoder};
use serde::{Deserialize, Serialize};

use crate::{EnvironmentError, InterpreterId};

/// The version of the lock's format.
pub const LOCK_FORMAT: u32 = 1;

/// One package at one version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Package {
    /// Its name as the index compares it: lower case, `-` for any run of `-`, `_` and `.`.
    pub name: String,
    /// Its exact version; empty where `source` says it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub version: String,
    /// Where it comes from if not from an index: an archive's URL, or a repository at a commit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// The files that are it, such as `sha256:…`: an installed file is one of these.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hashes: Vec<String>,
}

/// An environment, locked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PythonLock {
    /// [`LOCK_FORMAT`].
    pub format: u32,
    /// The interpreter.
    pub interpreter: InterpreterId,
    /// The packages, by name.
    pub packages: Vec<Package>,
    /// The lines of the requirements that say where packages come from. Variables are not expanded.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub options: Vec<String>,
    /// The requirements that were locked; when they change, the lock is stale.
    pub requirements_digest: Digest,
}

impl Package {
    /// Returns the line by which an installer asks for exactly this.
    pub(crate) fn requirement(&self) -> String {
        let mut line = match &self.source {
            Some(source) => format!("{} @ {source}", self.name),
            None => format!("{}=={}", self.name, self.version),
        };
        for hash in &self.hashes {
            line.push_str(" --hash=");
            line.push_str(hash);
        }
        line
    }
}

impl PythonLock {
    /// Returns the lock in a canonical order, so that two tools with one result give one lock.
    pub(crate) fn new(
        interpreter: InterpreterId,
        mut packages: Vec<Package>,
        options: Vec<String>,
        requirements_digest: Digest,
    ) -> Self {
        for package in &mut packages {
            package.name = normal(&package.name);
            package.hashes.sort();
            package.hashes.dedup();
        }
        packages.sort_by(|a, b| a.name.cmp(&b.name));
        Self { format: LOCK_FORMAT, interpreter, packages, options, requirements_digest }
    }

    /// Returns the digest that enters the step key; see [`lock_digest`].
    pub fn digest(&self) -> Digest {
        lock_digest(self)
    }

    /// Returns the lock as it stands in a record or in `prunella.lock`.
    pub fn to_json(&self) -> serde_json::Value {
        serde_json::to_value(self).expect("a lock has only string keys")
    }

    /// Reads what [`PythonLock::to_json`] wrote.
    ///
    /// # Errors
    /// [`EnvironmentError::LockFormat`] if it is of another format or not a lock.
    pub fn from_json(value: &serde_json::Value) -> Result<Self, EnvironmentError> {
        let wrong = |message| EnvironmentError::LockFormat { message };
        match value.get("format").and_then(serde_json::Value::as_u64) {
            Some(format) if format == u64::from(LOCK_FORMAT) => {}
            Some(format) => return Err(wrong(format!("it has format {format}; this version reads {LOCK_FORMAT}"))),
            None => return Err(wrong("it has no format number".to_owned())),
        }
        serde_json::from_value(value.clone()).map_err(|error| wrong(error.to_string()))
    }
}

/// Returns the digest of interpreter, ABI, platform and exact packages.
///
/// Equal digests are interchangeable environments. The wording of the requirements does not enter, nor does the tool
/// that resolved them; hashes neither, since an index never serves two contents for one version of a package.
pub fn lock_digest(lock: &PythonLock) -> Digest {
    let mut encoder = Encoder::new("prunella-python-lock-1");
    lock.interpreter.encode(&mut encoder);
    encoder.field("packages").list(lock.packages.len());
    for package in &lock.packages {
        encoder.text(&package.name).text(&package.version);
        match &package.source {
            Some(source) => encoder.text(source),
            None => encoder.nothing(),
        };
    }
    encoder.finish()
}

/// Returns a package's name as the index compares it (PEP 503).
pub(crate) fn normal(name: &str) -> String {
    let parts: Vec<&str> = name.split(['-', '_', '.']).filter(|part| !part.is_empty()).collect();
    parts.join("-").to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn package(name: &str, version: &str) -> Package {
        Package { name: name.into(), version: version.into(), source: None, hashes: vec!["sha256:aa".into()] }
    }

    fn lock(packages: Vec<Package>) -> PythonLock {
        let interpreter = InterpreterId {
            version: "3.12.1".into(),
            implementation: "cpython".into(),
            abi: "cpython-312-x86_64-linux-gnu".into(),
            platform: "linux-x86_64".into(),
        };
        PythonLock::new(interpreter, packages, Vec::new(), Digest::of(b"six"))
    }

    #[test]
    fn versions_sources_and_interpreter_change_the_digest() {
        let base = lock(vec![package("six", "1.17.0"), package("numpy", "2.3.5")]);
        let mut others = vec![
            lock(vec![package("six", "1.16.0"), package("numpy", "2.3.5")]),
            lock(vec![package("six", "1.17.0")]),
            lock(vec![
                package("six", "1.17.0"),
                Package { source: Some("https://h/n.whl".into()), ..package("numpy", "2.3.5") },
            ]),
        ];
        let mut other = base.clone();
        other.interpreter.abi = "cpython-312-aarch64-linux-gnu".into();
        others.push(other);
        for other in &others {
            assert_ne!(base.digest(), other.digest());
        }
    }

    #[test]
    fn order_spelling_hashes_and_the_requirements_wording_do_not_change_the_digest() {
        let base = lock(vec![package("scikit-learn", "1.7.2"), package("six", "1.17.0")]);
        let mut same = lock(vec![package("six", "1.17.0"), package("Scikit_Learn", "1.7.2")]);
        same.packages[0].hashes.push("sha256:bb".into());
        same.requirements_digest = Digest::of(b"other words");
        assert_eq!(base.digest(), same.digest());
    }

    #[test]
    fn the_digest_of_a_lock_never_changes_between_versions() {
        // Stored keys depend on it: a change here makes every environment and every step new.
        let base = lock(vec![package("six", "1.17.0"), package("numpy", "2.3.5")]);
        assert_eq!(base.digest().to_string(), "b3:f5f8b774c501bdcef4e4de9acc555f6a22e12f97848b97f35b21b0a64e8f1464");
    }

    #[test]
    fn a_lock_survives_json_and_a_newer_format_is_refused_by_number() {
        let base = lock(vec![package("six", "1.17.0")]);
        let mut json = base.to_json();
        assert_eq!(PythonLock::from_json(&json).unwrap(), base);
        json["format"] = 2.into();
        let error = PythonLock::from_json(&json).unwrap_err().to_string();
        assert!(error.contains("format 2"), "{error}");
        assert!(PythonLock::from_json(&serde_json::json!({})).is_err());
    }

    #[test]
    fn names_compare_as_the_index_compares_them() {
        assert_eq!(normal("Foo__Bar.-baz"), "foo-bar-baz");
    }
}
