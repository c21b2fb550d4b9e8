//! Parameters, and what the command line sets over them.

use std::{collections::BTreeMap, sync::Arc};

use prunella_model::{Item, MAX_ITEMS, ParamName, ParamValue};

use crate::{
    diagnostic::{Found, Mark, clip},
    items::Refer,
    reader::Reader,
    scalar::Scalar,
    source::{Places, Source},
    tree::{self, NodeId, Value},
};

/// What the command line sets: `--set NAME=VALUE`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Overrides {
    /// Texts by parameter, read like values in the file; each keeps the type of the parameter's default.
    pub params: BTreeMap<String, String>,
}

/// Parameters with the places of their names; one whose value is wrong has none, but may be referred to.
pub(crate) type Params = BTreeMap<ParamName, (Option<ParamValue>, Mark)>;

impl Reader<'_> {
    pub fn params(&mut self, id: NodeId) -> Params {
        let mut params = BTreeMap::new();
        for entry in self.entries(id, "`params`", "write `params: { epochs: 30 }`").unwrap_or_default() {
            let name = self.name::<ParamName>(entry.key, entry.key_mark, "the parameter");
            let value = self.param_value(entry.value, entry.key);
            if let Some(name) = name {
                params.insert(name, (value, entry.key_mark));
            }
        }
        params
    }

    fn param_value(&mut self, id: NodeId, name: &str) -> Option<ParamValue> {
        let what = format!("the parameter `{}`", clip(name));
        if matches!(self.tree.node(id).value, Value::Sequence(_)) {
            let items = self.item_list(id, &format!("a value of {what}"), Refer::Never)?;
            if items.len() > MAX_ITEMS {
                let mark = self.mark(id);
                let message = format!("{what} has {} values; a list has at most {MAX_ITEMS}", items.len());
                self.found.error("out-of-range", mark, message);
                return None;
            }
            let items: Option<Vec<Item>> = items.into_iter().map(|item| item.map(|(item, _)| item)).collect();
            return items.map(ParamValue::List);
        }
        if !matches!(self.tree.node(id).value, Value::Scalar { .. }) || self.is_null(id) {
            self.wrong_type(id, &what, "a number, a text, `true`, `false` or a list", None);
            return None;
        }
        let text = self.fixed_text(id, &what)?;
        let plain = matches!(self.tree.node(id).value, Value::Scalar { plain: true, .. });
        match if plain { Scalar::of_plain(text) } else { Scalar::Text } {
            Scalar::Bool(value) => Some(ParamValue::Bool(value)),
            Scalar::Integer(Some(value)) => Some(ParamValue::Integer(value)),
            Scalar::Integer(None) => {
                let mark = self.mark(id);
                self.found
                    .error("out-of-range", mark, format!("{what} is a whole number that needs more than 64 bits"))
                    .help("put it in quotes if it is a text");
                None
            }
            Scalar::Decimal => Some(ParamValue::Decimal(text.to_owned())),
            Scalar::Text | Scalar::Null => Some(ParamValue::Text(text.to_owned())),
        }
    }

    /// Lays the command line over the file.
    pub fn override_params(&mut self, params: &mut Params, overrides: &Overrides) {
        for (name, text) in &overrides.params {
            let shown = clip(name);
            let Some((value, _)) = params.get_mut(name.as_str()) else {
                let help = if params.is_empty() {
                    Some("this pipeline has no parameters".to_owned())
                } else {
                    self.nearest.help(name, params.keys().map(ParamName::as_str))
                };
                self.found
                    .error_nowhere("unknown-param", format!("--set {shown}: there is no parameter `{shown}`"))
                    .maybe_help(help);
                continue;
            };
            // Without a default that can be read there is no type to keep; that is noted already.
            let Some(value) = value else { continue };
            match set(value, text, self) {
                Ok(set) => *value = set,
                Err(problem) => {
                    let kind = match value {
                        ParamValue::Bool(_) => "true or false",
                        ParamValue::Integer(_) => "a whole number of 64 bits",
                        ParamValue::Decimal(_) => "a number",
                        ParamValue::Text(_) => "text without a zero byte",
                        ParamValue::List(_) => "a list",
                    };
                    let because = problem.map(|problem| format!(": {problem}")).unwrap_or_default();
                    let message = format!(
                        "--set {shown}={}: `{shown}` is {kind} in the file (`{}`){because}",
                        clip(text),
                        clip(&value.to_string())
                    );
                    let help = match value {
                        ParamValue::List(_) => "write it as in the file, in quotes for the shell: `'[0.1, 0.2]'`",
                        _ => "give a value of the same type, or change the default in the file",
                    };
                    self.found.error_nowhere("type-changed", message).help(help);
                }
            }
        }
    }
}

/// Returns the value that `text` sets in place of the default, or what is wrong with it besides its type.
fn set(default: &ParamValue, text: &str, reader: &Reader<'_>) -> Result<ParamValue, Option<String>> {
    if text.contains('\0') {
        return Err(None);
    }
    match (default, Scalar::of_plain(text)) {
        (ParamValue::List(_), _) => list(text, reader).map(ParamValue::List),
        (ParamValue::Text(_), _) => Ok(ParamValue::Text(text.to_owned())),
        (ParamValue::Bool(_), Scalar::Bool(set)) => Ok(ParamValue::Bool(set)),
        (ParamValue::Integer(_), Scalar::Integer(Some(set))) => Ok(ParamValue::Integer(set)),
        (ParamValue::Decimal(_), Scalar::Decimal | Scalar::Integer(_)) => Ok(ParamValue::Decimal(text.to_owned())),
        _ => Err(None),
    }
}

/// Reads a list from the command line as it would be read in the file.
fn list(text: &str, outer: &Reader<'_>) -> Result<Vec<Item>, Option<String>> {
    let sources = [Arc::new(Source { name: String::new(), text: text.to_owned() })];
    let places = Places::new(&sources);
    let mut found = Found::default();
    let Some(tree) = tree::parse_at(&sources[0], 0, &mut found) else {
        return Err(found.finish(&places).into_iter().next_back().map(|diagnostic| diagnostic.message));
    };
    let mut reader = Reader::new(&tree, &places, outer.files, found);
    if !matches!(tree.node(tree.root).value, Value::Sequence(_)) {
        return Err(None);
    }
    let items = reader.item_list(tree.root, "a value of it", Refer::Never);
    let items: Option<Vec<Item>> = items.and_then(|items| items.into_iter().map(|one| Some(one?.0)).collect());
    match items {
        Some(items) if !reader.found.has_errors() => Ok(items),
        _ => Err(reader.found.finish(&places).into_iter().next().map(|diagnostic| diagnostic.message)),
    }
}
