"""Uploads and downloads over a bucket, beside rclone, s5cmd and aws-cli, whichever there are."""

import datetime
import hashlib
import hmac
import http.client
import os
import random
import shutil
import subprocess
import threading
import time
import urllib.parse
import xml.etree.ElementTree as xml
from pathlib import Path

from bucket import Server
from measure import Failed, wall
from project import environment
from report import Result, number

DELAY_MS = 5
"""What the network adds to every answer where many small files are moved."""

MANY = 32
"""How many transfers the other tools run at once at their best settings."""

PART = 16 << 20
"""What is sent at once to find the server's ceiling."""


def run(options) -> Result:
    large, files = options.transfer_size, options.transfer_files
    small, small_size = options.small_files, 16 << 10
    sizes = f"{number(large / 2**20)} MiB in {files} files, and {small:,} files of 16 KiB at {DELAY_MS} ms, S3 on loopback"
    result = Result("transfer", sizes)
    tools = [tool for tool in (Rclone(options), S5cmd(options), Aws(options)) if tool.is_there()]
    if not tools:
        raise Failed("none of rclone, s5cmd and aws is on PATH")
    data = options.dir / "data"
    write_files(data, files, large // files)
    runs = max(1, options.transfer_runs)
    up: dict[str, list[float]] = {}
    down: dict[str, list[float]] = {}
    peaks: list[float] = []
    ceiling_up, ceiling_down = [], []
    for _ in range(runs):
        with Server(serve(options)) as server:
            one, other = ceiling(server.env, large)
            ceiling_up.append(one)
            ceiling_down.append(other)
        for tool in [Prunella(options), *tools]:
            with Server(serve(options)) as server:
                up.setdefault(tool.name, []).append(large / 2**20 / tool.upload(server, data, peaks))
                down.setdefault(tool.name, []).append(large / 2**20 / tool.download(server, data, peaks))
    result.add("the server's own ceiling, in", ceiling_up, "MiB/s", note=f"PUT of {PART >> 20} MiB by 4 connections")
    result.add("the server's own ceiling, out", ceiling_down, "MiB/s", note="GET of the same")
    for what, figures in (("upload", up), ("download", down)):
        theirs = {name: speeds for name, speeds in figures.items() if name != "prunella"}
        best = [max(speeds[n] for speeds in theirs.values()) for n in range(runs)]
        ratio = [one / other for one, other in zip(figures["prunella"], best)]
        result.add(f"{what}: speed against the fastest", ratio, "×", at_least=1.0)
        for name, speeds in figures.items():
            result.add(f"{what}: {name}", speeds, "MiB/s")
    result.add("memory of prunella at its peak", max(peaks) / 1024, "MiB", at_most=256)
    shutil.rmtree(data)
    many_small(options, result, tools, small, small_size)
    second(options, result, large, files)
    return result


def serve(options) -> Path:
    return options.example("prunella-bucketkit", "serve")


def write_files(directory: Path, count: int, size: int) -> None:
    """Writes files of bytes that nothing compresses, the same every time."""
    noise = random.Random(7)
    for n in range(count):
        path = directory / f"{n % 10}" / f"{n:05}.bin"
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(path, "wb") as file:
            for at in range(0, size, 1 << 20):
                file.write(noise.randbytes(min(1 << 20, size - at)))


def many_small(options, result: Result, tools: list, count: int, size: int) -> None:
    data = options.dir / "small"
    write_files(data, count, size)
    took, asked = {}, {}
    ours = Prunella(options)
    for tool in [ours, *tools, *(tool.at_best() for tool in tools)]:
        with Server(serve(options)) as server:
            server.delay(DELAY_MS)
            server.asked()
            took[tool.name] = tool.upload(server, data, [])
            asked[tool.name] = server.asked()["all"]
    shutil.rmtree(data)
    for tool in tools:
        at_least = 20 if tool.name in ("rclone", "aws") else None
        note = f"{asked[tool.name]:,} requests in {number(took[tool.name])} s"
        result.add(f"{count:,} small files: against {tool.name}", took[tool.name] / took["prunella"], "×", at_least=at_least, note=note)
    best = min((tool.at_best().name for tool in tools), key=lambda name: took[name])
    note = f"{best}: {asked[best]:,} requests in {number(took[best])} s"
    result.add("… against the fastest at best settings", took[best] / took["prunella"], "×", at_least=3, note=note)
    fewest = min(asked[tool.name] for tool in tools)
    note = f"{asked['prunella']:,} requests in {number(took['prunella'])} s"
    result.add("… share of their requests", 100 * asked["prunella"] / fewest, "%", at_most=1, note=note)


def second(options, result: Result, size: int, files: int) -> None:
    """Uploads data again after changes, and looks what came into the bucket."""
    changed = max(size // 100, 1 << 20)

    def replaced(data: Path) -> None:
        for path in sorted(data.rglob("*.bin"))[:: max(1, files // max(1, files // 100))][: max(1, files // 100)]:
            path.write_bytes(os.urandom(path.stat().st_size))

    def appended(data: Path) -> None:
        with open(sorted(data.rglob("*.bin"))[files // 2], "ab") as file:
            file.write(os.urandom(changed))

    def rewritten(data: Path) -> None:
        # One region goes over the ends of files where it is larger than one.
        left = changed
        for path in sorted(data.rglob("*.bin"))[files // 3 :]:
            with open(path, "r+b") as file:
                here = min(left, path.stat().st_size)
                file.write(os.urandom(here))
            left -= here
            if left == 0:
                return

    kinds = ((f"{max(1, files // 100)} files replaced", replaced), ("1 % appended to one", appended), ("one region of 1 % rewritten", rewritten))
    for what, change in kinds:
        data = options.dir / "again"
        write_files(data, files, size // files)
        with Server(serve(options)) as server:
            ours = Prunella(options)
            first = ours.upload(server, data, [])
            before = stored(server.env)
            change(data)
            took = ours.upload(server, data, [], anew=False)
            sent = stored(server.env) - before
        shutil.rmtree(data)
        note = f"{number(sent / 2**20)} MiB in {number(took)} s, the first in {number(first)} s"
        result.add(f"second upload, {what}: bytes sent", 100 * sent / size, "%", at_most=3, note=note)


class Prunella:
    """`prunella run` of a pipeline whose data is brought in; `prunella get` of what a step made.

    Nothing is subtracted: an upload is all of `prunella run`, from opening and probing the bucket over hashing and sending to the
    end of a step that does nothing; a download is all of `prunella get` on a machine without copies.
    """

    name = "prunella"

    def __init__(self, options) -> None:
        self.binary, self.dir = str(options.prunella), options.dir / "prunella"

    def env(self, server: Server) -> dict[str, str]:
        return environment(server.env | {"XDG_CACHE_HOME": str(self.dir / "cache"), "PRUNELLA_STORE": "s3://bucket/store"})

    def upload(self, server: Server, data: Path, peaks: list[float], anew: bool = True) -> float:
        # Data lies beside the pipeline file.
        beside = data.parent
        if anew:
            for old in (self.dir, beside / ".prunella"):
                shutil.rmtree(old, ignore_errors=True)
            self.dir.mkdir(parents=True)
        text = f"prunella: v1\nname: up\ndata: {{ all: {data.name} }}\nsteps:\n  nothing: {{ run: 'true', reuse: never }}\n"
        (beside / "pipeline.yaml").write_text(text)
        return timed([self.binary, "run", "--new", "--allow-unpinned"], beside, self.env(server), peaks)

    def download(self, server: Server, data: Path, peaks: list[float]) -> float:
        self.make(server, data)
        return self.fetch(server, data, peaks)

    def make(self, server: Server, data: Path) -> None:
        """Lets a step make the data; this machine knows nothing of it afterwards."""
        made = self.dir / "made"
        made.mkdir(parents=True)
        text = f"prunella: v1\nname: made\nsteps:\n  make: {{ run: 'cp -r {data} all', outputs: {{ all: all/ }} }}\n"
        (made / "pipeline.yaml").write_text(text)
        wall([self.binary, "run"], made, self.env(server))
        shutil.rmtree(made / ".prunella")
        shutil.rmtree(self.dir / "cache")

    def fetch(self, server: Server, data: Path, peaks: list[float]) -> float:
        """Gets what the step made; leaves nothing of it here."""
        shutil.rmtree(self.dir / "cache", ignore_errors=True)
        took = timed([self.binary, "get", "make.all", str(self.dir / "got")], self.dir / "made", self.env(server), peaks)
        check(self.dir / "got", data)
        return took


class Tool:
    """Another tool, at its defaults or at its best settings."""

    words: list[str] = []

    def __init__(self, options, best: bool = False) -> None:
        self.options, self.best = options, best
        self.program = shutil.which(self.base)
        self.name = f"{self.base}, {MANY} at once" if best else self.base

    def is_there(self) -> bool:
        return self.program is not None

    def at_best(self) -> "Tool":
        return type(self)(self.options, best=True)

    def env(self, server: Server) -> dict[str, str]:
        # What leads to a cloud is not meant for a server on loopback.
        inherited = {name: value for name, value in environment().items() if not name.startswith("AWS_")}
        return inherited | server.env | self.more(server)

    def more(self, server: Server) -> dict[str, str]:
        return {}

    def upload(self, server: Server, data: Path, _peaks: list[float]) -> float:
        return wall(self.up(str(data), server), data, self.env(server))

    def download(self, server: Server, data: Path, _peaks: list[float]) -> float:
        to = self.options.dir / "fetched"
        to.mkdir()
        took = wall(self.down(str(to), server), to, self.env(server))
        check(to, data)
        return took


SERVER = ["--ignore-checksum", "--fast-list"]
"""What rclone has to be told of our server: its entity tags are no MD5, and it lists without folders."""


class Rclone(Tool):
    base = "rclone"

    def more(self, server: Server) -> dict[str, str]:
        env = server.env
        return {
            "RCLONE_CONFIG": "/dev/null", "RCLONE_CONFIG_X_LIST_VERSION": "2", "RCLONE_CONFIG_X_NO_CHECK_BUCKET": "true", "RCLONE_CONFIG_X_TYPE": "s3", "RCLONE_CONFIG_X_PROVIDER": "Other",
            "RCLONE_CONFIG_X_ENDPOINT": env["AWS_ENDPOINT_URL"], "RCLONE_CONFIG_X_ACCESS_KEY_ID": env["AWS_ACCESS_KEY_ID"],
            "RCLONE_CONFIG_X_SECRET_ACCESS_KEY": env["AWS_SECRET_ACCESS_KEY"], "RCLONE_CONFIG_X_REGION": env["AWS_REGION"],
        }

    def many(self) -> list[str]:
        return ["--transfers", str(MANY), "--checkers", str(MANY)] if self.best else []

    def up(self, data: str, _: Server) -> list[str]:
        return [self.program, "copy", *SERVER, data, "x:bucket/files", *self.many()]

    def down(self, to: str, _: Server) -> list[str]:
        return [self.program, "copy", *SERVER, "x:bucket/files", to, *self.many()]


class S5cmd(Tool):
    base = "s5cmd"

    def words_of(self, server: Server) -> list[str]:
        # Its default of 256 at once is its best for small files.
        return [self.program, "--endpoint-url", server.env["AWS_ENDPOINT_URL"]]

    def up(self, data: str, server: Server) -> list[str]:
        return [*self.words_of(server), "cp", data + "/", "s3://bucket/files/"]

    def down(self, to: str, server: Server) -> list[str]:
        return [*self.words_of(server), "cp", "s3://bucket/files/*", to + "/"]


class Aws(Tool):
    base = "aws"

    def more(self, _: Server) -> dict[str, str]:
        config = self.options.dir / "aws-config"
        text = f"[default]\ns3 =\n  max_concurrent_requests = {MANY}\n  addressing_style = path\n" if self.best else "[default]\ns3 =\n  addressing_style = path\n"
        config.write_text(text)
        return {"AWS_CONFIG_FILE": str(config)}

    def up(self, data: str, _: Server) -> list[str]:
        return [self.program, "s3", "cp", "--recursive", "--only-show-errors", data, "s3://bucket/files"]

    def down(self, to: str, _: Server) -> list[str]:
        return [self.program, "s3", "cp", "--recursive", "--only-show-errors", "s3://bucket/files", to]


def timed(command: list[str], directory: Path, env: dict[str, str], peaks: list[float]) -> float:
    """Runs a command and returns its seconds; its peak of memory in KiB is added to `peaks`."""
    with open(directory / "said.log", "wb") as said:
        begun = time.perf_counter()
        process = subprocess.Popen(command, cwd=directory, env=env, stdin=subprocess.DEVNULL, stdout=said, stderr=said)
        _, status, used = os.wait4(process.pid, 0)
        took = time.perf_counter() - begun
    if os.waitstatus_to_exitcode(status) != 0:
        raise Failed(f"`{' '.join(command[:3])}` failed: " + (directory / "said.log").read_text(errors="replace")[-600:])
    peaks.append(used.ru_maxrss)
    return took


def check(fetched: Path, data: Path) -> None:
    """What came back must be what went away; looked at where it costs little, and removed."""
    for path in sorted(data.rglob("*.bin"))[::37]:
        if (fetched / path.relative_to(data)).read_bytes() != path.read_bytes():
            raise Failed(f"`{path}` came back as something else")
    shutil.rmtree(fetched)


def ceiling(env: dict[str, str], size: int) -> tuple[float, float]:
    """Returns how many MiB/s a plain loop of PUT, and one of GET, gets out of the server."""
    body, count = os.urandom(PART), max(4, size // PART)

    def loop(method: str, numbers: list[int]) -> None:
        connection = http.client.HTTPConnection(urllib.parse.urlsplit(env["AWS_ENDPOINT_URL"]).netloc)
        for n in numbers:
            path = f"/bucket/ceiling/{n}"
            connection.request(method, path, body if method == "PUT" else None, signed(env, method, path))
            response = connection.getresponse()
            while response.read(1 << 20):
                pass
            if response.status != 200:
                raise Failed(f"{method} was answered with {response.status}")

    speeds = []
    for method in ("PUT", "GET"):
        threads = [threading.Thread(target=loop, args=(method, list(range(first, count, 4)))) for first in range(4)]
        begun = time.perf_counter()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        speeds.append(count * PART / 2**20 / (time.perf_counter() - begun))
    return speeds[0], speeds[1]


def stored(env: dict[str, str]) -> int:
    """Returns how many bytes lie in the bucket."""
    total, token = 0, ""
    connection = http.client.HTTPConnection(urllib.parse.urlsplit(env["AWS_ENDPOINT_URL"]).netloc)
    while True:
        query = "list-type=2" if not token else "continuation-token=" + urllib.parse.quote(token, safe="") + "&list-type=2"
        connection.request("GET", f"/bucket?{query}", headers=signed(env, "GET", "/bucket", query))
        page = xml.fromstring(connection.getresponse().read())
        name = page.tag.removesuffix("ListBucketResult")
        total += sum(int(one.findtext(f"{name}Size")) for one in page.findall(f"{name}Contents"))
        token = page.findtext(f"{name}NextContinuationToken") or ""
        if not token:
            return total


def signed(env: dict[str, str], method: str, path: str, query: str = "") -> dict[str, str]:
    """Returns the headers of a request with a signature of version 4, its body unsigned."""
    now = datetime.datetime.now(datetime.UTC)
    stamp, day, region = now.strftime("%Y%m%dT%H%M%SZ"), now.strftime("%Y%m%d"), env["AWS_REGION"]
    host = urllib.parse.urlsplit(env["AWS_ENDPOINT_URL"]).netloc
    headers = {"host": host, "x-amz-content-sha256": "UNSIGNED-PAYLOAD", "x-amz-date": stamp}
    names = ";".join(headers)
    canonical = "\n".join([method, path, query, *(f"{name}:{value}" for name, value in headers.items()), "", names, "UNSIGNED-PAYLOAD"])
    scope = f"{day}/{region}/s3/aws4_request"
    text = "\n".join(["AWS4-HMAC-SHA256", stamp, scope, hashlib.sha256(canonical.encode()).hexdigest()])
    key = ("AWS4" + env["AWS_SECRET_ACCESS_KEY"]).encode()
    for part in (day, region, "s3", "aws4_request"):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    signature = hmac.new(key, text.encode(), hashlib.sha256).hexdigest()
    credential = f"{env['AWS_ACCESS_KEY_ID']}/{scope}"
    return headers | {"authorization": f"AWS4-HMAC-SHA256 Credential={credential}, SignedHeaders={names}, Signature={signature}"}
