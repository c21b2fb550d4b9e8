"""Measures the model on images it has not seen."""

import json
import os

from sklearn.metrics import accuracy_score, confusion_matrix

import network
from whole import load_arrays, write_whole

model = load_arrays(os.environ.get("PRUNELLA_INPUT_MODEL", "model.npz"))
test = load_arrays(os.environ.get("PRUNELLA_INPUT_TEST", "test.npz"))
guessed = network.probabilities(model, test["images"])[0].argmax(axis=1)

metrics = {
    "accuracy": round(float(accuracy_score(test["digits"], guessed)), 6),
    "confusion": confusion_matrix(test["digits"], guessed, labels=range(network.CLASSES)).tolist(),
    "images": len(guessed),
    "mistakes": [
        {"image": int(at), "is": int(test["digits"][at]), "guessed": int(guessed[at])}
        for at in (guessed != test["digits"]).nonzero()[0]
    ],
}
write_whole(os.environ.get("PRUNELLA_OUTPUT_METRICS", "metrics.json"), (json.dumps(metrics, indent=1) + "\n").encode())
print(f"accuracy {metrics['accuracy']:.4f}, {len(metrics['mistakes'])} of {len(guessed)} images mistaken")
