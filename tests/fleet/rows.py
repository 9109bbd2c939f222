"""Makers of what watching leaves behind: states, reports, history, incidents, sayings."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.utils import timezone

from fleet.models import Incident, Pulse, Reachability
from servers.models import MobileServer, ServerReport, ServerState, StatusTransition


def make_state(server: MobileServer, status: str = "online", since: datetime | None = None, **fields: Any) -> None:
    """Put a server into a state since a moment (now); it was online before, unless `proved_at` is None."""
    since = since or timezone.now()
    fields.setdefault("proved_at", since)
    fields.setdefault("cause", "It is ready." if status == "online" else "No heartbeat for 90 s.")
    ServerState.objects.update_or_create(server=server, defaults={"status": status, "since": since, **fields})


def make_report(server: MobileServer, **fields: Any) -> ServerReport:
    return ServerReport.objects.update_or_create(server=server, defaults=fields)[0]


def make_transition(
    server: MobileServer, at: datetime, before: str, after: str, cause: str = "It is ready.", observer: str = "agent"
) -> StatusTransition:
    return StatusTransition.objects.create(
        server=server,
        server_key=server.key,
        from_status=before,
        to_status=after,
        at=at,
        cause=cause,
        observer=observer,
    )


def make_incident(server: MobileServer, opened_at: datetime | None = None, **fields: Any) -> Incident:
    fields.setdefault("cause", "No heartbeat for 90 s.")
    return Incident.objects.create(server=server, opened_at=opened_at or timezone.now(), **fields)


def make_saying(server: MobileServer, is_reachable: bool, **observer: Any) -> Reachability:
    """Let a terminal (`observing_terminal`) or a server (`observing_server`) say whether it reaches a server."""
    now = timezone.now()
    return Reachability.objects.create(server=server, is_reachable=is_reachable, since=now, seen_at=now, **observer)


def make_pulse(at: datetime | None = None, name: str = Pulse.WATCHER) -> None:
    at = at or timezone.now()
    Pulse.objects.update_or_create(name=name, defaults={"since": at, "at": at})
