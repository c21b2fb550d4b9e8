"""Time per step as the number of steps grows; what planning and waiting cost. Graphs are built through the model."""

import json
import shutil
import subprocess
from pathlib import Path

from measure import Failed, fsyncs, median
from report import Result

WAITING = 100_000


def run(options) -> Result:
    sizes = options.scale
    result = Result("scale", "independent steps built through the model: " + ", ".join(f"{size:,}" for size in sizes))
    example = options.example("prunella-engine", "steps")
    options.dir.mkdir(parents=True)
    each: dict[int, list[dict]] = {size: [] for size in sizes}
    for turn in range(options.runs):
        for size in sizes:
            # The largest takes minutes: it runs less often, always between the others.
            if size > 10_000 and turn >= options.long_runs:
                continue
            each[size].append(drive(example, options.dir, size))
    small = median([one["per_step_ms"] for one in each[sizes[0]]])
    for size in sizes:
        times = [one["per_step_ms"] for one in each[size]]
        result.add(f"time per step, {size:,}", times, "ms", note=f"{len(times)} runs")
        if size != sizes[0]:
            growth = [time / small for time in times]
            result.add(f"against {sizes[0]:,}", growth, "×", at_most=1.2, note="less is not growth")
    for size in sizes:
        peaks = [one["peak_rss_bytes"] / 2**20 for one in each[size]]
        result.add(f"peak memory of the engine, {size:,}", peaks, "MiB")
    plans = [said([str(example), "plan", str(WAITING)]) for _ in range(options.runs)]
    result.add(f"plan of {WAITING:,}", [one["plan_s"] for one in plans], "s", at_most=1)
    kib = [one["bytes_per_waiting_step"] / 1024 for one in plans]
    graph, rest = (median([one[f"{part}_bytes_per_step"] for one in plans]) for part in ("graph", "plan_and_state"))
    result.add("memory a waiting step", kib, "KiB", at_most=2, note=f"graph {graph:.0f} B, plan and state {rest:.0f} B")
    store = options.dir / "traced"
    synced = fsyncs([str(example), "run", str(sizes[0]), "--dir", str(store)], options.dir)
    if synced is not None:
        result.add(f"fsyncs, {sizes[0]:,}", synced, "", note=f"{synced / sizes[0]:.2f} a step, traced")
    return result


def drive(example: Path, directory: Path, size: int) -> dict:
    store = directory / "store"
    shutil.rmtree(store, ignore_errors=True)
    one = said([str(example), "run", str(size), "--dir", str(store)])
    shutil.rmtree(store)
    return one


def said(command: list[str]) -> dict:
    """Runs one of the measuring programs and returns what it says."""
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        raise Failed(f"`{' '.join(command)}` left with {done.returncode}: {done.stderr[-600:]}")
    return json.loads(done.stdout.splitlines()[-1])
