"""The servers' past: their transitions, how much of the time they were online, and forgetting the oldest."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from datetime import UTC, datetime, timedelta

from django.db import transaction
from django.db.models import Count, Exists, OuterRef, Q, Subquery

from servers.models import MobileServer, ServerState, StatusTransition, TransitionCount
from servers.status import Status
from servers.uptime import Step, uptime

PERIODS_DAYS = (1, 7, 30, 90)
NEVER = datetime(1970, 1, 1, tzinfo=UTC)
COUNTED_AFTER = timedelta(hours=1)
"""How old a transition is when it is counted for good: none is written so late after its moment."""


def steps_of(server_ids: Collection[int], start: datetime) -> dict[int, list[Step]]:
    """Return, by server id, the transitions from `start` on and the last before, oldest first; one query."""
    before = (
        StatusTransition.objects.filter(server=OuterRef("pk"), at__lt=start).order_by("-at", "-pk").values("pk")[:1]
    )
    last_before = MobileServer.objects.filter(pk__in=server_ids).order_by().values_list(Subquery(before))
    steps: dict[int, list[Step]] = {pk: [] for pk in server_ids}
    rows = (
        StatusTransition.objects.filter(Q(server__in=server_ids, at__gte=start) | Q(pk__in=last_before))
        .order_by("at", "pk")
        .values_list("server_id", "at", "to_status")
    )
    for server_id, at, to_status in rows:
        if server_id is not None:
            steps[server_id].append(Step(at, Status(to_status)))
    return steps


def uptimes_of(
    server_ids: Collection[int],
    moment: datetime,
    excluded: Mapping[int, Iterable[tuple[datetime, datetime]]] | None = None,
) -> dict[int, dict[int, float | None]]:
    """Return, by server id and number of days (1, 7, 30, 90), the share of that time it was online.

    `excluded` holds start and end of each server's maintenance by its id, as `fleet.maintenance.windows`
    gives them. None: nothing of that time counts. Two queries, however many servers.
    """
    excluded = excluded or {}
    steps = steps_of(server_ids, moment - timedelta(days=max(PERIODS_DAYS)))
    proved = dict(ServerState.objects.filter(server__in=server_ids).values_list("server_id", "proved_at"))
    return {
        server_id: {
            days: uptime(
                steps[server_id],
                excluded.get(server_id, ()),
                moment - timedelta(days=days),
                moment,
                proved_at=proved[server_id],
            )
            if proved.get(server_id)
            else None
            for days in PERIODS_DAYS
        }
        for server_id in server_ids
    }


def prune(before: datetime) -> int:
    """Forget the transitions before that moment; return how many.

    The last one of each server stays, however old: it tells in what state the time after it began.
    """
    with transaction.atomic():
        count_up(before)
        later = StatusTransition.objects.filter(server=OuterRef("server"), at__lt=before).filter(
            Q(at__gt=OuterRef("at")) | Q(at=OuterRef("at"), pk__gt=OuterRef("pk"))
        )
        of_nobody = Q(server__isnull=True)
        return StatusTransition.objects.filter(of_nobody | Exists(later), at__lt=before).delete()[0]


def count_up(until: datetime) -> None:
    """Count for good the transitions before `until` that were not counted yet."""
    with transaction.atomic():
        TransitionCount.objects.bulk_create(
            [TransitionCount(to_status=status, until=NEVER) for status in Status], ignore_conflicts=True
        )
        # Whoever counts at the same time waits here, and then finds nothing left to count.
        for row in TransitionCount.objects.select_for_update().order_by("to_status"):
            if row.until < until:
                uncounted = StatusTransition.objects.filter(to_status=row.to_status, at__gte=row.until, at__lt=until)
                row.number += uncounted.count()
                row.until = until
                row.save(update_fields=["number", "until"])


def transitions_ever() -> dict[Status, int]:
    """Return how many changes to each state there ever were; never falls when history is pruned. Two queries."""
    counts = {Status(row.to_status): row for row in TransitionCount.objects.all()}
    uncounted = Q(pk__in=[])
    for status in Status:
        uncounted |= Q(to_status=status, at__gte=counts[status].until if status in counts else NEVER)
    rows = StatusTransition.objects.filter(uncounted).order_by().values("to_status").annotate(number=Count("pk"))
    later = {row["to_status"]: row["number"] for row in rows}
    return {
        status: later.get(status.value, 0) + (counts[status].number if status in counts else 0) for status in Status
    }
