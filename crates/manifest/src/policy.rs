//! What `defaults` and a step may both set, and how the two are merged.

use std::collections::BTreeMap;

use prunella_model::{
    CapacityWish, Checkpoint, CheckpointFormat, Class, ClassPolicy, EnvName, OnNotice, RetryPolicy, Span,
};

use crate::{
    diagnostic::{Mark, clip},
    machine::{ResourcesSet, wish_over},
    reader::{Fields, Marked, Reader},
    section,
    tree::{NodeId, Value},
};

/// What was set; everything else keeps what stands below it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Policy {
    pub resources: ResourcesSet,
    env: BTreeMap<EnvName, Marked<String>>,
    pass_env: Option<Vec<Marked<EnvName>>>,
    secrets: Option<Vec<Secret>>,
    retry: RetryPolicy,
    timeout: Option<Span>,
    stall: Option<Span>,
    deterministic: Option<bool>,
    on_notice: Option<OnNotice>,
    checkpoint: Option<CheckpointSet>,
    capacity: Option<CapacityWish>,
}

#[derive(Debug, Clone, Default)]
struct CheckpointSet {
    format: Option<CheckpointFormat>,
    every: Option<Every>,
    keep: Option<u32>,
    grace: Option<Span>,
    sealed: Option<bool>,
    ranks: Option<u32>,
}

/// The least time between two snapshots.
#[derive(Debug, Clone, Copy)]
enum Every {
    Auto,
    Least(Span),
}

#[derive(Debug, Clone)]
struct Secret {
    name: Marked<EnvName>,
    file: Option<String>,
}

/// A variable that comes from two places.
pub(crate) struct Conflict {
    pub code: &'static str,
    pub mark: Mark,
    pub name: EnvName,
    pub other: &'static str,
}

/// A policy with every default resolved.
pub(crate) struct Resolved {
    pub resources: prunella_model::Resources,
    pub env: BTreeMap<EnvName, String>,
    pub pass_env: Vec<EnvName>,
    pub secrets: Vec<EnvName>,
    pub secret_files: BTreeMap<EnvName, String>,
    pub retry: RetryPolicy,
    pub timeout: Option<Span>,
    pub stall: Option<Span>,
    pub deterministic: bool,
    pub on_notice: OnNotice,
    pub checkpoint: Option<Checkpoint>,
    pub capacity: Option<CapacityWish>,
}

impl Policy {
    /// Returns this policy laid over `base`: mappings key by key, everything else as a whole.
    pub fn over(self, base: &Self) -> Self {
        let mut env = base.env.clone();
        env.extend(self.env);
        let mut retry = base.retry.clone();
        for (class, set) in self.retry.0 {
            let below = retry.of(class);
            retry.0.insert(
                class,
                ClassPolicy { limit: set.limit.or(below.limit), backoff: set.backoff.or(below.backoff) },
            );
        }
        let checkpoint = match (self.checkpoint, base.checkpoint.clone()) {
            (Some(set), Some(below)) => Some(CheckpointSet {
                format: set.format.or(below.format),
                every: set.every.or(below.every),
                keep: set.keep.or(below.keep),
                grace: set.grace.or(below.grace),
                sealed: set.sealed.or(below.sealed),
                ranks: set.ranks.or(below.ranks),
            }),
            (set, below) => set.or(below),
        };
        Self {
            resources: self.resources.over(&base.resources),
            env,
            pass_env: self.pass_env.or_else(|| base.pass_env.clone()),
            secrets: self.secrets.or_else(|| base.secrets.clone()),
            retry,
            timeout: self.timeout.or(base.timeout),
            stall: self.stall.or(base.stall),
            deterministic: self.deterministic.or(base.deterministic),
            on_notice: self.on_notice.or(base.on_notice),
            checkpoint,
            capacity: wish_over(self.capacity, base.capacity),
        }
    }

    /// Returns the policy with the product's defaults where nothing was set.
    pub fn resolve(self) -> Resolved {
        let secrets = self.secrets.unwrap_or_default();
        Resolved {
            resources: self.resources.resolve(),
            env: self.env.into_iter().map(|(name, value)| (name, value.value)).collect(),
            pass_env: self.pass_env.unwrap_or_default().into_iter().map(|name| name.value).collect(),
            secret_files: secrets
                .iter()
                .filter_map(|secret| Some((secret.name.value.clone(), secret.file.clone()?)))
                .collect(),
            secrets: secrets.into_iter().map(|secret| secret.name.value).collect(),
            retry: self.retry,
            timeout: self.timeout,
            stall: self.stall,
            deterministic: self.deterministic.unwrap_or(true),
            on_notice: self.on_notice.unwrap_or_default(),
            checkpoint: self.checkpoint.map(|set| Checkpoint {
                format: set.format.unwrap_or(CheckpointFormat::Files),
                every: match set.every {
                    Some(Every::Least(every)) => every,
                    Some(Every::Auto) | None => Span::from_millis(0),
                },
                auto: matches!(set.every, Some(Every::Auto)),
                keep: set.keep.unwrap_or(2),
                grace: set.grace.unwrap_or(Span::from_secs(30)),
                sealed: set.sealed.unwrap_or(false),
                ranks: set.ranks,
            }),
            capacity: self.capacity,
        }
    }

    /// Returns the variables that are set or passed on, with their places.
    pub fn variables(&self) -> impl Iterator<Item = (&EnvName, Mark)> {
        let set = self.env.iter().map(|(name, value)| (name, value.mark));
        set.chain(self.pass_env.iter().flatten().map(|name| (&name.value, name.mark)))
    }

    /// Returns the variables that are set in two ways, by the place of the second.
    pub fn conflicts(&self) -> Vec<Conflict> {
        let mut conflicts = Vec::new();
        for secret in self.secrets.iter().flatten() {
            if let Some(plain) = self.env.get(&secret.name.value) {
                // The plain value is the dangerous one: it stands in the file and enters the key.
                let name = secret.name.value.clone();
                conflicts.push(Conflict { code: "secret-in-env", mark: plain.mark, name, other: "secrets" });
            }
        }
        for name in self.pass_env.iter().flatten() {
            let secret = || self.secrets.iter().flatten().any(|secret| secret.name.value == name.value);
            let other = if self.env.contains_key(&name.value) {
                "env"
            } else if secret() {
                "secrets"
            } else {
                continue;
            };
            conflicts.push(Conflict { code: "set-twice", mark: name.mark, name: name.value.clone(), other });
        }
        conflicts
    }
}

impl<'s> Reader<'s> {
    /// Reads the keys that a step and `defaults` share.
    pub fn policy(&mut self, fields: &Fields<'s>) -> Policy {
        Policy {
            resources: fields.get("resources").and_then(|id| self.resources(id)).unwrap_or_default(),
            env: fields.get("env").map(|id| self.env(id)).unwrap_or_default(),
            pass_env: fields.get("pass_env").map(|id| self.pass_env(id)),
            secrets: fields.get("secrets").map(|id| self.secrets(id)),
            retry: fields.get("retry").map(|id| self.retry(id)).unwrap_or_default(),
            timeout: fields.get("timeout").and_then(|id| self.positive_span(id, "`timeout`")),
            stall: fields.get("stall").and_then(|id| self.positive_span(id, "`stall`")),
            deterministic: fields.get("deterministic").and_then(|id| self.bool(id, "`deterministic`")),
            on_notice: fields.get("on_notice").and_then(|id| {
                let choices = [("interrupt", OnNotice::Interrupt), ("finish", OnNotice::Finish)];
                self.choice(id, "`on_notice`", &choices)
            }),
            checkpoint: fields.get("checkpoint").and_then(|id| self.checkpoint(id)),
            capacity: fields.get("capacity").and_then(|id| self.capacity(id)),
        }
    }

    fn env(&mut self, id: NodeId) -> BTreeMap<EnvName, Marked<String>> {
        let mut env = BTreeMap::new();
        for entry in self.entries(id, "`env`", "write `env: { NAME: value }`").unwrap_or_default() {
            let name = self.variable(entry.key, entry.key_mark);
            let value = self.fixed_text(entry.value, "a value of `env`");
            if let (Some(name), Some(value)) = (name, value) {
                env.insert(name, Marked { value: value.to_owned(), mark: entry.key_mark });
            }
        }
        env
    }

    /// Reads the name of an environment variable.
    fn variable(&mut self, text: &str, mark: Mark) -> Option<EnvName> {
        let Ok(name) = EnvName::new(text) else {
            self.found
                .error("bad-name", mark, format!("`{}` cannot be an environment variable", clip(text)))
                .help("it begins with a letter or `_` and goes on with letters, digits and `_`");
            return None;
        };
        if text.starts_with("PRUNELLA_") {
            self.found
                .error("reserved-variable", mark, format!("`{}` is set by Prunella itself", clip(text)))
                .help("variables that begin with `PRUNELLA_` are reserved; take another name");
            return None;
        }
        Some(name)
    }

    fn pass_env(&mut self, id: NodeId) -> Vec<Marked<EnvName>> {
        let mut names: Vec<Marked<EnvName>> = Vec::new();
        for item in self.items(id, "`pass_env`").unwrap_or_default() {
            let mark = self.mark(item);
            let name = self.fixed_text(item, "a name in `pass_env`").and_then(|text| self.variable(text, mark));
            names.extend(name.map(|value| Marked { value, mark }));
        }
        self.without_repetition(names, "`pass_env`", |name| (&name.value, name.mark))
    }

    fn secrets(&mut self, id: NodeId) -> Vec<Secret> {
        let mut secrets = Vec::new();
        let items = match &self.tree.node(id).value {
            Value::Mapping(_) => vec![id],
            _ => self.items(id, "`secrets`").unwrap_or_default(),
        };
        for item in items {
            let mark = self.mark(item);
            if matches!(self.tree.node(item).value, Value::Mapping(_)) {
                let help = "write `NAME: { file: path }`";
                for entry in self.entries(item, "`secrets`", help).unwrap_or_default() {
                    let name = self.variable(entry.key, entry.key_mark);
                    let file = self.secret_file(entry.value, entry.key_mark);
                    if let (Some(value), Some(file)) = (name, file) {
                        secrets.push(Secret { name: Marked { value, mark: entry.key_mark }, file: Some(file) });
                    }
                }
            } else if let Some(text) = self.fixed_text(item, "a name in `secrets`")
                && let Some(value) = self.variable(text, mark)
            {
                secrets.push(Secret { name: Marked { value, mark }, file: None });
            }
        }
        self.without_repetition(secrets, "`secrets`", |secret| (&secret.name.value, secret.name.mark))
    }

    fn secret_file(&mut self, id: NodeId, key: Mark) -> Option<String> {
        if matches!(self.tree.node(id).value, Value::Scalar { .. }) {
            // Whatever stands here may be the secret itself: it is not repeated in the message.
            self.found
                .error("secret-in-file", key, "the value of a secret does not belong into this file")
                .help("write `secrets: [NAME]` to take it from the environment, or `NAME: { file: path }`");
            return None;
        }
        let fields = self.fields(id, &section::SECRET)?;
        let Some(file) = fields.get("file") else {
            self.missing_key(key, &section::SECRET, "file", "write `NAME: { file: path }`");
            return None;
        };
        let path = self.filled_text(file, "`file`")?;
        if path.starts_with('~') {
            let mark = self.mark(file);
            self.found
                .error("bad-path", mark, "`~` is not expanded here")
                .help("write the whole path, or one relative to this file");
            return None;
        }
        Some(path.to_owned())
    }

    fn without_repetition<T, K: Ord + std::fmt::Display>(
        &mut self,
        items: Vec<T>,
        what: &str,
        key: impl Fn(&T) -> (&K, Mark),
    ) -> Vec<T> {
        let mut seen = std::collections::BTreeSet::new();
        for item in &items {
            let (name, mark) = key(item);
            if !seen.insert(name) {
                self.found
                    .error("duplicate-item", mark, format!("`{name}` stands in {what} a second time"))
                    .help("remove one of the two");
            }
        }
        items
    }

    fn retry(&mut self, id: NodeId) -> RetryPolicy {
        let mut policy = RetryPolicy::default();
        if matches!(self.tree.node(id).value, Value::Scalar { .. }) {
            if let Some(limit) = self.count(id, "`retry`", 0) {
                policy.0.insert(Class::Error, ClassPolicy { limit: Some(limit), backoff: None });
            }
            return policy;
        }
        let help = "write `retry: 3`, or `retry: { error: { limit: 3, backoff: 10s..5m } }`";
        for entry in self.entries(id, "`retry`", help).unwrap_or_default() {
            let class = entry.key.parse::<Class>();
            if class.is_err() {
                let near = self.nearest.help(entry.key, Class::ALL.iter().map(|class| class.as_str()));
                let message = format!("`{}` is not a class of failure", clip(entry.key));
                self.found.error("unknown-class", entry.key_mark, message).maybe_help(near);
            }
            let set = match &self.tree.node(entry.value).value {
                Value::Scalar { plain: true, .. } if !self.is_null(entry.value) => {
                    let limit = self.count(entry.value, "the limit of a class", 0);
                    ClassPolicy { limit, backoff: None }
                }
                _ => {
                    let Some(fields) = self.fields(entry.value, &section::CLASS_POLICY) else { continue };
                    ClassPolicy {
                        limit: fields.get("limit").and_then(|id| self.count(id, "`limit`", 0)),
                        backoff: fields.get("backoff").and_then(|id| self.backoff(id)),
                    }
                }
            };
            if let Ok(class) = class {
                policy.0.insert(class, set);
            }
        }
        policy
    }

    fn checkpoint(&mut self, id: NodeId) -> Option<CheckpointSet> {
        if matches!(self.tree.node(id).value, Value::Scalar { .. }) {
            return self.format(id).map(|format| CheckpointSet { format: Some(format), ..CheckpointSet::default() });
        }
        let fields = self.fields(id, &section::CHECKPOINT)?;
        let format = fields.get("format").and_then(|id| self.format(id));
        let marker = fields.get("marker").and_then(|id| self.marker(id));
        if let (Some(format), Some(name), Some(mark)) = (&format, &marker, fields.key_mark("marker"))
            && *format != CheckpointFormat::Marker(name.clone())
        {
            self.found
                .error("contradiction", mark, "`marker` and another `format` exclude each other")
                .help("remove one of the two");
        }
        let every = fields.get("every").and_then(|id| {
            if self.text(id, "`every`")? == "auto" {
                return Some(Every::Auto);
            }
            self.quantity(id, "`every`").map(Every::Least)
        });
        Some(CheckpointSet {
            format: marker.map(CheckpointFormat::Marker).or(format),
            every,
            keep: fields.get("keep").and_then(|id| self.count(id, "`keep`", 1)),
            grace: fields.get("grace").and_then(|id| self.quantity(id, "`grace`")),
            sealed: fields.get("sealed").and_then(|id| self.bool(id, "`sealed`")),
            ranks: fields.get("ranks").and_then(|id| self.count(id, "`ranks`", 1)),
        })
    }

    fn format(&mut self, id: NodeId) -> Option<CheckpointFormat> {
        if matches!(self.tree.node(id).value, Value::Mapping(_)) {
            let fields = self.fields(id, &section::CHECKPOINT_MARKER)?;
            let Some(marker) = fields.get("marker") else {
                let mark = self.mark(id);
                self.missing_key(mark, &section::CHECKPOINT_MARKER, "marker", "write `format: { marker: DONE }`");
                return None;
            };
            return self.marker(marker).map(CheckpointFormat::Marker);
        }
        let text = self.text(id, "the format of checkpoints")?;
        let mark = self.mark(id);
        match text {
            "files" => Some(CheckpointFormat::Files),
            "socket" => Some(CheckpointFormat::Socket),
            "marker" => {
                self.found
                    .error("missing-value", mark, "`marker` needs the name of the file that marks a complete entry")
                    .help("write `checkpoint: { marker: DONE }`");
                None
            }
            "hf-trainer" => Some(CheckpointFormat::HfTrainer),
            "lightning" => Some(CheckpointFormat::Lightning),
            "dcp" => Some(CheckpointFormat::Dcp),
            text => {
                let known = ["files", "marker", "socket", "hf-trainer", "lightning", "dcp"];
                let help = self.nearest.help(text, known);
                self.found
                    .error("unknown-value", mark, format!("`{}` is not a format of checkpoints", clip(text)))
                    .maybe_help(help);
                None
            }
        }
    }

    fn marker(&mut self, id: NodeId) -> Option<String> {
        let text = self.filled_text(id, "`marker`")?;
        if text.contains('/') || text == "." || text == ".." {
            let mark = self.mark(id);
            self.found.error("bad-path", mark, "`marker` is the name of a file, without `/`");
            return None;
        }
        Some(text.to_owned())
    }
}
