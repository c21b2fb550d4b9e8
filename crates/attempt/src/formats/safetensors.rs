//! Safetensors: a JSON header whose tensors cover the rest of the file exactly.

use super::{BUFFER, MAX_HEADER, ReadSeek, read_at, seek, shown};
use serde::Deserialize;
use serde::de::{Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use std::collections::HashSet;
use std::fmt;
use std::io::{BufReader, Read};

/// Checks the header, and that its tensors lie one after the other and fill the bytes after it.
pub(super) fn check(reader: &mut dyn ReadSeek, size: u64) -> Result<(), String> {
    let room = size.checked_sub(8).ok_or("too short for safetensors: fewer than 8 bytes")?;
    let mut length = [0; 8];
    read_at(reader, 0, &mut length)?;
    let length = u64::from_le_bytes(length);
    if length > room {
        return Err(format!("safetensors header of {length} bytes does not fit the {room} bytes after its length"));
    }
    if length > MAX_HEADER {
        return Err(format!("safetensors header of {length} bytes is larger than {MAX_HEADER}"));
    }
    let mut first = [0; 1];
    if length > 0 {
        read_at(reader, 8, &mut first)?;
    }
    if first != *b"{" {
        return Err("safetensors header does not begin with `{` at byte 8".to_owned());
    }
    seek(reader, 8)?;
    let mut parser = serde_json::Deserializer::from_reader(BufReader::with_capacity(BUFFER, reader.take(length)));
    let header = Header::deserialize(&mut parser)
        .and_then(|header| parser.end().map(|()| header))
        .map_err(|error| format!("safetensors header: {error}"))?;
    header.covers(room - length)
}

/// The places of all tensors, `[begin, end)` after the header.
struct Header(Vec<(u64, u64)>);

impl Header {
    fn covers(mut self, length: u64) -> Result<(), String> {
        self.0.sort_unstable();
        let mut covered = 0;
        for &(begin, end) in &self.0 {
            if begin != covered {
                let problem = if begin < covered { "overlap" } else { "leave a hole" };
                return Err(format!("safetensors tensors {problem} at data byte {}", begin.min(covered)));
            }
            covered = end;
        }
        if covered != length {
            return Err(format!("safetensors tensors end at data byte {covered}, the file at data byte {length}"));
        }
        Ok(())
    }
}

impl<'de> Deserialize<'de> for Header {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(HeaderVisitor)
    }
}

struct HeaderVisitor;

impl<'de> Visitor<'de> for HeaderVisitor {
    type Value = Header;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a map of tensors")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Header, A::Error> {
        let mut names = HashSet::new();
        let mut places = Vec::new();
        while let Some(name) = map.next_key::<Box<str>>()? {
            if &*name == "__metadata__" {
                map.next_value::<Metadata>()?;
            } else {
                let tensor: Tensor = map.next_value()?;
                let place = tensor.place().map_err(|problem| {
                    A::Error::custom(format_args!("tensor {}: {problem}", shown(name.as_bytes())))
                })?;
                places.push(place);
            }
            if let Some(twice) = names.replace(name) {
                return Err(A::Error::custom(format_args!("{} stands there twice", shown(twice.as_bytes()))));
            }
        }
        Ok(Header(places))
    }
}

/// One tensor's entry; what else stands in it is ignored, as the format's own reader does.
#[derive(Deserialize)]
struct Tensor {
    dtype: String,
    shape: Elements,
    data_offsets: (u64, u64),
}

impl Tensor {
    fn place(&self) -> Result<(u64, u64), String> {
        let (begin, end) = self.data_offsets;
        let length = end.checked_sub(begin).ok_or_else(|| format!("ends at {end} before it begins at {begin}"))?;
        let bits = bits_of(&self.dtype).ok_or_else(|| format!("unknown dtype {}", shown(self.dtype.as_bytes())))?;
        let needed = self.shape.0.saturating_mul(bits);
        if needed != u128::from(length) * 8 {
            return Err(format!("{length} bytes for a shape and dtype of {needed} bits"));
        }
        Ok((begin, end))
    }
}

/// Returns the size of one element in bits.
fn bits_of(dtype: &str) -> Option<u128> {
    Some(match dtype {
        "F4" => 4,
        "F6_E2M3" | "F6_E3M2" => 6,
        "BOOL" | "U8" | "I8" | "F8_E4M3" | "F8_E5M2" | "F8_E8M0" | "F8_E4M3FNUZ" | "F8_E5M2FNUZ" => 8,
        "U16" | "I16" | "F16" | "BF16" => 16,
        "U32" | "I32" | "F32" => 32,
        "U64" | "I64" | "F64" | "C64" => 64,
        _ => return None,
    })
}

/// The number of elements that a shape has: its product, saturated.
struct Elements(u128);

impl<'de> Deserialize<'de> for Elements {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(ElementsVisitor)
    }
}

struct ElementsVisitor;

impl<'de> Visitor<'de> for ElementsVisitor {
    type Value = Elements;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a list of dimensions")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut dimensions: A) -> Result<Elements, A::Error> {
        let mut product: u128 = 1;
        while let Some(dimension) = dimensions.next_element::<u64>()? {
            product = product.saturating_mul(u128::from(dimension));
        }
        Ok(Elements(product))
    }
}

/// The map of strings beside the tensors; nothing of it is kept.
struct Metadata;

impl<'de> Deserialize<'de> for Metadata {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(MetadataVisitor)
    }
}

struct MetadataVisitor;

impl<'de> Visitor<'de> for MetadataVisitor {
    type Value = Metadata;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a map of strings")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Metadata, A::Error> {
        while map.next_entry::<String, String>()?.is_some() {}
        Ok(Metadata)
    }
}
