//! Use, and what is over its limit.

use std::time::Duration;

use prunella_process::{EndStatus, ProcessEvent};

use crate::support::{guardian, own_executable, run, run_step, shell};

pub const EAT_ARG: &str = "eat-for-tests";

crate::tests![
    a_tree_over_its_memory_limit_is_killed_with_evidence,
    several_processes_count_together,
    shared_memory_counts_once,
    a_tree_below_its_limit_is_left_alone,
    use_is_reported_about_once_a_second,
    peak_memory_and_time_are_told_at_the_end,
];

/// A step: takes so many MiB, says so, and stays until its input ends or for ever.
pub fn eat_main(arguments: Vec<String>) -> ! {
    let mebibytes: usize = arguments[0].parse().unwrap();
    let mut eaten = Vec::new();
    for _ in 0..mebibytes {
        eaten.push(vec![1u8; 1 << 20]);
    }
    println!("ate {}", eaten.len());
    match arguments.get(1).map(String::as_str) {
        Some("fork") => share(&eaten),
        Some("leave") => std::process::exit(0),
        _ => loop {
            std::thread::park();
        },
    }
}

/// Makes four processes that share what was eaten; each looks at it for a while, then all end.
#[allow(unsafe_code)]
fn share(eaten: &[Vec<u8>]) -> ! {
    for _ in 0..3 {
        // SAFETY: the program has one thread; the child only reads memory and exits.
        if unsafe { libc::fork() } == 0 {
            break;
        }
    }
    let begun = std::time::Instant::now();
    let mut sum = 0usize;
    while begun.elapsed() < Duration::from_millis(600) {
        sum = sum.wrapping_add(eaten.iter().map(|piece| usize::from(piece[sum % piece.len()])).sum::<usize>());
    }
    std::hint::black_box(sum);
    // SAFETY: waits for the children, if this is the parent, so that the tree ends as one.
    while unsafe { libc::wait(std::ptr::null_mut()) } > 0 {}
    std::process::exit(0)
}

fn eat(rest: &str) -> String {
    format!("{} {EAT_ARG} {rest}", own_executable())
}

fn a_tree_over_its_memory_limit_is_killed_with_evidence() {
    run(async {
        let guardian = guardian().await;
        let mut spec = shell(&eat("100000"));
        spec.memory_limit = Some(64 << 20);
        let (_, _, ended) = run_step(&guardian, spec).await;
        assert_eq!(ended.status, EndStatus::Signaled(libc::SIGKILL));
        let evidence = ended.out_of_memory.unwrap();
        assert_eq!(evidence.limit, 64 << 20);
        assert!(evidence.seen >= evidence.limit && ended.memory_peak >= evidence.seen, "{ended:?}");
        assert!(evidence.cgroup || ended.sent == [libc::SIGKILL], "{ended:?}");
    });
}

fn several_processes_count_together() {
    run(async {
        let guardian = guardian().await;
        let mut spec = shell(&format!("{} & setsid {} & {}", eat("40"), eat("40"), eat("40")));
        spec.memory_limit = Some(100 << 20);
        let (_, _, ended) = run_step(&guardian, spec).await;
        assert!(ended.out_of_memory.is_some_and(|evidence| evidence.seen >= 100 << 20), "{ended:?}");
    });
}

fn shared_memory_counts_once() {
    run(async {
        let guardian = guardian().await;
        let mut spec = shell(&format!("exec {}", eat("60 fork")));
        spec.memory_limit = Some(120 << 20);
        let (stdout, _, ended) = run_step(&guardian, spec).await;
        assert_eq!((ended.status, ended.out_of_memory), (EndStatus::Exited(0), None), "{stdout}");
    });
}

fn a_tree_below_its_limit_is_left_alone() {
    run(async {
        let guardian = guardian().await;
        let mut spec = shell(&eat("20 leave"));
        spec.memory_limit = Some(100 << 20);
        let (_, _, ended) = run_step(&guardian, spec).await;
        assert_eq!((ended.status, ended.out_of_memory), (EndStatus::Exited(0), None));
    });
}

fn use_is_reported_about_once_a_second() {
    run(async {
        let guardian = guardian().await;
        // The child works: its time and bytes count for the tree.
        let script = "(while :; do echo x; done > /dev/null) & echo ready; wait";
        let mut running = guardian.spawn(shell(script)).await.unwrap();
        let mut reports = Vec::new();
        let begun = std::time::Instant::now();
        while reports.len() < 2 {
            match running.next().await.unwrap() {
                ProcessEvent::Usage(usage) => reports.push(usage),
                ProcessEvent::Output { .. } => (),
                ProcessEvent::Exited(ended) => panic!("{ended:?}"),
            }
        }
        let took = begun.elapsed();
        assert!(took >= Duration::from_millis(1900), "{took:?}");
        assert_eq!(running.usage(), reports[1]);
        assert!(reports[1].cpu > reports[0].cpu, "{reports:?}");
        assert!(reports[1].io_bytes > reports[0].io_bytes, "{reports:?}");
        assert!(reports[0].memory > 0, "{reports:?}");
        running.kill_tree();
    });
}

fn peak_memory_and_time_are_told_at_the_end() {
    run(async {
        let guardian = guardian().await;
        // Waited for by the shell, so it is in what the shell has used.
        let (_, _, ended) = run_step(&guardian, shell(&format!("{}; true", eat("50 leave")))).await;
        assert!((50 << 20..200 << 20).contains(&ended.memory_peak), "{ended:?}");
        assert!(ended.cpu > Duration::ZERO, "{ended:?}");
    });
}
