//! Starting steps: what they find, and what is said when they cannot be started.

use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use prunella_process::{EndStatus, Guardian, GuardianOptions, ProcessError, ProcessIdentity, Remedy, SpawnProblem};

use crate::support::{ENGINE_ARG, Engine, command, guardian, options, run, run_step, shell, store, write_file};

crate::tests![
    a_step_finds_exactly_its_environment_directory_and_an_empty_input,
    a_step_leads_a_group_of_its_own_outside_the_engines_session,
    ignored_and_blocked_signals_do_not_reach_a_step,
    a_command_is_looked_for_in_the_steps_own_path,
    a_command_that_cannot_start_says_why,
    a_command_too_large_is_refused_and_the_guardian_lives,
    a_program_that_is_no_guardian_is_an_error,
    options_by_default_start_the_running_program_itself,
    two_hundred_steps_at_once_all_end,
    the_guardian_is_known_by_number_and_start,
    a_guardian_serves_a_runtime_with_threads,
    bytes_that_make_no_sense_do_not_stop_the_guardian,
];

fn a_step_finds_exactly_its_environment_directory_and_an_empty_input() {
    run(async {
        let guardian = guardian().await;
        let folder = tempfile::tempdir().unwrap();
        let mut spec = command(["env"]);
        spec.env.push(("ODD".into(), "a b\nc".into()));
        spec.env.push(("PRUNELLA_ATTEMPT_ID".into(), "of an outer engine".into()));
        let (stdout, _, ended) = run_step(&guardian, spec).await;
        let mut lines: Vec<_> = stdout.lines().filter(|line| !line.starts_with("PATH=")).collect();
        lines.sort_unstable();
        assert_eq!(lines, ["ODD=a b", &format!("PRUNELLA_ATTEMPT_ID={}/run/key/1", store()), "c"]);
        assert_eq!(ended.status, EndStatus::Exited(0));

        let mut spec = shell("pwd -P; readlink /proc/self/fd/0; cat; ls /proc/self/fd | wc -l; echo to stderr >&2");
        spec.cwd = folder.path().canonicalize().unwrap();
        let cwd = spec.cwd.display().to_string();
        let (stdout, stderr, _) = run_step(&guardian, spec).await;
        // Three streams and the one with which `ls` reads the folder: nothing of the guardian's is inherited.
        assert_eq!(stdout, format!("{cwd}\n/dev/null\n4\n"));
        assert_eq!(stderr, "to stderr\n");
    });
}

fn a_step_leads_a_group_of_its_own_outside_the_engines_session() {
    run(async {
        let guardian = guardian().await;
        let (stdout, _, _) = run_step(&guardian, shell("echo $$; cut -d' ' -f5,6 /proc/$$/stat")).await;
        let numbers: Vec<u32> = stdout.split_whitespace().map(|word| word.parse().unwrap()).collect();
        assert_eq!(numbers, [numbers[0], numbers[0], guardian.identity().pid]);
        // Read where the step's was read: in a container the session's leader may have no number here, which reads as 0.
        let own = std::fs::read_to_string("/proc/self/stat").unwrap();
        let own: u32 = own.rsplit(") ").next().unwrap().split(' ').nth(3).unwrap().parse().unwrap();
        assert_ne!(own, guardian.identity().pid);
    });
}

fn ignored_and_blocked_signals_do_not_reach_a_step() {
    // As under nohup: the engine itself was started with signals ignored.
    let script = "grep -E '^Sig(Blk|Ign)' /proc/self/status";
    let ignoring = format!(
        "trap '' HUP INT TERM QUIT USR1; exec /proc/{}/exe {ENGINE_ARG} {} \"$0\"",
        std::process::id(),
        store()
    );
    let mut engine = Engine::start_by(Command::new("/bin/sh").arg("-c").arg(ignoring).arg(script));
    let mut text = String::new();
    std::io::Read::read_to_string(&mut engine.output, &mut text).unwrap();
    assert_eq!(text.lines().count(), 2, "{text}");
    for line in text.lines() {
        let signals = u64::from_str_radix(line.split_whitespace().nth(1).unwrap(), 16).unwrap();
        // 32 and 33 are the C library's own; its posix_spawn leaves them ignored in every program.
        assert_eq!(signals & !(0b11 << 31), 0, "{text}");
    }
}

fn a_command_is_looked_for_in_the_steps_own_path() {
    run(async {
        let guardian = guardian().await;
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("bin")).unwrap();
        write_file(&folder.path().join("bin/greet"), "#!/bin/sh\necho \"hello from $0\"\n", 0o755);
        let mut spec = command(["greet"]);
        spec.cwd = folder.path().to_owned();
        spec.env = vec![("PATH".into(), format!("/nowhere:{}/bin", folder.path().display()).into())];
        let (stdout, _, _) = run_step(&guardian, spec.clone()).await;
        assert_eq!(stdout, format!("hello from {}/bin/greet\n", folder.path().display()));

        spec.argv = vec!["bin/greet".into()];
        spec.env = vec![];
        let (stdout, _, _) = run_step(&guardian, spec).await;
        assert!(stdout.ends_with("bin/greet\n"), "{stdout}");
    });
}

fn a_command_that_cannot_start_says_why() {
    run(async {
        let guardian = guardian().await;
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        write_file(&at("plain"), "data", 0o644);
        write_file(&at("lost"), "#!/no/such/interpreter\n", 0o755);
        std::fs::create_dir(at("folder")).unwrap();
        let problem = async |words: &[&str], cwd: std::path::PathBuf| {
            let mut spec = command([]);
            spec.argv = words.iter().map(Into::into).collect();
            spec.cwd = cwd;
            match guardian.spawn(spec).await {
                Err(error @ ProcessError::Spawn { .. }) => {
                    assert_eq!(error.remedy(), Remedy::Fix);
                    let ProcessError::Spawn { problem, .. } = error else { unreachable!() };
                    problem
                }
                other => panic!("{words:?}: {other:?}"),
            }
        };
        let here = || folder.path().to_owned();
        assert_eq!(problem(&[], here()).await, SpawnProblem::NoCommand);
        let missing = problem(&["no-such-command"], here()).await;
        assert!(matches!(missing, SpawnProblem::CommandNotFound { searched } if searched.contains("/usr/bin")));
        let missing = problem(&["./nothing"], here()).await;
        assert!(matches!(missing, SpawnProblem::CommandNotFound { searched } if searched.ends_with("/nothing")));
        assert_eq!(problem(&["true"], at("gone")).await, SpawnProblem::DirectoryMissing { cwd: at("gone") });
        assert_eq!(problem(&["true"], at("plain")).await, SpawnProblem::DirectoryMissing { cwd: at("plain") });
        assert_eq!(problem(&["./plain"], here()).await, SpawnProblem::NotExecutable { path: at("./plain") });
        assert_eq!(problem(&["./folder"], here()).await, SpawnProblem::NotExecutable { path: at("./folder") });
        assert_eq!(problem(&["./lost"], here()).await, SpawnProblem::InterpreterMissing { path: at("./lost") });
        assert_eq!(problem(&["echo", "a\0b"], here()).await, SpawnProblem::NulByte);
        let long = "x".repeat(200_000);
        assert_eq!(problem(&["echo", &long], here()).await, SpawnProblem::TooLong);
        let (stdout, _, _) = run_step(&guardian, shell("echo alive")).await;
        assert_eq!(stdout, "alive\n");
    });
}

fn a_command_too_large_is_refused_and_the_guardian_lives() {
    run(async {
        let guardian = guardian().await;
        let mut spec = command(["true"]);
        spec.env.push(("BIG".into(), "x".repeat(9 << 20).into()));
        let error = guardian.spawn(spec.clone()).await.unwrap_err();
        assert!(matches!(error, ProcessError::TooLarge { limit, .. } if limit == 8 << 20));
        // Larger than the socket's buffer: sent in pieces, refused by the system.
        spec.env = vec![("BIG".into(), "x".repeat(7 << 20).into())];
        let error = guardian.spawn(spec).await.unwrap_err();
        assert!(
            matches!(
                error,
                ProcessError::Spawn { problem: SpawnProblem::CommandNotFound { .. } | SpawnProblem::TooLong, .. }
            ),
            "{error:?}"
        );
        assert_eq!(run_step(&guardian, shell("exit 4")).await.2.status, EndStatus::Exited(4));
    });
}

fn a_program_that_is_no_guardian_is_an_error() {
    run(async {
        for (exe, argument) in [("/bin/true", ""), ("/no/such/program", ""), ("/bin/sh", "-c")] {
            // The shell answers with six bytes that are a frame, but no greeting, and would stay.
            let args = vec![argument.into(), "printf '\\002\\000\\000\\000A\\000' >&0; exec sleep 1000".into()];
            let wrong = GuardianOptions { exe: exe.into(), args };
            let error = Guardian::start(wrong).await.unwrap_err();
            assert!(matches!(error, ProcessError::GuardianNotStarted { .. }), "{error:?}");
        }
    });
}

fn options_by_default_start_the_running_program_itself() {
    assert_eq!(GuardianOptions::default(), options());
}

fn two_hundred_steps_at_once_all_end() {
    run(async {
        let guardian = guardian().await;
        let mut steps = Vec::new();
        for number in 0..200u32 {
            let guardian = guardian.clone();
            steps.push(tokio::spawn(async move {
                let script = format!("echo {number}; exit {}", number % 7);
                (number, run_step(&guardian, shell(&script)).await)
            }));
        }
        for step in steps {
            let (number, (stdout, _, ended)) = step.await.unwrap();
            assert_eq!(stdout, format!("{number}\n"));
            assert_eq!(ended.status, EndStatus::Exited((number % 7).try_into().unwrap()));
            assert!(ended.drained && ended.leftovers_killed == 0, "{ended:?}");
        }
    });
}

fn the_guardian_is_known_by_number_and_start() {
    run(async {
        let guardian = guardian().await;
        let identity = guardian.identity();
        assert!(identity.alive());
        assert!(!ProcessIdentity { start_ticks: identity.start_ticks + 1, ..identity }.alive());
        assert!(ProcessIdentity::own().unwrap().alive());
        guardian.stop().await;
        assert!(!identity.alive());
    });
}

fn a_guardian_serves_a_runtime_with_threads() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let guardian = guardian().await;
        let steps: Vec<_> = (0..20)
            .map(|_| {
                let guardian = guardian.clone();
                tokio::spawn(async move { run_step(&guardian, shell("echo x")).await.0 })
            })
            .collect();
        for step in steps {
            assert_eq!(step.await.unwrap(), "x\n");
        }
    });
}

fn bytes_that_make_no_sense_do_not_stop_the_guardian() {
    use std::io::{Read, Write};
    let (mut ours, theirs) = std::os::unix::net::UnixStream::pair().unwrap();
    ours.set_read_timeout(Some(crate::support::DEADLINE)).unwrap();
    let mut child = Command::new("/proc/self/exe")
        .args(options().args)
        .stdin(Stdio::from(std::os::fd::OwnedFd::from(theirs)))
        .process_group(0)
        .spawn()
        .unwrap();
    // Kind 64 greets, kind 65 answers what made no sense.
    let expect = |ours: &mut std::os::unix::net::UnixStream, kind: u8| {
        let mut frame = [0; 6];
        ours.read_exact(&mut frame).unwrap();
        assert_eq!(frame, [2, 0, 0, 0, kind, 0]);
    };
    expect(&mut ours, 64);
    let oversized = [(9u32 << 20).to_le_bytes().as_slice(), &[1, 2], &vec![7; (9 << 20) - 2]].concat();
    let spawn_without_descriptors = [&[6, 0, 0, 0, 1, 2][..], b"junk"].concat();
    for bytes in
        [&[1, 0, 0, 0, 3][..], &[2, 0, 0, 0, 99, 0], &[3, 0, 0, 0, 3, 0, 5], &spawn_without_descriptors, &oversized]
    {
        ours.write_all(bytes).unwrap();
        expect(&mut ours, 65);
    }
    assert!(child.try_wait().unwrap().is_none(), "the guardian lives");
    drop(ours);
    assert!(child.wait().unwrap().success(), "it ends well when the engine goes");
}
