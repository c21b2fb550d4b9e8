//! Environments in the cache: built once, whole or not at all. An interpreter of a few lines of shell stands for Python.

use std::fs::{OpenOptions, TryLockError};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use prunella_environment::{EnvironmentError, Progress, PythonLock, PythonRequest, Remedy, ensure, lock};
use prunella_sys::{MapEnv, RealMachine, Sys};

const ID: &str = r#"{"executable": "EXECUTABLE", "version": "3.12.1", "implementation": "cpython",
    "abi": "cpython-312-x86_64-linux-gnu", "platform": "linux-x86_64"}"#;
const REPORT: &str = r#"{"install": [{"metadata": {"name": "six", "version": "1.17.0"},
    "download_info": {"url": "https://host/six.whl", "archive_info": {"hashes": {"sha256": "aa"}}}}]}"#;
/// Tells a copy of this program, started by a test, where its world is.
const CHILD: &str = "PRUNELLA_TEST_WORLD";

/// A folder with a fake interpreter, requirements and a cache.
struct World {
    dir: PathBuf,
    sys: Sys,
    _temporary: Option<tempfile::TempDir>,
}

impl World {
    fn new() -> Self {
        let temporary = tempfile::tempdir().unwrap();
        let mut world = Self::at(temporary.path().canonicalize().unwrap());
        world._temporary = Some(temporary);
        world.sys.fs.create_dir(&world.dir.join("bin")).unwrap();
        world.place_python("bin/python3");
        world.put("id.json", ID);
        world.put("report.json", REPORT);
        world.put("requirements.txt", "six\n");
        world
    }

    fn at(dir: PathBuf) -> Self {
        let env = MapEnv::new(&dir).with("PATH", dir.join("bin").display().to_string());
        let env = env.with("FAKE", dir.display().to_string());
        let sys = Sys { env: Arc::new(env), machine: Arc::new(RealMachine::new()), ..Sys::real() };
        Self { dir, sys, _temporary: None }
    }

    /// Copies by another process: a program that this one has open for writing could not be started.
    fn place_python(&self, name: &str) {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fake-python");
        assert!(Command::new("cp").arg(source).arg(self.dir.join(name)).status().unwrap().success());
    }

    fn put(&self, name: &str, text: &str) {
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).open(self.dir.join(name)).unwrap();
        file.write_all(text.as_bytes()).unwrap();
    }

    fn request(&self) -> PythonRequest {
        PythonRequest { requirements: self.dir.join("requirements.txt"), python: None }
    }

    fn cache(&self) -> PathBuf {
        self.dir.join("cache")
    }

    fn lock(&self) -> Result<PythonLock, EnvironmentError> {
        lock(&self.sys, &self.request(), &self.cache(), &mut |_| {})
    }

    fn ensure(&self) -> Result<prunella_environment::Environment, EnvironmentError> {
        ensure(&self.sys, &self.lock()?, &self.cache(), &mut |_| {})
    }

    fn prefix(&self) -> PathBuf {
        self.cache().join(self.lock().unwrap().digest().hex())
    }

    fn log(&self) -> Vec<String> {
        let text = self.sys.fs.read(&self.dir.join("log")).unwrap_or_default();
        String::from_utf8(text).unwrap().lines().map(str::to_owned).collect()
    }

    fn built(&self) -> usize {
        self.log().iter().filter(|line| *line == "install").count()
    }

    /// Ensures in another process, which is expected to be killed.
    fn ensure_in_a_process_that_is_killed(&self) {
        let status = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "the_other_process"])
            .env(CHILD, &self.dir)
            .status()
            .unwrap();
        assert_eq!(std::os::unix::process::ExitStatusExt::signal(&status), Some(9), "{status}");
    }
}

/// Not a promise of its own: what [`World::ensure_in_a_process_that_is_killed`] starts.
#[test]
fn the_other_process() {
    if let Some(dir) = Sys::real().env.var(CHILD) {
        let _ = World::at(dir.into()).ensure();
        panic!("the installer should have killed this process");
    }
}

#[test]
fn many_callers_at_once_build_an_environment_once() {
    let world = World::new();
    std::thread::scope(|scope| {
        let callers: Vec<_> = (0..6).map(|_| scope.spawn(|| world.ensure().unwrap())).collect();
        for caller in callers {
            assert_eq!(caller.join().unwrap().prefix, world.prefix());
        }
    });
    assert_eq!(world.built(), 1);
    assert_eq!(world.log().iter().filter(|line| *line == "venv pip-").count(), 1);
}

#[test]
fn a_builder_killed_while_installing_leaves_nothing_that_is_used() {
    let world = World::new();
    world.put("on_install", "touch \"$FAKE/half\" \"$(dirname \"$0\")/half\"; kill -9 $PPID");
    world.lock().unwrap();
    world.ensure_in_a_process_that_is_killed();
    let prefix = world.prefix();
    assert!(world.sys.fs.metadata(&prefix.join("bin/python")).unwrap().is_some(), "killed too early to mean anything");
    assert!(world.sys.fs.metadata(&prefix.join(".complete")).unwrap().is_none());
    world.put(&format!("cache/{}/half", prefix.file_name().unwrap().to_str().unwrap()), "");

    world.put("on_install", "");
    assert_eq!(world.ensure().unwrap().prefix, prefix);
    assert_eq!(world.built(), 2);
    assert!(world.sys.fs.metadata(&prefix.join("half")).unwrap().is_none(), "the half-made one was built upon");
    assert!(world.sys.fs.metadata(&prefix.join(".complete")).unwrap().is_some());
}

#[test]
fn an_installer_that_outlives_its_killed_builder_is_waited_for() {
    let world = World::new();
    let fifo = world.dir.join("fifo");
    assert!(Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    world.put("on_install", "kill -9 $PPID; cat \"$FAKE/fifo\"; echo orphan ends >>\"$FAKE/log\"");
    let locked = world.lock().unwrap();
    world.ensure_in_a_process_that_is_killed();
    let guard = OpenOptions::new().read(true).open(world.prefix().with_extension("lock")).unwrap();
    assert!(matches!(guard.try_lock(), Err(TryLockError::WouldBlock)), "nothing keeps others out");
    drop(guard);

    world.put("on_install", "");
    let mut release = |progress| {
        if progress == Progress::Waiting {
            OpenOptions::new().write(true).open(&fifo).unwrap();
        }
    };
    ensure(&world.sys, &locked, &world.cache(), &mut release).unwrap();
    let log = world.log();
    let tail: Vec<&str> = log.iter().map(String::as_str).skip_while(|line| *line != "install").collect();
    assert_eq!(tail[1], "resolve");
    let ends = tail.iter().position(|line| *line == "orphan ends").unwrap();
    assert_eq!(tail.iter().rposition(|line| *line == "install"), Some(tail.len() - 1));
    assert!(tail[ends..].iter().any(|line| line.starts_with("venv ")), "built before the orphan ended: {tail:?}");
}

#[test]
fn a_failed_installation_leaves_nothing_and_tells_no_credential() {
    let world = World::new();
    world.put("on_install", "echo 'ERROR: gcc failed for https://me:s3cret@host/x' >&2; exit 1");
    let error = world.ensure().unwrap_err();
    assert!(matches!(error, EnvironmentError::Install { tool: "pip", .. }), "{error:?}");
    assert!(
        error.to_string().contains("gcc failed for https://***@host/x") && !format!("{error:?}").contains("s3cret")
    );
    assert!(world.sys.fs.metadata(&world.prefix()).unwrap().is_none());
    world.put("on_install", "");
    world.ensure().unwrap();
}

#[test]
fn installers_messages_become_errors_that_say_what_to_do() {
    let world = World::new();
    let mut cases = Vec::new();
    for (said, remedy) in [
        ("ERROR: No matching distribution found for six==99", Remedy::Fix),
        ("WARNING: Retrying: NewConnectionError\nERROR: No matching distribution found for six", Remedy::Retry),
        ("OSError: [Errno 28] No space left on device", Remedy::Retry),
        ("ERROR: Operation cancelled by user", Remedy::Stop),
    ] {
        world.put("on_resolve", &format!("echo '{said}' >&2; exit 1"));
        let error = world.lock().unwrap_err();
        assert_eq!(error.remedy(), remedy, "{error:?}");
        assert!(!error.help().is_empty());
        cases.push(error);
    }
    assert!(matches!(&cases[0], EnvironmentError::Unresolvable { message, .. } if message.contains("six==99")));
    assert!(matches!(&cases[1], EnvironmentError::Network { .. }));
}

#[test]
fn an_interpreter_that_was_replaced_by_another_version_is_not_used_under_the_old_lock() {
    let world = World::new();
    let locked = world.lock().unwrap();
    ensure(&world.sys, &locked, &world.cache(), &mut |_| {}).unwrap();

    // The same version, installed anew: nothing to do.
    assert!(
        Command::new("touch").args(["-d", "2001-01-01"]).arg(world.dir.join("bin/python3")).status().unwrap().success()
    );
    ensure(&world.sys, &locked, &world.cache(), &mut |_| {}).unwrap();
    assert_eq!(world.built(), 1);

    world.put("id.json", &ID.replace("3.12.1", "3.12.9"));
    match ensure(&world.sys, &locked, &world.cache(), &mut |_| {}) {
        Err(EnvironmentError::InterpreterDiffers { locked, tried }) => {
            assert_eq!(locked.version, "3.12.1");
            assert!(tried.iter().any(|tried| tried.contains("3.12.9")), "{tried:?}");
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_environment_whose_interpreter_is_gone_is_built_anew() {
    let world = World::new();
    world.place_python("bin/python");
    world.ensure().unwrap();
    world.sys.fs.remove_file(&world.dir.join("bin/python3")).unwrap();
    let environment = world.ensure().unwrap();
    assert_eq!(world.built(), 2);
    assert!(std::fs::metadata(environment.bin.join("python")).is_ok(), "its interpreter is a dangling link");
}

#[test]
fn a_python_that_does_not_work_is_passed_over_and_named_if_none_does() {
    let world = World::new();
    let file = world.dir.join("bin/python3.12");
    world.sys.fs.symlink(Path::new("/bin/false"), &file).unwrap();
    let request = |python: &str| PythonRequest { python: Some(python.into()), ..world.request() };
    let found = lock(&world.sys, &request("3.12"), &world.cache(), &mut |_| {}).unwrap();
    assert_eq!(found.interpreter.version, "3.12.1");

    let error = lock(&world.sys, &request("3.13"), &world.cache(), &mut |_| {}).unwrap_err();
    assert!(error.to_string().contains("Python 3.13") && error.to_string().contains("bin/python3`: 3.12.1"), "{error}");
    let error = lock(&world.sys, &request("/absent/python"), &world.cache(), &mut |_| {}).unwrap_err();
    assert!(error.to_string().contains("/absent/python"), "{error}");
}

#[test]
fn requirements_that_are_empty_ask_no_index() {
    let world = World::new();
    world.put("requirements.txt", "# nothing\n");
    assert!(world.lock().unwrap().packages.is_empty());
    assert_eq!(world.log(), Vec::<String>::new());
    world.ensure().unwrap();
    assert_eq!(world.built(), 0);
}

#[test]
fn a_lock_is_current_until_requirements_or_version_change() {
    let world = World::new();
    let locked = world.lock().unwrap();
    assert!(locked.is_current(&world.sys, &world.request()).unwrap());
    let other = |python: &str| PythonRequest { python: Some(python.into()), ..world.request() };
    assert!(locked.is_current(&world.sys, &other("3.12")).unwrap());
    assert!(!locked.is_current(&world.sys, &other("3.13")).unwrap());
    world.put("requirements.txt", "six<2\n");
    assert!(!locked.is_current(&world.sys, &world.request()).unwrap());
}

#[test]
fn a_missing_requirements_file_is_named() {
    let world = World::new();
    world.sys.fs.remove_file(&world.dir.join("requirements.txt")).unwrap();
    let error = world.lock().unwrap_err();
    assert!(error.to_string().contains("requirements.txt"), "{error}");
    assert_eq!(error.remedy(), Remedy::Fix);
}
