"""`reference-server`: one mobile server until Ctrl-C or SIGTERM.

Exit status: 0 stopped, 1 it could not start, 2 wrong usage.
"""

from __future__ import annotations

import argparse
import re
import signal
import sqlite3
import sys
import threading
from pathlib import Path

from reference_server.data import Data
from reference_server.server import ReferenceServer, serving

KEY = re.compile(r"[A-Za-z0-9_-]{1,32}")
HIGHEST_PORT = 65_535


def main(arguments: list[str] | None = None) -> int:
    asked = parser().parse_args(arguments)
    try:
        data = Data(asked.data)
        server = ReferenceServer(asked.key, host=asked.host, port=asked.port, context=asked.context, data=data)
    except sqlite3.Error as error:
        return failed(f"The file {asked.data} cannot be used: {error}.")
    except OSError as error:
        return failed(f"Cannot listen on {asked.host}, port {asked.port}: {error.strerror or error}.")
    stopping = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopping.set())
    with serving(server):
        print(f"Mobile server {server.key} serves {server.url} (Ctrl-C stops it).", flush=True)
        stopping.wait()
    data.close()
    return 0


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(
        prog="reference-server",
        description="A small mobile server to try terminals, agents and routing against.",
        epilog="Exit status: 0 stopped, 1 it could not start, 2 wrong usage.",
    )
    made.add_argument("--key", required=True, type=key, help="its mobile server key")
    made.add_argument("--host", default="127.0.0.1", help="address to listen on (default %(default)s)")
    made.add_argument("--port", type=port, default=0, help="port to listen on (default: a free one)")
    made.add_argument("--context", default="openbravo", help="path below which it serves (default %(default)s)")
    made.add_argument("--data", type=Path, help="file that keeps transactions (default: memory)")
    return made


def key(text: str) -> str:
    if not KEY.fullmatch(text):
        raise argparse.ArgumentTypeError("use up to 32 letters, digits, '_' and '-'")
    return text


def port(text: str) -> int:
    if not text.isdigit() or int(text) > HIGHEST_PORT:
        raise argparse.ArgumentTypeError(f"a port lies between 0 and {HIGHEST_PORT}")
    return int(text)


def failed(reason: str) -> int:
    print(reason, file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
