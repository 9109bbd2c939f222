"""Roll-outs in the database: read into the machine's terms, written back, and what an administrator does to them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.conf import settings
from django.db import transaction
from django.db.models import Q

from accounts.models import User
from backoffice.refusals import Conflict, FieldError, Invalid
from boosters import intervention, rollout
from boosters.intervention import NotNow
from boosters.patch_models import DETAIL_LENGTH, Patch, RollOut, RollOutState, RollOutTarget, Step, TargetState
from boosters.versions import Range, parse
from events.log import record
from fleet.models import Maintenance
from licensing.installation import refuse_unless_allowed
from licensing.rules import Action
from notices.outbox import tell
from organizations.models import Organization
from routing.landscape import Landscape
from routing.store import store
from servers.models import MobileServer, ServerState, ServerType

PAUSED, ENDED = "roll-out-paused", "roll-out-ended"
KINDS = {PAUSED: "A roll-out paused", ENDED: "A roll-out ended"}
LONGEST_WORK = timedelta(hours=4)
"""How long a server that is being patched counts as in maintenance, should nobody end that."""
MOST_WAVES = 20
OVER = [state.value for state in rollout.OVER]
ROLL_OUTS_OVER = [state.value for state in rollout.RollOutState if state.is_over]


def rule_of(row: RollOut, targets: Iterable[RollOutTarget]) -> rollout.RollOut:
    """Return a roll-out in the machine's terms."""
    patch, landscape = row.patch, store.current().landscape
    return rollout.RollOut(
        rollout.Patch(parse(patch.version), Range(parse(patch.fits_from), parse(patch.fits_to))),
        rollout.RollOutState(row.state),
        tuple(_rule_of_target(target, landscape) for target in targets),
        rollout.Step(row.step),
        row.begins_at,
        row.cause,
    )


def _rule_of_target(target: RollOutTarget, landscape: Landscape) -> rollout.Target:
    return rollout.Target(
        target.pk,
        target.server_key,
        target.wave,
        target.is_main,
        target.priority,
        stores_of(target.server_key, landscape),
        rollout.TargetState(target.state),
        target.ordered_at,
        target.heard_at,
        target.since,
        target.detail,
        target.version_before,
        target.wanted,
    )


def stores_of(key: str, landscape: Landscape) -> frozenset[str]:
    """Return the stores that would miss a server; for one that serves none, something it shares with nobody."""
    server = landscape.servers.get(key)
    if server is None:
        return frozenset({f"server {key}"})
    return frozenset(landscape.stores_served_by(server)) or frozenset({f"server {key}"})


def locked(pk: int) -> tuple[RollOut, list[RollOutTarget]]:
    """Return a roll-out and its targets, locked for the rest of the transaction, the roll-out first."""
    row = RollOut.objects.select_for_update(of=("self",)).select_related("patch").get(pk=pk)
    return row, list(RollOutTarget.objects.select_for_update(of=("self",)).filter(roll_out=row).order_by("pk"))


def save(
    row: RollOut,
    targets: Sequence[RollOutTarget],
    before: rollout.RollOut,
    after: rollout.RollOut,
    moment: datetime,
    *,
    term: int | None = None,
    waits: Mapping[int, str] | None = None,
) -> None:
    """Write what the machine changed, with its events and notices, and what follows for the servers."""
    changed: list[int] = []
    for target, old, new in zip(targets, before.targets, after.targets, strict=True):
        wait = (waits or {}).get(target.pk, "") if waits is not None else target.waits_for
        if new == old and wait == target.waits_for:
            continue
        if new != old and target.server_id is not None:
            changed.append(target.server_id)
        _save_target(row, target, old, new, wait, term, moment)
    if after.state is not before.state or after.cause != before.cause:
        row.state, row.cause = after.state.value, after.cause[:DETAIL_LENGTH]
        if after.state.is_over:
            row.ended_at = moment
        row.save(update_fields=["state", "cause", "ended_at"])
        _tell(row, before.state, moment)
    settle_servers(changed, moment)


def _save_target(
    row: RollOut,
    target: RollOutTarget,
    old: rollout.Target,
    new: rollout.Target,
    wait: str,
    term: int | None,
    moment: datetime,
) -> None:
    is_again = old.state is rollout.TargetState.FAILED and new.state is rollout.TargetState.WAITING
    if is_again:  # its next order must not look like the one that failed
        RollOutTarget.objects.filter(pk=target.pk).delete()
        target.pk = None
        target.received_bytes = 0
    is_ordered_now = new.ordered_at is not None and old.ordered_at is None
    target.state, target.since, target.detail = new.state.value, new.since, new.detail[:DETAIL_LENGTH]
    target.ordered_at, target.heard_at = new.ordered_at, new.heard_at
    target.version_before, target.waits_for = new.version_before[:60], wait[:DETAIL_LENGTH]
    if is_ordered_now:
        target.term = term
    target.save(force_insert=is_again)
    if new.state is not old.state:
        record(
            f"roll-out-server-{new.state.value.replace('_', '-')}",
            moment=moment,
            object_type="mobile server",
            object_key=target.server_key,
            cause=new.detail[:255],
            roll_out=row.pk,
            patch=str(row.patch),
            step=row.step,
        )


def _tell(row: RollOut, was: rollout.RollOutState, moment: datetime) -> None:
    """Record a roll-out's new state, and tell people when it paused by itself or ended."""
    record(
        f"roll-out-{row.state}",
        moment=moment,
        object_type="roll-out",
        object_key=str(row.pk),
        cause=row.cause[:255],
        patch=str(row.patch),
    )
    if row.state == RollOutState.PAUSED:
        subject = f"Roll-out of {row.patch} paused"
        tell(PAUSED, key=f"{PAUSED}:{row.pk}:{moment.isoformat()}", subject=subject, text=row.cause, moment=moment)
    elif row.state in ROLL_OUTS_OVER and not rollout.RollOutState(was).is_over:
        counted = summary(row)
        tell(
            ENDED,
            key=f"{ENDED}:{row.pk}",
            subject=f"Roll-out of {row.patch} {row.get_state_display().lower()}",
            text=", ".join(f"{number} {name}" for name, number in counted.items()) + ".",
            moment=moment,
        )


def summary(row: RollOut) -> dict[str, int]:
    """Return how many servers of a roll-out are in which state, by the state's name for people."""
    counted: dict[str, int] = {}
    for state in row.targets.values_list("state", flat=True).order_by():
        name = TargetState(state).label.lower()
        counted[name] = counted.get(name, 0) + 1
    return counted


def settle_servers(server_ids: Collection[int], moment: datetime) -> None:
    """Make flag and maintenance of servers fit their targets: a planned restart is no incident (OMF-38)."""
    if not server_ids:
        return
    open_targets = RollOutTarget.objects.filter(server__in=server_ids, ordered_at__isnull=False).exclude(state__in=OVER)
    ordered = {target.server_id: target for target in open_targets.select_related("roll_out__patch")}
    ServerState.objects.filter(pk__in=[pk for pk in server_ids if pk in ordered]).update(has_order=True)
    ServerState.objects.filter(pk__in=[pk for pk in server_ids if pk not in ordered]).update(has_order=False)
    for server_id in server_ids:
        target = ordered.get(server_id)
        own = Maintenance.objects.filter(server=server_id, reason__startswith=REASON, ends_at__gt=moment)
        if target is not None and rollout.TargetState(target.state).is_touching:
            if not own.exists():
                Maintenance.objects.create(
                    server_id=server_id,
                    starts_at=moment,
                    ends_at=moment + LONGEST_WORK,
                    reason=f"{REASON}{target.roll_out}"[:255],
                )
        else:
            for maintenance in own:
                maintenance.ends_at = max(moment, maintenance.starts_at + timedelta(seconds=1))
                maintenance.save(update_fields=["ends_at"])


REASON = "Roll-out: "


# --- Making one ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Wave:
    """A wave: its title, and the servers it is about; `everybody` takes in all that no wave before has."""

    title: str
    servers: tuple[int, ...] = ()
    organizations: tuple[int, ...] = ()
    everybody: bool = False


EVERYBODY = (Wave("All servers", everybody=True),)


def create(
    patch: Patch,
    moment: datetime,
    *,
    waves: Sequence[Wave] = EVERYBODY,
    without: Collection[int] = (),
    because: str = "",
    actor: User | None = None,
    only_in_maintenance: bool = False,
    bytes_per_s: int | None = None,
    begins_at: datetime | None = None,
) -> RollOut:
    """Begin, or plan, the roll-out of a patch. Raises LicenseLimit (OMF-41), Conflict or Invalid."""
    refuse_unless_allowed(Action.ROLL_OUT)
    if not 0 < len(waves) <= MOST_WAVES:
        raise Invalid(
            f"A roll-out has 1 to {MOST_WAVES} waves.", errors=[FieldError("/waves", "invalid", "Wrong number.")]
        )
    with transaction.atomic():
        Patch.objects.select_for_update().get(pk=patch.pk)  # one roll-out of it begins at a time
        chosen = _chosen(waves, without)
        _refuse_what_is_busy(chosen)
        row = RollOut.objects.create(
            patch=patch,
            state=RollOutState.PLANNED,
            began_because=because[:255],
            waves=[wave.title for wave in waves],
            only_in_maintenance=only_in_maintenance,
            bytes_per_s=default_rate() if bytes_per_s is None else bytes_per_s or None,
            begins_at=begins_at,
            created_at=moment,
            created_by=actor,
        )
        RollOutTarget.objects.bulk_create(
            RollOutTarget(
                roll_out=row,
                server=server,
                server_key=server.key,
                wave=wave,
                is_main=server.server_type == ServerType.MAIN,
                priority=server.priority,
                since=moment,
            )
            for server, wave in chosen
        )
        _record("planned", row, moment, actor, because)
    return row


def default_rate() -> int | None:
    """Return how fast one server may fetch, unless its roll-out says otherwise; None: no limit."""
    return int(settings.BOOSTER_PATCH_BYTES_PER_S) or None


def _chosen(waves: Sequence[Wave], without: Collection[int]) -> list[tuple[MobileServer, int]]:
    """Return the servers of all waves with the number of theirs; each belongs to the first that names it."""
    found: dict[int, tuple[MobileServer, int]] = {}
    for number, wave in enumerate(waves, start=1):
        for server in servers_of(wave):
            if server.pk not in without:
                found.setdefault(server.pk, (server, number))
    if not found:
        raise Invalid("No active server is chosen.", errors=[FieldError("/waves", "empty", "No server is chosen.")])
    return list(found.values())


def servers_of(wave: Wave) -> list[MobileServer]:
    """Return the active servers a wave names, by itself or by the organizations they are assigned to."""
    active = MobileServer.objects.filter(is_active=True).order_by("pk")
    if wave.everybody:
        return list(active)
    named = Q(pk__in=wave.servers)
    if wave.organizations:
        below = Organization.objects.below(Organization.objects.filter(pk__in=wave.organizations)).order_by()
        assigned = Q(
            all_organizations=False,
            organizations_by_server__is_active=True,
            organizations_by_server__organization__in=below,
        )
        named |= assigned | Q(all_organizations=True, client__in=below)
    return list(active.filter(named).distinct())


def _refuse_what_is_busy(chosen: Sequence[tuple[MobileServer, int]]) -> None:
    busy = (
        RollOutTarget.objects.filter(server__in=[server.pk for server, _ in chosen])
        .exclude(state__in=OVER)
        .select_related("roll_out__patch")
        .order_by("pk")
        .first()
    )
    if busy is not None:
        raise Conflict(f"{busy.server_key} is still part of roll-out {busy.roll_out_id}: {busy.roll_out}.")


# --- What an administrator does ------------------------------------------------------------------


def pause(pk: int, moment: datetime, actor: User | None = None) -> RollOut:
    by = f"Paused by {actor}." if actor else "Paused."
    return _act("pause", pk, lambda before: intervention.pause(before, by), moment, actor)


def resume(pk: int, moment: datetime, actor: User | None = None) -> RollOut:
    refuse_unless_allowed(Action.ROLL_OUT)
    return _act("resume", pk, lambda before: intervention.resume(before, moment), moment, actor)


def cancel(pk: int, moment: datetime, actor: User | None = None) -> RollOut:
    return _act("cancel", pk, lambda before: intervention.cancel(before, moment), moment, actor)


def skip(pk: int, server_key: str, moment: datetime, actor: User | None = None) -> RollOut:
    return _act("skip", pk, lambda before: intervention.skip(before, server_key, moment), moment, actor, server_key)


def _act(
    what: str,
    pk: int,
    rule: Callable[[rollout.RollOut], rollout.RollOut],
    moment: datetime,
    actor: User | None,
    about: str = "",
) -> RollOut:
    """Do one of the above; raises Conflict, naming what does not fit."""
    with transaction.atomic():
        row, targets = locked(pk)
        before = rule_of(row, targets)
        try:
            after = rule(before)
        except NotNow as error:
            raise Conflict(str(error)) from error
        _record(what, row, moment, actor, about)
        save(row, targets, before, after, moment)
    return row


def roll_back(pk: int, moment: datetime, actor: User | None = None) -> RollOut:
    """Begin to take a patch back from the servers that have it by this roll-out. Raises Conflict, LicenseLimit."""
    refuse_unless_allowed(Action.ROLL_OUT)
    with transaction.atomic():
        row, targets = locked(pk)
        if not row.patch.revert:
            raise Conflict(f"{row.patch} does not declare how it is taken back.")
        if row.step != Step.APPLY:
            raise Conflict("A roll-back is not itself taken back; roll the patch out again.")
        if not rollout.RollOutState(row.state).is_over:
            raise Conflict(f"The roll-out is {row.state}: cancel it first.")
        done = [target for target in targets if target.state == TargetState.DONE and target.server_id is not None]
        if not done:
            raise Conflict("No server has the patch by this roll-out.")
        servers = MobileServer.objects.in_bulk([target.server_id for target in done])
        _refuse_what_is_busy([(server, 1) for server in servers.values()])
        back = RollOut.objects.create(
            patch=row.patch,
            step=Step.ROLL_BACK,
            began_because=f"Takes back roll-out {row.pk}.",
            waves=["Those that have it"],
            bytes_per_s=row.bytes_per_s,
            created_at=moment,
            created_by=actor,
            takes_back=row,
        )
        RollOutTarget.objects.bulk_create(
            RollOutTarget(
                roll_out=back,
                server_id=target.server_id,
                server_key=target.server_key,
                is_main=target.is_main,
                priority=target.priority,
                since=moment,
                wanted=target.version_before,
            )
            for target in done
        )
        _record("roll-back", back, moment, actor, back.began_because)
    return back


def _record(what: str, row: RollOut, moment: datetime, actor: User | None, cause: str) -> None:
    record(
        f"roll-out-{what}-asked",
        moment=moment,
        object_type="roll-out",
        object_key=str(row.pk),
        actor=actor,
        cause=cause[:255],
        patch=str(row.patch),
    )
