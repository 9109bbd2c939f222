"""What an agent reports: kept, judged, and answered.

As long as nothing changes, a report costs one update (and one more statement when it says whom the
server can reach), on top of the query that found its token; everything else is in memory.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from django.db import transaction

from fleet import incidents, pulse, states
from fleet.reachability import write_of_servers
from fleet.states import EVIDENCE, Verdict
from routing.store import Snapshot, store
from servers.models import LARGEST_CLOCK_OFFSET_S, MobileServer, ServerReport
from servers.status import Observation, Sight, Standing, Status, Timings, judge, observe
from terminals.reports import Sighting

OBSERVER = "agent"
INTERVAL_IN_TRANSITION_S = 10
LARGEST_OFFSET_S = 2**31 - 1


class Action(StrEnum):
    """What a server's agent is asked to do."""

    PREPARE = "prepare"  # get ready: process what is pending
    SET_CLOCK = "set_clock"
    APPLY_PATCH = "apply_patch"  # fetch the order of a roll-out


@dataclass(frozen=True, slots=True)
class Report:
    """What an agent tells of its server. `observed` says of other servers, by key, whether it reaches them."""

    is_ready: bool
    pending: int = 0
    cause: str = ""
    software_version: str = ""
    modules: list[dict[str, str]] = field(default_factory=list)
    host_name: str = ""
    os: str = ""
    observed: Mapping[str, bool] = field(default_factory=dict)
    sent_at: datetime | None = None

    def seen(self, moment: datetime) -> Observation:
        if self.is_ready:
            return Observation(Sight.READY, moment, "Its agent reports that it is ready.")
        pending = f"{self.pending} transaction{'' if self.pending == 1 else 's'} pending." if self.pending else ""
        return Observation(Sight.UNREADY, moment, self.cause or pending or "Its agent reports that it is not ready.")

    def clock_offset_s(self, moment: datetime) -> int | None:
        """Return by how much the host's clock is ahead. It is shown, and counts for nothing else."""
        if self.sent_at is None:
            return None
        offset_s = round((self.sent_at - moment).total_seconds())
        return max(-LARGEST_OFFSET_S, min(offset_s, LARGEST_OFFSET_S))


@dataclass(frozen=True, slots=True)
class Answer:
    """The server's state as the Booster sees it after a report, when to report next, and what to do."""

    status: Status
    since: datetime | None
    next_interval_s: int
    todo: tuple[Action, ...]


def receive(server: MobileServer, report: Report, moment: datetime, address: str) -> Answer:
    """Take in a report of a server's agent; the server comes with its state and report at hand."""
    snapshot = store.recent()
    timings = states.timings_for(snapshot.landscape, server.key, has_agent=True)
    if states.has_order(server):
        timings = states.in_order(timings)
    before = states.standing_of(server)
    heard = observe(before, report.seen(moment), timings)
    after, changes = judge(heard, moment, timings)
    if changes and before.status.is_transition:
        # A wait may be over, but for the time in which the Booster itself was away: asked only now, so
        # that a server on its way back costs no more than any other.
        after, changes = judge(heard, moment, timings, pulse.watching(moment).since(has_agent=True))
    if not changes:
        _keep(server, report, before, heard, moment, address)
    else:
        with transaction.atomic():
            _keep(server, report, before, heard, moment, address)
            if states.write([Verdict(server, before, after, changes, OBSERVER)]):
                incidents.settle(moment, [server.pk])
            else:
                # Somebody else was faster: what he decided holds.
                after = states.standing_of(MobileServer.objects.select_related("state", "report").get(pk=server.pk))
    _keep_observed(snapshot, server, report.observed, moment)
    todo = _todo(after, report, moment, has_order=states.has_order(server))
    return Answer(after.status, after.since, _next_interval_s(after.status, timings), todo)


def _keep(
    server: MobileServer, report: Report, before: Standing, heard: Standing, moment: datetime, address: str
) -> None:
    """Write what was told, where it differs from what is stored."""
    told: dict[str, Any] = {
        "last_seen_at": moment,
        "reported_at": moment,
        "software_version": report.software_version,
        "modules": report.modules,
        "pending": report.pending,
        "host_name": report.host_name,
        "os": report.os,
        "address": address,
        "clock_offset_s": report.clock_offset_s(moment),
        **{name: getattr(heard, name) for name in EVIDENCE},
    }
    stored: ServerReport | None = getattr(server, "report", None)
    if stored is not None:
        differing = {name: value for name, value in told.items() if getattr(stored, name) != value}
        ServerReport.objects.filter(pk=server.pk).update(**differing)
    else:
        ServerReport.objects.bulk_create(
            [ServerReport(server=server, **told)],
            update_conflicts=True,
            unique_fields=["server"],
            update_fields=list(told),
        )


def _keep_observed(snapshot: Snapshot, server: MobileServer, observed: Mapping[str, bool], moment: datetime) -> None:
    """Write which servers of its client the server reaches; other keys are ignored."""
    own = snapshot.active_server(server.key)
    named = ((snapshot.active_server(key), is_reachable) for key, is_reachable in observed.items())
    reached = {
        other.key: is_reachable
        for other, is_reachable in named
        if own is not None and other is not None and other.client == own.client and other is not own
    }
    if reached:
        write_of_servers([Sighting(server.pk, key, is_reachable, moment) for key, is_reachable in reached.items()])


def _next_interval_s(status: Status, timings: Timings) -> int:
    """Ask a server on its way back more often, so that it need not wait for its next beat."""
    if status is Status.TRANSITION_TO_ONLINE:
        return min(INTERVAL_IN_TRANSITION_S, timings.heartbeat_interval_s)
    return timings.heartbeat_interval_s


def _todo(standing: Standing, report: Report, moment: datetime, *, has_order: bool) -> tuple[Action, ...]:
    offset_s = report.clock_offset_s(moment)
    is_preparing = standing.status is Status.TRANSITION_TO_ONLINE and not report.is_ready
    is_clock_off = offset_s is not None and abs(offset_s) > LARGEST_CLOCK_OFFSET_S
    wanted = {Action.PREPARE: is_preparing, Action.SET_CLOCK: is_clock_off, Action.APPLY_PATCH: has_order}
    return tuple(action for action, is_wanted in wanted.items() if is_wanted)
