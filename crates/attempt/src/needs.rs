//! What a step needs that its machine either has or will never have.

use prunella_model::{ByteSize, Step};
use prunella_sys::Sys;

/// Returns what this machine lacks for the step, with what to do about it; nothing if it can run.
pub fn lacks(sys: &Sys, step: &Step) -> Option<String> {
    let needed = step.resources.shm?;
    let there = ByteSize(sys.machine.shared_memory_total().unwrap_or(0));
    (there < needed).then(|| {
        format!(
            "it needs {needed} of shared memory, `/dev/shm` has {there}: enlarge it (`mount -o remount,size={} /dev/shm`, \
             a container's `--shm-size`), or ask for less",
            needed.bytes()
        )
    })
}
