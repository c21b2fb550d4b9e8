"""Says how often a model is right about points that it has not seen."""

import json
import os
from pathlib import Path

import network

model = json.loads(Path(os.environ.get("PRUNELLA_INPUT_MODEL", "model.json")).read_text())
points = json.loads(Path(os.environ.get("PRUNELLA_INPUT_TEST", "test.json")).read_text())
right = sum((network.predict(model["network"], x, y) > 0.5) == bool(inside) for x, y, inside in points)
metrics = {"accuracy": right / len(points), "right": right, "points": len(points)}
Path(os.environ.get("PRUNELLA_OUTPUT_METRICS", "metrics.json")).write_text(json.dumps(metrics) + "\n")
