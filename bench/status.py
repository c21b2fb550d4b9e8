"""What it costs to look at a run of very many steps: finished and running, from its summary and from its whole journal."""

import os
import shutil
import signal
import sqlite3
import subprocess
import time
from contextlib import closing, contextmanager
from pathlib import Path

from measure import Failed, wall
from project import environment
from report import Result
from scale import said

SOON = 100
"""Milliseconds that looking at a run may take."""
LONGEST = 900.0
"""Seconds after which a run that should come half way is given up."""


def run(options) -> Result:
    count = options.status_steps
    result = Result("status", f"a run of {count:,} independent steps, built through the model; whole processes, warm cache")
    example = options.example("prunella-engine", "steps")
    options.dir.mkdir(parents=True)
    store = options.dir / "store"
    said([str(example), "run", str(count), "--dir", str(store)])
    summary, journal = (kept(store, f"runs/%/{what}/%") / 2**20 for what in ("summary", "journal"))
    look(result, options, store, "finished", count)
    result.add("size of the summary", summary, "MiB", note=f"of the journal {journal:.1f} MiB")
    shutil.rmtree(store)
    with half_way(example, count, store):
        look(result, options, store, "running", count)
    shutil.rmtree(store)
    return result


def look(result: Result, options, store: Path, state: str, count: int) -> None:
    """Measures every command that looks at a run, then again without a summary."""
    commands = {
        "status": ["status"],
        "status --output json": ["status", "--output", "json"],
        "explain": ["explain", f"s{count // 3}"],
        "runs": ["runs"],
    }
    summarized = {name: times(options, store, words, options.runs * 3) for name, words in commands.items()}
    without_summaries(store)
    for name, words in commands.items():
        # It is by far slower, and few rounds show that.
        whole = times(options, store, words, max(2, options.runs // 2))
        result.add(f"{name}, {state}", summarized[name], "ms", at_most=SOON, note=f"least {min(summarized[name]):.0f} ms")
        result.add(f"{name}, {state}, whole journal", whole, "ms", note="without a summary")


def times(options, store: Path, words: list[str], rounds: int) -> list[float]:
    command = [str(options.prunella), "--store", str(store), *words]
    wall(command, options.dir, environment())
    return [wall(command, options.dir, environment()) * 1000 for _ in range(rounds)]


def kept(store: Path, pattern: str) -> int:
    """Returns the bytes of the objects whose keys are like this."""
    with closing(sqlite3.connect(f"file:{store}/store.db?mode=ro", uri=True)) as database:
        return database.execute("SELECT coalesce(sum(size), 0) FROM objects WHERE key LIKE ?", (pattern,)).fetchone()[0]


def without_summaries(store: Path) -> None:
    with closing(sqlite3.connect(store / "store.db", timeout=60)) as database, database:
        database.execute("DELETE FROM objects WHERE key LIKE 'runs/%/summary/%'")


@contextmanager
def half_way(example: Path, count: int, store: Path):
    """Drives such a run until half of its steps have committed, and holds it there: it lives, and takes no processor."""
    nothing = subprocess.DEVNULL
    command = [str(example), "run", str(count), "--dir", str(store)]
    engine = subprocess.Popen(command, stdin=nothing, stdout=nothing, stderr=nothing)
    try:
        begun = time.monotonic()
        while committed(store) < count // 2:
            if engine.poll() is not None or time.monotonic() - begun > LONGEST:
                raise Failed("the run did not come half way")
            time.sleep(0.2)
        engine.send_signal(signal.SIGSTOP)
        os.sync()
        yield
    finally:
        engine.kill()
        engine.wait()


def committed(store: Path) -> int:
    try:
        with closing(sqlite3.connect(f"file:{store}/store.db?mode=ro", uri=True, timeout=60)) as database:
            return database.execute("SELECT count(*) FROM objects WHERE key LIKE 'attempts/%.end.json'").fetchone()[0]
    except sqlite3.OperationalError:
        return 0
