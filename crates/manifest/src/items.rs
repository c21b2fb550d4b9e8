//! Items as they are written: scalars, mappings of scalars, lists of them, and parameters in their place.

use std::collections::{BTreeMap, HashSet};

use prunella_model::{Item, Json, MAX_ITEMS, ParamName, ParamValue, Part, PortName, Reference, Template};

use crate::{
    diagnostic::{Mark, clip, clip_to},
    reader::Reader,
    scalar::{Scalar, json_number},
    tree::{NodeId, Value},
};

/// What all items of a file may take, in bytes: short lists have long products.
const MAX_ITEM_BYTES: u64 = 64 << 20;
/// What an item takes besides its text.
const ITEM_BYTES: u64 = 64;

pub(crate) const ITEM_HELP: &str =
    "write `for_each: { fold: [0, 1, 2] }`, a list, `STEP.OUTPUT` for a JSON list, or `STEP` for its items";

/// Whether `${{ params.NAME }}` may stand for a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refer {
    Never,
    ToParams,
}

impl Reader<'_> {
    /// Returns the list that stands there, or that the parameter which stands there is.
    ///
    /// Items with their places; nothing in place of one that is wrong, which is noted.
    pub fn item_list(&mut self, id: NodeId, what: &str, refer: Refer) -> Option<Vec<Option<(Item, Mark)>>> {
        if let Value::Sequence(nodes) = &self.tree.node(id).value {
            let nodes = nodes.clone();
            return Some(nodes.into_iter().map(|id| Some((self.item(id, what, refer)?, self.mark(id)))).collect());
        }
        let (name, mark) = (self.whole_param(id)?, self.mark(id));
        let problem = match self.value_of(&name, mark)? {
            ParamValue::List(items) => {
                let count = items.len();
                self.room(id, count as u64 * ITEM_BYTES)?;
                let Some(ParamValue::List(items)) = self.value_of(&name, mark) else { return None };
                return Some(items.iter().map(|item| Some((item.clone(), mark))).collect());
            }
            other => format!("the parameter `{name}` is `{}` and no list", clip(&other.to_string())),
        };
        let help = format!("write `[\"${{{{ params.{name} }}}}\"]`, or let the parameter be a list");
        self.found.error("wrong-type", mark, problem).help(help);
        None
    }

    /// Returns whether one reference, and nothing else, stands there.
    pub fn is_reference(&self, id: NodeId) -> bool {
        matches!(&self.tree.node(id).value, Value::Scalar { text, .. }
            if text.starts_with("${{") && text.find("}}").is_some_and(|end| end + 2 == text.len()))
    }

    /// Returns the parameter that stands there by itself.
    fn whole_param(&mut self, id: NodeId) -> Option<ParamName> {
        match self.param_template(id)?.parts() {
            [Part::Reference(Reference::Param(name), _)] => Some(name.clone()),
            _ => None,
        }
    }

    /// Reads a text that refers to parameters and nothing else.
    fn param_template(&mut self, id: NodeId) -> Option<Template> {
        let text = self.text(id, "an item")?;
        let mark = self.mark(id);
        let help = "write `${{ params.NAME }}`: what a step fans out over is known before anything runs";
        let template = match Template::parse(text) {
            Ok(template) => template,
            Err(errors) => {
                for error in errors {
                    self.found.error("bad-reference", mark, clip_to(&error.problem, 200)).help(help);
                }
                return None;
            }
        };
        let other = template.references().find(|reference| !matches!(reference, Reference::Param(_)));
        if let Some(other) = other {
            let shown = clip_to(&format!("`${{{{ {other} }}}}` cannot stand in `for_each`"), 200);
            self.found.error("bad-reference", mark, shown).help(help);
            return None;
        }
        Some(template)
    }

    /// Returns the value of a parameter; that there is none is noted.
    fn value_of(&mut self, name: &ParamName, mark: Mark) -> Option<&ParamValue> {
        if !self.values.contains_key(name) {
            self.unknown_param(name, mark);
            return None;
        }
        self.used_params.insert(name.clone());
        self.values.get(name)?.as_ref()
    }

    /// Reads one item of a list: a scalar, or a mapping of scalars.
    pub fn item(&mut self, id: NodeId, what: &str, refer: Refer) -> Option<Item> {
        let json = match &self.tree.node(id).value {
            Value::Mapping(_) => {
                let mut fields = BTreeMap::new();
                for entry in self.entries(id, what, ITEM_HELP)? {
                    let name = self.name::<PortName>(entry.key, entry.key_mark, "the name");
                    let value = self.scalar_item(entry.value, what, refer);
                    fields.insert(name?.to_string(), value?);
                }
                Json::Object(fields)
            }
            Value::Scalar { .. } | Value::Sequence(_) => self.scalar_item(id, what, refer)?,
        };
        Some(Item::of(&json))
    }

    /// Reads a number, a text, `true` or `false`, or what parameters make of one.
    pub fn scalar_item(&mut self, id: NodeId, what: &str, refer: Refer) -> Option<Json> {
        let Value::Scalar { text, plain } = &self.tree.node(id).value else {
            self.wrong_type(id, what, "a number, a text, `true` or `false`", None);
            return None;
        };
        if refer == Refer::ToParams && text.contains("${{") {
            return self.referring(id, what);
        }
        let plain = *plain;
        let text = self.fixed_text(id, what)?;
        match if plain { Scalar::of_plain(text) } else { Scalar::Text } {
            Scalar::Bool(value) => Some(Json::Bool(value)),
            Scalar::Integer(Some(value)) => Some(Json::Number(value.to_string())),
            Scalar::Decimal => self.decimal(id, what, text),
            Scalar::Integer(None) => self.no_number(id, what, text),
            Scalar::Text | Scalar::Null => Some(Json::Text(text.to_owned())),
        }
    }

    /// Returns what a text with references stands for: one by itself is the value, others are put into the text.
    fn referring(&mut self, id: NodeId, what: &str) -> Option<Json> {
        let (template, mark) = (self.param_template(id)?, self.mark(id));
        let alone = self.is_reference(id);
        let (mut words, mut whole) = (Vec::new(), true);
        for reference in template.references() {
            let Reference::Param(name) = reference else { continue };
            let value = match self.value_of(name, mark) {
                None => None,
                Some(ParamValue::List(_)) => {
                    self.is_list(id, name, what);
                    None
                }
                Some(value) => {
                    let value = value.clone();
                    self.room(id, value.to_string().len() as u64)?;
                    Some(value)
                }
            };
            match value {
                Some(value) if alone => return self.scalar_param(id, &value, what),
                Some(value) => words.push(value.to_string()),
                None => whole = false,
            }
        }
        let mut words = words.into_iter();
        whole.then(|| template.render(|_| words.next()).ok().map(Json::Text)).flatten()
    }

    fn scalar_param(&mut self, id: NodeId, value: &ParamValue, what: &str) -> Option<Json> {
        match value {
            ParamValue::Bool(value) => Some(Json::Bool(*value)),
            ParamValue::Integer(value) => Some(Json::Number(value.to_string())),
            ParamValue::Decimal(text) => self.decimal(id, what, text),
            ParamValue::Text(text) => Some(Json::Text(text.clone())),
            ParamValue::List(_) => None,
        }
    }

    fn is_list(&mut self, id: NodeId, name: &ParamName, what: &str) {
        let mark = self.mark(id);
        self.found
            .error("wrong-type", mark, format!("{what} is one value, but the parameter `{name}` is a list"))
            .help(format!("a list of its own is `${{{{ params.{name} }}}}` without `[…]` around it"));
    }

    fn decimal(&mut self, id: NodeId, what: &str, text: &str) -> Option<Json> {
        match json_number(text) {
            Some(number) => Some(Json::Number(number)),
            None => self.no_number(id, what, text),
        }
    }

    fn no_number(&mut self, id: NodeId, what: &str, text: &str) -> Option<Json> {
        let mark = self.mark(id);
        self.found
            .error("out-of-range", mark, format!("{what} is `{}`, which is no number of JSON", clip(text)))
            .help("write it like `0.5` or `1e-4`, or put it in quotes if it is a text");
        None
    }

    /// Returns the items; one that stands twice is a mistake, since both would be the same work.
    pub fn distinct(&mut self, read: Vec<Option<(Item, Mark)>>) -> Option<Vec<Item>> {
        let (mut items, mut seen) = (Vec::with_capacity(read.len()), HashSet::new());
        let mut whole = true;
        for one in read {
            let Some((item, mark)) = one else {
                whole = false;
                continue;
            };
            if seen.insert(item.clone()) {
                items.push(item);
            } else {
                let message = format!("the item `{}` stands a second time", clip(&item.label()));
                self.found.error("duplicate-item", mark, message).help("remove one of the two");
            }
        }
        whole.then_some(items)
    }

    /// Notes more items than a step may have, and more than all steps of a file may have together.
    pub fn bound_items(&mut self, id: NodeId, count: usize, bytes_each: u64) -> Option<()> {
        let mark = self.mark(id);
        if count > MAX_ITEMS {
            let message = format!("`for_each` has {count} items; a step has at most {MAX_ITEMS}");
            self.found.error("out-of-range", mark, message);
            return None;
        }
        self.room(id, (count as u64).saturating_mul(bytes_each + ITEM_BYTES))
    }

    /// Notes, once, items that would fill the memory.
    fn room(&mut self, id: NodeId, bytes: u64) -> Option<()> {
        let noted = self.item_bytes > MAX_ITEM_BYTES;
        self.item_bytes = self.item_bytes.saturating_add(bytes);
        if self.item_bytes <= MAX_ITEM_BYTES {
            return Some(());
        }
        if !noted {
            let mark = self.mark(id);
            self.found
                .error("too-large", mark, "the items of all steps up to here would need more than 64 MiB")
                .help("let a step write the list as JSON, or give steps the same items with `for_each: STEP`");
        }
        None
    }
}
