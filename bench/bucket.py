"""A store in a bucket: the server that the benchmarks ask, with what it counted."""

import subprocess
from pathlib import Path

from measure import Failed


class Server:
    """An S3 server on loopback, in a process of its own; leave it by `with`."""

    def __init__(self, program: Path, bucket: str = "bucket") -> None:
        pipe = subprocess.PIPE
        self.process = subprocess.Popen([str(program), bucket], stdin=pipe, stdout=pipe, text=True)
        self.env: dict[str, str] = {}
        for _ in range(3):
            words = self.line().split()
            if words[0] != "export":
                raise Failed("the server did not start")
            self.env.update(word.split("=", 1) for word in words[1:])

    def __enter__(self) -> "Server":
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()

    def line(self) -> str:
        line = self.process.stdout.readline()
        if not line:
            raise Failed("the server ended")
        return line

    def say(self, text: str) -> None:
        self.process.stdin.write(text + "\n")
        self.process.stdin.flush()

    def delay(self, ms: int) -> None:
        """Delays every answer from now on."""
        self.say(f"delay {ms}")

    def asked(self) -> dict[str, int]:
        """Returns how many requests of each kind there were since this was asked last."""
        self.say("asked")
        names = ["all", "get", "put", "list", "other"]
        return dict(zip(names, map(int, self.line().split()[1:]), strict=True))
