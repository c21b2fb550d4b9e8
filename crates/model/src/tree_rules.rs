//! What a tree may hold: plain names that mean one thing everywhere, and links that stay inside.

use std::collections::{HashMap, HashSet};

use unicode_normalization::UnicodeNormalization;

use crate::{TreeEntry, TreeError, TreeNode};

/// A link is followed through so many others; more is a circle, or as good as one.
const MOST_LINKS: usize = 40;

/// Returns what is wrong with the structure of sorted entries, the first `most` problems.
pub(crate) fn structure(entries: &[TreeEntry], most: usize) -> Vec<TreeError> {
    let mut directories: HashSet<&str> = HashSet::new();
    let mut before: Option<&str> = None;
    let wrong = entries.iter().filter_map(|entry| {
        let path = &entry.path;
        if !is_plain(path) {
            return Some(TreeError::Path { path: path.clone() });
        }
        let inside = path.rsplit_once('/').is_none_or(|(parent, _)| directories.contains(parent));
        if !inside || before == Some(path) {
            return Some(TreeError::Structure { path: path.clone() });
        }
        before = Some(path);
        if entry.node == TreeNode::Directory {
            directories.insert(path);
        }
        None
    });
    wrong.take(most).collect()
}

/// Returns which names and links of sorted entries no tree may have, the first `most` problems.
pub(crate) fn names_and_links(entries: &[TreeEntry], most: usize) -> Vec<TreeError> {
    // Only digests are kept: a million names are not held twice.
    let mut folded: HashMap<[u8; 16], u32> = HashMap::with_capacity(entries.len());
    let same = entries.iter().zip(0..).filter_map(|(entry, at)| {
        let first = folded.insert(folded_key(&entry.path), at)?;
        let first = entries[first as usize].path.clone();
        Some(TreeError::Case { first, second: entry.path.clone() })
    });
    let out = entries.iter().filter_map(|entry| match &entry.node {
        TreeNode::Symlink { target } if !stays_inside(entries, &entry.path, target) => {
            Some(TreeError::Link { path: entry.path.clone(), target: target.clone() })
        }
        _ => None,
    });
    same.chain(out).take(most).collect()
}

fn is_plain(path: &str) -> bool {
    !path.split('/').any(|s| s.is_empty() || s == "." || s == ".." || s.contains('\0'))
}

/// Two names with the same key are one on some file system: they differ only in case, or in how letters are put together.
fn folded_key(path: &str) -> [u8; 16] {
    let digest = if path.is_ascii() {
        blake3::hash(path.to_ascii_lowercase().as_bytes())
    } else {
        blake3::hash(path.nfd().flat_map(char::to_lowercase).nfd().collect::<String>().as_bytes())
    };
    let mut key = [0; 16];
    key.copy_from_slice(&digest.as_bytes()[..16]);
    key
}

/// Returns whether a link leads to a place in its tree, also by way of other links.
fn stays_inside(entries: &[TreeEntry], path: &str, target: &str) -> bool {
    if target.is_empty() || target.starts_with('/') || target.contains('\0') {
        return false;
    }
    let mut here: Vec<&str> = path.split('/').collect();
    here.pop();
    let mut left: Vec<&str> = target.split('/').rev().collect();
    let mut links = 0;
    while let Some(segment) = left.pop() {
        match segment {
            "" | "." => {}
            ".." => {
                if here.pop().is_none() {
                    return false;
                }
            }
            name => {
                here.push(name);
                // Only what is followed by more has to be known: the last one is where the link leads, itself inside.
                let Some(TreeNode::Symlink { target }) = node(entries, &here).filter(|_| !left.is_empty()) else {
                    continue;
                };
                links += 1;
                if links > MOST_LINKS || target.is_empty() || target.starts_with('/') {
                    return false;
                }
                here.pop();
                left.extend(target.split('/').rev());
            }
        }
    }
    true
}

fn node<'a>(entries: &'a [TreeEntry], path: &[&str]) -> Option<&'a TreeNode> {
    let path = path.join("/");
    let at = entries.binary_search_by(|entry| entry.path.as_bytes().cmp(path.as_bytes())).ok()?;
    Some(&entries[at].node)
}

/// Returns a name as it can be shown: one line, control characters and bytes that are no text written as escapes.
pub fn shown(name: &[u8]) -> String {
    let mut text = String::with_capacity(name.len());
    for chunk in name.utf8_chunks() {
        for letter in chunk.valid().chars() {
            // What turns the direction of writing could show one name as another.
            let turns = matches!(letter, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
            match letter {
                '\\' => text.push_str("\\\\"),
                // Names stand between these.
                '`' => text.extend(letter.escape_unicode()),
                letter if letter.is_control() || turns || letter == '\u{2028}' || letter == '\u{2029}' => {
                    text.extend(letter.escape_default());
                }
                letter => text.push(letter),
            }
        }
        for byte in chunk.invalid() {
            text.push_str(&format!("\\x{byte:02x}"));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Digest, Tree};

    fn entry(path: &str, node: TreeNode) -> TreeEntry {
        TreeEntry { path: path.to_owned(), node }
    }

    fn file(path: &str) -> TreeEntry {
        entry(path, TreeNode::File { digest: Digest::of(b""), size_bytes: 0, executable: false })
    }

    fn link(path: &str, target: &str) -> TreeEntry {
        entry(path, TreeNode::Symlink { target: target.to_owned() })
    }

    fn directory(path: &str) -> TreeEntry {
        entry(path, TreeNode::Directory)
    }

    #[test]
    fn names_that_are_one_on_some_file_system_are_refused() {
        for (a, b) in [("A", "a"), ("é", "e\u{301}"), ("É", "e\u{301}"), ("Å", "\u{212b}")] {
            assert!(Tree::checked(vec![file(a), file(b)], 9).is_err(), "{a} {b}");
        }
        for (a, b) in [("a", "b"), ("é", "e"), ("a b", "a  b"), ("-a", "--a"), ("a\n", "a")] {
            assert!(Tree::checked(vec![file(a), file(b)], 9).is_ok(), "{a} {b}");
        }
        // Also when they are parents of what differs.
        let below = vec![directory("X"), file("X/1"), directory("x"), file("x/2")];
        assert!(matches!(&Tree::checked(below, 9).expect_err("refused")[..], [TreeError::Case { .. }]));
    }

    #[test]
    fn a_link_that_leads_out_through_another_link_is_refused() {
        let around = |target: &str| {
            let entries =
                vec![directory("x"), directory("x/y"), link("x/y/up", "../.."), link("x/y/l", target), file("f")];
            Tree::checked(entries, 9).is_ok()
        };
        assert!(around("up/f") && around("up") && around("../../f") && around("up/x/y") && around("nothing/there"));
        assert!(!around("up/.."), "`up` is the root, and above it is outside");
        assert!(!around("../../..") && !around("/f") && !around(""));
        let circle = vec![link("a", "b/x"), link("b", "a/x")];
        assert!(Tree::checked(circle, 9).is_err(), "a circle leads nowhere");
        assert!(Tree::checked(vec![link("a", "b"), link("b", "a")], 9).is_ok(), "it names only what is inside");
    }

    #[test]
    fn all_problems_are_told_at_once_up_to_a_bound() {
        let mut entries: Vec<TreeEntry> = (0..30).map(|n| link(&format!("l{n}"), "/etc")).collect();
        entries.push(file("../x"));
        assert_eq!(Tree::checked(entries.clone(), 50).expect_err("refused").len(), 31);
        assert_eq!(Tree::checked(entries, 7).expect_err("refused").len(), 7);
    }

    #[test]
    fn what_is_shown_is_one_line_and_says_every_byte() {
        assert_eq!(shown("schön bunt".as_bytes()), "schön bunt");
        assert_eq!(shown(b"a\nb\x1b[31m`\\"), "a\\nb\\u{1b}[31m\\u{60}\\\\");
        assert_eq!(shown(b"\xff\xc3("), "\\xff\\xc3(");
        assert_eq!(shown("a\u{202e}b".as_bytes()), "a\\u{202e}b");
    }
}
