"""Scatters points over a square and says of each whether it lies in the disc in its middle: what the models are to learn."""

import argparse
import json
import os
import random
from pathlib import Path

parser = argparse.ArgumentParser()
parser.add_argument("--seed", type=int, default=7)
options = parser.parse_args()


def scatter(count, chance):
    points = [(round(chance.uniform(-1, 1), 4), round(chance.uniform(-1, 1), 4)) for _ in range(count)]
    return [[x, y, int(x * x + y * y < 0.5)] for x, y in points]


chance = random.Random(options.seed)
for name, count in (("train", 300), ("test", 200)):
    path = Path(os.environ.get(f"PRUNELLA_OUTPUT_{name.upper()}", f"{name}.json"))
    path.write_text(json.dumps(scatter(count, chance)) + "\n")
