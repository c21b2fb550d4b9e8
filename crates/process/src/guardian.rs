//! The guardian's side: one thread around `poll`, no runtime, no allocation that grows with what steps do.

mod attempt;
mod census;
mod cgroup;
mod channel;
mod launch;
mod measure;
mod warden;

/// Returns where the kernel itself would keep the memory limits of steps, if such a place can be written here.
pub fn memory_cgroup() -> Option<std::path::PathBuf> {
    cgroup::CgroupRoot::find(std::process::id()).map(cgroup::CgroupRoot::into_path)
}

/// Runs the guardian on the socket that is its standard input; never returns.
///
/// The binary calls it before anything else when its first argument is [`crate::GUARDIAN_ARG`]. Exit code 0: the
/// engine went and everything was killed; 70: it could not set itself up.
pub fn guardian_main() -> ! {
    let code = match warden::Warden::set_up() {
        Ok(warden) => {
            warden.serve();
            0
        }
        Err(error) => {
            eprintln!("guardian: {error}");
            70
        }
    };
    std::process::exit(code)
}
