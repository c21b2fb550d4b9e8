//! Limits: memory without a control group, stalls, deadlines.

use std::time::{Duration, Instant};

use prunella_journal::{Event, RunStatus};
use prunella_model::{ByteSize, Class};

use crate::scene::*;

crate::tests![
    out_of_memory_is_told_apart_and_the_memory_grows_until_it_is_enough,
    out_of_memory_at_the_declared_maximum_is_the_end,
    a_step_that_stands_still_is_stalled_and_one_that_works_quietly_is_not,
    a_step_that_takes_too_long_is_ended_with_its_tree,
    shared_memory_that_the_machine_does_not_have_breaks_the_contract_at_once,
    a_failure_that_repeats_itself_is_deterministic_and_another_one_is_tried_again,
];

pub const EAT: &str = "eat-for-tests";

/// Holds so many MiB for so many milliseconds.
pub fn eat_main(words: &[String]) -> ! {
    let bytes = words[0].parse::<usize>().unwrap() << 20;
    let mut held = vec![0u8; bytes];
    held.iter_mut().step_by(4096).for_each(|byte| *byte = 1);
    std::thread::sleep(Duration::from_millis(words[1].parse().unwrap()));
    println!("{}", std::hint::black_box(held).len());
    std::process::exit(0);
}

async fn out_of_memory_is_told_apart_and_the_memory_grows_until_it_is_enough() {
    let scene = Scene::new();
    let engine = scene.engine().await;
    let graph = scene.graph(
        "eat:
  run: $EXE eat-for-tests 110 2500; echo x > out.txt
  outputs: { out: out.txt }
  resources: { memory: 64MiB..512MiB }
",
    );
    let outcome = engine.complete("r", &graph).await;
    assert_eq!(outcome.status, RunStatus::Succeeded, "{:?}", engine.eye.events());
    assert_eq!(engine.eye.classes(), [Class::OutOfMemory, Class::OutOfMemory]);
    let grown = |event: &Event| match event {
        Event::StepHealing { next, .. } => next.memory,
        _ => None,
    };
    let grown: Vec<_> = engine.eye.events().iter().filter_map(grown).collect();
    assert_eq!(grown, [ByteSize(96 << 20), ByteSize(144 << 20)]);
}

async fn out_of_memory_at_the_declared_maximum_is_the_end() {
    let scene = Scene::new();
    let engine = scene.engine().await;
    let graph = scene.graph(
        "eat:
  run: $EXE eat-for-tests 110 4000; echo x > out.txt
  outputs: { out: out.txt }
  resources: { memory: 64MiB..70MiB }
",
    );
    let outcome = engine.complete("r", &graph).await;
    assert_eq!(outcome.status, RunStatus::Failed);
    assert_eq!(engine.eye.classes(), [Class::OutOfMemory, Class::OutOfMemory]);
}

async fn a_step_that_stands_still_is_stalled_and_one_that_works_quietly_is_not() {
    let scene = Scene::new();
    let engine = scene.engine().await;
    let graph = scene.graph(
        "still:
  run: if [ $PRUNELLA_ATTEMPT = 2 ]; then echo x > out.txt; else sleep 1000; fi
  outputs: { out: out.txt }
  stall: 2s
  retry: { stalled: { limit: 2, backoff: 1ms } }
busy:
  run: |
    i=0
    while [ $i -lt 2500000 ]; do i=$((i + 1)); done
    echo x > out.txt
  outputs: { out: out.txt }
  stall: 2s
",
    );
    let outcome = engine.complete("r", &graph).await;
    assert_eq!(outcome.status, RunStatus::Succeeded, "{:?}", engine.eye.events());
    assert_eq!(engine.eye.classes(), [Class::Stalled]);
}

async fn a_step_that_takes_too_long_is_ended_with_its_tree() {
    let scene = Scene::new();
    let engine = scene.engine().await;
    let graph = scene.graph(
        "slow:
  run: |
    trap '' TERM
    setsid sh -c 'trap \"\" TERM; while :; do sleep 0.05; done' &
    echo $! > $OUT/child
    while :; do sleep 0.05; done
  outputs: { out: out.txt }
  checkpoint: { format: files, grace: 500ms }
  timeout: 1s
  retry: { timeout: { limit: 1, backoff: 1ms } }
",
    );
    let begun = Instant::now();
    let outcome = engine.complete("r", &graph).await;
    assert_eq!(outcome.status, RunStatus::Failed);
    assert_eq!(engine.eye.classes(), [Class::Timeout, Class::Timeout]);
    assert!(begun.elapsed() < Duration::from_secs(20));
    let child = std::fs::read_to_string(scene.outside("child")).unwrap();
    assert!(!std::path::Path::new(&format!("/proc/{}", child.trim())).exists(), "its daemon is dead");
}

async fn a_failure_that_repeats_itself_is_deterministic_and_another_one_is_tried_again() {
    let scene = Scene::new();
    let engine = scene.engine().await;
    let graph = scene.graph(
        "same:
  run: echo 'ValueError at line 7' >&2; exit 3
  outputs: { out: out.txt }
  retry: { error: { limit: 10, backoff: 1ms } }
",
    );
    let outcome = engine.complete("r", &graph).await;
    assert_eq!(outcome.status, RunStatus::Failed);
    assert_eq!(engine.eye.classes(), [Class::Error, Class::Error]);
    let engine = scene.engine().await;
    let graph = scene.graph(
        "other:
  run: |
    if [ $PRUNELLA_ATTEMPT = 4 ]; then echo x > out.txt; exit 0; fi
    case $PRUNELLA_ATTEMPT in 1) echo 'no route';; 2) echo 'bad gateway';; 3) echo 'lost peer';; esac >&2
    exit 3
  outputs: { out: out.txt }
  retry: { error: { limit: 3, backoff: 1ms } }
",
    );
    let outcome = engine.complete("other", &graph).await;
    assert_eq!(outcome.status, RunStatus::Succeeded, "{:?}", engine.eye.events());
    assert_eq!(engine.eye.classes(), [Class::Error, Class::Error, Class::Error]);
}

async fn shared_memory_that_the_machine_does_not_have_breaks_the_contract_at_once() {
    let scene = Scene::new();
    let engine = scene.engine().await;
    let graph = scene.graph(
        "large:
  run: echo ran >> $OUT/ran; echo x > out.txt
  outputs: { out: out.txt }
  resources: { shm: 1000TiB }
small:
  run: echo x > out.txt
  outputs: { out: out.txt }
  resources: { shm: 1B }
",
    );
    let outcome = engine.complete("r", &graph).await;
    assert_eq!(outcome.status, RunStatus::Failed);
    assert_eq!(engine.eye.classes(), [Class::Contract]);
    assert!(scene.ran().is_empty(), "it was not started");
    assert!(engine.result(&outcome.run, "small", "out").await.is_some());
    let why = |event: &Event| match event {
        Event::StepFailed { why, .. } => Some(why.clone()),
        _ => None,
    };
    let why = engine.eye.events().iter().find_map(why).unwrap();
    assert!(why.contains("1000 TiB of shared memory") && why.contains("--shm-size"), "{why}");
}
