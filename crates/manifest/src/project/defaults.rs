//! `[defaults]`: what commands on this machine do unless they are told otherwise.

use super::hand::{Hand, Value};
use crate::section::Section;

/// A value, and the line of the project file at which it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placed<T> {
    /// The value.
    pub value: T,
    /// Its line, from 1.
    pub line: usize,
}

/// Which accelerators may be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Gpus {
    /// So many.
    Number(usize),
    /// Those of a list, as `--gpus` takes it.
    List(String),
}

/// Whose notices end steps in checkpoints.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoticesOf {
    /// The firmware says which cloud this is.
    Auto,
    /// Nobody's.
    None,
    /// Those of AWS.
    Aws,
    /// Those of Google's cloud.
    Gcp,
    /// Those of Azure.
    Azure,
}

/// What commands do unless they are told otherwise; what is not there is as it is built in.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Defaults {
    /// The store: a directory, relative to the project file's, or an address.
    pub store: Option<Placed<String>>,
    /// Stores of others from which commits are copied: directories, relative to the project file's, or addresses.
    pub read_from: Option<Placed<Vec<String>>>,
    /// How many steps run at once.
    pub jobs: Option<Placed<usize>>,
    /// Which accelerators may be used.
    pub gpus: Option<Placed<Gpus>>,
    /// Whose notices end steps in checkpoints.
    pub notices: Option<Placed<NoticesOf>>,
    /// How many runs of every pipeline `gc` retains.
    pub keep_runs: Option<Placed<usize>>,
}

const DEFAULTS: Section =
    Section { name: "`defaults`", keys: &["store", "read_from", "jobs", "gpus", "notices", "keep_runs"] };

const NOTICES: &[(&str, NoticesOf)] = &[
    ("auto", NoticesOf::Auto),
    ("none", NoticesOf::None),
    ("aws", NoticesOf::Aws),
    ("gcp", NoticesOf::Gcp),
    ("azure", NoticesOf::Azure),
];

pub(super) fn defaults(hand: &mut Hand<'_>, value: &Value<'_>) -> Defaults {
    let mut read = Defaults::default();
    let Some(table) = hand.table(value, DEFAULTS.name, DEFAULTS.keys) else { return read };
    for (key, value) in hand.known(table, &DEFAULTS) {
        let (what, at) = (format!("`{key}`"), value.span());
        match key {
            "store" => read.store = hand.text(value, &what).map(|store| hand.placed(store, &at)),
            "read_from" => read.read_from = stores(hand, value, &what).map(|stores| hand.placed(stores, &at)),
            "jobs" => read.jobs = hand.count(value, &what, 1).map(|jobs| hand.placed(jobs, &at)),
            "gpus" => read.gpus = gpus(hand, value, &what).map(|gpus| hand.placed(gpus, &at)),
            "notices" => read.notices = hand.choice(value, &what, NOTICES).map(|of| hand.placed(of, &at)),
            _ => read.keep_runs = hand.count(value, &what, 1).map(|runs| hand.placed(runs, &at)),
        }
    }
    read
}

/// Returns the path of a directory on this machine.
pub(super) fn directory(hand: &mut Hand<'_>, value: &Value<'_>, what: &str) -> Option<String> {
    let text = hand.text(value, what)?;
    if text.contains("://") {
        hand.error("bad-path", &value.span(), format!("{what} is a directory on this machine, but this is a URL"))
            .help("a store in a bucket belongs to a target of a cluster: `[targets.NAME] store = …`");
        return None;
    }
    Some(text)
}

/// Returns directories and addresses of stores; whether there are any is found out when they are read.
fn stores(hand: &mut Hand<'_>, value: &Value<'_>, what: &str) -> Option<Vec<String>> {
    let Some(list) = value.get_ref().as_array() else {
        hand.wrong_type(value, what, "a list").help("write `read_from = [\"s3://BUCKET/PREFIX\"]`");
        return None;
    };
    let read: Vec<Option<String>> = list.iter().map(|one| hand.text(one, &format!("a store in {what}"))).collect();
    read.into_iter().collect()
}

pub(super) fn gpus(hand: &mut Hand<'_>, value: &Value<'_>, what: &str) -> Option<Gpus> {
    if value.get_ref().as_str().is_some() {
        return hand.text(value, what).map(Gpus::List);
    }
    if value.get_ref().as_integer().is_some() {
        return hand.count(value, what, 0).map(Gpus::Number);
    }
    hand.wrong_type(value, what, "a whole number or text").help("write how many, or a list as text: `\"0,1\"`");
    None
}
