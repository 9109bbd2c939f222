"""What an agent is told to do for a roll-out, and what it says of it: about its own server only."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from django.db import transaction

from backoffice.refusals import Conflict, Refusal
from boosters import rolling, rollout
from boosters.patch_models import Patch, RollOutTarget
from fleet import states
from routing.store import store
from servers.models import MobileServer, ServerReport
from servers.status import Observation, Sight, observe


class NoSuchOrder(Refusal):
    """There is no such order for the calling server."""

    type = "/problems/not-found"
    title = "Not found"
    status = 404


@dataclass(frozen=True, slots=True)
class Order:
    """One order: the target it is about, its step and the patch."""

    target: RollOutTarget
    patch: Patch

    @property
    def step(self) -> str:
        return self.target.roll_out.step

    @property
    def working(self) -> str:
        """What is being done to the server now, for people; empty while it is still untouched."""
        if not rollout.TargetState(self.target.state).is_touching:
            return ""
        return f"{self.target.roll_out}: {self.target.get_state_display().lower()}."


def order_of(server_id: int) -> Order | None:
    """Return the order that is out for a server; asked again it is the same until the target ends."""
    target = (
        RollOutTarget.objects.filter(server=server_id, ordered_at__isnull=False)
        .exclude(state__in=rolling.OVER)
        .select_related("roll_out__patch")
        .first()
    )
    return None if target is None else Order(target, target.roll_out.patch)


def patch_for(server_id: int, patch_id: int) -> Order:
    """Return the order that lets a server fetch that patch; raises NoSuchOrder."""
    order = order_of(server_id)
    if order is None or order.patch.pk != patch_id:
        raise NoSuchOrder("There is no order for this server that needs this patch.")
    return order


def report_progress(
    server: MobileServer,
    number: int,
    state: str,
    moment: datetime,
    *,
    received_bytes: int | None = None,
    detail: str = "",
    version: str = "",
) -> bool:
    """Take in what an agent says of its order; return whether it shall go on.

    Idempotent, forward only. False tells it that the order was cancelled or ended: it stops if nothing was
    applied yet. Raises NoSuchOrder for another server's, Conflict for one that a later order replaced.
    """
    with transaction.atomic():
        roll_out_id = (
            RollOutTarget.objects.filter(pk=number, server=server.pk).values_list("roll_out", flat=True).first()
        )
        if roll_out_id is None:
            raise NoSuchOrder("There is no such order for this server.")
        row, targets = rolling.locked(roll_out_id)
        target = next((target for target in targets if target.pk == number), None)
        if target is None:
            raise Conflict("This order was replaced by a later one: ask for the order again.")
        before = rolling.rule_of(row, targets)
        index = targets.index(target)
        old = before.targets[index]
        new = rollout.heard(before, old, rollout.TargetState(state), moment, detail, version)
        after = rollout.RollOut(
            before.patch,
            before.state,
            (*before.targets[:index], new, *before.targets[index + 1 :]),
            before.step,
            before.begins_at,
            before.cause,
        )
        if received_bytes is not None and old.is_ordered:
            target.received_bytes = max(target.received_bytes, min(received_bytes, row.patch.size_bytes))
        rolling.save(row, targets, before, after, moment)
        if new.state is not old.state and new.state.is_touching:
            _note_away(server, f"{row}: {new.state.value.replace('_', ' ')}.", moment)
        return new.is_ordered and (new.state.is_touching or row.state not in rolling.ROLL_OUTS_OVER)


def note_report(server: MobileServer, version: str, moment: datetime) -> str:
    """Take in what a heartbeat means for the order of its server; return why it is not ready, empty if it is.

    The first report with the new version ends the restart (OMF-38): that very report counts as ready.
    """
    order = order_of(server.pk)
    if order is None or not order.working:
        return ""
    with transaction.atomic():
        row, targets = rolling.locked(order.target.roll_out_id)
        target = next((target for target in targets if target.pk == order.target.pk), None)
        if target is None:
            return ""
        before = rolling.rule_of(row, targets)
        index = targets.index(target)
        old = before.targets[index]
        new = rollout.reported(before, old, version, moment)
        if new.state is old.state:
            return order.working
        changed = (*before.targets[:index], new, *before.targets[index + 1 :])
        after = rollout.RollOut(before.patch, before.state, changed, before.step, before.begins_at, before.cause)
        rolling.save(row, targets, before, after, moment)
    server.state.has_order = False  # its order has ended with this report
    return ""


def _note_away(server: MobileServer, why: str, moment: datetime) -> None:
    """Let the server's state follow without waiting for its report: the watcher's next look sees it in transition."""
    row = MobileServer.objects.select_related("state", "report").get(pk=server.pk)
    timings = states.timings_for(store.recent().landscape, row.key, has_agent=True)
    heard = observe(states.standing_of(row), Observation(Sight.UNREADY, moment, why), timings)
    ServerReport.objects.filter(pk=row.pk).update(**{name: getattr(heard, name) for name in states.EVIDENCE})
