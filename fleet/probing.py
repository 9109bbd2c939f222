"""Calling the servers that have no agent, over HTTP, each at its own interval.

A probe is claimed by moving its `next_probe_at` under a lock, so two workers never take the same slot;
one that dies with its worker is simply made again an interval later. The calls run in threads that know
nothing of the database; their results are written together by the round that collects them.
"""

from __future__ import annotations

import random
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Sequence
from concurrent.futures import ALL_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog
from django.conf import settings
from django.db import transaction
from django.db.models import F, Q
from django.utils import timezone

from backoffice.outbound import OutboundError, Policy, call
from fleet import pulse
from fleet.incidents import settle
from fleet.states import EVIDENCE, Patience, Verdict, place_of, standing_of, watched_servers, write
from routing.landscape import Landscape
from routing.store import store
from servers.agent_tokens import has_agent
from servers.models import MobileServer, ServerReport
from servers.status import Observation, Sight, Standing, judge, observe

logger = structlog.get_logger(__name__)

MOST_AT_ONCE = 32
ROUND_S = 4.0
"""How long a round goes on: where tasks run one after the other, no longer than the watcher can wait."""
COLLECT_EVERY_S = 0.2
LARGEST_ANSWER = 64 * 1024
FIRST_PROBES_PER_S = 20
INTERVAL_IN_TRANSITION_S = 10
"""A server in a transition is called at least so often: its waits may be shorter than its interval."""
LONGEST_CAUSE = 255


@dataclass(frozen=True, slots=True)
class Target:
    """What to call, and what to expect."""

    server_id: int
    url: str
    timeout_s: int
    expected_status: int


@dataclass(frozen=True, slots=True)
class Probed:
    """What one call saw."""

    server_id: int
    observation: Observation
    took_ms: int


def probe(target: Target) -> Probed:
    """Call a server once; whatever happens is an observation, with a cause that a person can act on."""
    policy = Policy(private=True, loopback=settings.BOOSTER_PROBE_LOOPBACK)
    try:
        answer = call("GET", target.url, timeout_s=target.timeout_s, policy=policy, max_bytes=LARGEST_ANSWER)
    except OutboundError as error:
        seen, cause, took_ms = Sight.FAILED, str(error), error.took_ms
    except Exception as error:
        # One server that nobody foresaw must not keep the others from being called.
        logger.exception("probe-failed", server=target.server_id)
        seen, cause, took_ms = Sight.FAILED, f"It could not be called: {type(error).__name__}.", 0
    else:
        took_ms = answer.took_ms
        if answer.status == target.expected_status:
            seen, cause = Sight.READY, f"It answered {answer.status}."
        else:
            seen, cause = Sight.FAILED, f"It answered {answer.status} instead of {target.expected_status}."
    return Probed(target.server_id, Observation(seen, timezone.now(), cause[:LONGEST_CAUSE]), took_ms)


class Prober:
    """The probes of one process: those on their way, and at most one round at a time."""

    def __init__(self, call_one: Callable[[Target], Probed] = probe) -> None:
        self._call_one = call_one
        self._round = threading.Lock()
        self._threads: ThreadPoolExecutor | None = None
        self._under_way: dict[Future[Probed], Target] = {}
        self._planned_by: Landscape | None = None

    def run(self, *, round_s: float = ROUND_S) -> int:
        """Make the probes that are due for at most `round_s`, and write what was seen; return how many.

        What still waits for its answer then is collected by a later round, what could not be begun stays
        due. Returns 0 at once while another thread of this process runs a round.
        """
        if not self._round.acquire(blocking=False):
            return 0
        try:
            return self._run(time.monotonic() + round_s)
        finally:
            self._round.release()

    def _run(self, deadline: float) -> int:
        if self._threads is None:
            self._threads = ThreadPoolExecutor(MOST_AT_ONCE, thread_name_prefix="probe")
        plan_first_probes(timezone.now())
        landscape = store.current().landscape
        if landscape is not self._planned_by:
            bring_forward(timezone.now(), landscape)
            self._planned_by = landscape
        written = 0
        while True:
            free = MOST_AT_ONCE - len(self._under_way)
            begun = claim(timezone.now(), free, landscape) if free and time.monotonic() < deadline else []
            for target in begun:
                self._under_way[self._threads.submit(self._call_one, target)] = target
            if not self._under_way:
                return written
            left = max(0.0, deadline - time.monotonic())
            done, _ = wait(self._under_way, timeout=min(left, COLLECT_EVERY_S), return_when=ALL_COMPLETED)
            for future in done:
                del self._under_way[future]
            written += note([future.result() for future in done], timezone.now(), landscape)
            if time.monotonic() >= deadline:
                return written


def plan_first_probes(moment: datetime) -> int:
    """Give every server that is to be probed its report, due soon; return how many were missing.

    Many at once are spread, so that their probes do not come in one heap ever after.
    """
    missing = list(
        MobileServer.objects.filter(~has_agent(), is_active=True, report__isnull=True).order_by("pk").values_list("pk")
    )
    spread_s = len(missing) / FIRST_PROBES_PER_S
    ServerReport.objects.bulk_create(
        [
            ServerReport(server_id=pk, next_probe_at=moment + timedelta(seconds=random.uniform(0, spread_s)))  # noqa: S311 - spreading load
            for (pk,) in missing
        ],
        ignore_conflicts=True,
        batch_size=1000,
    )
    return len(missing)


def bring_forward(moment: datetime, landscape: Landscape) -> int:
    """Plan anew the probes that are further away than a whole interval, as when it was shortened; return how many."""
    planned = ServerReport.objects.filter(~has_agent("server"), next_probe_at__gt=moment, server__is_active=True)
    return _plan_sooner(
        (report, moment + _pause(report.server, landscape)) for report in planned.select_related("server")
    )


def look_soon(server_ids: Collection[int], moment: datetime) -> int:
    """Plan the next probe of servers that came into a transition; return how many would have come later."""
    planned = ServerReport.objects.filter(~has_agent("server"), pk__in=server_ids, next_probe_at__gt=moment)
    return _plan_sooner(
        # A call may be under way.
        (report, moment + timedelta(seconds=max(INTERVAL_IN_TRANSITION_S, report.server.probe_timeout_s + 1)))
        for report in planned.select_related("server")
    )


def _plan_sooner(wanted: Iterable[tuple[ServerReport, datetime]]) -> int:
    """Move probes to the moments wanted where they are planned for later: one query per moment."""
    by_moment: defaultdict[datetime, list[int]] = defaultdict(list)
    for report, soonest in wanted:
        if report.next_probe_at is not None and report.next_probe_at > soonest:
            by_moment[soonest].append(report.pk)
    return sum(
        ServerReport.objects.filter(pk__in=pks, next_probe_at__gt=soonest).update(next_probe_at=soonest)
        for soonest, pks in by_moment.items()
    )


def claim(moment: datetime, most: int, landscape: Landscape) -> list[Target]:
    """Take up to `most` servers whose probe is due, the longest due first, and plan their next."""
    due = Q(next_probe_at__lte=moment) | Q(next_probe_at__isnull=True)
    with transaction.atomic():
        reports = list(
            ServerReport.objects.filter(due, ~has_agent("server"), server__is_active=True)
            .select_related("server")
            .select_for_update(skip_locked=True, of=("self",))
            .order_by(F("next_probe_at").asc(nulls_first=True), "pk")[:most]
        )
        for report in reports:
            report.next_probe_at = moment + _pause(report.server, landscape)
        ServerReport.objects.bulk_update(reports, ["next_probe_at"])
    servers = [report.server for report in reports]
    return [
        Target(server.pk, server.ping_url or server.url, server.probe_timeout_s, server.expected_status)
        for server in servers
    ]


def _pause(server: MobileServer, landscape: Landscape) -> timedelta:
    """Return how long after one call the next may begin: never while the first may be under way."""
    return timedelta(seconds=max(_interval_s(server, landscape), server.probe_timeout_s + 1))


def _interval_s(server: MobileServer, landscape: Landscape) -> int:
    if server.probe_interval_s is not None:
        return server.probe_interval_s
    defined = landscape.servers.get(server.key)
    place = place_of(defined) if defined is not None else None
    return int(landscape.preference("probe_interval_s", place).value)


def note(probes: Sequence[Probed], moment: datetime, landscape: Landscape) -> int:
    """Write what probes saw and what follows from it; return how many were taken into account.

    Left out are servers that were deactivated or got an agent meanwhile. A fixed number of queries,
    plus one per change.
    """
    if not probes:
        return 0
    seen = {probed.server_id: probed for probed in probes}
    patience, watching = Patience(landscape), pulse.watching(moment)
    with transaction.atomic():
        # The evidence is held from reading to writing: what an agent reports meanwhile comes after it.
        held = ServerReport.objects.select_for_update().filter(pk__in=seen).order_by("pk")
        planned = dict(held.values_list("pk", "next_probe_at"))
        reports, verdicts = [], []
        for server in watched_servers().filter(~has_agent(), pk__in=seen, report__isnull=False):
            probed = seen[server.pk]
            timings = patience.of(server.key, has_agent=False)
            before = standing_of(server)
            observed = observe(before, probed.observation, timings)
            # As of its own moment: what was seen ready a moment ago is ready in the state it leads to.
            after, changes = judge(observed, probed.observation.at, timings, watching.since(has_agent=False))
            reports.append(_reported(server.report, observed, probed))
            server.report.next_probe_at = _next(planned[server.pk], probed, after)
            verdicts.append(Verdict(server, observed, after, changes, "probe"))
        if reports:
            told = [*EVIDENCE, "probed_at", "probe_took_ms", "last_seen_at", "next_probe_at"]
            ServerReport.objects.bulk_update(reports, told)
        written = write(verdicts)
        if written:
            settle(moment, [verdict.server.pk for verdict in written])
    return len(reports)


def _reported(report: ServerReport, observed: Standing, probed: Probed) -> ServerReport:
    for name in EVIDENCE:
        setattr(report, name, getattr(observed, name))
    report.probed_at = probed.observation.at
    report.probe_took_ms = probed.took_ms
    report.last_seen_at = observed.seen_at
    return report


def _next(planned: datetime | None, probed: Probed, after: Standing) -> datetime | None:
    """Return when to call next: as planned, or soon where the server is in a transition."""
    if planned is None or not after.status.is_transition:
        return planned
    return min(planned, probed.observation.at + timedelta(seconds=INTERVAL_IN_TRANSITION_S))


prober = Prober()
