"""A network with one hidden layer, trained by Adam; all of its state is one dictionary of arrays."""

import numpy as np

CLASSES = 10
WEIGHTS = ("hidden", "hidden_bias", "out", "out_bias")
RATE, DECAY_1, DECAY_2, TINY = 2e-3, 0.9, 0.999, 1e-8
BATCH = 64


def fresh(features, hidden, seed):
    """Returns the state before the first epoch."""
    random = np.random.default_rng([seed, 0])
    state = {
        "epoch": np.int64(0),
        "batch": np.int64(0),
        "batch_losses": np.float64(0),
        "updates": np.int64(0),
        "seed": np.int64(seed),
        "loss": np.zeros(0),
        "hidden": random.normal(0, np.sqrt(2 / features), (features, hidden)),
        "hidden_bias": np.zeros(hidden),
        "out": random.normal(0, np.sqrt(1 / hidden), (hidden, CLASSES)),
        "out_bias": np.zeros(CLASSES),
    }
    for name in WEIGHTS:
        state[f"mean_{name}"] = np.zeros_like(state[name])
        state[f"square_{name}"] = np.zeros_like(state[name])
    return state


def probabilities(state, images):
    """Returns one row of ten probabilities for every image, and the hidden activations behind it."""
    activation = np.maximum(images @ state["hidden"] + state["hidden_bias"], 0)
    scores = activation @ state["out"] + state["out_bias"]
    scores = np.exp(scores - scores.max(axis=1, keepdims=True))
    return scores / scores.sum(axis=1, keepdims=True), activation


def batches(images):
    """Returns into how many batches an epoch is divided."""
    return -(-len(images) // BATCH)


def train_one_batch(state, images, digits):
    """Advances `state` by one batch, and with the last batch of an epoch by that epoch.

    The order of the images is drawn from (seed, epoch) alone. Both are in the state, and so is the
    place in the epoch: a batch gives the same bytes in the process that ran the batch before and in
    one that restored it.
    """
    epoch, start = int(state["epoch"]) + 1, int(state["batch"]) * BATCH
    order = np.random.default_rng([int(state["seed"]), epoch]).permutation(len(images))
    chosen = order[start : start + BATCH]
    state["batch_losses"] = state["batch_losses"] + _update(state, images[chosen], digits[chosen])
    state["batch"] = np.int64(state["batch"] + 1)
    if state["batch"] == batches(images):
        state["loss"] = np.append(state["loss"], state["batch_losses"] / len(order))
        state["epoch"] = np.int64(epoch)
        state["batch"], state["batch_losses"] = np.int64(0), np.float64(0)


def _update(state, images, digits):
    likely, activation = probabilities(state, images)
    rows = np.arange(len(digits))
    loss = -np.log(np.maximum(likely[rows, digits], 1e-300)).sum()

    error = likely.copy()
    error[rows, digits] -= 1
    error /= len(digits)
    behind = (error @ state["out"].T) * (activation > 0)
    slopes = {
        "out": activation.T @ error,
        "out_bias": error.sum(axis=0),
        "hidden": images.T @ behind,
        "hidden_bias": behind.sum(axis=0),
    }

    state["updates"] = np.int64(state["updates"] + 1)
    step = RATE * np.sqrt(1 - DECAY_2 ** int(state["updates"])) / (1 - DECAY_1 ** int(state["updates"]))
    for name in WEIGHTS:
        mean, square = state[f"mean_{name}"], state[f"square_{name}"]
        mean += (1 - DECAY_1) * (slopes[name] - mean)
        square += (1 - DECAY_2) * (slopes[name] ** 2 - square)
        state[name] -= step * mean / (np.sqrt(square) + TINY)
    return loss
