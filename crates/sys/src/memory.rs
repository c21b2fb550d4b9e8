//! How memory that is free goes back to the machine.

/// From so many bytes on a buffer is the machine's own again once it is free.
#[cfg(target_env = "gnu")]
const LARGE: libc::c_int = 1 << 20;

/// Lets large buffers go back to the machine as soon as they are free; to be called before the first is made.
///
/// By itself the C library of GNU (mallopt(3), `M_MMAP_THRESHOLD`) takes the first large buffer that becomes free as a sign that there
/// will be more, and keeps those that follow, for each thread in another place: a transfer that holds 100 MiB at a time has 300.
pub fn give_large_buffers_back() {
    #[cfg(target_env = "gnu")]
    #[expect(unsafe_code, reason = "a call of the C library")]
    // SAFETY: it sets two numbers of the allocator, under the allocator's lock.
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, LARGE);
        libc::mallopt(libc::M_TRIM_THRESHOLD, LARGE);
    }
}
