"""Checkpoints one large file again and again over the socket, and copies it in turn; says how long each took."""

import json
import os
import socket
import sys
import time

size, rounds, sealed = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3] == "sealed"
directory = os.environ["PRUNELLA_CHECKPOINT_DIR"]
heard = socket.socket(socket.AF_UNIX)
heard.connect(os.environ["PRUNELLA_SOCKET"])
lines = heard.makefile("rw")


def write(path: str) -> None:
    block = os.urandom(1 << 20)
    with open(path, "wb") as file:
        for _ in range(size >> 20):
            file.write(block)
        file.flush()
        os.fsync(file.fileno())


def wait(kind: str) -> None:
    said = json.loads(lines.readline())
    if said["type"] != kind:
        sys.exit(f"expected `{kind}`, heard {said}")


def copy(source: str, target: str) -> float:
    begun = time.monotonic()
    with open(source, "rb", buffering=0) as read, open(target, "wb", buffering=0) as write:
        while block := read.read(1 << 20):
            write.write(block)
    return time.monotonic() - begun


for number in range(rounds):
    entry = f"e{number}"
    write(f"{directory}/.{entry}")
    os.rename(f"{directory}/.{entry}", f"{directory}/{entry}")
    begun = time.monotonic()
    lines.write(json.dumps({"type": "checkpoint", "path": entry, "sealed": sealed}) + "\n")
    lines.flush()
    wait("taken")
    taken = time.monotonic()
    wait("durable")
    durable = time.monotonic()
    copied = copy(f"{directory}/{entry}", "copied")
    os.remove("copied")
    os.remove(f"{directory}/{entry}")
    with open(os.environ["BENCH_SAID"], "a") as said:
        print("times", taken - begun, durable - begun, copied, file=said)
with open(os.environ["PRUNELLA_OUTPUT_DONE"], "w") as done:
    print(rounds, file=done)
