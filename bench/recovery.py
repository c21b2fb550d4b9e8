"""From kill -9 to the process started again with its state restored: of a step, of the engine, and of a bare loop."""

import os
import random
import shutil
import signal
import subprocess
import time
from pathlib import Path

from measure import Failed, percentile
from project import Project
from report import ROOT, Result

STEP = ROOT / "bench" / "programs" / "step.sh"

PIPELINE = """\
prunella: v1
name: recovery
code: [step.sh]
steps:
  count:
    run: [sh, step.sh]
    outputs: { count: count.txt }
    checkpoint: files
    pass_env: [BENCH_SAID, BENCH_STOP]
"""


def run(options) -> Result:
    sizes = f"{options.kills} kills each of a step that saves 1 MiB, a newer checkpoint since the last kill"
    result = Result("recovery", sizes)
    options.dir.mkdir(parents=True)
    dice = random.Random(1)
    rounds = min(options.runs, options.kills)
    steps, engines, bare = [], [], []
    for turn in range(rounds):
        kills = options.kills // rounds + (turn < options.kills % rounds)
        steps += under_prunella(options, options.dir / f"step-{turn}", kills, kill_step, dice)
        bare += bare_loop(options.dir / f"bare-{turn}", kills, dice)
        engines += under_prunella(options, options.dir / f"engine-{turn}", kills, kill_engine, dice)
    for name, times, p50, p99 in (
        ("step killed", steps, 150, 1000),
        ("engine killed, `prunella run` at once", engines, 300, None),
        ("step killed in a bare loop", bare, None, None),
    ):
        result.add(f"{name}: p50", percentile(times, 50), "ms", at_most=p50, note=f"{len(times)} kills")
        result.add(f"{name}: p99", percentile(times, 99), "ms", at_most=p99, note=f"most {max(times):.0f} ms")
    return result


def under_prunella(options, directory: Path, kills: int, kill, dice: random.Random) -> list[float]:
    """Runs the step and kills again and again; returns the milliseconds of each recovery."""
    project = Project(options.prunella, directory)
    (directory / "pipeline.yaml").write_text(PIPELINE)
    shutil.copy(STEP, directory / "step.sh")
    times = []
    try:
        project.start("run")
        for number in range(1, kills + 1):
            _, _, pid, _, key, epoch = project.wait("start", number)
            project.wait_for_checkpoint(key, int(epoch))
            time.sleep(dice.random() * 0.1)
            made = max(int(words[1]) for words in project.lines("made"))
            killed = time.time_ns()
            kill(project, int(pid))
            times.append(restarted(project, number + 1, killed, made))
        project.end()
    finally:
        project.close()
    return times


def kill_step(_: Project, pid: int) -> None:
    os.kill(pid, signal.SIGKILL)


def kill_engine(project: Project, _: int) -> None:
    project.kill_engine()
    project.start("run")


def restarted(project: Project, number: int, killed: int, made: int) -> float:
    """Returns the milliseconds from the kill to the next start, which must know a checkpoint of the attempt before."""
    _, began, _, known, _, _ = project.wait("start", number)
    before = int(project.lines("start")[number - 2][3])
    if not before < int(known) <= made + 1:
        raise Failed(f"went on from {known}; the attempt before went from {before} to {made}")
    return (int(began) - killed) / 1e6


def bare_loop(directory: Path, kills: int, dice: random.Random) -> list[float]:
    """The least there is: a parent that waits for the program and starts it again in the same directory."""
    project = Project(Path("sh"), directory)
    env = project.env()
    env |= {"PRUNELLA_CHECKPOINT_DIR": str(directory), "PRUNELLA_STEP_KEY": "bare", "PRUNELLA_ATTEMPT": "0"}
    times, made, killed = [], 0, 0
    for number in range(1, kills + 2):
        env["PRUNELLA_RESTORED"] = "0" if number == 1 else "1"
        project.engine = subprocess.Popen(["sh", str(STEP)], cwd=directory, env=env)
        try:
            if number > 1:
                times.append(restarted(project, number, killed, made))
            before = len(project.lines("made"))
            project.wait("start", number)
            project.wait("made", before + 1)
            time.sleep(dice.random() * 0.1)
            made = max(int(words[1]) for words in project.lines("made"))
            killed = time.time_ns()
        finally:
            project.close()
    return times
