"""Driving roll-outs: what the acting node does every few seconds, and writes by that right alone (OMF-21, OMF-40)."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

import structlog
from django.db.models import F, Q

from backoffice.refusals import Refusal
from boosters import intervention, rolling, rollout
from boosters.lease import NoLongerActing, Right, acting_right, acting_write
from boosters.patch_models import Patch, ReportedVersion, RollOut, RollOutTarget, Step
from boosters.rollout import Known
from boosters.versions import known
from fleet.maintenance import in_maintenance
from fleet.states import Patience
from licensing.installation import standing
from routing.store import store
from servers.models import MobileServer, ServerReport

logger = structlog.get_logger(__name__)


def drive(moment: datetime) -> int:
    """Drive every roll-out once; return how many changed. Nothing is done by a node without the right to act."""
    right = acting_right()
    if right is None:
        return 0
    try:
        changed = sum(_drive_one(pk, right, moment) for pk in _unended())
        changed += _begin_by_itself(right, moment)
        _note_versions(right, moment)
    except NoLongerActing:
        logger.info("roll-outs-left-to-the-other-node")
        return 0
    return changed


def _unended() -> list[int]:
    """Return the roll-outs that are not over, or have servers whose orders are not."""
    has_orders = Q(pk__in=RollOutTarget.objects.exclude(state__in=rolling.OVER).order_by().values("roll_out"))
    return list(
        RollOut.objects.filter(has_orders | ~Q(state__in=rolling.ROLL_OUTS_OVER))
        .order_by("created_at", "pk")
        .values_list("pk", flat=True)
    )


def _drive_one(pk: int, right: Right, moment: datetime) -> bool:
    with acting_write(right):
        row, targets = rolling.locked(pk)
        before = rolling.rule_of(row, targets)
        servers = known_servers(row, targets, moment)
        if not standing().status.is_unlocked and before.state in (
            rollout.RollOutState.PLANNED,
            rollout.RollOutState.RUNNING,
        ):
            begun = intervention.pause(before, "Without a valid licence nothing is rolled out (OMF-41).")
        else:
            begun = before
        outcome = rollout.drive(begun, servers, moment, _busy_elsewhere(row))
        is_changed = outcome.roll_out != before
        rolling.save(row, targets, before, outcome.roll_out, moment, term=right.term, waits=outcome.waits)
    return is_changed


def known_servers(row: RollOut, targets: list[RollOutTarget], moment: datetime) -> Mapping[str, Known]:
    """Return what is known of a roll-out's servers, by key."""
    ids = [target.server_id for target in targets if target.server_id is not None]
    rows = MobileServer.objects.filter(pk__in=ids, is_active=True).select_related("report")
    open_windows = in_maintenance(moment, ids) if row.only_in_maintenance else set(ids)
    patience = Patience(store.current().landscape)
    found = {}
    for server in rows:
        report: ServerReport | None = getattr(server, "report", None)
        reported_at = report.reported_at if report else None
        allowed = patience.of(server.key, has_agent=True).silence_allowed
        found[server.key] = Known(
            report.software_version if report else "",
            reported_at is not None and moment - reported_at <= allowed,
            reported_at,
            server.pk in open_windows,
        )
    return found


def _busy_elsewhere(row: RollOut) -> frozenset[str]:
    """Return the organizations that miss a server because of other roll-outs."""
    others = RollOutTarget.objects.exclude(roll_out=row).exclude(state__in=rolling.OVER)
    keys = others.filter(ordered_at__isnull=False).order_by().values_list("server_key", flat=True)
    landscape = store.current().landscape
    return frozenset(code for key in keys for code in rolling.stores_of(key, landscape))


# --- Versions that servers report ----------------------------------------------------------------


def _note_versions(right: Right, moment: datetime) -> None:
    """Keep what each server reports now beside what it reported before, and whether a roll-out brought it."""
    moved = list(
        ServerReport.objects.exclude(software_version="")
        .exclude(server__reported_version__version=F("software_version"))
        .order_by("pk")
        .values_list("server_id", "software_version", "server__reported_version__version")
    )
    if not moved:
        return
    with acting_write(right):
        for server_id, version, previous in moved:
            ReportedVersion.objects.update_or_create(
                server_id=server_id,
                defaults={
                    "version": version,
                    "previous": previous or "",
                    "since": moment,
                    "is_propagated": _is_propagated(server_id, version),
                },
            )


def _is_propagated(server_id: int, version: str) -> bool:
    """Tell whether a server had an order whose patch leads to this version (OMF-34)."""
    told = known(version)
    orders = RollOutTarget.objects.filter(server=server_id, ordered_at__isnull=False).select_related("roll_out__patch")
    return any(
        known(order.roll_out.patch.version if order.roll_out.step == Step.APPLY else order.wanted) == told
        for order in orders
    )


def _begin_by_itself(right: Right, moment: datetime) -> int:
    """Roll out a known patch that was applied on some server by hand, to all others (OMF-30).

    Once per patch: whoever reports the same version again, or reached it by a roll-out, begins nothing (OMF-34).
    """
    _note_versions(right, moment)
    begun = 0
    for patch in Patch.objects.filter(roll_outs__isnull=True).order_by("pk"):
        first = _patched_by_hand(patch)
        if first is None or not standing().status.is_unlocked:
            continue
        try:
            with acting_write(right):
                rolling.create(
                    patch, moment, without=[first.server_id], because=f"{first.server.key} reported {first.version}."
                )
            begun += 1
        except Refusal as refusal:
            logger.debug("roll-out-not-begun", patch=str(patch), why=refusal.detail)
    return begun


def _patched_by_hand(patch: Patch) -> ReportedVersion | None:
    """Return a server that came from an older version to the patch's by hand, the first that did."""
    wanted = known(patch.version)
    rows = ReportedVersion.objects.filter(
        version__startswith=".".join(map(str, wanted.numbers)) if wanted else patch.version,
        is_propagated=False,
        server__is_active=True,
    )
    for row in rows.exclude(previous="").select_related("server").order_by("since", "pk"):
        before, now = known(row.previous), known(row.version)
        if now is not None and now == wanted and before is not None and before < now:
            return row
    return None
