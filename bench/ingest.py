"""Taking one large output in, by rename and by copy, against hashing, syncing and writing the same bytes."""

import json
import subprocess

from measure import Failed
from report import Result, number


def run(options) -> Result:
    size = options.size
    result = Result("ingest", f"one file of {number(size / 2**30)} GiB, every round writes fresh bytes")
    example = options.example("prunella-store", "ingest")
    options.dir.mkdir(parents=True)
    command = [str(example), str(size), str(options.runs), str(options.dir)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        raise Failed(f"the measuring program left with {done.returncode}: {done.stderr[-600:]}")
    rounds = [json.loads(line) for line in done.stdout.splitlines()]
    of = {name: [one[f"{name}_s"] for one in rounds] for name in ("hash", "sync", "moved", "write", "copied")}
    yard = [max(pair) for pair in zip(of["hash"], of["sync"])]
    over = [(moved - bound) * 1000 for moved, bound in zip(of["moved"], yard)]
    result.add("by rename, over the longer of hash and fsync", over, "ms", at_most=50)
    result.add("by rename", of["moved"], "s")
    fastest = number(size / 1e9 / min(of["hash"]))
    result.add("hash alone", of["hash"], "s", note=f"{fastest} GB/s at best, from the page cache")
    result.add("fsync alone", of["sync"], "s", note="of the same dirty file")
    share = [write / copied for write, copied in zip(of["write"], of["copied"])]
    result.add("by copy, speed against write and fsync", share, "×", at_least=0.8)
    result.add("by copy", of["copied"], "s")
    result.add("write and fsync alone", of["write"], "s")
    return result
