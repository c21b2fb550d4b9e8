//! `simulate`: what interruptions would cost; and what `plan` says of the interval.

use crate::home::Home;

#[test]
fn equal_seeds_give_equal_answers_and_a_sweep_is_drawn() {
    let home = Home::new();
    let words = ["simulate", "--work", "20h", "--runs", "10", "--sweep", "every=5m,1h,auto"];
    let answer = home.json(&words);
    assert_eq!(answer, home.json(&words));
    let waste = |n: usize| answer["answers"][n]["waste"]["mean"].as_f64().expect("a share");
    assert!(waste(2) < waste(0) && waste(0) < waste(1), "auto, five minutes, an hour: {answer}");
    assert_eq!(answer["answers"][2]["succeeded"], 10);
    assert!(answer["answers"][0]["waste"]["low"].as_f64() < answer["answers"][0]["waste"]["mean"].as_f64());
    home.run(&[&words[..], &["--plot", "waste.svg"]].concat()).exits(0);
    let drawn = home.read("waste.svg");
    assert!(drawn.starts_with("<svg") && drawn.trim_end().ends_with("</svg>") && !drawn.contains("NaN"), "{drawn}");
    home.run(&[&words[..], &["--plot", "waste.svg"]].concat()).exits(75);
    assert_eq!(home.read("waste.svg"), drawn, "what is there is not replaced");
}

#[test]
fn all_that_is_wrong_is_told_at_once() {
    let home = Home::new();
    let words = ["simulate", "--recall", "2", "--checkpoint", "soon", "--lives", "cats", "--shocks", "6h"];
    let answer = home.run(&words).exits(2);
    for word in ["--recall", "--checkpoint", "`cats` is no model", "--shocks: `6h` is not EVERY,SHARE"] {
        assert!(answer.err.contains(word), "{word}: {}", answer.err);
    }
    let answer = home.run(&["simulate", "--sweep", "seed=1,2"]).exits(2);
    assert!(answer.err.contains("`seed` cannot be swept"), "{}", answer.err);
}

#[test]
fn a_trace_is_played_and_one_that_is_none_is_named() {
    let home = Home::new();
    home.write("lives.csv", "life_seconds,machine_type\n3600,a\n7200,a\n60,b\n");
    home.write("poem.txt", "roses are red\n");
    let answer = home.json(&["simulate", "--trace", "lives.csv", "--work", "50h", "--runs", "5", "--price", "2"]);
    let interruptions = answer["answers"][0]["interruptions"]["mean"].as_f64().expect("a number");
    // A life is an hour in the mean.
    assert!((40.0..70.0).contains(&interruptions), "{answer}");
    assert!(answer["answers"][0]["cost"]["mean"].as_f64() > Some(100.0), "{answer}");
    let answer = home.run(&["simulate", "--trace", "poem.txt"]).exits(2);
    assert!(answer.err.contains("poem.txt"), "{}", answer.err);
}

/// A training that checkpoints as often as it is let, and is told how often that is worth it.
const AUTO: &str = "prunella: v1
name: small
params: { take: 1 }
code: []
steps:
  train:
    run: |
      state=$PRUNELLA_CHECKPOINT_DIR/state
      for i in 1 2 3 4 5; do echo $i >$state.part; mv $state.part $state; sleep 0.1; done
      test -e DONE && echo model >model
    outputs: { model: model }
    checkpoint: { format: files, every: auto }
    retry: { error: 0 }
  score:
    run: 'cat \"$PRUNELLA_INPUT_MODEL\" >score'
    inputs: { model: train.model }
    outputs: { score: score }
";

#[test]
fn plan_says_which_interval_history_speaks_for_and_simulate_how_long_steps_work() {
    let home = Home::with(&AUTO.replace("DONE", &home_flag()));
    assert_eq!(
        home.json(&["plan"])["steps"][0]["checkpoint_interval"],
        serde_json::Value::Null,
        "nothing was measured"
    );
    home.run(&["run"]).exits(1);
    let plan = home.json(&["plan"]);
    let interval = &plan["steps"][0]["checkpoint_interval"];
    assert!(interval["every_ms"].as_u64().is_some_and(|every| (1000..3_600_000).contains(&every)), "{plan}");
    assert_eq!(interval["fits_grace"], true, "{plan}");
    assert!(interval["expected_waste"].as_f64().is_some_and(|waste| waste < 0.05), "{plan}");
    let text = home.run(&["plan"]).exits(0).out;
    assert!(text.contains("a checkpoint every") && text.contains("fits in 30s: yes"), "{text}");
    let answer = home.run(&["simulate", "--runs", "2"]).exits(2);
    assert!(answer.err.contains("train, score work is not known"), "{}", answer.err);
    let answer = home.json(&["simulate", "--runs", "2", "--work", "train=3h", "--work", "60s"]);
    assert_eq!(answer["answers"][0]["succeeded"], 2, "{answer}");
    let finished = answer["answers"][0]["finish_s"]["mean"].as_f64().expect("a time");
    assert!(finished > 3.0 * 3600.0 + 60.0, "{answer}");
}

/// A file that is not there: the step fails at its end.
fn home_flag() -> String {
    "/nonexistent/prunella-flag".to_owned()
}
