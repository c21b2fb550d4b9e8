//! The canonical encoding under every key and tree digest: typed, length-prefixed, unambiguous.

use crate::{Digest, Hasher};

/// Feeds values into a digest; two different sequences of calls never give the same bytes.
///
/// Each value is a tag byte, then its length as `u64` little endian, then its bytes:
///
/// | tag | value | bytes |
/// | --- | --- | --- |
/// | `t` | text | UTF-8, unchanged |
/// | `b` | bytes | as they are |
/// | `i` | integer | 16 bytes, two's complement, little endian |
/// | `d` | digest | 32 bytes |
/// | `f` | a named field | the name; its value follows |
/// | `l` | list | the number of elements as 8 bytes, little endian; the elements follow |
/// | `n` | nothing | none |
///
/// Numbers that are not whole enter as the text the user wrote. `docs/formats/step-key.md` has test vectors.
#[derive(Clone, Default)]
pub struct Encoder(Hasher);

impl Encoder {
    /// Returns an encoder that starts with `format`, so that formats never collide.
    pub fn new(format: &str) -> Self {
        let mut encoder = Self::default();
        encoder.text(format);
        encoder
    }

    fn value(&mut self, tag: u8, bytes: &[u8]) -> &mut Self {
        let mut head = [tag, 0, 0, 0, 0, 0, 0, 0, 0];
        head[1..].copy_from_slice(&(bytes.len() as u64).to_le_bytes());
        self.0.update(&head);
        self.0.update(bytes);
        self
    }

    /// Adds a text.
    pub fn text(&mut self, text: &str) -> &mut Self {
        self.value(b't', text.as_bytes())
    }

    /// Adds bytes.
    pub fn bytes(&mut self, bytes: &[u8]) -> &mut Self {
        self.value(b'b', bytes)
    }

    /// Adds an integer, exactly.
    pub fn integer(&mut self, n: i128) -> &mut Self {
        self.value(b'i', &n.to_le_bytes())
    }

    /// Adds a digest.
    pub fn digest(&mut self, digest: &Digest) -> &mut Self {
        self.value(b'd', digest.as_bytes())
    }

    /// Adds the name of a field; its value must follow.
    pub fn field(&mut self, name: &str) -> &mut Self {
        self.value(b'f', name.as_bytes())
    }

    /// Adds the head of a list of `n` elements; they must follow.
    pub fn list(&mut self, n: usize) -> &mut Self {
        self.value(b'l', &(n as u64).to_le_bytes())
    }

    /// Adds an absent value.
    pub fn nothing(&mut self) -> &mut Self {
        self.value(b'n', &[])
    }

    /// Returns the digest of everything added.
    pub fn finish(&self) -> Digest {
        self.0.finish()
    }
}
