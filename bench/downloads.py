"""Downloads from one server, in turn with rclone and s5cmd: what another load or a server of its own does to one does it to all."""

import shutil

from bucket import Server
from measure import Failed
from report import Result, number
from transfer import Prunella, Rclone, S5cmd, serve, write_files


def run(options) -> Result:
    size, files = options.transfer_size, options.transfer_files
    result = Result("downloads", f"{number(size / 2**20)} MiB in {files} files, in turn from one S3 server on loopback")
    ours, tools = Prunella(options), [tool for tool in (Rclone(options), S5cmd(options)) if tool.is_there()]
    if not tools:
        raise Failed("neither rclone nor s5cmd is on PATH")
    data = options.dir / "data"
    write_files(data, files, size // files)
    speeds: dict[str, list[float]] = {}
    peaks: list[float] = []
    with Server(serve(options)) as server:
        ours.make(server, data)
        tools[0].upload(server, data, [])
        for _ in range(max(1, options.transfer_runs)):
            took = [(tool.name, tool.download(server, data, [])) for tool in tools]
            took.append((ours.name, ours.fetch(server, data, peaks)))
            for name, seconds in took:
                speeds.setdefault(name, []).append(size / 2**20 / seconds)
    mine = speeds[ours.name]
    best = [max(speeds[tool.name][n] for tool in tools) for n in range(len(mine))]
    result.add("speed against the fastest", [one / other for one, other in zip(mine, best)], "×", at_least=1.0)
    for name, figures in speeds.items():
        result.add(name, figures, "MiB/s")
    result.add("memory of prunella at its peak", max(peaks) / 1024, "MiB", at_most=256)
    shutil.rmtree(data)
    return result
