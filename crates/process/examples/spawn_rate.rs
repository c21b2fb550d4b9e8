//! Prints what a trivial step costs through the guardian and without it, both sides in turn, median of five.
//!
//! `cargo run -p prunella-process --example spawn_rate [STEPS]`
// A measuring program asks the machine for the time itself.
#![allow(clippy::disallowed_methods)]

use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use prunella_process::{EndStatus, GUARDIAN_ARG, Guardian, GuardianOptions, ProcessEvent, SpawnSpec, guardian_main};

fn main() -> ExitCode {
    let first = std::env::args().nth(1);
    if first.as_deref() == Some(GUARDIAN_ARG) {
        guardian_main();
    }
    let steps: u32 = first.and_then(|steps| steps.parse().ok()).unwrap_or(1000);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let guardian = runtime.block_on(Guardian::start(GuardianOptions::default())).expect("a guardian");
    println!("`/bin/sh -c true`, {steps} steps a round, median of 5 rounds");
    for jobs in [1, 2] {
        let mut rounds: [Vec<Duration>; 3] = Default::default();
        for _ in 0..5 {
            rounds[0].push(direct(steps, jobs, false));
            rounds[1].push(direct(steps, jobs, true));
            rounds[2].push(timed(|| runtime.block_on(guarded(&guardian, steps, jobs))));
        }
        let [bare, piped, guarded] = rounds.map(|mut times| {
            times.sort_unstable();
            times[2].as_secs_f64() * 1e3 / f64::from(steps)
        });
        println!(
            "{jobs} at a time: std Command {bare:.3} ms, with two pipes read {piped:.3} ms, guardian {guarded:.3} ms; \
             ratio {:.2} and {:.2}, over the piped one by {:.3} ms",
            guarded / bare,
            guarded / piped,
            guarded - piped,
        );
    }
    ExitCode::SUCCESS
}

fn timed(work: impl FnOnce()) -> Duration {
    let begun = Instant::now();
    work();
    begun.elapsed()
}

/// Runs the steps as children of this process, from one thread a job.
fn direct(steps: u32, jobs: u32, piped: bool) -> Duration {
    let one = move || {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", "true"]).stdin(Stdio::null());
        if piped {
            assert!(command.output().expect("a step").status.success());
        } else {
            assert!(command.status().expect("a step").success());
        }
    };
    timed(|| {
        std::thread::scope(|scope| {
            for _ in 0..jobs {
                scope.spawn(move || (0..steps / jobs).for_each(|_| one()));
            }
        });
    })
}

async fn guarded(guardian: &Guardian, steps: u32, jobs: u32) {
    let mut tasks = Vec::new();
    for _ in 0..jobs {
        let guardian = guardian.clone();
        tasks.push(tokio::spawn(async move {
            for number in 0..steps / jobs {
                let spec = SpawnSpec {
                    attempt_id: format!("store/run/key/{number}"),
                    argv: ["/bin/sh", "-c", "true"].map(Into::into).to_vec(),
                    env: vec![("PATH".into(), "/usr/bin:/bin".into())],
                    cwd: "/tmp".into(),
                    memory_limit: None,
                    read_only: Vec::new(),
                };
                let mut running = guardian.spawn(spec).await.expect("a step");
                loop {
                    match running.next().await.expect("an end") {
                        ProcessEvent::Exited(ended) => break assert_eq!(ended.status, EndStatus::Exited(0)),
                        ProcessEvent::Output { .. } | ProcessEvent::Usage(_) => (),
                    }
                }
            }
        }));
    }
    for task in tasks {
        task.await.expect("a task");
    }
}
