"""Makers and a small world for the tests of watching."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from django.utils import timezone

from fleet import pulse
from fleet.heartbeat import Report, receive
from fleet.models import Incident, Pulse
from fleet.probing import Probed, note
from fleet.watch import watch
from notices.models import Notice
from organizations.models import Organization
from routing.store import store
from servers.models import AgentToken, MobileServer, ServerReport, StatusTransition
from servers.status import Observation, Sight
from tests.factories import make_organization, make_server

START = datetime(2026, 3, 1, 12, tzinfo=UTC)


def seconds(number: float) -> timedelta:
    return timedelta(seconds=number)


def acme() -> Organization:
    return Organization.objects.filter(code="ACME").first() or make_organization("ACME")


def make_probed(name: str = "central", **fields) -> MobileServer:
    """Make a server without an agent."""
    return make_server(name, client=fields.pop("client", None) or acme(), **fields)


def make_reporting(name: str = "central", **fields) -> MobileServer:
    """Make a server whose agent has reported before."""
    server = make_probed(name, **fields)
    AgentToken.objects.create(
        server=server, token_id=f"t{server.pk}", digest="-", created_at=START, first_used_at=START
    )
    return server


def hear(server: MobileServer, moment: datetime | None = None, *, ready: bool = True, cause: str = "") -> None:
    """Let the agent of a server report."""
    known = MobileServer.objects.select_related("state", "report").get(pk=server.pk)
    receive(known, Report(is_ready=ready, cause=cause), moment or timezone.now(), "192.0.2.1")


def see(server: MobileServer, *, failure: str = "", moment: datetime | None = None) -> None:
    """Let a probe of a server end, well or with a failure."""
    ServerReport.objects.get_or_create(server=server)
    moment = moment or timezone.now()
    sight = Sight.FAILED if failure else Sight.READY
    probed = Probed(server.pk, Observation(sight, moment, failure or "It answered 200."), 5)
    note([probed], moment, store.current().landscape)


def beat_both(moment: datetime) -> None:
    pulse.receive(moment)
    pulse.beat(Pulse.WATCHER, moment, pulse.WATCHER_GAP)


class Clock:
    """Frozen time in which the Booster goes on: receiving and watching every 5 s."""

    def __init__(self, traveller) -> None:
        self._traveller = traveller
        self._traveller.move_to(START, tick=False)
        beat_both(START)

    @property
    def now(self) -> datetime:
        return timezone.now()

    def pass_by(self, number: float, *, hearing=(), every: float = 30, each=lambda: None) -> None:
        """Let seconds go by, watching every 5 s; the servers in `hearing` report `every` so many seconds.

        Where it takes long, watching every 15 s is enough: no gap either, and a quicker test.
        """
        begun = self.now
        step = 0.0
        while step < number:
            step = min(step + (5 if number <= 320 else 15), number)
            self._traveller.move_to(begun + seconds(step), tick=False)
            pulse.receive(self.now)
            if step % every == 0:
                for server in hearing:
                    hear(server)
            each()
            watch(self.now)

    def stand_still(self, number: float) -> None:
        """Let seconds go by in which nothing of the Booster runs."""
        self._traveller.move_to(self.now + seconds(number), tick=False)


def status_of(server: MobileServer) -> str:
    return MobileServer.objects.get(pk=server.pk).state.status


def history_of(server: MobileServer) -> list[tuple[str, str]]:
    rows = StatusTransition.objects.filter(server=server).order_by("pk")
    return list(rows.values_list("from_status", "to_status"))


def told() -> list[tuple[str, str]]:
    """Return kind and subject of all notices, in order."""
    return list(Notice.objects.order_by("pk").values_list("kind", "subject"))


def open_incidents() -> list[str]:
    return [str(incident) for incident in Incident.objects.filter(closed_at=None).order_by("opened_at", "pk")]
