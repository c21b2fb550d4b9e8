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
    command = [str(example), str(size), str(max(2, options.runs)), str(options.dir)]
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
    # In turn one of the two comes first; the other then gets the blocks that the first one's file left.
    write_first, copy_first = slice(0, None, 2), slice(1, None, 2)
    places = (("new blocks", write_first, copy_first), ("old blocks", copy_first, write_first))
    for name, writes, copies in places:
        write, copied = of["write"][writes], of["copied"][copies]
        share = [one / other for one, other in zip(write, copied)]
        result.add(f"by copy, speed against write and fsync, {name}", share, "×", at_least=0.8)
        result.add(f"by copy, {name}", copied, "s")
        result.add(f"write and fsync alone, {name}", write, "s")
    return result
