//! What conditions mean, one by one.

use prunella_condition::{Condition, MAX_DEPTH, MAX_SOURCE_BYTES, MAX_TOKENS, Scope, Use, Value, json_value};

/// The outputs that the conditions below read.
fn scope() -> Scope {
    let json = |text: &str| json_value(text.as_bytes()).expect("JSON");
    let output = |step: &str, output: &str| Use::Output {
        step: step.parse().expect("a name"),
        output: output.parse().expect("a name"),
    };
    let metrics = r#"{"accuracy":0.97,"loss":1,"name":"grün","none":null,"ok":true,
                      "folds":[{"accuracy":0.96,"n":10},{"accuracy":0.98,"n":20}],"empty":[],"odd-name":3}"#;
    Scope::from([
        (output("evaluate", "metrics"), json(metrics)),
        (output("best-model", "report"), json("[1,2,3]")),
        (Use::Param("least".parse().expect("a name")), Value::Double(0.95)),
        (Use::Param("epochs".parse().expect("a name")), Value::Int(30)),
        (Use::Item, json(r#"{"fold":2}"#)),
    ])
}

/// Returns the answer, or what is wrong.
fn answer(source: &str) -> Result<bool, String> {
    let condition = Condition::parse(source).map_err(|mistake| mistake.to_string())?;
    condition.evaluate(&scope()).map(|answer| answer.holds).map_err(|error| error.to_string())
}

#[test]
fn every_condition_of_the_table_has_its_answer() {
    let holds = [
        "true",
        "evaluate.metrics.accuracy > params.least",
        "evaluate.metrics.accuracy > 0.95 && params.epochs == 30",
        "evaluate.metrics.folds.all(m, m.accuracy > 0.95)",
        "evaluate.metrics.folds.exists(m, m.n == 20)",
        "evaluate.metrics.folds.exists_one(m, m.n > 10)",
        "evaluate.metrics.folds.filter(m, m.n > 10).size() == 1",
        "evaluate.metrics.folds.map(m, m.n) == [10, 20]",
        "evaluate.metrics.folds.map(m, m.n > 10, m.n) == [20]",
        "evaluate.metrics.folds[1].accuracy >= 0.98",
        "evaluate.metrics[\"odd-name\"] == 3",
        "evaluate.metrics.`odd-name` == 3",
        "`best-model`.report[2] == 3",
        "evaluate.metrics.name == 'gr\\u00fcn' && size(evaluate.metrics.name) == 4",
        "evaluate.metrics.name.startsWith('gr') && evaluate.metrics.name.endsWith(\"n\")",
        "evaluate.metrics.name.contains('rü')",
        "evaluate.metrics.none == null",
        "evaluate.metrics.loss == 1.0 && evaluate.metrics.loss * 2.5 == 2.5",
        "evaluate.metrics.empty.all(x, false) && !evaluate.metrics.empty.exists(x, true)",
        "has(evaluate.metrics.accuracy) && !has(evaluate.metrics.recall)",
        "'accuracy' in evaluate.metrics && 3 in `best-model`.report && !(4 in [1, 2])",
        "evaluate.metrics.exists(name, name == 'loss')",
        "item.fold == 2",
        "1 + 2 * 3 - 4 / 2 % 3 == 5 && -7 / 2 == -3 && -7 % 2 == -1",
        "(1 < 2 ? 'a' : 'b') == 'a'",
        "1 == 1.0 && 1 != '1' && [1, 'a'] == [1.0, 'a'] && 'a' < 'b' && false < true",
        "int('7') == 7 && int(7.9) == 7 && double('0.5') == 0.5 && string(7) == '7' && string(true) == 'true'",
        "-9223372036854775808 < -9223372036854775807",
        "r'\\n' == '\\\\n' && \"it's\" == 'it\\'s'",
        "true || evaluate.metrics.recall > 1",
        "evaluate.metrics.recall > 1 || true",
        "!(false && evaluate.metrics.recall > 1) && !(evaluate.metrics.recall > 1 && false)",
        "[1, 2].exists(x, x == 2 || 1 / 0 == x)",
        "[1, 2].map(x, [1, 2].map(y, x * y)) == [[1, 2], [2, 4]]",
        "[1].all(x, [2].all(x, x == 2) && x == 1)",
        "true // and a remark",
        "evaluate . metrics\n  .accuracy\n> 0.9",
        "1e-3 < .5 && 1.5e2 == 150",
    ];
    for source in holds {
        assert_eq!(answer(source), Ok(true), "{source}");
        assert_eq!(answer(&format!("!({source}\n)")), Ok(false), "not {source}");
    }
}

#[test]
fn what_has_no_answer_says_why() {
    let table = [
        ("evaluate.metrics.accuracy", "a condition is true or false, but this is a decimal number: 0.97"),
        ("evaluate.metrics.recall > 1", "there is no field `recall`; there is: `accuracy`, `empty`, `folds`"),
        ("evaluate.metrics.accuracy.x == 1", "a decimal number has no fields, so no `x`"),
        ("evaluate.metrics.folds[2].n == 1", "there is no item 2 in a list of 2"),
        ("evaluate.metrics.folds[-1].n == 1", "there is no item -1 in a list of 2"),
        ("evaluate.metrics.name > 1", "`>` has no meaning between a text and a whole number"),
        ("evaluate.metrics.ok + 1 == 2", "`+` has no meaning between true or false and a whole number"),
        ("1 / 0 == 1", "division by zero"),
        ("9223372036854775807 + 1 > 0", "the result is too large"),
        ("-(-9223372036854775808) > 0", "the result is too large"),
        ("evaluate.metrics.accuracy.all(x, true)", "a list is expected here, but this is a decimal number"),
        ("evaluate.metrics.loss && true", "true or false is expected here, but this is a whole number"),
        ("int('x') == 1", "the text `x` is not such a number"),
        ("int(1e300) == 1", "a decimal number is not such a number"),
        ("other.output == 1", "`other.output` has no value"),
        ("size(1) == 1", "`size` has no meaning for a whole number"),
    ];
    for (source, expected) in table {
        let error = answer(source).expect_err(source);
        assert!(error.starts_with(expected), "{source}: {error}");
    }
}

#[test]
fn what_is_no_condition_says_where() {
    let table = [
        ("", "the condition is empty"),
        ("  ", "the condition is empty"),
        ("evaluate", "`evaluate` alone means nothing"),
        ("params > 1", "`params` alone means nothing"),
        ("a.b = 1", "`=` has no meaning in a condition"),
        ("a.b == 1 and true", "`and` has no meaning here"),
        ("a.b ==", "here stands its end where a value is expected"),
        ("(a.b == 1", "here stands its end where `)` is expected"),
        ("a.b == 1)", "here stands `)` where its end or an operator is expected"),
        ("a.b.frob()", "there is no function `.frob()`"),
        ("frob(1)", "there is no function `frob()`"),
        ("a.b.all(1, true)", "`.all(` begins with a name for each value"),
        ("has(a.b)", "`has` asks for a field of a value"),
        ("size(1, 2)", "`size` is called with another number of values"),
        ("'abc", "a text that begins with ' is never closed"),
        ("'\\q'", "an escape in a text is not understood"),
        ("1u == 1", "`1u` is not a number that a condition can use"),
        ("0x10 == 1", "`0x10` is not a number that a condition can use"),
        ("9223372036854775808 == 1", "the number is too large"),
        ("if.x == 1", "`if` is a word of the language"),
        ("{'a': 1} == 1", "here stands `{` where a value is expected"),
        ("${{ params.x }} == 1", "`$` has no meaning in a condition"),
        ("A.b == 1", "`A` does not name a step"),
        ("a.b == \u{1f600}", "`\u{1f600}` has no meaning"),
    ];
    for (source, expected) in table {
        let mistake = Condition::parse(source).expect_err(source);
        assert!(mistake.problem.starts_with(expected), "{source}: {mistake}");
        assert!(source.is_char_boundary(mistake.start) && source.is_char_boundary(mistake.end), "{source}");
        assert!(mistake.start <= mistake.end && mistake.end <= source.len(), "{source}");
    }
}

#[test]
fn an_answer_shows_what_decided_it() {
    let condition = Condition::parse("evaluate.metrics.folds.all(m, m.accuracy > 0.97)").expect("a condition");
    let answer = condition.evaluate(&scope()).expect("an answer");
    let saw: Vec<_> = answer.saw.iter().map(|seen| (seen.what.as_str(), seen.value.as_str())).collect();
    assert_eq!((answer.holds, saw), (false, vec![("m.accuracy", "0.96")]));
}

#[test]
fn what_is_read_is_known_with_its_places() {
    let source = "evaluate.metrics.x > params.least && evaluate.metrics.y == item.fold && `a-b`.c == 1";
    let condition = Condition::parse(source).expect("a condition");
    let uses: Vec<_> = condition.uses().iter().map(|used| &source[used.start..used.end]).collect();
    assert_eq!(uses, ["evaluate.metrics", "params.least", "item", "`a-b`.c"]);
}

#[test]
fn sizes_beyond_the_bounds_are_refused_and_those_on_them_are_not() {
    let spaces = |n: usize| format!("true{}", " ".repeat(n - 4));
    assert_eq!(answer(&spaces(MAX_SOURCE_BYTES)), Ok(true));
    assert!(answer(&spaces(MAX_SOURCE_BYTES + 1)).is_err_and(|error| error.contains("longer than")));
    let list = |n: usize| format!("[{}].size() == {n}", vec!["1"; n].join(","));
    let tokens = 2 * 400 + 1 + 6;
    assert!(tokens < MAX_TOKENS);
    assert_eq!(answer(&list(400)), Ok(true));
    assert!(answer(&list(MAX_TOKENS)).is_err_and(|error| error.contains("words and signs")));
    let nested = |n: usize| format!("{}true{}", "(".repeat(n), ")".repeat(n));
    assert_eq!(answer(&nested(MAX_DEPTH - 1)), Ok(true));
    let row = |n: usize| vec!["true"; n].join("&&");
    assert_eq!(answer(&row(MAX_DEPTH)), Ok(true));
    for deep in [nested(MAX_DEPTH), nested(500), row(MAX_DEPTH + 1), "!".repeat(900), "-".repeat(900), "[".repeat(900)]
    {
        assert!(answer(&deep).is_err_and(|error| error.contains("deep in one another")), "{deep}");
    }
}

#[test]
fn an_evaluation_that_costs_too_much_ends_although_something_could_make_up_for_it() {
    let long = "[1,2,3,4,5,6,7,8,9,10]";
    let mut source = "true".to_owned();
    for depth in 0..9 {
        source = format!("{long}.all(x{depth}, {source})");
    }
    for source in [source.clone(), format!("{source} || true"), format!("[1].exists(y, {source} || true)")] {
        assert!(answer(&source).is_err_and(|error| error.contains("takes more than")), "{source}");
    }
    // A text that doubles itself, twenty times over.
    let mut text = "'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa'".to_owned();
    for _ in 0..20 {
        text = format!("[{text}].map(s, s + s)[0]");
    }
    assert!(answer(&format!("size({text}) > 0")).is_err_and(|error| error.contains("takes more than")));
}
