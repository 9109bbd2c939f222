"""Booster nodes, the right to act, and what was scheduled by that right."""

from __future__ import annotations

from typing import ClassVar

from django.db import models
from django.db.models import Q

from boosters.patch_models import Patch, PatchPart, ReportedVersion, RollOut, RollOutTarget

__all__ = [
    "ActingLease",
    "BoosterNode",
    "NodeRole",
    "Patch",
    "PatchPart",
    "ReportedVersion",
    "RollOut",
    "RollOutTarget",
    "ScheduledSlot",
]

THE_ONE = 1


class NodeRole(models.TextChoices):
    PRIMARY = "primary", "Primary"
    SECONDARY = "secondary", "Secondary"
    SINGLE = "single", "Single"


class BoosterNode(models.Model):
    """One running back office of the pair, as it told of itself; all times are the database's."""

    role = models.CharField(max_length=10, choices=NodeRole, unique=True)
    address = models.CharField(max_length=300)
    host_name = models.CharField(max_length=255, blank=True)
    version = models.CharField(max_length=60)
    started_at = models.DateTimeField()
    seen_at = models.DateTimeField(help_text="When the node last reached the database.")
    steady_since = models.DateTimeField(help_text="Since when it has been seen without a gap.")
    hindrance = models.CharField(max_length=255, blank=True, help_text="Why it does not take over, if it would.")

    class Meta:
        default_permissions = ("view",)
        ordering: ClassVar[list[str]] = ["role"]
        verbose_name = "Booster node"

    def __str__(self) -> str:
        return f"{self.get_role_display()} ({self.address})"


class ActingLease(models.Model):
    """The right to act, one row: who has it, in which term, until when by the database's clock."""

    id = models.PositiveSmallIntegerField(primary_key=True, default=THE_ONE)
    holder = models.CharField(max_length=10, choices=NodeRole, blank=True)
    term = models.PositiveBigIntegerField(default=0, help_text="Counts up with every claim, never down.")
    expires_at = models.DateTimeField(null=True, blank=True, help_text="A lease without a holder has none.")
    acting_since = models.DateTimeField(null=True, blank=True)
    practice_asked_at = models.DateTimeField(null=True, blank=True)
    practice_over_at = models.DateTimeField(null=True, blank=True)
    practice_back_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        default_permissions = ()
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.CheckConstraint(condition=Q(id=THE_ONE), name="only_one_acting_lease")
        ]

    def __str__(self) -> str:
        return f"{self.holder or 'nobody'}, term {self.term}"


class ScheduledSlot(models.Model):
    """One run of a scheduled task, claimed before it is emitted, so that none happens twice."""

    task = models.CharField(max_length=120)
    slot_at = models.DateTimeField(help_text="Begin of the slot, by the database's clock.")
    term = models.PositiveBigIntegerField()
    claimed_at = models.DateTimeField()
    run_at = models.DateTimeField(null=True, blank=True, help_text="When a worker began it.")

    class Meta:
        default_permissions = ()
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.UniqueConstraint(fields=["task", "slot_at"], name="one_claim_per_slot")
        ]
        indexes: ClassVar[list[models.Index]] = [models.Index(fields=["slot_at"])]

    def __str__(self) -> str:
        return f"{self.task} at {self.slot_at:%Y-%m-%d %H:%M:%S}, term {self.term}"
