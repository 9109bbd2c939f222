"""The watcher's pass over a fleet of a given size."""

from __future__ import annotations

from datetime import timedelta

from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from bench.configurations import analyze, refill
from bench.load import median_ms

ORGANIZATIONS, SERVICES = 100, 20
SIZES = (100, 10_000)
"""Servers."""
LOST = 10


def fill_watched(servers: int) -> None:
    """Let every server have an agent that reported just now, and be online."""
    from fleet import pulse
    from fleet.models import Pulse
    from servers.models import AgentToken, MobileServer, ServerReport, ServerState

    moment = timezone.now()
    known = list(MobileServer.objects.all())
    AgentToken.objects.bulk_create(
        AgentToken(server=server, token_id=f"bench{server.pk}", digest="-", created_at=moment, first_used_at=moment)
        for server in known
    )
    ServerReport.objects.bulk_create(ServerReport(server=server, ready_at=moment, successes=1) for server in known)
    ServerState.objects.bulk_create(
        ServerState(server=server, status="online", since=moment, proved_at=moment) for server in known
    )
    pulse.receive(moment)
    pulse.beat(Pulse.WATCHER, moment, pulse.WATCHER_GAP)
    analyze()


def measure() -> dict[str, dict[str, float]]:
    """Return milliseconds per pass and per server, and queries per pass, by number of servers."""
    from fleet.models import Pulse
    from fleet.watch import watch
    from servers.models import ServerReport

    measured = {}
    for size in SIZES:
        refill(ORGANIZATIONS, size, SERVICES)
        fill_watched(size)
        moment = timezone.now()
        watch(moment)
        took = median_ms(lambda: watch(moment))  # noqa: B023 - called at once
        with CaptureQueriesContext(connection) as quiet:
            watch(moment)
        late = moment + timedelta(seconds=300)
        Pulse.objects.update(at=late)
        ServerReport.objects.update(ready_at=late)
        lost = list(ServerReport.objects.order_by("pk").values_list("pk", flat=True)[:LOST])
        ServerReport.objects.filter(pk__in=lost).update(ready_at=moment)
        with CaptureQueriesContext(connection) as changing:
            changes = watch(late)
        assert changes == LOST
        measured[size] = {
            "a pass, ms": took,
            "per server, µs": took * 1000 / size,
            "queries of a pass": len(quiet),
            f"queries with {LOST} losses": len(changing),
        }
    small, large = SIZES
    print(f"\n{'watching, by servers':36}{small:>12,}{large:>12,}   ratio")
    for what, value in measured[large].items():
        base = measured[small][what]
        print(f"{what:36}{base:>12,.2f}{value:>12,.2f}{value / base:>8.2f}")
    return {str(size): values for size, values in measured.items()}
