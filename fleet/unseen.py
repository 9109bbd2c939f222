"""Terminals that do not call any more, where somebody wants to know."""

from __future__ import annotations

from datetime import datetime, timedelta

from django.db.models import Exists, OuterRef
from django.db.models.functions import Coalesce

from fleet import pulse
from fleet.incidents import close
from fleet.models import Incident, IncidentKind
from fleet.telling import tell_terminals
from routing.store import store
from terminals.models import Terminal


def watch_terminals(moment: datetime) -> int:
    """Open and close the incidents of unseen terminals, and tell of them; return how many were opened.

    How long is too long says the preference `terminal_unseen_after_s` of the terminal's store, counted
    from when it was last seen, but not for the time in which the Booster itself could not be called. A
    fixed number of queries, plus one per terminal that is seen again.
    """
    since = pulse.watching(moment).receiving_since
    snapshot = store.current()
    patience = {
        pk: timedelta(seconds=int(snapshot.landscape.preference("terminal_unseen_after_s", code).value))
        for pk, code in snapshot.organization_codes.items()
        if snapshot.landscape.organizations[code].kind == "store"
    }
    patience = {pk: allowed for pk, allowed in patience.items() if allowed}
    opened = _open(moment, since, patience) if patience else 0
    _close(moment, patience)
    tell_terminals(moment)
    return opened


def _open(moment: datetime, since: datetime, patience: dict[int, timedelta]) -> int:
    last = moment - min(patience.values())
    if since > last:
        return 0
    terminals = (
        Terminal.objects.filter(is_active=True, activated_at__isnull=False)
        .annotate(seen_at=Coalesce("report__last_seen_at", "activated_at"))
        .filter(seen_at__lt=last)
        .exclude(Exists(Incident.objects.filter(terminal=OuterRef("pk"), closed_at__isnull=True)))
    )
    unseen = []
    for pk, organization_id, seen_at in terminals.order_by("pk").values_list("pk", "organization_id", "seen_at"):
        allowed = patience.get(organization_id)
        if allowed is not None and moment - max(seen_at, since) > allowed:
            cause = f"Last seen {seen_at:%Y-%m-%d %H:%M:%S} UTC."
            unseen.append(Incident(kind=IncidentKind.TERMINAL, terminal_id=pk, opened_at=moment, cause=cause))
    Incident.objects.bulk_create(unseen, ignore_conflicts=True)
    return len(unseen)


def _close(moment: datetime, patience: dict[int, timedelta]) -> None:
    rows = Incident.objects.filter(kind=IncidentKind.TERMINAL, closed_at__isnull=True).select_related(
        "terminal__report"
    )
    for row in rows.order_by("pk"):
        terminal = row.terminal
        assert terminal is not None  # noqa: S101 - a constraint of the table
        report = getattr(terminal, "report", None)
        seen_at = report.last_seen_at if report is not None else None
        this = Incident.objects.filter(pk=row.pk)
        allowed = patience.get(terminal.organization_id)
        if not terminal.is_active:
            close(this, moment, "The terminal is not active any more.")
        elif allowed is None:
            close(this, moment, "Its store does not want to know any more.")
        elif seen_at is not None and moment - seen_at <= allowed:
            close(this, max(seen_at, row.opened_at), "It is seen again.")
