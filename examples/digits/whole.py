"""Writes files that are never seen half-written and hold the same bytes for the same content."""

import io
import os
import zipfile
from pathlib import Path

import numpy as np

ZIP_EPOCH = (1980, 1, 1, 0, 0, 0)


def write_whole(path, content):
    """Writes `content` to `path`: beside it under a hidden name first, then renamed into place."""
    path = Path(path)
    hidden = path.with_name(f".{path.name}.tmp")
    hidden.write_bytes(content)
    os.replace(hidden, path)


def save_arrays(path, **arrays):
    """Writes an .npz in which neither the time nor the order of a dictionary leaves a trace."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_STORED) as archive:
        for name in sorted(arrays):
            entry = io.BytesIO()
            np.save(entry, np.asarray(arrays[name]), allow_pickle=False)
            archive.writestr(zipfile.ZipInfo(f"{name}.npy", ZIP_EPOCH), entry.getvalue())
    write_whole(path, packed.getvalue())


def load_arrays(path):
    """Returns all arrays of an .npz by name."""
    with np.load(path, allow_pickle=False) as archive:
        return {name: archive[name] for name in archive.files}
