"""Timing: both sides in turn, spreads, fsyncs."""

import resource
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path


DURABLE = ("fsync", "fdatasync", "syncfs", "sync")
"""The system calls that wait for the disk."""


class Failed(Exception):
    """A measured command did not do its work, so there is no figure."""


def wall(
    command: list[str], directory: Path, env: dict[str, str] | None = None, processor: list[float] | None = None
) -> float:
    """Runs a command, whose output nobody reads, and returns its seconds.

    The processor time of it and all its children is added to `processor`: other work disturbs that less.

    Raises `Failed` with the end of what it said on stderr unless it succeeds.
    """
    with tempfile.TemporaryFile() as errors:
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        nothing = subprocess.DEVNULL
        begun = time.perf_counter()
        done = subprocess.run(command, cwd=directory, env=env, stdin=nothing, stdout=nothing, stderr=errors)
        took = time.perf_counter() - begun
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        if processor is not None:
            processor.append(after.ru_utime + after.ru_stime - used.ru_utime - used.ru_stime)
        if done.returncode != 0:
            errors.seek(0)
            said = errors.read().decode(errors="replace").strip()[-600:]
            raise Failed(f"`{' '.join(command[:4])}` left with {done.returncode}: {said}")
    return took


def in_turn(runs: int, sides: list[Callable[[], float]]) -> list[list[float]]:
    """Returns `runs` figures of each side, measured A B A B …"""
    figures: list[list[float]] = [[] for _ in sides]
    for _ in range(runs):
        for side, figure in zip(sides, figures):
            figure.append(side())
    return figures


def ratios(ours: list[float], theirs: list[float]) -> list[float]:
    """Returns the ratio of each round: what disturbs both sides of a round disturbs its ratio less."""
    return [a / b for a, b in zip(ours, theirs)]


def percentile(values: list[float], percent: int) -> float:
    """Returns the smallest value that is at least as large as `percent` of all."""
    ordered = sorted(values)
    return ordered[max(1, -(-len(ordered) * percent // 100)) - 1]


def fsyncs(command: list[str], directory: Path, env: dict[str, str] | None = None) -> int | None:
    """Runs a command once more, untimed, and returns how often it and its children asked for durability.

    Nothing where there is no strace, or it may not trace. Tracing slows a run down, so that fewer steps share a group
    commit: the count is an upper bound.
    """
    strace = shutil.which("strace")
    if strace is None:
        return None
    with tempfile.NamedTemporaryFile("r") as counts:
        traced = [strace, "-f", "--seccomp-bpf", "-c", "-U", "name,calls", "-o", counts.name]
        traced += ["-e", "trace=" + ",".join(DURABLE)]
        nothing = subprocess.DEVNULL
        done = subprocess.run(traced + command, cwd=directory, env=env, stdin=nothing, stdout=nothing, stderr=nothing)
        if done.returncode != 0:
            return None
        total = 0
        for row in counts.read().splitlines():
            words = row.split()
            if len(words) == 2 and words[0] in DURABLE:
                total += int(words[1])
        return total


def median(values: list[float]) -> float:
    return statistics.median(values)
