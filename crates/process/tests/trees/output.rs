//! What steps write reaches the engine, whole and without filling its memory.

use prunella_process::{EndStatus, ProcessEvent, Stream};

use crate::support::{finish, guardian, run, run_step, shell, wait_for};

crate::tests![
    a_hundred_megabytes_arrive_whole_in_bounded_memory,
    a_caller_that_does_not_come_stops_the_program_not_the_guardian,
    a_grandchild_that_keeps_stdout_open_does_not_delay_the_end,
    a_stranger_that_keeps_stdout_open_delays_the_end_by_a_second_and_costs_nothing,
    both_streams_are_told_apart,
];

fn peak_memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
}

fn a_hundred_megabytes_arrive_whole_in_bounded_memory() {
    run(async {
        let guardian = guardian().await;
        let before = peak_memory();
        let mut running = guardian.spawn(shell("yes 0123456789 | head -c 100000000")).await.unwrap();
        let pattern = b"0123456789\n".repeat(10_000);
        let mut count = 0;
        let mut ended = None;
        while let Some(event) = running.next().await {
            match event {
                ProcessEvent::Output { stream, bytes } => {
                    assert_eq!(stream, Stream::Stdout);
                    let from = count % 11;
                    assert_eq!(bytes, pattern[from..from + bytes.len()], "at {count}");
                    count += bytes.len();
                }
                ProcessEvent::Usage(_) => (),
                ProcessEvent::Exited(end) => ended = Some(end),
            }
        }
        let ended = ended.unwrap();
        assert_eq!((count, ended.status, ended.drained), (100_000_000, EndStatus::Exited(0), true));
        let grown = peak_memory() - before;
        assert!(grown < 16 << 20, "grew by {grown} bytes");
    });
}

fn a_caller_that_does_not_come_stops_the_program_not_the_guardian() {
    run(async {
        let guardian = guardian().await;
        let waiting = guardian.spawn(shell("head -c 1000000 /dev/zero | tr '\\0' a; echo end")).await.unwrap();
        let (stdout, _, _) = run_step(&guardian, shell("echo other")).await;
        assert_eq!(stdout, "other\n");
        let (stdout, _, ended) = finish(waiting).await;
        assert_eq!((stdout.len(), ended.drained), (1_000_004, true));
    });
}

fn a_grandchild_that_keeps_stdout_open_does_not_delay_the_end() {
    run(async {
        let guardian = guardian().await;
        let begun = std::time::Instant::now();
        let (stdout, _, ended) = run_step(&guardian, shell("setsid sleep 1000 & sleep 1000 & echo done")).await;
        assert_eq!(stdout, "done\n");
        assert_eq!((ended.status, ended.leftovers_killed, ended.drained), (EndStatus::Exited(0), 2, true));
        assert!(begun.elapsed() < std::time::Duration::from_secs(1), "{:?}", begun.elapsed());
    });
}

fn a_stranger_that_keeps_stdout_open_delays_the_end_by_a_second_and_costs_nothing() {
    run(async {
        let guardian = guardian().await;
        let mut running = guardian
            .spawn(shell("trap 'echo last words; exit 5' TERM; echo ready; while :; do sleep 1000 & wait; done"))
            .await
            .unwrap();
        wait_for(&mut running, "ready").await;
        let stranger = std::fs::OpenOptions::new().write(true).open(format!("/proc/{}/fd/1", running.pid())).unwrap();
        running.signal(prunella_process::Signal::TERM);
        let begun = std::time::Instant::now();
        let (stdout, _, ended) = finish(running).await;
        drop(stranger);
        assert_eq!((stdout.as_str(), ended.status, ended.drained), ("last words\n", EndStatus::Exited(5), false));
        assert!(begun.elapsed() < std::time::Duration::from_secs(5), "{:?}", begun.elapsed());
    });
}

fn both_streams_are_told_apart() {
    run(async {
        let guardian = guardian().await;
        let (stdout, stderr, _) = run_step(&guardian, shell("echo out; echo err >&2; echo out2")).await;
        assert_eq!((stdout.as_str(), stderr.as_str()), ("out\nout2\n", "err\n"));
    });
}
