//! Numbers, texts and digests as bytes, and back.

use prunella_model::{Artifact, ArtifactKind, Digest, PortName};
use serde::{Serialize, de::DeserializeOwned};

use crate::state::Artifacts;

/// Bytes that are being written.
#[derive(Debug, Default)]
pub(crate) struct Put {
    bytes: Vec<u8>,
    /// Names of outputs that were written before: a pipeline has few, its steps many.
    ports: Vec<PortName>,
}

impl Put {
    pub(crate) fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    pub(crate) fn byte(&mut self, byte: u8) {
        self.bytes.push(byte);
    }

    /// Seven bits a byte, the lowest first; the highest bit says that more follow.
    pub(crate) fn number(&mut self, mut n: u64) {
        while n >= 0x80 {
            self.bytes.push(n as u8 | 0x80);
            n >>= 7;
        }
        self.bytes.push(n as u8);
    }

    pub(crate) fn bytes(&mut self, bytes: &[u8]) {
        self.number(bytes.len() as u64);
        self.bytes.extend_from_slice(bytes);
    }

    pub(crate) fn digest(&mut self, digest: &Digest) {
        self.bytes.extend_from_slice(digest.as_bytes());
    }

    pub(crate) fn json(&mut self, value: &impl Serialize) {
        let json = serde_json::to_vec(value).expect("what a summary holds has only string keys");
        self.bytes(&json);
    }

    pub(crate) fn artifacts(&mut self, artifacts: &Artifacts) {
        self.number(artifacts.len() as u64);
        for (port, artifact) in artifacts {
            match self.ports.iter().position(|known| known == port) {
                Some(known) => self.number(known as u64),
                None => {
                    self.number(self.ports.len() as u64);
                    self.bytes(port.as_str().as_bytes());
                    self.ports.push(port.clone());
                }
            }
            self.byte(match artifact.kind {
                ArtifactKind::File => 0,
                ArtifactKind::Tree => 1,
            });
            self.digest(&artifact.digest);
            self.number(artifact.size_bytes);
        }
    }
}

/// Bytes that are being read; whatever they should not be is nothing.
#[derive(Debug, Clone)]
pub(crate) struct Take<'a> {
    bytes: &'a [u8],
    ports: Vec<PortName>,
}

impl<'a> Take<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, ports: Vec::new() }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    pub(crate) fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.bytes.split_first()?;
        self.bytes = rest;
        Some(*first)
    }

    pub(crate) fn number(&mut self) -> Option<u64> {
        let mut n = 0;
        for shift in (0..u64::BITS).step_by(7) {
            let byte = self.byte()?;
            n |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Some(n);
            }
        }
        None
    }

    pub(crate) fn small(&mut self) -> Option<u32> {
        self.number()?.try_into().ok()
    }

    /// Reads how many follow, each of at least one byte: no more are made room for than there can be.
    pub(crate) fn count(&mut self) -> Option<usize> {
        let count = usize::try_from(self.number()?).ok()?;
        (count <= self.bytes.len()).then_some(count)
    }

    pub(crate) fn bytes(&mut self) -> Option<&'a [u8]> {
        let count = self.count()?;
        let (these, rest) = self.bytes.split_at(count);
        self.bytes = rest;
        Some(these)
    }

    pub(crate) fn text(&mut self) -> Option<&'a str> {
        std::str::from_utf8(self.bytes()?).ok()
    }

    pub(crate) fn digest(&mut self) -> Option<Digest> {
        let (these, rest) = self.bytes.split_first_chunk::<32>()?;
        self.bytes = rest;
        Some(Digest::from_bytes(*these))
    }

    pub(crate) fn json<T: DeserializeOwned>(&mut self) -> Option<T> {
        serde_json::from_slice(self.bytes()?).ok()
    }

    pub(crate) fn artifacts(&mut self) -> Option<Artifacts> {
        let count = self.count()?;
        let mut artifacts = Vec::with_capacity(count);
        for _ in 0..count {
            let known = usize::try_from(self.number()?).ok()?;
            if known == self.ports.len() {
                let port = PortName::new(self.text()?).ok()?;
                self.ports.push(port);
            }
            let port = self.ports.get(known)?.clone();
            let kind = match self.byte()? {
                0 => ArtifactKind::File,
                1 => ArtifactKind::Tree,
                _ => return None,
            };
            let (digest, size_bytes) = (self.digest()?, self.number()?);
            artifacts.push((port, Artifact { kind, digest, size_bytes }));
        }
        Some(artifacts.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_come_back_and_a_cut_is_nothing() {
        let numbers = [0, 1, 127, 128, 300, u64::from(u32::MAX), u64::MAX];
        let mut put = Put::default();
        numbers.iter().for_each(|n| put.number(*n));
        let bytes = put.into_bytes();
        let mut take = Take::new(&bytes);
        assert_eq!(numbers.map(|_| take.number()), numbers.map(Some));
        assert!(take.is_empty());
        assert_eq!(take.number(), None);
        assert_eq!(Take::new(&[0x80; 3]).number(), None);
        assert_eq!(Take::new(&[0xff; 20]).number(), None);
    }

    #[test]
    fn no_more_are_made_room_for_than_there_can_be() {
        let mut put = Put::default();
        put.number(u64::MAX / 2);
        assert_eq!(Take::new(&put.into_bytes()).count(), None);
    }
}
