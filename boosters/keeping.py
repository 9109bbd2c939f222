"""Keeping the right to act: what each node of a pair does once a second, for as long as it runs."""

from __future__ import annotations

import platform
import threading
import time
from datetime import datetime

import structlog
from django.conf import settings
from django.db import DatabaseError, connection, transaction

from boosters import acting_rule
from boosters.acting_rule import PASS_S, PRACTICE_LIMIT, Seen, Step
from boosters.lease import claim, database_moment, is_pair, locked_lease, values_of
from boosters.models import THE_ONE, ActingLease, BoosterNode
from boosters.node import own_address, own_role
from boosters.parameters import Role
from boosters.telling import tell_of_claim, tell_of_hindrance, tell_of_missing
from licensing.installation import LicenseLimit, refuse_unless_allowed
from licensing.rules import Action

logger = structlog.get_logger(__name__)

LOCK_WAIT = "3s"
PEER_CHECK_S = 5.0


class Keeper:
    """Tells that its node lives, and claims, renews or hands over the right to act; see `acting_rule.step`."""

    def __init__(self) -> None:
        self.role = own_role()
        self.own_term: int | None = None
        self._is_first = True
        self._peer_checked_at = 0.0
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        self._thread = threading.Thread(target=self._run, name="lease-keeper", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the thread, which gives the right back as its last act."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join(timeout=5)

    def _run(self) -> None:
        is_away = False
        while not self._stopping.is_set():
            try:
                self.keep()
                if is_away:
                    logger.warning("lease-database-back")
                is_away = False
            except DatabaseError as error:
                connection.close()
                if not is_away:
                    logger.warning("lease-not-kept", error=str(error).strip().partition("\n")[0])
                is_away = True
            except Exception:
                # The thread must outlive whatever happens: without it the node would never act again.
                connection.close()
                logger.exception("lease-keeping-failed")
            self._stopping.wait(PASS_S)
        try:
            self.release()
        except DatabaseError as error:
            logger.warning("lease-not-released", error=type(error).__name__)
        connection.close()

    def keep(self) -> Step:
        """Make one pass; return what was done. Raises DatabaseError where the database cannot be used."""
        own = self._tell_of_this_node()
        peer = self._peer()
        done = self._step(ActingLease.objects.filter(pk=THE_ONE).first() or ActingLease(), own, peer)
        if done is not Step.WAIT:  # whoever stands by never takes the row
            with transaction.atomic():
                with connection.cursor() as cursor:
                    cursor.execute(f"SET LOCAL lock_timeout = '{LOCK_WAIT}'")
                row = locked_lease()
                done = self._step(row, own, peer)
                done = self._do(done, row)
        if self.own_term is not None and is_pair() and time.monotonic() - self._peer_checked_at >= PEER_CHECK_S:
            self._peer_checked_at = time.monotonic()
            tell_of_missing(self.role, own, peer, database_moment())
        return done

    def release(self) -> None:
        """Give the right back at once, as a node does that stops in good order."""
        with transaction.atomic():
            row = locked_lease()
            if row.holder == self.role and row.term == self.own_term:
                self._yield(row, database_moment())

    def _step(self, row: ActingLease, own: Seen, peer: Seen | None) -> Step:
        return acting_rule.step(
            self.role, self.own_term, values_of(row), own, peer, database_moment(), is_pair=is_pair()
        )

    def _do(self, done: Step, row: ActingLease) -> Step:
        moment = database_moment()
        if done is Step.CLAIM:
            return self._claim(row, moment)
        if done is Step.RENEW:
            row.expires_at = moment + acting_rule.LEASE
            row.save(update_fields=["expires_at"])
        elif done is Step.YIELD:
            self._yield(row, moment)
        return done

    def _claim(self, row: ActingLease, moment: datetime) -> Step:
        if self.role is Role.SECONDARY and (hindrance := self._hindrance()):
            self._note_hindrance(hindrance, moment)
            return Step.WAIT
        self._note_hindrance("", moment)
        before = values_of(row)
        self.own_term = claim(row, self.role, moment).term
        self._note_practice(row, moment)
        tell_of_claim(self.role, own_address(), before, self.own_term, moment)
        return Step.CLAIM

    def _yield(self, row: ActingLease, moment: datetime) -> None:
        row.expires_at = moment
        row.save(update_fields=["expires_at"])
        self.own_term = None
        logger.info("acting-right-handed-over", role=self.role.value, term=row.term)

    @staticmethod
    def _hindrance() -> str:
        """Return why the secondary may not take over, or nothing. Source: OMF-56."""
        try:
            refuse_unless_allowed(Action.TAKE_OVER)
        except LicenseLimit as refusal:
            return refusal.detail
        return ""

    def _note_hindrance(self, hindrance: str, moment: datetime) -> None:
        changed = BoosterNode.objects.filter(role=self.role).exclude(hindrance=hindrance)
        if changed.update(hindrance=hindrance[:255]) and hindrance:
            tell_of_hindrance(own_address(), hindrance, moment)

    def _note_practice(self, row: ActingLease, moment: datetime) -> None:
        """Note how far a practised takeover has come, where one was asked for."""
        if row.practice_asked_at is None or row.practice_back_at is not None:
            return
        if self.role is Role.SECONDARY and row.practice_over_at is None:
            if moment < row.practice_asked_at + PRACTICE_LIMIT:
                row.practice_over_at = moment
        elif self.role is Role.PRIMARY and row.practice_over_at is not None:
            row.practice_back_at = moment
        row.save(update_fields=["practice_over_at", "practice_back_at"])

    def _tell_of_this_node(self) -> Seen:
        moment = database_moment()
        facts = {
            "address": own_address(),
            "host_name": platform.node()[:255],
            "version": settings.VERSION,
            "seen_at": moment,
        }
        row = BoosterNode.objects.filter(role=self.role).first()
        if row is None:
            row = BoosterNode.objects.create(role=self.role, started_at=moment, steady_since=moment, **facts)
        else:
            if self._is_first:
                facts["started_at"] = moment
            if self._is_first or moment - row.seen_at > acting_rule.ALIVE:
                facts["steady_since"] = moment
            for name, value in facts.items():
                setattr(row, name, value)
            row.save(update_fields=list(facts))
        self._is_first = False
        return Seen(row.seen_at, row.steady_since)

    def _peer(self) -> Seen | None:
        row = BoosterNode.objects.filter(role=self.role.peer).first() if self.role.peer else None
        return Seen(row.seen_at, row.steady_since) if row else None
