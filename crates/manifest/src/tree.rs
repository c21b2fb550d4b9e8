//! YAML as a tree whose nodes know their places, with every bound that hostile files need.

use std::{
    borrow::Cow,
    collections::{HashMap, HashSet},
};

use saphyr_parser::{Event, Parser, ScalarStyle, Span};

use crate::{
    diagnostic::{Found, Mark, clip, clip_to},
    source::{EMPTY_HELP, Source},
};

/// Deeper nesting is refused; a pipeline needs less than ten levels.
const MAX_DEPTH: usize = 64;
const TOO_DEEP: &str = "this is nested more than 64 levels deep";
/// What aliases may add to a file, in bytes of text plus 16 for every node.
const MAX_ALIASED: u64 = 4 << 20;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct NodeId(u32);

#[derive(Debug)]
pub(crate) enum Value<'a> {
    /// Text, and whether it stood without quotes.
    Scalar {
        text: Cow<'a, str>,
        plain: bool,
    },
    Sequence(Vec<NodeId>),
    Mapping(Vec<(NodeId, NodeId)>),
}

#[derive(Debug)]
pub(crate) struct Node<'a> {
    pub value: Value<'a>,
    pub mark: Mark,
    /// Bytes of text below it plus 16 for every node, aliases counted as what they stand for.
    pub weight: u64,
}

/// A document; aliases are edges to the node that they stand for, and there is no circle.
#[derive(Debug)]
pub(crate) struct Tree<'a> {
    nodes: Vec<Node<'a>>,
    pub root: NodeId,
}

impl<'a> Tree<'a> {
    pub fn node(&self, id: NodeId) -> &Node<'a> {
        &self.nodes[id.0 as usize]
    }

    pub fn mark(&self, id: NodeId) -> Mark {
        self.node(id).mark
    }
}

/// Merging several files into one tree.
impl<'a> Tree<'a> {
    /// Takes the nodes of another tree in and returns its root.
    pub fn adopt(&mut self, other: Tree<'a>) -> NodeId {
        let shift = self.nodes.len() as u32;
        let moved = |id: &NodeId| NodeId(id.0 + shift);
        self.nodes.extend(other.nodes.into_iter().map(|node| {
            let value = match node.value {
                Value::Scalar { text, plain } => Value::Scalar { text, plain },
                Value::Sequence(items) => Value::Sequence(items.iter().map(moved).collect()),
                Value::Mapping(pairs) => Value::Mapping(pairs.iter().map(|(k, v)| (moved(k), moved(v))).collect()),
            };
            Node { value, ..node }
        }));
        moved(&other.root)
    }

    /// Gives a mapping other pairs.
    pub fn replace(&mut self, id: NodeId, pairs: Vec<(NodeId, NodeId)>) {
        self.nodes[id.0 as usize].value = Value::Mapping(pairs);
    }

    /// Returns a new mapping at the place of `like`.
    pub fn mapping(&mut self, like: NodeId, pairs: Vec<(NodeId, NodeId)>) -> NodeId {
        let weight = pairs.iter().map(|(key, value)| self.node(*key).weight + self.node(*value).weight).sum();
        self.add(Value::Mapping(pairs), like, weight)
    }

    /// Returns a new list at the place of `like`.
    pub fn sequence(&mut self, like: NodeId, items: Vec<NodeId>) -> NodeId {
        let weight = items.iter().map(|item| self.node(*item).weight).sum();
        self.add(Value::Sequence(items), like, weight)
    }

    fn add(&mut self, value: Value<'a>, like: NodeId, weight: u64) -> NodeId {
        let id = NodeId(self.nodes.len() as u32);
        let mark = self.mark(like);
        self.nodes.push(Node { value, mark, weight: weight.saturating_add(16) });
        id
    }
}

struct Open {
    node: NodeId,
    anchor: usize,
    mapping: bool,
    /// Where its children begin in the builder's list.
    children: usize,
    weight: u64,
}

struct Builder<'a> {
    nodes: Vec<Node<'a>>,
    open: Vec<Open>,
    /// Children of all open nodes; those of the innermost are the last.
    children: Vec<NodeId>,
    /// By the parser's number: the node, once it is complete.
    anchors: HashMap<usize, Option<NodeId>>,
    root: Option<NodeId>,
    /// Where the file begins in the row of all files.
    base: u32,
    aliased: u64,
}

/// Returns the tree of the only document in `source`, its marks counted from `base`; mistakes that hide the tree are the
/// last of `found`.
pub(crate) fn parse_at<'a>(source: &'a Source, base: u32, found: &mut Found) -> Option<Tree<'a>> {
    let start = Mark { start: base, end: base };
    let mut parser = Parser::new_from_str(&source.text);
    let mut builder = Builder {
        nodes: Vec::with_capacity(source.text.len() / 8),
        open: Vec::new(),
        children: Vec::new(),
        base,
        anchors: HashMap::new(),
        root: None,
        aliased: 0,
    };
    let mut documents = 0;
    while let Some(event) = parser.next_event() {
        let (event, span) = match event {
            Ok(event) => event,
            Err(error) => {
                let at = error.marker().index() as u32;
                not_yaml(source, error.info(), at, base, found);
                return None;
            }
        };
        let mark = Mark { start: base + span.start.index() as u32, end: base + span.end.index() as u32 };
        match event {
            Event::DocumentStart(_) => {
                documents += 1;
                if documents > 1 {
                    found
                        .error("many-documents", mark, "a second document begins here")
                        .help("one file holds one pipeline; remove the `---`");
                    return None;
                }
            }
            Event::StreamEnd => break,
            event => builder.take(event, mark, &span, found)?,
        }
    }
    match builder.root {
        Some(root) => {
            let tree = Tree { nodes: builder.nodes, root };
            if let Value::Scalar { text, plain: true } = &tree.node(root).value
                && text.is_empty()
            {
                found.error("empty-file", start, "there is nothing in this file but comments").help(EMPTY_HELP);
                return None;
            }
            Some(tree)
        }
        None => {
            found.error("empty-file", start, "there is nothing in this file but comments").help(EMPTY_HELP);
            None
        }
    }
}

fn not_yaml(source: &Source, info: &str, at: u32, base: u32, found: &mut Found) {
    let mark = Mark { start: base + at, end: base + at + 1 };
    if info.contains("recursion limit") {
        // The scanner looks ahead further than the tree is built.
        found.error("too-deep", mark, TOO_DEEP);
        return;
    }
    let byte = source.text.char_indices().nth(at as usize).map_or(source.text.len(), |(byte, _)| byte);
    let line_start = source.text[..byte].rfind('\n').map_or(0, |end| end + 1);
    let line = source.text[line_start..].lines().next().unwrap_or_default();
    let tab = line.trim_start_matches(' ').starts_with('\t');
    let help = if tab {
        "YAML is indented with spaces, never with tabs"
    } else if line.contains("${{") {
        "text with `${{ … }}` inside `{ … }` or `[ … ]` needs quotes"
    } else if info.starts_with("mapping values are not allowed") {
        "text with `: ` in it needs quotes; otherwise look for a missing line break or uneven indentation"
    } else {
        "look for a missing quote, bracket or colon here or just above, and for uneven indentation"
    };
    found.error("not-yaml", mark, format!("this is not YAML: {}", clip_to(info, 200))).help(help);
}

impl<'a> Builder<'a> {
    fn take(&mut self, event: Event<'a>, mark: Mark, span: &Span, found: &mut Found) -> Option<()> {
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                refuse_tag(tag.is_some(), mark, found)?;
                let weight = 16 + text.len() as u64;
                let plain = style == ScalarStyle::Plain;
                // A block scalar's place is its header: the text below it is shown by the reader's own message.
                let id = self.push(Value::Scalar { text, plain }, mark, weight);
                if anchor > 0 {
                    self.anchors.insert(anchor, Some(id));
                }
                self.attach(id, weight);
            }
            Event::SequenceStart(anchor, tag) => {
                refuse_tag(tag.is_some(), mark, found)?;
                self.begin(Value::Sequence(Vec::new()), anchor, mark, found)?;
            }
            Event::MappingStart(anchor, tag) => {
                refuse_tag(tag.is_some(), mark, found)?;
                self.begin(Value::Mapping(Vec::new()), anchor, mark, found)?;
            }
            Event::SequenceEnd | Event::MappingEnd => self.end(self.base + span.end.index() as u32, found)?,
            Event::Alias(anchor) => self.alias(anchor, mark, found)?,
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentStart(_) | Event::DocumentEnd => {}
        }
        Some(())
    }

    fn push(&mut self, value: Value<'a>, mark: Mark, weight: u64) -> NodeId {
        // At most 8 MiB of text: the number of nodes fits.
        let id = NodeId(self.nodes.len() as u32);
        self.nodes.push(Node { value, mark, weight });
        id
    }

    fn attach(&mut self, id: NodeId, weight: u64) {
        match self.open.last_mut() {
            Some(open) => {
                self.children.push(id);
                open.weight += weight;
            }
            None => self.root = Some(id),
        }
    }

    fn begin(&mut self, value: Value<'a>, anchor: usize, mark: Mark, found: &mut Found) -> Option<()> {
        if self.open.len() >= MAX_DEPTH {
            found.error("too-deep", mark, TOO_DEEP);
            return None;
        }
        let mapping = matches!(value, Value::Mapping(_));
        let node = self.push(value, mark, 16);
        if anchor > 0 {
            self.anchors.insert(anchor, None);
        }
        self.open.push(Open { node, anchor, mapping, children: self.children.len(), weight: 16 });
        Some(())
    }

    fn end(&mut self, end: u32, found: &mut Found) -> Option<()> {
        let Open { node, anchor, mapping, children, weight } = self.open.pop()?;
        let value = if mapping {
            Value::Mapping(self.pairs(children, found))
        } else {
            Value::Sequence(self.children[children..].to_vec())
        };
        self.children.truncate(children);
        let slot = &mut self.nodes[node.0 as usize];
        slot.value = value;
        slot.weight = weight;
        slot.mark.end = end.max(slot.mark.end);
        if anchor > 0 {
            self.anchors.insert(anchor, Some(node));
        }
        self.attach(node, weight);
        Some(())
    }

    fn alias(&mut self, anchor: usize, mark: Mark, found: &mut Found) -> Option<()> {
        let Some(Some(target)) = self.anchors.get(&anchor).copied() else {
            found.error("alias-cycle", mark, "this alias stands inside what it stands for");
            return None;
        };
        let weight = self.nodes[target.0 as usize].weight;
        self.aliased = self.aliased.saturating_add(weight);
        if self.aliased > MAX_ALIASED {
            found
                .error("alias-bomb", mark, "the aliases up to here stand for more than 4 MiB")
                .help("write shared settings under `defaults`");
            return None;
        }
        self.attach(target, weight);
        Some(())
    }

    /// Returns the pairs, from this child on, whose keys are text and stand there for the first time.
    fn pairs(&self, from: usize, found: &mut Found) -> Vec<(NodeId, NodeId)> {
        let children = &self.children[from..];
        let mut pairs = Vec::with_capacity(children.len() / 2);
        let mut seen = Seen::of(children.len() / 2);
        for pair in children.chunks_exact(2) {
            let (key, value) = (pair[0], pair[1]);
            let node = &self.nodes[key.0 as usize];
            let Value::Scalar { text, plain } = &node.value else {
                found.error("wrong-type", node.mark, "a key is text, not a list or a mapping");
                continue;
            };
            if *plain && text == "<<" {
                found
                    .error("merge-key", node.mark, "merge keys (`<<`) are not used in a pipeline file")
                    .help("write shared settings under `defaults`");
            } else if seen.is_new(text) {
                pairs.push((key, value));
            } else {
                found
                    .error("duplicate-key", node.mark, format!("`{}` stands here a second time", clip(text)))
                    .help("remove one of the two");
            }
        }
        pairs
    }
}

/// The keys of one mapping so far; most mappings are small.
enum Seen<'a> {
    Few(Vec<&'a str>),
    Many(HashSet<&'a str>),
}

impl<'a> Seen<'a> {
    fn of(size: usize) -> Self {
        if size <= 16 { Self::Few(Vec::with_capacity(size)) } else { Self::Many(HashSet::with_capacity(size)) }
    }

    fn is_new(&mut self, key: &'a str) -> bool {
        match self {
            Self::Few(keys) if keys.contains(&key) => false,
            Self::Few(keys) => {
                keys.push(key);
                true
            }
            Self::Many(keys) => keys.insert(key),
        }
    }
}

fn refuse_tag(tagged: bool, mark: Mark, found: &mut Found) -> Option<()> {
    if !tagged {
        return Some(());
    }
    found.error("yaml-tag", mark, "tags such as `!!str` are not used in a pipeline file").help("put text in quotes");
    None
}
