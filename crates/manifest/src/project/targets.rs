//! `[targets.NAME]`: where pipelines may run, and what the platform team says about it.

use std::collections::BTreeMap;

use serde_json::{Map, Value as Json};

use super::{
    Gpus,
    defaults::{directory, gpus},
    hand::{Hand, Value},
    kubernetes::{bad_label_key, bad_label_value, bad_name},
};
use crate::{diagnostic::clip, section::Section};

/// What starts the attempts of a target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Engine {
    /// This machine.
    Local,
    /// Argo Workflows.
    Argo,
    /// Kubeflow Pipelines.
    Kfp,
}

/// How the binary gets into a pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Inject {
    /// An init container copies it.
    Init,
    /// It is in the image.
    Image,
    /// It is on a volume.
    Volume,
    /// The operator's patch of pods brings it.
    Patch,
}

/// What a toleration keeps a pod from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// Not scheduled.
    NoSchedule,
    /// Scheduled elsewhere if there is room.
    PreferNoSchedule,
    /// Not scheduled, and evicted.
    NoExecute,
}

/// A taint of nodes that pods stand.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Toleration {
    /// The taint's key; without one every taint.
    pub key: Option<String>,
    /// The value that it must have; without one any.
    pub value: Option<String>,
    /// What it keeps from; without one everything.
    pub effect: Option<Effect>,
    /// How long an eviction is stood, for `NoExecute`.
    pub seconds: Option<usize>,
}

/// What is said of a target that is a cluster.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Cluster {
    /// The namespace of workflows and pods.
    pub namespace: Option<String>,
    /// The bucket: `s3://…`, `gs://…` or `az://…`.
    pub store: Option<String>,
    /// The image of steps.
    pub image: Option<String>,
    /// Who the pods are.
    pub service_account: Option<String>,
    /// Labels of workflows and pods.
    pub labels: BTreeMap<String, String>,
    /// Taints that the pods stand.
    pub tolerations: Vec<Toleration>,
    /// Laid over every pod by strategic merge.
    pub pod: Map<String, Json>,
    /// How the binary gets into a pod.
    pub inject: Option<Inject>,
    /// Whether the cluster takes init containers of a foreign image.
    pub allow_init: Option<bool>,
}

/// Where pipelines may run.
#[derive(Debug, Clone, PartialEq)]
pub enum Target {
    /// On this machine.
    Local {
        /// The store's directory, relative to the project file's.
        store: Option<String>,
        /// How many steps run at once.
        jobs: Option<usize>,
        /// Which accelerators may be used.
        gpus: Option<Gpus>,
    },
    /// On a cluster, with Argo Workflows.
    Argo(Box<Cluster>),
    /// On a cluster, with Kubeflow Pipelines.
    Kfp(Box<Cluster>),
}

impl Target {
    /// Returns what starts its attempts.
    pub fn engine(&self) -> Engine {
        match self {
            Self::Local { .. } => Engine::Local,
            Self::Argo(_) => Engine::Argo,
            Self::Kfp(_) => Engine::Kfp,
        }
    }
}

impl Engine {
    /// Returns its name in the file.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Local => "local",
            Self::Argo => "argo",
            Self::Kfp => "kfp",
        }
    }
}

const ENGINES: &[(&str, Engine)] = &[("local", Engine::Local), ("argo", Engine::Argo), ("kfp", Engine::Kfp)];
const LOCAL: Section = Section { name: "a target of this machine", keys: &["engine", "store", "jobs", "gpus"] };
const CLUSTER: Section = Section {
    name: "a target of a cluster",
    keys: &[
        "engine",
        "namespace",
        "store",
        "image",
        "service_account",
        "labels",
        "tolerations",
        "pod",
        "inject",
        "allow_init",
    ],
};
const TOLERATION: Section = Section { name: "a toleration", keys: &["key", "operator", "value", "effect", "seconds"] };

const INJECT: &[(&str, Inject)] =
    &[("init", Inject::Init), ("image", Inject::Image), ("volume", Inject::Volume), ("patch", Inject::Patch)];
const EFFECTS: &[(&str, Effect)] = &[
    ("NoSchedule", Effect::NoSchedule),
    ("PreferNoSchedule", Effect::PreferNoSchedule),
    ("NoExecute", Effect::NoExecute),
];
/// Where a store may lie that pods reach.
const BUCKETS: &[&str] = &["s3://", "gs://", "az://"];

pub(super) fn targets(hand: &mut Hand<'_>, value: &Value<'_>) -> BTreeMap<String, Target> {
    let mut read = BTreeMap::new();
    let Some(table) = hand.table(value, "`targets`", &[]) else { return read };
    for (key, value) in table.iter() {
        let name = key.get_ref().as_ref();
        let begins = name.starts_with(|c: char| c.is_ascii_lowercase());
        let goes_on = name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"_-".contains(&b));
        if !(begins && goes_on && name.len() <= 64) {
            hand.error("bad-name", &key.span(), format!("`{}` is not the name of a target", clip(name)))
                .help("a name begins with a letter a–z and goes on with a–z, 0–9, `_` and `-`");
        }
        if let Some(target) = target(hand, name, &key.span(), value) {
            read.insert(name.to_owned(), target);
        }
    }
    read
}

fn target(hand: &mut Hand<'_>, name: &str, at: &std::ops::Range<usize>, value: &Value<'_>) -> Option<Target> {
    let what = format!("target `{}`", clip(name));
    let table = hand.table(value, &what, CLUSTER.keys)?;
    let engine = match table.iter().find(|(key, _)| key.get_ref() == "engine") {
        Some((_, value)) => hand.choice(value, "`engine`", ENGINES),
        None => {
            hand.error("missing-key", at, format!("{what} needs the key `engine`"))
                .help("write `engine = \"local\"`, `\"argo\"` or `\"kfp\"`");
            None
        }
    };
    match engine {
        Some(Engine::Local) => Some(local(hand, table)),
        Some(Engine::Argo) => Some(Target::Argo(Box::new(cluster(hand, table)))),
        Some(Engine::Kfp) => Some(Target::Kfp(Box::new(cluster(hand, table)))),
        // Its other keys cannot be judged.
        None => None,
    }
}

fn local(hand: &mut Hand<'_>, table: &toml::de::DeTable<'_>) -> Target {
    let (mut store, mut jobs, mut accelerators) = (None, None, None);
    for (key, value) in hand.known(table, &LOCAL) {
        let what = format!("`{key}`");
        match key {
            "store" => store = directory(hand, value, &what),
            "jobs" => jobs = hand.count(value, &what, 1),
            "gpus" => accelerators = gpus(hand, value, &what),
            _ => {}
        }
    }
    Target::Local { store, jobs, gpus: accelerators }
}

fn cluster(hand: &mut Hand<'_>, table: &toml::de::DeTable<'_>) -> Cluster {
    let mut read = Cluster::default();
    let mut inject_at = 0..0;
    for (key, value) in hand.known(table, &CLUSTER) {
        let what = format!("`{key}`");
        match key {
            "namespace" => read.namespace = named(hand, value, &what, false),
            "service_account" => read.service_account = named(hand, value, &what, true),
            "store" => read.store = bucket(hand, value, &what),
            "image" => read.image = image(hand, value, &what),
            "labels" => read.labels = labels(hand, value, &what),
            "tolerations" => read.tolerations = tolerations(hand, value, &what),
            "pod" => {
                if hand.table(value, &what, &[]).is_some()
                    && let Some(Json::Object(pod)) = hand.json(value, &what)
                {
                    read.pod = pod;
                }
            }
            "inject" => {
                inject_at = value.span();
                read.inject = hand.choice(value, &what, INJECT);
            }
            "allow_init" => read.allow_init = hand.boolean(value, &what),
            _ => {}
        }
    }
    if read.inject == Some(Inject::Init) && read.allow_init == Some(false) {
        hand.error(
            "contradiction",
            &inject_at,
            "`inject = \"init\"` needs an init container, but `allow_init` is `false`",
        )
        .help("allow it, or bring the binary in by `image`, `volume` or `patch`");
    }
    read
}

fn named(hand: &mut Hand<'_>, value: &Value<'_>, what: &str, dots: bool) -> Option<String> {
    let text = hand.text(value, what)?;
    if let Some(rule) = bad_name(&text, dots) {
        let message = format!("{what} cannot be `{}`: Kubernetes knows no such name", clip(&text));
        hand.error("bad-name", &value.span(), message).help(format!("it is {rule}"));
        return None;
    }
    Some(text)
}

fn bucket(hand: &mut Hand<'_>, value: &Value<'_>, what: &str) -> Option<String> {
    let text = hand.text(value, what)?;
    let named = BUCKETS.iter().find_map(|scheme| text.strip_prefix(scheme));
    if !named.is_some_and(|rest| !rest.is_empty() && !rest.starts_with('/') && !rest.contains(char::is_whitespace)) {
        hand.error("bad-path", &value.span(), format!("{what} of a cluster is a bucket, but this is `{}`", clip(&text)))
            .help("write `s3://BUCKET/PREFIX`, `gs://BUCKET/PREFIX` or `az://CONTAINER/PREFIX`: pods reach no directory of this machine");
        return None;
    }
    Some(text)
}

fn image(hand: &mut Hand<'_>, value: &Value<'_>, what: &str) -> Option<String> {
    let text = hand.text(value, what)?;
    if text.contains(char::is_whitespace) || text.contains("://") {
        hand.error("bad-text", &value.span(), format!("{what} cannot be `{}`", clip(&text)))
            .help("write the image as a pod would: `registry.example.com/team/train@sha256:…`");
        return None;
    }
    Some(text)
}

fn labels(hand: &mut Hand<'_>, value: &Value<'_>, what: &str) -> BTreeMap<String, String> {
    let mut read = BTreeMap::new();
    let Some(table) = hand.table(value, what, &[]) else { return read };
    for (key, value) in table.iter() {
        let name = key.get_ref().as_ref();
        if let Some(rule) = bad_label_key(name) {
            hand.error("bad-name", &key.span(), format!("`{}` is not the name of a label", clip(name)))
                .help(format!("it is {rule}"));
        }
        let Some(text) = value.get_ref().as_str() else {
            hand.wrong_type(value, "the value of a label", "text").help("put it in quotes");
            continue;
        };
        if let Some(rule) = bad_label_value(text) {
            hand.error("bad-text", &value.span(), format!("`{}` is not the value of a label", clip(text)))
                .help(format!("it is {rule}"));
        }
        read.insert(name.to_owned(), text.to_owned());
    }
    read
}

fn tolerations(hand: &mut Hand<'_>, value: &Value<'_>, what: &str) -> Vec<Toleration> {
    let Some(items) = value.get_ref().as_array() else {
        hand.wrong_type(value, what, "a list of tables").help("write `tolerations = [{ key = \"spot\" }]`");
        return Vec::new();
    };
    items.iter().filter_map(|item| toleration(hand, item)).collect()
}

fn toleration(hand: &mut Hand<'_>, item: &Value<'_>) -> Option<Toleration> {
    let table = hand.table(item, TOLERATION.name, TOLERATION.keys)?;
    let mut read = Toleration::default();
    let mut exists = None;
    for (key, value) in hand.known(table, &TOLERATION) {
        let what = format!("`{key}`");
        match key {
            "key" => read.key = hand.text(value, &what),
            "operator" => exists = hand.choice(value, &what, &[("Exists", true), ("Equal", false)]),
            "value" => read.value = hand.text(value, &what),
            "effect" => read.effect = hand.choice(value, &what, EFFECTS),
            _ => read.seconds = hand.count(value, &what, 1),
        }
    }
    let at = item.span();
    if exists == Some(true) && read.value.is_some() {
        hand.error("contradiction", &at, "a toleration with `operator = \"Exists\"` takes every value")
            .help("remove `value` or `operator`");
    }
    if read.key.is_none() && (exists == Some(false) || read.value.is_some()) {
        hand.error("missing-key", &at, "a toleration of one value needs the key `key`").help("name the taint");
    }
    if read.seconds.is_some() && read.effect != Some(Effect::NoExecute) {
        hand.error("contradiction", &at, "`seconds` is for the effect `NoExecute` only")
            .help("remove it, or write `effect = \"NoExecute\"`");
    }
    Some(read)
}
