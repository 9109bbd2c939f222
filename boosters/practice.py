"""Practising a takeover: the right goes to the secondary and back in good order, and the seconds are told."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from django.db import transaction

from backoffice.refusals import Conflict
from boosters.acting_rule import PRACTICE_LIMIT, PRACTICE_STAY, Lease, Seen
from boosters.lease import database_moment, is_pair, locked_lease, values_of
from boosters.models import BoosterNode
from boosters.parameters import Role
from events.log import record
from licensing.installation import refuse_unless_allowed
from licensing.rules import Action

if TYPE_CHECKING:
    from accounts.models import User

ASKED = "booster-practice-asked"


class PracticeRefused(Conflict):
    """The pair is not in a state in which a takeover can be practised."""

    type = "/problems/practice-refused"
    title = "A takeover cannot be practised now"


@dataclass(frozen=True, slots=True)
class Practice:
    """How the latest practice went: in seconds, without the stay of the secondary."""

    asked_at: datetime
    over_s: float | None
    back_s: float | None
    is_given_up: bool

    @property
    def is_over(self) -> bool:
        return self.is_given_up or self.back_s is not None

    @property
    def text(self) -> str:
        """Return for people how far it has come."""
        if self.is_given_up:
            return f"The secondary did not take over within {PRACTICE_LIMIT.seconds} s: the practice was given up."
        if self.over_s is None:
            return "The secondary is asked to take over."
        over = f"The secondary took over within {self.over_s:.1f} s"
        if self.back_s is None:
            return f"{over}; the primary takes back in a moment."
        return f"{over}; after {PRACTICE_STAY.seconds} s the primary took back within {self.back_s:.1f} s."


def practise(*, actor: User | None = None, actor_name: str = "") -> datetime:
    """Ask the nodes to hand the right over and back; return when that was, by the database's clock.

    Raises PracticeRefused unless both nodes are there and the primary acts, LicenseLimit where the
    licence does not allow a takeover.
    """
    with transaction.atomic():
        row = locked_lease()
        moment = database_moment()
        _check(values_of(row), moment)
        refuse_unless_allowed(Action.TAKE_OVER)
        row.practice_asked_at, row.practice_over_at, row.practice_back_at = moment, None, None
        row.save(update_fields=["practice_asked_at", "practice_over_at", "practice_back_at"])
        record(ASKED, moment=moment, object_type="booster-node", actor=actor, actor_name=actor_name)
    return moment


def _check(lease: Lease, moment: datetime) -> None:
    if not is_pair():
        raise PracticeRefused("There is no second Booster: set SECOND_BOOSTER_IP on both nodes.")
    if not lease.is_held(moment) or lease.holder is not Role.PRIMARY:
        raise PracticeRefused("The primary Booster does not act at present.")
    if lease.is_practice_open(moment):
        raise PracticeRefused("A takeover is being practised already.")
    other = BoosterNode.objects.filter(role=Role.SECONDARY).first()
    if other is None or not Seen(other.seen_at, other.steady_since).is_steady(moment):
        raise PracticeRefused("The secondary Booster is missing.")


def latest(lease: Lease, moment: datetime) -> Practice | None:
    """Return how the latest practice went, None before the first."""
    asked, over, back = lease.practice_asked_at, lease.practice_over_at, lease.practice_back_at
    if asked is None:
        return None
    return Practice(
        asked,
        (over - asked).total_seconds() if over else None,
        max((back - over - PRACTICE_STAY).total_seconds(), 0.0) if over and back else None,
        is_given_up=over is None and not lease.is_practice_open(moment),
    )
