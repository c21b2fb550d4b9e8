//! Conditions against a naive evaluator, and against whatever anybody may write.

use proptest::prelude::*;
use prunella_condition::{Condition, Scope, Use, Value, json_value};
use serde_json::json;

/// An expression of which the naive evaluator knows the value.
#[derive(Debug, Clone)]
enum Naive {
    Number(i64),
    Half(i64),
    Item,
    Fold(usize),
    Sum(Box<Naive>, Box<Naive>),
    Difference(Box<Naive>, Box<Naive>),
    Product(Box<Naive>, Box<Naive>),
}

#[derive(Debug, Clone)]
enum Truth {
    Constant(bool),
    Missing,
    Less(Naive, Naive),
    Equal(Naive, Naive),
    Not(Box<Truth>),
    And(Box<Truth>, Box<Truth>),
    Or(Box<Truth>, Box<Truth>),
    Choice(Box<Truth>, Box<Truth>, Box<Truth>),
    All(Box<Truth>),
    Exists(Box<Truth>),
    One(Box<Truth>),
}

const FOLDS: [i64; 3] = [3, -1, 4];

impl Naive {
    fn text(&self) -> String {
        match self {
            Self::Number(n) => n.to_string(),
            Self::Half(n) => format!("{:?}", *n as f64 / 2.0),
            Self::Item => "x".to_owned(),
            Self::Fold(n) => format!("evaluate.metrics.folds[{n}]"),
            Self::Sum(a, b) => format!("({} + {})", a.text(), b.text()),
            Self::Difference(a, b) => format!("({} - {})", a.text(), b.text()),
            Self::Product(a, b) => format!("({} * {})", a.text(), b.text()),
        }
    }

    /// Twice, four times … its value, so that halves stay whole: all numbers here are fractions of a power of two.
    fn value(&self, item: i64) -> f64 {
        match self {
            Self::Number(n) => *n as f64,
            Self::Half(n) => *n as f64 / 2.0,
            Self::Item => item as f64,
            Self::Fold(n) => FOLDS[*n] as f64,
            Self::Sum(a, b) => a.value(item) + b.value(item),
            Self::Difference(a, b) => a.value(item) - b.value(item),
            Self::Product(a, b) => a.value(item) * b.value(item),
        }
    }
}

impl Truth {
    fn text(&self) -> String {
        let over = |which: &str, body: &Self| format!("evaluate.metrics.folds.{which}(x, {})", body.text());
        match self {
            Self::Constant(value) => value.to_string(),
            Self::Missing => "evaluate.metrics.missing".to_owned(),
            Self::Less(a, b) => format!("{} < {}", a.text(), b.text()),
            Self::Equal(a, b) => format!("{} == {}", a.text(), b.text()),
            Self::Not(a) => format!("!({})", a.text()),
            Self::And(a, b) => format!("({} && {})", a.text(), b.text()),
            Self::Or(a, b) => format!("({} || {})", a.text(), b.text()),
            Self::Choice(a, b, c) => format!("({} ? {} : {})", a.text(), b.text(), c.text()),
            Self::All(a) => over("all", a),
            Self::Exists(a) => over("exists", a),
            Self::One(a) => over("exists_one", a),
        }
    }

    /// Its value; nothing where it has none.
    fn value(&self, item: i64) -> Option<bool> {
        let every = |body: &Self| FOLDS.map(|item| body.value(item));
        // Three values: one side can decide without the other.
        let and = |a: Option<bool>, b: Option<bool>| match (a, b) {
            (Some(false), _) | (_, Some(false)) => Some(false),
            (Some(true), Some(true)) => Some(true),
            _ => None,
        };
        let or = |a: Option<bool>, b: Option<bool>| and(a.map(|a| !a), b.map(|b| !b)).map(|value| !value);
        match self {
            Self::Constant(value) => Some(*value),
            Self::Missing => None,
            Self::Less(a, b) => Some(a.value(item) < b.value(item)),
            Self::Equal(a, b) => Some(a.value(item) == b.value(item)),
            Self::Not(a) => a.value(item).map(|value| !value),
            Self::And(a, b) => and(a.value(item), b.value(item)),
            Self::Or(a, b) => or(a.value(item), b.value(item)),
            Self::Choice(a, b, c) => {
                if a.value(item)? {
                    b.value(item)
                } else {
                    c.value(item)
                }
            }
            Self::All(a) => every(a).into_iter().fold(Some(true), and),
            Self::Exists(a) => every(a).into_iter().fold(Some(false), or),
            Self::One(a) => {
                let values: Option<Vec<bool>> = every(a).into_iter().collect();
                Some(values?.into_iter().filter(|value| *value).count() == 1)
            }
        }
    }
}

fn number() -> impl Strategy<Value = Naive> {
    let leaf = prop_oneof![
        (-9i64..10).prop_map(Naive::Number),
        (-9i64..10).prop_map(Naive::Half),
        Just(Naive::Item),
        (0..FOLDS.len()).prop_map(Naive::Fold),
    ];
    leaf.prop_recursive(3, 12, 2, |inner| {
        let two = (inner.clone(), inner).prop_map(|(a, b)| (Box::new(a), Box::new(b)));
        prop_oneof![
            two.clone().prop_map(|(a, b)| Naive::Sum(a, b)),
            two.clone().prop_map(|(a, b)| Naive::Difference(a, b)),
            two.prop_map(|(a, b)| Naive::Product(a, b)),
        ]
    })
}

fn truth() -> impl Strategy<Value = Truth> {
    let leaf = prop_oneof![
        any::<bool>().prop_map(Truth::Constant),
        Just(Truth::Missing),
        (number(), number()).prop_map(|(a, b)| Truth::Less(a, b)),
        (number(), number()).prop_map(|(a, b)| Truth::Equal(a, b)),
    ];
    leaf.prop_recursive(4, 24, 3, |inner| {
        let boxed = inner.prop_map(Box::new);
        let two = (boxed.clone(), boxed.clone());
        prop_oneof![
            boxed.clone().prop_map(Truth::Not),
            two.clone().prop_map(|(a, b)| Truth::And(a, b)),
            two.prop_map(|(a, b)| Truth::Or(a, b)),
            (boxed.clone(), boxed.clone(), boxed.clone()).prop_map(|(a, b, c)| Truth::Choice(a, b, c)),
            boxed.clone().prop_map(Truth::All),
            boxed.clone().prop_map(Truth::Exists),
            boxed.prop_map(Truth::One),
        ]
    })
}

fn scope() -> Scope {
    let metrics = json_value(json!({ "folds": FOLDS }).to_string().as_bytes()).expect("JSON");
    let output = Use::Output { step: "evaluate".parse().expect("a name"), output: "metrics".parse().expect("a name") };
    Scope::from([(output, metrics), (Use::Item, Value::Int(0))])
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_condition_has_the_answer_of_a_naive_evaluator(truth in truth()) {
        // Outside of a macro `x` is the item 0.
        let source = format!("[0].all(x, {})", truth.text());
        let condition = match Condition::parse(&source) {
            Ok(condition) => condition,
            Err(mistake) => {
                prop_assert!(mistake.problem.contains("deep in one another") || mistake.problem.contains("than"), "{}: {}", source, mistake);
                return Ok(());
            }
        };
        let answer = condition.evaluate(&scope()).ok().map(|answer| answer.holds);
        prop_assert_eq!(answer, truth.value(0), "{}", source);
    }

    #[test]
    fn whatever_is_written_is_refused_at_a_place_or_evaluated_within_its_bounds(
        words in prop::collection::vec(prop::sample::select(vec![
            "(", ")", "[", "]", "{", "}", ".", ",", "?", ":", "!", "-", "+", "*", "/", "%", "<", "<=", "==", "!=", "&&", "||",
            "in", "x", "a", "a.b", "item", "params", "params.p", "true", "null", "1", "0.5", "9223372036854775807", "'s'",
            "\"", "`a-b`.c", "`", ".all(x,", ".map(x,", ".filter(x,", ".exists_one(x,", "has(", "size(", ".size()", "//", "\n",
            "é", "😀", "\\", "[1,2,3,4,5,6,7,8,9,10]", "int(", "r'",
        ]), 0..60),
        glue in prop::sample::select(vec!["", " "]),
    ) {
        let source = words.join(glue);
        match Condition::parse(&source) {
            Err(mistake) => {
                prop_assert!(mistake.start <= mistake.end && mistake.end <= source.len());
                prop_assert!(source.is_char_boundary(mistake.start) && source.is_char_boundary(mistake.end));
                prop_assert!(!mistake.problem.is_empty());
            }
            Ok(condition) => {
                for used in condition.uses() {
                    prop_assert!(source.get(used.start..used.end).is_some());
                }
                let read = condition.uses().iter().map(|used| (used.what.clone(), Value::List([Value::Int(1)].into())));
                let scope: Scope = read.collect();
                let once = condition.evaluate(&scope);
                prop_assert_eq!(&once, &condition.evaluate(&scope), "equal arguments, equal answers");
                if let Ok(answer) = once {
                    prop_assert!(answer.saw.len() <= 8);
                }
            }
        }
    }

    #[test]
    fn arbitrary_text_never_panics(source in ".{0,300}") {
        if let Ok(condition) = Condition::parse(&source) {
            let _no_matter = condition.evaluate(&Scope::new());
        }
    }

    #[test]
    fn arbitrary_bytes_are_json_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _no_matter = json_value(&bytes);
        let _no_matter = prunella_condition::json_lines(&bytes);
    }
}
