//! Where the outputs of a step are published.

use std::collections::BTreeMap;

use indexmap::IndexMap;
use prunella_model::{DataName, PortName, Publication, RelPath, StepName, is_address};

use crate::{
    diagnostic::{Mark, clip},
    reader::{Entry, Marked, Reader},
    section,
    step::StepDraft,
    tree::{NodeId, Value},
};

/// A publication as written; its path is nothing if it cannot be one.
#[derive(Debug)]
pub(crate) struct PublishDraft {
    pub output: Marked<PortName>,
    pub path: Option<Marked<Publication>>,
    /// Whether the path says that it is a folder.
    folder: bool,
}

/// How a tree lies in a bucket; whether that is a mirror.
const MODES: &[(&str, bool)] = &[("heads", false), ("mirror", true)];

/// The directory of the store, beside the pipeline file unless the user names another.
const STORE: &str = ".prunella";

impl<'s> Reader<'s> {
    /// Reads `publish`; whether the outputs exist is asked later.
    pub fn publish(&mut self, id: NodeId) -> Vec<PublishDraft> {
        let entries = self.entries(id, "`publish`", "write `publish: { OUTPUT: path }`").unwrap_or_default();
        let mut drafts = Vec::with_capacity(entries.len());
        for entry in entries {
            let Some(output) = self.name::<PortName>(entry.key, entry.key_mark, "the output") else { continue };
            let (path, folder) = self.publication(&entry);
            drafts.push(PublishDraft { output: Marked { value: output, mark: entry.key_mark }, path, folder });
        }
        drafts
    }

    fn publication(&mut self, entry: &Entry<'s>) -> (Option<Marked<Publication>>, bool) {
        let (place, mode) = if matches!(self.tree.node(entry.value).value, Value::Mapping(_)) {
            let Some(fields) = self.fields(entry.value, &section::PUBLICATION) else { return (None, false) };
            if !fields.has("path") {
                let help = "write `OUTPUT: { path: out/report.html }`";
                self.missing_key(entry.key_mark, &section::PUBLICATION, "path", help);
            }
            (fields.get("path"), fields.get("mode"))
        } else {
            (Some(entry.value), None)
        };
        let mirror = mode.and_then(|mode| Some((self.mark(mode), self.choice(mode, "`mode`", MODES)?)));
        let Some((place, text)) = place.and_then(|id| Some((id, self.filled_text(id, "a path in `publish`")?))) else {
            return (None, false);
        };
        let (mark, folder) = (self.mark(place), text.ends_with('/'));
        let path = match text.strip_prefix('/') {
            _ if text.contains("://") => self.address(text, mark),
            // An absolute path is checked like one inside of the root.
            Some(below) => {
                self.inside(below, mark, "an absolute path in `publish`", "`/`").map(|path| format!("/{path}"))
            }
            None => {
                let relative = self.inside(text, mark, "a path in `publish`", "the directory of the pipeline file");
                relative.filter(|path| self.outside_of_the_store(path, mark)).map(|path| path.as_str().to_owned())
            }
        };
        if let (Some((mark, _)), Some(path)) = (mirror, &path)
            && !is_address(path)
        {
            self.found
                .error(
                    "contradiction",
                    mark,
                    "`mode` is of trees in buckets: at a path a tree is exchanged in one step",
                )
                .help("leave `mode` out, or publish to `s3://BUCKET/PATH`");
        }
        let mirror = mirror.is_some_and(|(_, mirror)| mirror);
        (path.map(|path| Marked { value: Publication { path, mirror }, mark }), folder)
    }

    /// Reads the address of a place in a bucket; whether it is there is found out when something is published.
    fn address(&mut self, text: &str, mark: Mark) -> Option<String> {
        let form = "write `s3://BUCKET/PATH`, `gs://BUCKET/PATH` or `az://CONTAINER/PATH`";
        let (place, query) = match text.split_once('?') {
            Some((place, query)) => (place, Some(query)),
            None => (text, None),
        };
        let place = place.trim_end_matches('/');
        let rest = place.split_once("://").map_or("", |(_, rest)| rest);
        if !is_address(place) {
            self.found.error("unknown-value", mark, format!("`{}` is no place in a bucket", clip(text))).help(form);
            return None;
        }
        let parts: Vec<&str> = rest.split('/').collect();
        if rest.contains('@') {
            self.found
                .error("secret-in-file", mark, "an address holds no credentials")
                .help("they come from the environment: `prunella run` takes them by each cloud's usual chain");
            return None;
        }
        if parts.len() < 2 || parts.iter().any(|part| part.is_empty() || matches!(*part, "." | "..")) {
            let message = format!("`{}` names no place below a bucket", clip(text));
            self.found.error("bad-path", mark, message).help(form);
            return None;
        }
        Some(query.map_or_else(|| place.to_owned(), |query| format!("{place}?{query}")))
    }

    fn outside_of_the_store(&mut self, path: &RelPath, mark: Mark) -> bool {
        let inside = path.as_str().split('/').next() == Some(STORE);
        if inside {
            self.found
                .error("reserved-path", mark, format!("nothing can be published at `{}`: it is in the store", path))
                .help("take another path, such as `out/report.html`");
        }
        !inside
    }

    /// Checks every publication against the outputs, the other publications, and the data of the pipeline.
    pub fn publications(
        &mut self,
        drafts: &IndexMap<StepName, StepDraft<'s>>,
        data: &BTreeMap<DataName, (Option<String>, Mark)>,
    ) {
        let mut placed: Vec<(&str, String, Mark)> = Vec::new();
        for (step, draft) in drafts {
            if let (Some(first), Some(_)) = (draft.publish.first(), &draft.for_each) {
                self.found
                    .error(
                        "contradiction",
                        first.output.mark,
                        format!("every item of `{step}` would be published at one path"),
                    )
                    .help("publish from a step that reads all its items together");
                continue;
            }
            for publish in &draft.publish {
                let name = &publish.output.value;
                let Some(output) = draft.outputs.iter().find(|output| output.name == *name) else {
                    let help =
                        self.nearest.help(name.as_str(), draft.outputs.iter().map(|output| output.name.as_str()));
                    self.found
                        .error("unknown-reference", publish.output.mark, format!("this step has no output `{name}`"))
                        .maybe_help(help);
                    continue;
                };
                let Some(path) = &publish.path else { continue };
                if publish.folder && output.output.as_ref().is_some_and(|output| !output.value.tree) {
                    self.found
                        .error("wrong-file", path.mark, format!("`{name}` is a file, but the path ends with `/`"))
                        .help("write the path of the file, such as `out/report.html`");
                }
                if path.value.mirror && output.output.as_ref().is_some_and(|output| !output.value.tree) {
                    self.found
                        .error("contradiction", path.mark, format!("`{name}` is a file, and only a tree is mirrored"))
                        .help("leave `mode` out: a file is replaced as a whole");
                }
                placed.push((&path.value.path, format!("`{step}.{name}`"), path.mark));
            }
        }
        let data = data.iter().filter_map(|(name, (path, _))| Some((path.as_deref()?, format!("data.{name}"))));
        for (path, name) in data {
            // Of an address the place, be it all below it.
            let path = path.split_once('?').filter(|_| is_address(path)).map_or(path, |(place, _)| place);
            let path = path.trim_end_matches('/');
            if let Some((_, what, mark)) = placed.iter().find(|(place, ..)| overlap(place, path)) {
                self.found
                    .error(
                        "output-overlap",
                        *mark,
                        format!("{what} would be published over `{name}` at `{}`", clip(path)),
                    )
                    .help("publish beside the data: steps read it as it was pinned");
            }
        }
        // By segments: whatever lies below a path follows it at once.
        placed.sort_by(|a, b| a.0.split('/').cmp(b.0.split('/')).then(a.2.cmp(&b.2)));
        let mut above: Option<usize> = None;
        for (at, (path, what, mark)) in placed.iter().enumerate() {
            match above.map(|above| &placed[above]) {
                Some((other, first, _)) if overlap(other, path) => {
                    let message = if other == path {
                        format!("{first} and {what} would both be published at `{}`", clip(path))
                    } else {
                        format!("{what} would be published inside of {first}, at `{}`", clip(path))
                    };
                    self.found.error("output-overlap", *mark, message).help("give every publication a path of its own");
                }
                _ => above = Some(at),
            }
        }
    }
}

/// Returns whether one of two paths is, or lies below, the other.
fn overlap(a: &str, b: &str) -> bool {
    let below = |a: &str, b: &str| a.strip_prefix(b).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    below(a, b) || below(b, a)
}
