//! What accelerators say when they fail.

use prunella_model::Class;

use crate::cause::{clean, exceptions};

/// An accelerator's memory is used up: CUDA, HIP, PyTorch, JAX/XLA, TensorFlow, CuPy.
const MEMORY: [&str; 10] = [
    "cuda out of memory",
    "cuda error: out of memory",
    "cuda_error_out_of_memory",
    "cudaerrormemoryallocation",
    "hip out of memory",
    "hip error: out of memory",
    "hiperroroutofmemory",
    "torch.outofmemoryerror",
    "torch.cuda.outofmemoryerror",
    "oom when allocating tensor",
];

/// An accelerator or its interconnect failed.
const FAULT: [&str; 12] = [
    "fallen off the bus",
    "nccl error: unhandled system error",
    "unhandled system error, nccl",
    "ncclsystemerror",
    "ncclremoteerror",
    "rccl error: unhandled system error",
    "uncorrectable ecc error",
    "cuda error: uncorrectable",
    "cuda error: an illegal instruction was encountered",
    "cuda error: hardware stack error",
    "cuda error: no cuda-capable device is detected",
    "hip error: no rocm-capable device is detected",
];

/// Xids that mean hardware: double-bit ECC, row remapping and retirement, NVLink, off the bus, contained and uncontained.
const XIDS: [&str; 7] = ["48", "63", "64", "74", "79", "94", "95"];

/// Returns the accelerator's class, if the last lines of stderr show one.
///
/// Memory counts only where it ended the program: in an exception or panic, or anywhere if there is none; a message
/// that was caught and survived is no evidence. Faults count anywhere, since they are printed by libraries.
pub fn message_class(stderr_tail: &[String]) -> Option<Class> {
    let lines: Vec<String> = stderr_tail.iter().map(|line| clean(line).to_lowercase()).collect();
    let ended_by = exceptions(stderr_tail);
    let memory = |line: &str| MEMORY.iter().any(|sign| line.contains(sign));
    let out_of_memory = if ended_by.is_empty() {
        lines.iter().any(|line| memory(line))
    } else {
        ended_by.iter().any(|line| memory(&line.to_lowercase()))
    };
    if out_of_memory {
        return Some(Class::GpuMemory);
    }
    lines.iter().any(|line| FAULT.iter().any(|sign| line.contains(sign)) || is_xid(line)).then_some(Class::GpuFault)
}

/// `NVRM: Xid (PCI:0000:3b:00): 79, pid=…`
fn is_xid(line: &str) -> bool {
    let Some((_, after)) = line.split_once("xid") else { return false };
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
        assert_eq!(class(&["Xid: 64"]), Some(Class::GpuFault));
        assert_eq!(
            class(&["torch.distributed.DistBackendError: NCCL error: unhandled system error"]),
            Some(Class::GpuFault)
        );
    }
}
