"""Terminals as a load at the rate of real ones: polls at an even pace, waits, streams, on real sockets.

A process of its own without Django, `python -m bench.terminals`: it reads what to do as JSON from its standard
input, says `ready` once it polls at its pace, and writes what came of it, as JSON, whenever it is asked `count`.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import subprocess
import sys
from collections import Counter
from typing import Any

from bench.load import LOAD_CORE, pinned

CONFIGURATION = "/api/v1/terminal/configuration"
STATUS = "/api/v1/terminal/status"
EVENTS = "/api/v1/terminal/events"
LINES = 64
RENEWED_AFTER = 100
"""After how many polls a line is closed and opened anew."""
WAIT_S = 20
GIVEN_UP_AFTER_S = 10.0
GOOD = (200, 304)
MOST_FAILURES = 10


class Terminals:
    """The load as a process; `stop` returns what came of it."""

    def __init__(self, port: int, tokens: list[str], per_s: int, *, waiting: int = 0, streaming: int = 0) -> None:
        command = [*pinned(LOAD_CORE), sys.executable, "-m", "bench.terminals"]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        asked = {"port": port, "tokens": tokens, "per_s": per_s, "waiting": waiting, "streaming": streaming}
        self._write(json.dumps(asked))
        assert self._process.stdout is not None
        if self._process.stdout.readline().strip() != "ready":
            raise RuntimeError("the load did not start")

    def _write(self, line: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{line}\n")
        self._process.stdin.flush()

    def count(self) -> dict[str, Any]:
        """Return what came of the load since the last time it was asked."""
        self._write("count")
        assert self._process.stdout is not None
        return dict(json.loads(self._process.stdout.readline()))

    def stop(self) -> dict[str, Any]:
        counted = self.count()
        self.kill()
        return counted

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()


class Counted:
    """What came of the load since it was last asked."""

    def __init__(self) -> None:
        self.statuses: Counter[str] = Counter()
        self.failures: list[str] = []
        self.failed = 0
        self.slowest_s = 0.0
        self.stale_s = 0
        self.woken = 0
        self.events = 0

    def fail(self, why: str) -> None:
        self.failed += 1
        if len(self.failures) < MOST_FAILURES:
            self.failures.append(why)

    def as_json(self) -> str:
        return json.dumps(vars(self))


class Line:
    """One connection, on which one request at a time is asked."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None

    async def send(self, path: str, token: str, tag: str = "") -> None:
        if self._writer is None:
            self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self._port, limit=2**20)
        held = f"If-None-Match: {tag}\r\n" if tag else ""
        self._writer.write(
            f"GET {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n{held}\r\n".encode("latin-1")
        )

    async def head(self) -> tuple[int, dict[str, str]]:
        assert self._reader is not None
        lines = (await self._reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        headers = dict(line.lower().split(": ", 1) for line in lines[1:] if line)
        return int(lines[0].split()[1]), headers

    async def ask(self, path: str, token: str, tag: str = "") -> tuple[int, dict[str, str]]:
        await self.send(path, token, tag)
        status, headers = await self.head()
        assert self._reader is not None
        await self._reader.readexactly(int(headers.get("content-length", "0")) if status != 304 else 0)
        return status, headers

    async def until(self, end: bytes) -> None:
        assert self._reader is not None
        await self._reader.readuntil(end)

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()
        self._reader = self._writer = None


class Load:
    def __init__(self, port: int, tokens: list[str], per_s: int, waiting: int, streaming: int) -> None:
        self.counted = Counted()
        self._port, self._tokens, self._per_s = port, tokens, per_s
        self._tags: dict[str, str] = {}
        self._due = itertools.count()
        self._others = (tokens[-1 - number] for number in range(waiting + streaming))
        self._waiting, self._streaming = waiting, streaming

    async def run(self) -> None:
        line = Line(self._port)
        for token in self._tokens[:LINES]:
            await line.ask(CONFIGURATION, token)
        line.close()
        self._began = asyncio.get_running_loop().time()
        tasks = [self._poll() for _ in range(min(LINES, self._per_s))]
        tasks += [self._wait(token) for token in itertools.islice(self._others, self._waiting)]
        tasks += [self._listen(token) for token in itertools.islice(self._others, self._streaming)]
        self._tasks = [asyncio.ensure_future(task) for task in tasks]
        await asyncio.sleep(1.0)
        self.counted = Counted()  # the first answers are of another kind
        print("ready", flush=True)
        lines = asyncio.StreamReader()
        await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
        while await lines.readline():
            counted, self.counted = self.counted, Counted()
            ended = [task for task in self._tasks if task.done()]
            for task in ended:
                counted.fail(repr(task.exception()))
            print(counted.as_json(), flush=True)

    async def _poll(self) -> None:
        """Poll in turn with the other lines; a poll's time counts from when it was due."""
        loop = asyncio.get_running_loop()
        line = Line(self._port)
        for number in self._due:
            due_at = self._began + number / self._per_s
            if (pause := due_at - loop.time()) > 0:
                await asyncio.sleep(pause)
            if number % RENEWED_AFTER == 0:
                line.close()
            token = self._tokens[number % len(self._tokens)]
            await self._ask(line, CONFIGURATION if number % 4 else STATUS, token)
            self.counted.slowest_s = max(self.counted.slowest_s, loop.time() - due_at)

    async def _ask(self, line: Line, path: str, token: str, query: str = "", within_s: float = GIVEN_UP_AFTER_S) -> int:
        """Ask once and count the answer; return its status, 0 for none."""
        key = path + token
        try:
            status, headers = await asyncio.wait_for(line.ask(path + query, token, self._tags.get(key, "")), within_s)
        except (OSError, EOFError, TimeoutError, asyncio.IncompleteReadError) as error:
            self.counted.fail(f"{path}{query}: {error!r}")
            line.close()
            return 0
        self.counted.statuses[str(status)] += 1
        self.counted.stale_s = max(self.counted.stale_s, int(headers.get("x-booster-stale", "0")))
        if status not in GOOD:
            self.counted.fail(f"{path}{query}: {status}")
        else:
            self._tags[key] = headers["etag"]
        return status

    async def _wait(self, token: str) -> None:
        line = Line(self._port)
        while True:
            held = CONFIGURATION + token in self._tags
            status = await self._ask(line, CONFIGURATION, token, f"?wait={WAIT_S}", WAIT_S + GIVEN_UP_AFTER_S)
            self.counted.woken += held and status == 200

    async def _listen(self, token: str) -> None:
        line = Line(self._port)
        try:
            await line.send(EVENTS, token)
            status, _ = await line.head()
            if status != 200:
                raise EOFError(f"status {status}")
            while True:
                await line.until(b"\n\n")
                self.counted.events += 1
        except (OSError, EOFError) as error:
            self.counted.fail(f"{EVENTS}: {error!r}")


def main() -> None:
    asked = json.loads(sys.stdin.readline())
    asyncio.run(Load(**asked).run())


if __name__ == "__main__":
    main()
