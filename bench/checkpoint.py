"""Large checkpoints: how long the program waits for `taken`, and what saving every second costs a loop."""

import hashlib
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

from machine import file_system, reflinks
from measure import Failed, ratios
from project import Project, environment
from report import ROOT, Result, number

PROGRAMS = ROOT / "bench" / "programs"

PIPELINE = """\
prunella: v1
name: checkpoint
code: ["*.py"]
steps:
  save:
    run: [{python}, {program}, {words}]
    outputs: {{ done: done.txt }}
    checkpoint: {{ format: {format}, sealed: {sealed} }}
    pass_env: [BENCH_SAID]
"""


def run(options) -> Result:
    large, small = options.checkpoint_size, options.loop_size
    options.dir.mkdir(parents=True)
    shares = reflinks(options.dir)
    name = f"{file_system(options.dir)}, {'with' if shares else 'no'} reflink"
    sizes = f"{number(large / 2**20)} MiB at once; {number(small / 2**20)} MiB a second, {options.loop_rounds} times"
    result = Result("checkpoint", f"{sizes}; {name}")
    for how in ("sealed", "plain"):
        words = [str(large), str(options.runs), how]
        project = prunella(options, options.dir / f"taken-{how}", "taken.py", words, "socket", how == "sealed")
        times = [[float(word) for word in words[1:]] for words in project.lines("times")]
        shutil.rmtree(project.directory)
        taken, durable, copied = (list(column) for column in zip(*times))
        at_once = how == "sealed" or shares
        label = "sealed" if how == "sealed" else "by reflink" if shares else "copied"
        result.add(f"taken, {label}", [one * 1000 for one in taken], "ms", at_most=10 if at_once else None)
        if not at_once:
            result.add("taken, copied, against a plain copy", ratios(taken, copied), "×", note="1 is copy bandwidth")
        result.add(f"durable, {label}", [one * 1000 for one in durable], "ms")
    work = calibrated()
    words = [str(small), str(options.loop_rounds), str(work)]
    without, sealed, plain, kept = [], [], [], []
    for _ in range(options.runs):
        without.append(bare(options.dir / "bare", words))
        for how, figures in (("sealed", sealed), ("plain", plain)):
            project = prunella(options, options.dir / f"loop-{how}", "loop.py", words, "files", how == "sealed")
            figures.append(float(project.lines("loop")[0][1]))
            if how == "sealed":
                kept.append(float(durable_checkpoints(project)))
            shutil.rmtree(project.directory)

    def loss(figures: list[float]) -> list[float]:
        return [(ratio - 1) * 100 for ratio in ratios(figures, without)]

    result.add("loop without", without, "s", note="the same bytes, written and synced")
    result.add("loss, sealed", loss(sealed), "%", at_most=2)
    result.add("durable checkpoints, sealed", kept, "", note=f"of {options.loop_rounds} that the loop saved")
    label = "by reflink" if shares else "copied"
    note = "" if shares else "the bytes are copied"
    result.add(f"loss, {label}", loss(plain), "%", at_most=2 if shares else None, note=note)
    return result


def prunella(options, directory: Path, program: str, words: list[str], form: str, sealed: bool) -> Project:
    """Runs one program as the only step, to its end."""
    project = Project(options.prunella, directory)
    shutil.copy(PROGRAMS / program, directory / program)
    text = PIPELINE.format(
        python=f'"{sys.executable}"', program=program, words=", ".join(f'"{word}"' for word in words),
        format=form, sealed=str(sealed).lower(),
    )
    (directory / "pipeline.yaml").write_text(text)
    os.sync()
    try:
        project.start("run")
        if project.engine.wait() != 0:
            raise Failed("the run failed: " + (directory / "engine.log").read_text()[-600:])
    finally:
        project.close()
    return project


def durable_checkpoints(project: Project) -> int:
    """Returns how many checkpoints the attempt's own record counts."""
    (end,) = project.records("attempts/", ".end.json")
    return len(find(end, "timeline").get("checkpoints", []))


def find(record: dict, name: str) -> dict:
    """Returns the first mapping of this name, at any depth."""
    for key, value in record.items():
        if key == name:
            return value
        if isinstance(value, dict) and (found := find(value, name)):
            return found
    return {}


def bare(directory: Path, words: list[str]) -> float:
    """Runs the loop by itself."""
    directory.mkdir()
    os.sync()
    said = directory / "said.log"
    env = environment({"BENCH_SAID": str(said)}) | {"PRUNELLA_CHECKPOINT_DIR": str(directory)}
    subprocess.run([sys.executable, str(PROGRAMS / "loop.py"), *words], cwd=directory, env=env, check=True)
    took = float(said.read_text().split()[1])
    shutil.rmtree(directory)
    return took


def calibrated() -> int:
    """Returns how many blocks the loop hashes in a second."""
    block, count, begun = bytes(1 << 20), 0, time.monotonic()
    while time.monotonic() - begun < 1:
        hashlib.sha256(block).digest()
        count += 1
    return count
