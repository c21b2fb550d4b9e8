//! Trees of files, their Merkle digest, and what a tree may hold.

use std::collections::{BTreeMap, HashSet};

use serde::{Deserialize, Serialize};

use crate::{Digest, Encoder};

/// What stands at one path of a tree.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", tag = "kind")]
pub enum TreeNode {
    /// A regular file.
    File {
        /// BLAKE3 of its bytes.
        digest: Digest,
        /// Its length.
        size_bytes: u64,
        /// Whether its owner may execute it.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        executable: bool,
    },
    /// A directory; its entries stand in the tree on their own.
    Directory,
    /// A relative symbolic link that stays inside the tree.
    Symlink {
        /// The text of the link.
        target: String,
    },
}

/// One entry of a tree.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TreeEntry {
    /// The path relative to the tree, `/`-separated, UTF-8.
    pub path: String,
    /// What stands there.
    #[serde(flatten)]
    pub node: TreeNode,
}

/// All entries of a tree, parents before children, byte-sorted by path; the root itself is not an entry.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Tree(Vec<TreeEntry>);

/// Why something cannot be a tree.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TreeError {
    /// A path is empty, absolute, or has `.`, `..`, an empty segment or a NUL in it.
    #[error("`{path}` is not a plain relative path")]
    Path {
        /// The path.
        path: String,
    },
    /// A link is absolute or leads out of the tree.
    #[error("the link `{path}` → `{target}` leads out of the tree")]
    Link {
        /// The link.
        path: String,
        /// Where it leads.
        target: String,
    },
    /// Two names differ only in case; on many file systems they are one.
    #[error("`{first}` and `{second}` differ only in case")]
    Case {
        /// One of them.
        first: String,
        /// The other.
        second: String,
    },
    /// The same path twice, or something below what is not a directory.
    #[error("`{path}` stands twice, or below something that is not a directory")]
    Structure {
        /// The path.
        path: String,
    },
}

impl Tree {
    /// Returns the tree of these entries, sorted.
    ///
    /// # Errors
    /// [`TreeError`] for the first entry that a tree may not hold (protocol: Step key).
    pub fn new(mut entries: Vec<TreeEntry>) -> Result<Self, TreeError> {
        entries.sort_by(|a, b| a.path.as_bytes().cmp(b.path.as_bytes()));
        let mut folded: HashSet<String> = HashSet::with_capacity(entries.len());
        let mut directories: HashSet<&str> = HashSet::new();
        let mut seen: HashSet<&str> = HashSet::with_capacity(entries.len());
        for entry in &entries {
            check_path(&entry.path)?;
            if let TreeNode::Symlink { target } = &entry.node {
                check_link(&entry.path, target)?;
            }
            let inside = entry.path.rsplit_once('/').is_none_or(|(parent, _)| directories.contains(parent));
            if !inside || !seen.insert(&entry.path) {
                return Err(TreeError::Structure { path: entry.path.clone() });
            }
            if entry.node == TreeNode::Directory {
                directories.insert(&entry.path);
            }
            let fold = entry.path.to_lowercase();
            if folded.contains(&fold) {
                let first = seen.iter().find(|p| p.to_lowercase() == fold && **p != entry.path);
                return Err(TreeError::Case {
                    first: first.map_or_else(String::new, |p| (*p).to_owned()),
                    second: entry.path.clone(),
                });
            }
            folded.insert(fold);
        }
        Ok(Self(entries))
    }

    /// Returns the entries, byte-sorted by path.
    pub fn entries(&self) -> &[TreeEntry] {
        &self.0
    }

    /// Returns the bytes of all files together.
    pub fn size_bytes(&self) -> u64 {
        self.0
            .iter()
            .map(|entry| match &entry.node {
                TreeNode::File { size_bytes, .. } => *size_bytes,
                TreeNode::Directory | TreeNode::Symlink { .. } => 0,
            })
            .sum()
    }
}

fn check_path(path: &str) -> Result<(), TreeError> {
    let bad = |s: &str| s.is_empty() || s == "." || s == ".." || s.contains('\0');
    if path.split('/').any(bad) { Err(TreeError::Path { path: path.to_owned() }) } else { Ok(()) }
}

fn check_link(path: &str, target: &str) -> Result<(), TreeError> {
    let out = || TreeError::Link { path: path.to_owned(), target: target.to_owned() };
    if target.is_empty() || target.starts_with('/') || target.contains('\0') {
        return Err(out());
    }
    let mut depth = path.matches('/').count() as i64;
    for segment in target.split('/') {
        depth += match segment {
            ".." => -1,
            "" | "." => 0,
            _ => 1,
        };
        if depth < 0 {
            return Err(out());
        }
    }
    Ok(())
}

/// Returns the Merkle digest of a tree: names in byte order, contents, executable bits and links; nothing else.
///
/// A directory's digest covers, for every child, its name, its kind, and its digest or link text. Owners, times,
/// other mode bits and the way the bytes are packed in a store do not enter.
pub fn tree_digest(tree: &Tree) -> Digest {
    let mut children: BTreeMap<&str, Vec<(&str, &TreeNode)>> = BTreeMap::new();
    for entry in tree.entries() {
        let (parent, name) = entry.path.rsplit_once('/').unwrap_or(("", &entry.path));
        children.entry(parent).or_default().push((name, &entry.node));
    }
    // Deepest directories first, so that a recursion cannot overflow on hostile depth.
    let mut directories: Vec<&str> = tree
        .entries()
        .iter()
        .filter(|entry| entry.node == TreeNode::Directory)
        .map(|entry| entry.path.as_str())
        .collect();
    directories.sort_by_key(|path| std::cmp::Reverse(path.matches('/').count()));
    directories.push("");
    let mut digests: BTreeMap<&str, Digest> = BTreeMap::new();
    for directory in directories {
        let mut encoder = Encoder::new("prunella-tree-1");
        let mut inside = children.remove(directory).unwrap_or_default();
        inside.sort_by(|a, b| a.0.as_bytes().cmp(b.0.as_bytes()));
        encoder.list(inside.len());
        for (name, node) in inside {
            encoder.text(name);
            match node {
                TreeNode::File { digest, executable, .. } => {
                    encoder.field(if *executable { "executable" } else { "file" }).digest(digest);
                }
                TreeNode::Symlink { target } => {
                    encoder.field("symlink").text(target);
                }
                TreeNode::Directory => {
                    let path = if directory.is_empty() { name.to_owned() } else { format!("{directory}/{name}") };
                    let digest = digests.get(path.as_str()).expect("deeper directories come first");
                    encoder.field("directory").digest(digest);
                }
            }
        }
        digests.insert(directory, encoder.finish());
    }
    digests[""]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str, content: &str) -> TreeEntry {
        TreeEntry {
            path: path.to_owned(),
            node: TreeNode::File {
                digest: Digest::of(content.as_bytes()),
                size_bytes: content.len() as u64,
                executable: false,
            },
        }
    }

    fn directory(path: &str) -> TreeEntry {
        TreeEntry { path: path.to_owned(), node: TreeNode::Directory }
    }

    fn link(path: &str, target: &str) -> TreeEntry {
        TreeEntry { path: path.to_owned(), node: TreeNode::Symlink { target: target.to_owned() } }
    }

    #[test]
    fn order_of_discovery_does_not_matter_and_every_name_does() {
        let a = Tree::new(vec![file("b", "2"), directory("d"), file("d/x", "1")]).expect("a tree");
        let b = Tree::new(vec![file("d/x", "1"), file("b", "2"), directory("d")]).expect("a tree");
        let c = Tree::new(vec![file("d/y", "1"), file("b", "2"), directory("d")]).expect("a tree");
        let empty = Tree::new(vec![file("b", "2"), directory("d")]).expect("a tree");
        let none = Tree::new(vec![file("b", "2")]).expect("a tree");
        assert_eq!(tree_digest(&a), tree_digest(&b));
        let all = [&a, &c, &empty, &none].map(tree_digest);
        for (i, x) in all.iter().enumerate() {
            assert!(all[i + 1..].iter().all(|y| x != y));
        }
    }

    #[test]
    fn what_a_tree_may_not_hold_is_refused() {
        let refused = |entries| Tree::new(entries).expect_err("refused");
        assert!(matches!(refused(vec![link("l", "../x")]), TreeError::Link { .. }));
        assert!(matches!(refused(vec![link("l", "/etc/passwd")]), TreeError::Link { .. }));
        assert!(matches!(refused(vec![file("../x", "")]), TreeError::Path { .. }));
        assert!(matches!(refused(vec![file("A", ""), file("a", "")]), TreeError::Case { .. }));
        assert!(matches!(refused(vec![file("a", ""), file("a", "")]), TreeError::Structure { .. }));
        assert!(matches!(refused(vec![file("a", ""), file("a/b", "")]), TreeError::Structure { .. }));
        assert!(Tree::new(vec![directory("d"), link("d/l", "../x"), file("x", "")]).is_ok());
    }
}
