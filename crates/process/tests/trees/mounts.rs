//! What a step only reads: where the kernel lets us it cannot be written, and elsewhere that is said.
//!
//! They need the right to mount; where it is missing the tests say so and check nothing.

use std::path::{Path, PathBuf};
use std::process::Command;

use prunella_process::{EndStatus, Guardian, GuardianOptions, SpawnSpec};

use crate::support::{Lifeline, finish, guardian, options, run, run_step, shell};

crate::tests![
    what_is_read_only_cannot_be_written_by_any_path_to_it,
    what_is_mounted_below_cannot_be_written_either,
    a_single_file_is_read_only_and_what_lies_beside_it_is_not,
    outside_nothing_is_mounted_and_all_can_be_written,
    a_tree_with_mounts_of_its_own_dies_like_any_other,
    what_cannot_be_made_read_only_is_said_and_the_program_runs,
    without_the_right_to_mount_the_program_runs_and_that_is_said,
];

/// A folder with the folder `data` in it, which a step is to read only.
struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Self {
        let place = Self(tempfile::tempdir().unwrap());
        std::fs::create_dir_all(place.data().join("deep")).unwrap();
        std::fs::write(place.data().join("deep/file"), "as it was").unwrap();
        std::os::unix::fs::symlink(place.data(), place.0.path().join("link")).unwrap();
        place
    }

    fn data(&self) -> PathBuf {
        self.0.path().canonicalize().unwrap().join("data")
    }

    /// A script that runs in the folder beside the data.
    fn script(&self, script: &str, read_only: &[PathBuf]) -> SpawnSpec {
        let mut spec = shell(script);
        spec.cwd = self.0.path().to_owned();
        spec.read_only = read_only.to_vec();
        spec
    }

    fn file(&self) -> String {
        std::fs::read_to_string(self.data().join("deep/file")).unwrap()
    }
}

/// Whether mounts can be made here at all.
fn can_mount() -> bool {
    let can = Command::new("unshare").args(["--mount", "true"]).output().is_ok_and(|done| done.status.success());
    if !can {
        println!("  not checked: nothing can be mounted here");
    }
    can
}

fn is_mounted(path: &Path) -> bool {
    std::fs::read_to_string("/proc/self/mountinfo").unwrap().contains(&*path.to_string_lossy())
}

fn what_is_read_only_cannot_be_written_by_any_path_to_it() {
    if !can_mount() {
        return;
    }
    run(async {
        let (guardian, place) = (guardian().await, Place::new());
        let script = "for way in data link $(pwd)/data /proc/self/cwd/data; do
            cat $way/deep/file > /dev/null || echo cannot read $way
            (echo changed > $way/deep/file) 2> /dev/null && echo wrote $way
            (: > $way/new) 2> /dev/null && echo made in $way
            rm $way/deep/file 2> /dev/null && echo removed in $way
            touch $way/deep/file 2> /dev/null && echo touched in $way
            chmod 777 $way/deep/file 2> /dev/null && echo chmod in $way
            mv $way $way-moved 2> /dev/null && [ $way != link ] && echo moved $way
        done
        echo beside > beside";
        let running = guardian.spawn(place.script(script, &[place.data()])).await.unwrap();
        assert!(running.unprotected().is_none(), "{:?}", running.unprotected());
        let (stdout, stderr, ended) = finish(running).await;
        assert_eq!((stdout.as_str(), ended.status), ("", EndStatus::Exited(0)), "{stderr}");
        assert_eq!(place.file(), "as it was");
        assert_eq!(std::fs::read_to_string(place.0.path().join("beside")).unwrap(), "beside\n");
    });
}

fn what_is_mounted_below_cannot_be_written_either() {
    if !can_mount() {
        return;
    }
    run(async {
        let (guardian, place) = (guardian().await, Place::new());
        let below = place.data().join("below");
        std::fs::create_dir(&below).unwrap();
        let mounted = Command::new("mount").args(["-t", "tmpfs", "none"]).arg(&below).status().unwrap();
        assert!(mounted.success());
        std::fs::write(below.join("file"), "as it was").unwrap();
        let script = "cat data/below/file; (echo changed > data/below/file) 2> /dev/null && echo wrote; true";
        let (stdout, ..) = run_step(&guardian, place.script(script, &[place.data()])).await;
        let unmounted = Command::new("umount").arg(&below).status().unwrap();
        assert_eq!((stdout.as_str(), unmounted.success()), ("as it was", true));
    });
}

fn a_single_file_is_read_only_and_what_lies_beside_it_is_not() {
    if !can_mount() {
        return;
    }
    run(async {
        let (guardian, place) = (guardian().await, Place::new());
        let script =
            "(echo changed >> data/deep/file) 2> /dev/null && echo wrote; cat data/deep/file; echo x > data/deep/y";
        let file = place.data().join("deep/file");
        let (stdout, stderr, ended) = run_step(&guardian, place.script(script, &[file])).await;
        assert_eq!((stdout.as_str(), ended.status), ("as it was", EndStatus::Exited(0)), "{stderr}");
        assert!(place.data().join("deep/y").exists());
    });
}

fn outside_nothing_is_mounted_and_all_can_be_written() {
    if !can_mount() {
        return;
    }
    run(async {
        let (guardian, place) = (guardian().await, Place::new());
        let mut lifeline = Lifeline::new();
        let script = lifeline.held_by("echo here >&9; sleep 1000");
        let running = guardian.spawn(place.script(&script, &[place.data()])).await.unwrap();
        lifeline.wait_lines(1);
        assert!(!is_mounted(&place.data()));
        std::fs::write(place.data().join("deep/file"), "by others").unwrap();
        // Another step without a wish of its own sees no more of it than anybody.
        let (stdout, ..) =
            run_step(&guardian, place.script("echo changed > data/deep/file; cat data/deep/file", &[])).await;
        assert_eq!(stdout, "changed\n");
        drop(running);
        lifeline.wait_dead();
        std::fs::remove_dir_all(place.data()).unwrap();
    });
}

fn a_tree_with_mounts_of_its_own_dies_like_any_other() {
    if !can_mount() {
        return;
    }
    run(async {
        let (guardian, place) = (guardian().await, Place::new());
        let mut lifeline = Lifeline::new();
        let script = lifeline.held_by("setsid sh -c 'setsid sleep 1000 & echo daemon >&9' & wait");
        let (_, _, ended) = run_step(&guardian, place.script(&script, &[place.data()])).await;
        lifeline.wait_dead();
        assert_eq!((ended.survivors, ended.status), (0, EndStatus::Exited(0)));
    });
}

fn what_cannot_be_made_read_only_is_said_and_the_program_runs() {
    run(async {
        let (guardian, place) = (guardian().await, Place::new());
        let missing = place.0.path().join("missing");
        let running = guardian.spawn(place.script("echo ran", &[place.data(), missing])).await.unwrap();
        assert!(running.unprotected().is_some());
        assert_eq!(finish(running).await.0, "ran\n");
        let odd = PathBuf::from("a\0b");
        let running = guardian.spawn(place.script("echo ran", &[odd])).await.unwrap();
        assert_eq!(running.unprotected().map(|error| error.kind()), Some(std::io::ErrorKind::InvalidInput));
        assert_eq!(finish(running).await.0, "ran\n");
    });
}

fn without_the_right_to_mount_the_program_runs_and_that_is_said() {
    if !Command::new("setpriv").arg("--version").output().is_ok_and(|done| done.status.success()) {
        return println!("  not checked: there is no setpriv");
    }
    run(async {
        let place = Place::new();
        let GuardianOptions { args, .. } = options();
        let exe = format!("/proc/{}/exe", std::process::id());
        let drop_it = ["--bounding-set", "-sys_admin", "--inh-caps", "-sys_admin", &exe].map(Into::into);
        let options = GuardianOptions { exe: "setpriv".into(), args: drop_it.into_iter().chain(args).collect() };
        let guardian = Guardian::start(options).await.unwrap();
        let running =
            guardian.spawn(place.script("echo ran; echo more >> data/deep/file", &[place.data()])).await.unwrap();
        assert_eq!(running.unprotected().map(|error| error.kind()), Some(std::io::ErrorKind::PermissionDenied));
        let (stdout, stderr, _) = finish(running).await;
        assert_eq!((stdout.as_str(), stderr.as_str()), ("ran\n", ""));
        assert_eq!(place.file(), "as it wasmore\n");
    });
}
