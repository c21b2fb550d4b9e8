"""Fits a line through noisy points. Everything about checkpoints is in one argument, as with the real Trainer."""

import argparse
import os
from pathlib import Path

from trainer import Trainer, last_checkpoint, save_weights

parser = argparse.ArgumentParser()
parser.add_argument("--steps", type=int, default=400)
parser.add_argument("--seed", type=int, default=7)
parser.add_argument("--pace", type=float, default=0.0)
options = parser.parse_args()


def gradient(weights, chance):
    """The slopes of the squared error at eight points of y = 3 x - 1."""
    line = {"slope": [0.0], "bias": [0.0]}
    for _ in range(8):
        x = chance.uniform(-1, 1)
        error = weights["slope"][0] * x + weights["bias"][0] - (3 * x - 1 + chance.gauss(0, 0.1))
        line["slope"][0] += error * x / 4
        line["bias"][0] += error / 4
    return line


output_dir = os.environ.get("PRUNELLA_CHECKPOINT_DIR", "checkpoints")
os.makedirs(output_dir, exist_ok=True)
model = {"slope": [0.0], "bias": [0.0]}
trainer = Trainer(model, gradient, output_dir, options.steps, 10, options.seed, options.pace)
weights = trainer.train(resume_from_checkpoint=last_checkpoint(output_dir))
save_weights(weights, Path(os.environ.get("PRUNELLA_OUTPUT_MODEL", "model.safetensors")))
