"""A trainer in the shape of that of Hugging Face transformers, with nothing but the standard library.

It writes the same files in the same order, in place: model, optimizer, scheduler, RNG state, and at last the state of the
trainer. It knows no signals and renames nothing; whoever copies its folder too early has half of it.
"""

import json
import os
import random
import re
import shutil
import struct
import time
import zipfile
from pathlib import Path


def save_weights(weights, path):
    """Writes numbers by name as safetensors: a header that says where each lies, then their bytes."""
    header, data = {}, b""
    for name, values in weights.items():
        begin, data = len(data), data + struct.pack(f"<{len(values)}d", *values)
        header[name] = {"dtype": "F64", "shape": [len(values)], "data_offsets": [begin, len(data)]}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)


def load_weights(path):
    raw = path.read_bytes()
    (length,) = struct.unpack("<Q", raw[:8])
    header, data = json.loads(raw[8 : 8 + length]), raw[8 + length :]
    unpack = lambda begin, end: list(struct.unpack(f"<{(end - begin) // 8}d", data[begin:end]))
    return {name: unpack(*tensor["data_offsets"]) for name, tensor in header.items()}


def save_archive(state, path):
    """Writes a state as a zip archive, as `torch.save` does."""
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(zipfile.ZipInfo("archive/data.json"), json.dumps(state))


def load_archive(path):
    with zipfile.ZipFile(path) as archive:
        return json.loads(archive.read("archive/data.json"))


def last_checkpoint(output_dir):
    """Returns the folder `checkpoint-N` with the highest N, like `transformers.trainer_utils.get_last_checkpoint`."""
    found = [(int(name[11:]), name) for name in os.listdir(output_dir) if re.fullmatch(r"checkpoint-\d+", name)]
    return Path(output_dir) / max(found)[1] if found else None


class Trainer:
    """Fits weights by steps of stochastic gradient descent with momentum."""

    def __init__(self, model, gradient, output_dir, max_steps, save_steps, seed, pace):
        self.weights, self.gradient, self.output_dir = model, gradient, Path(output_dir)
        self.max_steps, self.save_steps, self.pace = max_steps, save_steps, pace
        self.momentum = {name: [0.0] * len(values) for name, values in model.items()}
        self.rate, self.step, self.random = 0.05, 0, random.Random(seed)

    def train(self, resume_from_checkpoint=None):
        if resume_from_checkpoint:
            self._load(resume_from_checkpoint)
        while self.step < self.max_steps:
            for name, slopes in self.gradient(self.weights, self.random).items():
                for i, slope in enumerate(slopes):
                    self.momentum[name][i] = 0.9 * self.momentum[name][i] + slope
                    self.weights[name][i] -= self.rate * self.momentum[name][i]
            self.rate *= 0.995
            self.step += 1
            if self.step % self.save_steps == 0:
                self._save()
                time.sleep(self.pace)
        return self.weights

    def _save(self):
        folder = self.output_dir / f"checkpoint-{self.step}"
        folder.mkdir(exist_ok=True)
        save_weights(self.weights, folder / "model.safetensors")
        save_archive(self.momentum, folder / "optimizer.pt")
        save_archive(self.rate, folder / "scheduler.pt")
        save_archive(self.random.getstate(), folder / "rng_state.pth")
        (folder / "trainer_state.json").write_text(json.dumps({"global_step": self.step, "max_steps": self.max_steps}))
        for old in sorted(self.output_dir.glob("checkpoint-*"), key=lambda path: int(path.name[11:]))[:-2]:
            shutil.rmtree(old)

    def _load(self, folder):
        self.weights = load_weights(folder / "model.safetensors")
        self.momentum = load_archive(folder / "optimizer.pt")
        self.rate = load_archive(folder / "scheduler.pt")
        version, internal, gauss = load_archive(folder / "rng_state.pth")
        self.random.setstate((version, tuple(internal), gauss))
        self.step = json.loads((folder / "trainer_state.json").read_text())["global_step"]
