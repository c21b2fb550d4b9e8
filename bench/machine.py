"""What is measured on: processors, file system, load."""

import fcntl
import os
import platform
import subprocess
import tempfile
import time
from pathlib import Path

FICLONE = 0x40049409
"""The request that lets one file share the blocks of another."""

QUIET = 0.15
"""The share of all processors that others may use before figures are called doubtful."""


def file_system(directory: Path) -> str:
    """Returns the type of the file system that holds `directory`."""
    said = subprocess.run(["df", "--output=fstype", str(directory)], capture_output=True, text=True, check=True)
    return said.stdout.split()[-1]


def reflinks(directory: Path) -> bool:
    """Returns whether files in `directory` can share blocks."""
    with tempfile.NamedTemporaryFile(dir=directory) as source, tempfile.NamedTemporaryFile(dir=directory) as target:
        source.write(b"x" * 4096)
        source.flush()
        try:
            fcntl.ioctl(target.fileno(), FICLONE, source.fileno())
        except OSError:
            return False
        return True


def busy(seconds: float = 1.0) -> float:
    """Returns the share of all processors in use during the next `seconds`, while nothing is measured."""

    def read() -> tuple[int, int]:
        numbers = [int(word) for word in Path("/proc/stat").read_text().splitlines()[0].split()[1:9]]
        return sum(numbers), numbers[3] + numbers[4]

    all_before, idle_before = read()
    time.sleep(seconds)
    all_after, idle_after = read()
    return 1 - (idle_after - idle_before) / max(1, all_after - all_before)


def describe(directory: Path) -> dict:
    """Returns the machine as it is now; others' use of the processors is sampled for a second."""
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return {
        "cores": len(os.sched_getaffinity(0)),
        "processor": processor(),
        "memory_gib": round(memory / 2**30, 1),
        "kernel": platform.release(),
        "file_system": file_system(directory),
        "reflink": reflinks(directory),
        "load": round(os.getloadavg()[0], 2),
        "busy": round(busy(), 2),
    }


def processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.machine()


def line(machine: dict) -> str:
    """Returns the machine in one line."""
    reflink = "with" if machine["reflink"] else "no"
    return (
        f"{machine['cores']} cores ({machine['processor']}), {machine['memory_gib']} GiB, Linux {machine['kernel']}, "
        f"{machine['file_system']} ({reflink} reflink), load {machine['load']}, "
        f"{machine['busy']:.0%} of the processors used by others"
    )


def is_quiet(machine: dict) -> bool:
    return machine["busy"] <= QUIET
