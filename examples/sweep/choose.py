"""Compares all models of the sweep and passes the best one on."""

import json
import os
import shutil
from pathlib import Path

metrics = Path(os.environ["PRUNELLA_INPUT_METRICS"])
models = Path(os.environ["PRUNELLA_INPUT_MODELS"])
rows = []
for entry in json.loads((metrics / "index.json").read_text()):
    accuracy = json.loads((metrics / entry["path"]).read_text())["accuracy"]
    rows.append({**entry["item"], "accuracy": accuracy, "folder": entry["folder"]})
# Of equally good ones the smallest, then the one with the smaller rate: the same choice every time.
rows.sort(key=lambda row: (-row["accuracy"], row["hidden"], row["rate"]))
best = rows[0]
print(f"the best of {len(rows)}: {best['folder']}, right in {best['accuracy']:.1%}")

paths = {entry["folder"]: models / entry["path"] for entry in json.loads((models / "index.json").read_text())}
shutil.copyfile(paths[best["folder"]], os.environ["PRUNELLA_OUTPUT_MODEL"])
Path(os.environ["PRUNELLA_OUTPUT_BEST"]).write_text(json.dumps(best) + "\n")
with open(os.environ["PRUNELLA_OUTPUT_TABLE"], "w") as table:
    table.write("hidden  rate  accuracy\n")
    for row in rows:
        table.write(f"{row['hidden']:>6}  {row['rate']:>4}  {row['accuracy']:>8.1%}\n")
