"""The servers' states: read into the machine's terms, and the one place that writes what it decided."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from django.db import transaction
from django.db.models import Exists, OuterRef
from django.db.models.functions import Coalesce

from routing import revision
from routing.landscape import Landscape, OrganizationCode, Server
from servers.models import MobileServer, ServerReport, ServerState, StatusTransition
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
    changed = [verdict for verdict in verdicts if verdict.changes]
    if not changed:
        return []
    with transaction.atomic():
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
