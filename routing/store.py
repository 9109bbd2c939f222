"""What a process keeps in memory to answer terminals without asking the database."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import cached_property
from itertools import count

from django.conf import settings
from django.db import DatabaseError

from backoffice.credentials import Credential, is_secret
from routing import document, revision
from routing.collecting import uncollected
from routing.compiled import CompiledDocuments, Key
from routing.disk_snapshot import Kept
from routing.document import UNOBSERVED, Document, Door, ServerState, Writer
from routing.landscape import Landscape, OrganizationCode, Server
from routing.load import load
from servers.address import origin_of
from servers.models import ServerState as ServerStateRow
from servers.status import Status
from terminals.reports import ReportCollector
from terminals.tokens import TokenState, load_token_states

STALE_AFTER_S = 5.0


@dataclass(frozen=True)
class Snapshot:
    """The configuration, tokens and states of one moment; documents are compiled from them as they are asked for.

    A generation numbers what a document was made from: one number for configurations, one for statuses.
    """

    numbers: Mapping[str, int]
    landscape: Landscape
    organization_codes: Mapping[int, OrganizationCode]
    tokens: dict[str, TokenState]
    states: Mapping[str, ServerState]
    writer: Writer = field(repr=False)
    compiled: CompiledDocuments = field(repr=False)
    generation: int
    status_generation: int

    @property
    def revision(self) -> int:
        """The configuration's revision number."""
        return self.numbers[revision.LANDSCAPE]

    @cached_property
    def allowed_origins(self) -> frozenset[str]:
        """The origins that may call the terminal doors from a browser."""
        servers = {origin_of(server.url) for server in self.landscape.servers.values() if server.is_active}
        return frozenset(servers | {origin.rstrip("/").lower() for origin in settings.BOOSTER_ALLOWED_ORIGINS})

    @cached_property
    def _servers_by_folded_key(self) -> Mapping[str, Server]:
        return {key.lower(): server for key, server in self.landscape.servers.items() if server.is_active}

    def active_server(self, key: str) -> Server | None:
        """Return the active server with that key, whatever its case, or None."""
        return self._servers_by_folded_key.get(key.lower())

    def status_of(self, key: str) -> Status:
        """Return the status of the active server with that key; one that is not known is offline."""
        server = self.active_server(key)
        return Status(self.states.get(server.key, UNOBSERVED).status) if server is not None else Status.OFFLINE

    def token(self, credential: Credential) -> TokenState | None:
        """Return the state of the token that `credential` spells, or None if it is not known here."""
        state = self.tokens.get(credential.id)
        return state if state is not None and is_secret(credential.secret, state.digest) else None

    @cached_property
    def _token_ids_by_terminal(self) -> Mapping[int, list[str]]:
        found: dict[int, list[str]] = {}
        for state in self.tokens.values():
            found.setdefault(state.terminal_id, []).append(state.token_id)
        return found

    def end_predecessors(self, token: TokenState, moment: datetime) -> None:
        """Mark a token as used and those it replaced as ended, until the next read says the same."""
        self.tokens[token.token_id] = replace(token, is_used=True)
        for token_id in self._token_ids_by_terminal.get(token.terminal_id, ()):
            other = self.tokens[token_id]
            if other.pk < token.pk and other.replaced_at is not None and other.revoked_at is None:
                self.tokens[token_id] = replace(other, revoked_at=moment)

    def organization_of(self, token: TokenState) -> OrganizationCode | None:
        """Return the store of the token's terminal; None until tokens and tree are of one moment."""
        return self.organization_codes.get(token.organization_id)

    def tag(self, door: Door, organization: OrganizationCode, origin: str = "") -> str:
        """Return the entity tag of a document, without its bytes where these are not held any more."""
        key, generation = self._named(door, organization, origin)
        return self.compiled.known_tag(key, generation) or self._compile(key, generation).tag

    def document(self, door: Door, organization: OrganizationCode, origin: str = "") -> Document:
        """Return what the terminals of `organization` get at `door`; `origin` matters to the Web POS alone."""
        key, generation = self._named(door, organization, origin)
        return self.compiled.known(key, generation) or self._compile(key, generation)

    def _named(self, door: Door, organization: OrganizationCode, origin: str) -> tuple[Key, int]:
        if door is Door.STATUS:
            return (door, organization), self.status_generation
        if door is Door.CONFIGURATION:
            return (door, organization), self.generation
        return (door, organization, document.current_server(self.landscape, organization, origin)), self.generation

    def _compile(self, key: Key, generation: int) -> Document:
        door, organization, *rest = key

        def write() -> bytes:
            if door == Door.CONFIGURATION:
                return self.writer.configuration(organization)
            if door == Door.STATUS:
                return self.writer.status(organization, self.states)
            return document.canonical_json(document.webpos(self.landscape, organization, rest[0]))

        return self.compiled.compile(key, generation, write)

    def prepare(self) -> None:
        """Work out what the first answers would otherwise have to wait for."""
        _ = self.allowed_origins, self._servers_by_folded_key, self._token_ids_by_terminal
        self.landscape.prepare()


class Store:
    """The present snapshot of this process; read without a lock, replaced whole."""

    def __init__(self) -> None:
        self.snapshot: Snapshot | None = None
        self.compiled = CompiledDocuments(settings.BOOSTER_DOCUMENTS_MB * 2**20)
        self._generations = count(1)
        self.reports = ReportCollector()
        self._checked_at = 0.0
        self._refreshing = threading.Lock()

    def current(self) -> Snapshot:
        """Return the snapshot after checking the revision (one query, more if it moved)."""
        self.refresh()
        assert self.snapshot is not None  # noqa: S101 - refresh leaves one or raises
        return self.snapshot

    def recent(self) -> Snapshot:
        """Return the snapshot without a query while it is kept up to date, else after checking the revision.

        A database that is away leaves the snapshot there is; without one its error passes through.
        """
        if self.snapshot is not None and self.stale_s is None:
            return self.snapshot
        try:
            return self.current()
        except DatabaseError:
            if self.snapshot is None:
                raise
            return self.snapshot

    def refresh(self) -> bool:
        """Read what moved since the last time; return whether anything had. Database errors pass through."""
        with self._refreshing:
            numbers = revision.numbers()
            old = self.snapshot
            if old is None or old.numbers != numbers:
                with uncollected():
                    self.snapshot = self._load(old, numbers)
            self._checked_at = time.monotonic()
            return self.snapshot is not old

    def _load(self, old: Snapshot | None, numbers: Mapping[str, int]) -> Snapshot:
        """Return a snapshot of at least `numbers`, keeping what has not moved.

        Numbers are read before rows: what changes in between is read once more by the next check.
        """

        def moved(scope: str) -> bool:
            return old is None or old.numbers[scope] != numbers[scope]

        tokens = load_token_states() if moved(revision.CREDENTIALS) or old is None else old.tokens
        states = _load_states() if moved(revision.STATUS) or old is None else old.states
        if old is None or moved(revision.LANDSCAPE):
            loaded = load()
            seen = {**numbers, revision.LANDSCAPE: loaded.revision}
            snapshot = self.made_of(seen, loaded.landscape, loaded.organization_codes, tokens, states)
            self.compiled.keep_only(loaded.landscape.organizations)
        else:
            status_generation = next(self._generations) if moved(revision.STATUS) else old.status_generation
            snapshot = replace(old, numbers=numbers, tokens=tokens, states=states, status_generation=status_generation)
        snapshot.prepare()
        return snapshot

    def made_of(
        self,
        numbers: Mapping[str, int],
        landscape: Landscape,
        organization_codes: Mapping[int, OrganizationCode],
        tokens: dict[str, TokenState],
        states: Mapping[str, ServerState],
    ) -> Snapshot:
        """Return a snapshot whose documents have not been compiled for it yet."""
        generation = next(self._generations)
        return Snapshot(
            numbers,
            landscape,
            organization_codes,
            tokens,
            states,
            Writer(landscape, settings.BOOSTER_PUBLIC_URLS),
            self.compiled,
            generation,
            generation,
        )

    def kept(self) -> Kept | None:
        """Return what is to be kept of the present snapshot for a process that finds no database."""
        snapshot = self.snapshot
        if snapshot is None:
            return None
        checked_at = datetime.now(UTC) - timedelta(seconds=time.monotonic() - self._checked_at)
        return Kept(
            snapshot.numbers,
            checked_at,
            snapshot.landscape,
            snapshot.organization_codes,
            snapshot.tokens,
            snapshot.states,
        )

    def restore(self, kept: Kept, moment: datetime) -> None:
        """Begin with a snapshot that was kept, as old as it is, unless there is one already."""
        with self._refreshing:
            if self.snapshot is not None:
                return
            snapshot = self.made_of(kept.numbers, kept.landscape, kept.organization_codes, kept.tokens, kept.states)
            snapshot.prepare()
            age_s = max(0.0, (moment - kept.checked_at).total_seconds())
            self._checked_at = time.monotonic() - max(age_s, STALE_AFTER_S + 1)
            self.snapshot = snapshot

    def note_poll(self, token: TokenState, moment: datetime, revision_held: int | None) -> None:
        """Keep that a terminal called, and end the tokens its own has replaced, here at once."""
        self.reports.saw(token.terminal_id, moment, revision_held)
        if not token.is_used and self.snapshot is not None:
            self.reports.used_first(token.pk, moment)
            self.snapshot.end_predecessors(token, moment)

    @property
    def stale_s(self) -> int | None:
        """For how many seconds the revision could not be checked; None while checks succeed."""
        age = time.monotonic() - self._checked_at
        return int(age) if age > STALE_AFTER_S else None

    def is_checked(self, now: float) -> bool:
        """Tell whether the revision has been checked lately; `now` is of the monotonic clock."""
        return now - self._checked_at <= STALE_AFTER_S

    def forget(self) -> None:
        """Drop everything kept in memory, as if the process had just started."""
        self.__init__()  # type: ignore[misc]


def _load_states() -> dict[str, ServerState]:
    rows = ServerStateRow.objects.order_by().values_list("server__key", "status", "since")
    return {key: ServerState(status, since) for key, status, since in rows}


store = Store()
"""The store of this process."""
