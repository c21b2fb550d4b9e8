"""A pipeline in a directory of its own: run it, kill it, look into its store."""

import json
import os
import signal
import sqlite3
import subprocess
import time
from contextlib import closing
from pathlib import Path

from measure import Failed

LONGEST = 60.0
"""Seconds after which something that should happen at once is given up."""


def environment(more: dict[str, str] | None = None) -> dict[str, str]:
    """Returns the caller's environment without what would lead a run elsewhere."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("PRUNELLA_")}
    return env | (more or {})


def descending(n: int) -> str:
    """Returns a number as it stands in the names of records: the highest is listed first."""
    return f"{2**64 - 1 - n:016x}"


class Project:
    """A directory with a pipeline file, its store, and the lines that its step wrote to `said`."""

    def __init__(self, prunella: Path, directory: Path) -> None:
        self.prunella = prunella
        self.directory = directory
        self.said = directory / "said.log"
        self.stop_file = directory / "stop"
        self.engine: subprocess.Popen | None = None
        directory.mkdir(parents=True)
        self.said.touch()

    def env(self) -> dict[str, str]:
        return environment({"BENCH_SAID": str(self.said), "BENCH_STOP": str(self.stop_file)})

    def start(self, *words: str) -> None:
        """Starts an engine; what it says goes to `engine.log`."""
        nothing = subprocess.DEVNULL
        with open(self.directory / "engine.log", "ab") as log:
            command = [str(self.prunella), *words]
            self.engine = subprocess.Popen(
                command, cwd=self.directory, env=self.env(), stdin=nothing, stdout=log, stderr=log
            )

    def kill_engine(self) -> None:
        self.engine.send_signal(signal.SIGKILL)
        self.engine.wait()

    def end(self) -> None:
        """Asks the step to end by itself and waits for the engine.

        Raises `Failed` with the end of its log unless it succeeds.
        """
        self.stop_file.touch()
        if self.engine.wait(LONGEST) != 0:
            raise Failed("the run failed: " + (self.directory / "engine.log").read_text()[-600:])

    def close(self) -> None:
        """Leaves nothing running, whatever happened."""
        if self.engine is not None and self.engine.poll() is None:
            self.kill_engine()

    def lines(self, kind: str) -> list[list[str]]:
        """Returns the words of every whole line of this kind that the step wrote."""
        text = self.said.read_text()
        whole = text[: text.rfind("\n") + 1].splitlines()
        return [line.split() for line in whole if line.startswith(kind + " ")]

    def wait(self, kind: str, count: int) -> list[str]:
        """Waits for the `count`-th line of this kind and returns its words."""
        until = time.monotonic() + LONGEST
        while len(found := self.lines(kind)) < count:
            if self.engine is not None and self.engine.poll() is not None:
                raise Failed("the engine ended: " + (self.directory / "engine.log").read_text()[-600:])
            if time.monotonic() > until:
                raise Failed(f"the step did not say `{kind}` for the {count}th time")
            time.sleep(0.002)
        return found[count - 1]

    def records(self, prefix: str, suffix: str = "") -> list[dict]:
        """Returns the records whose keys begin and end so."""
        with closing(self.connect()) as database:
            rows = database.execute(
                "SELECT bytes FROM objects WHERE key >= ? AND key < ? AND substr(key, ?) = ? ORDER BY key",
                (prefix, prefix + "\x7f", -len(suffix) if suffix else 1 << 20, suffix),
            )
            return [json.loads(row[0]) for row in rows]

    def connect(self) -> sqlite3.Connection:
        return sqlite3.connect(f"file:{self.directory}/.prunella/store.db?mode=ro", uri=True, timeout=10)

    def wait_for_checkpoint(self, key: str, epoch: int) -> None:
        """Waits until this attempt has a durable checkpoint."""
        prefix = f"checkpoints/{key}/{descending(epoch)}-"
        until = time.monotonic() + LONGEST
        with closing(self.connect()) as database:
            while True:
                found = database.execute(
                    "SELECT 1 FROM objects WHERE key >= ? AND key < ? LIMIT 1", (prefix, prefix + "\x7f")
                ).fetchone()
                if found:
                    return
                if time.monotonic() > until:
                    raise Failed(f"attempt {epoch} made no checkpoint")
                time.sleep(0.005)
