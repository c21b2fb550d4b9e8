//! Validation: what fails its check is not promoted, and is kept to be looked at.

use prunella_journal::{Event, RunStatus};
use prunella_model::Class;

use crate::scene::*;

crate::tests![
    what_fails_its_check_is_not_promoted_and_is_kept,
    what_passes_its_check_is_promoted,
    a_check_that_somebody_kills_says_nothing_about_the_output,
    a_step_that_is_not_deterministic_may_do_better,
    what_artifacts_may_not_hold_is_refused,
];

async fn what_fails_its_check_is_not_promoted_and_is_kept() {
    let cases = [
        ("empty", ": > out.txt", "out.txt", "empty"),
        ("missing", "true", "out.txt", "not there"),
        ("format", "echo '{\"a\":' > out.json", "out.json", ""),
        ("gzip", "echo plain > out.gz", "out.gz", ""),
        ("size", "echo x > out.txt", "{ path: out.txt, check: { min_size: 1KiB } }", "at least"),
        ("large", "echo 12345 > out.txt", "{ path: out.txt, check: { max_size: 3B } }", "at most"),
        ("files", "mkdir m; echo x > m/a", "{ path: m/, check: { files: ['*.npz'] } }", "*.npz"),
        (
            "command",
            "echo bad > out.txt",
            "{ path: out.txt, check: { command: 'grep -q good $PRUNELLA_CHECK_PATH' } }",
            "refused",
        ),
        ("kind", "mkdir out.txt; echo x > out.txt/x", "out.txt", "directory"),
    ];
    for (name, script, output, why) in cases {
        let scene = Scene::new();
        let engine = scene.engine().await;
        let graph = scene.graph(&format!("make:\n  run: |\n    {script}\n  outputs: {{ out: {output} }}\n"));
        let outcome = engine.complete("r", &graph).await;
        assert_eq!(outcome.status, RunStatus::Failed, "{name}");
        assert_eq!(engine.eye.classes(), [Class::Validation], "{name}: no second try of a deterministic step");
        let run = outcome.run.clone();
        assert_eq!(engine.result(&run, "make", "out").await, None, "{name}");
        let ended = engine.eye.events().into_iter().find_map(|event| match event {
            Event::AttemptEnded { evidence, .. } => evidence.validation,
            _ => None,
        });
        let problem = ended.unwrap();
        assert!(problem.output == "out" && problem.problem.contains(why), "{name}: {problem:?}");
        if name != "missing" {
            let mut kept = Vec::new();
            for attempt in std::fs::read_dir(scene.store_dir().join("work/r")).unwrap() {
                let place = attempt.unwrap().path();
                kept.extend(["out.txt", "out.json", "out.gz", "m"].map(|file| place.join(file).exists()));
            }
            assert!(kept.contains(&true), "{name}: the rejected output is kept");
        }
        engine.check(&run).await;
    }
}

async fn what_passes_its_check_is_promoted() {
    let scene = Scene::new();
    let engine = scene.engine().await;
    let graph = scene.graph(
        "make:
  run: |
    echo '{\"a\": 1}' > out.json
    : > empty.txt
    mkdir -p tree/deep; echo x > tree/deep/a.npz.txt; ln -s deep/a.npz.txt tree/link
    echo good > checked.txt
  outputs:
    json: out.json
    empty: { path: empty.txt, check: { min_size: 0B } }
    tree: { path: tree/, check: { files: ['deep/*'] } }
    checked: { path: checked.txt, check: { command: 'grep -q good $PRUNELLA_CHECK_PATH' } }
",
    );
    let outcome = engine.complete("r", &graph).await;
    assert_eq!(outcome.status, RunStatus::Succeeded, "{:?}", engine.eye.events());
    assert_eq!(engine.result(&outcome.run, "make", "empty").await.unwrap(), b"");
    engine.check(&outcome.run).await;
}

async fn a_check_that_somebody_kills_says_nothing_about_the_output() {
    let scene = Scene::new();
    let engine = scene.engine().await;
    // The first time the check kills itself, as an operator or the kernel might.
    let graph = scene.graph(
        "make:
  run: echo good > out.txt
  outputs:
    out:
      path: out.txt
      check: { command: 'if [ ! -e $OUT/once ]; then : > $OUT/once; kill -9 $$; fi; grep -q good $PRUNELLA_CHECK_PATH' }
",
    );
    let outcome = engine.complete("r", &graph).await;
    assert_eq!(outcome.status, RunStatus::Succeeded, "{:?}", engine.eye.events());
    assert_eq!(engine.eye.classes(), [Class::Killed]);
}

async fn a_step_that_is_not_deterministic_may_do_better() {
    let scene = Scene::new();
    let engine = scene.engine().await;
    let graph = scene.graph(
        "make:
  run: |
    if [ $PRUNELLA_ATTEMPT = 2 ]; then echo x > out.txt; else : > out.txt; fi
  outputs: { out: out.txt }
  deterministic: false
",
    );
    let outcome = engine.complete("r", &graph).await;
    assert_eq!(outcome.status, RunStatus::Succeeded);
    assert_eq!(engine.eye.classes(), [Class::Validation]);
}

async fn what_artifacts_may_not_hold_is_refused() {
    for script in ["ln -s /etc/passwd t/x", "ln -s ../../secret t/x", "mkfifo t/x", "echo a > t/A; echo b > t/a"] {
        let scene = Scene::new();
        let engine = scene.engine().await;
        let graph =
            scene.graph(&format!("make:\n  run: mkdir t; echo x > t/file; {script}\n  outputs: {{ out: t/ }}\n"));
        let outcome = engine.complete("r", &graph).await;
        assert_eq!(outcome.status, RunStatus::Failed, "{script}");
        assert_eq!(engine.eye.classes(), [Class::Validation], "{script}");
    }
}
