"""The whole picture on one machine: a Booster, mobile servers, terminals that sell, and what goes wrong meanwhile.

Everything is the real thing: the Booster is `manage.py up` on a database of its own, the servers are reference
servers over HTTP, the terminals run the request router. What happens and when is a script of faults.
"""

from __future__ import annotations

import json
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from urllib.parse import urlsplit

import httpx

from reference_server.behaviour import Behaviour, Mode
from reference_server.data import Data
from reference_server.server import ReferenceServer, serving
from request_router.booster import Boosters, activate
from request_router.router import Outcome
from request_router.state import State
from request_router.terminal import Terminal

ROOT = Path(__file__).resolve().parent.parent
MAINS = ("main-1", "main-2")
STORES = {"NORTH": "box-north", "SOUTH": "box-south", "WEST": "box-west"}
"""Store servers by store."""
PRODUCT = "org.openbravo.retail.posterminal.master.Product"
LOADER = "org.openbravo.retail.posterminal.OrderLoader"
READY_WITHIN_S = 60.0
GONE_WITHIN_S = 15.0
DRAINED_WITHIN_S = 120.0
FAULTS = ("line_cut", "line_back", "server_down", "server_back", "booster_down", "booster_back", "all_down", "all_back")


class SimulationFailed(Exception):
    """The simulation could not be run; the text says why, in one line."""


@dataclass(frozen=True, slots=True)
class Fault:
    """What happens `at` (a share of the selling time, 0 to 1) to a store, a server, or nothing in particular."""

    at: float
    what: str
    whom: str = ""


DAY = (
    Fault(0.10, "line_cut", "NORTH"),
    Fault(0.25, "line_back", "NORTH"),
    Fault(0.30, "server_down", "main-1"),
    Fault(0.45, "server_back", "main-1"),
    Fault(0.50, "booster_down"),
    Fault(0.65, "booster_back"),
    Fault(0.72, "all_down"),
    Fault(0.86, "all_back"),
)
"""A bad day: a store's line is cut, a main server fails, the Booster fails, everything fails, and all comes back."""


def faults_of(text: str) -> tuple[Fault, ...]:
    """Return the script that a JSON text spells: `[{"at": 0.1, "what": "line_cut", "whom": "NORTH"}, …]`."""
    try:
        rows = json.loads(text)
        faults = tuple(Fault(float(row["at"]), str(row["what"]), str(row.get("whom", ""))) for row in rows)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise SimulationFailed("The script is no JSON list of {at, what, whom}.") from error
    for fault in faults:
        known = STORES if fault.what.startswith("line") else (*MAINS, *STORES.values())
        if fault.what not in FAULTS:
            raise SimulationFailed(f"There is no fault {fault.what}: choose among {', '.join(FAULTS)}.")
        if fault.what.startswith(("line", "server")) and fault.whom not in known:
            raise SimulationFailed(f"{fault.what} needs one of {', '.join(known)}, not {fault.whom!r}.")
        if not 0 <= fault.at <= 1:
            raise SimulationFailed(f"{fault.at} is no share of the time, from 0 to 1.")
    return tuple(sorted(faults, key=lambda fault: fault.at))


@dataclass(slots=True)
class Summary:
    """What came of it; all numbers are tickets but for the last four."""

    sold: int = 0
    delivered: int = 0
    synchronized: int = 0
    lost: int = 0
    doubled: int = 0
    refused: int = 0
    waiting: int = 0
    out_of_order: int = 0
    lookups: int = 0
    lookups_failed: int = 0
    without_sale_s: float = 0.0
    drained_after_s: float = 0.0

    @property
    def is_good(self) -> bool:
        """Whether nothing was lost, doubled, refused, out of order or left."""
        return not (self.lost or self.doubled or self.refused or self.waiting or self.out_of_order)


class Line(httpx.BaseTransport):
    """A store's line: what lies beyond it cannot be reached while it is cut."""

    def __init__(self) -> None:
        self._carried = httpx.HTTPTransport()
        self.beyond: frozenset[int] = frozenset()
        self.is_cut = False

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        if self.is_cut and request.url.port in self.beyond:
            raise httpx.ConnectError("the line is cut", request=request)
        return self._carried.handle_request(request)

    def close(self) -> None:
        """Keep it for the store's other terminals; the simulation ends it."""

    def end(self) -> None:
        self._carried.close()


class Booster:
    """A Booster as its own process tree, which can be killed and started again."""

    def __init__(self, folder: Path) -> None:
        self.port = _free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._folder = folder
        kept = ("PATH", "HOME", "LANG", "TMPDIR", "VIRTUAL_ENV")
        self._environment = {
            **{name: value for name, value in os.environ.items() if name in kept},
            "BOOSTER_DATA_DIR": str(folder / "data"),
            "BOOSTER_PUBLIC_URLS": self.url,
            "BOOSTER_PROBE_LOOPBACK": "true",
            "LOG_LEVEL": "WARNING",
        }
        self._process: subprocess.Popen[bytes] | None = None

    def manage(self, *arguments: str) -> str:
        done = subprocess.run(  # noqa: S603 - our own program
            [sys.executable, "manage.py", *arguments],
            cwd=ROOT,
            env=self._environment,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise SimulationFailed(f"manage.py {arguments[0]} failed: {done.stderr.strip().splitlines()[-1]}")
        return done.stdout

    def start(self) -> None:
        """Start it, without waiting until it answers."""
        with (self._folder / "booster.log").open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603 - our own program
                [sys.executable, "manage.py", "up", "--port", str(self.port)],
                cwd=ROOT,
                env=self._environment,
                stdout=log,
                stderr=log,
            )

    def wait_until_ready(self) -> None:
        deadline = time.monotonic() + READY_WITHIN_S
        while not self._is_ready():
            if self._process is None or self._process.poll() is not None or time.monotonic() > deadline:
                last = (self._folder / "booster.log").read_text().strip().splitlines()[-1:]
                raise SimulationFailed(f"The Booster did not start: {' '.join(last)}")
            time.sleep(0.1)

    def _is_ready(self) -> bool:
        try:
            with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(f"{self.url}/readyz", timeout=5):
                return True
        except (urllib.error.URLError, OSError):
            return False

    def kill(self) -> None:
        """Kill it; its programs end with it."""
        self._end(signal.SIGKILL)
        deadline = time.monotonic() + GONE_WITHIN_S
        while self._listens() and time.monotonic() < deadline:
            time.sleep(0.05)

    def stop(self) -> None:
        self._end(signal.SIGTERM)

    def _end(self, number: int) -> None:
        if self._process is not None:
            self._process.send_signal(number)
            self._process.wait()
            self._process = None

    def _listens(self) -> bool:
        try:
            socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
        except OSError:
            return False
        return True


@dataclass
class Till:
    """A terminal that sells, and what it saw."""

    name: str
    store: str
    terminal: Terminal
    sold: list[str] = field(default_factory=list)
    lookups: int = 0
    lookups_failed: int = 0
    without_sale_s: float = 0.0

    def sell(self, stopping: threading.Event, pause: Callable[[], float]) -> None:
        """Look up a product and sell it, again and again."""
        failed_at: float | None = None
        while not stopping.wait(pause()):
            self.lookups += 1
            if self.terminal.request(PRODUCT, {"search": "umbrella"}).outcome is not Outcome.SUCCESS:
                self.lookups_failed += 1  # the till knows the price of an umbrella
            message_id = f"{self.name}-{len(self.sold) + 1}"
            now = time.monotonic()
            stored = self.terminal.request(LOADER, {"messageId": message_id, "data": [{"documentNo": message_id}]})
            if stored.outcome is Outcome.STORED:
                self.sold.append(message_id)
                self.without_sale_s += now - failed_at if failed_at is not None else 0.0
                failed_at = None
            elif failed_at is None:
                failed_at = now


class Simulation:
    """One run in a folder of its own; `tell` is given a line for everything that happens."""

    def __init__(
        self,
        folder: Path,
        *,
        tills: int,
        seconds: float,
        sales_per_minute: float,
        seed: int,
        faults: Sequence[Fault] = DAY,
        tell: Callable[[str], object] = lambda line: None,
    ) -> None:
        self._folder = folder
        self._number_of_tills = tills
        self._seconds = seconds
        self._pause_s = 60.0 / sales_per_minute
        self._chance = random.Random(seed)  # noqa: S311 - no secret
        self._faults = faults
        self._tell = tell
        self._servers: dict[str, ReferenceServer] = {}
        self._lines: dict[str, Line] = {}
        self._tills: list[Till] = []
        self._booster = Booster(folder)
        self._started_at = 0.0

    def run(self) -> Summary:
        """Run it and return the summary; everything that was started has ended then."""
        with ExitStack() as stack:
            self._start_servers(stack)
            places = f"Booster at {self._booster.url}, {len(self._servers)} mobile servers"
            self._tell(f"{places}, {self._number_of_tills} terminals in {len(STORES)} stores")
            codes = self._start_booster(stack)
            self._start_tills(stack, codes)
            self._sell()
            drained_after_s = self._drain()
            return self._summary(drained_after_s)

    def _say(self, line: str) -> None:
        sold = sum(len(till.sold) for till in self._tills)
        waiting = sum(till.terminal.router.queue.length() for till in self._tills)
        self._tell(f"{time.monotonic() - self._started_at:6.1f} s  {line:42} {sold:5} sold, {waiting:4} waiting")

    # --- Setting up ------------------------------------------------------------------------------

    def _start_servers(self, stack: ExitStack) -> None:
        for key in (*MAINS, *STORES.values()):
            data = Data(self._folder / f"{key}.sqlite3")
            stack.callback(data.close)
            self._servers[key] = stack.enter_context(serving(ReferenceServer(key, data=data)))

    def _start_booster(self, stack: ExitStack) -> Mapping[str, str]:
        names = [f"till-{number:02}" for number in range(1, self._number_of_tills + 1)]
        tills = {store: names[place :: len(STORES)] for place, store in enumerate(STORES)}
        mains = {key: self._servers[key].url for key in MAINS}
        stores = {store: (key, self._servers[key].url) for store, key in STORES.items()}
        self._booster.manage("migrate", "--verbosity", "0")
        told = self._booster.manage(
            "shell",
            "--no-imports",
            "-c",
            f"from backoffice.simulated_chain import fill; print(fill({mains!r}, {stores!r}, {tills!r}))",
        )
        self._booster.start()
        stack.callback(self._booster.stop)
        self._booster.wait_until_ready()
        self._stores_of = {name: store for store, own in tills.items() for name in own}
        codes: dict[str, str] = json.loads(told.strip().splitlines()[-1])
        return codes

    def _start_tills(self, stack: ExitStack, codes: Mapping[str, str]) -> None:
        inside = {store: urlsplit(self._servers[key].url).port for store, key in STORES.items()}
        ports = {urlsplit(server.url).port for server in self._servers.values()} | {self._booster.port}
        for store in STORES:
            self._lines[store] = Line()
            self._lines[store].beyond = frozenset(port for port in ports if port and port != inside[store])
            stack.callback(self._lines[store].end)
        for name, code in codes.items():
            store = self._stores_of[name]
            client = httpx.Client(transport=self._lines[store], follow_redirects=False)
            state = State(self._folder / name)
            activated = activate(Boosters(client, [self._booster.url]), name, code, "simulation")
            state.store_identity(name, activated.token, list(activated.boosters))
            terminal = Terminal(state, client=client, software="simulation")
            terminal.start()
            stack.callback(terminal.close)
            self._tills.append(Till(name, store, terminal))
        self._wait(lambda: all(till.terminal.router.configuration for till in self._tills), READY_WITHIN_S)

    @staticmethod
    def _wait(condition: Callable[[], bool], seconds: float) -> bool:
        deadline = time.monotonic() + seconds
        while not condition() and time.monotonic() < deadline:
            time.sleep(0.05)
        return condition()

    # --- Selling, and what goes wrong ------------------------------------------------------------

    def _sell(self) -> None:
        stopping = threading.Event()
        self._started_at = time.monotonic()
        sellers = []
        for till in self._tills:
            chance = random.Random(self._chance.random())  # noqa: S311 - no secret
            pause = lambda chance=chance: chance.expovariate(1 / self._pause_s)  # noqa: E731 - bound to its till
            sellers.append(threading.Thread(target=till.sell, args=(stopping, pause), daemon=True))
        for seller in sellers:
            seller.start()
        self._say("the shops open")
        for fault in self._faults:
            time.sleep(max(0.0, self._started_at + fault.at * self._seconds - time.monotonic()))
            self._happen(fault)
        time.sleep(max(0.0, self._started_at + self._seconds - time.monotonic()))
        stopping.set()
        for seller in sellers:
            seller.join()
        self._say("the shops close")

    def _happen(self, fault: Fault) -> None:
        is_down = fault.what.endswith(("_down", "_cut"))
        words = fault.what.replace("_", " ")
        self._say(f"{words} {fault.whom}".strip())
        if fault.what.startswith("line"):
            self._lines[fault.whom].is_cut = is_down
        if fault.what.startswith("server"):
            self._servers[fault.whom].behaviour = Behaviour(Mode.DOWN if is_down else Mode.OK)
        if fault.what.startswith("all"):
            for server in self._servers.values():
                server.behaviour = Behaviour(Mode.DOWN if is_down else Mode.OK)
        if fault.what.startswith(("booster", "all")):
            (self._booster.kill if is_down else self._booster.start)()

    def _drain(self) -> float:
        """Wait until every queue is empty; return how long that took."""
        started_at = time.monotonic()
        self._wait(lambda: not any(till.terminal.router.queue.length() for till in self._tills), DRAINED_WITHIN_S)
        self._say("the queues are empty")
        return time.monotonic() - started_at

    def _summary(self, drained_after_s: float) -> Summary:
        accepted = {
            key: [row["messageId"] for row in server.data.shown()["accepted"]] for key, server in self._servers.items()
        }
        sold = {message_id for till in self._tills for message_id in till.sold}
        everywhere = [message_id for ids in accepted.values() for message_id in ids]
        queues = [till.terminal.router.queue for till in self._tills]
        confirmed = sum(
            queue.is_synchronized(message_id)
            for till, queue in zip(self._tills, queues, strict=True)
            for message_id in till.sold
        )
        return Summary(
            sold=len(sold),
            delivered=len(sold & set(everywhere)),
            synchronized=confirmed,
            lost=len(sold - set(everywhere) - {one.message_id for queue in queues for one in queue.waiting()}),
            doubled=sum(len(ids) - len(set(ids)) for ids in accepted.values()),
            refused=sum(len(queue.errors()) for queue in queues),
            waiting=sum(queue.length() for queue in queues),
            out_of_order=sum(_out_of_order(till.sold, ids) for till in self._tills for ids in accepted.values()),
            lookups=sum(till.lookups for till in self._tills),
            lookups_failed=sum(till.lookups_failed for till in self._tills),
            without_sale_s=sum(till.without_sale_s for till in self._tills),
            drained_after_s=drained_after_s,
        )


def _out_of_order(sold: Sequence[str], accepted: Sequence[str]) -> int:
    """Return how many of a terminal's tickets a server accepted after a later one."""
    place = {message_id: number for number, message_id in enumerate(sold)}
    places = [place[message_id] for message_id in accepted if message_id in place]
    return sum(later < earlier for earlier, later in pairwise(places))


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@contextmanager
def file_limit_raised() -> Iterator[None]:
    """Let this process open as many files as it may: every terminal holds several connections."""
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
