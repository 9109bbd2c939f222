"""One look at all servers: who fell silent, which waits are over, what follows from it."""

from __future__ import annotations

from datetime import datetime

from django.db import transaction

from fleet import pulse
from fleet.flapping import settle_flapping
from fleet.incidents import settle, settle_booster
from fleet.models import Pulse
from fleet.probing import look_soon
from fleet.states import (
    Patience,
    Verdict,
    has_order,
    in_order,
    is_reporting,
    retire,
    standing_of,
    watched_servers,
    write,
)
from fleet.telling import tell_flapping, tell_outages
from routing.store import store
from servers.status import judge


def watch(moment: datetime) -> int:
    """Judge every active server at `moment`, settle its incident and tell who must know; return the changes.

    A fixed number of queries, plus one per change, however many servers there are. Safe in several
    workers at once: whoever is later finds nothing left to write.
    """
    pulse.beat(Pulse.WATCHER, moment, pulse.WATCHER_GAP)
    watching = pulse.watching(moment)
    landscape = store.current().landscape
    patience = Patience(landscape)
    servers = list(watched_servers())
    verdicts = []
    for server in servers:
        before = standing_of(server)
        has_agent = is_reporting(server)
        timings = patience.of(server.key, has_agent=has_agent)
        if has_order(server):
            timings = in_order(timings)
        after, changes = judge(before, moment, timings, watching.since(has_agent=has_agent))
        verdicts.append(Verdict(server, before, after, changes, "watcher"))
    with transaction.atomic():
        written = write(verdicts)
        settle(moment)
        in_transition = [
            verdict.server.pk
            for verdict in written
            if verdict.after.status.is_transition and not is_reporting(verdict.server)
        ]
        if in_transition:
            look_soon(in_transition, moment)
    changed = len(written) + retire(moment)
    settle_booster(moment)
    with transaction.atomic():  # a flag that stands was told
        tell_flapping(settle_flapping(servers, landscape, moment), moment)
    tell_outages(moment)
    return changed
