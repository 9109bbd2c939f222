"""Planning maintenance: who may, and every write."""

from __future__ import annotations

from datetime import datetime

from django.db import transaction

from accounts.models import User
from backoffice.refusals import Conflict, Forbidden
from fleet.models import Maintenance
from fleet.scope import may_plan_maintenance


class NotRunning(Conflict):
    """Maintenance that cannot be ended now, because it has not begun or is over."""

    type = "/problems/maintenance-not-running"
    title = "The maintenance is not running"


def may_change(user: User, maintenance: Maintenance) -> bool:
    """Tell whether `user` may plan maintenance for what this is about."""
    return may_plan_maintenance(user, maintenance.server, maintenance.organization)


def plan(maintenance: Maintenance, user: User) -> Maintenance:
    """Save new or changed maintenance; raises Forbidden, or ValidationError.

    Times that are past may be given too: work that nobody had entered does not count as downtime
    either, and the history tells who said so.
    """
    maintenance.full_clean()
    with transaction.atomic():
        if maintenance.pk is None:
            maintenance.created_by = user
        else:
            _refuse_unless_planner(user, Maintenance.objects.select_for_update(of=("self",)).get(pk=maintenance.pk))
        _refuse_unless_planner(user, maintenance)
        maintenance.save()
    return maintenance


def cancel(maintenance: Maintenance, user: User) -> None:
    """Delete maintenance, whose time then counts again; raises Forbidden."""
    _refuse_unless_planner(user, maintenance)
    maintenance.delete()


def end_now(pk: int, user: User, moment: datetime) -> Maintenance:
    """Let running maintenance end at `moment`; raises NotRunning or Forbidden."""
    with transaction.atomic():
        maintenance = Maintenance.objects.select_for_update(of=("self",)).get(pk=pk)
        _refuse_unless_planner(user, maintenance)
        if maintenance.phase(moment) != "running" or maintenance.starts_at == moment:
            raise NotRunning("Only maintenance that has begun and is not over can be ended now.")
        maintenance.ends_at = moment
        maintenance.save(update_fields=["ends_at"])
    return maintenance


def _refuse_unless_planner(user: User, maintenance: Maintenance) -> None:
    if not may_change(user, maintenance):
        subject = maintenance.server or maintenance.organization
        raise Forbidden(f"{subject} also serves organizations you do not administer.")
