//! `for_each`: the list that a step fans out over, written down, made by another step, or another's items again.

use std::collections::{BTreeMap, HashMap, HashSet};

use indexmap::IndexMap;
use prunella_model::{
    ForEach, Item, Json, MAX_ITEMS, ParamName, ParamValue, PortName, Reference, StepName, read_items,
};

use crate::{
    diagnostic::{Mark, clip},
    params::Params,
    reader::{Marked, Reader},
    references::Known,
    scalar::Scalar,
    step::StepDraft,
    tree::{NodeId, Value},
};

type Drafts<'s> = IndexMap<StepName, StepDraft<'s>>;

/// Items that have nothing for a reference, by the step that has the list and the name; looked for once.
pub(crate) type Lacking = HashMap<(StepName, Option<String>), Option<Item>>;

const HELP: &str = "write a list, `{ NAME: [1, 2] }`, `STEP.OUTPUT` for a JSON list, or `STEP` for its items again";

impl<'s> Reader<'s> {
    /// Reads what steps fan out over; parameters are known by now.
    pub fn fan_outs(&mut self, drafts: &mut Drafts<'s>, params: &Params) {
        for draft in drafts.values_mut() {
            let Some((id, key)) = draft.for_each_at else { continue };
            let mut used = Vec::new();
            if let Some(value) = self.fan_out(id, params, &mut used) {
                let mark = if matches!(self.tree.node(id).value, Value::Scalar { .. }) { self.mark(id) } else { key };
                draft.for_each = Some(Marked { value, mark });
            }
            draft.references.extend(used.into_iter().map(|name| Marked { value: Reference::Param(name), mark: key }));
            if draft.when.is_some() {
                self.found
                    .error("contradiction", key, "a step that fans out has no condition of its own in this version")
                    .help("put `when` on a step that it needs, or on one that reads it");
            }
        }
    }

    fn fan_out(&mut self, id: NodeId, params: &Params, used: &mut Vec<ParamName>) -> Option<ForEach> {
        match &self.tree.node(id).value {
            Value::Scalar { .. } => self.named_list(id, params, used),
            Value::Sequence(values) => self.list_of(&values.clone(), id, params, used).map(ForEach::Items),
            Value::Mapping(_) => self.product(id, params, used).map(ForEach::Items),
        }
    }

    fn named_list(&mut self, id: NodeId, params: &Params, used: &mut Vec<ParamName>) -> Option<ForEach> {
        let text = self.text(id, "`for_each`")?;
        let mark = self.mark(id);
        if text.contains("${{") {
            let value = self.param_at(id, text, params, used)?;
            let read = match &value {
                ParamValue::Text(text) => read_items(text).map_err(|error| error.to_string()),
                other => Err(format!("it is `{other}`")),
            };
            return match read {
                Ok(items) => Some(ForEach::Items(items)),
                Err(problem) => {
                    let message = format!("the parameter is no JSON list of items: {}", clip(&problem));
                    self.found.error("not-json", mark, message).help("write a text such as `\"[0, 1, 2]\"`");
                    None
                }
            };
        }
        let Some((step, output)) = text.split_once('.') else {
            return self.name::<StepName>(text, mark, "the step").map(ForEach::Step);
        };
        let step = self.name::<StepName>(step, mark, "the name")?;
        let output = self.name::<PortName>(output, mark, "the name")?;
        Some(ForEach::Output { step, output })
    }

    /// Returns the value of the parameter that a text is nothing but a reference to.
    fn param_at(&mut self, id: NodeId, text: &str, params: &Params, used: &mut Vec<ParamName>) -> Option<ParamValue> {
        let inner = text.trim().strip_prefix("${{").and_then(|rest| rest.strip_suffix("}}")).map(str::trim);
        let name = inner.and_then(|inner| inner.strip_prefix("params.")).and_then(|name| ParamName::new(name).ok());
        let Some(name) = name else {
            let mark = self.mark(id);
            self.found
                .error("reference-not-here", mark, "a value of `for_each` can only be a whole `${{ params.NAME }}`")
                .help("write the value itself, or put all of it into a parameter");
            return None;
        };
        let value = params.get(&name).map(|(value, _)| value.clone());
        // One that is not there is noted with the references of the step.
        used.push(name);
        value
    }

    fn list_of(
        &mut self,
        values: &[NodeId],
        list: NodeId,
        params: &Params,
        used: &mut Vec<ParamName>,
    ) -> Option<Vec<Item>> {
        if values.is_empty() {
            let mark = self.mark(list);
            self.found.error("missing-value", mark, "`for_each` is an empty list").help(HELP);
            return None;
        }
        if values.len() > MAX_ITEMS {
            self.too_many(list);
            return None;
        }
        let (mut items, mut seen, mut whole) = (Vec::with_capacity(values.len()), HashSet::new(), true);
        for id in values {
            let json = match &self.tree.node(*id).value {
                Value::Mapping(_) => self.fields_of_item(*id, params, used),
                _ => self.item_scalar(*id, params, used),
            };
            match json {
                Some(json) => self.once(Item::of(&json), *id, &mut seen, &mut items),
                None => whole = false,
            }
        }
        whole.then_some(items)
    }

    fn once(&mut self, item: Item, id: NodeId, seen: &mut HashSet<Item>, items: &mut Vec<Item>) {
        if seen.insert(item.clone()) {
            items.push(item);
            return;
        }
        let mark = self.mark(id);
        self.found
            .error("duplicate-item", mark, format!("the item `{}` stands a second time", clip(item.as_str())))
            .help("remove one of the two; equal items are one");
    }

    fn too_many(&mut self, id: NodeId) {
        let mark = self.mark(id);
        self.found.error("out-of-range", mark, format!("a step fans out over at most {MAX_ITEMS} items"));
    }

    fn fields_of_item(&mut self, id: NodeId, params: &Params, used: &mut Vec<ParamName>) -> Option<Json> {
        let (mut fields, mut whole) = (BTreeMap::new(), true);
        for entry in self.entries(id, "an item", HELP)? {
            let named = self.field_name(entry.key, entry.key_mark);
            match (named, self.item_scalar(entry.value, params, used)) {
                (Some(name), Some(value)) => drop(fields.insert(name, value)),
                _ => whole = false,
            }
        }
        if fields.is_empty() && whole {
            let mark = self.mark(id);
            self.found.error("missing-value", mark, "an item is empty").help("write `{ NAME: value }`");
            return None;
        }
        whole.then_some(Json::Object(fields))
    }

    fn field_name(&mut self, name: &str, mark: Mark) -> Option<String> {
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
        if name.starts_with(|c: char| c.is_ascii_alphabetic()) && name.len() <= 64 && name.chars().all(plain) {
            return Some(name.to_owned());
        }
        self.found
            .error("bad-name", mark, format!("`{}` cannot be the name of a part of an item", clip(name)))
            .help("such a name begins with a letter and goes on with letters, digits, `_` and `-`");
        None
    }

    /// Returns the product of several lists, in the order of the file: the last one changes fastest.
    fn product(&mut self, id: NodeId, params: &Params, used: &mut Vec<ParamName>) -> Option<Vec<Item>> {
        let entries = self.entries(id, "`for_each`", HELP)?;
        let (mut lists, mut whole, mut count) = (Vec::with_capacity(entries.len()), true, 1usize);
        for entry in entries {
            let named = self.field_name(entry.key, entry.key_mark);
            let values = self.items(entry.value, "a list of `for_each`").unwrap_or_default();
            if values.is_empty() {
                let mark = self.mark(entry.value);
                if matches!(self.tree.node(entry.value).value, Value::Sequence(_)) {
                    let message = format!("the list `{}` is empty", clip(entry.key));
                    self.found.error("missing-value", mark, message).help(HELP);
                }
                whole = false;
            }
            count = count.saturating_mul(values.len().max(1));
            let (mut list, mut seen) = (Vec::with_capacity(values.len()), HashSet::new());
            for value in values {
                match self.item_scalar(value, params, used) {
                    Some(json) => {
                        let before = list.len();
                        let mut items = Vec::new();
                        self.once(Item::of(&json), value, &mut seen, &mut items);
                        list.extend(items.first().map(|_| json));
                        whole &= list.len() > before;
                    }
                    None => whole = false,
                }
            }
            match named {
                Some(name) => lists.push((name, list)),
                None => whole = false,
            }
        }
        if lists.is_empty() && whole {
            let mark = self.mark(id);
            self.found.error("missing-value", mark, "`for_each` has no list").help(HELP);
            return None;
        }
        if count > MAX_ITEMS {
            self.too_many(id);
            return None;
        }
        whole.then(|| product_of(&lists))
    }

    /// Returns one value of an item; numbers stay as they are written.
    fn item_scalar(&mut self, id: NodeId, params: &Params, used: &mut Vec<ParamName>) -> Option<Json> {
        let what = "a value of `for_each`";
        let Value::Scalar { plain, .. } = self.tree.node(id).value else {
            self.wrong_type(id, what, "a number, a text, `true` or `false`", Some(HELP));
            return None;
        };
        let text = self.text(id, what)?;
        if text.contains("${{") {
            return self.param_at(id, text, params, used).and_then(|value| match value {
                ParamValue::Bool(value) => Some(Json::Bool(value)),
                ParamValue::Integer(value) => Some(Json::Number(value.to_string())),
                ParamValue::Decimal(text) => decimal(&text),
                ParamValue::Text(text) => Some(Json::Text(text)),
            });
        }
        let number = match if plain { Scalar::of_plain(text) } else { Scalar::Text } {
            Scalar::Null | Scalar::Text => return Some(Json::Text(text.to_owned())),
            Scalar::Bool(value) => return Some(Json::Bool(value)),
            Scalar::Integer(Some(value)) => Some(Json::Number(value.to_string())),
            Scalar::Integer(None) => Json::is_number(text).then(|| Json::Number(text.to_owned())),
            Scalar::Decimal => decimal(text),
        };
        if number.is_none() {
            let mark = self.mark(id);
            self.found
                .error("out-of-range", mark, format!("`{}` is no number that JSON has", clip(text)))
                .help("put it in quotes if it is a text");
        }
        number
    }

    /// Looks up what a step fans out over.
    pub fn fan_out_references(
        &mut self,
        name: &StepName,
        draft: &StepDraft<'s>,
        drafts: &Drafts<'s>,
        known: &Known<'_>,
    ) {
        let Some(Marked { value, mark }) = &draft.for_each else { return };
        match value {
            ForEach::Items(_) => {}
            ForEach::Output { step, output } => {
                self.output_reference(name, step, output, *mark, drafts, known);
                let Some(producer) = drafts.get(step).filter(|_| step != name) else { return };
                let tree = producer.outputs.iter().find(|draft| draft.name == *output);
                let tree = tree.and_then(|draft| draft.output.as_ref()).is_some_and(|output| output.value.tree);
                if producer.for_each_at.is_some() {
                    self.found
                        .error("contradiction", *mark, format!("`{step}` fans out, so `{step}.{output}` is no list"))
                        .help(format!("write `for_each: {step}` to go through its items"));
                } else if tree {
                    self.found
                        .error("not-json", *mark, format!("`{step}.{output}` is a folder, and a list is a JSON file"))
                        .help("write the list into a file, such as `items.json`, and declare that");
                }
            }
            ForEach::Step(step) if step == name => self.self_reference(name, *mark),
            ForEach::Step(step) => {
                let Some(other) = self.step_reference(step, *mark, drafts, known) else { return };
                if other.for_each_at.is_none() {
                    self.found
                        .error("contradiction", *mark, format!("`{step}` does not fan out, so it has no items"))
                        .help(HELP);
                }
            }
        }
    }

    /// Notes a reference to an item, or a part of one, that there is not.
    pub fn item_reference(
        &mut self,
        step: &StepName,
        draft: &StepDraft<'s>,
        name: Option<&str>,
        mark: Mark,
        drafts: &Drafts<'s>,
        lacking: &mut Lacking,
    ) {
        let Some(for_each) = &draft.for_each else {
            if draft.for_each_at.is_none() {
                self.found
                    .error("unknown-reference", mark, "this step does not fan out, so it has no item")
                    .help("write `for_each: { NAME: [1, 2] }` in the step");
            }
            return;
        };
        let (mut at, mut leader) = (&for_each.value, step);
        // As many hops as there are steps: circles are noted elsewhere.
        for _ in 0..drafts.len() {
            let ForEach::Step(of) = at else { break };
            let Some(next) = drafts.get(of).and_then(|draft| draft.for_each.as_ref()) else { return };
            (at, leader) = (&next.value, of);
        }
        let ForEach::Items(items) = at else { return };
        let lacks = |items: &[Item]| items.iter().find(|item| item.word(name).is_none()).cloned();
        let lacks = lacking.entry((leader.clone(), name.map(str::to_owned))).or_insert_with(|| lacks(items));
        let Some(item) = lacks else { return };
        let reference = Reference::Item(name.map(str::to_owned)).to_string();
        let message = format!("the item `{}` has nothing for `{}`", clip(item.as_str()), clip(&reference));
        let names: Vec<String> = match item.value() {
            Some(Json::Object(fields)) => fields.into_keys().collect(),
            _ => Vec::new(),
        };
        let help = match (name, names.first()) {
            (_, None) => Some("the items are values by themselves: write `${{ item }}`".to_owned()),
            (None, Some(first)) => Some(format!("write `${{{{ item.{first} }}}}`")),
            (Some(name), Some(_)) => {
                let near = self.nearest.help(name, names.iter().map(String::as_str));
                near.or_else(|| Some(format!("it has {}", names.join(", "))))
            }
        };
        self.found.error("unknown-reference", mark, message).maybe_help(help);
    }
}

/// Returns a decimal of YAML as JSON has it: with digits on both sides of the point, and no plus.
fn decimal(text: &str) -> Option<Json> {
    let unsigned = text.strip_prefix('+').unwrap_or(text);
    let (sign, digits) = unsigned.strip_prefix('-').map_or(("", unsigned), |digits| ("-", digits));
    let (mantissa, exponent) = digits.find(['e', 'E']).map_or((digits, ""), |at| digits.split_at(at));
    let mantissa = match mantissa.split_once('.') {
        Some((whole, fraction)) => {
            let whole = if whole.is_empty() { "0" } else { whole };
            format!("{whole}.{}", if fraction.is_empty() { "0" } else { fraction })
        }
        None => mantissa.to_owned(),
    };
    let number = format!("{sign}{mantissa}{exponent}");
    Json::is_number(&number).then_some(Json::Number(number))
}

fn product_of(lists: &[(String, Vec<Json>)]) -> Vec<Item> {
    let mut rows: Vec<BTreeMap<String, Json>> = vec![BTreeMap::new()];
    for (name, values) in lists {
        let with = |row: &BTreeMap<String, Json>, value: &Json| {
            let mut row = row.clone();
            row.insert(name.clone(), value.clone());
            row
        };
        rows = rows.iter().flat_map(|row| values.iter().map(move |value| with(row, value))).collect();
    }
    rows.into_iter().map(|row| Item::of(&Json::Object(row))).collect()
}
