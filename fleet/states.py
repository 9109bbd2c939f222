"""The servers' states: read into the machine's terms, and the one place that writes what it decided."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from django.db import models, transaction
from django.db.models import Exists, OuterRef
from django.db.models.functions import Coalesce

from accounts.models import User
from events.log import record
from routing import revision
from routing.landscape import Landscape, OrganizationCode, Server
from servers.agent_tokens import has_agent
from servers.models import MobileServer, ServerReport, ServerState, ServerStatus, StatusTransition
from servers.status import Change, Standing, Status, Timings

EVIDENCE = (
    "ready_at",
    "unready_at",
    "unready_cause",
    "failed_at",
    "failure_cause",
    "bad_since",
    "successes",
    "failures",
    "attempted_at",
)
"""The fields that a report and a standing share."""


RETIRED = "It is not active any more."
"""The cause of a deactivated server's last transition."""
STATE = ("status", "since", "cause", "proved_at", "is_flapping", "has_order")
"""The fields of a state that are read along with every watched server."""
LONGEST_ORDER_S = 6 * 3_600
"""How long a server may be in transition while its software is changed: the roll-out says sooner that it failed."""


def watched_servers() -> models.QuerySet[MobileServer]:
    """Return the active servers with state and evidence at hand, annotated with `has_agent`, by primary key.

    Whoever writes several of them does so in this order, or two writers could wait for each other.
    """
    return (
        MobileServer.objects.filter(is_active=True)
        .select_related("state", "report")
        .only("key", "name", "client", *(f"state__{name}" for name in STATE), *(f"report__{name}" for name in EVIDENCE))
        .annotate(has_agent=has_agent())
        .order_by("pk")
    )


def is_reporting(server: MobileServer) -> bool:
    """Tell whether an agent reports for a server that comes from `watched_servers`."""
    return bool(vars(server)["has_agent"])


def has_order(server: MobileServer) -> bool:
    """Tell whether a roll-out's order is out for a server, whose state is at hand."""
    state: ServerState | None = getattr(server, "state", None)
    return state is not None and state.has_order


def in_order(timings: Timings) -> Timings:
    """Return the timings of a server whose software is changed: it stays in transition until that ends (OMF-38)."""
    return replace(timings, transition_to_offline_wait_s=max(timings.transition_to_offline_wait_s, LONGEST_ORDER_S))


def standing_of(server: MobileServer) -> Standing:
    """Return what is known of a server; reads `state` and `report`, which should be selected with it."""
    state: ServerState | None = getattr(server, "state", None)
    report: ServerReport | None = getattr(server, "report", None)
    evidence = {name: getattr(report, name) for name in EVIDENCE} if report else {}
    if state is None:
        return Standing(**evidence)
    return Standing(Status(state.status), state.since, state.cause, **evidence)


def place_of(server: Server) -> OrganizationCode:
    """Return the organization whose preferences hold for a server: the only one it serves, else its client."""
    listed = [row.target for row in server.organizations if row.is_active]
    return listed[0] if not server.all_organizations and len(listed) == 1 else server.client


def timings_for(landscape: Landscape, key: str, *, has_agent: bool) -> Timings:
    """Return how patient the machine is with the server of that key; the defaults for one not yet known."""
    server = landscape.servers.get(key)
    if server is None:
        return Timings(is_expected_to_report=has_agent)
    place = place_of(server)

    def effective(name: str) -> int:
        return int(landscape.preference(name, place).value)

    return Timings(
        heartbeat_interval_s=effective("heartbeat_interval_s"),
        missed_heartbeats=effective("missed_heartbeats"),
        failures_before_offline=effective("failures_before_offline"),
        successes_before_online=effective("successes_before_online"),
        transition_to_offline_wait_s=effective("transition_to_offline_wait_s"),
        transition_to_online_wait_s=effective("transition_to_online_wait_s"),
        failed_transition_to_online_wait_s=effective("failed_transition_to_online_wait_s"),
        is_expected_to_report=has_agent,
    )


@dataclass
class Patience:
    """`timings_for` for many servers of one landscape: those of one place are read once."""

    landscape: Landscape
    _known: dict[tuple[OrganizationCode | None, bool], Timings] = field(default_factory=dict)

    def of(self, key: str, *, has_agent: bool) -> Timings:
        server = self.landscape.servers.get(key)
        alike = (place_of(server) if server is not None else None, has_agent)
        timings = self._known.get(alike)
        if timings is None:
            timings = self._known[alike] = timings_for(self.landscape, key, has_agent=has_agent)
        return timings


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the machine decided for one server: the standing it began with, the one it ended with, and between."""

    server: MobileServer
    before: Standing
    after: Standing
    changes: tuple[Change, ...]
    observer: str


def write(verdicts: Iterable[Verdict]) -> list[Verdict]:
    """Write state and history of the servers whose state changed; return the verdicts that were written.

    Each is claimed by a conditional update: where another worker was faster, or the server was heard
    of since the verdict's evidence was read, nothing is written and the next look decides anew. One
    query per change, and a few for all.
    """
    changed = sorted((verdict for verdict in verdicts if verdict.changes), key=lambda verdict: verdict.server.pk)
    if not changed:
        return []
    with transaction.atomic():
        # Reports before states, each by primary key: whoever hears of a server locks in that order too.
        list(
            ServerReport.objects.select_for_update()
            .filter(server__in=[verdict.server for verdict in changed])
            .order_by("pk")
            .values_list("pk")
        )
        ServerState.objects.bulk_create(
            [ServerState(server=verdict.server) for verdict in changed if verdict.before.since is None],
            ignore_conflicts=True,
        )
        written = [verdict for verdict in changed if _claim(verdict)]
        StatusTransition.objects.bulk_create(
            StatusTransition(
                server=verdict.server,
                server_key=verdict.server.key,
                from_status=change.from_status,
                to_status=change.to_status,
                at=change.at,
                cause=change.cause,
                observer=verdict.observer,
            )
            for verdict in written
            for change in verdict.changes
        )
        ServerReport.objects.bulk_update(
            [
                ServerReport(server=verdict.server, attempted_at=verdict.after.attempted_at)
                for verdict in written
                if verdict.after.attempted_at != verdict.before.attempted_at
            ],
            ["attempted_at"],
        )
        if written:
            revision.announce()
    return written


def _claim(verdict: Verdict) -> bool:
    """Move a server's state if it is still what the verdict began with, and nothing was heard since."""
    before, after = verdict.before, verdict.after
    heard = ServerReport.objects.filter(
        server=OuterRef("pk"), ready_at=after.ready_at, unready_at=after.unready_at, failed_at=after.failed_at
    )
    values: dict[str, Any] = {"status": after.status, "since": after.since, "cause": after.cause}
    if any(change.to_status is Status.ONLINE for change in verdict.changes):
        values["proved_at"] = Coalesce("proved_at", after.since)
    unmoved = ServerState.objects.filter(Exists(heard), pk=verdict.server.pk, status=before.status, since=before.since)
    return unmoved.update(**values) == 1


def retire(moment: datetime) -> int:
    """Turn inactive servers offline and let them prove themselves anew when they return; return how many.

    Nobody can say how a server fares that is not watched; and when it is active again, what could not
    be heard meanwhile must not count as a loss.
    """
    retired = 0
    forgotten = ServerState.objects.filter(server__is_active=False).exclude(
        status=ServerStatus.OFFLINE, proved_at__isnull=True
    )
    for state in forgotten.select_related("server").order_by("pk"):
        with transaction.atomic():
            unmoved = ServerState.objects.filter(pk=state.pk, status=state.status, since=state.since)
            was_offline = state.status == ServerStatus.OFFLINE
            values = {} if was_offline else {"status": ServerStatus.OFFLINE, "since": moment, "cause": RETIRED}
            if not unmoved.filter(server__is_active=False).update(**values, proved_at=None, is_flapping=False):
                continue
            if not was_offline:
                StatusTransition.objects.create(
                    server=state.server,
                    server_key=state.server.key,
                    from_status=state.status,
                    to_status=ServerStatus.OFFLINE,
                    at=moment,
                    cause=RETIRED,
                    observer="watcher",
                )
            revision.announce()
            retired += 1
    return retired


def try_again(server: MobileServer, moment: datetime, actor: User | None = None) -> bool:
    """Let a server begin its way back online as soon as it answers, not waiting since its last attempt.

    What the administrator's button does (6.3, "forced"). Returns whether there was a wait to end.
    """
    with transaction.atomic():
        waiting = ServerReport.objects.filter(server=server, attempted_at__isnull=False)
        is_waiting = waiting.exclude(server__state__status=ServerStatus.ONLINE).update(attempted_at=None) == 1
        if is_waiting:
            record(
                "server-try-again",
                moment=moment,
                object_type="mobile server",
                object_key=server.key,
                actor=actor,
            )
    return is_waiting
