"""Works for a second and saves, again and again; the same program with and without Prunella.

Every file stays, as it does in the store: a disk may take longer for bytes in a new place than for those over an old
file's, and that difference is no cost of taking a checkpoint.
"""

import hashlib
import os
import sys
import time

size, rounds, work = int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
directory = os.environ["PRUNELLA_CHECKPOINT_DIR"]
block = bytes(range(256)) * 4096
begun = time.monotonic()
for number in range(rounds):
    for _ in range(work):
        hashlib.sha256(block).digest()
    with open(f"{directory}/.new", "wb") as file:
        for _ in range(size >> 20):
            file.write(block)
        file.flush()
        os.fsync(file.fileno())
    os.rename(f"{directory}/.new", f"{directory}/e{number}")
with open(os.environ["BENCH_SAID"], "a") as said:
    print("loop", time.monotonic() - begun, file=said)
if "PRUNELLA_OUTPUT_DONE" in os.environ:
    with open(os.environ["PRUNELLA_OUTPUT_DONE"], "w") as done:
        print(rounds, file=done)
