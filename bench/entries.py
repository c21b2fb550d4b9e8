"""A million entries: one output of very many small files, from its making to its collection. Each figure with the peak of memory."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from measure import Failed
from project import environment
from report import Result, number

PROGRAM = Path(__file__).parent / "programs" / "many.py"

PIPELINE = """prunella: v1
name: entries
steps:
  make:
    run: {python} {program} tree {files} {said}
    outputs: {{ tree: tree/ }}
  count:
    run: find -L inputs -type f | wc -l > counted
    inputs: {{ tree: make.tree }}
    outputs: {{ counted: counted }}
"""


def run(options) -> Result:
    files = options.entries
    result = Result("entries", f"one tree of {number(files)} files of 256 B, 1,000 a folder; peaks are those of `prunella`, without its steps")
    example = options.example("prunella-store", "trees")
    options.dir.mkdir(parents=True)
    measured(result, options, example, files)
    said = options.dir / "said"
    text = PIPELINE.format(python=sys.executable, program=PROGRAM, files=files, said=said)
    (options.dir / "pipeline.yaml").write_text(text)

    def command(name: str, *words: str, since_said: bool = False) -> str:
        """Runs a command and adds what it took, from when the step's program was done if there is one."""
        begun = time.time()
        out, peak = whole([str(options.prunella), *words], options.dir)
        took = time.time() - (float(said.read_text()) if since_said else begun)
        result.add(name, took, "s", note=f"peak {peak / 1024:.0f} MiB")
        return out

    command("taken in as an output, workspace cleared", "run", "make", since_said=True)
    command("the same tree taken in again", "run", "make", "--force", "make", since_said=True)
    command("laid out as an input, counted, cleared", "run")
    command("verify", "verify")
    before = stored(options.dir)
    command("gc, dry", "gc", "--keep-runs", "1")
    command("gc --apply, one of two trees", "gc", "--keep-runs", "1", "--apply")
    gone = before - stored(options.dir)
    if gone < files * 256:
        raise Failed(f"only {gone} bytes were collected")
    shutil.rmtree(options.dir / "got", ignore_errors=True)
    whole([str(options.prunella), "get", "count.counted", "got"], options.dir)
    if (counted := int((options.dir / "got").read_text())) != files:
        raise Failed(f"{counted} files were laid out")
    return result


def measured(result: Result, options, example: Path, files: int) -> None:
    """What data of so many files costs: read, and again when nothing has changed."""
    tree = options.dir / "tree"
    whole([sys.executable, str(PROGRAM), str(tree), str(files), str(options.dir / "said")], options.dir)
    # What was written within the last two seconds is not remembered.
    time.sleep(2.5)
    for name in ("measured as data", "measured again"):
        out, _ = whole([str(example), "measure", str(tree), "cache"], options.dir)
        one = json.loads(out)
        note = f"peak {one['peak_kib'] / 1024:.0f} MiB, {one['read_bytes'] / 2**20:.0f} MiB read"
        result.add(name, one["seconds"], "s", note=note)
    shutil.rmtree(tree)


def whole(command: list[str], directory: Path) -> tuple[str, int]:
    """Runs a command and returns what it said and the most memory, in KiB, that it had."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as errors:
        child = subprocess.Popen(command, cwd=directory, env=environment(), stdin=subprocess.DEVNULL, stdout=out, stderr=errors)
        _, status, used = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
        out.seek(0)
        errors.seek(0)
        if child.returncode != 0:
            raise Failed(f"`{' '.join(command)}` left with {child.returncode}: {errors.read()[-600:]}")
        return out.read().decode(), used.ru_maxrss


def stored(directory: Path) -> int:
    return sum(path.stat().st_size for path in (directory / ".prunella" / "data").rglob("*") if path.is_file())
