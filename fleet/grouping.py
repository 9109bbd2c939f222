"""One cause, one notice: which outages are told together, and when. Values in, a plan out.

Told with a short delay, so that a group is complete; then what belongs to an outage that was told
already follows it silently. A follower that stays down long after its leader is back has a cause of its
own, and is told after all.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

DELAY = timedelta(seconds=15)
"""How long an outage waits for others of the same cause before it is told."""
WINDOW = timedelta(seconds=300)
"""How long after a leader's loss others may follow it, and how long after its return they may take to follow."""
HOLD = timedelta(seconds=180)
"""How long outages wait at most: while nothing at all was seen since, as the Booster itself may be cut off, and
store servers while a main server was not seen since, as its silence is noticed last and may be the cause."""
FEWEST_FOR_ISOLATION = 3


@dataclass(frozen=True, slots=True)
class Watched:
    """A watched server that had proved itself. `seen_at`: when it last answered, ready or not."""

    id: int
    client: str
    is_main: bool
    is_lost: bool
    seen_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Outage:
    """An incident of one server (or terminal, see `plan_terminals`); `follows` is its leader's id."""

    id: int
    subject: int
    opened_at: datetime
    closed_at: datetime | None = None
    is_told: bool = False
    follows: int | None = None
    leader_closed_at: datetime | None = None

    @property
    def is_open(self) -> bool:
        return self.closed_at is None

    def has_lost_its_leader(self, moment: datetime) -> bool:
        return self.is_open and self.leader_closed_at is not None and moment - self.leader_closed_at > WINDOW


@dataclass(frozen=True, slots=True)
class Plan:
    """What to do with open outages, by their ids.

    `isolated` are to follow a new incident of the Booster itself. `tell` has the followers that are told
    with each leader, `join` those that follow a leader silently. `detached` no longer follow anybody;
    they may be told or join in the same plan.
    """

    isolated: frozenset[int] = frozenset()
    tell: Mapping[int, frozenset[int]] = field(default_factory=dict)
    join: Mapping[int, frozenset[int]] = field(default_factory=dict)
    detached: frozenset[int] = frozenset()


def plan(
    outages: Iterable[Outage],
    watched: Iterable[Watched],
    moment: datetime,
    *,
    silenced: Collection[int] = (),
    booster_incident: int | None = None,
) -> Plan:
    """Return whom to tell now of the servers' outages.

    `outages` are the open ones and those closed within the window. Servers in `silenced` (flapping, in
    maintenance) are not told, but lead. `booster_incident` is the id of the Booster's open incident.

    (a) When nothing was seen since the first of at least three losses, and no watched server is left (or
    the hold is over), the Booster cannot reach anything. (b) Store servers follow the main server of their
    client when they were lost after it was last seen, with it, or within the window after its loss.
    """
    servers = {server.id: server for server in watched}
    known = [outage for outage in outages if outage.subject in servers]
    detached = frozenset(outage.id for outage in known if outage.has_lost_its_leader(moment))
    known = [
        replace(outage, is_told=False, follows=None, leader_closed_at=None) if outage.id in detached else outage
        for outage in known
    ]
    untold = [o for o in known if o.is_open and not o.is_told and o.subject not in silenced]
    if booster_incident is not None:
        joining = frozenset(outage.id for outage in untold)
        return Plan(join={booster_incident: joining} if joining else {}, detached=detached)
    if _may_be_isolated(untold, servers.values()):
        first = min(outage.opened_at for outage in untold)
        together = [o for o in known if o.is_open and abs(o.opened_at - first) <= WINDOW]
        is_over = moment - first > HOLD
        is_all = all(server.is_lost for server in servers.values())
        if len(together) >= FEWEST_FOR_ISOLATION and (is_over or (is_all and moment - first >= DELAY)):
            return Plan(isolated=frozenset(outage.id for outage in together), detached=detached)
        if not is_over and not (is_all and len(together) < FEWEST_FOR_ISOLATION):
            return Plan(detached=detached)
    return replace(_by_main_server(known, untold, servers, detached, moment, silenced), detached=detached)


def _may_be_isolated(untold: Collection[Outage], servers: Collection[Watched]) -> bool:
    """Tell whether nothing at all was seen since the first of these losses."""
    if not untold or len(servers) < FEWEST_FOR_ISOLATION:
        return False
    first = min(outage.opened_at for outage in untold)
    return all(server.seen_at is None or server.seen_at <= first for server in servers)


def _by_main_server(
    known: Collection[Outage],
    untold: Collection[Outage],
    servers: Mapping[int, Watched],
    detached: Collection[int],
    moment: datetime,
    silenced: Collection[int],
) -> Plan:
    leaders = sorted(
        (o for o in known if servers[o.subject].is_main and o.follows is None and (o.is_open or o.is_told)),
        key=lambda outage: (outage.opened_at, outage.id),
    )
    following: defaultdict[int, set[int]] = defaultdict(set)
    alone = []
    for outage in untold:
        server = servers[outage.subject]
        leader = next(
            (
                main
                for main in leaders
                if not server.is_main
                and servers[main.subject].client == server.client
                and _leads(main, servers[main.subject].seen_at, outage, was_detached=outage.id in detached)
            ),
            None,
        )
        if leader is None:
            alone.append(outage)
        else:
            following[leader.id].add(outage.id)
    due = [o for o in alone if moment - o.opened_at >= DELAY and not _may_yet_follow(o, servers, moment)]
    tell = {outage.id: frozenset(following.pop(outage.id, ())) for outage in due}
    waiting = {o.id for o in untold} - set(tell)
    join = {leader: frozenset(ids) for leader, ids in following.items() if leader not in waiting}
    return Plan(tell=tell, join=join)


def _may_yet_follow(outage: Outage, servers: Mapping[int, Watched], moment: datetime) -> bool:
    """Tell whether a main server that was not seen since this loss of a store server may still turn out lost."""
    lost = servers[outage.subject]
    return (
        not lost.is_main
        and moment - outage.opened_at <= HOLD
        and any(
            main.is_main
            and main.client == lost.client
            and not main.is_lost
            and (main.seen_at is None or main.seen_at <= outage.opened_at)
            for main in servers.values()
        )
    )


def _leads(main: Outage, seen_at: datetime | None, outage: Outage, *, was_detached: bool) -> bool:
    """Tell whether an outage belongs to that of a main server of the same client, which was last seen at `seen_at`."""
    if main.closed_at is not None and (was_detached or outage.opened_at > main.closed_at):
        return False
    begun = main.opened_at - DELAY
    if seen_at is not None:
        begun = min(begun, max(seen_at, main.opened_at - HOLD))
    return begun <= outage.opened_at <= main.opened_at + WINDOW


def plan_terminals(
    outages: Iterable[Outage],
    stores: Mapping[int, str],
    moment: datetime,
    *,
    silenced: Collection[int] = (),
    booster_incident: int | None = None,
) -> Plan:
    """Return whom to tell now of terminals that are not seen; `stores` names the store of each.

    Terminals of one store that vanish within the window are one notice. Those that vanish while the
    Booster cannot reach anything belong to that.
    """
    known = [outage for outage in outages if outage.subject in stores]
    detached = frozenset(outage.id for outage in known if outage.has_lost_its_leader(moment))
    known = [replace(o, is_told=False, follows=None) if o.id in detached else o for o in known]
    untold = sorted(
        (o for o in known if o.is_open and not o.is_told and o.subject not in silenced),
        key=lambda outage: (outage.opened_at, outage.id),
    )
    if booster_incident is not None:
        joining = frozenset(outage.id for outage in untold)
        return Plan(join={booster_incident: joining} if joining else {}, detached=detached)
    leaders = {stores[o.subject]: o for o in known if o.is_open and o.is_told and o.follows is None}
    tell: dict[int, set[int]] = {}
    join: defaultdict[int, set[int]] = defaultdict(set)
    for outage in untold:
        leader = leaders.get(stores[outage.subject])
        if leader is not None and outage.opened_at - leader.opened_at <= WINDOW:
            (tell if leader.id in tell else join)[leader.id].add(outage.id)
        elif moment - outage.opened_at >= DELAY:
            tell[outage.id] = set()
            leaders[stores[outage.subject]] = outage
    return Plan(
        tell={leader: frozenset(ids) for leader, ids in tell.items()},
        join={leader: frozenset(ids) for leader, ids in join.items()},
        detached=detached,
    )
