//! The hand that reads values from the tree and notes every mistake it meets.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use prunella_model::{DataName, ParamName, ParamValue};

use crate::{
    Files,
    diagnostic::{Found, Mark, clip},
    later,
    nearest::Nearest,
    scalar::Scalar,
    section::Section,
    source::Places,
    tree::{NodeId, Tree, Value},
};

/// A value and its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Marked<T> {
    pub value: T,
    pub mark: Mark,
}

pub(crate) struct Reader<'s> {
    pub tree: &'s Tree<'s>,
    pub places: &'s Places<'s>,
    pub files: &'s dyn Files,
    pub found: Found,
    pub nearest: Nearest,
    /// How many files each pattern of code matches: steps may repeat patterns.
    pub matches: HashMap<String, usize>,
    /// Patterns that were understood, by what was written.
    pub patterns: HashMap<&'s str, String>,
    /// What the parameters of the pipeline are; nothing for one whose value is wrong.
    pub values: BTreeMap<ParamName, Option<ParamValue>>,
    /// Parameters that what is read already refers to.
    pub used_params: HashSet<ParamName>,
    /// What the items of the file take so far, in bytes.
    pub item_bytes: u64,
    /// Data that is mounted.
    pub mounted: BTreeSet<DataName>,
    /// Data by reference.
    pub referenced: BTreeSet<DataName>,
}

/// One entry of a mapping whose keys the user chooses.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Entry<'s> {
    pub key: &'s str,
    pub key_mark: Mark,
    pub value: NodeId,
}

/// The known keys of one mapping.
#[derive(Debug)]
pub(crate) struct Fields<'s> {
    section: &'static Section,
    entries: Vec<Entry<'s>>,
    /// Keys that stand there without a value, which was noted.
    empty: Vec<&'s str>,
}

impl<'s> Fields<'s> {
    pub fn get(&self, key: &'static str) -> Option<NodeId> {
        debug_assert!(self.section.keys.contains(&key), "`{key}` is no key of {}", self.section.name);
        self.entries.iter().find(|entry| entry.key == key).map(|entry| entry.value)
    }

    /// Returns whether the key stands there, with or without a value.
    pub fn has(&self, key: &'static str) -> bool {
        self.get(key).is_some() || self.empty.contains(&key)
    }

    pub fn key_mark(&self, key: &'static str) -> Option<Mark> {
        self.entries.iter().find(|entry| entry.key == key).map(|entry| entry.key_mark)
    }
}

impl<'s> Reader<'s> {
    pub fn new(tree: &'s Tree<'s>, places: &'s Places<'s>, files: &'s dyn Files, found: Found) -> Self {
        Self {
            tree,
            places,
            files,
            found,
            nearest: Nearest::default(),
            matches: HashMap::new(),
            patterns: HashMap::new(),
            values: BTreeMap::new(),
            used_params: HashSet::new(),
            item_bytes: 0,
            mounted: BTreeSet::new(),
            referenced: BTreeSet::new(),
        }
    }

    pub fn mark(&self, id: NodeId) -> Mark {
        self.tree.mark(id)
    }

    /// Returns what a message calls this value.
    pub fn kind(&self, id: NodeId) -> &'static str {
        match &self.tree.node(id).value {
            Value::Scalar { text, plain: true } => Scalar::of_plain(text).kind(),
            Value::Scalar { plain: false, .. } => "text",
            Value::Sequence(_) => "a list",
            Value::Mapping(_) => "a mapping",
        }
    }

    pub fn wrong_type(&mut self, id: NodeId, what: &str, expected: &str, help: Option<&str>) {
        let (mark, kind) = (self.mark(id), self.kind(id));
        let message = if kind == "nothing" {
            format!("{what} has no value")
        } else {
            format!("{what} is {expected}, but this is {kind}")
        };
        let code = if kind == "nothing" { "missing-value" } else { "wrong-type" };
        self.found.error(code, mark, message).maybe_help(help.map(str::to_owned));
    }

    /// Returns the entries of a mapping whose keys the user chooses, in order.
    pub fn entries(&mut self, id: NodeId, what: &str, help: &str) -> Option<Vec<Entry<'s>>> {
        let entries = self.pairs(id);
        if entries.is_none() {
            self.wrong_type(id, what, "a mapping", Some(help));
        }
        entries
    }

    fn pairs(&self, id: NodeId) -> Option<Vec<Entry<'s>>> {
        let Value::Mapping(pairs) = &self.tree.node(id).value else { return None };
        let mut entries = Vec::with_capacity(pairs.len());
        for (key, value) in pairs {
            let node = self.tree.node(*key);
            if let Value::Scalar { text, .. } = &node.value {
                entries.push(Entry { key: text, key_mark: node.mark, value: *value });
            }
        }
        Some(entries)
    }

    /// Returns the known keys of a mapping; all others are noted.
    pub fn fields(&mut self, id: NodeId, section: &'static Section) -> Option<Fields<'s>> {
        let mut entries = match self.pairs(id) {
            Some(entries) => entries,
            None => {
                let help = format!("its keys are {}", backticked(section.keys));
                self.wrong_type(id, section.name, "a mapping", Some(&help));
                return None;
            }
        };
        let mut empty = Vec::new();
        entries.retain(|entry| {
            let known = section.keys.contains(&entry.key);
            if !known {
                self.unknown_key(entry, section);
                return false;
            }
            let filled = !self.is_null(entry.value);
            if !filled {
                self.found
                    .error("missing-value", entry.key_mark, format!("`{}` has no value", entry.key))
                    .help("give it one, or remove the key");
                empty.push(entry.key);
            }
            filled
        });
        Some(Fields { section, entries, empty })
    }

    fn unknown_key(&mut self, entry: &Entry<'s>, section: &'static Section) {
        if later::KEYS.contains(&entry.key) {
            let help = if entry.key == "store" { later::STORE } else { later::HELP };
            self.found.error("comes-later", entry.key_mark, later::message(entry.key)).help(help);
            return;
        }
        let help = self.nearest.help(entry.key, section.keys.iter().copied());
        self.found
            .error("unknown-key", entry.key_mark, format!("`{}` is not a key of {}", clip(entry.key), section.name))
            .maybe_help(help);
    }

    pub fn missing_key(&mut self, mark: Mark, section: &Section, key: &str, help: &str) {
        self.found.error("missing-key", mark, format!("{} needs the key `{key}`", section.name)).help(help);
    }

    pub fn is_null(&self, id: NodeId) -> bool {
        matches!(&self.tree.node(id).value, Value::Scalar { text, plain: true } if Scalar::of_plain(text) == Scalar::Null)
    }

    /// Returns a scalar as the user wrote it, without quotes; numbers and `true` are text where text is wanted.
    pub fn text(&mut self, id: NodeId, what: &str) -> Option<&'s str> {
        match &self.tree.node(id).value {
            Value::Scalar { text, .. } if !self.is_null(id) => {
                if text.contains('\0') {
                    let mark = self.mark(id);
                    self.found.error("bad-text", mark, format!("{what} has a zero byte in it"));
                    return None;
                }
                Some(text)
            }
            _ => {
                self.wrong_type(id, what, "text", None);
                None
            }
        }
    }

    /// Returns a text in which nothing is replaced; a `${{` there is a mistake, since it would stay as it is.
    pub fn fixed_text(&mut self, id: NodeId, what: &str) -> Option<&'s str> {
        let text = self.text(id, what)?;
        if text.contains("${{") {
            let mark = self.mark(id);
            self.found
                .error("reference-not-here", mark, format!("{what} cannot have `${{{{ … }}}}` in it"))
                .help("references stand in `run` and `for_each` only");
            return None;
        }
        Some(text)
    }

    /// Returns a text without anything that is not printable in a path or pattern.
    pub fn filled_text(&mut self, id: NodeId, what: &str) -> Option<&'s str> {
        let text = self.fixed_text(id, what)?;
        if text.is_empty() {
            let mark = self.mark(id);
            self.found.error("missing-value", mark, format!("{what} is empty"));
            return None;
        }
        Some(text)
    }

    /// Returns the items of a list, or the one value that stands for a list of one.
    pub fn items(&mut self, id: NodeId, what: &str) -> Option<Vec<NodeId>> {
        match &self.tree.node(id).value {
            Value::Sequence(items) => Some(items.clone()),
            Value::Scalar { .. } if !self.is_null(id) => Some(vec![id]),
            _ => {
                self.wrong_type(id, what, "a list or one text", None);
                None
            }
        }
    }

    pub fn bool(&mut self, id: NodeId, what: &str) -> Option<bool> {
        if let Value::Scalar { text, plain: true } = &self.tree.node(id).value
            && let Scalar::Bool(value) = Scalar::of_plain(text)
        {
            return Some(value);
        }
        self.wrong_type(id, what, "`true` or `false`", None);
        None
    }

    pub fn count(&mut self, id: NodeId, what: &str, least: u32) -> Option<u32> {
        let number = match &self.tree.node(id).value {
            Value::Scalar { text, plain: true } => match Scalar::of_plain(text) {
                Scalar::Integer(number) => number.map_or(Some(Err(())), |n| Some(u32::try_from(n).map_err(drop))),
                _ => None,
            },
            _ => None,
        };
        match number {
            Some(Ok(number)) if number >= least => Some(number),
            Some(_) => {
                let mark = self.mark(id);
                self.found.error(
                    "out-of-range",
                    mark,
                    format!("{what} is a whole number from {least} to {}", u32::MAX),
                );
                None
            }
            None => {
                self.wrong_type(id, what, "a whole number", None);
                None
            }
        }
    }

    /// Returns the choice that this text names.
    pub fn choice<T: Copy>(&mut self, id: NodeId, what: &str, choices: &[(&'static str, T)]) -> Option<T> {
        let text = self.text(id, what)?;
        if let Some((_, value)) = choices.iter().find(|(name, _)| *name == text) {
            return Some(*value);
        }
        let mark = self.mark(id);
        let help = self.nearest.help(text, choices.iter().map(|(name, _)| *name));
        self.found.error("unknown-value", mark, format!("{what} cannot be `{}`", clip(text))).maybe_help(help);
        None
    }

    /// Reads a name of one of the model's types.
    pub fn name<T: std::str::FromStr<Err = prunella_model::NameError>>(
        &mut self,
        text: &str,
        mark: Mark,
        what: &str,
    ) -> Option<T> {
        match text.parse() {
            Ok(name) => Some(name),
            Err(error) => {
                use prunella_model::NameError as E;
                let problem = match error {
                    E::Empty => "is empty".to_owned(),
                    E::TooLong(_) => "is longer than 64 characters".to_owned(),
                    E::Character { character, .. } if text.starts_with(character) => {
                        format!("begins with {}", character_name(character))
                    }
                    E::Character { character, .. } => format!("has {} in it", character_name(character)),
                };
                self.found
                    .error("bad-name", mark, format!("{what} `{}` {problem}", clip(text)))
                    .help("a name begins with a letter a–z and goes on with a–z, 0–9, `_` and `-`");
                None
            }
        }
    }
}

fn character_name(character: char) -> String {
    match character {
        ' ' => "a space".to_owned(),
        c if c.is_ascii_uppercase() => format!("the capital letter `{c}`"),
        c if c.is_control() => format!("the character U+{:04X}", c as u32),
        c => format!("`{c}`"),
    }
}

pub(crate) fn backticked(names: &[&str]) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}
