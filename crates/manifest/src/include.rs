//! Other files whose parts become parts of this one.
//!
//! Every file is parsed at a place of its own in one long row of characters, so that a mark says file and place at once;
//! then the trees are merged, and everything that reads the tree sees one file.

use std::{collections::HashMap, sync::Arc};

use prunella_model::RelPath;

use crate::{
    Files, Source,
    diagnostic::{Found, Mark, clip},
    reader::Reader,
    source::{MAX_SOURCE_BYTES, Places, read_source},
    tree::{self, NodeId, Tree, Value},
};

/// How deep files may include files.
const MAX_DEPTH: usize = 8;
/// How many files a pipeline may have.
const MAX_FILES: usize = 64;

/// What an included file may hold.
const PARTS: [&str; 8] = ["prunella", "params", "data", "code", "environment", "defaults", "steps", "include"];

/// The pipeline file and all that it includes, each once.
pub(crate) struct Gathered {
    /// The files, the pipeline file first.
    pub sources: Vec<Arc<Source>>,
    /// The included files in the order in which they are merged: what is included before what includes it.
    order: Vec<usize>,
}

/// Returns the file with every file that it includes.
pub(crate) fn gather(root: &Source, files: &dyn Files, found: &mut Found) -> Gathered {
    let (mut all, mut order) = (vec![Arc::new(root.clone())], Vec::new());
    // Without the word there is no key.
    if root.text.contains("include") {
        let bytes = root.text.len();
        let mut gatherer = Gatherer { files, all: &mut all, order: &mut order, paths: Vec::new(), bytes, found };
        gatherer.visit(0, None, &mut Vec::new());
    }
    Gathered { sources: all, order }
}

struct Gatherer<'g> {
    files: &'g dyn Files,
    all: &'g mut Vec<Arc<Source>>,
    order: &'g mut Vec<usize>,
    /// Paths of the files after the first.
    paths: Vec<RelPath>,
    bytes: usize,
    found: &'g mut Found,
}

impl Gatherer<'_> {
    /// Reads what the `at`-th file includes.
    fn visit(&mut self, at: usize, own: Option<&RelPath>, above: &mut Vec<RelPath>) {
        let sources = self.all.clone();
        let places = Places::new(&sources);
        let base = places.base(at);
        // Mistakes of the YAML are noted when all files are parsed.
        let Some(tree) = tree::parse_at(&sources[at], base, &mut Found::default()) else { return };
        let wanted = {
            let mut reader = Reader::new(&tree, &places, self.files, std::mem::take(self.found));
            let wanted = reader.included();
            *self.found = reader.found;
            wanted
        };
        if let Some(own) = own {
            above.push(own.clone());
        }
        for (path, mark) in wanted {
            self.add(path, mark, above);
        }
        if own.is_some() {
            above.pop();
        }
    }

    fn add(&mut self, path: RelPath, mark: Mark, above: &mut Vec<RelPath>) {
        let shown = clip(path.as_str());
        let is_root = std::path::Path::new(&self.all[0].name).file_name().is_some_and(|name| name == path.as_str());
        if above.contains(&path) || is_root {
            let message = format!("`{shown}` includes itself, by way of this file");
            self.found.error("include-cycle", mark, message).help("remove one of the includes");
            return;
        }
        if self.paths.contains(&path) {
            return;
        }
        if above.len() >= MAX_DEPTH || self.paths.len() + 1 >= MAX_FILES {
            let message = format!("files include files at most {MAX_DEPTH} deep, and {MAX_FILES} altogether");
            self.found.error("too-deep", mark, message).help("include the file from the pipeline file itself");
            return;
        }
        let Some(bytes) = self.files.read(path.as_str()) else {
            let help = "paths are relative to the directory of the pipeline file, also in included files";
            self.found.error("missing-file", mark, format!("there is no file `{shown}` to include")).help(help);
            return;
        };
        self.bytes += bytes.len();
        if self.bytes > MAX_SOURCE_BYTES {
            self.found.error("too-large", mark, "the pipeline file and all that it includes have more than 8 MiB");
            return;
        }
        // What is wrong with the whole file is told where it is included.
        match read_source(path.as_str(), bytes) {
            Ok(source) => self.all.push(Arc::new(source)),
            Err(wrong) => {
                for diagnostic in wrong {
                    let named = diagnostic.message.contains(path.as_str());
                    let name = if named { String::new() } else { format!("`{shown}`: ") };
                    self.found.error(diagnostic.code, mark, format!("{name}{}", diagnostic.message));
                }
                return;
            }
        }
        self.paths.push(path.clone());
        let at = self.all.len() - 1;
        self.visit(at, Some(&path), above);
        self.order.push(at);
    }
}

impl Reader<'_> {
    /// Returns the files that this one includes.
    fn included(&mut self) -> Vec<(RelPath, Mark)> {
        let Value::Mapping(pairs) = &self.tree.node(self.tree.root).value else { return Vec::new() };
        let is_include =
            |key: &NodeId| matches!(&self.tree.node(*key).value, Value::Scalar { text, .. } if text == "include");
        let Some((_, value)) = pairs.iter().find(|(key, _)| is_include(key)) else { return Vec::new() };
        if self.is_null(*value) {
            return Vec::new(); // Noted with the other keys.
        }
        let mut paths = Vec::new();
        for item in self.items(*value, "`include`").unwrap_or_default() {
            let Some(text) = self.filled_text(item, "a file in `include`") else { continue };
            let mark = self.mark(item);
            let inside = self.inside(text, mark, "a file in `include`", "the directory of the pipeline file");
            paths.extend(inside.map(|path| (path, mark)));
        }
        paths
    }
}

/// Parses all files and merges their parts into the first; nothing if one of them is not YAML.
///
/// Steps and data of all files are joined, and one that stands in two files is a mistake. Of parameters, `defaults` and
/// `environment` the including file's word counts, and of two included files that of the later one. Code is joined.
pub(crate) fn parse<'s>(gathered: &'s Gathered, places: &Places<'_>, found: &mut Found) -> Option<Tree<'s>> {
    let sources = &gathered.sources;
    let mut tree = tree::parse_at(&sources[0], 0, found);
    let mut roots = Vec::new();
    for (at, source) in sources.iter().enumerate().skip(1) {
        let Some(part) = tree::parse_at(source, places.base(at), found) else {
            tree = None;
            continue;
        };
        roots.extend(tree.as_mut().map(|tree| tree.adopt(part)));
    }
    let mut tree = tree?;
    if !roots.is_empty() {
        // The first of the roots is that of the second file.
        let roots: Vec<NodeId> = gathered.order.iter().map(|at| roots[at - 1]).collect();
        merge(&mut tree, &roots, places, found);
    }
    Some(tree)
}

fn merge(tree: &mut Tree<'_>, roots: &[NodeId], places: &Places<'_>, found: &mut Found) {
    let root = tree.root;
    let Value::Mapping(own) = &tree.node(root).value else { return };
    let mut merged: Vec<(NodeId, NodeId)> = Vec::new();
    let own = own.clone();
    for part in roots {
        let Value::Mapping(pairs) = &tree.node(*part).value else {
            let mark = tree.mark(*part);
            found
                .error("not-a-mapping", mark, "an included file is a mapping")
                .help("it has parts of a pipeline, such as `params:` and `steps:`");
            continue;
        };
        for (key, value) in pairs.clone() {
            let (mark, name) = (tree.mark(key), text(tree, key).to_owned());
            if !PARTS.contains(&name.as_str()) {
                found
                    .error("not-included", mark, format!("`{}` is no part that a file can be included for", clip(&name)))
                    .help("it belongs into the pipeline file itself; included are params, data, code, environment, defaults and steps");
            } else if name == "prunella" {
                if text(tree, value) != "v1" {
                    found
                        .error(
                            "unknown-value",
                            tree.mark(value),
                            "included files are in the format of the pipeline file",
                        )
                        .help("write `prunella: v1`, or leave it out");
                }
            } else if name != "include" {
                lay(tree, &mut merged, (key, value), &name, places, found);
            }
        }
    }
    for (key, value) in own {
        let name = text(tree, key).to_owned();
        if PARTS.contains(&name.as_str()) && name != "include" && name != "prunella" {
            lay(tree, &mut merged, (key, value), &name, places, found);
        } else {
            merged.push((key, value));
        }
    }
    tree.replace(root, merged);
}

/// Lays one part over the same part of the files before.
fn lay(
    tree: &mut Tree<'_>,
    merged: &mut Vec<(NodeId, NodeId)>,
    (key, value): (NodeId, NodeId),
    name: &str,
    places: &Places<'_>,
    found: &mut Found,
) {
    let Some(at) = merged.iter().position(|(other, _)| text(tree, *other) == name) else {
        merged.push((key, value));
        return;
    };
    let below = merged[at].1;
    let joined = match name {
        "steps" | "data" => join(tree, below, value, name, places, found),
        "params" => over(tree, below, value, 1),
        "defaults" => over(tree, below, value, usize::MAX),
        "code" => Some(listed(tree, below, value)),
        _ => None,
    };
    // What cannot be merged is replaced, and read as it is.
    merged[at] = (key, joined.unwrap_or(value));
}

fn text<'t>(tree: &'t Tree<'_>, id: NodeId) -> &'t str {
    match &tree.node(id).value {
        Value::Scalar { text, .. } => text,
        _ => "",
    }
}

fn pairs(tree: &Tree<'_>, id: NodeId) -> Option<Vec<(NodeId, NodeId)>> {
    match &tree.node(id).value {
        Value::Mapping(pairs) => Some(pairs.clone()),
        _ => None,
    }
}

/// Returns the mapping of all entries; each may stand once.
fn join(
    tree: &mut Tree<'_>,
    below: NodeId,
    above: NodeId,
    part: &str,
    places: &Places<'_>,
    found: &mut Found,
) -> Option<NodeId> {
    let (mut all, added) = (pairs(tree, below)?, pairs(tree, above)?);
    let there: HashMap<String, Mark> =
        all.iter().map(|(key, _)| (text(tree, *key).to_owned(), tree.mark(*key))).collect();
    for (key, value) in added {
        match there.get(text(tree, key)) {
            None => all.push((key, value)),
            Some(other) => {
                let what = if part == "steps" { "step" } else { "data set" };
                let message =
                    format!("the {what} `{}` stands in {} as well", clip(text(tree, key)), places.told(*other));
                found.error("duplicate-key", tree.mark(key), message).help("rename or remove one of the two");
            }
        }
    }
    Some(tree.mapping(above, all))
}

/// Returns the mapping of all entries, those of `above` in place of those of `below`; mappings in it likewise, so deep.
fn over(tree: &mut Tree<'_>, below: NodeId, above: NodeId, depth: usize) -> Option<NodeId> {
    let (mut all, added) = (pairs(tree, below)?, pairs(tree, above)?);
    for (key, value) in added {
        match all.iter().position(|(other, _)| text(tree, *other) == text(tree, key)) {
            None => all.push((key, value)),
            Some(at) => {
                let deeper = if depth > 1 { over(tree, all[at].1, value, depth - 1) } else { None };
                all[at] = (key, deeper.unwrap_or(value));
            }
        }
    }
    Some(tree.mapping(above, all))
}

fn listed(tree: &mut Tree<'_>, below: NodeId, above: NodeId) -> NodeId {
    let items = |tree: &Tree<'_>, id: NodeId| match &tree.node(id).value {
        Value::Sequence(items) => items.clone(),
        _ => vec![id],
    };
    let all = [items(tree, below), items(tree, above)].concat();
    tree.sequence(above, all)
}
