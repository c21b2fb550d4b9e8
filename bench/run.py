#!/usr/bin/env python3
"""Measures Prunella against what it should be measured against; docs/benchmarks.md says what each benchmark does.

python3 bench/run.py [NAME…] [--runs 5] [--prunella PATH] [--quick] [--save] [--write-docs]
"""

import argparse
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import checkpoint
import downloads
import entries
import ingest
import machine
import recovery
import report
import reuse
import scale
import status
import steps
import transfer
import trees
from measure import Failed

BENCHES = {
    "chain": lambda options: steps.compare(options, "chain", options.chain_steps, chain=True),
    "independent": lambda options: steps.compare(options, "independent", options.steps, chain=False),
    "rerun": steps.rerun,
    "reuse": reuse.run,
    "coldstart": steps.coldstart,
    "yaml": steps.yaml,
    "scale": scale.run,
    "status": status.run,
    "ingest": ingest.run,
    "trees": trees.run,
    "entries": entries.run,
    "recovery": recovery.run,
    "checkpoint": checkpoint.run,
    "transfer": transfer.run,
    "downloads": downloads.run,
}

UNITS = {"KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30}


def size(text: str) -> int:
    """Reads a size such as 64MiB."""
    for unit, factor in UNITS.items():
        if text.endswith(unit):
            return int(text.removesuffix(unit)) * factor
    raise argparse.ArgumentTypeError(f"`{text}` is not a size such as 64MiB")


def sizes(text: str) -> list[int]:
    return [int(part) for part in text.split(",")]


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help="all (the default) or some of: " + ", ".join(BENCHES))
    parser.add_argument("--runs", type=int, default=5, help="rounds of which the median is taken")
    parser.add_argument("--prunella", type=Path, help="the binary (default: target/release/prunella, built if missing)")
    parser.add_argument("--examples", type=Path, help="the measuring programs (default: target/release/examples)")
    parser.add_argument("--dir", type=Path, help="where to work (default: target); its file system is measured")
    parser.add_argument("--quick", action="store_true", help="tiny sizes: shows that the benchmarks work, no more")
    parser.add_argument("--save", action="store_true", help="keep the results in bench/results")
    parser.add_argument("--write-docs", action="store_true", help="save, and write the table of docs/benchmarks.md")
    parser.add_argument("--chain-steps", type=int, default=1000)
    parser.add_argument("--steps", type=int, default=10_000, help="independent steps")
    parser.add_argument("--scale", type=sizes, default=[1000, 10_000, 100_000], help="such as 1000,10000")
    parser.add_argument("--long-runs", type=int, default=1, help="rounds of scale above 10,000 steps")
    parser.add_argument("--status-steps", type=int, default=100_000, help="of the run that is looked at")
    parser.add_argument("--yaml-size", type=size, default=8 << 20)
    parser.add_argument("--size", type=size, default=1 << 30, help="of the file that is taken in")
    parser.add_argument("--tree-files", type=int, default=100_000, help="files of 4 KiB in a tree")
    parser.add_argument("--tree-runs", type=int, default=1, help="rounds of trees; dvc takes minutes")
    parser.add_argument("--entries", type=int, default=1_000_000, help="files of 256 B in a tree: 5 GB of disk, some minutes")
    parser.add_argument("--verify-size", type=size, default=1 << 30, help="of the file that verify and b3sum read")
    parser.add_argument("--dvc", type=Path, help="the program dvc (default: the one on PATH)")
    parser.add_argument("--b3sum", type=Path, help="the program b3sum (default: the one on PATH)")
    parser.add_argument("--kills", type=int, default=60)
    parser.add_argument("--checkpoint-size", type=size, default=1 << 30)
    parser.add_argument("--loop-size", type=size, default=256 << 20)
    parser.add_argument("--loop-rounds", type=int, default=20)
    parser.add_argument("--transfer-size", type=size, default=4 << 30, help="that is uploaded and downloaded; held in memory by the server")
    parser.add_argument("--transfer-files", type=int, default=400, help="files that it lies in")
    parser.add_argument("--transfer-runs", type=int, default=3, help="rounds of transfer")
    parser.add_argument("--small-files", type=int, default=20_000, help="files of 16 KiB that are uploaded")
    options = parser.parse_args()
    for name in options.names:
        if name not in BENCHES and name != "all":
            parser.error(f"there is no benchmark `{name}`")
    if options.quick:
        small = {
            "runs": 2, "chain_steps": 50, "steps": 100, "scale": [100, 300], "status_steps": 2000, "yaml_size": 1 << 20, "size": 16 << 20,
            "tree_files": 300, "entries": 2500, "verify_size": 64 << 20, "kills": 6, "checkpoint_size": 16 << 20, "loop_size": 8 << 20, "loop_rounds": 2,
            "transfer_size": 128 << 20, "transfer_files": 100, "transfer_runs": 1, "small_files": 500,
        }
        vars(options).update(small)
        if options.save or options.write_docs:
            parser.error("what --quick measures is not kept")
    return options


def built(given: Path | None, default: Path, words: list[str]) -> Path:
    """Returns a program's path; builds it where the default is missing."""
    path = (given or default).absolute()
    if not path.exists():
        if given is not None:
            sys.exit(f"`{path}` is not there")
        subprocess.run(["cargo", "build", "--release", *words], cwd=report.ROOT, check=True)
    return path


def main() -> int:
    options = arguments()
    release = report.ROOT / "target" / "release"
    options.prunella = built(options.prunella, release / "prunella", ["-p", "prunella"])

    def example(package: str, name: str) -> Path:
        given = options.examples and options.examples / name
        return built(given, release / "examples" / name, ["-p", package, "--example", name])

    options.example = example
    names = list(BENCHES) if not options.names or "all" in options.names else options.names
    parent = (options.dir or report.ROOT / "target").absolute()
    parent.mkdir(parents=True, exist_ok=True)
    version = subprocess.run([options.prunella, "--version"], capture_output=True, text=True, check=True).stdout.strip()
    failed = 0
    for name in names:
        work = Path(tempfile.mkdtemp(prefix="bench-", dir=parent))
        options.dir = work / name
        here = machine.describe(work)
        print(("" if name == names[0] else "\n") + machine.line(here))
        report.warn(here)
        try:
            result = BENCHES[name](options)
        except (Failed, subprocess.SubprocessError) as error:
            print(f"{name}: no figure: {error}", file=sys.stderr)
            failed += 1
            continue
        finally:
            shutil.rmtree(work, ignore_errors=True)
        result.machine, result.version = here, version
        report.show(result)
        if options.save or options.write_docs:
            result.save()
    if options.write_docs:
        report.write_document(list(BENCHES))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
