//! Parameters, and what the command line sets over them.

use std::collections::BTreeMap;

use prunella_model::{ParamName, ParamValue};

use crate::{
    diagnostic::{Mark, clip},
    reader::Reader,
    scalar::Scalar,
    tree::{NodeId, Value},
};

/// What the command line sets: `--set NAME=VALUE`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Overrides {
    /// Texts by parameter, read like values in the file; each keeps the type of the parameter's default.
    pub params: BTreeMap<String, String>,
}

/// Parameters with the places of their names.
pub(crate) type Params = BTreeMap<ParamName, (ParamValue, Mark)>;

impl Reader<'_> {
    pub fn params(&mut self, id: NodeId) -> Params {
        let mut params = BTreeMap::new();
        for entry in self.entries(id, "`params`", "write `params: { epochs: 30 }`").unwrap_or_default() {
            let name = self.name::<ParamName>(entry.key, entry.key_mark, "the parameter");
            let value = self.param_value(entry.value, entry.key);
            // A parameter with a wrong value is still one that may be referred to.
            if let Some(name) = name {
                params.insert(name, (value.unwrap_or(ParamValue::Text(String::new())), entry.key_mark));
            }
        }
        params
    }

    fn param_value(&mut self, id: NodeId, name: &str) -> Option<ParamValue> {
        let what = format!("the parameter `{}`", clip(name));
        if !matches!(self.tree.node(id).value, Value::Scalar { .. }) || self.is_null(id) {
            self.wrong_type(id, &what, "a number, a text, `true` or `false`", None);
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
            let meaning = Scalar::of_plain(text);
            let set = match (&*value, meaning) {
                (_, _) if text.contains('\0') => None,
                (ParamValue::Text(_), _) => Some(ParamValue::Text(text.clone())),
                (ParamValue::Bool(_), Scalar::Bool(set)) => Some(ParamValue::Bool(set)),
                (ParamValue::Integer(_), Scalar::Integer(Some(set))) => Some(ParamValue::Integer(set)),
                (ParamValue::Decimal(_), Scalar::Decimal | Scalar::Integer(_)) => {
                    Some(ParamValue::Decimal(text.clone()))
                }
                _ => None,
            };
            match set {
                Some(set) => *value = set,
                None => {
                    let kind = match value {
                        ParamValue::Bool(_) => "true or false",
                        ParamValue::Integer(_) => "a whole number of 64 bits",
                        ParamValue::Decimal(_) => "a number",
                        ParamValue::Text(_) => "text without a zero byte",
                    };
                    let message = format!(
                        "--set {shown}={}: `{shown}` is {kind} in the file (`{}`)",
                        clip(text),
                        clip(&value.to_string())
                    );
                    self.found
                        .error_nowhere("type-changed", message)
                        .help("give a value of the same type, or change the default in the file");
                }
            }
        }
    }
}
