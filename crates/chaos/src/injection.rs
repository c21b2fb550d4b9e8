//! A system call made in another process, by the interface for debuggers; on x86-64 alone.
#![cfg_attr(target_arch = "x86_64", allow(unsafe_code))]

/// Maps so many bytes of fresh pages, all of them there, into a process that is ours.
///
/// Whether it succeeds or not, the process does not go on properly: whoever calls this kills it, if nobody else does. What it has
/// mapped goes with it.
///
/// # Errors
/// It may not be traced, or is gone; on other processors always, and then it was not touched.
#[cfg(not(target_arch = "x86_64"))]
pub(crate) fn map(_pid: u32, _bytes: u64) -> std::io::Result<()> {
    Err(std::io::ErrorKind::Unsupported.into())
}

#[cfg(target_arch = "x86_64")]
pub(crate) use x86_64::map;

#[cfg(target_arch = "x86_64")]
mod x86_64 {
    use std::{fs::OpenOptions, io, mem::MaybeUninit, os::unix::fs::FileExt, ptr};

    /// The instruction `syscall`.
    const SYSCALL: [u8; 2] = [0x0f, 0x05];

    /// As the module says.
    pub(crate) fn map(pid: u32, bytes: u64) -> io::Result<()> {
        let number = libc::pid_t::try_from(pid).map_err(io::Error::other)?;
        let size = usize::try_from(bytes).map_err(io::Error::other)?;
        // One thread does all of it: a process is traced by a thread.
        trace(libc::PTRACE_SEIZE, number, 0)?;
        let mapped = mapped(number, size);
        // It runs on into nothing, or stands still, until it is killed: a signal for that reaches it in either state.
        let _gone = trace(libc::PTRACE_DETACH, number, libc::SIGSTOP as usize);
        mapped
    }

    fn mapped(pid: libc::pid_t, size: usize) -> io::Result<()> {
        trace(libc::PTRACE_INTERRUPT, pid, 0)?;
        stopped(pid)?;
        let mut registers = registers(pid)?;
        let memory = OpenOptions::new().write(true).open(format!("/proc/{pid}/mem"))?;
        memory.write_all_at(&SYSCALL, registers.rip)?;
        // mmap(0, size, READ | WRITE, PRIVATE | ANONYMOUS | POPULATE, -1, 0)
        registers.orig_rax = u64::MAX;
        registers.rax = libc::SYS_mmap as u64;
        registers.rdi = 0;
        registers.rsi = size as u64;
        registers.rdx = (libc::PROT_READ | libc::PROT_WRITE) as u64;
        registers.r10 = (libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_POPULATE) as u64;
        registers.r8 = u64::MAX;
        registers.r9 = 0;
        // SAFETY: `registers` is a valid user_regs_struct, which is what the request reads.
        check(unsafe { libc::ptrace(libc::PTRACE_SETREGS, pid, ptr::null_mut::<u8>(), &raw const registers) })?;
        trace(libc::PTRACE_SINGLESTEP, pid, 0)?;
        // Killed in the middle of it by the kernel, it has taken what it could.
        stopped(pid)
    }

    fn registers(pid: libc::pid_t) -> io::Result<libc::user_regs_struct> {
        let mut registers = MaybeUninit::<libc::user_regs_struct>::zeroed();
        // SAFETY: the request fills the whole structure, and zeroes are a valid one.
        unsafe {
            check(libc::ptrace(libc::PTRACE_GETREGS, pid, ptr::null_mut::<u8>(), registers.as_mut_ptr()))?;
            Ok(registers.assume_init())
        }
    }

    fn trace(request: libc::c_uint, pid: libc::pid_t, data: usize) -> io::Result<()> {
        // SAFETY: these requests take no address, and as data a number.
        check(unsafe { libc::ptrace(request, pid, ptr::null_mut::<u8>(), data) })
    }

    /// Waits until the process that is traced stands still, or has ended.
    fn stopped(pid: libc::pid_t) -> io::Result<()> {
        let mut status = 0;
        loop {
            // SAFETY: `status` is a valid place for a number.
            let waited = unsafe { libc::waitpid(pid, &raw mut status, libc::__WALL) };
            if waited == pid {
                return Ok(());
            }
            let error = io::Error::last_os_error();
            if error.kind() != io::ErrorKind::Interrupted {
                return Err(error);
            }
        }
    }

    fn check(result: libc::c_long) -> io::Result<()> {
        if result == -1 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }

    #[cfg(test)]
    mod tests {
        use std::process::Command;

        use super::*;

        #[test]
        fn a_process_that_sleeps_has_as_much_memory_as_was_mapped_into_it() {
            let mut child = Command::new("sleep").arg("1000").spawn().unwrap();
            let mapped = map(child.id(), 64 << 20);
            let status = std::fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap_or_default();
            child.kill().unwrap();
            child.wait().unwrap();
            match mapped {
                // Where debuggers are not allowed, `chaos` says that there was nothing to hit.
                Err(error) => assert_eq!(error.kind(), io::ErrorKind::PermissionDenied, "{error}"),
                Ok(()) => {
                    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
                    let kib: u64 = resident.split_whitespace().next().unwrap().parse().unwrap();
                    assert!(kib >= 64 << 10, "{kib}");
                }
            }
        }
    }
}
