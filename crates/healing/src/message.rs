//! What accelerators say when they fail.

use prunella_model::Class;

use crate::cause::{clean, exceptions};

/// An accelerator's memory is used up: CUDA, HIP, PyTorch, JAX/XLA, TensorFlow, TensorRT, CuPy, RAPIDS.
const MEMORY: [&str; 32] = [
    "cuda out of memory",
    "cuda error: out of memory",
    "cuda error in allocate: 2 (out of memory)",
    "defaultallocator::allocate: 2 (out of memory)",
    "cuda failure 2: out of memory",
    "cuda runtime error (2) : out of memory",
    "cuda runtime error (2): out of memory",
    "cuda failed with error 2 out of memory",
    "cuda_error_out_of_memory",
    "cudaerrormemoryallocation",
    "cublas_status_alloc_failed",
    "cudnn_status_alloc_failed",
    "cusolver_status_alloc_failed",
    "cumemalloc failed: out of memory",
    "hip out of memory",
    "hip error: out of memory",
    "hip_error_outofmemory",
    "hiperroroutofmemory",
    "mps backend out of memory",
    "xpu out of memory",
    "ur_result_error_out_of_device_memory",
    "torch.outofmemoryerror",
    "torch.cuda.outofmemoryerror",
    "cupy.cuda.memory.outofmemoryerror",
    "out_of_memory: cuda error",
    "rmm_error_out_of_memory",
    "oom when allocating tensor",
    "resource_exhausted: out of memory",
    "resource_exhausted: failed to allocate",
    "resource exhausted: out of memory",
    "resource exhausted: failed to allocate",
    "error code 2: outofmemory",
];

/// The machine's own memory, in words that begin like the above.
const HOST_MEMORY: [&str; 4] = ["defaultcpuallocator", "device:cpu:", "by allocator cpu", "by allocator mklcpu"];

/// An accelerator or its interconnect failed.
const FAULT: [&str; 11] = [
    "fallen off the bus",
    "nccl error: unhandled system error",
    "unhandled system error, nccl",
    "unhandled system error (run with nccl",
    "ncclsystemerror",
    "rccl error: unhandled system error",
    "uncorrectable ecc error",
    "cuda_error_ecc_uncorrectable",
    "cuda error: uncorrectable",
    "cuda error: an illegal instruction was encountered",
    "cuda error: hardware stack error",
];

/// There is no device where there was to be one: only as the end of a program, since others go on without.
const NO_DEVICE: [&str; 8] = [
    "no cuda-capable device is detected",
    "no rocm-capable device is detected",
    "no cuda gpus are available",
    "no hip gpus are available",
    "hiperrornodevice",
    "cuda error: device(s) is/are busy or unavailable",
    "all cuda-capable devices are busy or unavailable",
    "cuda error: cuda-capable device(s) is/are busy or unavailable",
];

/// The other end of the interconnect is gone, or the library lost its way: an echo, if a program failed in words of its own.
const REMOTE: [&str; 4] = [
    "ncclremoteerror",
    "remote process exited or there was a network error",
    "ncclinternalerror",
    "internal error - please report this issue to the nccl developers",
];

/// Exceptions of programs that say nothing about accelerators.
const OWN: [&str; 18] = [
    "assertionerror",
    "attributeerror",
    "eoferror",
    "filenotfounderror",
    "importerror",
    "indexerror",
    "json.decoder.jsondecodeerror",
    "keyboardinterrupt",
    "keyerror",
    "memoryerror",
    "modulenotfounderror",
    "nameerror",
    "notimplementederror",
    "permissionerror",
    "typeerror",
    "unicodedecodeerror",
    "valueerror",
    "zerodivisionerror",
];

/// Xids that mean hardware: double-bit ECC, row remapping and retirement, NVLink, off the bus, contained and uncontained.
const XIDS: [&str; 7] = ["48", "63", "64", "74", "79", "94", "95"];

/// Returns the accelerator's class, if the last lines of stderr show one.
///
/// Memory counts only where it ended the program: in an exception or panic, or anywhere if there is none; a message
/// that was caught and survived is no evidence. Faults count anywhere, since they are printed by libraries, unless the
/// program failed in words of its own: then only what the driver itself says counts.
pub fn message_class(stderr_tail: &[String]) -> Option<Class> {
    let lines: Vec<String> = stderr_tail.iter().map(|line| clean(line).to_lowercase()).collect();
    let ended_by: Vec<String> = exceptions(stderr_tail).iter().map(|line| line.to_lowercase()).collect();
    if out_of_memory(&lines, &ended_by) {
        return Some(Class::GpuMemory);
    }
    let own = ended_by.iter().any(|line| is_own(line));
    let ends = if ended_by.is_empty() { &lines } else { &ended_by };
    let fault = |line: &String| {
        let by_driver = line.contains("nvrm:");
        is_xid(line) || ((!own || by_driver) && any(&FAULT, line)) || (!own && any(&REMOTE, line))
    };
    // A library that looks for a device and goes on without one says so in the same words.
    let no_device = |line: &String| any(&NO_DEVICE, line) && !line.contains("failed call to cuinit");
    (lines.iter().any(fault) || ends.iter().any(no_device)).then_some(Class::GpuFault)
}

fn any(signs: &[&str], line: &str) -> bool {
    signs.iter().any(|sign| line.contains(sign))
}

fn out_of_memory(lines: &[String], ended_by: &[String]) -> bool {
    let memory = |line: &String| any(&MEMORY, line) && !any(&HOST_MEMORY, line);
    if ended_by.is_empty() {
        // Advice about the other kind of memory often stands beside a failure of this one.
        return lines.iter().any(memory) && !lines.iter().any(|line| any(&HOST_MEMORY, line));
    }
    // TensorFlow says what was exhausted some lines after its exception.
    let elsewhere = ended_by.iter().any(|line| line.contains("resourceexhaustederror") && !any(&MEMORY, line));
    ended_by.iter().any(memory) || (elsewhere && lines.iter().any(memory))
}

/// Returns whether an exception is the program's own: its name is one of the language, whatever it says.
fn is_own(exception: &str) -> bool {
    let name = exception.split(':').next().unwrap_or_default().trim();
    // Launchers put `[rank0]: ` before every line; that was cut off with the traceback's own.
    let name = name.rsplit_once(char::is_whitespace).map_or(name, |(_, name)| name);
    OWN.contains(&name)
}

/// `NVRM: Xid (PCI:0000:3b:00): 79, pid=…`
///
/// Databases have xids as well: the line has to name the driver, the bus or the device.
fn is_xid(line: &str) -> bool {
    if !["nvrm", "pci:", "gpu", "nvidia"].iter().any(|sign| line.contains(sign)) {
        return false;
    }
    line.match_indices("xid").any(|(at, sign)| {
        let begins = !line[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_');
        begins && is_xid_number(&line[at + sign.len()..])
    })
}

fn is_xid_number(after: &str) -> bool {
    let after = after.trim_start();
    let number = match after.strip_prefix('(') {
        Some(inside) => inside.split_once(')').map_or("", |(_, rest)| rest),
        None => after,
    };
    let digits: String = number.trim_start_matches([':', ' ', '=']).chars().take_while(char::is_ascii_digit).collect();
    XIDS.contains(&digits.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn class(lines: &[&str]) -> Option<Class> {
        message_class(&lines.iter().map(|line| (*line).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn gpu_memory_is_known_by_what_frameworks_say() {
        for line in [
            "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB.",
            "RuntimeError: CUDA error: out of memory",
            "torch.cuda.OutOfMemoryError: HIP out of memory. Tried to allocate 20.00 MiB",
            "E0101 CUDA_ERROR_OUT_OF_MEMORY: out of memory",
        ] {
            assert_eq!(class(&[line]), Some(Class::GpuMemory), "{line}");
        }
        assert_eq!(class(&["MemoryError: out of memory"]), None, "host memory is another class");
    }

    #[test]
    fn a_gpu_memory_message_that_was_survived_is_no_evidence() {
        let tail = [
            "CUDA out of memory, halving the batch",
            "Traceback (most recent call last):",
            "  File \"train.py\", line 3, in <module>",
            "ValueError: labels and inputs differ",
        ];
        assert_eq!(class(&tail), None);
    }

    #[test]
    fn only_the_xids_that_mean_hardware_count() {
        assert_eq!(class(&["NVRM: Xid (PCI:0000:3b:00): 79, pid=12, GPU has fallen off"]), Some(Class::GpuFault));
        assert_eq!(class(&["NVRM: Xid (PCI:0000:3b:00): 48, pid=1"]), Some(Class::GpuFault));
        assert_eq!(class(&["NVRM: Xid (PCI:0000:3b:00): 13, Graphics Exception"]), None, "13 is the program's own");
        assert_eq!(class(&["NVRM: Xid (PCI:0000:3b:00): 790"]), None);
        assert_eq!(class(&["GPU 3: Xid: 64"]), Some(Class::GpuFault));
        assert_eq!(class(&["could not serialize access: xid: 64"]), None, "databases have xids as well");
        assert_eq!(
            class(&["torch.distributed.DistBackendError: NCCL error: unhandled system error"]),
            Some(Class::GpuFault)
        );
    }
}
