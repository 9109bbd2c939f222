"""`booster-router`: a terminal's router from the command line.

Exit status: 0 done (a request succeeded or was stored), 1 it failed, 2 wrong usage, 3 the terminal is not
activated or has no configuration yet, 4 a server or a Booster refused it.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from request_router.booster import Boosters, NoBooster, Refused, activate
from request_router.documents import WrongDocument, address
from request_router.queue import Message, QueueUnusable
from request_router.router import Outcome, WrongRequest
from request_router.state import State, StateUnusable
from request_router.terminal import CONFIGURATION, STATUS, NotActivated, Terminal
from request_router.transport import http_client

DONE, FAILED, NOT_READY, REFUSED = 0, 1, 3, 4
DEFAULT_FOLDER = "~/.booster-router"


def main(arguments: list[str] | None = None) -> int:
    asked = parser().parse_args(arguments)
    try:
        state = State(Path(asked.state).expanduser())
        status: int = asked.run(state, asked)
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # what is left has no reader
        return DONE
    except (NotActivated, NoConfiguration) as error:
        return said(str(error), NOT_READY)
    except Refused as error:
        return said(f"The Booster refused: {error}", REFUSED)
    except NoBooster as error:
        return said(f"No Booster answered: {error}.", FAILED)
    except (WrongDocument, WrongRequest, StateUnusable, QueueUnusable) as error:
        return said(str(error), FAILED)
    return status


class NoConfiguration(Exception):
    pass


def said(text: str, status: int) -> int:
    print(text, file=sys.stderr)
    return status


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(
        prog="booster-router",
        description="Routes a terminal's requests by the configuration of its Boosters.",
        epilog="Exit status: 0 done, 1 failed, 2 wrong usage, 3 not activated or no configuration yet, 4 refused.",
    )
    folder = os.environ.get("BOOSTER_ROUTER_STATE", DEFAULT_FOLDER)
    made.add_argument("--state", default=folder, help="the terminal's folder (default %(default)s)")
    made.add_argument("--ca", help="file with the certificates to trust besides the usual ones")
    commands = made.add_subparsers(required=True, metavar="COMMAND")

    def add(
        name: str, run: Callable[[State, argparse.Namespace], int], about: str, within: Any = commands
    ) -> argparse.ArgumentParser:
        one: argparse.ArgumentParser = within.add_parser(name, help=about, description=about)
        one.set_defaults(run=run)
        return one

    activating = add("activate", activate_terminal, "trade an activation code for this terminal's token")
    activating.add_argument("booster", help="address of a Booster, such as https://booster.example")
    activating.add_argument("terminal", help="the terminal's search key")
    activating.add_argument("code", nargs="?", help="the activation code; asked for if it is not given")
    activating.add_argument("--agent", help="address of the store's agent, such as http://192.168.1.5:5170")
    add("show", show, "show who serves what, with the servers' status")
    requesting = add("request", request, "send a request, or store it if its service is transactional")
    requesting.add_argument("path", help="path with the name of the service")
    requesting.add_argument("--data", help="JSON object to send, or the list of data of a transaction")
    watching = add("watch", watch, "keep up to date, deliver the queue and tell what changes, until Ctrl-C")
    watching.add_argument("--seconds", type=float, help="end after so long")
    queue = commands.add_parser("queue", help="look after the transactions that wait").add_subparsers(
        required=True, metavar="ACTION"
    )
    add("list", queue_list, "show the transactions that wait, in order", queue)
    add("errors", queue_errors, "show the transactions that were refused, with the reasons", queue)
    for name, run, about in (
        ("retry", queue_retry, "put a refused transaction back into its place"),
        ("drop", queue_drop, "delete a refused transaction for good"),
    ):
        add(name, run, about, queue).add_argument("message", help="its message id")
    return made


def opened(state: State, asked: argparse.Namespace, *, needs_configuration: bool = True) -> Terminal:
    """Return the terminal, brought up to date if a Booster answers, as it was kept if none does."""
    terminal = Terminal(state, client=http_client(verify=asked.ca or True), software="booster-router")
    for door in (CONFIGURATION, STATUS):
        try:
            terminal.poll(door)
        except (NoBooster, WrongDocument) as error:
            print(f"{error}: going on with what was kept.", file=sys.stderr)
    if terminal.through_agent:
        print("No Booster answered: going on with what the store's agent has.", file=sys.stderr)
    if needs_configuration and terminal.router.configuration is None:
        terminal.close()
        raise NoConfiguration("There is no configuration yet, and no Booster gave one.")
    return terminal


def activate_terminal(state: State, asked: argparse.Namespace) -> int:
    code = asked.code or input("Activation code: ")
    boosters = Boosters(http_client(verify=asked.ca or True), [address(asked.booster, "The Booster")])
    agent = address(asked.agent, "The agent") if asked.agent else ""
    activated = activate(boosters, asked.terminal, code, "booster-router")
    state.store_identity(
        asked.terminal,
        activated.token,
        list(activated.boosters) or list(boosters.urls),
        organization=activated.organization,
        signing_keys=activated.signing_keys,
        agent=agent,
    )
    print(f"Terminal {asked.terminal} is activated; its token is in {state.folder}.")
    return DONE


def show(state: State, asked: argparse.Namespace) -> int:
    terminal = opened(state, asked)
    router, configuration = terminal.router, terminal.router.configuration
    if configuration is not None:
        age = int(time.time() - terminal.received_at.get(CONFIGURATION, 0))
        print(f"{terminal.name} at {configuration.organization}, revision {terminal.revision}, confirmed {age} s ago")
        if not configuration.servers:
            print("No servers: the terminal works in the standard way.")
        for server in configuration.servers:
            flag = "in transition" if router.is_in_transition(server.key) else "offline"
            flag = "online" if router.is_online(server.key) else flag
            kind = "main" if server.is_main else "store"
            serves = "all services" if server.all_services else f"{len(server.services)} services"
            print(f"  {server.key:20} {kind:6}{flag:15}{serves:14} {server.url}")
        for service in configuration.services:
            kind = f"{service.routing_type}{', transactional' if service.is_transactional else ''}"
            providers = ", ".join(server.key for server in configuration.providers(service.name)) or "nobody"
            print(f"  {service.name}  ({kind}): {providers}")
    terminal.close()
    return DONE


def request(state: State, asked: argparse.Namespace) -> int:
    try:
        data = json.loads(asked.data) if asked.data else {}
    except ValueError:
        return said("--data is no JSON.", 2)
    if not isinstance(data, dict | list):
        return said("--data must be a JSON object or a list.", 2)
    terminal = opened(state, asked)
    try:
        result = terminal.request(asked.path, data if isinstance(data, dict) else {"data": data})
        terminal.deliver()
        if result.outcome is Outcome.STORED:
            waits = any(one.message_id == result.message_id for one in terminal.router.queue.waiting())
            refused = [one for one in terminal.router.queue.errors() if one.message_id == result.message_id]
            if refused:
                return said(f"{result.message_id} was refused: {refused[0].error}", REFUSED)
            print(f"{result.message_id} {'waits for a server' if waits else 'was delivered'}.")
            return DONE
        if result.outcome is Outcome.SUCCESS:
            print(json.dumps(result.answer, ensure_ascii=False))
            return DONE
        return said(result.reason, REFUSED if result.outcome is Outcome.REFUSED else FAILED)
    finally:
        terminal.close()


def watch(state: State, asked: argparse.Namespace) -> int:
    terminal = opened(state, asked, needs_configuration=False)
    stopping = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopping.set())
    terminal.start()
    ends_at = time.monotonic() + asked.seconds if asked.seconds else None
    told = ""
    while not stopping.is_set() and not terminal.ended_by and (ends_at is None or time.monotonic() < ends_at):
        servers = ", ".join(
            f"{server.key} {'online' if terminal.router.is_online(server.key) else 'away'}"
            for server in terminal.router.servers()
        )
        line = f"revision {terminal.revision}: {servers or 'no servers'}; {terminal.router.queue.length()} waiting"
        if line != told:
            told = line
            print(f"{time.strftime('%H:%M:%S')} {line}", flush=True)
        stopping.wait(0.2)
    ended_by = terminal.ended_by
    terminal.close()
    return said(f"The Booster ended this terminal: {ended_by}", REFUSED) if ended_by else DONE


def queue_list(state: State, asked: argparse.Namespace) -> int:
    return of_queue(state, lambda terminal: [described(message) for message in terminal.router.queue.waiting()])


def queue_errors(state: State, asked: argparse.Namespace) -> int:
    return of_queue(
        state,
        lambda terminal: [f"{described(message)}  {message.error}" for message in terminal.router.queue.errors()],
    )


def queue_retry(state: State, asked: argparse.Namespace) -> int:
    return of_queue(state, lambda terminal: changed(asked.message, "waits again", terminal.router.queue.retry))


def queue_drop(state: State, asked: argparse.Namespace) -> int:
    return of_queue(state, lambda terminal: changed(asked.message, "was deleted", terminal.router.queue.drop))


def of_queue(state: State, action: Callable[[Terminal], list[str] | None]) -> int:
    terminal = Terminal(state)
    try:
        lines = action(terminal)
    finally:
        terminal.close()
    if lines is None:
        return said("No refused transaction has this message id.", FAILED)
    print("\n".join(lines) or "none")
    return DONE


def described(message: Message) -> str:
    made = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(message.created_ms / 1000))
    to = f" to {message.queue}" if message.queue else ""
    return f"{message.message_id}  {made}  {message.service}{to}  {message.attempts} attempts"


def changed(message_id: str, what: str, action: Callable[[str], int]) -> list[str] | None:
    return [f"{message_id} {what}."] if action(message_id) else None


if __name__ == "__main__":
    sys.exit(main())
