"""What a terminal believes of each server: online, offline, in transition, and what makes it change its mind.

It starts as the Booster's status says, so that a till does not find out by itself, one timeout each, what is
known already (N12). Later a server's own answer counts for more than the status, until the status changes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from request_router.answers import Meaning
from request_router.documents import Server, ServerStatus


class Flags:
    """The flags of one terminal. Not locked: its owner is."""

    def __init__(self) -> None:
        self._offline: set[str] = set()
        self._transition: set[str] = set()
        self._told: dict[str, ServerStatus] = {}

    def is_online(self, key: str) -> bool:
        return key not in self._offline and key not in self._transition

    def is_in_transition(self, key: str) -> bool:
        return key in self._transition

    def told(self, states: Mapping[str, ServerStatus]) -> bool:
        """Take over what has changed since the last status; return whether a server came online by it."""
        came = False
        for key, status in states.items():
            if self._told.get(key) is status:
                continue
            came |= self._set(key, status)
        self._told = dict(states)
        return came

    def _set(self, key: str, status: ServerStatus) -> bool:
        was_online = self.is_online(key)
        self._offline.discard(key)
        self._transition.discard(key)
        if status is ServerStatus.OFFLINE:
            self._offline.add(key)
        elif status.is_transition:
            self._transition.add(key)
        return not was_online and self.is_online(key)

    def answered(self, key: str, meaning: Meaning) -> bool:
        """Note what a call showed of a server; return whether it came online by it."""
        if meaning is Meaning.AWAY:
            return self._set(key, ServerStatus.OFFLINE)
        if meaning is Meaning.TRANSITION:
            return self._set(key, ServerStatus.TRANSITION_TO_ONLINE)
        if meaning is Meaning.NOT_HERE:
            return False
        return self._set(key, ServerStatus.ONLINE)

    def in_order(self, providers: Iterable[Server], *, is_transaction: bool) -> list[Server]:
        """Return whom to try for a request, in this order: online, offline, in transition; each once (N7).

        A server in transition executes nothing: transactions are kept from it.
        """
        servers = list(providers)
        online = [server for server in servers if self.is_online(server.key)]
        offline = [server for server in servers if server.key in self._offline]
        rest = [server for server in servers if server.key in self._transition and not is_transaction]
        return online + offline + rest

    def offline(self, servers: Iterable[Server]) -> list[Server]:
        """Return those that are to be pinged: not online."""
        return [server for server in servers if not self.is_online(server.key)]
