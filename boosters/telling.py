"""Events and notices of the pair: takeover, return, a peer that is missing."""

from __future__ import annotations

from datetime import datetime, timedelta

import structlog
from django.db import transaction

from boosters.acting_rule import Lease, Seen
from boosters.parameters import Role
from events.log import record
from notices.outbox import tell

logger = structlog.get_logger(__name__)

TAKEOVER, RETURN, REFUSED, MISSING = "booster-takeover", "booster-return", "booster-takeover-refused", "booster-missing"
KINDS = {
    TAKEOVER: "The secondary Booster took over",
    RETURN: "The primary Booster acts again",
    REFUSED: "The secondary Booster may not take over",
    MISSING: "A Booster of the pair is missing",
}
MISSING_AFTER = timedelta(seconds=15)
"""A peer that was not seen for so long is warned about; a restart takes less."""
TOLD_AFTER = timedelta(seconds=60)
"""A peer that was not seen for so long is told of in a notice."""


def tell_of_claim(role: Role, address: str, before: Lease, term: int, moment: datetime) -> None:
    """Record a takeover or a return, and tell of it; a claim that changes nothing is logged only.

    Whatever goes wrong with telling, the claim stands.
    """
    logger.warning("acting-right-claimed", role=role.value, term=term)
    is_practised = before.is_practice_open(moment)
    if role is Role.SECONDARY:
        kind, what = TAKEOVER, "The secondary Booster took over"
    elif before.holder is Role.SECONDARY:
        kind, what = RETURN, "The primary Booster acts again"
    else:
        return
    cause = "practised" if is_practised else "the primary was missing" if kind == TAKEOVER else "the primary is back"
    try:
        with transaction.atomic():
            record(kind, moment=moment, object_type="booster-node", object_key=address, cause=cause, term=term)
            if not is_practised:
                tell(
                    kind,
                    key=f"{kind}:{term}",
                    subject=f"{what} ({address})",
                    text=f"{what}: {cause}. Terminals and agents are answered by both nodes as before.",
                    moment=moment,
                    data={"term": term, "address": address},
                )
    except Exception:
        logger.exception("takeover-not-told", term=term)


def tell_of_hindrance(address: str, hindrance: str, moment: datetime) -> None:
    """Record, and tell, that the secondary would take over but may not."""
    record(REFUSED, moment=moment, object_type="booster-node", object_key=address, cause=hindrance[:255])
    tell(
        REFUSED,
        key=f"{REFUSED}:{moment.isoformat()}",
        subject="The primary Booster is missing and the secondary may not take over",
        text=f"{hindrance} Terminals and agents are answered as before; nobody watches servers meanwhile.",
        moment=moment,
        data={"address": address},
    )


def tell_of_missing(role: Role, own: Seen, peer: Seen | None, moment: datetime) -> None:
    """Tell once per absence that the peer of the acting node `role` is missing."""
    if role.peer is None or moment - (peer.seen_at if peer else own.steady_since) < TOLD_AFTER:
        return
    since = f"{peer.seen_at:%Y-%m-%d %H:%M:%S} UTC" if peer else "the start"
    tell(
        MISSING,
        key=f"{MISSING}:{role.peer}:{peer.seen_at.isoformat() if peer else 'never'}",
        subject=f"The {role.peer} Booster is missing since {since}",
        text=f"The {role} Booster acts and is alone: should it be lost as well, nobody watches servers any more.",
        moment=moment,
        data={"role": role.peer.value},
    )
