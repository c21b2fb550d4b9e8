//! What the tests share: a runtime, a guardian, steps as shell scripts, and a pipe that tells when a tree is dead.

use std::ffi::OsString;
use std::future::Future;
use std::io::{BufRead, BufReader, Read};
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use prunella_process::{Ended, GUARDIAN_ARG, Guardian, GuardianOptions, ProcessEvent, Running, SpawnSpec, Stream};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

pub type Test = (&'static str, fn());

/// Names a test after its function.
#[macro_export]
macro_rules! tests {
    ($($name:ident),* $(,)?) => {
        pub const TESTS: &[$crate::support::Test] = &[$((stringify!($name), $name as fn())),*];
    };
}

/// Longer than anything here takes on a busy machine; only a failing test gets there.
pub const DEADLINE: Duration = Duration::from_secs(30);

pub const ENGINE_ARG: &str = "engine-for-tests";

/// Runs a test's future on a current-thread runtime, and fails it at the deadline.
pub fn run(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async { tokio::time::timeout(DEADLINE, test).await.expect("the test takes too long") });
}

pub fn options() -> GuardianOptions {
    GuardianOptions { exe: PathBuf::from("/proc/self/exe"), args: vec![GUARDIAN_ARG.into()] }
}

pub async fn guardian() -> Guardian {
    Guardian::start(options()).await.unwrap()
}

/// The first component of the attempt ids: one for each run of the tests, since a sweep finds the whole machine's.
pub fn store() -> &'static str {
    STORE.get_or_init(|| format!("store-{}", std::process::id()))
}

static STORE: std::sync::OnceLock<String> = std::sync::OnceLock::new();

pub fn path_variable() -> (OsString, OsString) {
    ("PATH".into(), "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".into())
}

pub fn command<const N: usize>(words: [&str; N]) -> SpawnSpec {
    SpawnSpec {
        attempt_id: format!("{}/run/key/1", store()),
        argv: words.into_iter().map(OsString::from).collect(),
        env: vec![path_variable()],
        cwd: std::env::temp_dir(),
        memory_limit: None,
        read_only: Vec::new(),
    }
}

pub fn shell(script: &str) -> SpawnSpec {
    command(["/bin/sh", "-c", script])
}

/// All that a step wrote, and how it ended.
pub async fn finish(mut running: Running) -> (String, String, Ended) {
    let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
    let mut ended = None;
    while let Some(event) = running.next().await {
        assert!(ended.is_none(), "nothing follows the end");
        match event {
            ProcessEvent::Output { stream: Stream::Stdout, bytes } => stdout.extend_from_slice(&bytes),
            ProcessEvent::Output { stream: Stream::Stderr, bytes } => stderr.extend_from_slice(&bytes),
            ProcessEvent::Usage(_) => (),
            ProcessEvent::Exited(end) => ended = Some(end),
        }
    }
    (String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap(), ended.unwrap())
}

pub async fn run_step(guardian: &Guardian, spec: SpawnSpec) -> (String, String, Ended) {
    finish(guardian.spawn(spec).await.unwrap()).await
}

/// Waits until the step has written this text.
pub async fn wait_for(running: &mut Running, text: &str) {
    let mut seen = String::new();
    while !seen.contains(text) {
        match running.next().await {
            Some(ProcessEvent::Output { bytes, .. }) => seen.push_str(std::str::from_utf8(&bytes).unwrap()),
            Some(ProcessEvent::Usage(_)) => (),
            other => panic!("{other:?} before {text:?}; seen {seen:?}"),
        }
    }
}

/// A named pipe that processes open for writing and keep open in all their descendants: it ends when all are dead.
pub struct Lifeline {
    folder: tempfile::TempDir,
    file: std::fs::File,
    text: String,
}

impl Lifeline {
    pub fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lifeline");
        rustix::fs::mknodat(rustix::fs::CWD, &path, rustix::fs::FileType::Fifo, rustix::fs::Mode::RWXU, 0).unwrap();
        let file = std::fs::OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(&path).unwrap();
        Self { folder, file, text: String::new() }
    }

    pub fn path(&self) -> PathBuf {
        self.folder.path().join("lifeline")
    }

    /// A script that takes hold of the lifeline and keeps it as descriptor 9.
    pub fn held_by(&self, script: &str) -> String {
        format!("exec 9>{}; {script}", self.path().display())
    }

    /// Waits until `count` lines have come, one for each process that should be there.
    pub fn wait_lines(&mut self, count: usize) -> Vec<String> {
        while self.text.lines().count() < count || !self.text.ends_with('\n') {
            assert!(self.read(), "all writers ended, seen {:?}", self.text);
        }
        self.text.lines().map(str::to_owned).collect()
    }

    /// Waits until nobody holds it any more.
    pub fn wait_dead(&mut self) {
        while self.read() {}
    }

    /// Says whether somebody still holds it.
    pub fn held(&self) -> bool {
        let mut polled = [PollFd::new(&self.file, PollFlags::IN)];
        poll(&mut polled, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })).unwrap();
        !polled[0].revents().contains(PollFlags::HUP)
    }

    /// Fails, saying who it is, if somebody still holds it.
    pub fn assert_dead(&self, when: &str) {
        if !self.held() {
            return;
        }
        let read = |path: PathBuf| String::from_utf8_lossy(&std::fs::read(path).unwrap_or_default()).replace('\0', " ");
        let mut holders = String::new();
        for process in std::fs::read_dir("/proc").unwrap().filter_map(|entry| Some(entry.ok()?.path())) {
            let holds = |fd: std::fs::DirEntry| std::fs::read_link(fd.path()).is_ok_and(|to| to == self.path());
            let open = std::fs::read_dir(process.join("fd")).into_iter().flatten().flatten().any(holds);
            if open && !process.ends_with(std::process::id().to_string()) {
                holders += &["stat", "cmdline", "environ"].map(|file| read(process.join(file))).join("| ");
                holders += "\n";
            }
        }
        panic!("{when}: something lives\n{holders}held after the look: {}", self.held());
    }

    fn read(&mut self) -> bool {
        wait_readable(&self.file);
        let mut chunk = [0; 4096];
        match self.file.read(&mut chunk) {
            Ok(0) => false,
            Ok(length) => {
                self.text.push_str(std::str::from_utf8(&chunk[..length]).unwrap());
                true
            }
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => true,
            Err(error) => panic!("{error}"),
        }
    }
}

fn wait_readable(file: impl AsFd) {
    let timeout = Timespec { tv_sec: DEADLINE.as_secs().try_into().unwrap(), tv_nsec: 0 };
    let ready = poll(&mut [PollFd::new(&file, PollFlags::IN)], Some(&timeout)).unwrap();
    assert!(ready > 0, "nothing came before the deadline");
}

/// An engine in a process of its own, to be killed.
pub struct Engine {
    pub child: Child,
    pub guardian: u32,
    pub output: BufReader<std::process::ChildStdout>,
}

impl Engine {
    /// Starts an engine that runs the script as a step and says which process its guardian is.
    pub fn start(script: &str) -> Self {
        Self::start_by(Command::new("/proc/self/exe").args([ENGINE_ARG, store(), script]))
    }

    pub fn start_by(command: &mut Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).stdin(Stdio::null()).spawn().unwrap();
        let mut output = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        output.read_line(&mut line).unwrap();
        Self { child, guardian: line.trim().parse().unwrap(), output }
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The engine's `main`: runs one step, or that step for ever, and prints what it says.
pub fn engine_main(arguments: Vec<String>) -> ! {
    STORE.set(arguments[0].clone()).unwrap();
    run_forever(async move {
        let guardian = guardian().await;
        println!("{}", guardian.identity().pid);
        loop {
            let mut running = guardian.spawn(shell(&arguments[1])).await.unwrap();
            while let Some(event) = running.next().await {
                if let ProcessEvent::Output { bytes, .. } = event {
                    print!("{}", std::str::from_utf8(&bytes).unwrap());
                }
            }
            if arguments.get(2).is_none() {
                break;
            }
        }
    });
    std::process::exit(0)
}

fn run_forever(engine: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap().block_on(engine);
}

pub fn pid(number: u32) -> rustix::process::Pid {
    rustix::process::Pid::from_raw(number.try_into().unwrap()).unwrap()
}

pub fn kill(number: u32, signal: rustix::process::Signal) {
    rustix::process::kill_process(pid(number), signal).unwrap();
}

pub fn own_executable() -> String {
    std::fs::read_link("/proc/self/exe").unwrap().to_str().unwrap().to_owned()
}

pub fn write_file(path: &Path, text: &str, mode: u32) {
    use std::io::Write;
    let mut file = std::fs::OpenOptions::new().create(true).write(true).truncate(true).mode(mode).open(path).unwrap();
    file.write_all(text.as_bytes()).unwrap();
}

/// Waits until the process is dead, told by its own descriptor.
pub fn wait_gone(identity: &prunella_process::ProcessIdentity) {
    if let Ok(held) = rustix::process::pidfd_open(pid(identity.pid), rustix::process::PidfdFlags::empty())
        && identity.alive()
    {
        wait_readable(&held);
    }
    assert!(!identity.alive());
}

/// How many living children a process has.
pub fn children_of(parent: u32) -> usize {
    let processes = std::fs::read_dir("/proc").unwrap();
    let stats = processes.filter_map(|entry| std::fs::read_to_string(entry.ok()?.path().join("stat")).ok());
    let parents = stats.filter_map(|line| line.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse::<u32>().ok());
    parents.filter(|number| *number == parent).count()
}
