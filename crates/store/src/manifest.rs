//! The manifest of a stored tree: its entries, and where the bytes of each file lie.
//!
//! Small files lie together in packs, so a place is an object and an offset in it. Every object stands once in a table; an
//! entry names it by its number, since a million names of objects are a hundred times the names of files. A large file may
//! lie in chunks, each with a place of its own. A single file that does has a manifest with one entry, whose path is empty.

use std::{collections::BTreeMap, fmt};

use prunella_model::{Artifact, Digest, Hasher, TreeEntry, TreeNode};
use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{self, DeserializeSeed, MapAccess, SeqAccess, Visitor, value::MapAccessDeserializer},
    ser::SerializeStruct,
};

/// The newest version of manifests; this program reads all up to this one.
pub const TREE_FORMAT: u32 = 3;

/// The version of a manifest without chunks.
const WITHOUT_CHUNKS: u32 = 2;

/// The manifest of a stored tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TreeManifest {
    /// Up to [`TREE_FORMAT`]. In format 1 every file is an object of its own; chunks exist from 3 on.
    pub format: u32,
    /// The objects that hold the bytes of files, each once.
    pub objects: Vec<String>,
    /// The entries, byte-sorted by path.
    pub entries: Vec<StoredEntry>,
    /// The chunks of those files, by their position among the entries, that lie in chunks.
    pub chunks: BTreeMap<u32, Vec<Chunk>>,
}

/// A stretch of a file, and where it lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Chunk {
    /// What its bytes are.
    pub digest: Digest,
    /// How many there are.
    pub size_bytes: u64,
    /// Where they lie.
    pub place: Place,
}

/// One entry of a stored tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredEntry {
    /// Path and content.
    pub entry: TreeEntry,
    /// Where a file's bytes lie; a file without bytes needs none.
    pub place: Option<Place>,
}

/// Where bytes lie: in which object, and at which offset.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// The number of the object in the manifest's table.
    pub object: u32,
    /// The first byte's offset in it.
    pub offset: u64,
}

impl TreeManifest {
    /// Returns a manifest in the oldest format that can say it.
    pub(crate) fn new(objects: Vec<String>, entries: Vec<StoredEntry>, chunks: BTreeMap<u32, Vec<Chunk>>) -> Self {
        let format = if chunks.is_empty() { WITHOUT_CHUNKS } else { TREE_FORMAT };
        Self { format, objects, entries, chunks }
    }

    /// Returns the manifest of one file that lies in chunks.
    pub(crate) fn of_file(artifact: &Artifact, executable: bool, objects: Vec<String>, chunks: Vec<Chunk>) -> Self {
        let node = TreeNode::File { digest: artifact.digest, size_bytes: artifact.size_bytes, executable };
        let entry = TreeEntry { path: String::new(), node };
        Self::new(objects, vec![StoredEntry { entry, place: None }], BTreeMap::from([(0, chunks)]))
    }

    /// Returns whether this is the manifest of this one file.
    pub(crate) fn is_of_file(&self, artifact: &Artifact) -> bool {
        let [StoredEntry { entry: TreeEntry { path, node }, .. }] = self.entries.as_slice() else { return false };
        let of_artifact = matches!(node, TreeNode::File { digest, size_bytes, .. }
            if (*digest, *size_bytes) == (artifact.digest, artifact.size_bytes));
        path.is_empty() && of_artifact && self.chunks.contains_key(&0)
    }

    /// Returns the chunks of an entry, if it lies in chunks.
    pub fn chunks_of(&self, entry: u32) -> Option<&[Chunk]> {
        self.chunks.get(&entry).map(Vec::as_slice)
    }

    /// Returns the digest of all that says where bytes lie, which the digest of the tree does not cover.
    fn check(&self) -> Digest {
        let mut hasher = Hasher::new();
        hasher.update(&(self.objects.len() as u64).to_le_bytes());
        for object in &self.objects {
            hasher.update(&(object.len() as u64).to_le_bytes());
            hasher.update(object.as_bytes());
        }
        for (at, stored) in self.entries.iter().enumerate() {
            if let Some(Place { object, offset }) = stored.place {
                for number in [at as u64, u64::from(object), offset] {
                    hasher.update(&number.to_le_bytes());
                }
            }
        }
        for (at, chunks) in &self.chunks {
            for number in [u64::MAX, u64::from(*at), chunks.len() as u64] {
                hasher.update(&number.to_le_bytes());
            }
            for Chunk { digest, size_bytes, place } in chunks {
                hasher.update(digest.as_bytes());
                for number in [*size_bytes, u64::from(place.object), place.offset] {
                    hasher.update(&number.to_le_bytes());
                }
            }
        }
        hasher.finish()
    }

    /// Returns what is wrong with where bytes lie, if anything.
    fn misplaced(&self, check: Option<Digest>) -> Option<String> {
        let known = |place: &Place| (place.object as usize) < self.objects.len();
        for (stored, at) in self.entries.iter().zip(0..) {
            let path = &stored.entry.path;
            let TreeNode::File { size_bytes, .. } = &stored.entry.node else { continue };
            let in_chunks = self.format >= TREE_FORMAT && self.chunks.contains_key(&at);
            match &stored.place {
                Some(place) if !known(place) => return Some(format!("`{path}` is in no object")),
                // Offsets are reckoned with.
                Some(place) if place.offset.checked_add(*size_bytes).is_none_or(|end| end > FARTHEST) => {
                    return Some(format!("`{path}` lies beyond every object"));
                }
                // It would be left out without a word.
                None if *size_bytes > 0 && !in_chunks => return Some(format!("`{path}` has bytes and no place")),
                _ => {}
            }
        }
        if self.format < TREE_FORMAT {
            return (!self.chunks.is_empty()).then(|| "there are chunks in a format that has none".to_owned());
        }
        for (at, chunks) in &self.chunks {
            let Some(stored) = self.entries.get(*at as usize) else {
                return Some(format!("there are chunks of entry {at}, and no such entry"));
            };
            let path = &stored.entry.path;
            let size = chunks.iter().try_fold(0_u64, |sum, chunk| sum.checked_add(chunk.size_bytes));
            let whole = matches!(stored.entry.node, TreeNode::File { size_bytes, .. } if Some(size_bytes) == size);
            if !whole || stored.place.is_some() {
                return Some(format!("the chunks of `{path}` do not make it up"));
            }
            let near = |chunk: &Chunk| chunk.place.offset <= FARTHEST - MOST_BYTES;
            let fits =
                |chunk: &Chunk| known(&chunk.place) && (1..=MOST_BYTES).contains(&chunk.size_bytes) && near(chunk);
            if !chunks.iter().all(fits) {
                return Some(format!("a chunk of `{path}` is in no object, or too large"));
            }
        }
        match check {
            Some(check) if check == self.check() => None,
            Some(_) | None => Some("what it says of places is not what was written".to_owned()),
        }
    }

    /// Returns the name of the object at a place.
    pub fn object(&self, place: Place) -> &str {
        // A place beyond the table is refused when a manifest is read.
        self.objects.get(place.object as usize).map_or("", String::as_str)
    }

    /// Returns every file: its path, its length, its digest, and where its bytes lie if they lie together.
    pub fn files(&self) -> impl Iterator<Item = (&str, u64, &Digest, Option<Place>)> {
        self.files_at().map(|(_, file)| file)
    }

    /// Returns every file as [`TreeManifest::files`] does, with its position among the entries.
    pub fn files_at(&self) -> impl Iterator<Item = (u32, (&str, u64, &Digest, Option<Place>))> {
        self.entries.iter().zip(0..).filter_map(|(StoredEntry { entry, place }, at)| match &entry.node {
            TreeNode::File { digest, size_bytes, .. } => Some((at, (&*entry.path, *size_bytes, digest, *place))),
            TreeNode::Directory | TreeNode::Symlink { .. } => None,
        })
    }

    /// Returns all objects that the tree needs, its own manifest not among them.
    pub fn into_objects(self) -> Vec<String> {
        self.objects
    }
}

/// No byte of an object lies farther: what is reckoned with places cannot overflow.
const FARTHEST: u64 = i64::MAX as u64;

/// No chunk is larger: so many bytes of one are in memory at once.
const MOST_BYTES: u64 = crate::chunk::MOST as u64;

/// How format 1 wrote an entry.
#[derive(Serialize, Deserialize)]
struct OwnObject<E> {
    #[serde(flatten)]
    entry: E,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    object: Option<String>,
}

impl Serialize for TreeManifest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut record = serializer.serialize_struct("TreeManifest", 5)?;
        record.serialize_field("format", &self.format)?;
        if self.format == 1 {
            record.serialize_field("entries", &Entries(self, Written::Map))?;
        } else {
            record.serialize_field("objects", &self.objects)?;
            record.serialize_field("entries", &Entries(self, |_, stored| Written::Row(stored)))?;
        }
        if self.format >= TREE_FORMAT {
            record.serialize_field("chunks", &Chunks(&self.chunks))?;
            record.serialize_field("check", &self.check().hex())?;
        }
        record.end()
    }
}

/// All entries in one of the two forms.
struct Entries<'a>(&'a TreeManifest, fn(&'a TreeManifest, &'a StoredEntry) -> Written<'a>);

impl Serialize for Entries<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.entries.iter().map(|stored| self.1(self.0, stored)))
    }
}

/// The table of chunks: a row a file.
struct Chunks<'a>(&'a BTreeMap<u32, Vec<Chunk>>);

/// A chunk as it is written: digest, size, object, offset.
type ChunkRow = (String, u64, u32, u64);

impl Serialize for Chunks<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let row = |chunk: &Chunk| (chunk.digest.hex(), chunk.size_bytes, chunk.place.object, chunk.place.offset);
        serializer
            .collect_seq(self.0.iter().map(|(at, chunks)| (*at, chunks.iter().map(row).collect::<Vec<ChunkRow>>())))
    }
}

fn read_chunks<E: de::Error>(rows: Vec<(u32, Vec<ChunkRow>)>) -> Result<BTreeMap<u32, Vec<Chunk>>, E> {
    let chunk = |(hex, size_bytes, object, offset): ChunkRow| {
        let digest = Digest::from_hex(&hex).map_err(E::custom)?;
        Ok(Chunk { digest, size_bytes, place: Place { object, offset } })
    };
    let row = |(at, chunks): (u32, Vec<ChunkRow>)| Ok((at, chunks.into_iter().map(chunk).collect::<Result<_, E>>()?));
    rows.into_iter().map(row).collect()
}

enum Written<'a> {
    Map(&'a TreeManifest, &'a StoredEntry),
    Row(&'a StoredEntry),
}

impl Serialize for Written<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Map(of, stored) => {
                let object = stored.place.map(|place| of.object(place).to_owned());
                OwnObject { entry: &stored.entry, object }.serialize(serializer)
            }
            Self::Row(StoredEntry { entry: TreeEntry { path, node }, place }) => match (node, place) {
                (TreeNode::Directory, _) => ("d", path).serialize(serializer),
                (TreeNode::Symlink { target }, _) => ("l", path, target).serialize(serializer),
                (TreeNode::File { digest, size_bytes, executable }, place) => {
                    let kind = if *executable { "x" } else { "f" };
                    match place {
                        None => (kind, path, digest.hex(), size_bytes).serialize(serializer),
                        Some(at) => (kind, path, digest.hex(), size_bytes, at.object, at.offset).serialize(serializer),
                    }
                }
            },
        }
    }
}

impl<'de> Deserialize<'de> for TreeManifest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;
        impl<'de> Visitor<'de> for Reader {
            type Value = TreeManifest;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("the manifest of a tree")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<TreeManifest, A::Error> {
                let (mut format, mut objects, mut entries) = (None, Vec::new(), None);
                let (mut own, mut chunks, mut check) = (Vec::new(), BTreeMap::new(), None);
                let mut seen = Vec::new();
                while let Some(key) = map.next_key::<String>()? {
                    // A second one would replace the first, which others may have read.
                    if ["format", "objects", "entries", "chunks", "check"].contains(&key.as_str()) {
                        if seen.contains(&key) {
                            return Err(de::Error::custom(format!("`{key}` stands twice")));
                        }
                        seen.push(key.clone());
                    }
                    match key.as_str() {
                        "format" => format = Some(map.next_value()?),
                        "objects" => objects = map.next_value()?,
                        "entries" => entries = Some(map.next_value_seed(EntriesSeed(&mut own))?),
                        "chunks" => chunks = read_chunks(map.next_value()?)?,
                        "check" => check = Some(map.next_value::<String>()?),
                        _ => drop(map.next_value::<de::IgnoredAny>()?),
                    }
                }
                let format = format.ok_or_else(|| de::Error::missing_field("format"))?;
                let entries: Vec<StoredEntry> = entries.ok_or_else(|| de::Error::missing_field("entries"))?;
                // Format 1 names the object in each entry, later ones in the table.
                let objects = if format == 1 { own } else { objects };
                let check = check.map(|hex| Digest::from_hex(&hex)).transpose().map_err(de::Error::custom)?;
                let manifest = TreeManifest { format, objects, entries, chunks };
                match manifest.misplaced(check) {
                    Some(problem) => Err(de::Error::custom(problem)),
                    None => Ok(manifest),
                }
            }
        }
        deserializer.deserialize_map(Reader)
    }
}

/// Reads entries of both forms; the objects that maps name go into the table.
struct EntriesSeed<'a>(&'a mut Vec<String>);

impl<'de> DeserializeSeed<'de> for EntriesSeed<'_> {
    type Value = Vec<StoredEntry>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for EntriesSeed<'_> {
    type Value = Vec<StoredEntry>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the entries of a tree")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = seq.next_element_seed(EntrySeed(self.0))? {
            entries.push(entry);
        }
        Ok(entries)
    }
}

struct EntrySeed<'a>(&'a mut Vec<String>);

impl<'de> DeserializeSeed<'de> for EntrySeed<'_> {
    type Value = StoredEntry;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<StoredEntry, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for EntrySeed<'_> {
    type Value = StoredEntry;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an entry of a tree")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<StoredEntry, A::Error> {
        let OwnObject { entry, object } = OwnObject::<TreeEntry>::deserialize(MapAccessDeserializer::new(map))?;
        let place = match object {
            None => None,
            Some(object) => {
                let number = u32::try_from(self.0.len()).map_err(de::Error::custom)?;
                self.0.push(object);
                Some(Place { object: number, offset: 0 })
            }
        };
        Ok(StoredEntry { entry, place })
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<StoredEntry, A::Error> {
        let kind: String = required(&mut seq)?;
        let path: String = required(&mut seq)?;
        let (node, place) = match kind.as_str() {
            "d" => (TreeNode::Directory, None),
            "l" => (TreeNode::Symlink { target: required(&mut seq)? }, None),
            "f" | "x" => {
                let hex: String = required(&mut seq)?;
                let digest = Digest::from_hex(&hex).map_err(de::Error::custom)?;
                let size_bytes = required(&mut seq)?;
                let place = match seq.next_element()? {
                    None => None,
                    Some(object) => Some(Place { object, offset: required(&mut seq)? }),
                };
                (TreeNode::File { digest, size_bytes, executable: kind == "x" }, place)
            }
            _ => return Err(de::Error::custom(format!("`{path}` is of the unknown kind `{kind}`"))),
        };
        while seq.next_element::<de::IgnoredAny>()?.is_some() {}
        Ok(StoredEntry { entry: TreeEntry { path, node }, place })
    }
}

fn required<'de, T: Deserialize<'de>, A: SeqAccess<'de>>(seq: &mut A) -> Result<T, A::Error> {
    seq.next_element()?.ok_or_else(|| de::Error::custom("an entry of a tree is too short"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str, place: Option<Place>) -> StoredEntry {
        let digest = Digest::of(path.as_bytes());
        let node = TreeNode::File { digest, size_bytes: 3, executable: path.ends_with("sh") };
        StoredEntry { entry: TreeEntry { path: path.to_owned(), node }, place }
    }

    #[test]
    fn both_formats_are_read_back_as_they_were_written() {
        let at = |object, offset| Some(Place { object, offset });
        let other = |path: &str, node| StoredEntry { entry: TreeEntry { path: path.to_owned(), node }, place: None };
        let entries = vec![
            file("a\n\"b", at(0, 0)),
            other("d", TreeNode::Directory),
            other("l", TreeNode::Symlink { target: "d".to_owned() }),
            file("run.sh", at(1, 0)),
        ];
        for format in [1, 2] {
            let objects = vec!["data/aa/x".to_owned(), "data/aa/y".to_owned()];
            let manifest = TreeManifest { format, objects, entries: entries.clone(), chunks: BTreeMap::new() };
            let text = serde_json::to_string(&manifest).expect("text");
            assert_eq!(serde_json::from_str::<TreeManifest>(&text).expect("read"), manifest, "{text}");
        }
    }

    #[test]
    fn an_entry_that_names_no_object_of_the_table_is_refused() {
        let read = |entry: StoredEntry| {
            let manifest = TreeManifest::new(vec!["data/aa/x".to_owned()], vec![entry], BTreeMap::new());
            serde_json::from_str::<TreeManifest>(&serde_json::to_string(&manifest).expect("text"))
        };
        assert!(read(file("a", Some(Place { object: 0, offset: 9 }))).is_ok());
        assert!(read(file("a", Some(Place { object: 1, offset: 0 }))).is_err());
        assert!(serde_json::from_str::<TreeManifest>(r#"{"format":2,"objects":[],"entries":[["f","a"]]}"#).is_err());
    }

    fn in_chunks() -> TreeManifest {
        let chunk = |size_bytes, object, offset| {
            let digest = Digest::of(&[size_bytes as u8]);
            Chunk { digest, size_bytes, place: Place { object, offset } }
        };
        let entries = vec![file("a", Some(Place { object: 1, offset: 9 })), file("b", None)];
        let chunks = BTreeMap::from([(1, vec![chunk(1, 0, 5), chunk(2, 1, 0)])]);
        TreeManifest::new(vec!["data/aa/x".to_owned(), "data/aa/y".to_owned()], entries, chunks)
    }

    #[test]
    fn chunks_are_read_back_and_without_them_the_format_is_the_old_one() {
        let manifest = in_chunks();
        let text = serde_json::to_string(&manifest).expect("text");
        assert_eq!(serde_json::from_str::<TreeManifest>(&text).expect("read"), manifest, "{text}");
        assert_eq!((manifest.format, TreeManifest::new(vec![], vec![], BTreeMap::new()).format), (3, 2));
        let artifact = Artifact { kind: prunella_model::ArtifactKind::File, digest: Digest::of(b"x"), size_bytes: 3 };
        let single = TreeManifest::of_file(&artifact, true, manifest.objects.clone(), manifest.chunks[&1].clone());
        assert!(single.is_of_file(&artifact) && !manifest.is_of_file(&artifact));
        assert!(!single.is_of_file(&Artifact { size_bytes: 4, ..artifact }));
    }

    #[test]
    fn places_that_rotted_are_noticed_in_the_manifest_itself() {
        let text = serde_json::to_string(&in_chunks()).expect("text");
        for (what, instead) in [
            ("data/aa/x", "data/aa/z"),
            ("\"b\",", "\"c\","),
            (",1,0,5]", ",1,0,4]"),
            (",1,0,5]", ",1,1,5]"),
            (",1,0,5]", ",1,2,5]"),
            (",1,0,5]", ",2,0,5]"),
            (",1,9]", ",1,8]"),
            ("[[1,[[", "[[0,[["),
            ("\"check\":\"", "\"czeck\":\""),
        ] {
            assert!(text.contains(what), "{what} in {text}");
            let rotten = text.replacen(what, instead, 1);
            // The name of a file is covered by the digest of the tree.
            assert_eq!(serde_json::from_str::<TreeManifest>(&rotten).is_err(), what != "\"b\",", "{what}: {rotten}");
        }
    }
}
