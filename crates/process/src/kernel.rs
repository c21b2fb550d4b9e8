//! The few system calls that rustix does not offer safely.
#![allow(unsafe_code)]

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::time::Duration;

/// How a child ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    Code(i32),
    Signal(i32),
}

/// What a reaped child and the children it waited for have used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Reaped {
    pub exit: Exit,
    pub cpu: Duration,
    pub peak_rss: u64,
}

/// What a look at one's ended children shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Children {
    /// There are no children at all, so nothing descends from the caller.
    None,
    /// There are children, and none has ended.
    Running,
    /// This child has ended and is not reaped yet.
    Ended(u32),
}

/// Looks for an ended child and leaves it a zombie.
pub(crate) fn peek_children() -> Children {
    loop {
        let mut info = MaybeUninit::<libc::siginfo_t>::zeroed();
        // SAFETY: `info` is a valid place for one siginfo_t, and zeroes are a valid one.
        let (result, info) = unsafe {
            let result = libc::waitid(libc::P_ALL, 0, info.as_mut_ptr(), libc::WEXITED | libc::WNOHANG | libc::WNOWAIT);
            (result, info.assume_init())
        };
        if result == 0 {
            // SAFETY: waitid fills si_pid, or leaves it zero if no child has ended.
            let pid = unsafe { info.si_pid() };
            return match u32::try_from(pid) {
                Ok(pid) if pid > 0 => Children::Ended(pid),
                _ => Children::Running,
            };
        }
        if io::Error::last_os_error().kind() != io::ErrorKind::Interrupted {
            return Children::None;
        }
    }
}

/// Reaps one ended child; none if it is not there or has not ended.
pub(crate) fn reap(pid: u32) -> Option<Reaped> {
    let pid = libc::pid_t::try_from(pid).ok()?;
    let mut status = 0;
    let mut usage = MaybeUninit::<libc::rusage>::zeroed();
    // SAFETY: both pointers are valid for one value of their type; zeroes are a valid rusage.
    let (result, usage) = unsafe {
        let result = libc::wait4(pid, &mut status, libc::WNOHANG, usage.as_mut_ptr());
        (result, usage.assume_init())
    };
    if result != pid {
        return None;
    }
    let exit = if libc::WIFSIGNALED(status) {
        Exit::Signal(libc::WTERMSIG(status))
    } else {
        Exit::Code(libc::WEXITSTATUS(status))
    };
    Some(Reaped {
        exit,
        cpu: time(usage.ru_utime) + time(usage.ru_stime),
        peak_rss: u64::try_from(usage.ru_maxrss).unwrap_or(0) * 1024,
    })
}

fn time(value: libc::timeval) -> Duration {
    Duration::new(u64::try_from(value.tv_sec).unwrap_or(0), u32::try_from(value.tv_usec).unwrap_or(0) * 1000)
}

/// Blocks every signal, gives those that would end or stop the guardian a handler that does nothing, and returns a
/// descriptor that becomes readable when a child ends.
///
/// A handler instead of ignoring: an ignored signal stays ignored in what is spawned, a handled one is reset. Blocking
/// as well, so that the end of a child is an event like any other; [`with_signals_open`] must be around every spawn,
/// since the mask is inherited.
pub(crate) fn take_signals() -> io::Result<OwnedFd> {
    // Those that the processor raises keep their default action: returning from their handler would raise them again.
    // SIGPIPE stays ignored as the runtime set it, which also resets it in what it spawns.
    const KEPT: [i32; 8] = [
        libc::SIGSEGV,
        libc::SIGBUS,
        libc::SIGFPE,
        libc::SIGILL,
        libc::SIGTRAP,
        libc::SIGSYS,
        libc::SIGABRT,
        libc::SIGPIPE,
    ];
    // SAFETY: the sets are initialised by sigfillset/sigemptyset before use; a zeroed sigaction is SIG_DFL with an
    // empty mask; the handler touches nothing; the descriptor returned by signalfd is owned by nobody else.
    unsafe {
        let mut all = MaybeUninit::<libc::sigset_t>::uninit();
        libc::sigfillset(all.as_mut_ptr());
        if libc::sigprocmask(libc::SIG_SETMASK, all.as_ptr(), std::ptr::null_mut()) != 0 {
            return Err(io::Error::last_os_error());
        }
        let default = MaybeUninit::<libc::sigaction>::zeroed().assume_init();
        let handled = libc::sigaction {
            sa_sigaction: do_nothing as extern "C" fn(libc::c_int) as libc::sighandler_t,
            sa_flags: libc::SA_RESTART,
            ..default
        };
        for signal in 1..=libc::SIGRTMAX() {
            let action = if KEPT.contains(&signal) { &default } else { &handled };
            // The two numbers that cannot be changed, and libc's own, answer with an error.
            if signal != libc::SIGPIPE {
                libc::sigaction(signal, action, std::ptr::null_mut());
            }
        }
        let mut child = MaybeUninit::<libc::sigset_t>::uninit();
        libc::sigemptyset(child.as_mut_ptr());
        libc::sigaddset(child.as_mut_ptr(), libc::SIGCHLD);
        let fd = libc::signalfd(-1, child.as_ptr(), libc::SFD_CLOEXEC | libc::SFD_NONBLOCK);
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(OwnedFd::from_raw_fd(fd))
    }
}

extern "C" fn do_nothing(_: libc::c_int) {}

/// Runs `spawn` with an empty signal mask, which the spawned program inherits.
///
/// Meanwhile a child's end may go to the handler instead of the descriptor: look for ended children afterwards.
pub(crate) fn with_signals_open<T>(spawn: impl FnOnce() -> T) -> T {
    // SAFETY: both sets are initialised before use; the program has one thread.
    unsafe {
        let mut none = MaybeUninit::<libc::sigset_t>::uninit();
        libc::sigemptyset(none.as_mut_ptr());
        libc::sigprocmask(libc::SIG_SETMASK, none.as_ptr(), std::ptr::null_mut());
    }
    let spawned = spawn();
    // SAFETY: as above.
    unsafe {
        let mut all = MaybeUninit::<libc::sigset_t>::uninit();
        libc::sigfillset(all.as_mut_ptr());
        libc::sigprocmask(libc::SIG_SETMASK, all.as_ptr(), std::ptr::null_mut());
    }
    spawned
}

/// Closes every descriptor but the three streams: what the engine's parents left open is none of the steps' business.
///
/// To be called first thing in `main`, before anything owns a descriptor.
pub(crate) fn close_inherited() {
    // SAFETY: nothing in this process owns one of these descriptors yet. An old kernel answers with an error, and
    // then they stay open, as in any program.
    unsafe {
        libc::syscall(libc::SYS_close_range, 3 as libc::c_uint, libc::c_uint::MAX, 0 as libc::c_uint);
    }
}

/// Makes the program start in a session of its own.
pub(crate) fn in_own_session(command: &mut Command) {
    // SAFETY: the closure makes one system call and touches no memory.
    unsafe {
        command.pre_exec(|| rustix::process::setsid().map(drop).map_err(io::Error::from));
    }
}

/// Makes the program join the control group whose `cgroup.procs` is given before it runs its first instruction.
pub(crate) fn in_cgroup(command: &mut Command, procs: OwnedFd) {
    // SAFETY: the closure makes one system call with a descriptor it owns and a static buffer.
    unsafe {
        command.pre_exec(move || {
            let written = libc::write(procs.as_raw_fd(), b"0".as_ptr().cast(), 1);
            if written == 1 { Ok(()) } else { Err(io::Error::last_os_error()) }
        });
    }
}
