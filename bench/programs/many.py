"""Writes a tree of many small files and says when it was done: many.py TREE FILES SAID."""

import os
import sys
import time

PER_FOLDER = 1000
SIZE = 256

tree, files, said = sys.argv[1], int(sys.argv[2]), sys.argv[3]
for first in range(0, files, PER_FOLDER):
    folder = os.path.join(tree, f"{first // PER_FOLDER:04}")
    os.makedirs(folder)
    at = os.open(folder, os.O_RDONLY)
    for n in range(first, min(files, first + PER_FOLDER)):
        file = os.open(f"{n:07}.bin", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644, dir_fd=at)
        # No two files are alike, and every time they are the same.
        os.write(file, (n * 0x9E3779B97F4A7C15 % 2**64).to_bytes(8, "little") * (SIZE // 8))
        os.close(file)
    os.close(at)
with open(said, "w") as out:
    out.write(f"{time.time()}")
