//! The manifest of a stored tree: its entries, and where the bytes of each file lie.
//!
//! Small files lie together in packs, so a place is an object and an offset in it. Every object stands once in a table; an
//! entry names it by its number, since a million names of objects are a hundred times the names of files.

use std::fmt;

use prunella_model::{Digest, TreeEntry, TreeNode};
use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{self, DeserializeSeed, MapAccess, SeqAccess, Visitor, value::MapAccessDeserializer},
    ser::SerializeStruct,
};

/// The version of the manifests that this program writes; it reads all up to this one.
pub const TREE_FORMAT: u32 = 2;

/// The manifest of a stored tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TreeManifest {
    /// Up to [`TREE_FORMAT`]. In format 1 every file is an object of its own.
    pub format: u32,
    /// The objects that hold the bytes of files, each once.
    pub objects: Vec<String>,
    /// The entries, byte-sorted by path.
    pub entries: Vec<StoredEntry>,
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
    /// Returns the name of the object at a place.
    pub fn object(&self, place: Place) -> &str {
        // A place beyond the table is refused when a manifest is read.
        self.objects.get(place.object as usize).map_or("", String::as_str)
    }

    /// Returns every file: its path, its length, its digest, and where its bytes lie.
    pub fn files(&self) -> impl Iterator<Item = (&str, u64, &Digest, Option<Place>)> {
        self.entries.iter().filter_map(|StoredEntry { entry, place }| match &entry.node {
            TreeNode::File { digest, size_bytes, .. } => Some((&*entry.path, *size_bytes, digest, *place)),
            TreeNode::Directory | TreeNode::Symlink { .. } => None,
        })
    }

    /// Returns all objects that the tree needs, its own manifest not among them.
    pub fn into_objects(self) -> Vec<String> {
        self.objects
    }
}

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
        let mut record = serializer.serialize_struct("TreeManifest", 3)?;
        record.serialize_field("format", &self.format)?;
        if self.format == 1 {
            record.serialize_field("entries", &Entries(self, Written::Map))?;
        } else {
            record.serialize_field("objects", &self.objects)?;
            record.serialize_field("entries", &Entries(self, |_, stored| Written::Row(stored)))?;
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
                let mut own = Vec::new();
                while let Some(key) = map.next_key::<String>()? {
                    match key.as_str() {
                        "format" => format = Some(map.next_value()?),
                        "objects" => objects = map.next_value()?,
                        "entries" => entries = Some(map.next_value_seed(EntriesSeed(&mut own))?),
                        _ => drop(map.next_value::<de::IgnoredAny>()?),
                    }
                }
                let format = format.ok_or_else(|| de::Error::missing_field("format"))?;
                let entries: Vec<StoredEntry> = entries.ok_or_else(|| de::Error::missing_field("entries"))?;
                // Format 1 names the object in each entry, later ones in the table.
                let objects = if format == 1 { own } else { objects };
                let known = |stored: &StoredEntry| stored.place.is_none_or(|at| (at.object as usize) < objects.len());
                match entries.iter().find(|stored| !known(stored)) {
                    Some(stored) => Err(de::Error::custom(format!("`{}` is in no object", stored.entry.path))),
                    None => Ok(TreeManifest { format, objects, entries }),
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
            let manifest = TreeManifest { format, objects, entries: entries.clone() };
            let text = serde_json::to_string(&manifest).expect("text");
            assert_eq!(serde_json::from_str::<TreeManifest>(&text).expect("read"), manifest, "{text}");
        }
    }

    #[test]
    fn an_entry_that_names_no_object_of_the_table_is_refused() {
        let read = |entry: StoredEntry| {
            let manifest = TreeManifest { format: 2, objects: vec!["data/aa/x".to_owned()], entries: vec![entry] };
            serde_json::from_str::<TreeManifest>(&serde_json::to_string(&manifest).expect("text"))
        };
        assert!(read(file("a", Some(Place { object: 0, offset: 9 }))).is_ok());
        assert!(read(file("a", Some(Place { object: 1, offset: 0 }))).is_err());
        assert!(serde_json::from_str::<TreeManifest>(r#"{"format":2,"objects":[],"entries":[["f","a"]]}"#).is_err());
    }
}
