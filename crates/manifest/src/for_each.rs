//! `for_each`: what a step fans out over, as it is written and as it is looked up.

use std::collections::{BTreeMap, HashSet};

use indexmap::IndexMap;
use prunella_model::{ForEach, Item, Json, PortName, Reference, StepName};

use crate::{
    diagnostic::{Mark, clip},
    items::{ITEM_HELP as HELP, Refer},
    reader::{Entry, Marked, Reader},
    references::Known,
    step::StepDraft,
    tree::{NodeId, Value},
};

type Drafts<'s> = IndexMap<StepName, StepDraft<'s>>;

/// What `${{ item… }}` of a step may refer to.
enum Fields<'d> {
    /// The step does not fan out.
    None,
    /// Nobody knows before the list is there.
    Unknown,
    /// These items.
    Items(&'d [Item]),
}

impl<'s> Reader<'s> {
    /// Reads `for_each`; whether the steps that it names exist is asked later.
    pub fn for_each(&mut self, id: NodeId) -> Option<Marked<ForEach>> {
        let mark = self.mark(id);
        let value = match &self.tree.node(id).value {
            Value::Scalar { text, .. } if !text.contains("${{") => self.for_each_source(id)?,
            Value::Scalar { .. } if !self.is_reference(id) => {
                self.found
                    .error("wrong-type", mark, "`for_each` is a list, so nothing can stand beside the reference")
                    .help("write `for_each: ${{ params.NAME }}`, or a list whose values have references in them");
                return None;
            }
            Value::Scalar { .. } | Value::Sequence(_) => {
                let read = self.item_list(id, "an item of `for_each`", Refer::ToParams)?;
                let longest = read.iter().flatten().map(|(item, _)| item.as_str().len()).max().unwrap_or_default();
                self.bound_items(id, read.len(), longest as u64)?;
                ForEach::Items(self.distinct(read)?)
            }
            Value::Mapping(_) => ForEach::Items(self.product(id)?),
        };
        Some(Marked { value, mark })
    }

    fn for_each_source(&mut self, id: NodeId) -> Option<ForEach> {
        if self.is_null(id) {
            self.wrong_type(id, "`for_each`", "a mapping, a list or the name of a step", Some(HELP));
            return None;
        }
        let text = self.fixed_text(id, "`for_each`")?;
        let mark = self.mark(id);
        match text.split_once('.') {
            Some(("params", name)) => {
                self.found
                    .error("bad-reference", mark, format!("`{}` is no step", clip(text)))
                    .help(format!("a list that is a parameter is `${{{{ params.{} }}}}`", clip(name)));
                None
            }
            Some(("data", _)) => {
                self.found
                    .error("bad-reference", mark, format!("a step cannot fan out over `{}`", clip(text)))
                    .help("a list is written here, is a parameter, or is made by a step as JSON");
                None
            }
            Some((step, output)) => {
                let step = self.name::<StepName>(step, mark, "the name")?;
                Some(ForEach::Output { step, output: self.name::<PortName>(output, mark, "the name")? })
            }
            None => self.name::<StepName>(text, mark, "the step").map(ForEach::Step),
        }
    }

    /// Reads lists by name; the items are all combinations, the last name varies fastest.
    fn product(&mut self, id: NodeId) -> Option<Vec<Item>> {
        let entries = self.entries(id, "`for_each`", HELP)?;
        if entries.is_empty() {
            let mark = self.mark(id);
            self.found.error("missing-value", mark, "`for_each` has no list").help(HELP);
            return None;
        }
        let mut lists: Vec<(&str, Vec<Json>)> = Vec::with_capacity(entries.len());
        let (mut count, mut bytes) = (1usize, 0);
        for Entry { key, key_mark, value } in entries {
            let name = self.name::<PortName>(key, key_mark, "the name of a list");
            let list = self.factor(key, value)?;
            count = count.saturating_mul(list.len());
            bytes += (key.len() + list.iter().map(|value| value.to_string().len()).max().unwrap_or_default()) as u64;
            name?;
            lists.push((key, list));
        }
        self.bound_items(id, count, bytes)?;
        let mut items: Vec<BTreeMap<String, Json>> = vec![BTreeMap::new()];
        for (name, list) in lists {
            let with = |item: &BTreeMap<String, Json>, value: &Json| {
                let mut item = item.clone();
                item.insert(name.to_owned(), value.clone());
                item
            };
            items = items.iter().flat_map(|item| list.iter().map(move |value| with(item, value))).collect();
        }
        Some(items.into_iter().map(|fields| Item::of(&Json::Object(fields))).collect())
    }

    /// Reads one list of a product.
    fn factor(&mut self, key: &str, id: NodeId) -> Option<Vec<Json>> {
        let what = "a value of a list in `for_each`";
        let mut list = Vec::new();
        let mut seen = HashSet::new();
        if let Value::Sequence(values) = &self.tree.node(id).value {
            let values = values.clone();
            for value in values {
                let json = self.scalar_item(value, what, Refer::ToParams)?;
                if !seen.insert(json.to_string()) {
                    self.twice(&json.to_word(), value);
                }
                list.push(json);
            }
            return Some(list);
        }
        if !self.is_reference(id) {
            let help = "write `[…]`, also around one value, or `${{ params.NAME }}` for a parameter that is a list";
            self.wrong_type(id, &format!("`{}`", clip(key)), "a list", Some(help));
            return None;
        }
        for (item, mark) in self.item_list(id, what, Refer::ToParams)?.into_iter().flatten() {
            match item.value() {
                Some(json @ (Json::Bool(_) | Json::Number(_) | Json::Text(_))) => {
                    if !seen.insert(json.to_string()) {
                        self.twice(&json.to_word(), id);
                    }
                    list.push(json);
                }
                _ => {
                    let message = format!("{what} is a number, a text, `true` or `false`, but here it is a mapping");
                    self.found
                        .error("wrong-type", mark, message)
                        .help("a list of mappings is a `for_each` of its own: `for_each: ${{ params.NAME }}`");
                    return None;
                }
            }
        }
        Some(list)
    }

    fn twice(&mut self, value: &str, id: NodeId) {
        let mark = self.mark(id);
        self.found
            .error("duplicate-item", mark, format!("`{}` stands in this list a second time", clip(value)))
            .help("remove one of the two");
    }

    /// Looks up what a step fans out over.
    pub fn for_each_reference(&mut self, name: &StepName, drafts: &Drafts<'s>, known: &Known<'_>) {
        let Some(Marked { value, mark }) = drafts.get(name).and_then(|draft| draft.for_each.as_ref()) else { return };
        match value {
            ForEach::Items(_) => {}
            ForEach::Output { step, output } => {
                self.output_reference(name, step, output, *mark, drafts, known);
                let Some(producer) = drafts.get(step).filter(|_| step != name) else { return };
                let declared = producer.outputs.iter().find(|draft| draft.name == *output);
                let is_tree = declared.and_then(|draft| draft.output.as_ref()).is_some_and(|output| output.value.tree);
                if producer.for_each.is_some() {
                    let message = format!("`{step}` fans out, so that `{step}.{output}` is a folder and no list");
                    self.found
                        .error("wrong-type", *mark, message)
                        .help(format!("write `for_each: {step}` for its items"));
                } else if is_tree {
                    let message = format!("`{step}.{output}` is a folder; a step fans out over a JSON list in a file");
                    self.found
                        .error("wrong-type", *mark, message)
                        .help("let the step write the list as a file of its own");
                }
            }
            ForEach::Step(step) if step == name => self.self_reference(name, *mark),
            ForEach::Step(step) => {
                let Some(of) = self.step_reference(step, *mark, drafts, known) else { return };
                if of.for_each.is_none() && !of.for_each_wrong {
                    let help = match of.outputs.first() {
                        Some(output) => format!("a JSON list that it makes is `for_each: {step}.{}`", output.name),
                        None => format!("give `{step}` a `for_each`, or this step a list of its own"),
                    };
                    self.found
                        .error("wrong-type", *mark, format!("`{step}` has no items: it does not fan out"))
                        .help(help);
                }
            }
        }
    }

    /// Looks up `${{ item }}` and `${{ item.NAME }}` in a command.
    pub fn item_reference(&mut self, draft: &StepDraft<'s>, reference: &Reference, mark: Mark, drafts: &Drafts<'s>) {
        let Reference::Item(field) = reference else { return };
        let shown = format!("${{{{ {reference} }}}}");
        match fields_of(draft, drafts) {
            Fields::Unknown => {}
            Fields::None => self
                .found
                .error(
                    "unknown-reference",
                    mark,
                    format!("`{}` stands for nothing: this step has no items", clip(&shown)),
                )
                .help(HELP),
            Fields::Items(items) => {
                let Some(item) = items.iter().find(|item| item.word(field.as_deref()).is_none()) else { return };
                let message = format!("the item `{}` has nothing for `{}`", clip(&item.label()), clip(&shown));
                let help = match item.value() {
                    Some(Json::Object(names)) => {
                        let near = field
                            .as_deref()
                            .and_then(|field| self.nearest.help(field, names.keys().map(String::as_str)));
                        let names: Vec<String> = names.keys().map(|name| format!("`item.{name}`")).collect();
                        near.unwrap_or_else(|| format!("its values are {}", names.join(", ")))
                    }
                    _ => "the items are plain values: write `${{ item }}`".to_owned(),
                };
                self.found.error("unknown-reference", mark, message).help(help);
            }
        }
    }
}

/// Returns the items that a step goes through, as far as the file says them.
fn fields_of<'d>(draft: &'d StepDraft<'_>, drafts: &'d Drafts<'_>) -> Fields<'d> {
    let mut at = draft;
    // A circle has more hops than there are steps, and is noted elsewhere.
    for _ in 0..=drafts.len() {
        match at.for_each.as_ref().map(|for_each| &for_each.value) {
            None if at.for_each_wrong => return Fields::Unknown,
            None => return Fields::None,
            Some(ForEach::Items(items)) => return Fields::Items(items),
            Some(ForEach::Output { .. }) => return Fields::Unknown,
            Some(ForEach::Step(step)) => match drafts.get(step) {
                Some(next) => at = next,
                None => return Fields::Unknown,
            },
        }
    }
    Fields::Unknown
}
