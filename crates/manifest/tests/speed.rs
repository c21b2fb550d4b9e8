//! A large file is read whole; `--nocapture` shows how fast.

mod support;

use prunella_manifest::{Overrides, read, read_source};
use support::Listed;

#[test]
fn a_hundred_thousand_steps_in_one_file_are_read() {
    const STEPS: usize = 100_000;
    let mut text = "prunella: v1\nname: chain\nsteps:\n  s0: { run: ./s, outputs: { o: o } }\n".to_owned();
    for i in 1..STEPS {
        text.push_str(&format!("  s{i}: {{ run: ./s, inputs: {{ i: s{}.o }}, outputs: {{ o: o }} }}\n", i - 1));
    }
    assert_eq!(measured("chain", text), STEPS);
}

#[test]
fn a_large_file_of_real_steps_is_read() {
    let one = include_str!("golden/valid--all-keys.yaml");
    let (head, step) = (one.split("steps:").next().unwrap_or_default(), one.split("  train:\n").nth(1));
    let step = step.and_then(|rest| rest.split("  report:\n").next()).expect("the step `train`");
    let mut text = format!(
        "{head}steps:\n  split: {{ run: ./split, inputs: {{ a: data.digits, b: data.corpus }}, outputs: {{ train: t }} }}\n"
    );
    let steps = 7_500_000 / step.len();
    for i in 0..steps {
        text.push_str(&format!("  train{i}:\n{step}"));
    }
    assert_eq!(measured("real steps", text), steps + 1);
}

fn measured(name: &str, text: String) -> usize {
    let mebibytes = text.len() as f64 / f64::from(1 << 20);
    #[allow(clippy::disallowed_methods, reason = "printed, not decided on")]
    let begin = std::time::Instant::now();
    let source = read_source("p.yaml", text.into_bytes()).expect("less than 8 MiB");
    let read = read(&source, &Overrides::default(), &Listed).expect("valid");
    let seconds = begin.elapsed().as_secs_f64();
    println!("{name}: {mebibytes:.1} MiB in {seconds:.3} s: {:.1} MiB/s", mebibytes / seconds);
    read.pipeline.steps.len()
}
