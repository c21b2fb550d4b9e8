"""Trains one model of the sweep. After every fourth epoch its whole state is a file in the checkpoint directory."""

import argparse
import json
import os
import random
import time
from pathlib import Path

import network

parser = argparse.ArgumentParser()
parser.add_argument("--hidden", type=int, default=6)
parser.add_argument("--rate", type=float, default=0.3)
parser.add_argument("--epochs", type=int, default=40)
parser.add_argument("--seed", type=int, default=7)
parser.add_argument("--pace", type=float, default=0.0)
options = parser.parse_args()

EVERY = 4
points = json.loads(Path(os.environ.get("PRUNELLA_INPUT_TRAIN", "train.json")).read_text())
checkpoints = Path(os.environ.get("PRUNELLA_CHECKPOINT_DIR", "checkpoints"))
checkpoints.mkdir(exist_ok=True)


def save(path, state):
    """Writes a file that is never seen half-written."""
    hidden = path.with_name(f".{path.name}")
    with hidden.open("w") as file:
        json.dump(state, file)
        file.flush()
        os.fsync(file.fileno())
    hidden.rename(path)


found = sorted(checkpoints.glob("epoch-*.json"))
if found:
    state = json.loads(found[-1].read_text())
    print(f"goes on after epoch {state['epoch']}", flush=True)
else:
    state = {"epoch": 0, "network": network.fresh(options.hidden, random.Random(options.seed))}

while state["epoch"] < options.epochs:
    epoch = state["epoch"] + 1
    # The order follows from seed and epoch: nothing has to be carried along.
    order = random.Random(f"{options.seed}-{epoch}").sample(points, len(points))
    for x, y, inside in order:
        network.learn(state["network"], x, y, inside, options.rate)
    state["epoch"] = epoch
    if epoch % EVERY == 0:
        save(checkpoints / f"epoch-{epoch:05}.json", state)
        for old in sorted(checkpoints.glob("epoch-*.json"))[:-2]:
            old.unlink()
        print(f"epoch {epoch}", flush=True)
        time.sleep(options.pace)

output = Path(os.environ.get("PRUNELLA_OUTPUT_MODEL", "model.json"))
save(output, {"hidden": options.hidden, "rate": options.rate, "network": state["network"]})
