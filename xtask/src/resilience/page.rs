//! The page, from the raw figures alone.

use serde_json::Value;

/// At such a load, or a higher one, other work shows in the figures.
const BUSY: f64 = 0.5;

/// Returns in how many of Prunella's runs something was wrong.
pub(super) fn lost(raw: &Value) -> usize {
    let runs = profiles(raw).flat_map(|one| one["answer"]["runs"].as_array()).flatten();
    runs.filter(|run| run["wrong"].as_array().is_none_or(|wrong| !wrong.is_empty())).count()
}

fn profiles(raw: &Value) -> impl Iterator<Item = &Value> {
    raw["profiles"].as_array().into_iter().flatten()
}

/// Returns the page.
pub(super) fn document(raw: &Value) -> String {
    let (mut rows, mut how) = (String::new(), String::new());
    for one in profiles(raw) {
        let profile = one["profile"].as_str().unwrap_or_default();
        rows.push_str(&row(profile, "prunella", &one["answer"]["prunella"], one["runs"].as_u64()));
        rows.push_str(&row("", "ad-hoc", &one["answer"]["ad_hoc"], one["runs"].as_u64()));
        how.push_str(&circumstances(profile, one));
    }
    let wrong = match lost(raw) {
        0 => "In none of Prunella's runs was an invariant broken or a byte other than undisturbed.".to_owned(),
        n => format!("**In {n} of Prunella's runs something was wrong**: see `wrong` in the raw figures."),
    };
    format!(
        "# Resilience, measured

What interruptions cost `examples/digits`, by the formulas of [metrics.md](metrics.md); beside it the same commands as a shell script under the same faults
([design/0032-ad-hoc-baseline.md](design/0032-ad-hoc-baseline.md)). Written by one command, which is `cargo xtask resilience`; all seeds, plans, time lines and raw figures are in
[resilience.json](resilience.json). Never edit this page by hand.

{wrong}

| profile | | interruptions | MTTR p50 / p99 | to new progress p50 | corrupt artifacts | waste (bound) | lineage | gave up |
| --- | --- | --- | --- | --- | --- | --- | --- | --- |
{rows}
- *Corrupt artifacts* differ from those of the undisturbed run and could be seen: outputs of steps that are done, and published files.
- *Gave up*: runs that did not succeed by themselves. A script that gave up waits for somebody to look; that wait is in no figure.
- A script is started again at once, as Prunella is, and its pause between two tries is a second. The hours until somebody notices are not counted for it.
- What ran between the last event of an engine, or the last word of a script, and its death without notice is in neither row: compute and waste are lower bounds there.
- The *bound* takes it that a program can be checkpointed at any instant. A program that writes its checkpoints at points of its own loses what it did since the last of them, whoever runs it; how far waste lies above the bound
  is mostly that.
- The programs of the example checkpoint atomically and write whole files, so that a script, too, goes on from where it was. What a careless program does to a script, and not to Prunella, is a test
  (`a_careless_writer_that_is_killed_corrupts_the_script_and_not_prunella`).

## How each was played

| profile | runs | faults a run, at most | first seed | times of notices divided by | processors | load before |
| --- | --- | --- | --- | --- | --- | --- |
{how}"
    )
}

fn circumstances(profile: &str, one: &Value) -> String {
    let load = match one["machine"]["load_before"].as_f64() {
        None => "–".to_owned(),
        Some(load) if load < BUSY => format!("{load:.1}"),
        Some(load) => format!("{load:.1}: **busy with other work, so starts and recoveries took longer**"),
    };
    format!(
        "| {profile} | {} | {} | {} | {} | {} | {load} |\n",
        one["runs"], one["faults"], one["seed"], one["speed"], one["machine"]["processors"]
    )
}

fn row(profile: &str, who: &str, figures: &Value, runs: Option<u64>) -> String {
    let seconds = |name: &str, which: &str| {
        figures[name][which].as_f64().map_or_else(|| "–".to_owned(), |millis| format!("{:.2} s", millis / 1000.0))
    };
    let share =
        |name: &str| figures[name].as_f64().map_or_else(|| "–".to_owned(), |share| format!("{:.1} %", 100.0 * share));
    let gave_up = figures["failed_runs"]
        .as_u64()
        .map_or_else(|| "–".to_owned(), |failed| format!("{failed} of {}", runs.unwrap_or_default()));
    format!(
        "| {profile} | {who} | {}, {} healed | {} / {} | {} | {} ({}) | {} ({}) | {} | {gave_up} |\n",
        figures["interruptions"],
        figures["recovered"],
        seconds("mttr", "p50_ms"),
        seconds("mttr", "p99_ms"),
        seconds("mttr_to_mark", "p50_ms"),
        figures["corrupt_artifacts"],
        share("corruption"),
        share("waste"),
        share("waste_bound"),
        share("lineage"),
    )
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_page_has_both_rows_of_every_profile_and_says_what_was_lost() {
        let figures = json!({ "interruptions": 4, "recovered": 3, "corrupt_artifacts": 1, "corruption": 0.25, "waste": 0.0625,
                              "waste_bound": 0.01, "lineage": 1.0, "mttr": { "p50_ms": 10, "p99_ms": 1500 } });
        let mut script = figures.clone();
        script["failed_runs"] = 2.into();
        let answer = |wrong: Value| json!({ "runs": [{ "wrong": wrong }], "prunella": figures, "ad_hoc": script });
        let raw = |wrong: Value| json!({ "profiles": [{ "profile": "kills", "runs": 20, "seed": 7, "answer": answer(wrong) }] });
        let page = document(&raw(json!([])));
        assert!(
            page.contains(
                "| kills | prunella | 4, 3 healed | 0.01 s / 1.50 s | – | 1 (25.0 %) | 6.2 % (1.0 %) | 100.0 % | – |"
            ),
            "{page}"
        );
        assert!(page.contains("| ad-hoc |") && page.contains("| 2 of 20 |") && page.contains("In none of"), "{page}");
        assert!(page.contains("| kills | 20 | null | 7 |"), "{page}");
        assert!(document(&raw(json!(["I1"]))).contains("In 1 of Prunella's runs something was wrong"));
        let mut busy = raw(json!([]));
        busy["profiles"][0]["machine"]["load_before"] = json!(4.3);
        assert!(document(&busy).contains("4.3: **busy with other work") && !page.contains("busy"));
        assert_eq!((lost(&raw(json!([]))), lost(&raw(Value::Null))), (0, 1));
    }
}
