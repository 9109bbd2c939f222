"""The least that an ASGI application can do: the same bytes as the edge, without looking at anything."""

import os
from pathlib import Path
from typing import Any

BODY = Path(os.environ["BENCH_BODY"]).read_bytes()
TAG = os.environ["BENCH_TAG"].encode()


async def application(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] != "http":
        return
    unchanged = any(name == b"if-none-match" for name, _ in scope["headers"])
    headers = [(b"etag", TAG), (b"content-type", b"application/json")]
    await send({"type": "http.response.start", "status": 304 if unchanged else 200, "headers": headers})
    await send({"type": "http.response.body", "body": b"" if unchanged else BODY})
