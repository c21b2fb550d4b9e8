//! Publications: what steps put where others read it, once, whole, and whoever dies when.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use prunella_journal::{Event, RunStatus};
use prunella_model::EffectHow;
use prunella_store::Store;

use crate::disks::Disk;
use crate::scene::*;

crate::tests![
    i3_whole_a_file_and_a_tree_are_published_when_their_step_has_committed,
    a_reused_step_sees_to_it_that_its_run_has_published,
    an_engine_that_dies_before_it_has_published_is_followed_by_one_that_does,
    a_publication_that_fails_is_tried_again_and_the_commit_stands,
    a_publication_whose_budget_is_used_up_fails_the_run_and_a_resumed_run_publishes,
    a_directory_of_somebody_else_is_never_replaced,
    an_older_run_that_ends_late_leaves_what_a_newer_one_published,
    a_run_that_stops_leaves_its_publications_to_the_next_engine,
];

const REPORT: &str = "\
report:
  run: echo ran >> $OUT/ran; echo page > page.html; mkdir -p site/deep; echo a > site/deep/a; echo x > tool; chmod +x tool
  outputs: { page: page.html, site: site/, tool: tool }
  publish: { page: out/report.html, site: { path: out/site }, tool: out/tool }
  retry: { effect: { limit: 20, backoff: 1ms } }
";

fn at(scene: &Scene, path: &str) -> PathBuf {
    PathBuf::from(scene.outside(path))
}

fn text(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// How everything that an engine published came to be there, in order.
fn hows(eye: &Eye) -> Vec<EffectHow> {
    let how = |event: &Event| match event {
        Event::EffectsDone { effects, .. } => effects.iter().map(|effect| effect.how).collect(),
        _ => Vec::new(),
    };
    eye.events().iter().flat_map(how).collect()
}

/// Nothing unfinished lies beside a publication.
fn tidy(scene: &Scene) {
    let names: Vec<String> = std::fs::read_dir(at(scene, "out"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.contains(".part"))
        .collect();
    assert_eq!(names, Vec::<String>::new());
}

async fn records(store: &Store, run: &str) -> Vec<String> {
    let prefix = format!("runs/{run}/effects/");
    let found = store.objects().list(&prefix, None, usize::MAX).await.unwrap();
    found.into_iter().map(|listed| listed.key.to_string()).collect()
}

async fn i3_whole_a_file_and_a_tree_are_published_when_their_step_has_committed() {
    let scene = Scene::new();
    let engine = scene.engine().await;
    let outcome = engine.complete("r", &scene.graph(REPORT)).await;
    assert_eq!(outcome.status, RunStatus::Succeeded, "{:?}", engine.eye.events());
    assert_eq!(text(&at(&scene, "out/report.html")), "page\n");
    assert_eq!(text(&at(&scene, "out/site/deep/a")), "a\n");
    let mode = |path: &str| std::fs::metadata(at(&scene, path)).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode("out/tool"), mode("out/report.html")), (0o755, 0o644), "a program stays one");
    assert_eq!(hows(&engine.eye), [EffectHow::Created; 3]);
    let events = engine.eye.events();
    let place = |what: fn(&Event) -> bool| events.iter().position(what).unwrap();
    let committed = place(|event| matches!(event, Event::StepCommitted { .. }));
    assert!(committed < place(|event| matches!(event, Event::EffectsDone { .. })), "after the commit");
    let done = records(&engine.host.store, "r").await.iter().filter(|name| name.ends_with(".done.json")).count();
    assert_eq!(done, 3, "each is recorded as done");
    tidy(&scene);
}

async fn a_reused_step_sees_to_it_that_its_run_has_published() {
    let scene = Scene::new();
    let engine = scene.engine().await;
    let graph = scene.graph(REPORT);
    assert_eq!(engine.complete("one", &graph).await.status, RunStatus::Succeeded);
    std::fs::remove_file(at(&scene, "out/report.html")).unwrap();
    std::fs::write(at(&scene, "out/site/deep/a"), "edited").unwrap();
    let engine = scene.engine().await;
    assert_eq!(engine.complete("two", &graph).await.status, RunStatus::Succeeded);
    assert_eq!(scene.ran()["ran"], 1, "the step is reused");
    assert_eq!(text(&at(&scene, "out/report.html")), "page\n");
    assert_eq!(text(&at(&scene, "out/site/deep/a")), "a\n");
    assert_eq!(hows(&engine.eye), [EffectHow::Created, EffectHow::Replaced, EffectHow::Unchanged]);
    tidy(&scene);
}

async fn an_engine_that_dies_before_it_has_published_is_followed_by_one_that_does() {
    let scene = Scene::new();
    let engine = scene.engine().await;
    let run = engine.begin("r", &scene.graph(REPORT)).await;
    tokio::select! {
        biased;
        // Dropped where it stands, in the moment of the commit: nothing was published, or all of it, or a part.
        () = async { engine.eye.until(|event| matches!(event, Event::StepCommitted { .. }).then_some(())).await } => {}
        _ = engine.try_drive(&run) => {}
    }
    engine.die().await;
    let engine = scene.engine().await;
    assert_eq!(engine.drive(&run).await.status, RunStatus::Succeeded);
    assert_eq!(scene.ran()["ran"], 1, "what was committed is not made again");
    assert_eq!(text(&at(&scene, "out/report.html")), "page\n");
    assert_eq!(text(&at(&scene, "out/site/deep/a")), "a\n");
    assert_eq!(records(&engine.host.store, "r").await.iter().filter(|name| name.ends_with(".done.json")).count(), 3);
}

/// A page that is published on a small disk of its own.
fn on_disk(scene: &Scene, disk: &Disk, effect: &str) -> prunella_model::Graph {
    scene.graph(&format!(
        "report:
  run: echo ran >> $OUT/ran; echo page > page.html
  outputs: {{ page: page.html }}
  publish: {{ page: {} }}
  retry: {{ effect: {effect} }}
",
        disk.path("out/report.html").display()
    ))
}

async fn a_publication_that_fails_is_tried_again_and_the_commit_stands() {
    let Some(disk) = Disk::new("1m") else { return };
    let scene = Scene::new();
    let engine = scene.engine().await;
    disk.fill();
    let run = engine.begin("r", &on_disk(&scene, &disk, "{ limit: 1000, backoff: 10ms }")).await;
    let (outcome, ()) = tokio::join!(engine.drive(&run), async {
        engine.eye.until(|event| matches!(event, Event::EffectFailed { hopeless: false, .. }).then_some(())).await;
        disk.make_room();
    });
    assert_eq!(outcome.status, RunStatus::Succeeded, "{:?}", engine.eye.events());
    assert_eq!(text(&disk.path("out/report.html")), "page\n");
    assert_eq!(scene.ran()["ran"], 1);
}

async fn a_publication_whose_budget_is_used_up_fails_the_run_and_a_resumed_run_publishes() {
    let Some(disk) = Disk::new("1m") else { return };
    let scene = Scene::new();
    let engine = scene.engine().await;
    disk.fill();
    let outcome = engine.complete("r", &on_disk(&scene, &disk, "{ limit: 2, backoff: 1ms }")).await;
    assert_eq!(outcome.status, RunStatus::Failed);
    assert!(outcome.state.all_settled(), "the commit stands");
    let failed = engine.eye.events().iter().filter(|event| matches!(event, Event::EffectFailed { .. })).count();
    assert_eq!(failed, 3, "once, and as often again as the limit says");
    engine.die().await;
    disk.make_room();
    let engine = scene.engine().await;
    assert_eq!(engine.drive(&outcome.run).await.status, RunStatus::Succeeded, "{:?}", engine.eye.events());
    assert_eq!(text(&disk.path("out/report.html")), "page\n");
    assert_eq!(scene.ran()["ran"], 1);
}

async fn a_directory_of_somebody_else_is_never_replaced() {
    let scene = Scene::new();
    let engine = scene.engine().await;
    std::fs::create_dir_all(at(&scene, "out/site")).unwrap();
    std::fs::write(at(&scene, "out/site/mine"), "mine").unwrap();
    std::fs::write(at(&scene, "out/report.html"), "a file of before").unwrap();
    let outcome = engine.complete("r", &scene.graph(REPORT)).await;
    assert_eq!(outcome.status, RunStatus::Failed, "{:?}", engine.eye.events());
    let hopeless = |event: &Event| matches!(event, Event::EffectFailed { hopeless: true, .. });
    assert_eq!(engine.eye.events().iter().filter(|event| hopeless(event)).count(), 1, "it is not tried again");
    assert_eq!(text(&at(&scene, "out/site/mine")), "mine");
    assert_eq!(text(&at(&scene, "out/report.html")), "page\n", "files are replaced, as by any build tool");
    // Tried again, it is still somebody else's.
    engine.die().await;
    let engine = scene.engine().await;
    assert_eq!(engine.drive(&outcome.run).await.status, RunStatus::Failed);
    assert_eq!(text(&at(&scene, "out/site/mine")), "mine");
    std::fs::remove_file(at(&scene, "out/site/mine")).unwrap();
    engine.die().await;
    let engine = scene.engine().await;
    assert_eq!(engine.drive(&outcome.run).await.status, RunStatus::Succeeded, "an empty one is anybody's");
    assert_eq!(text(&at(&scene, "out/site/deep/a")), "a\n");
}

async fn an_older_run_that_ends_late_leaves_what_a_newer_one_published() {
    let scene = Scene::new();
    let (old, new) = (scene.engine().await, scene.engine().await);
    let graph = |word: &str| {
        scene.graph(&format!(
            "report:
  run: echo {word}-runs; while [ ! -e $OUT/{word} ]; do sleep 0.02; done; echo {word} > page.html
  outputs: {{ page: page.html }}
  publish: {{ page: out/report.html }}
"
        ))
    };
    let (first, second) = (old.begin("old", &graph("old")).await, new.begin("new", &graph("new")).await);
    let (one, two, ()) = tokio::join!(old.drive(&first), new.drive(&second), async {
        std::fs::write(at(&scene, "new"), "").unwrap();
        new.eye.until(|event| matches!(event, Event::EffectsDone { .. }).then_some(())).await;
        std::fs::write(at(&scene, "old"), "").unwrap();
    });
    assert_eq!((one.status, two.status), (RunStatus::Succeeded, RunStatus::Succeeded));
    assert_eq!(text(&at(&scene, "out/report.html")), "new\n");
    assert_eq!(hows(&old.eye), [EffectHow::Superseded]);
}

async fn a_run_that_stops_leaves_its_publications_to_the_next_engine() {
    let Some(disk) = Disk::new("1m") else { return };
    let scene = Scene::new();
    let engine = scene.engine().await;
    disk.fill();
    let run = engine.begin("r", &on_disk(&scene, &disk, "{ limit: 20, backoff: 1h }")).await;
    let (outcome, ()) = tokio::join!(engine.drive(&run), async {
        engine.eye.until(|event| matches!(event, Event::EffectFailed { .. }).then_some(())).await;
        engine.say(prunella_attempt::Control::Kill);
    });
    assert_eq!(outcome.status, RunStatus::Stopped, "resumable");
    engine.die().await;
    disk.make_room();
    let engine = scene.engine().await;
    assert_eq!(engine.drive(&run).await.status, RunStatus::Succeeded, "at once: {:?}", engine.eye.events());
    assert_eq!(text(&disk.path("out/report.html")), "page\n");
}
