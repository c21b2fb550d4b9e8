//! A newcomer's walk, from an empty directory to a kept store, on what is printed on the way.

use crate::home::{Home, plain};

#[test]
fn a_newcomer_gets_from_nothing_to_results_and_understands_each_answer() {
    let home = Home::new();
    let says = |words: &[&str], code: i32, parts: &[&str]| {
        let answer = home.run(words).exits(code);
        let told = plain(&format!("{}{}", answer.out, answer.err));
        for part in parts {
            assert!(told.contains(part), "{words:?} does not say `{part}`:\n{told}");
        }
        told
    };
    says(&["init"], 0, &["wrote pipeline.yaml", "wrote prunella.lock", "next: prunella run"]);
    says(&["validate"], 0, &["2 steps"]);
    says(&["graph"], 0, &["2 steps in 2 layers", "← data.text", "← count.counts"]);
    says(&["plan"], 0, &["a new run, 2 steps: 2 to run", "it has never run"]);
    says(&["run"], 0, &["succeeded"]);
    says(&["status"], 0, &["succeeded", "count", "report"]);
    says(&["explain", "report"], 0, &["report", "count@1"]);
    says(&["plan"], 0, &["2 steps: 2 reused"]);
    says(&["run"], 0, &["succeeded", "everything reused"]);

    // A change of the code of the first step; the second follows only if the bytes are others.
    let code = home.read("count.sh");
    home.write("count.sh", &format!("{code}\n# the same, said otherwise\n"));
    says(&["plan"], 0, &["code changed"]);
    let first = says(&["diff"], 0, &["old  RUN", "new  RUN"]);
    assert!(first.contains("#1") && first.contains("#2"), "{first}");
    says(&["run"], 0, &["succeeded"]);
    says(&["diff"], 1, &["count.sh"]);
    says(&["run", "--set", "top=1"], 0, &["succeeded"]);
    says(&["diff"], 1, &["top"]);
    says(&["get", "report.page", "page.txt"], 0, &["page.txt: file"]);
    assert!(!home.read("page.txt").is_empty());
    says(&["logs", "report"], 0, &[]);
    says(&["graph", "--set", "top=1"], 0, &["✓ count", "✓ report"]);
    says(&["runs"], 0, &["#4", "#1", "succeeded"]);
    says(&["verify"], 0, &["all whole"]);
    says(&["heal"], 0, &["all whole, nothing to heal"]);
    says(&["gc", "--keep-runs", "1"], 0, &["--apply"]);
    // A mistake is named with its place, and what was meant.
    home.write("pipeline.yaml", &home.read("pipeline.yaml").replace("inputs:", "input:"));
    says(&["validate"], 2, &["pipeline.yaml:", "`inputs`"]);
}
