//! Where an object lies.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use crate::error::ObjectsError;

/// Names an object: segments of `[A-Za-z0-9._=@+-]` joined by `/`, at most 512 bytes. Cheap to clone.
///
/// No segment is empty, `.` or `..`. Keys are ordered by their bytes, as every backend lists them.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ObjectKey(Arc<str>);

impl ObjectKey {
    /// The length of the longest key, in bytes.
    pub const MAX_BYTES: usize = 512;

    /// Returns the key `text`.
    ///
    /// # Errors
    /// [`ObjectsError::InvalidKey`] if it is not one.
    pub fn new(text: impl AsRef<str>) -> Result<Self, ObjectsError> {
        let text = text.as_ref();
        if text.len() <= Self::MAX_BYTES && is_key(text.as_bytes()) {
            Ok(ObjectKey(text.into()))
        } else {
            Err(ObjectsError::InvalidKey { key: text.chars().take(Self::MAX_BYTES).collect() })
        }
    }

    /// Returns the key as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The bytes that a segment may have.
const ALLOWED: [bool; 256] = {
    let mut allowed = [false; 256];
    let mut byte = 0_u8;
    while byte < 128 {
        allowed[byte as usize] =
            byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'=' | b'@' | b'+' | b'-');
        byte += 1;
    }
    allowed
};

/// Says whether every segment is one; in one go, since lists have hundreds of thousands.
fn is_key(text: &[u8]) -> bool {
    let mut begin = 0;
    for (at, byte) in text.iter().chain(b"/").enumerate() {
        if *byte == b'/' {
            if matches!(&text[begin..at], b"" | b"." | b"..") {
                return false;
            }
            begin = at + 1;
        } else if !ALLOWED[usize::from(*byte)] {
            return false;
        }
    }
    true
}

impl AsRef<str> for ObjectKey {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl std::borrow::Borrow<str> for ObjectKey {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl FromStr for ObjectKey {
    type Err = ObjectsError;

    fn from_str(text: &str) -> Result<Self, ObjectsError> {
        Self::new(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_cannot_leave_the_store_or_hide_in_it() {
        let long = "a".repeat(513);
        for bad in ["", "/", "/a", "a/", "a//b", ".", "..", "a/../b", "a/./b", "a b", "a%b", "ä", "a\n", long.as_str()]
        {
            assert!(matches!(ObjectKey::new(bad), Err(ObjectsError::InvalidKey { .. })), "{bad:?}");
        }
        for good in ["a", "a/b", "..a", "a..", "A-Z0.9_=@+-/x", &long[1..]] {
            assert_eq!(ObjectKey::new(good).unwrap().as_str(), good);
        }
    }
}
