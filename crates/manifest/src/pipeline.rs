//! The whole file: from its version to its steps.

use std::collections::{BTreeMap, HashSet};

use indexmap::IndexMap;
use prunella_model::{DataName, EnvironmentSpec, Pipeline, PipelineName, Reuse, Step, StepName};

use crate::{
    FileKind, Overrides,
    access::Access,
    diagnostic::{Mark, clip},
    handlers::Handlers,
    policy::{Conflict, Policy},
    reader::{Fields, Reader},
    references::Known,
    section,
    step::StepDraft,
    tree::{NodeId, Value},
};

/// What steps may make of `defaults` together, in bytes: it is copied into every step.
const MAX_DEFAULTS: u64 = 256 << 20;

impl<'s> Reader<'s> {
    /// Reads the whole file; nothing if a mistake leaves no pipeline.
    pub fn pipeline(&mut self, overrides: &Overrides) -> Option<Pipeline> {
        let root = self.tree.root;
        if !matches!(self.tree.node(root).value, Value::Mapping(_)) {
            let (mark, kind) = (self.mark(root), self.kind(root));
            self.found
                .error("not-a-mapping", mark, format!("a pipeline file is a mapping, but this is {kind}"))
                .help("begin with `prunella: v1`, `name: …` and `steps:`");
            return None;
        }
        if !self.version(root) {
            return None;
        }
        let fields = self.fields(root, &section::PIPELINE)?;
        let top = self.top(root);
        let name = match fields.get("name") {
            Some(id) => {
                let mark = self.mark(id);
                self.fixed_text(id, "`name`").and_then(|text| self.name::<PipelineName>(text, mark, "the name"))
            }
            None => {
                if !fields.has("name") {
                    self.missing_key(top, &section::PIPELINE, "name", "write `name: digits`");
                }
                None
            }
        };
        let mut params = fields.get("params").map(|id| self.params(id)).unwrap_or_default();
        self.override_params(&mut params, overrides);
        self.values = params.iter().map(|(name, (value, _))| (name.clone(), value.clone())).collect();
        let data = fields.get("data").map(|id| self.data(id)).unwrap_or_default();
        let code = fields.get("code").map(|id| self.code(id)).unwrap_or_default();
        let environment = fields.get("environment").and_then(|id| self.environment(id));
        let defaults = self.defaults(&fields);
        let (handlers, whole) = self.handlers(&fields);
        let (drafts, bad_names) = match fields.get("steps") {
            Some(id) => self.steps(id)?,
            None => {
                if !fields.has("steps") {
                    self.missing_key(top, &section::PIPELINE, "steps", "write at least one step under `steps:`");
                }
                return None;
            }
        };
        if let Some(steps) = fields.get("steps") {
            self.handler_names(steps, &handlers);
        }
        self.bound_defaults(&fields, drafts.len() + handlers.len())?;
        let known = Known { params: &params, data: &data, bad_steps: &bad_names };
        self.references(&drafts, &handlers, &known);
        self.publications(&drafts, &data);
        self.cycles(&drafts);
        let steps = self.resolve(drafts, handlers, &defaults);
        Some(Pipeline {
            name: name?,
            params: params.into_iter().filter_map(|(name, (value, _))| Some((name, value?))).collect(),
            mounted: std::mem::take(&mut self.mounted),
            referenced: std::mem::take(&mut self.referenced),
            data: data.into_iter().filter_map(|(name, (path, _))| Some((name, path?))).collect(),
            code,
            environment,
            steps: steps.filter(|_| whole)?,
        })
    }

    /// Returns the place that stands for the whole file: its first key.
    fn top(&self, root: NodeId) -> Mark {
        match &self.tree.node(root).value {
            Value::Mapping(pairs) => pairs.first().map_or(self.mark(root), |(key, _)| self.mark(*key)),
            _ => self.mark(root),
        }
    }

    /// Returns whether the rest of the file is in a format that this version knows.
    fn version(&mut self, root: NodeId) -> bool {
        let entries = self.entries(root, "a pipeline file", "").unwrap_or_default();
        let Some(entry) = entries.iter().find(|entry| entry.key == "prunella") else {
            let top = self.top(root);
            self.missing_key(top, &section::PIPELINE, "prunella", "begin the file with `prunella: v1`");
            return true;
        };
        if self.is_null(entry.value) {
            return true; // Noted with the other keys.
        }
        let Some(version) = self.text(entry.value, "`prunella`") else { return true };
        if version == "v1" {
            return true;
        }
        let mark = self.mark(entry.value);
        let shown = clip(version);
        let number = version.strip_prefix('v').and_then(|number| number.parse::<u64>().ok());
        if number.is_some_and(|number| number > 1) {
            self.found
                .error("newer-version", mark, format!("this file is in format `{shown}`; this Prunella reads `v1`"))
                .help("upgrade Prunella");
            return false;
        }
        self.found
            .error("unknown-value", mark, format!("`{shown}` is not a format of pipeline files"))
            .help("write `prunella: v1`");
        true
    }

    fn data(&mut self, id: NodeId) -> BTreeMap<DataName, (Option<String>, Mark)> {
        let mut data = BTreeMap::new();
        for entry in self.entries(id, "`data`", "write `data: { NAME: path }`").unwrap_or_default() {
            let name = self.name::<DataName>(entry.key, entry.key_mark, "the data set");
            let path = self.data_path(entry.value, entry.key_mark);
            let access = self.access(entry.value, path.as_deref());
            if let Some(name) = name {
                match access {
                    Access::Mount => drop(self.mounted.insert(name.clone())),
                    Access::Reference => drop(self.referenced.insert(name.clone())),
                    Access::Copy | Access::Fetch => {}
                }
                data.insert(name, (path, entry.key_mark));
            }
        }
        data
    }

    fn data_path(&mut self, id: NodeId, key: Mark) -> Option<String> {
        let id = if matches!(self.tree.node(id).value, Value::Mapping(_)) {
            let fields = self.fields(id, &section::DATA)?;
            match (fields.get("path"), fields.get("uri")) {
                (Some(path), None) => path,
                (None, Some(uri)) => return self.uri(uri),
                (Some(_), Some(uri)) => {
                    let mark = fields.key_mark("uri").unwrap_or(self.mark(uri));
                    self.found
                        .error("contradiction", mark, "a data set has a `path` or a `uri`, not both")
                        .help("`path` is for what lies below the directory of the pipeline file, `uri` for all else");
                    return None;
                }
                (None, None) => {
                    if !fields.has("path") && !fields.has("uri") {
                        self.missing_key(key, &section::DATA, "path", "write `NAME: { path: data/file.csv }`");
                    }
                    return None;
                }
            }
        } else if self.is_elsewhere(id) {
            return self.uri(id);
        } else {
            id
        };
        let text = self.filled_text(id, "the path of a data set")?;
        let mark = self.mark(id);
        if self.is_elsewhere(id) {
            self.found.error("bad-path", mark, "an address is no path").help("write `uri` in place of `path`");
            return None;
        }
        let path = self.inside(text, mark, "the path of a data set", "the directory of the pipeline file")?;
        if self.files.kind(path.as_str()).is_none()
            && let Some((folder, _)) = prunella_model::pattern_root(path.as_str())
        {
            return self.data_pattern(id, folder);
        }
        match (self.files.kind(path.as_str()), text.ends_with('/')) {
            (None, _) => {
                self.found
                    .error("missing-file", mark, format!("there is no file or folder `{}`", clip(text)))
                    .help("paths are relative to the directory of the pipeline file");
            }
            (Some(FileKind::Other), _) => {
                self.found.error("wrong-file", mark, format!("`{}` is neither a file nor a folder", clip(text)));
            }
            (Some(FileKind::File), true) => {
                self.found
                    .error("wrong-file", mark, format!("`{}` is a file, not a folder", clip(path.as_str())))
                    .help("remove the `/` at the end");
            }
            (Some(FileKind::File | FileKind::Directory), _) => {}
        }
        Some(path.as_str().to_owned())
    }

    /// Reads a pattern that stands for the files it matches, below its folder.
    fn data_pattern(&mut self, id: NodeId, folder: &str) -> Option<String> {
        let mark = self.mark(id);
        let pattern = self.pattern(id, "the pattern of a data set")?;
        if folder.is_empty() {
            self.found
                .error("bad-pattern", mark, "the pattern of a data set begins with a folder")
                .help("write `data/*.csv`: what matches is laid out as it lies below that folder");
            return None;
        }
        let files = self.files;
        if *self.matches.entry(pattern.clone()).or_insert_with(|| files.glob_matches(&pattern)) == 0 {
            self.found
                .error("no-match", mark, format!("no file matches `{}`", clip(&pattern)))
                .help("patterns are relative to the directory of the pipeline file");
        }
        Some(pattern)
    }

    fn environment(&mut self, id: NodeId) -> Option<EnvironmentSpec> {
        let fields = self.fields(id, &section::ENVIRONMENT)?;
        let version = fields.get("version").and_then(|id| self.python_version(id));
        let Some(python) = fields.get("python") else {
            if !fields.has("python") {
                let mark = self.mark(id);
                self.missing_key(
                    mark,
                    &section::ENVIRONMENT,
                    "python",
                    "write `environment: { python: requirements.txt }`",
                );
            }
            return None;
        };
        let text = self.filled_text(python, "the path of the requirements")?;
        let mark = self.mark(python);
        let path = self.inside(text, mark, "the path of the requirements", "the directory of the pipeline file")?;
        match self.files.kind(path.as_str()) {
            Some(FileKind::File) => {}
            None => {
                self.found
                    .error("missing-file", mark, format!("there is no file `{}`", clip(text)))
                    .help("paths are relative to the directory of the pipeline file");
            }
            Some(FileKind::Directory | FileKind::Other) => {
                self.found.error("wrong-file", mark, format!("`{}` is not a file", clip(text)));
            }
        }
        Some(EnvironmentSpec { requirements: path.as_str().to_owned(), version })
    }

    fn python_version(&mut self, id: NodeId) -> Option<String> {
        let text = self.text(id, "`version`")?;
        let parts: Vec<_> = text.split('.').collect();
        let digits = |part: &&str| (1..=4).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_digit());
        if (2..=3).contains(&parts.len()) && parts.iter().all(digits) {
            return Some(text.to_owned());
        }
        let mark = self.mark(id);
        self.found
            .error("unknown-value", mark, format!("`{}` is not a version of Python", clip(text)))
            .help("write `version: \"3.12\"`");
        None
    }

    fn defaults(&mut self, fields: &Fields<'s>) -> Policy {
        let Some(fields) = fields.get("defaults").and_then(|id| self.fields(id, &section::DEFAULTS)) else {
            return Policy::default();
        };
        let policy = self.policy(&fields);
        self.conflicts(&policy, &mut HashSet::new());
        policy
    }

    /// Refuses defaults that would fill the memory once they stand in every step.
    fn bound_defaults(&mut self, fields: &Fields<'s>, steps: usize) -> Option<()> {
        let Some(id) = fields.get("defaults") else { return Some(()) };
        if self.tree.node(id).weight.saturating_mul(steps as u64) <= MAX_DEFAULTS {
            return Some(());
        }
        let mark = fields.key_mark("defaults").unwrap_or(self.mark(id));
        self.found
            .error("too-large", mark, format!("`defaults`, copied into {steps} steps, would need more than 256 MiB"))
            .help("put large values into a file that is part of `code` or `data`");
        None
    }

    fn steps(&mut self, id: NodeId) -> Option<(IndexMap<StepName, StepDraft<'s>>, HashSet<&'s str>)> {
        let help = "write `steps: { NAME: { run: … } }`";
        let entries = self.entries(id, "`steps`", help)?;
        if entries.is_empty() {
            let mark = self.mark(id);
            self.found.error("no-steps", mark, "there is no step").help(help);
        }
        let (mut drafts, mut bad) = (IndexMap::with_capacity(entries.len()), HashSet::new());
        for entry in entries {
            let mut name = self.name::<StepName>(entry.key, entry.key_mark, "the step");
            if entry.key == "data" {
                self.found
                    .error("bad-name", entry.key_mark, "a step cannot be called `data`")
                    .help("`data.NAME` stands for the data of the pipeline; take another name");
                name = None;
            }
            let draft = self.step(entry.value, entry.key_mark);
            match (name, draft) {
                (Some(name), Some(draft)) => {
                    drafts.insert(name, draft);
                }
                _ => {
                    bad.insert(entry.key);
                }
            }
        }
        Some((drafts, bad))
    }

    /// Notes variables that are set in two ways, each place once.
    fn conflicts(&mut self, policy: &Policy, noted: &mut HashSet<Mark>) {
        for Conflict { code, mark, name, other } in policy.conflicts() {
            if noted.insert(mark) {
                self.found
                    .error(code, mark, format!("`{name}` stands here and in `{other}`"))
                    .help("a variable comes from one place: `env`, `pass_env` or `secrets`");
            }
        }
    }

    /// Lays every step over the defaults; nothing if a step is not whole.
    fn resolve(
        &mut self,
        drafts: IndexMap<StepName, StepDraft<'s>>,
        handlers: Handlers<'s>,
        defaults: &Policy,
    ) -> Option<IndexMap<StepName, Step>> {
        let mut steps = IndexMap::with_capacity(drafts.len());
        let mut noted: HashSet<Mark> = defaults.conflicts().into_iter().map(|conflict| conflict.mark).collect();
        let mut whole = true;
        let drafts = drafts.into_iter().map(|(name, draft)| (name, None, draft));
        let at_end = handlers.into_iter().map(|(name, (handler, draft))| (name, Some(handler), draft));
        for (name, handler, draft) in drafts.chain(at_end) {
            let policy = draft.policy.over(defaults);
            self.conflicts(&policy, &mut noted);
            self.own_choices(&policy, &mut noted);
            let policy = policy.resolve();
            let without_outputs = draft.outputs.is_empty();
            let outputs: Option<BTreeMap<_, _>> =
                draft.outputs.into_iter().map(|draft| Some((draft.name, draft.output?.value))).collect();
            let (Some(run), Some(outputs)) = (draft.run, outputs) else {
                whole = false;
                continue;
            };
            let step = Step {
                run,
                inputs: draft.inputs.into_iter().map(|(name, source)| (name, source.value)).collect(),
                outputs,
                checkpoint: policy.checkpoint,
                resources: policy.resources,
                capacity: policy.capacity,
                env: policy.env,
                pass_env: policy.pass_env,
                secrets: policy.secrets,
                secret_files: policy.secret_files,
                retry: policy.retry,
                timeout: policy.timeout,
                stall: policy.stall,
                deterministic: policy.deterministic,
                reuse: draft.reuse.unwrap_or(if without_outputs { Reuse::Run } else { Reuse::Always }),
                on_notice: policy.on_notice,
                for_each: draft.for_each.map(|for_each| for_each.value),
                // A name that is not one has been noted with the references.
                after: draft.after.iter().filter_map(|name| StepName::new(name.value).ok()).collect(),
                code: draft.code,
                publish: draft
                    .publish
                    .into_iter()
                    .filter_map(|publish| Some((publish.output.value, publish.path?.value)))
                    .collect(),
                when: draft.when.map(|condition| condition.when),
                handler,
            };
            steps.insert(name, step);
        }
        whole.then_some(steps)
    }
}
