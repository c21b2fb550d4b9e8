"""Draws the training, the confusion matrix and the mistakes into one page that needs no other file."""

import io
import json
import os
from pathlib import Path

import matplotlib

matplotlib.use("svg")
matplotlib.rcParams["svg.hashsalt"] = "digits"  # otherwise the ids in the picture are random
from matplotlib import pyplot

from whole import load_arrays, write_whole

INK, ACCENT = "#20242c", "#5b3fa8"
SHOWN = 10

PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<title>Handwritten digits</title>
<style>
body {{ font: 16px/1.5 system-ui, sans-serif; color: {ink}; max-width: 60rem; margin: 2rem auto; padding: 0 1rem }}
h1 {{ margin-bottom: 0 }} svg {{ width: 100%; height: auto }}
</style>
<h1>{accuracy:.1%} of the digits read right</h1>
<p>{images} images that the network had not seen, {mistakes} mistaken. {epochs} epochs, seed {seed}.</p>
{picture}
</html>
"""


def draw_training(axes, loss):
    axes.plot(range(1, len(loss) + 1), loss, color=ACCENT, linewidth=2)
    axes.set(title="Training", xlabel="epoch", ylabel="loss", yscale="log")
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.25)


def draw_confusion(axes, confusion):
    most = max(map(max, confusion))
    axes.imshow(confusion, cmap="Purples", vmin=0, vmax=most)
    for row, counts in enumerate(confusion):
        for column, count in enumerate(counts):
            if count:
                axes.text(column, row, count, ha="center", va="center", color="white" if count > most / 2 else INK)
    axes.set(title="Confusion", xlabel="read as", ylabel="is", xticks=range(10), yticks=range(10))


def draw_mistakes(figure, place, mistakes, images):
    cells = place.subgridspec(1, SHOWN)
    for at in range(SHOWN):
        axes = figure.add_subplot(cells[at])
        axes.axis("off")
        if at < len(mistakes):
            mistake = mistakes[at]
            axes.imshow(images[mistake["image"]].reshape(8, 8), cmap="gray_r", vmin=0, vmax=1)
            axes.set_title(f"{mistake['is']} as {mistake['guessed']}", fontsize=10)


def draw(metrics, model, images):
    """Returns the figure."""
    figure = pyplot.figure(figsize=(10, 5.8), layout="constrained")
    grid = figure.add_gridspec(2, 2, height_ratios=(4, 1))
    draw_training(figure.add_subplot(grid[0, 0]), model["loss"])
    draw_confusion(figure.add_subplot(grid[0, 1]), metrics["confusion"])
    draw_mistakes(figure, grid[1, :], metrics["mistakes"], images)
    return figure


metrics = json.loads(Path(os.environ.get("PRUNELLA_INPUT_METRICS", "metrics.json")).read_text())
model = load_arrays(os.environ.get("PRUNELLA_INPUT_MODEL", "model.npz"))
test = load_arrays(os.environ.get("PRUNELLA_INPUT_TEST", "test.npz"))

drawn = io.StringIO()
draw(metrics, model, test["images"]).savefig(drawn, format="svg", metadata={"Date": None})
picture = drawn.getvalue()
page = PAGE.format(
    ink=INK,
    accuracy=metrics["accuracy"],
    images=metrics["images"],
    mistakes=len(metrics["mistakes"]),
    epochs=int(model["epoch"]),
    seed=int(model["seed"]),
    picture=picture[picture.index("<svg") :],
)
write_whole(os.environ.get("PRUNELLA_OUTPUT_PAGE", "report.html"), page.encode())
