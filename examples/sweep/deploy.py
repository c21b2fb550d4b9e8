"""Turns the best model into a program of its own, which needs nothing else of this folder."""

import json
import os
from pathlib import Path

best = json.loads(Path(os.environ["PRUNELLA_INPUT_BEST"]).read_text())
model = json.loads(Path(os.environ["PRUNELLA_INPUT_MODEL"]).read_text())
program = f'''#!/usr/bin/env python3
"""Says whether a point lies in the disc: python3 answer 0.1 -0.2 (right in {best["accuracy"]:.1%} of cases)."""

import math
import sys

NETWORK = {json.dumps(model["network"])}

x, y = float(sys.argv[1]), float(sys.argv[2])
*weights, bias = NETWORK["answer"]
total = sum(w * math.tanh(a * x + b * y + c) for w, (a, b, c) in zip(weights, NETWORK["hidden"])) + bias
print("inside" if total > 0 else "outside")
'''
Path(os.environ["PRUNELLA_OUTPUT_ANSWER"]).write_text(program)
