"""Trains the network batch by batch and can be killed at any moment.

Now and then, and when it is asked to stop, the whole state becomes a checkpoint: one file, renamed
into place. Whoever starts this program again with the newest of them goes on from there and ends
with the same bytes. It knows nothing of Prunella but the names of a few variables, and runs without
it as well.
"""

import argparse
import os
import signal
import sys
import time
from pathlib import Path

import network
from whole import load_arrays, save_arrays

KEPT = 2
STOPPED_BY_TERM = 128 + signal.SIGTERM

stop_asked = False


def ask_to_stop(_signal, _frame):
    global stop_asked
    stop_asked = True


def newest_checkpoint(folder):
    """Returns the checkpoint with the most updates, or None."""
    return max(folder.glob("update-*.npz"), default=None)


def checkpoint(folder, state):
    """Writes the state into `folder` and removes all but the newest few."""
    save_arrays(folder / f"update-{int(state['updates']):06}.npz", **state)
    for old in sorted(folder.glob("update-*.npz"))[:-KEPT]:
        old.unlink()


arguments = argparse.ArgumentParser(description=__doc__)
arguments.add_argument("--epochs", type=int, default=30)
arguments.add_argument("--hidden", type=int, default=64)
arguments.add_argument("--seed", type=int, default=7)
arguments.add_argument("--every", type=float, default=1.0, help="seconds between two checkpoints")
arguments.add_argument("--pace", type=float, default=0.0, help="seconds by which every epoch takes longer")
options = arguments.parse_args()

signal.signal(signal.SIGTERM, ask_to_stop)
folder = Path(os.environ.get("PRUNELLA_CHECKPOINT_DIR", "checkpoints"))
folder.mkdir(parents=True, exist_ok=True)
data = load_arrays(os.environ.get("PRUNELLA_INPUT_TRAIN", "train.npz"))

newest = newest_checkpoint(folder)
if newest is None:
    state = network.fresh(data["images"].shape[1], options.hidden, options.seed)
else:
    state = load_arrays(newest)
    if (int(state["seed"]), state["hidden"].shape[1]) != (options.seed, options.hidden):
        sys.exit(f"{newest} is of another training: remove it, or give its --seed and --hidden")
    print(f"restored epoch {int(state['epoch'])}, batch {int(state['batch'])}", flush=True)

saved = time.monotonic()
while state["epoch"] < options.epochs:
    network.train_one_batch(state, data["images"], data["digits"])
    time.sleep(options.pace / network.batches(data["images"]))
    if state["batch"] == 0:
        print(f"epoch {int(state['epoch'])}/{options.epochs}  loss {state['loss'][-1]:.4f}", flush=True)
    if stop_asked or time.monotonic() - saved >= options.every:
        checkpoint(folder, state)
        saved = time.monotonic()
    if stop_asked and state["epoch"] < options.epochs:
        print(f"asked to stop: epoch {int(state['epoch'])}, batch {int(state['batch'])} is in a checkpoint", flush=True)
        sys.exit(STOPPED_BY_TERM)

kept = {name: state[name] for name in (*network.WEIGHTS, "epoch", "loss", "seed")}
save_arrays(os.environ.get("PRUNELLA_OUTPUT_MODEL", "model.npz"), **kept)
