//! What `/proc` says about processes, read with few system calls and no trust in its being there.

use std::collections::HashMap;
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::time::Duration;

use rustix::fs::{Mode, OFlags};

/// One line of `/proc/PID/stat`, the fields that matter here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stat {
    pub state: u8,
    pub ppid: u32,
    pub pgrp: u32,
    pub session: u32,
    /// User and system time, own and of children it waited for, in clock ticks.
    pub cpu_ticks: u64,
    pub start_ticks: u64,
    pub rss_pages: u64,
}

impl Stat {
    /// Reads a process's line; none if there is no such process.
    pub(crate) fn read(pid: u32) -> Option<Self> {
        let mut buffer = [0u8; 1024];
        let length = read_small(&path(pid, "stat"), &mut buffer)?;
        Self::parse(&buffer[..length])
    }

    /// Parses the line. The command name may hold anything, so counting starts after its last parenthesis.
    pub(crate) fn parse(line: &[u8]) -> Option<Self> {
        let after = line.iter().rposition(|byte| *byte == b')')? + 1;
        let text = std::str::from_utf8(&line[after..]).ok()?;
        let mut fields = text.split_ascii_whitespace();
        let state = *fields.next()?.as_bytes().first()?;
        let ppid = fields.next()?.parse().ok()?;
        let pgrp = fields.next()?.parse::<i64>().ok()?;
        let session = fields.next()?.parse::<i64>().ok()?;
        // Fields 14 to 17 follow seven that do not matter here.
        let mut fields = fields.skip(7);
        let mut cpu_ticks = 0u64;
        for _ in 0..4 {
            cpu_ticks = cpu_ticks.saturating_add(u64::try_from(fields.next()?.parse::<i64>().ok()?).unwrap_or(0));
        }
        let mut fields = fields.skip(4);
        let start_ticks = fields.next()?.parse().ok()?;
        let rss_pages = fields.nth(1)?.parse::<i64>().ok()?;
        Some(Self {
            state,
            ppid,
            pgrp: u32::try_from(pgrp).unwrap_or(0),
            session: u32::try_from(session).unwrap_or(0),
            cpu_ticks,
            start_ticks,
            rss_pages: u64::try_from(rss_pages).unwrap_or(0),
        })
    }

    /// Says whether the process executes nothing any more.
    pub(crate) fn dead(&self) -> bool {
        matches!(self.state, b'Z' | b'X' | b'x')
    }

    pub(crate) fn cpu(&self) -> Duration {
        ticks(self.cpu_ticks)
    }

    pub(crate) fn rss(&self) -> u64 {
        self.rss_pages * rustix::param::page_size() as u64
    }
}

/// Returns clock ticks as a duration.
pub(crate) fn ticks(count: u64) -> Duration {
    let per_second = rustix::param::clock_ticks_per_second().max(1);
    Duration::from_nanos(count.saturating_mul(1_000_000_000 / per_second))
}

/// Returns all processes, zombies too, so that nobody escapes by forking ahead: if a process lives on at the end, then
/// that process is among them, or one of those that it descends from is.
///
/// A listing alone does not give that: who is listed may fork and end before its line is read, and its child, not
/// listed, is never looked at. Therefore the numbers given meanwhile are probed, until the last one stands still.
///
/// # Errors
/// If `/proc` cannot be listed.
pub(crate) fn snapshot() -> io::Result<HashMap<u32, Stat>> {
    const AT_ONCE: u32 = 4096;
    loop {
        let begin = last_pid().filter(|last| *last > 0);
        let mut stats: HashMap<u32, Stat> =
            list()?.into_iter().filter_map(|pid| Some((pid, Stat::read(pid)?))).collect();
        let Some(mut from) = begin else {
            // Nothing tells of new ones but a second listing.
            stats.extend(list()?.into_iter().filter_map(|pid| Some((pid, Stat::read(pid)?))));
            return Ok(stats);
        };
        loop {
            let Some(last) = last_pid() else { return Ok(stats) };
            if last == from && !adopted(&mut stats) {
                return Ok(stats);
            }
            if last < from || last - from > AT_ONCE {
                // The numbers came round, or came in masses: once more from the beginning.
                break;
            }
            for pid in from + 1..=last {
                if !stats.contains_key(&pid)
                    && let Some(stat) = Stat::read(pid)
                    && is_process(pid)
                {
                    stats.insert(pid, stat);
                }
            }
            from = last;
        }
    }
}

/// Reads again the lines that name a parent who is not there: it may have died and handed its children on. Says
/// whether that was so; if not, the parent is there and hidden from us.
fn adopted(stats: &mut HashMap<u32, Stat>) -> bool {
    let orphans: Vec<(u32, u32)> = stats
        .iter()
        .filter(|(_, stat)| stat.ppid != 0 && !stats.contains_key(&stat.ppid))
        .map(|(pid, stat)| (*pid, stat.ppid))
        .collect();
    let mut moved = false;
    for (pid, parent) in orphans {
        match Stat::read(pid) {
            Some(stat) => {
                moved |= stat.ppid != parent;
                stats.insert(pid, stat);
            }
            None => {
                stats.remove(&pid);
            }
        }
    }
    moved
}

fn list() -> io::Result<Vec<u32>> {
    let mut pids = Vec::with_capacity(256);
    for entry in std::fs::read_dir("/proc")? {
        let name = entry?.file_name();
        if let Some(pid) = name.to_str().and_then(|name| name.parse().ok()) {
            pids.push(pid);
        }
    }
    Ok(pids)
}

/// What a process's initial environment says about a variable.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Variable {
    Set(Vec<u8>),
    /// It is not set, for certain.
    Unset,
    /// The process is in the middle of an exec, or was while we read: another look tells.
    UnderWay,
    /// The environment may not be read: the process is another user's.
    Hidden,
}

/// Looks up a variable in a process's initial environment.
///
/// An exec swaps the environment under the reader: an open file then ends early, anywhere. So what is not found is
/// believed to be unset only if as much was read as there is.
pub(crate) fn variable(pid: u32, name: &str) -> Variable {
    let read = match environment(pid) {
        Ok(environment) => environment,
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => return Variable::Hidden,
        // It has no memory, or is gone.
        Err(_) => Vec::new(),
    };
    match find_variable(&read, name) {
        Some(value) => Variable::Set(value.to_vec()),
        None if environment_size(pid) == Some(read.len() as u64) => Variable::Unset,
        None => Variable::UnderWay,
    }
}

fn environment(pid: u32) -> io::Result<Vec<u8>> {
    let mut file = std::fs::File::open(path(pid, "environ"))?;
    let mut environment = Vec::new();
    let mut chunk = [0u8; 16 << 10];
    loop {
        match file.read(&mut chunk)? {
            0 => return Ok(environment),
            length => environment.extend_from_slice(&chunk[..length]),
        }
    }
}

/// Returns the size of a process's environment in bytes; none in the middle of an exec.
///
/// An exec sets its bounds (fields 50 and 51 of the line), for a moment to the same address, and then, last, the end
/// of the code (field 27).
fn environment_size(pid: u32) -> Option<u64> {
    let mut buffer = [0u8; 1024];
    let length = read_small(&path(pid, "stat"), &mut buffer)?;
    let line = &buffer[..length];
    let after = line.iter().rposition(|byte| *byte == b')')? + 1;
    let fields: Vec<&str> = std::str::from_utf8(&line[after..]).ok()?.split_ascii_whitespace().collect();
    // No memory at all (field 23): it is a thread of the kernel's, or is ending.
    if *fields.get(20)? == "0" {
        return Some(0);
    }
    let at = |index: usize| fields.get(index)?.parse::<u64>().ok().filter(|address| *address > 0);
    let (_, start, end) = (at(24)?, at(47)?, at(48)?);
    end.checked_sub(start)
}

/// Returns a variable's value in a block of assignments, each of which a NUL ends; one cut off is none.
fn find_variable<'a>(environment: &'a [u8], name: &str) -> Option<&'a [u8]> {
    let mut entries = environment.split_inclusive(|byte| *byte == 0);
    entries.find_map(|entry| entry.strip_suffix(b"\0")?.strip_prefix(name.as_bytes())?.strip_prefix(b"="))
}

/// Returns a process's proportional share of memory in bytes.
pub(crate) fn pss(pid: u32) -> Option<u64> {
    let mut buffer = [0u8; 2048];
    let length = read_small(&path(pid, "smaps_rollup"), &mut buffer)?;
    let kib = labelled(&buffer[..length], "Pss:")?;
    Some(kib * 1024)
}

/// Returns the bytes a process and the children it waited for have read and written, whatever they were.
pub(crate) fn io_bytes(pid: u32) -> Option<u64> {
    let mut buffer = [0u8; 512];
    let length = read_small(&path(pid, "io"), &mut buffer)?;
    let text = &buffer[..length];
    Some(labelled(text, "rchar:")?.saturating_add(labelled(text, "wchar:")?))
}

/// Says whether the number is a process's own, not that of one of its threads.
pub(crate) fn is_process(pid: u32) -> bool {
    let mut buffer = [0u8; 512];
    let Some(length) = read_small(&path(pid, "status"), &mut buffer) else { return false };
    labelled(&buffer[..length], "Tgid:") == Some(u64::from(pid))
}

/// Returns the number given last to a process or thread of this pid namespace.
pub(crate) fn last_pid() -> Option<u32> {
    let mut buffer = [0u8; 128];
    let length = read_small("/proc/loadavg", &mut buffer)?;
    let text = std::str::from_utf8(&buffer[..length]).ok()?;
    text.split_ascii_whitespace().last()?.parse().ok()
}

/// Returns the largest process number of this machine.
pub(crate) fn pid_max() -> Option<u32> {
    let mut buffer = [0u8; 32];
    let length = read_small("/proc/sys/kernel/pid_max", &mut buffer)?;
    std::str::from_utf8(&buffer[..length]).ok()?.trim().parse().ok()
}

/// Returns the number that follows a label at the start of a line.
fn labelled(text: &[u8], label: &str) -> Option<u64> {
    text.split(|byte| *byte == b'\n').find_map(|line| {
        let rest = line.strip_prefix(label.as_bytes())?;
        std::str::from_utf8(rest).ok()?.split_ascii_whitespace().next()?.parse().ok()
    })
}

fn path(pid: u32, file: &str) -> String {
    format!("/proc/{pid}/{file}")
}

/// Reads a file that fits the buffer; three system calls, unlike `std::fs::read`.
fn read_small(path: &str, buffer: &mut [u8]) -> Option<usize> {
    let fd =
        rustix::fs::open(std::ffi::OsStr::from_bytes(path.as_bytes()), OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
            .ok()?;
    let mut file = std::fs::File::from(fd);
    // One read is enough: these files are made whole at the first read and are shorter than the buffer.
    file.read(buffer).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_name_with_parentheses_and_spaces_does_not_shift_the_fields() {
        let line =
            b"7 (a) S 99 (b) R 3 5 6 0 -1 4194304 1 2 3 4 10 20 30 40 20 0 1 0 12345 1000 77 18446744073709551615 1 1";
        let stat = Stat::parse(line).unwrap();
        let expected =
            Stat { state: b'R', ppid: 3, pgrp: 5, session: 6, cpu_ticks: 100, start_ticks: 12345, rss_pages: 77 };
        assert_eq!(stat, expected);
    }

    #[test]
    fn a_torn_line_is_no_process() {
        assert_eq!(Stat::parse(b"7 (a) S 1 2"), None);
        assert_eq!(Stat::parse(b""), None);
    }

    #[test]
    fn the_calling_process_is_found_with_its_parent_and_memory() {
        let stat = Stat::read(std::process::id()).unwrap();
        assert_eq!(stat.ppid, std::os::unix::process::parent_id());
        assert!(stat.rss() > 0 && !stat.dead());
        assert!(pss(std::process::id()).unwrap() > 0);
        assert!(io_bytes(std::process::id()).unwrap() > 0);
        assert!(snapshot().unwrap().contains_key(&std::process::id()));
    }

    #[test]
    fn a_thread_is_not_taken_for_a_process() {
        let (hold, held) = std::sync::mpsc::channel::<()>();
        let (tell, told) = std::sync::mpsc::channel();
        let other = std::thread::spawn(move || {
            tell.send(rustix::thread::gettid()).unwrap();
            let _ = held.recv();
        });
        let number = told.recv().unwrap().as_raw_nonzero().get().unsigned_abs();
        assert!(Stat::read(number).is_some(), "threads have a line of their own");
        assert!(!is_process(number) && is_process(std::process::id()));
        drop(hold);
        other.join().unwrap();
    }

    #[test]
    fn a_variable_is_found_by_its_whole_name() {
        let environment = b"A=1\0PRUNELLA_ATTEMPT_IDS=x\0PRUNELLA_ATTEMPT_ID=a=b\0";
        assert_eq!(find_variable(environment, "PRUNELLA_ATTEMPT_ID"), Some(&b"a=b"[..]));
        assert_eq!(find_variable(environment, "PRUNELLA"), None);
        assert_eq!(find_variable(b"", "A"), None);
        assert_eq!(find_variable(b"B=1\0A=cut o", "A"), None, "torn");
    }

    #[test]
    fn a_variable_that_is_not_set_is_not_taken_for_an_exec_under_way() {
        use std::io::BufRead;
        let piped = std::process::Stdio::piped;
        let mut child = std::process::Command::new("/bin/sh")
            .args(["-c", "echo; read line"])
            .env_clear()
            .stdin(piped())
            .stdout(piped())
            .spawn()
            .unwrap();
        // When it speaks its exec is over; when its input ends it goes.
        std::io::BufReader::new(child.stdout.take().unwrap()).read_line(&mut String::new()).unwrap();
        assert_eq!(variable(child.id(), "PATH"), Variable::Unset);
        drop(child.stdin.take());
        child.wait().unwrap();
        assert!(matches!(variable(std::process::id(), "PATH"), Variable::Set(path) if !path.is_empty()));
        assert_eq!(variable(std::process::id(), "NO_SUCH_VARIABLE"), Variable::Unset);
        for pid in
            snapshot().unwrap().into_iter().filter(|(_, stat)| stat.ppid == 2 && !stat.dead()).map(|(pid, _)| pid)
        {
            let answer = variable(pid, "PATH");
            assert!(matches!(answer, Variable::Unset | Variable::Hidden), "a thread of the kernel: {answer:?}");
        }
    }
}
