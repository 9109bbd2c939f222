"""Runs the scenarios of clients/scenarios with a transport and a clock of the test's own."""

from __future__ import annotations

import json
from pathlib import Path

from request_router.answers import Answered, Meaning, away, meaning_of
from request_router.documents import configuration_of, status_of
from request_router.queue import Queue
from request_router.router import RequestRouter

FOLDER = Path(__file__).resolve().parents[3] / "clients/scenarios"
SCENARIOS = {path.stem: json.loads(path.read_text()) for path in sorted(FOLDER.glob("*.json"))}
UNEXECUTED = {
    "refused": away("connection refused"),
    "timeout": away("no answer in time"),
    "refusal": meaning_of(200, b'{"response":{"status":-1,"error":{"message":"no"}}}'),
    "transition": meaning_of(200, b'{"response":{"status":0,"serverStatusSignal":"TON"}}'),
    **{f"http_{status}": meaning_of(status, b"{}") for status in (500, 404, 401, 400)},
}


class World:
    """Time and servers as a scenario has them."""

    def __init__(self) -> None:
        self.now = 0
        self.modes: dict[str, str] = {}
        self.contacts: list[tuple[int, str, str]] = []
        self.accepted: dict[str, list[str]] = {}
        self.router: RequestRouter | None = None

    def now_ms(self) -> int:
        return self.now

    def send(self, server, path, body, timeout_s) -> Answered:
        mode = self.modes.get(server.key, "ok")
        self.contacts.append((self.now, server.key, self.router.match(path).name))
        if mode == "timeout":
            self.now += int(timeout_s * 1000)
        if mode in UNEXECUTED:
            return UNEXECUTED[mode]
        message_id = body.get("messageId")
        executed = self.accepted.setdefault(server.key, [])
        if message_id and message_id not in executed:
            executed.append(message_id)
        if mode == "lost_answer":
            return away("connection broken off")
        return Answered(Meaning.ACCEPTED, body={"response": {"status": 0}})


def run(scenario, path):
    """Run a scenario with its queue in the file at `path`; return the world, the router and the results."""
    world = World()
    documents = {"configuration": scenario["configuration"], "status": scenario["status"]}

    def start():
        router = RequestRouter(world, Queue(path), world, home_url=scenario["home_url"] or "")
        router.configure(configuration_of(documents["configuration"]))
        if documents["status"] is not None:
            router.told(status_of(documents["status"]))
        return router

    world.router = router = start()
    results = []
    for step in scenario["steps"]:
        if "fault" in step:
            world.modes[step["fault"]["server"]] = step["fault"]["mode"]
        elif "request" in step:
            asked = step["request"]
            body = {"data": asked["data"], "messageId": asked["id"]} if "data" in asked else {}
            result = router.request(asked["path"], body)
            told = {"outcome": result.outcome, "server": result.server, "tried": [one.server for one in result.tried]}
            results.append((asked["id"], told, step["expect"]))
        elif "restart" in step:
            router.queue.close()
            world.router = router = start()
        elif "advance_ms" in step:
            advance(world, router, step["advance_ms"])
        else:
            documents |= step
            router.configure(configuration_of(documents["configuration"]))
            if "status" in step:
                router.told(status_of(documents["status"]))
        router.pump()
    return world, router, results


def advance(world, router, milliseconds):
    end = world.now + milliseconds
    while (due := router.due_at_ms()) is not None and due <= end:
        before = (world.now, len(world.contacts))
        world.now = max(world.now, due)
        router.pump()
        if (world.now, len(world.contacts)) == before:
            break
    world.now = max(world.now, end)
