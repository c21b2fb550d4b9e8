"""The same trivial steps for both sides: a pipeline file and a makefile.

Every step has a command of its own, since equal commands would be one step key and run once; both sides start the same
shell in the same way, `/bin/sh -e -c`.
"""

from pathlib import Path


def command(i: int) -> str:
    return f": {i}; true > /dev/null"


def write_pipeline(directory: Path, count: int, chain: bool, reuse: str = "always") -> None:
    """Writes `count` steps: one after the other, or independent."""
    lines = ["prunella: v1", "name: steps", "defaults: { resources: { cpu: 0.5 } }", "steps:"]
    for i in range(count):
        after = f", after: s{i - 1}" if chain and i else ""
        lines.append(f'  s{i}: {{ run: "{command(i)}", reuse: {reuse}{after} }}')
    (directory / "pipeline.yaml").write_text("\n".join(lines) + "\n")


def write_makefile(directory: Path, count: int, chain: bool) -> None:
    """Writes the same commands as phony targets, so that each runs."""
    last = f"s{count - 1}" if chain else " ".join(f"s{i}" for i in range(count))
    lines = ["SHELL = /bin/sh", ".SHELLFLAGS = -e -c", ".PHONY: all", f"all: {last}"]
    for i in range(count):
        need = f" s{i - 1}" if chain and i else ""
        lines += [f"s{i}:{need}", f"\t@{command(i)}"]
    (directory / "Makefile").write_text("\n".join(lines) + "\n")


def write_finished_makefile(directory: Path, count: int) -> None:
    """Writes a makefile whose targets are files that are there: make looks at each and does nothing."""
    names = [f"s{i}" for i in range(count)]
    lines = ["all: " + " ".join(names)]
    for i, name in enumerate(names):
        lines += [f"{name}:", f"\t@{command(i)} > {name}"]
        (directory / name).touch()
    (directory / "Makefile").write_text("\n".join(lines) + "\n")


def write_long_pipeline(directory: Path, size: int) -> int:
    """Writes a pipeline file of nearly `size` bytes and returns its length; steps say what real ones say."""
    head = "prunella: v1\nname: long\nparams: { rate: 0.1 }\nsteps:\n"
    parts, length, i = [head], len(head), 0
    while True:
        text = (
            f"  step-{i}:\n"
            f"    run: python train.py --number {i} --rate ${{{{ params.rate }}}} > log.txt\n"
            f"    after: [{f'step-{i - 1}' if i else ''}]\n"
            "    outputs: { log: log.txt, model: { path: model.bin, check: { min_size: 1KiB } } }\n"
            "    resources: { cpu: 0.5, memory: 1GiB..2GiB }\n"
            "    env: { OMP_NUM_THREADS: 1 }\n"
            "    retry: { error: { limit: 3, backoff: 10s..5m } }\n"
        )
        if length + len(text) > size:
            break
        parts.append(text)
        length, i = length + len(text), i + 1
    (directory / "pipeline.yaml").write_text("".join(parts))
    return length
