//! Inputs and outputs of a step.

use std::collections::HashMap;

use prunella_model::{Check, ContentFormat, DataName, Output, PortName, RelPath, Source, StepName};

use crate::{
    diagnostic::{Mark, clip},
    reader::{Entry, Marked, Reader},
    section,
    tree::{NodeId, Value},
};

/// A declared output; its name counts even if its description is wrong.
#[derive(Debug)]
pub(crate) struct OutputDraft {
    pub name: PortName,
    pub output: Option<Marked<Output>>,
}

const MAX_PATH: usize = 1024;

const FORMATS: &[(&str, ContentFormat)] = &[
    ("any", ContentFormat::Any),
    ("json", ContentFormat::Json),
    ("jsonl", ContentFormat::Jsonl),
    ("gzip", ContentFormat::Gzip),
    ("zip", ContentFormat::Zip),
    ("parquet", ContentFormat::Parquet),
    ("safetensors", ContentFormat::Safetensors),
    ("npy", ContentFormat::Npy),
    ("npz", ContentFormat::Npz),
];

impl<'s> Reader<'s> {
    /// Reads `inputs`; whether what they name exists is asked later.
    pub fn inputs(&mut self, id: NodeId) -> Vec<(PortName, Marked<Source>)> {
        let help = "write `inputs: { NAME: step.output }`";
        let entries = self.entries(id, "`inputs`", help).unwrap_or_default();
        let names = self.port_names(&entries, "the input", "PRUNELLA_INPUT_");
        let mut inputs = Vec::with_capacity(entries.len());
        for (entry, name) in entries.iter().zip(names) {
            let source = self.input_source(entry);
            if let (Some(name), Some(value)) = (name, source) {
                inputs.push((name, Marked { value, mark: self.mark(entry.value) }));
            }
        }
        inputs
    }

    fn input_source(&mut self, entry: &Entry<'s>) -> Option<Source> {
        let text = self.fixed_text(entry.value, "an input")?;
        let mark = self.mark(entry.value);
        let Some((from, name)) = text.split_once('.') else {
            self.found
                .error("bad-reference", mark, format!("`{}` does not say where the input comes from", clip(text)))
                .help("write `data.NAME` for data, or `STEP.OUTPUT` for an output of another step");
            return None;
        };
        if from == "data" {
            return self.name::<DataName>(name, mark, "the name").map(Source::Data);
        }
        let step = self.name::<StepName>(from, mark, "the name")?;
        let output = self.name::<PortName>(name, mark, "the name")?;
        Some(Source::Step { step, output })
    }

    /// Reads `outputs`.
    pub fn outputs(&mut self, id: NodeId) -> Vec<OutputDraft> {
        let help = "write `outputs: { NAME: path }`";
        let entries = self.entries(id, "`outputs`", help).unwrap_or_default();
        let names = self.port_names(&entries, "the output", "PRUNELLA_OUTPUT_");
        let mut outputs = Vec::with_capacity(entries.len());
        for (entry, name) in entries.iter().zip(names) {
            let output = self.output(entry);
            outputs.extend(name.map(|name| OutputDraft { name, output }));
        }
        self.overlaps(&outputs);
        outputs
    }

    /// Reads the names and notes those that would be one environment variable.
    fn port_names(&mut self, entries: &[Entry<'s>], what: &str, prefix: &str) -> Vec<Option<PortName>> {
        let mut variables: HashMap<String, &str> = HashMap::new();
        let mut names = Vec::with_capacity(entries.len());
        for entry in entries {
            let name: Option<PortName> = self.name(entry.key, entry.key_mark, what);
            if entries.len() > 1
                && let Some(name) = &name
                && let Some(other) = variables.insert(name.to_variable(), entry.key)
            {
                let message =
                    format!("`{other}` and `{name}` would both be `{prefix}{}` in the environment", name.to_variable());
                self.found.error("name-collision", entry.key_mark, message).help("rename one of the two");
            }
            names.push(name);
        }
        names
    }

    fn output(&mut self, entry: &Entry<'s>) -> Option<Marked<Output>> {
        let (path, check) = if matches!(self.tree.node(entry.value).value, Value::Mapping(_)) {
            let fields = self.fields(entry.value, &section::OUTPUT)?;
            if !fields.has("path") {
                self.missing_key(entry.key_mark, &section::OUTPUT, "path", "write `NAME: { path: model.npz }`");
            }
            (fields.get("path"), fields.get("check"))
        } else {
            (Some(entry.value), None)
        };
        let text = path.and_then(|path| self.filled_text(path, "the path of an output"));
        // Without a path, the check is read as that of whatever it could be.
        let tree = text.map(|text| text.ends_with('/'));
        let place = path.zip(text).and_then(|(path, text)| self.output_path(text, path));
        let check = check.map_or(Some(Check::default()), |id| self.check(id, tree));
        let value = Output { path: place?, tree: tree?, check: check? };
        path.map(|path| Marked { value, mark: self.mark(path) })
    }

    fn output_path(&mut self, text: &str, id: NodeId) -> Option<RelPath> {
        let mark = self.mark(id);
        let path = self.inside(text, mark, "the path of an output", "the step's workspace")?;
        let first = path.as_str().split('/').next().unwrap_or_default();
        if matches!(first, "inputs" | "checkpoint") || first.starts_with('.') {
            let why = match first {
                "inputs" => "the inputs of the step are laid out there",
                "checkpoint" => "that name is kept for checkpoints",
                _ => "names that begin with a dot are kept for Prunella and for caches of programs",
            };
            self.found
                .error("reserved-path", mark, format!("an output cannot be at `{}`: {why}", clip(text)))
                .help("take another path, such as `out/`");
            return None;
        }
        Some(path)
    }

    /// Returns a relative path without `..`; `what` lies inside `place`.
    pub fn inside(&mut self, text: &str, mark: Mark, what: &str, place: &str) -> Option<RelPath> {
        let problem = if text.len() > MAX_PATH {
            ("bad-path", format!("{what} is longer than {MAX_PATH} bytes"))
        } else if text.chars().any(char::is_control) {
            ("bad-path", format!("{what} has a control character in it"))
        } else if text.starts_with('/') {
            ("path-outside", format!("{what} is absolute: `{}`", clip(text)))
        } else if text.starts_with('~') {
            ("path-outside", format!("{what} begins with `~`, which is not expanded: `{}`", clip(text)))
        } else if text.split('/').any(|segment| segment == "..") {
            ("path-outside", format!("{what} has `..` in it: `{}`", clip(text)))
        } else if let Ok(path) = RelPath::new(text) {
            return Some(path);
        } else {
            ("bad-path", format!("{what} names nothing: `{}`", clip(text)))
        };
        self.found.error(problem.0, mark, problem.1).help(format!("write a path relative to, and inside, {place}"));
        None
    }

    fn check(&mut self, id: NodeId, tree: Option<bool>) -> Option<Check> {
        let fields = self.fields(id, &section::CHECK)?;
        let mut files = Vec::new();
        if let Some(id) = fields.get("files") {
            if tree == Some(false) {
                let mark = fields.key_mark("files").unwrap_or(self.mark(id));
                self.found
                    .error("contradiction", mark, "`files` is a check of a folder, but this output is a file")
                    .help("write the path with `/` at its end if it is a folder");
            }
            for item in self.items(id, "`files`").unwrap_or_default() {
                files.extend(self.pattern(item, "a pattern of `files`"));
            }
        }
        let min_size = fields.get("min_size").and_then(|id| self.quantity(id, "`min_size`"));
        let max_size = fields.get("max_size").and_then(|id| self.quantity(id, "`max_size`"));
        if let (Some(least), Some(most), Some(mark)) = (min_size, max_size, fields.key_mark("max_size"))
            && least > most
        {
            self.found.error("reversed-range", mark, format!("`max_size` ({most}) is less than `min_size` ({least})"));
        }
        let format = fields.get("format").and_then(|id| {
            if tree == Some(true) {
                let mark = fields.key_mark("format").unwrap_or(self.mark(id));
                self.found
                    .error("contradiction", mark, "`format` is a check of a file, but this output is a folder")
                    .help("remove it; write `files: [\"*.json\"]` to demand files in the folder");
            }
            self.choice(id, "`format`", FORMATS)
        });
        let command = fields.get("command").and_then(|id| self.filled_text(id, "`command`")).map(str::to_owned);
        Some(Check { files, min_size, max_size, format, command })
    }

    /// Returns a pattern for paths inside a directory, without `./` and doubled slashes.
    pub fn pattern(&mut self, id: NodeId, what: &str) -> Option<String> {
        let text = self.filled_text(id, what)?;
        if let Some(pattern) = self.patterns.get(text) {
            return Some(pattern.clone());
        }
        let mark = self.mark(id);
        let pattern = self.inside(text, mark, what, "the directory")?.as_str().to_owned();
        if let Err(error) = globset::GlobBuilder::new(&pattern).literal_separator(true).build() {
            self.found
                .error("bad-pattern", mark, format!("{what} is not understood: {}", error.kind()))
                .help("`*` stands for any part of a name, `**` for any folders, `?` for one character");
            return None;
        }
        self.patterns.insert(text, pattern.clone());
        Some(pattern)
    }

    /// Notes outputs that lie at, or inside, one another.
    fn overlaps(&mut self, outputs: &[OutputDraft]) {
        if outputs.len() < 2 {
            return;
        }
        let mut placed: Vec<(&RelPath, &PortName, Mark)> = outputs
            .iter()
            .filter_map(|draft| draft.output.as_ref().map(|o| (&o.value.path, &draft.name, o.mark)))
            .collect();
        // By segments: whatever lies below a path follows it at once.
        placed.sort_by(|a, b| a.0.as_str().split('/').cmp(b.0.as_str().split('/')));
        let mut above: Option<(&RelPath, &PortName, Mark)> = None;
        for this in placed {
            match above {
                Some(other) if other.0.overlaps(this.0) => {
                    let (first, second) = if other.2 <= this.2 { (other, this) } else { (this, other) };
                    let message = if first.0 == second.0 {
                        format!("the outputs `{}` and `{}` are both at `{}`", first.1, second.1, second.0)
                    } else {
                        format!(
                            "the output `{}` at `{}` and the output `{}` at `{}` lie inside one another",
                            second.1, second.0, first.1, first.0
                        )
                    };
                    self.found.error("output-overlap", second.2, message).help("give every output a path of its own");
                }
                _ => above = Some(this),
            }
        }
    }
}
