//! `for_each` against a naive evaluator: nested loops over texts, which know nothing of the reader.

mod support;

use std::collections::BTreeMap;

use proptest::prelude::*;
use proptest::sample::subsequence;
use prunella_manifest::{Overrides, Source, read};
use prunella_model::ForEach;
use support::Listed;

/// How values are written, and the JSON that they are.
const VALUES: [(&str, &str); 14] = [
    ("1", "1"),
    ("-3", "-3"),
    ("0x1F", "31"),
    (".5", "0.5"),
    ("0.50", "0.50"),
    ("5.", "5.0"),
    ("1e-4", "1e-4"),
    ("true", "true"),
    ("False", "false"),
    ("adam", "\"adam\""),
    ("'7'", "\"7\""),
    ("no", "\"no\""),
    ("\"a b\"", "\"a b\""),
    ("'{\"a\": 1}'", "\"{\\\"a\\\": 1}\""),
];
const NAMES: [&str; 4] = ["lr", "fold", "a-b", "z"];

/// A value by its place in the table, and whether a parameter stands in its place.
type Written = (usize, bool);

#[derive(Debug, Clone)]
enum Form {
    List(Vec<Element>),
    Product(Vec<(&'static str, Vec<Written>, bool)>),
}

#[derive(Debug, Clone)]
enum Element {
    Value(Written),
    Mapping(Vec<(&'static str, Written)>),
}

fn values(most: usize) -> impl Strategy<Value = Vec<Written>> {
    let chosen = subsequence((0..VALUES.len()).collect::<Vec<_>>(), 0..=most).prop_shuffle();
    (chosen, any::<u16>())
        .prop_map(|(chosen, bits)| chosen.into_iter().enumerate().map(|(n, at)| (at, bits >> n & 1 == 1)).collect())
}

fn written() -> impl Strategy<Value = Written> {
    (0..VALUES.len(), any::<bool>())
}

fn names(most: usize) -> impl Strategy<Value = Vec<&'static str>> {
    subsequence(NAMES.to_vec(), 1..=most).prop_shuffle()
}

fn mapping() -> impl Strategy<Value = Element> {
    names(3).prop_flat_map(|names| {
        let values = prop::collection::vec(written(), names.len());
        values.prop_map(move |values| Element::Mapping(names.iter().copied().zip(values).collect()))
    })
}

fn form() -> impl Strategy<Value = Form> {
    let element = prop_oneof![written().prop_map(Element::Value), mapping()];
    let product = names(3).prop_flat_map(|names| {
        let lists = prop::collection::vec((values(4), any::<bool>()), names.len());
        lists.prop_map(move |lists| {
            let lists = names.iter().zip(lists);
            Form::Product(lists.map(|(name, (values, whole))| (*name, values, whole)).collect())
        })
    });
    prop_oneof![prop::collection::vec(element, 0..8).prop_map(Form::List), product]
}

/// The text of a form, and of the parameters that it needs.
fn text(form: &Form, whole: bool) -> String {
    let mut params: Vec<String> = vec!["  unused: 0".to_owned()];
    let mut value = |(at, param): Written, inside: bool| {
        if !param || inside {
            return VALUES[at].0.to_owned();
        }
        params.push(format!("  p{}: {}", params.len(), VALUES[at].0));
        format!("\"${{{{ params.p{} }}}}\"", params.len() - 1)
    };
    let for_each = match form {
        Form::List(elements) => {
            let mut element = |element: &Element| match element {
                Element::Value(written) => value(*written, whole),
                Element::Mapping(fields) => {
                    let fields = fields.iter().map(|(name, written)| format!("{name}: {}", value(*written, whole)));
                    format!("{{ {} }}", fields.collect::<Vec<_>>().join(", "))
                }
            };
            let list = format!("[{}]", elements.iter().map(&mut element).collect::<Vec<_>>().join(", "));
            if whole {
                params.push(format!("  list: {list}"));
                "${{ params.list }}".to_owned()
            } else {
                list
            }
        }
        Form::Product(lists) => {
            let mut made = Vec::new();
            let mut named = Vec::new();
            for (name, values, whole) in lists {
                let list: Vec<String> = values.iter().map(|written| value(*written, *whole)).collect();
                let list = format!("[{}]", list.join(", "));
                if *whole {
                    named.push(format!("  l{}: {list}", named.len()));
                    made.push(format!("{name}: \"${{{{ params.l{} }}}}\"", named.len() - 1));
                } else {
                    made.push(format!("{name}: {list}"));
                }
            }
            params.extend(named);
            format!("{{ {} }}", made.join(", "))
        }
    };
    let params = params.join("\n");
    format!(
        "prunella: v1\nname: p\nparams:\n{params}\nsteps:\n  s:\n    for_each: {for_each}\n    run: ./s ${{{{ params.unused }}}}\n"
    )
}

/// The items that a form is, as canonical JSON; nothing if one stands twice.
fn naive(form: &Form) -> Option<Vec<String>> {
    let json = |written: &Written| VALUES[written.0].1.to_owned();
    let object = |fields: &BTreeMap<&str, String>| {
        let fields: Vec<String> = fields.iter().map(|(name, value)| format!("\"{name}\":{value}")).collect();
        format!("{{{}}}", fields.join(","))
    };
    let items = match form {
        Form::List(elements) => elements
            .iter()
            .map(|element| match element {
                Element::Value(written) => json(written),
                Element::Mapping(fields) => object(&fields.iter().map(|(name, value)| (*name, json(value))).collect()),
            })
            .collect(),
        Form::Product(lists) => {
            let count: usize = lists.iter().map(|(_, values, _)| values.len()).product();
            let mut items = Vec::new();
            for n in 0..count {
                // The digits of n, the last list the lowest.
                let (mut rest, mut fields) = (n, BTreeMap::new());
                for (name, values, _) in lists.iter().rev() {
                    fields.insert(*name, json(&values[rest % values.len()]));
                    rest /= values.len();
                }
                items.push(object(&fields));
            }
            items
        }
    };
    let twice = (0..items.len()).any(|at| items[..at].contains(&items[at]));
    (!twice).then_some(items)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_items_of_a_list_and_of_a_product_are_those_of_nested_loops(form in form(), whole in any::<bool>()) {
        let text = text(&form, whole);
        let source = Source { name: "p.yaml".to_owned(), text: text.clone() };
        let found = read(&source, &Overrides::default(), &Listed);
        match (naive(&form), found) {
            (Some(expected), Ok(read)) => {
                prop_assert!(read.warnings.is_empty(), "{}\n{:?}", text, read.warnings);
                let Some(ForEach::Items(items)) = &read.pipeline.steps["s"].for_each else { panic!("items") };
                let items: Vec<&str> = items.iter().map(|item| item.as_str()).collect();
                prop_assert_eq!(items, expected, "{}", text);
            }
            (None, Err(found)) => {
                prop_assert!(found.iter().all(|one| one.code == "duplicate-item"), "{}\n{:?}", text, found);
            }
            (expected, found) => prop_assert!(false, "{text}\n{expected:?}\n{found:?}"),
        }
    }
}
