"""Figures beside targets: on the screen, as JSON, in docs/benchmarks.md."""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path

import machine as machines
from measure import median

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "bench" / "results"
DOCUMENT = ROOT / "docs" / "benchmarks.md"
BEGIN, END = "<!-- bench: begin -->", "<!-- bench: end -->"


@dataclass
class Row:
    """One line of the table: what was measured, how often, and what it should be."""

    what: str
    values: list[float]
    unit: str
    at_most: float | None = None
    at_least: float | None = None
    note: str = ""

    def met(self) -> bool | None:
        """Returns whether the median meets the target; nothing where there is none."""
        if self.at_most is not None:
            return median(self.values) <= self.at_most
        if self.at_least is not None:
            return median(self.values) >= self.at_least
        return None

    def figure(self) -> str:
        low, high = min(self.values), max(self.values)
        spread = "" if len(self.values) == 1 else f" ({number(low)}–{number(high)})"
        return f"{number(median(self.values))}{spread} {self.unit}".rstrip()

    def target(self) -> str:
        if self.at_most is not None:
            return f"≤ {number(self.at_most)} {self.unit}".rstrip()
        if self.at_least is not None:
            return f"≥ {number(self.at_least)} {self.unit}".rstrip()
        return ""

    def verdict(self) -> str:
        return {True: "met", False: "**missed**", None: ""}[self.met()]


@dataclass
class Result:
    """One benchmark: its sizes, the machine, its rows."""

    bench: str
    sizes: str
    rows: list[Row] = field(default_factory=list)
    machine: dict = field(default_factory=dict)
    version: str = ""

    def add(self, what: str, values: list[float] | float, unit: str, **more) -> None:
        self.rows.append(Row(what, values if isinstance(values, list) else [values], unit, **more))

    def save(self) -> None:
        RESULTS.mkdir(exist_ok=True)
        text = json.dumps(asdict(self), indent=1, ensure_ascii=False)
        (RESULTS / f"{self.bench}.json").write_text(text + "\n")


def load(bench: str) -> Result | None:
    path = RESULTS / f"{bench}.json"
    if not path.exists():
        return None
    read = json.loads(path.read_text())
    read["rows"] = [Row(**row) for row in read["rows"]]
    return Result(**read)


def number(value: float) -> str:
    """Returns three significant digits, never in exponents."""
    if value == 0 or abs(value) >= 1000:
        return f"{value:,.0f}"
    digits = 2 if abs(value) >= 1 else 3
    if abs(value) >= 100:
        digits = 0
    elif abs(value) >= 10:
        digits = 1
    return f"{value:.{digits}f}"


def show(result: Result) -> None:
    """Prints the table of one benchmark."""
    print(f"\n{result.bench}: {result.sizes}")
    cells = [(row.what, row.figure(), row.target(), row.verdict().strip("*"), row.note) for row in result.rows]
    widths = [max(len(cell[column]) for cell in cells) for column in range(4)]
    for cell in cells:
        print("  " + "  ".join(text.ljust(width) for text, width in zip(cell, widths + [0])).rstrip())


def warn(machine: dict) -> None:
    if not machines.is_quiet(machine):
        print("warning: the machine is busy with other work; these figures are worth little")


def write_document(benches: list[str]) -> None:
    """Writes the last saved results between the markers of docs/benchmarks.md."""
    parts = []
    for result in filter(None, map(load, benches)):
        parts += [f"### {result.bench}", "", f"{result.sizes}; `{result.version}`.", ""]
        parts += [machines.line(result.machine) + ".", ""]
        if not machines.is_quiet(result.machine):
            parts += ["The machine was busy with other work: these figures are worth little.", ""]
        parts += ["| | median (least–most) | target | | |", "| --- | --- | --- | --- | --- |"]
        for row in result.rows:
            parts.append(f"| {row.what} | {row.figure()} | {row.target()} | {row.verdict()} | {row.note} |")
        parts.append("")
    if not parts:
        parts = ["No results are kept yet.", ""]
    text = DOCUMENT.read_text()
    before, rest = text.split(BEGIN, 1)
    _, after = rest.split(END, 1)
    DOCUMENT.write_text(f"{before}{BEGIN}\n\n" + "\n".join(parts) + f"\n{END}{after}")
    print(f"wrote {DOCUMENT.relative_to(ROOT)}")
