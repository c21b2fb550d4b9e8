//! Items of fanned-out steps: what they say, how they are called, and lists of them.

use std::collections::HashSet;

use serde::{Deserialize, Serialize};

use crate::{Digest, Item, Json, JsonError, PortName, StepName, json::Reader};

/// The most items that one step fans out over.
pub const MAX_ITEMS: usize = 100_000;
/// The largest text that a list of items is read from.
pub const MAX_ITEMS_BYTES: u64 = 8 << 20;

/// What a step fans out over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ForEach {
    /// These items, written in the file.
    Items(Vec<Item>),
    /// The JSON list that another step makes.
    Output {
        /// The producer.
        step: StepName,
        /// Its output.
        output: PortName,
    },
    /// The items of another fanned-out step, item by item.
    Step(StepName),
}

impl ForEach {
    /// Returns the step that it waits for, if there is one.
    pub fn needs(&self) -> Option<&StepName> {
        match self {
            Self::Items(_) => None,
            Self::Output { step, .. } | Self::Step(step) => Some(step),
        }
    }
}

/// Names in an output folder that no item may take.
const RESERVED: &[&str] = &["index.json"];
/// A longer label is cut, and its digest makes it unique.
const MAX_LABEL: usize = 80;
const DIGEST_DIGITS: usize = 12;

impl Item {
    /// Returns the item of this value.
    pub fn of(json: &Json) -> Self {
        Self::from_canonical(&json.to_string())
    }

    /// Returns its value; nothing if the text is not JSON.
    pub fn value(&self) -> Option<Json> {
        Json::parse(self.as_str()).ok()
    }

    /// Returns what `${{ item }}`, or `${{ item.NAME }}` with a name, stands for.
    ///
    /// The item by itself stands for a scalar only, a name for what an object has.
    pub fn word(&self, name: Option<&str>) -> Option<String> {
        match (self.value()?, name) {
            (Json::Object(fields), Some(name)) => fields.get(name).map(Json::to_word),
            (Json::Object(_) | Json::List(_), None) | (_, Some(_)) => None,
            (scalar, None) => Some(scalar.to_word()),
        }
    }

    /// Returns its name for people, shells and folders: `2`, `adam`, `fold=2`, `depth=3,lr=0.1`.
    ///
    /// A function of the item alone. Two items never have one label, also where case does not count: whatever cannot be
    /// written plainly and told apart is followed by `~` and digits of the item's digest.
    pub fn label(&self) -> String {
        let plain = match self.value() {
            Some(Json::Object(fields)) if !fields.is_empty() => fields
                .iter()
                .map(|(name, value)| Some(format!("{}={}", plain_text(name)?, plain_scalar(value)?)))
                .collect::<Option<Vec<_>>>()
                .map(|fields| fields.join(",")),
            Some(value) => plain_scalar(&value),
            None => None,
        };
        match plain {
            Some(plain) if plain.len() <= MAX_LABEL && !RESERVED.contains(&plain.as_str()) => plain,
            _ => self.marked_label(),
        }
    }

    /// What can be read of it, and digits that tell it apart.
    fn marked_label(&self) -> String {
        let readable = match self.value() {
            Some(Json::Object(fields)) => {
                fields.iter().map(|(name, value)| format!("{name}={}", value.to_word())).collect::<Vec<_>>().join(",")
            }
            Some(value) => value.to_word(),
            None => String::new(),
        };
        let safe = |c: char| if is_plain(c) || matches!(c, '=' | ',') { c } else { '_' };
        let most = MAX_LABEL - DIGEST_DIGITS - 1;
        let mut label: String = readable.to_ascii_lowercase().chars().map(safe).take(most).collect();
        // A folder that begins with a dot would be hidden.
        if label.starts_with('.') {
            label.replace_range(..1, "_");
        }
        let digest = Digest::of(self.as_str().as_bytes()).hex();
        format!("{label}~{}", &digest[..DIGEST_DIGITS])
    }
}

fn is_plain(c: char) -> bool {
    c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '_' | '-' | '.' | '+')
}

fn plain_scalar(value: &Json) -> Option<String> {
    let text = match value {
        Json::Bool(value) => return Some(value.to_string()),
        Json::Number(text) => text.clone(),
        Json::Text(text) => {
            // What reads like a number or a word of JSON is a text only to those who see its quotes.
            let other = Json::is_number(text) || matches!(text.as_str(), "true" | "false" | "null");
            return if other { None } else { plain_text(text) };
        }
        Json::Null | Json::List(_) | Json::Object(_) => return None,
    };
    text.chars().all(is_plain).then_some(text)
}

fn plain_text(text: &str) -> Option<String> {
    let plain = !text.is_empty() && !text.starts_with(['.', '-']) && text.chars().all(is_plain);
    plain.then(|| text.to_owned())
}

/// Reads the JSON list that a step fans out over; equal items are one, at the place of the first.
///
/// # Errors
/// [`JsonError`] for the first thing that is no item (a scalar or an object is one), and for what is too much.
pub fn read_items(text: &str) -> Result<Vec<Item>, JsonError> {
    let mut reader = Reader { text, at: 0 };
    if text.len() as u64 > MAX_ITEMS_BYTES {
        return Err(reader.wrong(format!("the list has {} bytes, at most {MAX_ITEMS_BYTES} are read", text.len())));
    }
    if !reader.take(b'[') {
        return Err(reader.wrong("this is no list; a step fans out over `[…]`"));
    }
    let (mut items, mut seen) = (Vec::new(), HashSet::new());
    let mut closed = reader.take(b']');
    while !closed {
        reader.space();
        let at = reader.at;
        let value = reader.value(1)?;
        if matches!(value, Json::Null | Json::List(_)) {
            let problem = format!("item {} is {}; an item is a scalar or an object", items.len() + 1, value.kind());
            return Err(reader.wrong_at(at, problem));
        }
        let item = Item::of(&value);
        if seen.insert(item.clone()) {
            items.push(item);
        }
        if items.len() > MAX_ITEMS {
            return Err(reader.wrong_at(at, format!("there are more than {MAX_ITEMS} items")));
        }
        closed = reader.take(b']');
        if !closed && !reader.take(b',') {
            return Err(reader.wrong("`,` or `]` is missing"));
        }
    }
    reader.space();
    match reader.peek() {
        None => Ok(items),
        Some(_) => Err(reader.wrong("something stands after the list")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(json: &str) -> Item {
        Item::of(&Json::parse(json).expect(json))
    }

    #[test]
    fn labels_are_readable_where_they_can_be() {
        let table = [
            ("2", "2"),
            ("-0.5", "-0.5"),
            ("true", "true"),
            ("\"adam\"", "adam"),
            (r#"{"fold":2}"#, "fold=2"),
            (r#"{"lr":0.1,"depth":3}"#, "depth=3,lr=0.1"),
            (r#"{"model":"res-net_50"}"#, "model=res-net_50"),
        ];
        for (json, label) in table {
            assert_eq!(item(json).label(), label);
        }
        for json in
            ["\"2\"", "\"A\"", "\"\"", "\"..\"", "\"a/b\"", "\"index.json\"", "{}", "1E5", "\"fold=2\"", "\"é\""]
        {
            let label = item(json).label();
            assert!(label.contains('~') && !label.contains('/') && !label.starts_with('.'), "{json}: {label}");
        }
        assert!(item(&format!("\"{}\"", "x".repeat(500))).label().len() <= MAX_LABEL);
    }

    #[test]
    fn a_list_is_read_item_by_item_and_equal_items_are_one() {
        let items = read_items(" [ 1, {\"b\":1,\"a\":2}, 1, {\"a\":2,\"b\":1}, \"x\" ] ").expect("a list");
        let texts: Vec<&str> = items.iter().map(Item::as_str).collect();
        assert_eq!(texts, ["1", r#"{"a":2,"b":1}"#, "\"x\""]);
        assert_eq!(read_items("[]"), Ok(Vec::new()));
        for bad in ["{}", "[null]", "[[1]]", "[1", "[1,]", "[1] x", "", "[1 2]", "[,]"] {
            assert!(read_items(bad).is_err(), "{bad}");
        }
        let many: Vec<String> = (0..=MAX_ITEMS).map(|n| n.to_string()).collect();
        assert!(read_items(&format!("[{}]", many.join(","))).is_err());
        assert_eq!(read_items(&format!("[{}]", many[1..].join(","))).map(|items| items.len()), Ok(MAX_ITEMS));
    }

    #[test]
    fn a_reference_stands_for_a_scalar_or_a_field() {
        let object = item(r#"{"lr":0.10,"name":"a b","layers":[1,2]}"#);
        assert_eq!(object.word(Some("lr")).as_deref(), Some("0.10"));
        assert_eq!(object.word(Some("name")).as_deref(), Some("a b"));
        assert_eq!(object.word(Some("layers")).as_deref(), Some("[1,2]"));
        assert_eq!(object.word(Some("nope")), None);
        assert_eq!(object.word(None), None);
        assert_eq!(item("\"x\"").word(None).as_deref(), Some("x"));
        assert_eq!(item("\"x\"").word(Some("x")), None);
    }
}
