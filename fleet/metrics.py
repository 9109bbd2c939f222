"""What Prometheus may ask: read from the database when it asks, so every web worker and node tells the same.

A fixed number of queries, however many servers and terminals there are.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db.models import Case, Count, Value, When
from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest

from fleet.maintenance import in_maintenance
from fleet.models import Incident, IncidentKind, Pulse
from licensing.installation import standing
from licensing.rules import State
from licensing.usage import present_usage
from routing import revision
from servers.history import transitions_ever
from servers.models import MobileServer
from servers.status import Status
from terminals.models import Terminal

CONTENT_TYPE: str = CONTENT_TYPE_PLAIN_0_0_4
SEEN_WITHIN = (
    ("5m", timedelta(minutes=5)),
    ("1h", timedelta(hours=1)),
    ("1d", timedelta(days=1)),
    ("7d", timedelta(days=7)),
)
LONGER_AGO, NEVER = "longer", "never"


def exposition(moment: datetime) -> bytes:
    """Return all metrics at `moment` in Prometheus' text format."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_At(moment))
    return generate_latest(registry)


class _At:
    """The collector of one request."""

    def __init__(self, moment: datetime) -> None:
        self.moment = moment

    def collect(self) -> Iterator[Metric]:
        yield gauge("booster_info", "The version that answers.", ["version"], [([settings.VERSION], 1)])
        yield from _servers(self.moment)
        yield from _watching(self.moment)
        numbers = revision.numbers()
        yield from _terminals(self.moment, numbers[revision.LANDSCAPE])
        yield from _license(self.moment)
        yield gauge(
            "booster_revision",
            "How often what is configured, the credentials or the states of servers changed.",
            ["scope"],
            [([scope], number) for scope, number in sorted(numbers.items())],
        )

        for further in collectors:
            yield from further(self.moment)


Sample = tuple[list[str], float]

collectors: list[Callable[[datetime], Iterable[Metric]]] = []
"""What the rooms above add to the metrics."""


def gauge(name: str, text: str, labels: list[str], samples: Iterable[Sample]) -> Metric:
    family = GaugeMetricFamily(name, text, labels=labels)
    for values, number in samples:
        family.add_metric(values, number)
    return family


def _servers(moment: datetime) -> Iterator[Metric]:
    rows = MobileServer.objects.filter(is_active=True).order_by("key")
    servers = list(
        rows.values_list(
            "pk", "key", "client__code", "server_type", "state__status", "state__is_flapping", "report__last_seen_at"
        )
    )
    kinds = sorted({(client, server_type) for _, _, client, server_type, *_ in servers})
    states = Counter((client, kind, status or Status.OFFLINE) for _, _, client, kind, status, *_ in servers)
    yield gauge(
        "booster_servers",
        "Active mobile servers by client, type and state.",
        ["client", "type", "status"],
        [([*kind, status.value], states[(*kind, status)]) for kind in kinds for status in Status],
    )
    flapping = sum(bool(is_flapping) for *_, is_flapping, _ in servers)
    yield gauge("booster_servers_flapping", "Active mobile servers that come and go.", [], [([], flapping)])
    worked_on = in_maintenance(moment)
    number = sum(pk in worked_on for pk, *_ in servers)
    yield gauge("booster_servers_in_maintenance", "Active mobile servers in maintenance now.", [], [([], number)])
    yield gauge(
        "booster_server_last_seen_age_seconds",
        "For how long an active mobile server has not reported or answered; none for one never seen.",
        ["server"],
        [([key], _seconds(moment, seen)) for _, key, *_, seen in servers if seen is not None],
    )


def _watching(moment: datetime) -> Iterator[Metric]:
    transitions = CounterMetricFamily(
        "booster_status_transitions",
        "Changes of servers' states by the state entered; pruning the history does not lower it.",
        labels=["to"],
    )
    for status, number in transitions_ever().items():
        transitions.add_metric([status.value], number)
    yield transitions
    opened = dict(Incident.objects.filter(closed_at=None).order_by().values_list("kind").annotate(number=Count("pk")))
    yield gauge(
        "booster_incidents_open",
        "Incidents that are open now.",
        ["kind"],
        [([kind], opened.get(kind, 0)) for kind in IncidentKind.values],
    )
    beats = {pulse.name: pulse.at for pulse in Pulse.objects.all()}
    for name, text in (
        (Pulse.WATCHER, "For how long no pass over all servers has been made; none before the first."),
        (Pulse.RECEIVER, "For how long no web process has said that it can receive reports; none before the first."),
    ):
        lag: list[Sample] = [([], _seconds(moment, beats[name]))] if name in beats else []
        yield gauge(f"booster_{name}_lag_seconds", text, [], lag)


def _terminals(moment: datetime, present: int) -> Iterator[Metric]:
    ages = [When(report__last_seen_at__gt=moment - age, then=Value(name)) for name, age in SEEN_WITHIN]
    last_seen = Case(When(report__last_seen_at=None, then=Value(NEVER)), *ages, default=Value(LONGER_AGO))
    held = Case(
        When(report__revision=None, then=Value("unknown")),
        When(report__revision__gte=present, then=Value("current")),
        default=Value("older"),
    )
    rows = (
        Terminal.objects.filter(is_active=True)
        .order_by()
        .annotate(held=held, last_seen=last_seen)
        .values_list("held", "last_seen")
        .annotate(number=Count("pk"))
    )
    by_held: Counter[str] = Counter()
    by_age: Counter[str] = Counter()
    for revision_held, age, number in rows:
        by_held[revision_held] += number
        by_age[age] += number
    yield gauge(
        "booster_terminals",
        "Active POS terminals by the configuration revision they held when they last asked.",
        ["revision"],
        [([name], by_held[name]) for name in ("current", "older", "unknown")],
    )
    yield gauge(
        "booster_terminals_last_seen",
        "Active POS terminals by how long ago they were last seen; each counts once, in the shortest that fits.",
        ["within"],
        [([name], by_age[name]) for name in (*(name for name, _ in SEEN_WITHIN), LONGER_AGO, NEVER)],
    )


def _license(moment: datetime) -> Iterator[Metric]:
    where = standing(moment)
    status, usage = where.status, present_usage()
    yield gauge(
        "booster_license_state",
        "1 for the state the licence is in, 0 for the others.",
        ["state"],
        [([state.value], state is status.state) for state in State],
    )
    ends_in: list[Sample] = [] if status.until is None else [([], _seconds(status.until, where.moment))]
    yield gauge(
        "booster_license_state_ends_in_seconds",
        "For how long the present state of the licence lasts; none for one without end.",
        [],
        ends_in,
    )
    names = ("main_servers", "store_servers", "servers", "terminals")
    yield gauge(
        "booster_license_usage",
        "How many there are of what a licence limits, active or not.",
        ["of"],
        [([name], getattr(usage, name)) for name in names],
    )
    limits: list[tuple[str, Any]] = [(name, getattr(status.limits, name)) for name in names]
    yield gauge(
        "booster_license_limit",
        "How many the licence allows; none where there is no limit.",
        ["of"],
        [([name], limit) for name, limit in limits if limit is not None],
    )


def _seconds(later: datetime, earlier: datetime) -> float:
    return (later - earlier).total_seconds()
