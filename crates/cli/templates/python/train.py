"""Fits a line to points, epoch by epoch; after every epoch a checkpoint holds where it is."""

import argparse
import csv
import json
import os
import pathlib

arguments = argparse.ArgumentParser()
arguments.add_argument("--epochs", type=int, required=True)
arguments.add_argument("--rate", type=float, required=True)
options = arguments.parse_args()

with open(os.environ["PRUNELLA_INPUT_POINTS"], newline="") as file:
    points = [(float(row["x"]), float(row["y"])) for row in csv.DictReader(file)]

checkpoints = pathlib.Path(os.environ["PRUNELLA_CHECKPOINT_DIR"])
state = {"epoch": 0, "slope": 0.0, "offset": 0.0}
earlier = sorted(checkpoints.glob("epoch-*.json"))
if earlier:
    state = json.loads(earlier[-1].read_text())
    print(f"back at epoch {state['epoch']}")

while state["epoch"] < options.epochs:
    error = 0.0
    for x, y in points:
        wrong = state["slope"] * x + state["offset"] - y
        state["slope"] -= options.rate * wrong * x
        state["offset"] -= options.rate * wrong
        error += wrong * wrong / len(points)
    state["epoch"] += 1
    # Written under a hidden name, then renamed: whoever sees it sees it whole.
    part = checkpoints / ".next"
    part.write_text(json.dumps(state))
    part.rename(checkpoints / f"epoch-{state['epoch']:06}.json")
    print(f"epoch {state['epoch']}/{options.epochs} error {error:.4f}", flush=True)

pathlib.Path(os.environ["PRUNELLA_OUTPUT_MODEL"]).write_text(json.dumps(state) + "\n")
