//! Trees of files, their Merkle digest, and what a tree may hold.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use crate::{
    Digest, Encoder,
    tree_rules::{self, shown},
};

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
    #[error("`{}` is not a plain relative path", shown(path.as_bytes()))]
    Path {
        /// The path.
        path: String,
    },
    /// A link is absolute or leads out of the tree.
    #[error("the link `{}` → `{}` leads out of the tree", shown(path.as_bytes()), shown(target.as_bytes()))]
    Link {
        /// The link.
        path: String,
        /// Where it leads.
        target: String,
    },
    /// Two names differ only in case or Unicode normalisation; on many file systems they are one.
    #[error("`{}` and `{}` differ only in case or Unicode form", shown(first.as_bytes()), shown(second.as_bytes()))]
    Case {
        /// One of them.
        first: String,
        /// The other.
        second: String,
    },
    /// The same path twice, or something below what is not a directory.
    #[error("`{}` stands twice, or below something that is not a directory", shown(path.as_bytes()))]
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
    pub fn new(entries: Vec<TreeEntry>) -> Result<Self, TreeError> {
        Self::checked(entries, 1).map_err(|mut problems| problems.swap_remove(0))
    }

    /// Returns the tree of these entries, sorted, or what it may not hold: the first `most` problems, at least one.
    ///
    /// # Errors
    /// See [`Tree::new`].
    pub fn checked(mut entries: Vec<TreeEntry>, most: usize) -> Result<Self, Vec<TreeError>> {
        entries.sort_unstable_by(|a, b| a.path.as_bytes().cmp(b.path.as_bytes()));
        let mut problems = tree_rules::structure(&entries, most.max(1));
        problems.extend(tree_rules::names_and_links(&entries, most.max(1) - problems.len()));
        if problems.is_empty() { Ok(Self(entries)) } else { Err(problems) }
    }

    /// Returns the tree of entries as they were recorded, sorted.
    ///
    /// That they were asked when the tree was made is not believed: whoever can write to a store can write a record.
    ///
    /// # Errors
    /// [`TreeError`] for entries that are not sorted, or that no tree may hold.
    pub fn recorded(entries: Vec<TreeEntry>) -> Result<Self, TreeError> {
        if let Some(pair) = entries.windows(2).find(|pair| pair[0].path.as_bytes() >= pair[1].path.as_bytes()) {
            return Err(TreeError::Structure { path: pair[1].path.clone() });
        }
        let problem = tree_rules::structure(&entries, 1).pop();
        match problem.or_else(|| tree_rules::names_and_links(&entries, 1).pop()) {
            Some(problem) => Err(problem),
            None => Ok(Self(entries)),
        }
    }

    /// Returns the entries themselves.
    pub fn into_entries(self) -> Vec<TreeEntry> {
        self.0
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

/// Returns the Merkle digest of a tree: names in byte order, contents, executable bits and links; nothing else.
///
/// A directory's digest covers, for every child, its name, its kind, and its digest or link text. Owners, times,
/// other mode bits and the way the bytes are packed in a store do not enter.
pub fn tree_digest(tree: &Tree) -> Digest {
    let mut children: HashMap<&str, Vec<(&str, &TreeNode)>> = HashMap::new();
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
    directories.sort_by_cached_key(|path| std::cmp::Reverse(path.matches('/').count()));
    directories.push("");
    let mut digests: HashMap<&str, Digest> = HashMap::new();
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
