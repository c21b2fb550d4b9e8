//! Whatever the bytes are: an answer, at a place inside the file, soon.

mod support;

use std::collections::BTreeMap;

use proptest::prelude::*;
use prunella_manifest::{Diagnostic, Overrides, Source, read, read_source, render, to_json};
use support::Listed;

const VALID: &str = include_str!("golden/valid--all-keys.yaml");

/// Reads, and checks everything that holds of every answer.
fn answer(bytes: Vec<u8>) -> Result<Vec<Diagnostic>, String> {
    let length = bytes.len();
    let source = match read_source("p.yaml", bytes) {
        Ok(source) => source,
        Err(diagnostics) => return inside(&diagnostics, length).map(|()| diagnostics),
    };
    let diagnostics = match read(&source, &Overrides::default(), &Listed) {
        Ok(read) => {
            let json = serde_json::to_string(&read.pipeline).map_err(|error| error.to_string())?;
            let again: prunella_model::Pipeline = serde_json::from_str(&json).map_err(|error| error.to_string())?;
            if again != read.pipeline {
                return Err(format!("{json} is another pipeline"));
            }
            read.warnings
        }
        Err(diagnostics) if diagnostics.is_empty() => return Err("refused without a reason".to_owned()),
        Err(diagnostics) => diagnostics,
    };
    inside(&diagnostics, length)?;
    for diagnostic in &diagnostics {
        let Some(span) = diagnostic.span else { continue };
        let before = source.text.get(..span.start).ok_or("a span begins inside a character")?;
        source.text.get(span.start..span.end).ok_or("a span ends inside a character")?;
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        let place = (before.matches('\n').count() + 1, before[line_start..].chars().count() + 1);
        if place != (span.line, span.column) {
            return Err(format!("{span:?} is at {place:?}"));
        }
    }
    let text = render(&source, &diagnostics, true, 80);
    if text.len() > 200_000 + 2_000 * diagnostics.len() {
        return Err(format!("{} bytes of text", text.len()));
    }
    to_json(&diagnostics);
    Ok(diagnostics)
}

fn inside(diagnostics: &[Diagnostic], length: usize) -> Result<(), String> {
    match diagnostics.iter().filter_map(|d| d.span).find(|span| span.start > span.end || span.end > length) {
        Some(span) => Err(format!("{span:?} is outside of {length} bytes")),
        None => Ok(()),
    }
}

/// A valid file with pieces cut out, doubled, moved and overwritten.
fn mutated() -> impl Strategy<Value = Vec<u8>> {
    let pieces = prop::sample::select(vec![
        "&a ",
        "*a",
        "<<: ",
        "!!str ",
        "---\n",
        "...\n",
        "\t",
        "\"",
        "'",
        "|",
        ">-\n",
        "{",
        "}",
        "[",
        "]",
        ": ",
        "- ",
        "? ",
        "#",
        "${{ ",
        " }}",
        "\r\n",
        "\u{feff}",
        "ü",
        "東",
        "\u{0}",
        "%YAML 1.2\n",
        "data.",
        "null",
        "~",
        "..",
        "\\",
        "\u{2028}",
        "\u{85}",
        "@",
        "`",
        ",",
        "\n\n",
        "  ",
        "&",
        "*",
    ]);
    let edit = (any::<prop::sample::Index>(), 0..20usize, pieces, any::<prop::sample::Index>(), 0..4u8);
    prop::collection::vec(edit, 1..8).prop_map(|edits| {
        let mut bytes = VALID.as_bytes().to_vec();
        for (at, length, piece, other, kind) in edits {
            let at = at.index(bytes.len() + 1);
            let end = (at + length).min(bytes.len());
            match kind {
                0 => drop(bytes.splice(at..end, piece.bytes())),
                1 => drop(bytes.splice(at..at, piece.bytes())),
                2 => drop(bytes.drain(at..end)),
                _ => {
                    let cut: Vec<u8> = bytes[at..end].to_vec();
                    let to = other.index(bytes.len() + 1);
                    drop(bytes.splice(to..to, cut));
                }
            }
        }
        bytes
    })
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: ProptestConfig::default().cases.max(2000),
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn any_bytes_get_an_answer(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        prop_assert!(answer(bytes).is_ok());
    }

    #[test]
    fn any_characters_of_yaml_get_an_answer(text in r#"([a-c \n:\-\[\]{},&*!|>'"%@`#?\\\t~$.]|run|steps|ü|\$\{\{|\r\n){0,120}"#) {
        let answered = answer(text.into_bytes());
        prop_assert!(answered.is_ok(), "{answered:?}");
    }

    #[test]
    fn a_damaged_pipeline_gets_an_answer(bytes in mutated()) {
        let answered = answer(bytes);
        prop_assert!(answered.is_ok(), "{answered:?}");
    }

    #[test]
    fn overrides_keep_types(text in ".{0,12}") {
        let source = Source { name: "p.yaml".to_owned(), text: VALID.to_owned() };
        for param in ["epochs", "rate", "fast", "note"] {
            let overrides = Overrides { params: BTreeMap::from([(param.to_owned(), text.clone())]) };
            if let Ok(read) = read(&source, &overrides, &Listed) {
                let kind = std::mem::discriminant(&read.pipeline.params[param]);
                let before = prunella_manifest::read(&source, &Overrides::default(), &Listed).expect("valid");
                prop_assert_eq!(kind, std::mem::discriminant(&before.pipeline.params[param]));
                prop_assert_eq!(read.pipeline.params[param].to_string().parse::<f64>().ok(), text.parse::<f64>().ok());
            }
        }
    }
}

fn codes(text: String) -> Vec<&'static str> {
    answer(text.into_bytes()).expect("an answer").iter().map(|diagnostic| diagnostic.code).collect()
}

const HEAD: &str = "prunella: v1\nname: p\n";

#[test]
fn eight_mebibytes_are_the_end() {
    let mut text = format!("{HEAD}steps: {{ a: {{ run: ./a }} }}\n#");
    text.push_str(&"x".repeat(prunella_manifest::MAX_SOURCE_BYTES - text.len()));
    assert_eq!(codes(text.clone()), Vec::<&str>::new());
    text.push('x');
    assert_eq!(codes(text), ["too-large"]);
}

#[test]
fn an_empty_file_is_refused() {
    assert_eq!(codes(String::new()), ["empty-file"]);
}

#[test]
fn one_long_alias_many_times_is_a_bomb() {
    let long = "x".repeat(1 << 20);
    let aliases = "*a, ".repeat(1000);
    assert_eq!(codes(format!("a: &a {long}\nb: [{aliases}]\n")), ["alias-bomb"]);
}

#[test]
fn aliases_of_a_reasonable_size_are_read() {
    let text = format!("{HEAD}steps:\n  a: {{ run: ./a, env: &e {{ A: 1 }} }}\n  b: {{ run: ./b, env: *e }}\n");
    assert_eq!(codes(text), Vec::<&str>::new());
}

#[test]
fn large_defaults_in_many_steps_are_refused() {
    let value = "x".repeat(100_000);
    let steps: String = (0..10_000).map(|i| format!("  s{i}: {{ run: ./a }}\n")).collect();
    assert_eq!(codes(format!("{HEAD}defaults: {{ env: {{ A: {value} }} }}\nsteps:\n{steps}")), ["too-large"]);
}

#[test]
fn a_hundred_thousand_mistakes_are_counted_and_some_are_shown() {
    let wrong: String = (0..100_000).map(|i| format!("  s{i}: {{ run: ./a, after: zz{i} }}\n")).collect();
    let codes = codes(format!("{HEAD}steps:\n{wrong}"));
    assert_eq!((codes.len(), codes.last()), (1001, Some(&"more-mistakes")));
}

#[test]
fn a_chain_of_all_steps_in_a_circle_is_found() {
    let chain: String =
        (0..50_000).map(|i| format!("  s{i}: {{ run: ./a, after: s{} }}\n", (i + 1) % 50_000)).collect();
    assert_eq!(codes(format!("{HEAD}steps:\n{chain}")), ["cycle"]);
}

#[test]
fn a_knot_of_all_steps_with_all_gets_an_answer() {
    let all: Vec<String> = (0..300).map(|i| format!("s{i}")).collect();
    let knot: String =
        all.iter().map(|name| format!("  {name}: {{ run: ./a, after: [{}] }}\n", all.join(", "))).collect();
    assert!(codes(format!("{HEAD}steps:\n{knot}")).contains(&"cycle"));
}

#[test]
fn one_endless_line_and_many_references_get_an_answer() {
    let references = "${{ params.a }} ".repeat(300_000);
    assert!(
        codes(format!("{HEAD}params: {{ b: 1 }}\nsteps: {{ a: {{ run: \"{references}\" }} }}\n"))
            .contains(&"unknown-reference")
    );
    let open = "${{ ".repeat(300_000);
    assert!(codes(format!("{HEAD}steps: {{ a: {{ run: \"{open}\" }} }}\n")).contains(&"bad-reference"));
}

#[test]
fn brackets_and_indentation_do_not_hang() {
    assert_eq!(codes("[".repeat(1 << 20)), ["too-deep"]);
    assert_eq!(codes("- ".repeat(1 << 20)), ["too-deep"]);
    for opening in ["{", "{a: ", "a: ", "? ", "[{", "- ? ", "- a: "] {
        let codes = codes(opening.repeat(1 << 18));
        assert!(matches!(codes[..], ["too-deep" | "not-yaml"]), "{opening}: {codes:?}");
    }
    let stairs: String = (0..1000).map(|i| format!("{}a:\n", " ".repeat(i))).collect();
    assert_eq!(codes(stairs), ["too-deep"]);
    assert!(!codes("\"".repeat(1 << 20)).is_empty());
    assert!(!codes("\n".repeat(1 << 20)).is_empty());
    assert!(!codes("&a ".repeat(1 << 18)).is_empty());
    assert!(!codes("x\n".repeat(1 << 18)).is_empty());
    assert!(!codes(format!("a: {}", "x ".repeat(1 << 20))).is_empty());
    assert!(!codes(format!("a: |\n{}", " x\n".repeat(1 << 20))).is_empty());
    assert!(!codes(format!("a: \"{}\"", "\\u00e9".repeat(1 << 20))).is_empty());
    assert!(!codes(format!("%TAG ! {}\n---\na", "x".repeat(1 << 20))).is_empty());
    assert!(!codes("a,".repeat(1 << 20)).is_empty());
    assert!(!codes(format!("[{}]", "a: b, ".repeat(1 << 18))).is_empty());
    assert!(!codes(format!("{{{}}}", "? a, ".repeat(1 << 18))).is_empty());
    assert!(!codes((0..200_000).map(|i| format!("k{i}: &k{i} v\n")).collect()).is_empty());
}

#[test]
fn an_override_that_nothing_knows_names_the_nearest() {
    let source = Source { name: "p.yaml".to_owned(), text: VALID.to_owned() };
    let overrides = Overrides {
        params: BTreeMap::from([
            ("epoch".to_owned(), "3".to_owned()),
            ("fast".to_owned(), "yes".to_owned()),
            ("epochs".to_owned(), "1.5".to_owned()),
        ]),
    };
    let diagnostics = read(&source, &overrides, &Listed).expect_err("three mistakes");
    let shown = render(&source, &diagnostics, false, 100);
    assert_eq!(
        shown,
        "\
error[unknown-param]: --set epoch: there is no parameter `epoch`
 |
 = help: did you mean `epochs`?

error[type-changed]: --set epochs=1.5: `epochs` is a whole number of 64 bits in the file (`30`)
 |
 = help: give a value of the same type, or change the default in the file

error[type-changed]: --set fast=yes: `fast` is true or false in the file (`true`)
 |
 = help: give a value of the same type, or change the default in the file

p.yaml: 3 mistakes
"
    );
}

#[test]
fn an_override_replaces_the_default() {
    let source = Source { name: "p.yaml".to_owned(), text: VALID.to_owned() };
    let set = [("epochs", "5"), ("rate", "1"), ("fast", "false"), ("note", "007")];
    let overrides =
        Overrides { params: set.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect() };
    let params = read(&source, &overrides, &Listed).expect("valid").pipeline.params;
    use prunella_model::ParamValue as P;
    assert_eq!(params["epochs"], P::Integer(5));
    assert_eq!(params["rate"], P::Decimal("1".to_owned()));
    assert_eq!(params["fast"], P::Bool(false));
    assert_eq!(params["note"], P::Text("007".to_owned()));
}

#[test]
fn an_override_of_a_list_is_read_as_in_the_file() {
    let text = "prunella: v1\nname: p\nparams: { lrs: [0.1, 0.2] }\nsteps: { a: { for_each: '${{ params.lrs }}', run: ./a } }\n";
    let source = Source { name: "p.yaml".to_owned(), text: text.to_owned() };
    let set = |text: &str| {
        let overrides = Overrides { params: BTreeMap::from([("lrs".to_owned(), text.to_owned())]) };
        read(&source, &overrides, &Listed)
    };
    for (text, items) in [("[.5, x, 1]", &["0.5", "\"x\"", "1"][..]), ("[]", &[]), ("- a: 1\n- 2", &["{\"a\":1}", "2"])]
    {
        let pipeline = set(text).unwrap_or_else(|found| panic!("{text}: {found:?}")).pipeline;
        let Some(prunella_model::ForEach::Items(found)) = &pipeline.steps["a"].for_each else { panic!("items") };
        assert_eq!(found.iter().map(|item| item.as_str()).collect::<Vec<_>>(), items, "{text}");
        assert_eq!(pipeline.params["lrs"].to_string(), format!("[{}]", items.join(",")));
    }
    let wrong = |text: &str| {
        let found = set(text).expect_err(text);
        assert_eq!(found.len(), 1, "{text}: {found:?}");
        assert_eq!(found[0].code, "type-changed", "{text}");
        found[0].message.clone()
    };
    assert_eq!(wrong("0.1"), "--set lrs=0.1: `lrs` is a list in the file (`[0.1,0.2]`)");
    assert_eq!(wrong("{ a: 1 }"), "--set lrs={ a: 1 }: `lrs` is a list in the file (`[0.1,0.2]`)");
    assert!(wrong("[[1]]").ends_with("but this is a list"), "{}", wrong("[[1]]"));
    assert!(wrong("['${{ params.a }}']").contains("cannot have"));
    assert!(wrong("[1").contains("this is not YAML"), "{}", wrong("[1"));
    assert!(wrong("[1]\n---\n[2]").contains("second document"));
    assert!(wrong("").ends_with("(`[0.1,0.2]`)") || wrong("").contains("nothing in this file"));
}

#[test]
fn items_that_would_fill_the_memory_are_refused_and_told_once() {
    let numbers = |most: usize| (0..most).map(|n| n.to_string()).collect::<Vec<_>>().join(",");
    let long = "x".repeat(1 << 20);
    // Short lists have long products; one value may stand in many items; one parameter may be the list of many steps.
    let product = format!("for_each: {{ a: [{}], b: [{}] }}", numbers(1000), numbers(100));
    let wide = format!("for_each: {{ a: [{}], b: ['{long}'] }}", numbers(1000));
    let texts = format!("for_each: [{}]", vec!["'${{ params.long }}'"; 1000].join(","));
    let many = "for_each: '${{ params.many }}'".to_owned();
    let nothing = "for_each: { a: '${{ params.many }}', b: [] }".to_owned();
    for (for_each, steps) in [(product, 200), (wide, 1), (texts, 1), (many, 5000), (nothing, 5000)] {
        let params = format!("params: {{ long: '{long}', many: [{}] }}\n", numbers(50_000));
        let steps: Vec<String> = (0..steps).map(|n| format!("  s{n}: {{ {for_each}, run: ./a }}\n")).collect();
        let text = format!("{HEAD}{params}steps:\n{}", steps.concat());
        let source = Source { name: "p.yaml".to_owned(), text };
        let found = read(&source, &Overrides::default(), &Listed).expect_err("too much");
        assert_eq!(found.iter().filter(|one| one.code == "too-large").count(), 1, "{:?}", &found[..found.len().min(3)]);
    }
    let params = format!("params: {{ many: [{}] }}\n", numbers(100_001));
    let text = format!("{HEAD}{params}steps: {{ a: {{ for_each: '${{{{ params.many }}}}', run: ./a }} }}\n");
    let found =
        read(&Source { name: "p.yaml".to_owned(), text }, &Overrides::default(), &Listed).expect_err("too many");
    assert_eq!(found.iter().map(|one| one.code).collect::<Vec<_>>(), ["out-of-range"]);
}

#[test]
fn json_has_every_field_of_a_diagnostic() {
    let source = Source { name: "p.yaml".to_owned(), text: format!("{HEAD}steps: {{ ü: {{ run: ./a }} }}") };
    let diagnostics = read(&source, &Overrides::default(), &Listed).expect_err("one mistake");
    assert_eq!(
        to_json(&diagnostics),
        serde_json::json!([{
            "code": "bad-name", "file": "p.yaml",
            "severity": "error",
            "span": { "start": 30, "end": 32, "line": 3, "column": 10 },
            "message": "the step `ü` begins with `ü`",
            "help": "a name begins with a letter a–z and goes on with a–z, 0–9, `_` and `-`",
        }])
    );
}

/// A directory in which every file includes the next one, so many deep.
struct Chain(usize);

impl prunella_manifest::Files for Chain {
    fn kind(&self, _: &str) -> Option<prunella_manifest::FileKind> {
        None
    }

    fn read(&self, relative: &str) -> Option<Vec<u8>> {
        let n: usize = relative.strip_suffix(".yaml")?.parse().ok()?;
        let next = format!("include: {}.yaml\n", n + 1);
        Some(if n < self.0 { next } else { "steps: { a: { run: ./a } }\n".to_owned() }.into_bytes())
    }

    fn glob_matches(&self, _: &str) -> usize {
        0
    }
}

#[test]
fn files_include_files_eight_deep_and_no_deeper() {
    let text = "prunella: v1\nname: p\ninclude: 1.yaml\n".to_owned();
    let source = Source { name: "p.yaml".to_owned(), text };
    assert!(read(&source, &Overrides::default(), &Chain(8)).is_ok());
    let found = read(&source, &Overrides::default(), &Chain(9)).expect_err("too deep");
    let deep = found.iter().find(|one| one.code == "too-deep").expect("it is too deep");
    assert_eq!(deep.file.as_deref(), Some("8.yaml"));
    assert!(read(&source, &Overrides::default(), &Chain(usize::MAX)).is_err(), "it ends");
}

#[test]
fn files_that_are_included_are_counted_and_weighed_together() {
    struct Heavy;
    impl prunella_manifest::Files for Heavy {
        fn kind(&self, _: &str) -> Option<prunella_manifest::FileKind> {
            None
        }
        fn read(&self, _: &str) -> Option<Vec<u8>> {
            Some(format!("# {}\nsteps: {{}}\n", "x".repeat(1 << 20)).into_bytes())
        }
        fn glob_matches(&self, _: &str) -> usize {
            0
        }
    }
    let many: Vec<String> = (0..100).map(|n| format!("{n}.yaml")).collect();
    let text = format!("prunella: v1\nname: p\ninclude: [{}]\nsteps: {{ a: {{ run: ./a }} }}\n", many.join(", "));
    let source = Source { name: "p.yaml".to_owned(), text: text.clone() };
    let codes = |files: &dyn prunella_manifest::Files| -> Vec<&str> {
        read(&source, &Overrides::default(), files).expect_err("too many").iter().map(|found| found.code).collect()
    };
    assert!(codes(&Heavy).contains(&"too-large"));
    assert!(codes(&Chain(0)).contains(&"too-deep"));
}
