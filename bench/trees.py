"""Trees of many small files: taking in, the same again, laying out, against dvc; and verify against b3sum."""

import json
import os
import shutil
import subprocess
import time
from pathlib import Path

from measure import Failed, ratios, wall
from report import Result, number

PER_FOLDER = 1000


def run(options) -> Result:
    files = options.tree_files
    result = Result("trees", f"{number(files)} files of 4 KiB; {number(options.verify_size / 2**20)} MiB to verify")
    example = options.example("prunella-store", "trees")
    options.dir.mkdir(parents=True)
    rounds = [small(options, example, options.dir / str(n), files) for n in range(options.tree_runs)]
    of = {name: [one[name] for one in rounds] for name in rounds[0]}
    if "dvc" in of:
        result.add("taken in, times as fast as `dvc add`", ratios(of["dvc"], of["take"]), "×", at_least=5)
        result.add("dvc add, then sync", of["dvc"], "s")
    else:
        print("dvc is not there (--dvc PATH): no ratio")
    result.add("taken in, durable, then sync", of["take"], "s")
    result.add("the same tree measured: bytes read again", [one / 2**20 for one in of["again_bytes"]], "MiB", at_most=0)
    result.add("the same tree measured again", of["again"], "s")
    result.add("read again and verified", of["verify"], "s")
    result.add("laid out", of["lay"], "s")
    result.add("peak memory while taking in", [one / 1024 for one in of["peak_kib"]], "MiB")
    verify(options, result)
    return result


def program(command: list, directory: Path) -> tuple[dict, float]:
    """Returns what a measuring program printed, and its seconds with a sync of all disks behind it."""
    begun = time.perf_counter()
    done = subprocess.run(list(map(str, command)), cwd=directory, capture_output=True, text=True)
    os.sync()
    took = time.perf_counter() - begun
    if done.returncode != 0:
        raise Failed(f"`{command[1]}` left with {done.returncode}: {done.stderr[-600:]}")
    return json.loads(done.stdout), took


def small(options, example: Path, directory: Path, files: int) -> dict:
    tree = directory / "tree"
    for n in range(files):
        if n % PER_FOLDER == 0:
            (tree / str(n // PER_FOLDER)).mkdir(parents=True)
        (tree / str(n // PER_FOLDER) / f"{n:07}.bin").write_bytes(os.urandom(4096))
    os.sync()
    figures = {}
    taken, figures["take"] = program([example, "take", tree, "store"], directory)
    figures["peak_kib"] = taken["peak_kib"]
    if taken["bytes"] != files * 4096:
        raise Failed(f"{taken['bytes']} bytes were taken in")
    checked, _ = program([example, "verify", "store"], directory)
    figures["verify"] = checked["seconds"]
    # What was written within the last two seconds is not remembered.
    time.sleep(2.5)
    program([example, "measure", tree, "cache"], directory)
    again, _ = program([example, "measure", tree, "cache"], directory)
    figures["again"], figures["again_bytes"] = again["seconds"], again["read_bytes"]
    laid, _ = program([example, "lay", "store", "laid"], directory)
    figures["lay"] = laid["seconds"]
    if subprocess.run(["diff", "-rq", "tree", "laid"], cwd=directory, stdout=subprocess.DEVNULL).returncode != 0:
        raise Failed("what was laid out is not what was taken in")
    shutil.rmtree(directory / "laid")
    shutil.rmtree(directory / "store")
    dvc = options.dvc or shutil.which("dvc")
    if dvc:
        wall([str(dvc), "init", "-q", "--no-scm"], directory)
        os.sync()
        begun = time.perf_counter()
        wall([str(dvc), "add", "-q", "tree"], directory)
        os.sync()
        figures["dvc"] = time.perf_counter() - begun
    shutil.rmtree(directory)
    return figures


PIPELINE = """prunella: v1
name: verified
steps:
  make:
    run: cp {source} large
    outputs: {{ large: large }}
"""


def verify(options, result: Result) -> None:
    """`prunella verify` of one large output, from the page cache, against b3sum of the same bytes."""
    b3sum = options.b3sum or shutil.which("b3sum")
    if not b3sum:
        print("b3sum is not there (--b3sum PATH): no ratio")
        return
    directory = options.dir / "verify"
    directory.mkdir()
    source = options.dir / "source"
    with source.open("wb") as file:
        for _ in range(max(1, options.verify_size >> 20)):
            file.write(os.urandom(1 << 20))
    (directory / "pipeline.yaml").write_text(PIPELINE.format(source=source))
    wall([str(options.prunella), "run"], directory)
    objects = [path for path in (directory / ".prunella/data").rglob("*") if path.is_file()]
    stored = max(objects, key=lambda path: path.stat().st_size)
    sides = ([str(options.prunella), "verify"], [str(b3sum), str(stored)])
    for side in sides:
        wall(side, directory)
    rounds = [[wall(side, directory) for side in sides] for _ in range(max(5, options.runs))]
    ours, theirs = [one[0] for one in rounds], [one[1] for one in rounds]
    result.add("verify, speed against b3sum", ratios(theirs, ours), "×", at_least=0.8)
    result.add("verify", ours, "s")
    result.add("b3sum", theirs, "s")
