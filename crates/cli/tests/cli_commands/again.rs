//! retry, heal and the forced steps: what is done again, and what is left alone.

use serde_json::Value;

use crate::home::Home;

/// `make` writes what a file beside the directory holds; every step writes down that it ran.
fn chain(home: &Home) -> String {
    format!(
        "prunella: v1
name: chain
data: {{ text: text.txt }}
steps:
  make:
    inputs: {{ text: data.text }}
    run: echo make >>{ran}; cat {source} >out; head -c 100000 /dev/zero >>out
    outputs: {{ out: out }}
  use: {{ inputs: {{ out: make.out }}, run: 'echo use >>{ran}; cp inputs/out/out copy', outputs: {{ copy: copy }} }}
  last: {{ after: [use], run: 'echo last >>{ran}; echo done >end', outputs: {{ end: end }} }}
  side: {{ run: 'echo side >>{ran}; echo side >side', outputs: {{ side: side }} }}
",
        ran = home.beside("ran").display(),
        source = home.beside("source").display()
    )
}

fn pipeline() -> Home {
    let home = Home::new();
    home.write("pipeline.yaml", &chain(&home));
    home.write("text.txt", &"text\n".repeat(20_000));
    std::fs::write(home.beside("source"), "one\n").expect("ours");
    home.run(&["pin"]).exits(0);
    home
}

/// What ran since the last look.
fn ran(home: &Home) -> String {
    let there = std::fs::read_to_string(home.beside("ran")).unwrap_or_default();
    let _none = std::fs::remove_file(home.beside("ran"));
    let mut lines: Vec<&str> = there.lines().collect();
    lines.sort_unstable();
    lines.join(" ")
}

#[test]
fn force_stops_where_the_bytes_are_the_same_and_downstream_does_not() {
    let home = pipeline();
    home.run(&["run"]).exits(0);
    assert_eq!(ran(&home), "last make side use");
    home.run(&["run", "--force", "make"]).exits(0);
    assert_eq!(ran(&home), "make");
    std::fs::write(home.beside("source"), "two\n").expect("ours");
    home.run(&["run", "--force", "make"]).exits(0);
    assert_eq!(ran(&home), "make use", "`last` reads nothing of it");
    for words in [&["run", "--force", "make", "--downstream"][..], &["run", "--from", "make"]] {
        home.run(words).exits(0);
        assert_eq!(ran(&home), "last make use", "{words:?}");
    }
    home.run(&["run", "--from", "use", "--force", "side"]).exits(0);
    assert_eq!(ran(&home), "last side use");

    let verdicts = |words: &[&str]| -> Vec<String> {
        let plan = home.json(words);
        let steps = plan["steps"].as_array().expect("a list").iter();
        steps.map(|step| step["verdict"].as_str().expect("a word").to_owned()).collect()
    };
    assert_eq!(verdicts(&["plan", "--from", "make"]), ["to_run", "to_run", "to_run", "reused"]);
    assert_eq!(verdicts(&["plan", "--force", "make"]), ["to_run", "open", "open", "reused"]);
    let unknown = home.run(&["run", "--from", "nothing", "--force", "none"]).exits(2);
    assert!(
        unknown.err.contains("`none`, `nothing`") && unknown.err.contains("make, use, last, side"),
        "{}",
        unknown.err
    );
    home.run(&["run", "--downstream"]).exits(2);
}

/// Two steps that fail until a file beside the directory is there.
fn failing() -> Home {
    let home = Home::new();
    let (go, ran) = (home.beside("go").display().to_string(), home.beside("ran").display().to_string());
    home.write(
        "pipeline.yaml",
        &format!(
            "prunella: v1
name: failing
steps:
  whole: {{ run: 'echo whole >>{ran}; echo 1 >one', outputs: {{ one: one }} }}
  a: {{ run: 'echo a >>{ran}; test -e {go}', after: [whole], retry: {{ error: 0 }} }}
  b: {{ run: 'echo b >>{ran}; test -e {go}', after: [whole], retry: {{ error: 0 }} }}
  c: {{ run: 'echo c >>{ran}', after: [a] }}
"
        ),
    );
    home
}

#[test]
fn retry_tries_again_what_was_given_up_and_leaves_the_rest() {
    let home = failing();
    assert!(home.run(&["retry"]).exits(2).err.contains("no store") || !home.names().contains(&".prunella".to_owned()));
    home.run(&["run"]).exits(1);
    assert_eq!(ran(&home), "a b whole");
    let wrong = home.run(&["retry", "whole", "a", "zzz"]).exits(2);
    assert!(
        wrong.err.contains("`whole` was not given up")
            && wrong.err.contains("no step `zzz`")
            && wrong.err.contains("a, b"),
        "{}",
        wrong.err
    );
    home.run(&["retry"]).exits(1);
    assert_eq!(ran(&home), "a b");
    std::fs::write(home.beside("go"), "").expect("ours");
    // `c` is held up by `a`: that is what is tried again.
    home.run(&["retry", "c"]).exits(1);
    assert_eq!(ran(&home), "a c");
    let status = home.json(&["status"]);
    let states: Vec<&Value> = status["steps"].as_array().expect("a list").iter().map(|step| &step["state"]).collect();
    assert_eq!(states, ["done", "done", "failed", "done"]);
    let run = status["run"].as_str().expect("an id").to_owned();
    home.run(&["retry", &run]).exits(0);
    assert_eq!(ran(&home), "b");
    assert!(home.run(&["retry"]).exits(0).err.contains("nothing to try again"));
    assert_eq!((ran(&home), home.json(&["runs"])["runs"].as_array().map(Vec::len)), (String::new(), Some(1)));
}

/// Removes the large objects that attempts at a step made.
fn lose(home: &Home, step: &str) {
    let key = home.json(&["explain", step])["key"].as_str().expect("a key").to_owned();
    let (mut left, mut lost) = (vec![home.dir.join(".prunella/data")], 0);
    while let Some(dir) = left.pop() {
        for entry in std::fs::read_dir(&dir).expect("the store").flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            if entry.file_type().expect("readable").is_dir() {
                left.push(entry.path());
            } else if name.starts_with(&key) {
                std::fs::remove_file(entry.path()).expect("ours");
                lost += 1;
            }
        }
    }
    assert!(lost > 0, "{step} has a large object");
}

#[test]
fn heal_makes_exactly_the_damaged_part_anew() {
    let home = pipeline();
    home.run(&["run"]).exits(0);
    ran(&home);
    assert!(home.run(&["heal"]).exits(0).out.contains("all whole"));
    lose(&home, "make");
    let dry = home.run(&["heal", "--dry-run"]).exits(1);
    assert!(
        dry.out.contains("damaged: make@1 output out: ") && dry.out.contains("would be made anew: make"),
        "{}",
        dry.out
    );
    // Whether the sample meets what is damaged is a matter of luck.
    let sample = home.run(&["verify", "--sample", "1%", "--output", "json"]).json();
    assert_eq!(sample["marked_before"], 0, "nothing was marked");
    let told = home.run(&["heal"]).exits(0);
    assert!(told.out.contains("made anew: make"), "{}", told.out);
    assert_eq!(ran(&home), "make", "the same bytes leave the readers alone");
    home.run(&["verify"]).exits(0);
    home.run(&["get", "make.out", "whole"]).exits(0);
    assert!(home.read("whole").starts_with("one\n"));
    assert_eq!(home.json(&["status"])["status"], "succeeded");
    assert_eq!(home.json(&["runs"])["runs"].as_array().map(Vec::len), Some(1), "it is the same run");

    // Other bytes: what reads them is planned anew; and the end of a chain is healed as well.
    std::fs::write(home.beside("source"), "two\n").expect("ours");
    lose(&home, "make");
    let answer = home.run(&["heal", "--output", "json"]).exits(0);
    let first: Value = serde_json::from_str(answer.out.lines().next().expect("a line")).expect("JSON");
    assert_eq!((&first["made_anew"], &first["damaged"][0]["epoch"]), (&serde_json::json!(["make"]), &2.into()));
    assert_eq!(ran(&home), "make use");
    home.run(&["get", "use.copy", "copy"]).exits(0);
    assert!(home.read("copy").starts_with("two\n"));
    home.run(&["verify"]).exits(0);
}

#[test]
fn heal_refuses_what_cannot_be_made_anew_and_names_the_chain() {
    let home = pipeline();
    home.run(&["run"]).exits(0);
    ran(&home);
    assert!(home.damage() >= 3, "two outputs, and what the run brought in");
    for words in [&["heal", "--dry-run"][..], &["heal"]] {
        let refused = home.run(words).exits(78);
        assert!(refused.err.contains("`make` needs `data.text`, which is lost too"), "{}", refused.err);
        assert!(
            refused.err.contains("`use` needs `make`, which needs `data.text`, which is lost too"),
            "{}",
            refused.err
        );
    }
    assert_eq!((ran(&home), home.json(&["status"])["status"].as_str()), (String::new(), Some("succeeded")));
}

#[test]
fn heal_names_the_engine_that_drives_the_run() {
    let home = Home::new();
    let (begun, go) = (home.pipe("begun"), home.pipe("go"));
    home.write(
        "pipeline.yaml",
        &format!(
            "prunella: v1\nname: busy\nsteps:\n  wait: {{ run: 'echo begun >{}; read x <{}; echo 1 >out', outputs: {{ out: out }} }}\n",
            begun.display(),
            go.display()
        ),
    );
    let child = home.start(&["run"]);
    crate::home::hear(&begun);
    assert!(home.run(&["heal"]).exits(78).err.contains("prunella stop"));
    crate::home::let_go(&go);
    assert!(child.wait_with_output().expect("it ends").status.success());
}
