"""Running again what is all there, over a store in a bucket."""

import shutil

import pipelines
from bucket import Server
from measure import Failed, wall
from project import environment
from report import Result

DELAY_MS = 5
"""What the network adds to every answer."""


def run(options) -> Result:
    """Runs a finished pipeline again, as a new run, from a machine that knows nothing of the store and from one that does."""
    count = options.steps
    sizes = f"{count:,} independent steps, all there already, in a bucket that answers after {DELAY_MS} ms: `prunella run --new`"
    result = Result("reuse", sizes)
    work, known = options.dir / "work", options.dir / "known"
    work.mkdir(parents=True)
    pipelines.write_pipeline(work, count, chain=False)
    with Server(options.example("prunella-bucketkit", "serve")) as server:
        again = [str(options.prunella), "run", "--jobs", "2", "--new"]

        def here(cache) -> dict[str, str]:
            return environment(server.env | {"XDG_CACHE_HOME": str(cache), "PRUNELLA_STORE": "s3://bucket/store"})

        wall(again, work, here(known))
        server.delay(DELAY_MS)
        news, requests = [], {}
        for n in range(options.runs):
            fresh = options.dir / f"fresh-{n}"
            server.asked()
            news.append(wall(again, work, here(fresh)))
            requests["new"] = server.asked()
            shutil.rmtree(fresh)
        wall([str(options.prunella), "index", "rebuild"], work, here(known))
        walls = []
        for _ in range(options.runs):
            server.asked()
            walls.append(wall(again, work, here(known)))
            requests["known"] = server.asked()
        server.delay(0)
        undelayed = [wall(again, work, here(known)) for _ in range(options.runs)]
    if requests["known"]["all"] >= requests["new"]["all"]:
        raise Failed("the index spared no request")
    result.add("a new machine", news, "s", at_most=15, note=told(requests["new"], count))
    result.add("with an index", walls, "s", at_most=1, note=told(requests["known"], count))
    result.add("with an index, no delay", undelayed, "s", note="what the processors of both sides take")
    return result


def told(asked: dict[str, int], count: int) -> str:
    kinds = ", ".join(f"{asked[name]:,} {name}" for name in ("get", "put", "list", "other"))
    return f"{asked['all'] / count:.2f} requests a step: {kinds}"
