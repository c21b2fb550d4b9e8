"""Many trivial steps against make, and running them again with nothing changed."""

import shutil
import sqlite3
import time
from contextlib import closing
from pathlib import Path

import pipelines
from measure import Failed, fsyncs, in_turn, median, ratios, wall
from project import environment
from report import Result


def compare(options, bench: str, count: int, chain: bool) -> Result:
    """Runs the same commands durably by Prunella and by make, in turn."""
    shape = "one after the other" if chain else "independent"
    result = Result(bench, f"{count:,} steps, {shape}, `--jobs 2` against `make -s -j2`")
    ours, theirs = options.dir / "ours", options.dir / "theirs"
    theirs.mkdir(parents=True)
    pipelines.write_makefile(theirs, count, chain)
    make = ["make", "-s", "-j2", "all"]
    run = [str(options.prunella), "run", "--jobs", "2"]

    def fresh() -> None:
        shutil.rmtree(ours, ignore_errors=True)
        ours.mkdir()
        pipelines.write_pipeline(ours, count, chain)

    def prunella() -> float:
        fresh()
        took = wall(run, ours, environment(), ours_used)
        committed(ours, count)
        return took

    ours_used: list[float] = []
    theirs_used: list[float] = []
    walls, makes = in_turn(options.runs, [prunella, lambda: wall(make, theirs, processor=theirs_used)])
    result.add("ratio", ratios(walls, makes), "×", at_most=2)
    result.add("prunella", walls, "s", note=f"{median(walls) * 1000 / count:.2f} ms a step")
    result.add("make", makes, "s", note=f"{median(makes) * 1000 / count:.2f} ms a step, nothing durable")
    result.add("processor time, ratio", ratios(ours_used, theirs_used), "×", note="the steps' own time is in both")
    each = [median(used) * 1000 / count for used in (ours_used, theirs_used)]
    result.add("processor time of prunella", ours_used, "s", note=f"{each[0]:.2f} ms a step; make: {each[1]:.2f} ms")
    fresh()
    synced = fsyncs(run, ours, environment())
    if synced is not None:
        result.add("fsyncs of prunella", synced, "", note=f"{synced / count:.2f} a step, traced")
        result.add("fsyncs of make", fsyncs(make, theirs) or 0, "")
    return result


def committed(directory: Path, count: int) -> None:
    """Raises `Failed` unless that many attempts ended in the store."""
    with closing(sqlite3.connect(f"file:{directory}/.prunella/store.db?mode=ro", uri=True)) as database:
        (found,) = database.execute("SELECT count(*) FROM objects WHERE key LIKE 'attempts/%.end.json'").fetchone()
    if found != count:
        raise Failed(f"{found} of {count} steps have ended in the store")


def rerun(options) -> Result:
    """Runs a finished pipeline again, as a new run that finds every result."""
    count = options.steps
    sizes = f"{count:,} independent steps, all there already: `prunella run --new` against make with {count:,} files"
    result = Result("rerun", sizes)
    ours, theirs = options.dir / "ours", options.dir / "theirs"
    ours.mkdir(parents=True)
    theirs.mkdir()
    pipelines.write_pipeline(ours, count, chain=False)
    pipelines.write_finished_makefile(theirs, count)
    run = [str(options.prunella), "run", "--jobs", "2"]
    wall(run, ours, environment())
    committed(ours, count)
    again, make = [*run, "--new"], ["make", "-s", "-j2", "all"]

    walls, makes = in_turn(options.runs, [lambda: wall(again, ours, environment()), lambda: wall(make, theirs)])
    committed(ours, count)
    result.add("prunella", walls, "s", at_most=0.5)
    result.add("make", makes, "s", note="looks at the time of every file")
    result.add("ratio", ratios(walls, makes), "×")
    synced = fsyncs(again, ours, environment())
    if synced is not None:
        result.add("fsyncs of prunella", synced, "", note="a durable new run with its journal and bindings")
    return result


def coldstart(options) -> Result:
    """Starts the binary and lets it say its version."""
    result = Result("coldstart", "`prunella --version` against `/bin/true`, 20 starts a figure")

    def of(command: list[str]) -> float:
        begun = time.perf_counter()
        for _ in range(20):
            wall(command, options.dir)
        return (time.perf_counter() - begun) * 1000 / 20

    options.dir.mkdir(parents=True)
    version = [str(options.prunella), "--version"]
    starts, trues = in_turn(options.runs, [lambda: of(version), lambda: of(["/bin/true"])])
    result.add("prunella", starts, "ms", at_most=20)
    result.add("/bin/true", trues, "ms", note="what starting any process costs here")
    return result


def yaml(options) -> Result:
    """Reads and checks a pipeline file of the largest size there may be."""
    options.dir.mkdir(parents=True)
    size = pipelines.write_long_pipeline(options.dir, options.yaml_size)
    result = Result("yaml", f"`prunella validate` of a pipeline file of {size / 2**20:.1f} MiB")
    walls = [wall([str(options.prunella), "validate"], options.dir, environment()) for _ in range(options.runs)]
    speed = [size / 1e6 / took for took in walls]
    result.add("speed", speed, "MB/s", note="start of the program and all checks included")
    result.add("time", walls, "s")
    return result
