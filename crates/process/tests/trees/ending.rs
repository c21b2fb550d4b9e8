//! Ends: who died of what, and that nothing survives.

use std::io::Read;

use prunella_process::{EndStatus, ProcessError, Signal, sweep};

use crate::support::{Engine, Lifeline, command, finish, guardian, kill, run, run_step, shell, store, wait_for};

crate::tests![
    exit_codes_and_signals_are_told,
    a_signal_reaches_the_whole_group,
    a_kill_from_outside_is_told_from_ours,
    killing_a_tree_kills_what_left_its_group,
    dropping_a_running_step_kills_its_tree,
    a_daemon_dies_with_its_step_and_anothers_does_not,
    a_daemon_without_name_dies_when_no_running_step_can_own_it,
    many_short_steps_that_leave_daemons_leave_none,
    kill_9_of_the_engine_leaves_nothing_running,
    kill_9_of_the_guardian_leaves_nothing_running_and_is_told,
    kill_9_of_both_leaves_nothing_once_swept,
    an_engine_that_goes_well_takes_its_steps_along,
    whoever_hears_of_a_step_that_died_with_its_guardian_finds_it_dying,
    a_dead_guardian_costs_another_one_nothing,
    a_dead_guardian_costs_the_engines_own_children_nothing,
    a_guardian_killed_amid_spawning_leaves_nothing_and_nobody_waits,
    an_engine_killed_amid_spawning_leaves_nothing,
];

/// A step that detaches in every way: in its group, out of it, as a daemon by two forks, without environment.
/// Writes a line for each of its five processes.
const EVERY_WAY: &str = "sleep 1000 & echo child $! >&9; \
    setsid sleep 1001 & echo session $! >&9; \
    setsid sh -c 'setsid sleep 1002 & echo daemon $! >&9' & \
    setsid env -i /bin/sh -c 'echo nameless $$ >&9; exec /bin/sleep 1003' & \
    echo main $$ >&9; wait";

fn exit_codes_and_signals_are_told() {
    run(async {
        let guardian = guardian().await;
        for (script, status) in [
            ("exit 0", EndStatus::Exited(0)),
            ("exit 7", EndStatus::Exited(7)),
            ("exit 255", EndStatus::Exited(255)),
            ("kill -SEGV $$", EndStatus::Signaled(libc::SIGSEGV)),
            ("kill -KILL $$", EndStatus::Signaled(libc::SIGKILL)),
        ] {
            let (_, _, ended) = run_step(&guardian, shell(script)).await;
            assert_eq!((ended.status, ended.sent), (status, vec![]), "{script}");
        }
    });
}

fn a_signal_reaches_the_whole_group() {
    run(async {
        let guardian = guardian().await;
        let inner = "trap \"echo inner; exit 0\" TERM; echo ready; while :; do sleep 1000 & wait; done";
        let script = format!("trap : TERM; sh -c '{inner}' & wait; wait; echo outer; exit 3");
        let mut running = guardian.spawn(shell(&script)).await.unwrap();
        wait_for(&mut running, "ready").await;
        running.signal(Signal::TERM);
        let (stdout, _, ended) = finish(running).await;
        assert_eq!(stdout, "inner\nouter\n");
        assert_eq!((ended.status, ended.sent.as_slice()), (EndStatus::Exited(3), &[libc::SIGTERM][..]));
    });
}

fn a_kill_from_outside_is_told_from_ours() {
    run(async {
        let guardian = guardian().await;
        let mut running = guardian.spawn(shell("echo ready; exec sleep 1000")).await.unwrap();
        wait_for(&mut running, "ready").await;
        kill(running.pid(), Signal::KILL);
        let (_, _, ended) = finish(running).await;
        assert!(ended.killed_from_outside() && ended.status == EndStatus::Signaled(libc::SIGKILL), "{ended:?}");

        let mut running = guardian.spawn(shell("echo ready; exec sleep 1000")).await.unwrap();
        wait_for(&mut running, "ready").await;
        running.kill_tree();
        let (_, _, ended) = finish(running).await;
        assert!(!ended.killed_from_outside() && ended.status == EndStatus::Signaled(libc::SIGKILL), "{ended:?}");
    });
}

fn killing_a_tree_kills_what_left_its_group() {
    run(async {
        let guardian = guardian().await;
        let mut lifeline = Lifeline::new();
        let running = guardian.spawn(shell(&lifeline.held_by(EVERY_WAY))).await.unwrap();
        lifeline.wait_lines(5);
        running.kill_tree();
        let (_, _, ended) = finish(running).await;
        lifeline.wait_dead();
        assert_eq!((ended.status, ended.sent.as_slice()), (EndStatus::Signaled(libc::SIGKILL), &[libc::SIGKILL][..]));
        assert_eq!(ended.survivors, 0);
    });
}

fn dropping_a_running_step_kills_its_tree() {
    run(async {
        let guardian = guardian().await;
        let mut lifeline = Lifeline::new();
        let running = guardian.spawn(shell(&lifeline.held_by(EVERY_WAY))).await.unwrap();
        lifeline.wait_lines(5);
        drop(running);
        lifeline.wait_dead();
        assert!(guardian.identity().alive());
    });
}

fn a_daemon_dies_with_its_step_and_anothers_does_not() {
    run(async {
        let guardian = guardian().await;
        let (mut first, mut second) = (Lifeline::new(), Lifeline::new());
        let mut other = shell(&second.held_by("setsid sh -c 'setsid sleep 1000 & echo daemon >&9' & wait; sleep 1000"));
        other.attempt_id = format!("{}/run/other/1", store());
        let other = guardian.spawn(other).await.unwrap();
        second.wait_lines(1);
        let script = "setsid sh -c 'setsid sleep 1000 & echo daemon >&9' & wait";
        let (_, _, ended) = run_step(&guardian, shell(&first.held_by(script))).await;
        first.wait_dead();
        assert_eq!((ended.status, ended.leftovers_killed), (EndStatus::Exited(0), 1));
        assert!(second.held(), "the other step's daemon is none of its business");
        other.kill_tree();
        second.wait_dead();
    });
}

fn a_daemon_without_name_dies_when_no_running_step_can_own_it() {
    run(async {
        let guardian = guardian().await;
        let mut lifeline = Lifeline::new();
        let mut other = guardian.spawn(command(["sh", "-c", "echo ready; exec sleep 1000"])).await.unwrap();
        wait_for(&mut other, "ready").await;
        // Out of group and session, no environment, parents dead: nothing tells whose it is.
        let script = "setsid env -i /bin/sh -c '/usr/bin/setsid /bin/sleep 1000 & echo nameless >&9' & wait";
        let (_, _, ended) = run_step(&guardian, shell(&lifeline.held_by(script))).await;
        lifeline.wait_lines(1);
        assert_eq!(ended.status, EndStatus::Exited(0));
        other.kill_tree();
        finish(other).await;
        lifeline.wait_dead();
    });
}

fn many_short_steps_that_leave_daemons_leave_none() {
    run(async {
        let guardian = guardian().await;
        let mut lifeline = Lifeline::new();
        let mut long = guardian.spawn(shell("echo ready; exec sleep 1000")).await.unwrap();
        wait_for(&mut long, "ready").await;
        let mut killed = 0;
        for round in 0..40 {
            let pair = [0, 1].map(|side| {
                let mut spec = shell(&lifeline.held_by("setsid sleep 1000 & (sleep 1001 &) ; :"));
                spec.attempt_id = format!("{}/run/key{side}/{round}", store());
                let guardian = guardian.clone();
                tokio::spawn(async move { run_step(&guardian, spec).await.2 })
            });
            let mut ends = Vec::new();
            for step in pair {
                ends.push(step.await.unwrap());
            }
            killed += ends.iter().map(|end| end.leftovers_killed).sum::<u32>();
            lifeline.assert_dead(&format!("round {round}, {ends:?}"));
        }
        // Not always all: one that is killed before it left its shell dies with it.
        assert!((40..=160).contains(&killed), "{killed}");
        lifeline.wait_dead();
        long.kill_tree();
    });
}

fn kill_9_of_the_engine_leaves_nothing_running() {
    let mut lifeline = Lifeline::new();
    let mut engine = Engine::start(&lifeline.held_by(EVERY_WAY));
    lifeline.wait_lines(5);
    let guardian = prunella_process::ProcessIdentity::of(engine.guardian).unwrap();
    engine.child.kill().unwrap();
    engine.child.wait().unwrap();
    lifeline.wait_dead();
    // The guardian goes last; its output is the engine's, so its end shows there.
    engine.output.read_to_string(&mut String::new()).unwrap();
    crate::support::wait_gone(&guardian);
}

fn kill_9_of_the_guardian_leaves_nothing_running_and_is_told() {
    run(async {
        let first = guardian().await;
        let mut lifeline = Lifeline::new();
        let running = first.spawn(shell(&lifeline.held_by(EVERY_WAY))).await.unwrap();
        lifeline.wait_lines(5);
        kill(first.identity().pid, Signal::KILL);
        first.died().await;
        lifeline.assert_dead("when its death is told");
        lifeline.wait_dead();
        let (_, _, ended) = finish(running).await;
        assert_eq!((ended.status, ended.drained), (EndStatus::GuardianDied, true));
        assert!(ended.leftovers_killed >= 5, "{ended:?}");
        assert!(matches!(first.spawn(shell("exit 0")).await, Err(ProcessError::GuardianDied)));
        assert!(!first.identity().alive());
        let second = guardian().await;
        assert_eq!(run_step(&second, shell("exit 2")).await.2.status, EndStatus::Exited(2));
    });
}

fn kill_9_of_both_leaves_nothing_once_swept() {
    // Without the nameless one: nothing could tell to whom that belongs once both are dead.
    let script = "sleep 1000 & echo child $! >&9; setsid sh -c 'setsid sleep 1002 & echo daemon $! >&9' & \
        sh -c 'env -i /bin/sleep 1003 & echo nameless but with a parent $! >&9; wait' & \
        echo main $$ >&9; wait";
    let mut lifeline = Lifeline::new();
    let mut engine = Engine::start(&lifeline.held_by(script));
    lifeline.wait_lines(4);
    // Stopped first, so that neither can see to the other's end.
    kill(engine.child.id(), Signal::STOP);
    kill(engine.guardian, Signal::STOP);
    kill(engine.guardian, Signal::KILL);
    engine.child.kill().unwrap();
    engine.child.wait().unwrap();
    assert!(lifeline.held());
    for stranger in ["run/key/2", "ru", "key"] {
        assert_eq!(sweep(&format!("{}/{stranger}", store())).unwrap().killed, [], "{stranger}");
    }
    assert!(lifeline.held());
    let run = format!("{}/run", store());
    let swept = sweep(&run).unwrap();
    lifeline.assert_dead("when the sweep is done");
    assert!(swept.killed.len() >= 4, "{swept:?}");
    assert!(swept.killed.iter().all(|process| process.attempt_id == format!("{run}/key/1")), "{swept:?}");
    lifeline.wait_dead();
    assert_eq!(sweep(&run).unwrap().killed, []);
}

fn an_engine_that_goes_well_takes_its_steps_along() {
    let mut lifeline = Lifeline::new();
    run(async {
        let guardian = guardian().await;
        let _running = guardian.spawn(shell(&lifeline.held_by(EVERY_WAY))).await.unwrap();
        lifeline.wait_lines(5);
        guardian.stop().await;
        assert!(!lifeline.held());
    });
    lifeline.wait_dead();

    let mut lifeline = Lifeline::new();
    run(async {
        let guardian = guardian().await;
        let running = guardian.spawn(shell(&lifeline.held_by(EVERY_WAY))).await.unwrap();
        lifeline.wait_lines(5);
        // Neither told nor dropped: only the runtime ends.
        std::mem::forget((guardian, running));
    });
    lifeline.wait_dead();
}

fn whoever_hears_of_a_step_that_died_with_its_guardian_finds_it_dying() {
    run(async {
        let guardian = guardian().await;
        let mut step = guardian.spawn(shell("echo ready; exec sleep 1000")).await.unwrap();
        wait_for(&mut step, "ready").await;
        assert!(!guardian.is_dying());
        kill(guardian.identity().pid, Signal::KILL);
        assert_eq!(finish(step).await.2.status, EndStatus::GuardianDied);
        assert!(guardian.is_dying(), "the next step is not given to it");
    });
}

fn a_dead_guardian_costs_another_one_nothing() {
    run(async {
        let (first, second) = (guardian().await, guardian().await);
        let mut lifeline = Lifeline::new();
        let running = second.spawn(shell(&lifeline.held_by(EVERY_WAY))).await.unwrap();
        lifeline.wait_lines(5);
        kill(first.identity().pid, Signal::KILL);
        first.died().await;
        assert!(lifeline.held() && second.identity().alive());
        let unharmed = crate::support::children_of(running.pid());
        assert!(unharmed >= 2, "{unharmed}");
        running.kill_tree();
        lifeline.wait_dead();
    });
}

fn a_dead_guardian_costs_the_engines_own_children_nothing() {
    run(async {
        let mut own = std::process::Command::new("/bin/cat").stdin(std::process::Stdio::piped()).spawn().unwrap();
        let guardian = guardian().await;
        let mut step = guardian.spawn(shell("echo ready; exec sleep 1000")).await.unwrap();
        wait_for(&mut step, "ready").await;
        kill(guardian.identity().pid, Signal::KILL);
        guardian.died().await;
        assert_eq!(finish(step).await.2.status, EndStatus::GuardianDied);
        assert!(own.try_wait().unwrap().is_none());
        own.kill().unwrap();
        own.wait().unwrap();
    });
}

/// A step that leaves a daemon behind or is killed while it does.
fn leaving(lifeline: &Lifeline) -> prunella_process::SpawnSpec {
    shell(&lifeline.held_by("setsid sleep 1000 & (sleep 1001 &) ; echo said"))
}

fn a_guardian_killed_amid_spawning_leaves_nothing_and_nobody_waits() {
    run(async {
        for enough in 1..=12 {
            let guardian = guardian().await;
            let mut lifeline = Lifeline::new();
            let done = std::sync::Arc::new(tokio::sync::Semaphore::new(0));
            let workers: Vec<_> = (0..3)
                .map(|_| {
                    let (guardian, spec, done) = (guardian.clone(), leaving(&lifeline), done.clone());
                    tokio::spawn(async move {
                        loop {
                            match guardian.spawn(spec.clone()).await {
                                Ok(running) => match finish(running).await.2.status {
                                    EndStatus::Exited(0) => done.add_permits(1),
                                    EndStatus::GuardianDied => return,
                                    other => panic!("{other:?}"),
                                },
                                Err(ProcessError::GuardianDied) => return,
                                Err(other) => panic!("{other:?}"),
                            }
                        }
                    })
                })
                .collect();
            done.acquire_many(enough).await.unwrap().forget();
            kill(guardian.identity().pid, Signal::KILL);
            for worker in workers {
                worker.await.unwrap();
            }
            guardian.died().await;
            lifeline.assert_dead(&format!("round {enough}"));
            lifeline.wait_dead();
        }
    });
}

fn an_engine_killed_amid_spawning_leaves_nothing() {
    use std::io::BufRead;
    for enough in 1..=12 {
        let mut lifeline = Lifeline::new();
        let script = lifeline.held_by("setsid sleep 1000 & (sleep 1001 &) ; echo said");
        let mut engine = Engine::start_by(std::process::Command::new("/proc/self/exe").args([
            crate::support::ENGINE_ARG,
            store(),
            &script,
            "again",
        ]));
        let guardian = prunella_process::ProcessIdentity::of(engine.guardian).unwrap();
        for _ in 0..enough {
            assert!(engine.output.read_line(&mut String::new()).unwrap() > 0, "the engine goes on");
        }
        engine.child.kill().unwrap();
        engine.child.wait().unwrap();
        crate::support::wait_gone(&guardian);
        lifeline.assert_dead(&format!("round {enough}"));
        lifeline.wait_dead();
    }
}
