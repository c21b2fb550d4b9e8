"""Says how far the line is from the one that made the points."""

import json
import os
from pathlib import Path

from trainer import load_weights

weights = load_weights(Path(os.environ.get("PRUNELLA_INPUT_MODEL", "model.safetensors")))
off = {"slope": abs(weights["slope"][0] - 3), "bias": abs(weights["bias"][0] + 1)}
Path(os.environ.get("PRUNELLA_OUTPUT_METRICS", "metrics.json")).write_text(json.dumps(off))
