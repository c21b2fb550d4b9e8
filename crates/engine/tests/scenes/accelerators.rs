//! Accelerators: each attempt has its own, and after a fault another.

use prunella_journal::{Event, RunStatus};
use prunella_model::Class;
use prunella_sys::Accelerators;

use crate::scene::*;

crate::tests![
    attempts_at_the_same_time_have_different_accelerators,
    a_step_without_accelerators_sees_none_beside_steps_that_have_some,
    without_a_step_that_has_accelerators_the_callers_word_is_passed_on,
    after_a_fault_of_its_accelerator_a_step_goes_on_with_another,
];

async fn engine_with(scene: &Scene, names: &[&str]) -> Engine {
    let names = names.iter().map(|name| (*name).to_owned()).collect();
    let mut engine = scene.engine().await;
    engine.accelerators = Accelerators { names, ..Accelerators::default() };
    engine
}

fn pipe(scene: &Scene, name: &str) {
    assert!(std::process::Command::new("mkfifo").arg(scene.outside(name)).status().unwrap().success());
}

async fn attempts_at_the_same_time_have_different_accelerators() {
    let scene = Scene::new();
    let engine = engine_with(&scene, &["GPU-aa", "GPU-bb"]).await;
    pipe(&scene, "there");
    pipe(&scene, "back");
    // Neither ends before the other runs.
    let graph = scene.graph(
        "a:
  run: |
    printf %s \"$CUDA_VISIBLE_DEVICES\" > out.txt
    echo x > $OUT/there; read x < $OUT/back
  outputs: { out: out.txt }
  resources: { gpu: 1 }
b:
  run: |
    printf %s \"$CUDA_VISIBLE_DEVICES\" > out.txt
    read x < $OUT/there; echo x > $OUT/back
  outputs: { out: out.txt }
  resources: { gpu: 1 }
both:
  run: printf %s \"$CUDA_VISIBLE_DEVICES,$NVIDIA_VISIBLE_DEVICES\" > out.txt
  outputs: { out: out.txt }
  after: [a, b]
  resources: { gpu: 2 }
",
    );
    let outcome = engine.complete("r", &graph).await;
    assert_eq!(outcome.status, RunStatus::Succeeded, "{:?}", engine.eye.events());
    let run = outcome.run;
    let mut seen = Vec::new();
    for step in ["a", "b", "both"] {
        seen.push(String::from_utf8(engine.result(&run, step, "out").await.unwrap()).unwrap());
    }
    assert_eq!(seen[2], "GPU-aa,GPU-bb,GPU-aa,GPU-bb");
    seen.truncate(2);
    seen.sort();
    assert_eq!(seen, ["GPU-aa", "GPU-bb"]);
}

async fn a_step_without_accelerators_sees_none_beside_steps_that_have_some() {
    let scene = Scene::new();
    let engine = engine_with(&scene, &["0"]).await;
    let graph = scene.graph(
        "with:
  run: printf %s \"$CUDA_VISIBLE_DEVICES\" > out.txt
  outputs: { out: out.txt }
  resources: { gpu: 1 }
without:
  run: printf %s \"$CUDA_VISIBLE_DEVICES\" > out.txt; true
  outputs: { out: out.txt }
own:
  run: printf %s \"$CUDA_VISIBLE_DEVICES\" > out.txt
  outputs: { out: out.txt }
  env: { CUDA_VISIBLE_DEVICES: \"7\" }
",
    );
    let run = engine.complete("r", &graph).await.run;
    for (step, seen) in [("with", "0"), ("without", "-1"), ("own", "7")] {
        assert_eq!(engine.result(&run, step, "out").await.as_deref(), Some(seen.as_bytes()), "{step}");
    }
}

async fn without_a_step_that_has_accelerators_the_callers_word_is_passed_on() {
    let scene = Scene::new();
    let mut engine = engine_with(&scene, &["0"]).await;
    engine.host.inherited = std::sync::Arc::new(vec![
        ("PATH".into(), std::env::var_os("PATH").unwrap()),
        ("CUDA_VISIBLE_DEVICES".into(), "4,5".into()),
    ]);
    let graph = scene.graph("s:\n  run: printf %s \"$CUDA_VISIBLE_DEVICES\" > out.txt\n  outputs: { out: out.txt }\n");
    let run = engine.complete("r", &graph).await.run;
    assert_eq!(engine.result(&run, "s", "out").await.as_deref(), Some(&b"4,5"[..]));
}

async fn after_a_fault_of_its_accelerator_a_step_goes_on_with_another() {
    let scene = Scene::new();
    let engine = engine_with(&scene, &["GPU-bad", "GPU-good"]).await;
    let graph = scene.graph(
        "train:
  run: |
    if [ $CUDA_VISIBLE_DEVICES = GPU-bad ]; then
      echo 'NVRM: Xid (PCI:0000:44:00): 79, GPU has fallen off the bus' >&2; exit 1
    fi
    printf %s $CUDA_VISIBLE_DEVICES > out.txt
  outputs: { out: out.txt }
  resources: { gpu: 1 }
  retry: { gpu-fault: { backoff: 1ms } }
",
    );
    let outcome = engine.complete("r", &graph).await;
    assert_eq!(outcome.status, RunStatus::Succeeded, "{:?}", engine.eye.events());
    assert_eq!(engine.eye.classes(), [Class::GpuFault]);
    assert_eq!(engine.result(&outcome.run, "train", "out").await.as_deref(), Some(&b"GPU-good"[..]));
    let lent = |event: &Event| match event {
        Event::ProcessStarted { accelerators, .. } => Some(accelerators.clone()),
        _ => None,
    };
    let lent: Vec<_> = engine.eye.events().iter().filter_map(lent).collect();
    assert_eq!(lent, [["GPU-bad"], ["GPU-good"]], "the journal says which attempt ran where");
}
