"""Says what the model learnt and how far it is off."""

import csv
import json
import os
import pathlib

model = json.loads(pathlib.Path(os.environ["PRUNELLA_INPUT_MODEL"]).read_text())
with open(os.environ["PRUNELLA_INPUT_POINTS"], newline="") as file:
    points = [(float(row["x"]), float(row["y"])) for row in csv.DictReader(file)]

worst = max(abs(model["slope"] * x + model["offset"] - y) for x, y in points)
text = f"y = {model['slope']:.3f} x + {model['offset']:.3f}, at most {worst:.3f} off\n"
pathlib.Path(os.environ["PRUNELLA_OUTPUT_PAGE"]).write_text(text)
print(text, end="")
