//! publish: outputs where others read them, whoever dies when.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    process::Stdio,
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

use crate::home::Home;

const PIPELINE: &str = "prunella: v1
name: pages
params: { n: 1 }
steps:
  report:
    run: |
      mkdir -p site/deep
      for f in page.html site/a site/deep/b; do yes ${{ params.n }} | head -n 5000 >$f; done
    outputs: { page: page.html, site: site/ }
    publish: { page: out/page.html, site: { path: out/site } }
  model:
    for_each: { fold: [1, 2.5] }
    run: echo ${{ item.fold }} >m.txt
    outputs: { model: m.txt }
";

/// The one number that all of a file consists of.
fn number(text: &str) -> u32 {
    let first = text.lines().next().expect("I3: it is empty").to_owned();
    assert!(text.lines().count() == 5000 && text.lines().all(|line| line == first), "I3: it is torn");
    first.parse().expect("a number")
}

fn set(n: u32) -> String {
    format!("n={n}")
}

#[test]
fn what_is_published_is_there_when_the_run_has_ended_and_is_told_of() {
    let home = Home::with(PIPELINE);
    let told = home.run(&["run"]).exits(0);
    assert!(told.out.contains("published report.page → out/page.html"), "{}", told.out);
    assert_eq!((number(&home.read("out/page.html")), number(&home.read("out/site/deep/b"))), (1, 1));
    assert!(home.run(&["status"]).exits(0).out.contains("report@1, published"));
    let explained = home.run(&["explain", "report"]).exits(0).out;
    assert!(explained.contains("→ out/site") && explained.contains("created"), "{explained}");
    let status = home.json(&["status"]);
    let publications = status["steps"][0]["publications"].as_array().expect("it publishes");
    assert_eq!((publications.len(), &publications[0]["state"]), (2, &"done".into()));

    // Again by hand: what was deleted comes back, what is there stays.
    fs::remove_dir_all(home.dir.join("out/site")).expect("it is there");
    let again = home.run(&["publish"]).exits(0).out;
    assert!(again.contains("page.html (unchanged)") && again.contains("out/site (created)"), "{again}");
    let one = home.json(&["publish", "report.site"]);
    assert_eq!(
        (&one["published"][0]["how"], one["published"].as_array().map(Vec::len)),
        (&"unchanged".into(), Some(1))
    );
}

#[test]
fn one_artifact_is_published_at_a_path_by_hand_and_nothing_of_others_is_replaced() {
    let home = Home::with(PIPELINE);
    home.run(&["run"]).exits(0);
    home.run(&["publish", "model:fold=2.5.model", "there/model.txt"]).exits(0);
    assert_eq!(home.read("there/model.txt"), "2.5\n");
    let every = home.run(&["publish", "model.model", "there/models"]).exits(2);
    assert!(every.err.contains("model:fold=1.model"), "{}", every.err);
    assert!(home.run(&["publish", "report.nothing", "x"]).exits(2).err.contains("the outputs are page, site"));
    assert!(home.run(&["publish", "nobody.page"]).exits(2).err.contains("the steps are report, model"));
    let not_declared = home.run(&["publish", "model:fold=1.model"]).exits(2);
    assert!(not_declared.err.contains("name a path"), "{}", not_declared.err);

    home.write("mine/notes", "mine");
    let refused = home.run(&["publish", "report.site", "mine"]).exits(78);
    assert!(refused.err.contains("no run of this pipeline published"), "{}", refused.err);
    assert_eq!(home.read("mine/notes"), "mine");
    home.run(&["publish", "report.site", "mine", "--overwrite"]).exits(0);
    assert_eq!(number(&home.read("mine/a")), 1);
    assert!(!home.dir.join("mine/notes").exists());
}

#[test]
fn what_is_in_the_way_fails_the_run_and_a_resumed_one_publishes() {
    let home = Home::with(PIPELINE);
    home.write("out/site/notes", "mine");
    let failed = home.run(&["run"]).exits(78);
    assert!(failed.out.contains("no run of this pipeline published"), "{}", failed.out);
    assert_eq!(home.read("out/site/notes"), "mine");
    let status = home.run(&["status", "--exit-status"]).exits(78).out;
    assert!(status.contains("publishing is given up") && status.contains("prunella resume"), "{status}");
    let explained = home.run(&["explain", "report"]).exits(0).out;
    assert!(explained.contains("given up: "), "{explained}");

    fs::remove_dir_all(home.dir.join("out/site")).expect("it is there");
    let resumed = home.run(&["resume"]).exits(0);
    assert!(!resumed.out.contains("attempt 2"), "what was committed is not made again: {}", resumed.out);
    assert_eq!(number(&home.read("out/site/a")), 1);
}

#[test]
fn the_end_is_told_once_what_is_published_is_there_or_given_up() {
    let ends = "on_exit: echo $PRUNELLA_RUN_STATUS $(ls out | wc -l) >>told\non_failure: echo failed=$PRUNELLA_FAILED_STEPS >>told\n";
    let ends = ends.replace("ls out", "ls $TOLD/out").replace(">>told", ">>$TOLD/told");
    let home = Home::with(&format!("{PIPELINE}{ends}defaults: {{ pass_env: [TOLD] }}\n"));
    home.write("out/site/notes", "mine");
    let run = |words: &[&str]| {
        let done = home.command(words).env("TOLD", &home.dir).output().expect("the binary starts");
        done.status.code()
    };
    assert_eq!(run(&["run"]), Some(78));
    let mut told: Vec<String> = home.read("told").lines().map(str::to_owned).collect();
    told.sort();
    // The page, and what is in the way of the site; no step failed.
    assert_eq!(told, ["failed 2", "failed="]);
    fs::remove_dir_all(home.dir.join("out")).expect("it is there");
    fs::remove_file(home.dir.join("told")).expect("it is there");
    assert_eq!(run(&["resume"]), Some(0));
    assert_eq!(home.read("told"), "succeeded 1\n", "only what was not done is published again");
}

#[test]
fn a_directory_that_cannot_be_written_is_tried_again_and_named() {
    let home = Home::with(
        &PIPELINE.replace("    publish:", "    retry: { effect: { limit: 2, backoff: 1ms } }\n    publish:"),
    );
    fs::create_dir(home.dir.join("out")).expect("ours");
    let forbid = |mode| fs::set_permissions(home.dir.join("out"), fs::Permissions::from_mode(mode)).expect("ours");
    forbid(0o555);
    if fs::write(home.dir.join("out/probe"), "").is_ok() {
        println!("skipped: this user may write everywhere");
        return;
    }
    let failed = home.run(&["run"]).exits(78);
    forbid(0o755);
    assert!(failed.out.contains("tried 3 times") && failed.out.contains("Permission denied"), "{}", failed.out);
    home.run(&["resume"]).exits(0);
    assert_eq!(number(&home.read("out/page.html")), 1);
}

#[test]
fn i3_whole_engines_killed_while_they_publish_show_nothing_torn_and_nothing_older() {
    let home = Home::with(PIPELINE);
    home.run(&["run", "--set", &set(1)]).exits(0);
    let over = AtomicBool::new(false);
    let (page, deep) = (home.dir.join("out/page.html"), home.dir.join("out/site/deep/b"));
    let mut killed = 0;
    std::thread::scope(|scope| {
        let watch = scope.spawn(|| {
            let mut highest = [0, 0];
            while !over.load(Ordering::Relaxed) {
                for (path, highest) in [&page, &deep].into_iter().zip(&mut highest) {
                    // A path inside of a tree that is exchanged may end in the one that goes.
                    let Ok(text) = fs::read_to_string(path) else { continue };
                    let seen = number(&text);
                    assert!(seen >= *highest, "I3: {seen} after {highest} at {}", path.display());
                    *highest = seen;
                }
            }
            highest
        });
        let begun = Instant::now();
        let mut n = 1;
        while killed < 25 && begun.elapsed() < Duration::from_secs(40) {
            n += 1;
            let mut engine =
                home.command(&["run", "--set", &set(n)]).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
            let engine = engine.as_mut().expect("the binary starts");
            // The step is quick: most of the time goes into publishing, and the kills move through it.
            std::thread::sleep(Duration::from_micros(20_000 + u64::from(n) * 7919 % 40_000));
            engine.kill().expect("it is our child");
            killed += u32::from(!engine.wait().expect("it is our child").success());
            if n % 5 == 0 {
                home.run(&["run", "--set", &set(n)]).exits(0);
                assert_eq!(number(&fs::read_to_string(&page).expect("published")), n);
            }
        }
        home.run(&["run", "--set", &set(n + 1)]).exits(0);
        over.store(true, Ordering::Relaxed);
        let highest = watch.join().expect("it saw nothing torn");
        assert!(highest[0] > 1, "nobody looked in time");
        assert_eq!(number(&fs::read_to_string(&deep).expect("published")), n + 1);
    });
    assert!(killed > 4, "only {killed} engines were killed in time");
    let left: Vec<_> =
        fs::read_dir(home.dir.join("out")).expect("there").map(|entry| entry.expect("readable")).collect();
    assert_eq!(left.len(), 2, "what the killed left is removed: {left:?}");
}
