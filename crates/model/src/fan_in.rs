//! What a fanned-out step's output is as a whole: a folder with one folder an item, and an index.

use std::fmt::Write;

use crate::{Artifact, ArtifactKind, Digest, Encoder, Item, Json};

/// The name of the index in a fan-in folder.
pub const INDEX: &str = "index.json";

/// Returns the text of the index: a JSON list in the order of the items, each with its value, its folder and its path.
///
/// `base_name` is that of the output; every item's lies at `<folder>/<base name>`.
pub fn index_of<'a>(base_name: &str, items: impl IntoIterator<Item = &'a Item>) -> String {
    let quoted = |text: &str| Json::Text(text.to_owned()).to_string();
    let mut text = String::from("[");
    for (i, item) in items.into_iter().enumerate() {
        let folder = item.label();
        let path = quoted(&format!("{folder}/{base_name}"));
        let before = if i > 0 { ",\n" } else { "\n" };
        let _infallible =
            write!(text, "{before}{{\"item\":{},\"folder\":{},\"path\":{path}}}", item.as_str(), quoted(&folder));
    }
    text.push_str(if text.len() > 1 { "\n]\n" } else { "]\n" });
    text
}

/// Returns the artifact that a fan-in folder is, from what each item made; nothing else of the bytes is read.
///
/// The digest is that of the tree as it is laid out ([`crate::tree_digest`]), composed from the digests of its parts.
pub fn fan_in(base_name: &str, parts: &[(&Item, Artifact)]) -> Artifact {
    let index = index_of(base_name, parts.iter().map(|(item, _)| *item));
    let mut entries: Vec<(String, &Artifact)> = parts.iter().map(|(item, artifact)| (item.label(), artifact)).collect();
    entries.sort_by(|a, b| a.0.as_bytes().cmp(b.0.as_bytes()));
    let mut size_bytes = index.len() as u64;
    let mut root = Encoder::new("prunella-tree-1");
    root.list(entries.len() + 1);
    let index_entry = |root: &mut Encoder| {
        root.text(INDEX).field("file").digest(&Digest::of(index.as_bytes()));
    };
    let mut indexed = false;
    for (folder, artifact) in entries {
        if !indexed && folder.as_str() > INDEX {
            index_entry(&mut root);
            indexed = true;
        }
        size_bytes += artifact.size_bytes;
        let mut inner = Encoder::new("prunella-tree-1");
        let kind = match artifact.kind {
            ArtifactKind::File => "file",
            ArtifactKind::Tree => "directory",
        };
        inner.list(1).text(base_name).field(kind).digest(&artifact.digest);
        root.text(&folder).field("directory").digest(&inner.finish());
    }
    if !indexed {
        index_entry(&mut root);
    }
    Artifact { kind: ArtifactKind::Tree, digest: root.finish(), size_bytes }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Tree, TreeEntry, TreeNode, tree_digest};

    fn file(path: &str, content: &str) -> TreeEntry {
        let (digest, size_bytes) = (Digest::of(content.as_bytes()), content.len() as u64);
        TreeEntry { path: path.to_owned(), node: TreeNode::File { digest, size_bytes, executable: false } }
    }

    fn directory(path: &str) -> TreeEntry {
        TreeEntry { path: path.to_owned(), node: TreeNode::Directory }
    }

    #[test]
    fn the_digest_is_that_of_the_folder_as_it_is_laid_out() {
        // Before and after the index in the order of the bytes, a file, a tree, and nothing.
        for labels in [vec!["z", "a", "in"], vec!["index.jsona"], vec![]] {
            let items: Vec<Item> = labels.iter().map(|label| Item::of(&Json::Text((*label).to_owned()))).collect();
            let inside = Tree::new(vec![file("x", "1"), directory("d"), file("d/y", "22")]).expect("a tree");
            let tree =
                Artifact { kind: ArtifactKind::Tree, digest: tree_digest(&inside), size_bytes: inside.size_bytes() };
            let one = Artifact { kind: ArtifactKind::File, digest: Digest::of(b"333"), size_bytes: 3 };
            let parts: Vec<(&Item, Artifact)> =
                items.iter().enumerate().map(|(i, item)| (item, if i == 1 { tree } else { one })).collect();
            let mut whole = vec![file(INDEX, &index_of("out", &items))];
            for (i, label) in labels.iter().enumerate() {
                whole.push(directory(label));
                if i == 1 {
                    whole.push(directory(&format!("{label}/out")));
                    for entry in inside.entries() {
                        let path = format!("{label}/out/{}", entry.path);
                        whole.push(TreeEntry { path, node: entry.node.clone() });
                    }
                } else {
                    whole.push(file(&format!("{label}/out"), "333"));
                }
            }
            let whole = Tree::new(whole).expect("a tree");
            let found = fan_in("out", &parts);
            assert_eq!((found.digest, found.size_bytes), (tree_digest(&whole), whole.size_bytes()), "{labels:?}");
        }
    }

    #[test]
    fn the_index_says_what_is_needed_to_iterate() {
        let items = [Item::from_canonical(r#"{"fold":2}"#), Item::from_canonical("\"A\"")];
        let text = index_of("model", &items);
        let read: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        assert_eq!(read[0]["item"]["fold"], 2);
        assert_eq!(read[0]["path"], "fold=2/model");
        assert_eq!(read[1]["folder"], items[1].label());
        assert_eq!(index_of("model", &[]), "[]\n");
    }
}
